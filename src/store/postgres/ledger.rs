//! The record of what was done: appended with each commit, read newest first.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::{FromSql, ToSql};

use crate::directory::{Kind, ResourceKey};
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, key_at, limit as row_limit, query, storable, unsigned,
};
use crate::store::postgres::targets::LockedTarget;
use crate::store::{LedgerEntry, LedgerFilter, LedgerRecord, Order, Page, StoreError};

/// Events that one entry names at most.
const EVENTS_MAX: usize = 20;
/// `kind` of what is about the target itself.
const OF_TARGET: i16 = 2;
/// Changes that are read to find them, so that an entry about a long history costs no more than others.
const CHANGES_MAX: usize = 500;

/// One entry, for the changes after the first generation, up to the second.
pub(super) struct Line<'a> {
    /// Without a resource it is about the target.
    pub(super) key: Option<&'a ResourceKey>,
    pub(super) base_generation: u64,
    pub(super) generation: u64,
    pub(super) entry: &'a LedgerEntry,
}

/// Appends entries in their order, in one statement. Their numbers are taken under the target's lock, so that
/// they are in the order in which the target's entries are committed.
pub(super) async fn append(at: &LockedTarget<'_>, lines: &[Line<'_>]) -> Result<(), StoreError> {
    if lines.is_empty() {
        return Ok(());
    }
    let text = |text: &'_ Option<String>| text.as_deref().map(|text| storable(text).into_owned());
    let ats: Vec<_> = lines.iter().map(|line| line.entry.at).collect();
    let kinds: Vec<_> = lines.iter().map(|line| line.key.map_or(OF_TARGET, |key| number(key.kind))).collect();
    let ids: Vec<_> = lines.iter().map(|line| line.key.map_or("", |key| key.id.as_str())).collect();
    let generations: Vec<_> = lines.iter().map(|line| big(line.generation)).collect();
    let bases: Vec<_> = lines.iter().map(|line| big(line.base_generation)).collect();
    let operations: Vec<_> = lines.iter().map(|line| line.entry.operation).collect();
    let calls: Vec<_> = lines.iter().map(|line| text(&line.entry.call)).collect();
    let statuses: Vec<_> = lines.iter().map(|line| line.entry.status.map(i32::from)).collect();
    let results: Vec<_> = lines.iter().map(|line| line.entry.result).collect();
    let before: Vec<_> = lines.iter().map(|line| text(&line.entry.etag_before)).collect();
    let after: Vec<_> = lines.iter().map(|line| text(&line.entry.etag_after)).collect();
    let elapsed: Vec<_> = lines.iter().map(|line| line.entry.elapsed_us.map(big)).collect();
    let details: Vec<_> = lines.iter().map(|line| text(&line.entry.detail)).collect();
    let actors: Vec<_> = lines.iter().map(|line| text(&line.entry.actor)).collect();
    execute(
        at.tx,
        "INSERT INTO ledger (target, directory, at, kind, id, generation, base_generation, operation,
                             call, status, result, etag_before, etag_after, elapsed_us, detail, actor)
         SELECT $1, $2, k.at, k.kind, k.id, k.generation, k.base_generation, k.operation, k.call, k.status,
                k.result, k.etag_before, k.etag_after, k.elapsed_us, k.detail, k.actor
         FROM unnest($3::bigint[], $4::smallint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
                     $9::text[], $10::integer[], $11::text[], $12::text[], $13::text[], $14::bigint[],
                     $15::text[], $16::text[])
             WITH ORDINALITY AS k (at, kind, id, generation, base_generation, operation, call, status,
                                   result, etag_before, etag_after, elapsed_us, detail, actor, place)
         ORDER BY k.place",
        &[
            &at.name,
            &at.directory,
            &ats,
            &kinds,
            &ids,
            &generations,
            &bases,
            &operations,
            &calls,
            &statuses,
            &results,
            &before,
            &after,
            &elapsed,
            &details,
            &actors,
        ],
    )
    .await?;
    Ok(())
}

/// One page, newest first.
pub(super) async fn page(
    tx: &Tx<'_>,
    filter: &LedgerFilter,
    before: u64,
    limit: usize,
) -> Result<Page<LedgerRecord>, StoreError> {
    let LedgerFilter { target, key, result, operation, from, until } = filter;
    let (target, result) = (target.as_deref().map(storable), result.as_deref().map(storable));
    let operation = operation.as_deref().map(storable);
    // Named by text, so that there is one statement for each set of filters in use, and the index that
    // serves those is used.
    let mut sql = "SELECT seq, at, target, kind, id, generation, operation, call, status, result,
                          etag_before, etag_after, elapsed_us, detail, directory, base_generation, actor
                   FROM ledger WHERE seq < $1"
        .to_owned();
    let (before, room) = (big(before), row_limit(limit + 1));
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&before, &room];
    let mut narrow = |condition: &str, value| {
        params.push(value);
        sql.extend([" AND ", condition, " $", &params.len().to_string()]);
    };
    if let Some(target) = &target {
        narrow("target =", target);
    }
    if let Some(result) = &result {
        narrow("result =", result);
    }
    if let Some(operation) = &operation {
        narrow("operation =", operation);
    }
    if let Some(from) = from {
        narrow("at >=", from);
    }
    if let Some(until) = until {
        narrow("at <", until);
    }
    if let Some(key) = key {
        narrow("kind =", &key.kind);
        narrow("id =", &key.id);
    }
    sql.push_str(" ORDER BY seq DESC LIMIT $2");
    let mut rows = query(tx, &sql, &params).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let mut events = events(tx, &rows).await?;
    let record = |(place, row)| record(row, events.remove(&place).unwrap_or_default());
    let items = (0..).zip(&rows).map(record).collect::<Result<Vec<_>, _>>()?;
    let next = items.last().filter(|_| more).map(|record| record.sequence.to_string());
    Ok(Page { items, next })
}

/// One resource's entries in `order`, past a number; one more than `limit` where there is more.
pub(super) async fn story(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<LedgerRecord>, StoreError> {
    let (beyond, direction) = order.onward();
    let sql = format!(
        "SELECT seq, at, target, kind, id, generation, operation, call, status, result,
                etag_before, etag_after, elapsed_us, detail, directory, base_generation, actor
         FROM ledger WHERE kind = $1 AND id = $2 AND directory = $3 AND seq {beyond} $4
         ORDER BY seq {direction} LIMIT $5"
    );
    let params: &[&(dyn ToSql + Sync)] =
        &[&key.kind, &key.id, &directory, &big(after.unwrap_or(order.start())), &row_limit(limit + 1)];
    let rows = query(tx, &sql, params).await?;
    let mut events = events(tx, &rows).await?;
    let record = |(place, row)| record(row, events.remove(&place).unwrap_or_default());
    (0..).zip(&rows).map(record).collect()
}

/// Entries past those that were told, oldest first.
pub(super) async fn past(
    tx: &Tx<'_>,
    told: &BTreeMap<String, u64>,
    limit: usize,
) -> Result<Vec<LedgerRecord>, StoreError> {
    let (names, through): (Vec<_>, Vec<_>) =
        told.iter().map(|(name, through)| (storable(name), big(*through))).unzip();
    let rows = query(tx, PAST, &[&names, &through, &row_limit(limit)]).await?;
    let mut events = events(tx, &rows).await?;
    let record = |(place, row)| record(row, events.remove(&place).unwrap_or_default());
    (0..).zip(&rows).map(record).collect()
}

/// For each target a stretch of its own entries. Over all targets, numbers are not in the order of the
/// commits, so that one watermark for all would skip some. Pairs are compared so that no plan walks along the
/// numbers of others in search of a target that has few.
const PAST: &str = "
    SELECT l.seq, l.at, l.target, l.kind, l.id, l.generation, l.operation, l.call, l.status, l.result,
           l.etag_before, l.etag_after, l.elapsed_us, l.detail, l.directory, l.base_generation, l.actor
    FROM (SELECT t.name,
                 CASE WHEN said.through > (SELECT seq FROM ledger
                                           WHERE (target, seq) > (t.name, 0::bigint)
                                             AND (target, seq) <= (t.name, 9223372036854775807)
                                           ORDER BY target DESC, seq DESC LIMIT 1) THEN 0
                      ELSE coalesce(said.through, 0) END AS through
          FROM targets AS t
          LEFT JOIN unnest($1::text[], $2::bigint[]) AS said (name, through) ON said.name = t.name) AS t
    CROSS JOIN LATERAL (
        SELECT * FROM ledger
        WHERE (target, seq) > (t.name, t.through) AND (target, seq) <= (t.name, 9223372036854775807)
        ORDER BY target, seq LIMIT $3) AS l
    ORDER BY l.seq LIMIT $3";

const fn number(kind: Kind) -> i16 {
    match kind {
        Kind::User => 0,
        Kind::Group => 1,
    }
}

fn record(row: &SqlRow, events: Vec<String>) -> Result<LedgerRecord, StoreError> {
    let sequence = unsigned(row, 0, "ledger")?;
    let place = || corrupt("ledger", sequence.to_string());
    let status: Option<i32> = row.try_get(8)?;
    let elapsed_us: Option<i64> = row.try_get(12)?;
    Ok(LedgerRecord {
        sequence,
        at: row.try_get(1)?,
        target: row.try_get(2)?,
        key: if row.try_get::<_, i16>(3)? == OF_TARGET { None } else { Some(key_at(row, 3)?) },
        generation: unsigned(row, 5, "ledger")?,
        operation: row.try_get(6)?,
        call: row.try_get(7)?,
        status: status.map(u16::try_from).transpose().map_err(|_| place())?,
        result: row.try_get(9)?,
        etag_before: row.try_get(10)?,
        etag_after: row.try_get(11)?,
        elapsed_us: elapsed_us.map(u64::try_from).transpose().map_err(|_| place())?,
        detail: row.try_get(13)?,
        actor: row.try_get(16)?,
        events,
    })
}

/// The sender's ids of the events whose changes the entries of a page were about, by the entry's place.
async fn events(tx: &Tx<'_>, rows: &[SqlRow]) -> Result<BTreeMap<i64, Vec<String>>, StoreError> {
    let mut events: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    if rows.is_empty() {
        return Ok(events);
    }
    let directories: Vec<String> = column_of(rows, 14)?;
    let kinds: Vec<i16> = column_of(rows, 3)?;
    let ids: Vec<String> = column_of(rows, 4)?;
    let bases: Vec<i64> = column_of(rows, 15)?;
    let generations: Vec<i64> = column_of(rows, 5)?;
    let found = query(
        tx,
        "SELECT k.place, e.event_id
         FROM unnest($1::text[], $2::smallint[], $3::text[], $4::bigint[], $5::bigint[])
             WITH ORDINALITY AS k (directory, kind, id, base_generation, generation, place),
         LATERAL (
             SELECT e.event_id, min(c.generation) AS generation, min(c.seq) AS seq
             FROM (SELECT generation, seq FROM event_changes
                   WHERE directory = k.directory AND kind = k.kind AND id = k.id
                     AND generation > k.base_generation AND generation <= k.generation
                     AND outcome = 'merged'
                   ORDER BY generation, seq LIMIT $7) AS c
             JOIN events AS e ON e.seq = c.seq
             GROUP BY e.event_id ORDER BY 2, 3 LIMIT $6) AS e
         ORDER BY k.place, e.generation, e.seq",
        &[&directories, &kinds, &ids, &bases, &generations, &row_limit(EVENTS_MAX), &row_limit(CHANGES_MAX)],
    )
    .await?;
    for row in &found {
        let place: i64 = row.try_get(0)?;
        events.entry(place - 1).or_default().push(row.try_get(1)?);
    }
    Ok(events)
}

fn column_of<'a, T: FromSql<'a>>(rows: &'a [SqlRow], column: usize) -> Result<Vec<T>, StoreError> {
    Ok(rows.iter().map(|row| row.try_get(column)).collect::<Result<_, _>>()?)
}

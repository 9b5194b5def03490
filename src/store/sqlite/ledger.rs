//! The record of what was done: appended with each commit, read newest first.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params};

use crate::directory::{Kind, ResourceKey};
use crate::store::sqlite::rows::key_at;
use crate::store::{LedgerEntry, LedgerFilter, LedgerRecord, Order, Outcome, Page, StoreError};

/// Events that one entry names at most.
const EVENTS_MAX: u32 = 20;
/// `kind` of what is about the target itself.
const OF_TARGET: i64 = 2;

/// Appends the entries of an outcome. `base_generation` is what the vendor had before.
pub(super) fn append(
    conn: &Connection,
    target: &str,
    directory: &str,
    outcome: &Outcome,
    base_generation: u64,
) -> Result<(), StoreError> {
    let Outcome { key, generation, ledger, .. } = outcome;
    for entry in ledger {
        append_entry(conn, target, directory, Some(key), (base_generation, *generation), entry)?;
    }
    Ok(())
}

/// Appends one entry for the changes after the first generation, up to the second; without a resource, about
/// the target.
pub(super) fn append_entry(
    conn: &Connection,
    target: &str,
    directory: &str,
    key: Option<&ResourceKey>,
    (base_generation, generation): (u64, u64),
    entry: &LedgerEntry,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO ledger (at, target, directory, kind, id, generation, base_generation, operation,
                             call, status, result, etag_before, etag_after, elapsed_us, detail, actor)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )?
    .execute(params![
        entry.at,
        target,
        directory,
        key.map_or(OF_TARGET, |key| number(key.kind)),
        key.map_or("", |key| key.id.as_str()),
        generation,
        base_generation,
        entry.operation,
        entry.call,
        entry.status,
        entry.result,
        entry.etag_before,
        entry.etag_after,
        entry.elapsed_us,
        entry.detail,
        entry.actor
    ])?;
    Ok(())
}

/// One page, newest first.
pub(super) fn page(
    conn: &Connection,
    filter: &LedgerFilter,
    before: u64,
    limit: usize,
) -> Result<Page<LedgerRecord>, StoreError> {
    let LedgerFilter { target, key, result, operation, from, until } = filter;
    // Named by text, so that the statement is prepared once for each set of filters in use, and the
    // index of a resource's entries is used where a resource is named.
    let mut sql = "SELECT seq, at, target, kind, id, generation, operation, call, status, result,
                          etag_before, etag_after, elapsed_us, detail, directory, base_generation, actor
                   FROM ledger WHERE seq < ?1
                     AND (?2 IS NULL OR target = ?2)
                     AND (?3 IS NULL OR result = ?3)
                     AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR at < ?5)
                     AND (?7 IS NULL OR operation = ?7)"
        .to_owned();
    if from.is_some() {
        sql.push_str(NOT_BEFORE);
    }
    if key.is_some() {
        sql.push_str(" AND kind = ?8 AND id = ?9");
    }
    sql.push_str(" ORDER BY seq DESC LIMIT ?6");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = match key {
        Some(key) => statement.query(params![
            before,
            target,
            result,
            from,
            until,
            limit + 1,
            operation,
            key.kind,
            key.id
        ])?,
        None => statement.query(params![before, target, result, from, until, limit + 1, operation])?,
    };
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let record = record(row)?;
        let events = events(conn, &row.get::<_, String>(14)?, row.get(15)?, &record)?;
        items.push(LedgerRecord { events, ..record });
    }
    Ok(super::page(items, limit, |record| record.sequence.to_string()))
}

/// One resource's entries in `order`, past a number; one more than `limit` where there is more.
pub(super) fn story(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<LedgerRecord>, StoreError> {
    let mut statement = conn.prepare_cached(&story_sql(order))?;
    let mut rows =
        statement.query(params![key.kind, key.id, directory, after.unwrap_or(order.start()), limit + 1])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let record = record(row)?;
        let events = events(conn, &row.get::<_, String>(14)?, row.get(15)?, &record)?;
        items.push(LedgerRecord { events, ..record });
    }
    Ok(items)
}

/// In the order of the index of a resource's entries, which ends with their number.
pub(super) fn story_sql(order: Order) -> String {
    let (beyond, direction) = order.onward();
    format!(
        "SELECT seq, at, target, kind, id, generation, operation, call, status, result,
                etag_before, etag_after, elapsed_us, detail, directory, base_generation, actor
         FROM ledger INDEXED BY ledger_of_resource
         WHERE kind = ?1 AND id = ?2 AND directory = ?3 AND seq {beyond} ?4
         ORDER BY seq {direction} LIMIT ?5"
    )
}

/// Entries past those that were told, oldest first. One writer gives the numbers, so that they are in the
/// order of the commits.
pub(super) fn past(
    conn: &Connection,
    told: &BTreeMap<String, u64>,
    limit: usize,
) -> Result<Vec<LedgerRecord>, StoreError> {
    let mut targets = conn.prepare_cached("SELECT name FROM targets")?;
    let targets: Vec<String> = targets.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut found = Vec::new();
    let mut last = conn.prepare_cached(LAST)?;
    let mut statement = conn.prepare_cached(PAST)?;
    for target in &targets {
        let last: u64 = last.query_row([target], |row| row.get(0)).optional()?.unwrap_or(0);
        let through = told.get(target).copied().filter(|through| *through <= last).unwrap_or(0);
        let mut rows = statement.query(params![target, through, limit])?;
        while let Some(row) = rows.next()? {
            found.push((record(row)?, row.get::<_, String>(14)?, row.get::<_, u64>(15)?));
        }
    }
    found.sort_by_key(|(record, ..)| record.sequence);
    found.truncate(limit);
    let with_events = |(record, directory, base): (LedgerRecord, String, u64)| {
        Ok(LedgerRecord { events: events(conn, &directory, base, &record)?, ..record })
    };
    found.into_iter().map(with_events).collect()
}

/// The number of a target's last entry.
const LAST: &str =
    "SELECT seq FROM ledger INDEXED BY ledger_of_target WHERE target = ?1 ORDER BY seq DESC LIMIT 1";
/// A stretch of a target's entries, in the order of their index.
const PAST: &str = "SELECT seq, at, target, kind, id, generation, operation, call, status, result,
                           etag_before, etag_after, elapsed_us, detail, directory, base_generation, actor
                    FROM ledger INDEXED BY ledger_of_target WHERE target = ?1 AND seq > ?2
                    ORDER BY seq LIMIT ?3";
/// Where entries begin that are not older than a time: those before are not walked through.
const NOT_BEFORE: &str = " AND seq >= (SELECT coalesce(min(seq), 9223372036854775807)
                                       FROM ledger INDEXED BY ledger_by_time WHERE at >= ?4)";

fn record(row: &SqlRow<'_>) -> rusqlite::Result<LedgerRecord> {
    Ok(LedgerRecord {
        sequence: row.get(0)?,
        at: row.get(1)?,
        target: row.get(2)?,
        key: if row.get::<_, i64>(3)? == OF_TARGET { None } else { Some(key_at(row, 3)?) },
        generation: row.get(5)?,
        operation: row.get(6)?,
        call: row.get(7)?,
        status: row.get(8)?,
        result: row.get(9)?,
        etag_before: row.get(10)?,
        etag_after: row.get(11)?,
        elapsed_us: row.get(12)?,
        detail: row.get(13)?,
        actor: row.get(16)?,
        events: Vec::new(),
    })
}

/// The sender's ids of the events whose changes the entry was about.
fn events(
    conn: &Connection,
    directory: &str,
    base_generation: u64,
    record: &LedgerRecord,
) -> Result<Vec<String>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT DISTINCT e.event_id FROM event_changes AS c JOIN events AS e ON e.seq = c.seq
         WHERE c.directory = ?1 AND c.kind = ?2 AND c.id = ?3 AND c.generation > ?4 AND c.generation <= ?5
           AND c.outcome = 'merged'
         ORDER BY c.generation LIMIT ?6",
    )?;
    let LedgerRecord { key: Some(key), generation, .. } = record else { return Ok(Vec::new()) };
    let rows = statement
        .query_map(params![directory, key.kind, key.id, base_generation, generation, EVENTS_MAX], |row| {
            row.get(0)
        })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

const fn number(kind: Kind) -> i64 {
    match kind {
        Kind::User => 0,
        Kind::Group => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::migrate::migrate;

    #[test]
    fn entries_to_come_and_those_since_a_time_are_found_by_index_alone() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        let since =
            format!("SELECT seq FROM ledger WHERE seq < ?1 AND at >= ?4{NOT_BEFORE} ORDER BY seq DESC");
        for sql in [LAST, PAST, &since] {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let values = vec![rusqlite::types::Value::Null; statement.parameter_count()];
            let rows = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3));
            for step in rows.unwrap().map(Result::unwrap) {
                assert!(step.starts_with("SEARCH") || step.starts_with("SCALAR"), "{step}\n{sql}");
            }
        }
    }
}

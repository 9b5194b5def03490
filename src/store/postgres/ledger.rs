//! The record of what was done: appended with each commit, read newest first.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::ToSql;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, key_at, limit as rows_max, query, storable, unsigned,
};
use crate::store::{LedgerEntry, LedgerFilter, LedgerRecord, Outcome, Page, StoreError};

/// Events that one entry names at most.
const EVENTS_MAX: i64 = 20;

/// Appends the entries of outcomes, each with the generation that the vendor had before.
pub(super) async fn append(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    outcomes: impl Iterator<Item = (&Outcome, u64)>,
) -> Result<(), StoreError> {
    let mut entries = Entries::default();
    for (outcome, base) in outcomes {
        for entry in &outcome.ledger {
            entries.add(&outcome.key, (base, outcome.generation), entry);
        }
    }
    entries.write(tx, target, directory).await
}

/// Appends one entry for the changes after the first generation, up to the second.
pub(super) async fn append_entry(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    key: &ResourceKey,
    generations: (u64, u64),
    entry: &LedgerEntry,
) -> Result<(), StoreError> {
    let mut entries = Entries::default();
    entries.add(key, generations, entry);
    entries.write(tx, target, directory).await
}

/// Entries to be written, column by column.
#[derive(Default)]
struct Entries<'a> {
    at: Vec<Timestamp>,
    kinds: Vec<Kind>,
    ids: Vec<&'a ExternalId>,
    generations: Vec<i64>,
    bases: Vec<i64>,
    operations: Vec<&'a str>,
    calls: Vec<Option<&'a str>>,
    statuses: Vec<Option<i32>>,
    results: Vec<&'a str>,
    etags_before: Vec<Option<String>>,
    etags_after: Vec<Option<String>>,
    elapsed: Vec<Option<i64>>,
    details: Vec<Option<String>>,
}

impl<'a> Entries<'a> {
    fn add(&mut self, key: &'a ResourceKey, (base, generation): (u64, u64), entry: &'a LedgerEntry) {
        let text = |text: &Option<String>| text.as_deref().map(|text| storable(text).into_owned());
        self.at.push(entry.at);
        self.kinds.push(key.kind);
        self.ids.push(&key.id);
        self.generations.push(big(generation));
        self.bases.push(big(base));
        self.operations.push(entry.operation);
        self.calls.push(entry.call.as_deref());
        self.statuses.push(entry.status.map(i32::from));
        self.results.push(entry.result);
        self.etags_before.push(text(&entry.etag_before));
        self.etags_after.push(text(&entry.etag_after));
        self.elapsed.push(entry.elapsed_us.map(big));
        self.details.push(text(&entry.detail));
    }

    async fn write(&self, tx: &Tx<'_>, target: &str, directory: &str) -> Result<(), StoreError> {
        if self.at.is_empty() {
            return Ok(());
        }
        execute(
            tx,
            "INSERT INTO ledger (target, directory, at, kind, id, generation, base_generation, operation, call,
                                 status, result, etag_before, etag_after, elapsed_us, detail)
             SELECT $1, $2, given.*
             FROM unnest($3::bigint[], $4::smallint[], $5::text[], $6::bigint[], $7::bigint[], $8::text[],
                         $9::text[], $10::integer[], $11::text[], $12::text[], $13::text[], $14::bigint[],
                         $15::text[]) AS given",
            &[
                &target,
                &directory,
                &self.at,
                &self.kinds,
                &self.ids,
                &self.generations,
                &self.bases,
                &self.operations,
                &self.calls,
                &self.statuses,
                &self.results,
                &self.etags_before,
                &self.etags_after,
                &self.elapsed,
                &self.details,
            ],
        )
        .await?;
        Ok(())
    }
}

/// One page, newest first.
pub(super) async fn page(
    tx: &Tx<'_>,
    filter: &LedgerFilter,
    before: u64,
    limit: usize,
) -> Result<Page<LedgerRecord>, StoreError> {
    let (before, limit_plus_one) = (big(before), rows_max(limit + 1));
    let (sql, params) = page_query(filter, &before, &limit_plus_one);
    let rows = query(tx, &sql, &params).await?;
    let mut items = rows.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let sequences: Vec<i64> = items.iter().map(|record| big(record.sequence)).collect();
    let mut events = events(tx, &sequences).await?;
    for item in &mut items {
        item.events = events.remove(&item.sequence).unwrap_or_default();
    }
    Ok(super::page(items, limit, |record| record.sequence.to_string()))
}

/// Only what is asked for stands in the text, so that a resource's entries are found by their index.
fn page_query<'a>(
    filter: &'a LedgerFilter,
    before: &'a i64,
    limit: &'a i64,
) -> (String, Vec<&'a (dyn ToSql + Sync)>) {
    let LedgerFilter { target, key, result, from, until } = filter;
    let mut sql = "SELECT seq, at, target, kind, id, generation, operation, call, status, result,
                          etag_before, etag_after, elapsed_us, detail FROM ledger WHERE seq < $1"
        .to_owned();
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![before];
    let mut also = |condition: &str, value: &'a (dyn ToSql + Sync)| {
        params.push(value);
        sql.push_str(&format!(" AND {condition} ${}", params.len()));
    };
    if let Some(target) = target {
        also("target =", target);
    }
    if let Some(key) = key {
        also("kind =", &key.kind);
        also("id =", &key.id);
    }
    if let Some(result) = result {
        also("result =", result);
    }
    if let Some(from) = from {
        also("at >=", from);
    }
    if let Some(until) = until {
        also("at <", until);
    }
    params.push(limit);
    sql.push_str(&format!(" ORDER BY seq DESC LIMIT ${}", params.len()));
    (sql, params)
}

fn record(row: &SqlRow) -> Result<LedgerRecord, StoreError> {
    let sequence = unsigned(row, 0, "ledger")?;
    let status: Option<i32> = row.try_get(8)?;
    let elapsed_us: Option<i64> = row.try_get(12)?;
    let bad = |_| corrupt("ledger", sequence.to_string());
    Ok(LedgerRecord {
        sequence,
        at: row.try_get(1)?,
        target: row.try_get(2)?,
        key: key_at(row, 3)?,
        generation: unsigned(row, 5, "ledger")?,
        operation: row.try_get(6)?,
        call: row.try_get(7)?,
        status: status.map(u16::try_from).transpose().map_err(bad)?,
        result: row.try_get(9)?,
        etag_before: row.try_get(10)?,
        etag_after: row.try_get(11)?,
        elapsed_us: elapsed_us.map(u64::try_from).transpose().map_err(bad)?,
        detail: row.try_get(13)?,
        events: Vec::new(),
    })
}

/// For each entry the sender's ids of the events whose changes it was about.
pub(super) const EVENTS: &str = "SELECT l.seq, e.event_id
     FROM unnest($1::bigint[]) AS k (seq) JOIN ledger AS l ON l.seq = k.seq
     CROSS JOIN LATERAL (
         SELECT event_id, min(generation) AS generation FROM (
             SELECT e.event_id, c.generation FROM event_changes AS c JOIN events AS e ON e.seq = c.seq
             WHERE c.directory = l.directory AND c.kind = l.kind AND c.id = l.id
               AND c.generation > l.base_generation AND c.generation <= l.generation
               AND c.outcome = 'merged'
             ORDER BY c.generation LIMIT 1000) AS near
         GROUP BY event_id ORDER BY 2, 1 LIMIT $2) AS e
     ORDER BY l.seq, e.generation, e.event_id";

async fn events(tx: &Tx<'_>, sequences: &[i64]) -> Result<BTreeMap<u64, Vec<String>>, StoreError> {
    let mut events: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in query(tx, EVENTS, &[&sequences, &EVENTS_MAX]).await? {
        events.entry(unsigned(&row, 0, "ledger")?).or_default().push(row.try_get(1)?);
    }
    Ok(events)
}

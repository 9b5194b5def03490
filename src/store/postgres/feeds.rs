//! Feeds: who takes them in, and what each source has said so far. Terms run by the database's clock.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::Value;

use crate::directory::ExternalId;
use crate::store::postgres::PostgresStore;
use crate::store::postgres::rows::{Tx, big, execute, from_json, limit as most, query, query_one, query_opt};
use crate::store::postgres::rows::{to_json, unsigned};
use crate::store::{Aspect, Consent, Feed, Feeds, Known, RecordKey, SettledRecord, StoreError, Tally};

#[async_trait]
impl Feeds for PostgresStore {
    async fn hold(&self, source: &str, replica: &str, term: Duration) -> Result<Option<Feed>, StoreError> {
        self.database.write(|tx, _| hold(tx, source, replica, term).boxed()).await
    }

    async fn release(&self, source: &str, replica: &str) -> Result<(), StoreError> {
        let sql = "UPDATE feeds SET holder = '' WHERE source = $1 AND holder = $2";
        self.database
            .write(|tx, _| async move { execute(tx, sql, &[&source, &replica]).await.map(|_| ()) }.boxed())
            .await
    }

    async fn remember(
        &self,
        source: &str,
        replica: &str,
        memory: &Value,
        spend: bool,
    ) -> Result<(), StoreError> {
        let memory = to_json(memory);
        let memory = &memory;
        let sql = "UPDATE feeds SET memory = $3, consent = CASE WHEN $4 THEN NULL ELSE consent END
                   WHERE source = $1 AND holder = $2";
        self.database
            .write(|tx, _| {
                async move {
                    match execute(tx, sql, &[&source, &replica, memory, &spend]).await? {
                        0 => Err(StoreError::Deposed { target: source.to_owned() }),
                        _ => Ok(()),
                    }
                }
                .boxed()
            })
            .await
    }

    async fn feed(&self, source: &str) -> Result<Option<Feed>, StoreError> {
        self.database.read(|tx, _| feed(tx, source).boxed()).await
    }

    async fn consent(&self, source: &str, consent: &Consent) -> Result<bool, StoreError> {
        let consent = to_json(consent);
        let consent = &consent;
        let sql = "UPDATE feeds SET consent = $2 WHERE source = $1";
        self.database
            .write(|tx, _| async move { Ok(execute(tx, sql, &[&source, consent]).await? > 0) }.boxed())
            .await
    }

    async fn look_up(
        &self,
        source: &str,
        snapshot: u64,
        records: &[RecordKey],
    ) -> Result<Vec<Known>, StoreError> {
        self.database.write(|tx, _| look_up(tx, source, snapshot, records).boxed()).await
    }

    async fn settle(&self, source: &str, snapshot: u64, records: &[SettledRecord]) -> Result<(), StoreError> {
        self.database.write(|tx, _| settle(tx, source, snapshot, records).boxed()).await
    }

    async fn tally(&self, source: &str, seen_before: u64) -> Result<Tally, StoreError> {
        self.database.read(|tx, _| tally(tx, source, seen_before).boxed()).await
    }

    async fn absent(
        &self,
        source: &str,
        seen_before: u64,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, StoreError> {
        self.database.read(|tx, _| absent(tx, source, seen_before, after, limit).boxed()).await
    }
}

async fn hold(tx: &Tx<'_>, source: &str, replica: &str, term: Duration) -> Result<Option<Feed>, StoreError> {
    let sql = "INSERT INTO feeds AS held (source, holder, ends_at, memory)
               VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), 'null')
               ON CONFLICT (source) DO UPDATE
               SET holder = excluded.holder, ends_at = clock_timestamp() + make_interval(secs => $3)
               WHERE held.holder IN ('', excluded.holder) OR held.ends_at <= clock_timestamp()";
    match execute(tx, sql, &[&source, &replica, &term.as_secs_f64()]).await? {
        0 => Ok(None),
        _ => feed(tx, source).await,
    }
}

async fn feed(tx: &Tx<'_>, source: &str) -> Result<Option<Feed>, StoreError> {
    let sql = "SELECT memory, consent FROM feeds WHERE source = $1";
    let Some(row) = query_opt(tx, sql, &[&source]).await? else { return Ok(None) };
    let (memory, consent): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let consent = consent.as_deref().map(|text| from_json(text, "feeds", source)).transpose()?;
    Ok(Some(Feed { memory: from_json(&memory, "feeds", source)?, consent }))
}

pub(super) async fn look_up(
    tx: &Tx<'_>,
    source: &str,
    snapshot: u64,
    records: &[RecordKey],
) -> Result<Vec<Known>, StoreError> {
    let (aspects, ids) = columns(records.iter());
    let sql = "SELECT r.aspect, r.id, r.fingerprint, r.seen
               FROM unnest($2::smallint[], $3::text[]) AS wanted (aspect, id)
               JOIN feed_records AS r ON r.source = $1 AND r.aspect = wanted.aspect AND r.id = wanted.id";
    let mut known = HashMap::new();
    for row in query(tx, sql, &[&source, &aspects, &ids]).await? {
        let named_before = snapshot > 0 && unsigned(&row, 3, "feed_records")? == snapshot;
        let found = Known { fingerprint: row.try_get(2)?, named_before };
        known.insert((row.try_get::<_, i16>(0)?, row.try_get::<_, String>(1)?), found);
    }
    if snapshot > 0 {
        let sql = "INSERT INTO feed_records (source, aspect, id, seen, fingerprint, is_there)
                   SELECT $1, aspect, id, $4, '', false
                   FROM unnest($2::smallint[], $3::text[]) AS named (aspect, id) ORDER BY aspect, id
                   ON CONFLICT (source, aspect, id) DO UPDATE SET seen = excluded.seen";
        execute(tx, sql, &[&source, &aspects, &ids, &big(snapshot)]).await?;
    }
    let answer = |record: &RecordKey| {
        known.remove(&(i16::from(record.aspect.number()), record.id.as_str().to_owned())).unwrap_or_default()
    };
    Ok(records.iter().map(answer).collect())
}

pub(super) async fn settle(
    tx: &Tx<'_>,
    source: &str,
    snapshot: u64,
    records: &[SettledRecord],
) -> Result<(), StoreError> {
    let (aspects, ids) = columns(records.iter().map(|record| &record.key));
    let fingerprints: Vec<&[u8]> = records.iter().map(|record| record.fingerprint.as_slice()).collect();
    let there: Vec<bool> = records.iter().map(|record| record.is_there).collect();
    let sql = "INSERT INTO feed_records AS held (source, aspect, id, seen, fingerprint, is_there)
               SELECT $1, aspect, id, $6, fingerprint, is_there
               FROM unnest($2::smallint[], $3::text[], $4::bytea[], $5::boolean[])
                    AS settled (aspect, id, fingerprint, is_there) ORDER BY aspect, id
               ON CONFLICT (source, aspect, id) DO UPDATE
               SET seen = greatest(held.seen, excluded.seen), fingerprint = excluded.fingerprint,
                   is_there = excluded.is_there";
    execute(tx, sql, &[&source, &aspects, &ids, &fingerprints, &there, &big(snapshot)]).await?;
    Ok(())
}

async fn tally(tx: &Tx<'_>, source: &str, seen_before: u64) -> Result<Tally, StoreError> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE seen < $2) FROM feed_records
               WHERE source = $1 AND aspect IN (0, 1) AND is_there";
    let row = query_one(tx, sql, &[&source, &big(seen_before)]).await?;
    Ok(Tally { there: unsigned(&row, 0, "feed_records")?, absent: unsigned(&row, 1, "feed_records")? })
}

pub(super) async fn absent(
    tx: &Tx<'_>,
    source: &str,
    seen_before: u64,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Vec<RecordKey>, StoreError> {
    let (aspect, id) = after.map_or((0_i16, ""), |after| (after.aspect.number().into(), after.id.as_str()));
    let sql = "SELECT aspect, id FROM feed_records
               WHERE source = $1 AND (aspect, id) > ($2, $3) AND aspect IN (0, 1) AND is_there AND seen < $4
               ORDER BY aspect, id LIMIT $5";
    let rows = query(tx, sql, &[&source, &aspect, &id, &big(seen_before), &most(limit)]).await?;
    rows.iter()
        .map(|row| {
            let is_user = row.try_get::<_, i16>(0)? == i16::from(Aspect::User.number());
            let aspect = if is_user { Aspect::User } else { Aspect::Group };
            Ok(RecordKey { aspect, id: row.try_get(1)? })
        })
        .collect()
}

fn columns<'a>(records: impl Iterator<Item = &'a RecordKey>) -> (Vec<i16>, Vec<&'a ExternalId>) {
    records.map(|record| (i16::from(record.aspect.number()), &record.id)).unzip()
}

//! Feeds: who takes them in, and what each source has said so far.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use crate::clock::{Clock, SystemClock};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::rows::{from_json, to_json};
use crate::store::{Aspect, Consent, Feed, Feeds, Known, RecordKey, SettledRecord, StoreError, Tally};

#[async_trait]
impl Feeds for SqliteStore {
    async fn hold(&self, source: &str, replica: &str, term: Duration) -> Result<Option<Feed>, StoreError> {
        let (source, replica) = (source.to_owned(), replica.to_owned());
        self.writer.write(move |conn| hold(conn, &source, &replica, term)).await
    }

    async fn release(&self, source: &str, replica: &str) -> Result<(), StoreError> {
        let (source, replica) = (source.to_owned(), replica.to_owned());
        self.writer
            .write(move |conn| {
                conn.prepare_cached("UPDATE feeds SET holder = '' WHERE source = ?1 AND holder = ?2")?
                    .execute([source, replica])?;
                Ok(())
            })
            .await
    }

    async fn remember(
        &self,
        source: &str,
        replica: &str,
        memory: &Value,
        spend: bool,
    ) -> Result<(), StoreError> {
        let (source, replica, memory) = (source.to_owned(), replica.to_owned(), to_json(memory));
        self.writer
            .write(move |conn| {
                let sql = "UPDATE feeds SET memory = ?3, consent = iif(?4, NULL, consent)
                           WHERE source = ?1 AND holder = ?2";
                match conn.prepare_cached(sql)?.execute(params![source, replica, memory, spend])? {
                    0 => Err(StoreError::Deposed { target: source }),
                    _ => Ok(()),
                }
            })
            .await
    }

    async fn feed(&self, source: &str) -> Result<Option<Feed>, StoreError> {
        let source = source.to_owned();
        self.readers.read(move |conn| feed(conn, &source)).await
    }

    async fn consent(&self, source: &str, consent: &Consent) -> Result<bool, StoreError> {
        let (source, consent) = (source.to_owned(), to_json(consent));
        self.writer
            .write(move |conn| {
                let sql = "UPDATE feeds SET consent = ?2 WHERE source = ?1";
                Ok(conn.prepare_cached(sql)?.execute([source, consent])? > 0)
            })
            .await
    }

    async fn look_up(
        &self,
        source: &str,
        snapshot: u64,
        records: &[RecordKey],
    ) -> Result<Vec<Known>, StoreError> {
        let (source, records) = (source.to_owned(), records.to_vec());
        if snapshot == 0 {
            return self.readers.read(move |conn| look_up(conn, &source, 0, &records)).await;
        }
        self.writer
            .write(move |conn| {
                let known = look_up(conn, &source, snapshot, &records)?;
                name(conn, &source, snapshot, &records)?;
                Ok(known)
            })
            .await
    }

    async fn settle(&self, source: &str, snapshot: u64, records: &[SettledRecord]) -> Result<(), StoreError> {
        let (source, records) = (source.to_owned(), records.to_vec());
        self.writer.write(move |conn| settle(conn, &source, snapshot, &records)).await
    }

    async fn tally(&self, source: &str, seen_before: u64) -> Result<Tally, StoreError> {
        let source = source.to_owned();
        self.readers
            .read(move |conn| {
                let sql = "SELECT count(*), count(*) FILTER (WHERE seen < ?2) FROM feed_records
                           WHERE source = ?1 AND aspect IN (0, 1) AND is_there = 1";
                let tally = conn.prepare_cached(sql)?.query_row(params![source, seen_before], |row| {
                    Ok(Tally { there: row.get(0)?, absent: row.get(1)? })
                })?;
                Ok(tally)
            })
            .await
    }

    async fn absent(
        &self,
        source: &str,
        seen_before: u64,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, StoreError> {
        let (source, after) = (source.to_owned(), after.cloned());
        self.readers.read(move |conn| absent(conn, &source, seen_before, after.as_ref(), limit)).await
    }
}

fn hold(conn: &Connection, source: &str, replica: &str, term: Duration) -> Result<Option<Feed>, StoreError> {
    let now = SystemClock.now();
    let sql = "INSERT INTO feeds (source, holder, ends_at, memory) VALUES (?1, ?2, ?3, 'null')
               ON CONFLICT DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at
               WHERE holder IN ('', excluded.holder) OR ends_at <= ?4";
    let held = conn.prepare_cached(sql)?.execute(params![source, replica, now.after(term), now])?;
    if held == 0 { Ok(None) } else { feed(conn, source) }
}

fn feed(conn: &Connection, source: &str) -> Result<Option<Feed>, StoreError> {
    let row: Option<(String, Option<String>)> = conn
        .prepare_cached("SELECT memory, consent FROM feeds WHERE source = ?1")?
        .query_row([source], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((memory, consent)) = row else { return Ok(None) };
    let consent = consent.as_deref().map(|text| from_json(text, "feeds", source)).transpose()?;
    Ok(Some(Feed { memory: from_json(&memory, "feeds", source)?, consent }))
}

fn look_up(
    conn: &Connection,
    source: &str,
    snapshot: u64,
    records: &[RecordKey],
) -> Result<Vec<Known>, StoreError> {
    let sql = "SELECT fingerprint, seen FROM feed_records WHERE source = ?1 AND aspect = ?2 AND id = ?3";
    let mut select = conn.prepare_cached(sql)?;
    let mut known = Vec::with_capacity(records.len());
    for record in records {
        let row = select.query_row(params![source, record.aspect.number(), record.id], |row| {
            let seen: u64 = row.get(1)?;
            Ok(Known { fingerprint: row.get(0)?, named_before: snapshot > 0 && seen == snapshot })
        });
        known.push(row.optional()?.unwrap_or_default());
    }
    Ok(known)
}

fn name(conn: &Connection, source: &str, snapshot: u64, records: &[RecordKey]) -> Result<(), StoreError> {
    let mut upsert = conn.prepare_cached(
        "INSERT INTO feed_records (source, aspect, id, seen, fingerprint, is_there)
         VALUES (?1, ?2, ?3, ?4, x'', 0)
         ON CONFLICT DO UPDATE SET seen = excluded.seen",
    )?;
    for record in records {
        upsert.execute(params![source, record.aspect.number(), record.id, snapshot])?;
    }
    Ok(())
}

fn settle(
    conn: &Connection,
    source: &str,
    snapshot: u64,
    records: &[SettledRecord],
) -> Result<(), StoreError> {
    let mut upsert = conn.prepare_cached(
        "INSERT INTO feed_records (source, aspect, id, seen, fingerprint, is_there)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET seen = max(seen, excluded.seen), fingerprint = excluded.fingerprint,
             is_there = excluded.is_there",
    )?;
    for SettledRecord { key, fingerprint, is_there } in records {
        upsert.execute(params![source, key.aspect.number(), key.id, snapshot, fingerprint, is_there])?;
    }
    Ok(())
}

fn absent(
    conn: &Connection,
    source: &str,
    seen_before: u64,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Vec<RecordKey>, StoreError> {
    let (aspect, id) = after.map_or((0, ""), |after| (after.aspect.number(), after.id.as_str()));
    let sql = "SELECT aspect, id FROM feed_records
               WHERE source = ?1 AND (aspect, id) > (?2, ?3) AND aspect IN (0, 1) AND is_there = 1
                     AND seen < ?4
               ORDER BY aspect, id LIMIT ?5";
    let mut select = conn.prepare_cached(sql)?;
    let rows = select.query_map(params![source, aspect, id, seen_before, limit], |row| {
        let aspect = if row.get::<_, u8>(0)? == Aspect::User.number() { Aspect::User } else { Aspect::Group };
        Ok(RecordKey { aspect, id: row.get(1)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

//! The log of events as the writer keeps it: the next number, and which events are known.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::store::sqlite::rows::corrupt;
use crate::store::sqlite::seen::{EventDigest, Seen};
use crate::store::{Appended, NewEvent, StoreError};

/// Ids that one append may forget, so that forgetting keeps up and never stalls.
const FORGOTTEN_PER_APPEND: usize = 2;

/// What the writer knows of the log without reading it.
pub(super) struct Inbox {
    /// How long an id is remembered after its event was received.
    window: Duration,
    seen: Seen,
    /// The number of the last event that is durable.
    last: u64,
    /// The number of the last event whose id was forgotten.
    forgotten: u64,
    /// When the newest event was received.
    newest: Timestamp,
    /// Sources that have a row.
    sources: BTreeSet<String>,
    fresh: Fresh,
}

/// What the open transaction adds, to be taken back if it fails.
#[derive(Default)]
struct Fresh {
    digests: Vec<EventDigest>,
    sources: Vec<String>,
}

impl Inbox {
    /// Reads the ids that are within the window: one scan of a narrow table.
    pub(super) fn load(conn: &Connection, window: Duration) -> Result<Self, StoreError> {
        let mut inbox = Self {
            window,
            seen: Seen::default(),
            last: 0,
            forgotten: 0,
            newest: Timestamp::default(),
            sources: BTreeSet::new(),
            fresh: Fresh::default(),
        };
        let newest: Option<i64> =
            conn.query_row("SELECT max(received_at) FROM event_ids", [], |r| r.get(0))?;
        inbox.newest = Timestamp::from_micros(newest.unwrap_or_default());
        inbox.forgotten = conn
            .query_row(
                "SELECT seq - 1 FROM event_ids WHERE received_at >= ?1 ORDER BY seq LIMIT 1",
                [inbox.horizon()],
                |row| row.get(0),
            )
            .optional()?
            .unwrap_or(0);
        inbox.last = inbox.forgotten;
        inbox.catch_up(conn)?;
        Ok(inbox)
    }

    /// Learns what the table holds past the last known event. After a commit of unknown outcome this
    /// finds what did become durable.
    pub(super) fn catch_up(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let rows: u64 =
            conn.query_row("SELECT coalesce(max(seq), 0) FROM event_ids", [], |row| row.get(0))?;
        self.seen.reserve(usize::try_from(rows.saturating_sub(self.last)).unwrap_or(0));
        let mut statement =
            conn.prepare("SELECT seq, id, received_at FROM event_ids WHERE seq > ?1 ORDER BY seq")?;
        let mut rows = statement.query([self.last])?;
        while let Some(row) = rows.next()? {
            let seq: u64 = row.get(0)?;
            let digest = row.get_ref(1)?.as_blob().ok().and_then(EventDigest::from_bytes);
            self.seen.insert(digest.ok_or_else(|| corrupt("event_ids", seq.to_string()))?);
            self.newest = self.newest.max(row.get(2)?);
            self.last = seq;
        }
        let mut statement = conn.prepare("SELECT name FROM sources")?;
        self.sources = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Adds an event to the open transaction.
    pub(super) fn append(
        &mut self,
        conn: &Connection,
        event: &NewEvent,
        digest: EventDigest,
    ) -> Result<Appended, StoreError> {
        if !self.seen.insert(digest) {
            return Ok(Appended::Duplicate);
        }
        self.fresh.digests.push(digest);
        let seq = self.last + u64::try_from(self.fresh.digests.len()).unwrap_or(u64::MAX);
        insert(conn, seq, event, digest)?;
        if self.sources.insert(event.source.clone()) {
            self.fresh.sources.push(event.source.clone());
            conn.execute("INSERT OR IGNORE INTO sources (name) VALUES (?1)", [&event.source])?;
        }
        self.newest = self.newest.max(event.received_at);
        Ok(Appended::New)
    }

    /// The transaction is durable. Ids that have left the window are forgotten.
    pub(super) fn committed(&mut self, conn: &Connection) {
        let appended = std::mem::take(&mut self.fresh).digests.len();
        self.last += u64::try_from(appended).unwrap_or(u64::MAX);
        // What cannot be read now is forgotten later: only memory is at stake.
        if let Err(error) = self.forget(conn, appended * FORGOTTEN_PER_APPEND) {
            tracing::warn!(%error, "failed to read the ids that may be forgotten");
        }
    }

    /// The transaction failed: its events were never seen.
    pub(super) fn rolled_back(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        for digest in fresh.digests {
            self.seen.remove(digest);
        }
        for source in fresh.sources {
            self.sources.remove(&source);
        }
    }

    fn forget(&mut self, conn: &Connection, limit: usize) -> Result<(), StoreError> {
        let horizon = self.horizon();
        let mut statement = conn.prepare_cached(
            "SELECT seq, id, received_at FROM event_ids WHERE seq > ?1 ORDER BY seq LIMIT ?2",
        )?;
        let mut rows = statement.query(params![self.forgotten, limit])?;
        while let Some(row) = rows.next()? {
            let received_at: Timestamp = row.get(2)?;
            if received_at >= horizon {
                break;
            }
            if let Some(digest) = row.get_ref(1)?.as_blob().ok().and_then(EventDigest::from_bytes) {
                self.seen.remove(digest);
            }
            self.forgotten = row.get(0)?;
        }
        Ok(())
    }

    /// Events received before this are out of the window.
    fn horizon(&self) -> Timestamp {
        let window = i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.newest.as_micros().saturating_sub(window))
    }
}

fn insert(conn: &Connection, seq: u64, event: &NewEvent, digest: EventDigest) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO events (seq, source, directory, event_id, received_at, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        seq,
        event.source,
        event.directory,
        event.event_id,
        event.received_at,
        event.body
    ])?;
    conn.prepare_cached("INSERT INTO event_ids (seq, id, received_at) VALUES (?1, ?2, ?3)")?
        .execute(params![seq, digest.to_bytes(), event.received_at])?;
    if event.urgent {
        conn.prepare_cached("INSERT INTO events_ahead (rank, seq) VALUES (0, ?1)")?.execute([seq])?;
    }
    Ok(())
}

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
/// Forgotten ids after which that is noted, so that a start does not read them all.
const FORGOTTEN_PER_NOTE: u64 = 10_000;

/// What the writer knows of the log without reading it.
pub(super) struct Inbox {
    /// How long an id is remembered after its event was received.
    window: Duration,
    seen: Seen,
    /// The number of the last event that is durable.
    last: u64,
    /// The number of the last event whose id was forgotten.
    forgotten: u64,
    /// What the database says of that.
    noted: u64,
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
            noted: 0,
            newest: Timestamp::default(),
            sources: BTreeSet::new(),
            fresh: Fresh::default(),
        };
        inbox.noted =
            conn.query_row("SELECT value FROM counters WHERE name = 'forgotten'", [], |row| row.get(0))?;
        inbox.newest = conn.query_row(
            "SELECT coalesce(max(received_at), 0) FROM event_ids WHERE seq > ?1",
            [inbox.noted],
            |row| row.get(0),
        )?;
        inbox.forgotten = conn
            .query_row(
                "SELECT seq - 1 FROM event_ids WHERE seq > ?1 AND received_at >= ?2 ORDER BY seq LIMIT 1",
                params![inbox.noted, inbox.horizon()],
                |row| row.get(0),
            )
            .optional()?
            .unwrap_or(inbox.noted);
        inbox.last = inbox.forgotten;
        inbox.catch_up(conn)?;
        Ok(inbox)
    }

    /// Learns what the table holds past the last known event. After a commit of unknown outcome this
    /// finds what did become durable.
    pub(super) fn catch_up(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let last: u64 =
            conn.query_row("SELECT coalesce(max(seq), 0) FROM event_ids", [], |row| row.get(0))?;
        self.seen.reserve(usize::try_from(last.saturating_sub(self.last)).unwrap_or(0));
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
            note_repeat(conn, event)?;
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

    /// Adds to the open transaction how far ids are forgotten, now and then.
    pub(super) fn note_forgotten(&self, conn: &Connection) -> Result<(), StoreError> {
        if self.note_is_due() {
            conn.prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'forgotten'")?
                .execute([self.forgotten])?;
        }
        Ok(())
    }

    /// The transaction is durable. Ids that have left the window are forgotten.
    pub(super) fn committed(&mut self, conn: &Connection) {
        let appended = std::mem::take(&mut self.fresh).digests.len();
        self.last += u64::try_from(appended).unwrap_or(u64::MAX);
        if self.note_is_due() {
            self.noted = self.forgotten;
        }
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

    const fn note_is_due(&self) -> bool {
        self.forgotten >= self.noted + FORGOTTEN_PER_NOTE
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

/// Says for people that a sender repeated itself.
fn note_repeat(conn: &Connection, event: &NewEvent) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO event_repeats (source, event_id, times, last_at) VALUES (?1, ?2, 1, ?3)
         ON CONFLICT DO UPDATE SET times = times + 1, last_at = max(last_at, excluded.last_at)",
    )?
    .execute(params![event.source, event.event_id, event.received_at])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::migrate::migrate;

    const WINDOW: Duration = Duration::from_secs(1_000);

    fn append(inbox: &mut Inbox, conn: &Connection, number: u32) -> Appended {
        let event = NewEvent {
            source: "hr".to_owned(),
            directory: "corp".to_owned(),
            event_id: format!("evt-{number}"),
            received_at: Timestamp::from_seconds(number.into()),
            urgent: false,
            body: Vec::new(),
        };
        let appended = inbox.append(conn, &event, EventDigest::of("hr", &event.event_id)).unwrap();
        inbox.note_forgotten(conn).unwrap();
        inbox.committed(conn);
        appended
    }

    #[test]
    fn a_start_reads_about_as_many_ids_as_are_remembered() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        let mut inbox = Inbox::load(&conn, WINDOW).unwrap();
        for number in 0..12_000 {
            assert_eq!(append(&mut inbox, &conn, number), Appended::New);
        }
        let noted: u64 = conn
            .query_row("SELECT value FROM counters WHERE name = 'forgotten'", [], |row| row.get(0))
            .unwrap();
        assert!((10_000..11_000).contains(&noted), "{noted}");
        // What lies before the note is not even looked at.
        conn.execute("UPDATE event_ids SET received_at = 20000 * 1000000 WHERE seq = 1", []).unwrap();
        let mut inbox = Inbox::load(&conn, WINDOW).unwrap();
        assert_eq!((inbox.last, inbox.forgotten), (12_000, 10_999));
        assert_eq!(append(&mut inbox, &conn, 11_500), Appended::Duplicate);
        assert_eq!(append(&mut inbox, &conn, 10_500), Appended::New);
        assert_eq!(append(&mut inbox, &conn, 12_000), Appended::New);
    }
}

//! Merging events into the directory: picked and read beside the writer, merged by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rusqlite::{Connection, Row as SqlRow, Rows, params};

use crate::clock::Timestamp;
use crate::directory::{Change, Effect, MergeOutcome, Needs, ResourceKey, Version, VersionedChange, merge};
use crate::store::sqlite::{directory, errands, timeline, work};
use crate::store::timeline::written_memberships;
use crate::store::{EventReader, Projection, Scopes, StoreError, Topic};

/// Bytes of bodies past which a batch takes no further event.
const BODY_BYTES_MAX: usize = 8 << 20;

/// Events to be merged next, as of one moment.
pub(super) struct Picked {
    /// How many batches had been projected; another number by now means that this one is stale.
    batch: u64,
    events: Vec<PickedEvent>,
    /// Every event up to this one is dealt with once these are.
    through: u64,
}

struct PickedEvent {
    seq: u64,
    source: String,
    directory: String,
    event_id: String,
    received_at: Timestamp,
    body: Vec<u8>,
}

/// The same events, read.
pub(super) struct ReadBatch {
    batch: u64,
    events: Vec<ReadEvent>,
    through: u64,
    scopes: Option<Arc<dyn Scopes>>,
}

struct ReadEvent {
    seq: u64,
    directory: String,
    event_id: String,
    source: String,
    received_at: Timestamp,
    changes: Result<Vec<Change>, String>,
    wanted: Vec<Topic>,
}

/// Picks up to `limit` events: first those ahead of their turn, then in the order they came.
pub(super) fn pick(conn: &Connection, limit: usize) -> Result<Picked, StoreError> {
    let batch = counter(conn, "batch")?;
    let projected = counter(conn, "projected")?;
    let last: u64 = conn.query_row("SELECT coalesce(max(seq), 0) FROM events", [], |row| row.get(0))?;
    let mut picker = Picker { events: Vec::new(), bytes: 0, limit };
    let mut ahead = conn.prepare_cached(
        "SELECT e.seq, source, directory, event_id, received_at, body
         FROM events_ahead AS a JOIN events AS e ON e.seq = a.seq
         ORDER BY a.rank, a.seq LIMIT ?1",
    )?;
    let mut in_turn = conn.prepare_cached(
        "SELECT seq, source, directory, event_id, received_at, body FROM events
         WHERE seq > ?2
           AND seq NOT IN (SELECT seq FROM events_done_early)
           AND seq NOT IN (SELECT seq FROM events_ahead)
         ORDER BY seq LIMIT ?1",
    )?;
    let mut through = projected;
    if picker.take(ahead.query([limit])?)? {
        let taken_ahead = picker.events.len();
        let exhausted = picker.take(in_turn.query(params![limit - taken_ahead, projected])?)?;
        let last_in_turn = picker.events[taken_ahead..].last().map_or(projected, |event| event.seq);
        // The newest events may have been pruned; the cursor never goes back.
        through = if exhausted { last.max(projected) } else { last_in_turn };
    }
    Ok(Picked { batch, events: picker.events, through })
}

struct Picker {
    events: Vec<PickedEvent>,
    bytes: usize,
    limit: usize,
}

impl Picker {
    /// Takes events; true when it took all and there is room for more.
    fn take(&mut self, mut rows: Rows<'_>) -> Result<bool, StoreError> {
        while let Some(row) = rows.next()? {
            if self.bytes >= BODY_BYTES_MAX {
                return Ok(false);
            }
            let event = picked_event(row)?;
            self.bytes += event.body.len();
            self.events.push(event);
        }
        Ok(self.events.len() < self.limit)
    }
}

fn picked_event(row: &SqlRow<'_>) -> rusqlite::Result<PickedEvent> {
    Ok(PickedEvent {
        seq: row.get(0)?,
        source: row.get(1)?,
        directory: row.get(2)?,
        event_id: row.get(3)?,
        received_at: row.get(4)?,
        body: row.get(5)?,
    })
}

impl Picked {
    /// Whether no event waits.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Reads the bodies, letting others run in between.
    pub(super) async fn read(self, reader: &dyn EventReader) -> ReadBatch {
        let mut events = Vec::with_capacity(self.events.len());
        for PickedEvent { seq, source, directory, event_id, received_at, body } in self.events {
            let changes = reader.read(&source, &body);
            if let Err(reason) = &changes {
                tracing::warn!(sequence = seq, %source, %reason, "an accepted event cannot be read any more; it is kept");
            }
            let wanted = reader.wanted(&source, &body);
            events.push(ReadEvent { seq, directory, event_id, source, received_at, changes, wanted });
            tokio::task::consume_budget().await;
        }
        ReadBatch { batch: self.batch, events, through: self.through, scopes: reader.scopes() }
    }
}

/// Merges a batch, marks what changed as work, and notes that the events are dealt with. `None` when
/// another batch came in between.
pub(super) fn apply(conn: &Connection, batch: &ReadBatch) -> Result<Option<Projection>, StoreError> {
    if counter(conn, "batch")? != batch.batch {
        return Ok(None);
    }
    let mut projection = Projection::default();
    let mut per_directory: BTreeMap<&str, Vec<&ReadEvent>> = BTreeMap::new();
    for event in &batch.events {
        settle(conn, event, batch.through)?;
        for topic in &event.wanted {
            errands::want(conn, &event.source, topic, event.received_at)?;
        }
        projection.wanted += event.wanted.len();
        match &event.changes {
            Ok(changes) => {
                projection.events += 1;
                projection.changes += changes.len();
                per_directory.entry(&event.directory).or_default().push(event);
            }
            Err(reason) => {
                projection.unreadable += 1;
                conn.prepare_cached("INSERT INTO events_unreadable (seq, reason) VALUES (?1, ?2)")?
                    .execute(params![event.seq, reason])?;
            }
        }
    }
    for (directory, events) in per_directory {
        projection.woken.extend(merge_events(conn, directory, &events, batch.scopes.as_deref())?);
    }
    advance(conn, batch.through)?;
    projection.more = unprojected(conn)? > 0;
    Ok(Some(projection))
}

/// Events that are accepted and not dealt with.
pub(super) fn unprojected(conn: &Connection) -> Result<u64, StoreError> {
    // Each event is counted in one place: past the cursor unless done early, or ahead and behind it.
    let count = conn
        .prepare_cached(
            "SELECT max((SELECT coalesce(max(seq), 0) FROM events), c.value) - c.value
                  - (SELECT count(*) FROM events_done_early)
                  + (SELECT count(*) FROM events_ahead WHERE seq <= c.value)
             FROM counters AS c WHERE c.name = 'projected'",
        )?
        .query_row([], |row| row.get(0))?;
    Ok(count)
}

/// Puts events that could not be read in line once more; sources may have come back.
pub(super) fn retry_unreadable(conn: &Connection) -> Result<(), StoreError> {
    conn.execute_batch(
        "INSERT OR IGNORE INTO events_ahead (rank, seq) SELECT 1, seq FROM events_unreadable;
         DELETE FROM events_done_early WHERE seq IN (SELECT seq FROM events_unreadable);
         DELETE FROM events_unreadable;",
    )?;
    Ok(())
}

fn counter(conn: &Connection, name: &str) -> Result<u64, StoreError> {
    let mut statement = conn.prepare_cached("SELECT value FROM counters WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0))?)
}

/// Takes an event out of the line, and notes it where the cursor does not pass it now.
fn settle(conn: &Connection, event: &ReadEvent, through: u64) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM events_ahead WHERE rank IN (0, 1) AND seq = ?1")?
        .execute([event.seq])?;
    if event.seq > through {
        conn.prepare_cached("INSERT INTO events_done_early (seq) VALUES (?1)")?.execute([event.seq])?;
    }
    Ok(())
}

fn advance(conn: &Connection, through: u64) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM events_done_early WHERE seq <= ?1")?.execute([through])?;
    conn.prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'projected'")?.execute([through])?;
    conn.prepare_cached("UPDATE counters SET value = value + 1 WHERE name = 'batch'")?.execute([])?;
    Ok(())
}

/// Merges the events of one directory; answers the targets that have new work.
fn merge_events(
    conn: &Connection,
    name: &str,
    events: &[&ReadEvent],
    scopes: Option<&dyn Scopes>,
) -> Result<BTreeSet<String>, StoreError> {
    let mut changes = Vec::new();
    let mut origins = Vec::new();
    for event in events {
        for (index, change) in (0_u32..).zip(event.changes.iter().flatten()) {
            let occurred_at = change.occurred_at.unwrap_or(event.received_at);
            let version = Version { occurred_at, event: event.event_id.clone(), index };
            changes.push(VersionedChange { version, operation: change.operation.clone() });
            origins.push((event.seq, index, event.received_at));
        }
    }
    let mut snapshot = directory::load(conn, name, &Needs::of(&changes))?;
    let effects = merge(&mut snapshot, &changes);
    let heard_at = events.iter().map(|event| event.received_at).max().unwrap_or_default();
    directory::save(conn, name, &snapshot, heard_at)?;

    let written_by = changes
        .iter()
        .zip(&effects)
        .zip(&origins)
        .map(|((change, effect), (seq, index, _))| (&change.version, (*seq, *index, effect.key.kind)));
    timeline::record(conn, name, &written_memberships(&snapshot, &written_by.collect()))?;

    let mut received: BTreeMap<ResourceKey, Timestamp> = BTreeMap::new();
    for ((change, effect), (seq, index, received_at)) in changes.iter().zip(&effects).zip(origins) {
        record(conn, seq, index, name, change, effect)?;
        if effect.outcome == MergeOutcome::Merged {
            received
                .entry(effect.key.clone())
                .and_modify(|at| *at = received_at.min(*at))
                .or_insert(received_at);
        }
    }
    // What an expansion touched has no change of its own.
    let earliest = events.iter().map(|event| event.received_at).min().unwrap_or_default();
    work::mark(conn, name, &snapshot, scopes, |key| received.get(key).copied().unwrap_or(earliest))
}

fn record(
    conn: &Connection,
    seq: u64,
    index: u32,
    directory: &str,
    change: &VersionedChange,
    effect: &Effect,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO event_changes (seq, position, directory, kind, id, operation, outcome, generation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        seq,
        index,
        directory,
        effect.key.kind,
        effect.key.id,
        change.operation.name(),
        effect.outcome.as_str(),
        effect.generation
    ])?;
    Ok(())
}

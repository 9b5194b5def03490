//! Merging events into directories: any replica takes any events that no other has in hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;

use crate::clock::Timestamp;
use crate::directory::{
    Change, Effect, Kind, MergeOutcome, Needs, ResourceKey, Snapshot, Version, VersionedChange, merge,
};
use crate::store::postgres::database::Database;
use crate::store::postgres::hints::{Hints, Told};
use crate::store::postgres::mark::{Mark, hasten, lock_followers, mark, marks};
use crate::store::postgres::rows::{
    Tx, big, execute, limit as row_limit, query, query_one, storable, unsigned,
};
use crate::store::postgres::{directory, errands, fault, timeline};
use crate::store::timeline::written_memberships;
use crate::store::{EventReader, Projection, Scopes, StoreError, Topic, intake};

/// Bytes of bodies past which a batch takes no further event.
const BODY_BYTES_MAX: u64 = 8 << 20;

/// Merges up to `limit` events, first those that end somebody's access, then in the order they came.
pub(super) async fn project(
    database: &Database,
    hints: &Hints,
    reader: &dyn EventReader,
    limit: usize,
) -> Result<Projection, StoreError> {
    let claimed = Mutex::default();
    let batch = database.write(|tx, _| next_batch(tx, hints, reader, limit, &claimed).boxed()).await;
    match batch {
        Err(error) if fault::blames_data(&error) => {
            let line = claimed.into_inner().unwrap_or_else(PoisonError::into_inner);
            one_by_one(database, hints, reader, line).await
        }
        batch => batch,
    }
}

/// Puts events that could not be merged in line once more; sources may have come back.
pub(super) async fn retry_unreadable(tx: &Tx<'_>) -> Result<(), StoreError> {
    execute(
        tx,
        "WITH again AS (DELETE FROM events_unreadable RETURNING seq)
         INSERT INTO events_waiting (rank, seq, bytes)
         SELECT 1, seq, octet_length(body) FROM again JOIN events USING (seq)",
        &[],
    )
    .await?;
    Ok(())
}

/// Merges the next events, and notes which these are.
async fn next_batch(
    tx: &Tx<'_>,
    hints: &Hints,
    reader: &dyn EventReader,
    limit: usize,
    claimed: &Mutex<Vec<Place>>,
) -> Result<Projection, StoreError> {
    let line = claim(tx, limit).await?;
    claimed.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&line);
    merge_claimed(tx, hints, reader, &line).await
}

/// A place in the line of events that wait.
#[derive(Clone)]
struct Place {
    rank: i16,
    seq: u64,
}

/// Locks the first places that nobody else has locked.
async fn claim(tx: &Tx<'_>, limit: usize) -> Result<Vec<Place>, StoreError> {
    let rows = query(
        tx,
        "SELECT rank, seq, bytes FROM events_waiting ORDER BY rank, seq LIMIT $1 FOR UPDATE SKIP LOCKED",
        &[&row_limit(limit)],
    )
    .await?;
    let mut line = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in rows {
        if bytes >= BODY_BYTES_MAX {
            break;
        }
        line.push(Place { rank: row.try_get(0)?, seq: unsigned(&row, 1, "events_waiting")? });
        bytes += u64::try_from(row.try_get::<_, i32>(2)?).unwrap_or(0);
    }
    Ok(line)
}

/// Merges each event by itself, and puts aside those that the database does not take: one such event
/// must not keep all that come after it.
async fn one_by_one(
    database: &Database,
    hints: &Hints,
    reader: &dyn EventReader,
    line: Vec<Place>,
) -> Result<Projection, StoreError> {
    let mut total = Projection::default();
    for place in line {
        let alone = database.write(|tx, _| merge_place(tx, hints, reader, &place).boxed()).await;
        let done = match alone {
            Err(error) if fault::blames_data(&error) => {
                let reason = fault::reason(&error);
                tracing::error!(sequence = place.seq, %reason, "an event cannot be merged; it is kept");
                database.write(|tx, _| put_aside(tx, &place, &reason).boxed()).await?
            }
            done => done?,
        };
        total.events += done.events;
        total.changes += done.changes;
        total.unreadable += done.unreadable;
        total.wanted += done.wanted;
        total.woken.extend(done.woken);
        total.more = done.more;
    }
    Ok(total)
}

async fn merge_place(
    tx: &Tx<'_>,
    hints: &Hints,
    reader: &dyn EventReader,
    place: &Place,
) -> Result<Projection, StoreError> {
    if lock_place(tx, place).await? {
        merge_claimed(tx, hints, reader, std::slice::from_ref(place)).await
    } else {
        Ok(Projection::default())
    }
}

/// Locks one place; false where another replica has it, or has dealt with it.
async fn lock_place(tx: &Tx<'_>, place: &Place) -> Result<bool, StoreError> {
    let sql = "SELECT seq FROM events_waiting WHERE rank = $1 AND seq = $2 FOR UPDATE SKIP LOCKED";
    Ok(!query(tx, sql, &[&place.rank, &big(place.seq)]).await?.is_empty())
}

async fn put_aside(tx: &Tx<'_>, place: &Place, reason: &str) -> Result<Projection, StoreError> {
    let mut done = Projection::default();
    if lock_place(tx, place).await? {
        keep_unreadable(tx, &[(place.seq, reason)]).await?;
        leave_line(tx, std::slice::from_ref(place)).await?;
        done.unreadable = 1;
    }
    done.more = anything_waits(tx).await?;
    Ok(done)
}

/// Merges the events at places that are locked, and takes them out of the line.
async fn merge_claimed(
    tx: &Tx<'_>,
    hints: &Hints,
    reader: &dyn EventReader,
    line: &[Place],
) -> Result<Projection, StoreError> {
    // Others may hold events; they will deal with those.
    if line.is_empty() {
        return Ok(Projection::default());
    }
    let events = read(reader, load(tx, line).await?).await;
    let mut projection = Projection::default();
    let mut unreadable = Vec::new();
    let mut per_directory: BTreeMap<&str, Vec<&ReadEvent>> = BTreeMap::new();
    for event in &events {
        match &event.changes {
            Ok(changes) => {
                projection.events += 1;
                projection.changes += changes.len();
                per_directory.entry(&event.directory).or_default().push(event);
            }
            Err(reason) => unreadable.push((event.seq, reason.as_str())),
        }
    }
    projection.unreadable = unreadable.len();
    projection.woken = merge_directories(tx, per_directory, reader.scopes().as_deref()).await?;
    let wants: Vec<_> = events.iter().flat_map(wants).collect();
    projection.wanted = wants.len();
    errands::want(tx, wants).await?;
    keep_unreadable(tx, &unreadable).await?;
    leave_line(tx, line).await?;
    projection.more = anything_waits(tx).await?;
    if !projection.woken.is_empty() {
        hints.tell(tx, Told::Work(projection.woken.clone())).await?;
    }
    Ok(projection)
}

/// What an event leaves to be read.
fn wants(event: &ReadEvent) -> impl Iterator<Item = (String, Topic, Timestamp)> {
    let want = |topic: &Topic| (event.source.clone(), topic.clone(), event.received_at);
    event.wanted.iter().map(want)
}

struct WaitingEvent {
    seq: u64,
    source: String,
    directory: String,
    event_id: String,
    received_at: Timestamp,
    body: Vec<u8>,
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

/// The events at these places, in the order of the line.
async fn load(tx: &Tx<'_>, line: &[Place]) -> Result<Vec<WaitingEvent>, StoreError> {
    let numbers: Vec<i64> = line.iter().map(|place| big(place.seq)).collect();
    let rows = query(
        tx,
        "SELECT seq, source, directory, event_id, received_at, body
         FROM unnest($1::bigint[]) WITH ORDINALITY AS line (seq, position) JOIN events USING (seq)
         ORDER BY position",
        &[&numbers],
    )
    .await?;
    let event = |row: &tokio_postgres::Row| {
        Ok(WaitingEvent {
            seq: unsigned(row, 0, "events")?,
            source: row.try_get(1)?,
            directory: row.try_get(2)?,
            event_id: row.try_get(3)?,
            received_at: row.try_get(4)?,
            body: row.try_get(5)?,
        })
    };
    rows.iter().map(event).collect()
}

/// Reads the bodies, letting others run in between.
async fn read(reader: &dyn EventReader, waiting: Vec<WaitingEvent>) -> Vec<ReadEvent> {
    let mut events = Vec::with_capacity(waiting.len());
    for WaitingEvent { seq, source, directory, event_id, received_at, body } in waiting {
        let changes = reader.read(&source, &body);
        if let Err(reason) = &changes {
            tracing::warn!(sequence = seq, %source, %reason, "an accepted event cannot be read any more; it is kept");
        }
        let wanted = reader.wanted(&source, &body);
        events.push(ReadEvent { seq, directory, event_id, source, received_at, changes, wanted });
        tokio::task::consume_budget().await;
    }
    events
}

/// Merges the events of each directory; answers the targets that have new work. The directories are
/// locked before any target, each sort in the order of names, so that no two replicas wait in a circle.
async fn merge_directories(
    tx: &Tx<'_>,
    per_directory: BTreeMap<&str, Vec<&ReadEvent>>,
    scopes: Option<&dyn Scopes>,
) -> Result<BTreeSet<String>, StoreError> {
    if per_directory.is_empty() {
        return Ok(BTreeSet::new());
    }
    directory::lock(tx, &per_directory.keys().copied().collect()).await?;
    let mut merged = Vec::with_capacity(per_directory.len());
    for (name, events) in per_directory {
        merged.push(merge_events(tx, name, &events).await?);
    }
    let changed: Vec<&str> =
        merged.iter().filter(|merged| !merged.marks.is_empty()).map(|merged| merged.directory).collect();
    let mut followers =
        if changed.is_empty() { BTreeMap::new() } else { lock_followers(tx, &changed).await? };
    let mut woken = BTreeSet::new();
    for Merged { directory, snapshot, heard_at, marks, records } in merged {
        directory::save(tx, directory, &snapshot, heard_at).await?;
        record(tx, directory, &records).await?;
        let targets = followers.remove(directory).unwrap_or_default();
        if !targets.is_empty() && !marks.is_empty() {
            mark(tx, &targets, &marks).await?;
            if let Some(scopes) = scopes {
                for target in &targets {
                    hasten(tx, target, &intake::outside(&snapshot, target, scopes).collect::<Vec<_>>())
                        .await?;
                }
            }
            woken.extend(targets);
        }
    }
    Ok(woken)
}

/// What a merge into one directory leaves to be written.
struct Merged<'a> {
    directory: &'a str,
    snapshot: Snapshot,
    /// When the last of it was received.
    heard_at: Timestamp,
    marks: Vec<Mark>,
    records: Vec<Record>,
}

/// What became of one change.
struct Record {
    seq: u64,
    index: u32,
    operation: &'static str,
    effect: Effect,
}

async fn merge_events<'a>(
    tx: &Tx<'_>,
    name: &'a str,
    events: &[&ReadEvent],
) -> Result<Merged<'a>, StoreError> {
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
    let mut snapshot = directory::load(tx, name, &Needs::of(&changes)).await?;
    let effects = merge(&mut snapshot, &changes);

    let written_by = changes
        .iter()
        .zip(&effects)
        .zip(&origins)
        .map(|((change, effect), (seq, index, _))| (&change.version, (*seq, *index, effect.key.kind)));
    timeline::record(tx, name, &written_memberships(&snapshot, &written_by.collect())).await?;

    let mut received: BTreeMap<ResourceKey, Timestamp> = BTreeMap::new();
    let mut records = Vec::with_capacity(changes.len());
    for ((change, effect), (seq, index, received_at)) in changes.iter().zip(effects).zip(origins) {
        if effect.outcome == MergeOutcome::Merged {
            received
                .entry(effect.key.clone())
                .and_modify(|at| *at = received_at.min(*at))
                .or_insert(received_at);
        }
        records.push(Record { seq, index, operation: change.operation.name(), effect });
    }
    // What an expansion touched has no change of its own.
    let earliest = events.iter().map(|event| event.received_at).min().unwrap_or_default();
    let marks = marks(&snapshot, |key| received.get(key).copied().unwrap_or(earliest));
    let heard_at = events.iter().map(|event| event.received_at).max().unwrap_or_default();
    Ok(Merged { directory: name, snapshot, heard_at, marks, records })
}

async fn record(tx: &Tx<'_>, directory: &str, records: &[Record]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = records.iter().map(|record| big(record.seq)).collect();
    let positions: Vec<i32> =
        records.iter().map(|record| i32::try_from(record.index).unwrap_or(i32::MAX)).collect();
    let kinds: Vec<Kind> = records.iter().map(|record| record.effect.key.kind).collect();
    let ids: Vec<_> = records.iter().map(|record| &record.effect.key.id).collect();
    let operations: Vec<&str> = records.iter().map(|record| record.operation).collect();
    let outcomes: Vec<&str> = records.iter().map(|record| record.effect.outcome.as_str()).collect();
    let generations: Vec<i64> = records.iter().map(|record| big(record.effect.generation)).collect();
    execute(
        tx,
        "INSERT INTO event_changes (directory, seq, position, kind, id, operation, outcome, generation)
         SELECT $1, given.* FROM unnest($2::bigint[], $3::integer[], $4::smallint[], $5::text[], $6::text[],
                                        $7::text[], $8::bigint[]) AS given",
        &[&directory, &numbers, &positions, &kinds, &ids, &operations, &outcomes, &generations],
    )
    .await?;
    Ok(())
}

async fn keep_unreadable(tx: &Tx<'_>, events: &[(u64, &str)]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let numbers: Vec<i64> = events.iter().map(|(seq, _)| big(*seq)).collect();
    let reasons: Vec<_> = events.iter().map(|(_, reason)| storable(reason)).collect();
    execute(
        tx,
        "INSERT INTO events_unreadable (seq, reason) SELECT * FROM unnest($1::bigint[], $2::text[])",
        &[&numbers, &reasons],
    )
    .await?;
    Ok(())
}

async fn leave_line(tx: &Tx<'_>, line: &[Place]) -> Result<(), StoreError> {
    let ranks: Vec<i16> = line.iter().map(|place| place.rank).collect();
    let numbers: Vec<i64> = line.iter().map(|place| big(place.seq)).collect();
    execute(
        tx,
        "DELETE FROM events_waiting AS w USING unnest($1::smallint[], $2::bigint[]) AS done (rank, seq)
         WHERE w.rank = done.rank AND w.seq = done.seq",
        &[&ranks, &numbers],
    )
    .await?;
    Ok(())
}

async fn anything_waits(tx: &Tx<'_>) -> Result<bool, StoreError> {
    let row = query_one(tx, "SELECT EXISTS (SELECT 1 FROM events_waiting)", &[]).await?;
    Ok(row.try_get(0)?)
}

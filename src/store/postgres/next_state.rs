//! What the work rows of a round become.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::try_join;

use crate::clock::Timestamp;
use crate::directory::{Kind, ResourceKey};
use crate::store::derived::{gathering, home};
use crate::store::postgres::commit::Step;
use crate::store::postgres::holds;
use crate::store::postgres::rows::{
    HELD, PARKED, PENDING, WAITING, big, execute, key_at, key_columns, query, storable, to_json, unsigned,
};
use crate::store::postgres::targets::LockedTarget;
use crate::store::{Intent, Lane, StoreError, WorkChange};

/// By the place in the batch: the lane of a row that is done, and how long it took.
pub(super) type Converged = BTreeMap<usize, (Lane, Duration)>;

/// What changing rows did.
#[derive(Default)]
pub(super) struct Changed {
    /// Rows that are done.
    pub(super) converged: Converged,
    /// Whether a row is due at once.
    pub(super) woken: bool,
}

/// Finishes the rows of a round, or says when they are due again. `ready`: resources that have just
/// begun to wait for somebody who is linked already.
pub(super) async fn change_rows(
    at: &LockedTarget<'_>,
    steps: &[Step<'_>],
    ready: &BTreeSet<ResourceKey>,
) -> Result<Changed, StoreError> {
    let held = held(at, steps).await?;
    let holding = steps.iter().filter(|step| matches!(step.outcome.work, WorkChange::Hold { .. }));
    let undecided = holds::held_among(at, &holding.map(|step| &step.outcome.key).collect::<Vec<_>>()).await?;
    let mut changed = Changed::default();
    let mut finished = Vec::new();
    let mut staying = Vec::new();
    for step in steps {
        let key = &step.outcome.key;
        // Discarded, or another directory's by now.
        let Some(held) = held.get(key) else { continue };
        let decided = matches!(step.outcome.work, WorkChange::Hold { .. }) && !undecided.contains(key);
        let next = next(step, held, decided || ready.contains(key));
        changed.woken |= *next == WorkChange::Continue;
        match State::of(next, continued(step, held.lane, at.now), at.now) {
            None => {
                changed.converged.insert(step.place, (held.lane, at.now.since(held.since)));
                finished.push(key);
            }
            Some(state) => staying.push(Stay { step, state }),
        }
    }
    try_join!(delete(at, &finished), update(at, &staying), holds::withdraw(at, &finished))?;
    Ok(changed)
}

/// A row before the change.
struct Held {
    lane: Lane,
    since: Timestamp,
    generation: u64,
    woken: bool,
    /// Whether the group has membership rows past its watermark.
    has_rows_past: bool,
    /// Whether members that the group has waited for are linked now.
    has_ready_waits: bool,
}

async fn held(at: &LockedTarget<'_>, steps: &[Step<'_>]) -> Result<BTreeMap<ResourceKey, Held>, StoreError> {
    let (kinds, ids) = key_columns(steps.iter().map(|step| &step.outcome.key));
    let homes: Vec<_> = steps.iter().map(|step| home(at.name, at.directory, &step.outcome.key)).collect();
    let synced: Vec<_> = steps.iter().map(|step| big(step.after.synced_members)).collect();
    let rows = query(
        at.tx,
        "SELECT w.kind, w.id, w.lane, w.since, w.generation, w.woken,
                w.kind = 1 AND EXISTS (
                    SELECT 1 FROM members AS m
                    WHERE m.directory = k.home AND m.group_id = w.id AND m.sequence > k.synced),
                w.kind = 1 AND EXISTS (
                    SELECT 1 FROM waits AS x
                    WHERE x.target = $1 AND x.kind = 1 AND x.id = w.id AND x.ready)
         FROM unnest($2::text[], $3::smallint[], $4::text[], $5::bigint[]) AS k (home, kind, id, synced)
         JOIN work AS w ON w.target = $1 AND w.kind = k.kind AND w.id = k.id",
        &[&at.name, &homes, &kinds, &ids, &synced],
    )
    .await?;
    let mut held = BTreeMap::new();
    for row in &rows {
        let row_held = Held {
            lane: row.try_get(2)?,
            since: row.try_get(3)?,
            generation: unsigned(row, 4, "work")?,
            woken: row.try_get(5)?,
            has_rows_past: row.try_get(6)?,
            has_ready_waits: row.try_get(7)?,
        };
        held.insert(key_at(row, 0)?, row_held);
    }
    Ok(held)
}

/// What the row becomes, whatever the planner thought of it.
fn next<'a>(step: &Step<'a>, held: &Held, due: bool) -> &'a WorkChange {
    let outcome = step.outcome;
    let moved = held.generation > outcome.generation || due;
    let unfinished = outcome.key.kind == Kind::Group
        && step.after.vendor_id.is_some()
        && match outcome.work {
            WorkChange::Finish => held.has_rows_past || held.has_ready_waits,
            // Whoever was linked since the plan was made is sent at once; others had their chance.
            WorkChange::Wait { .. } => held.woken && held.has_ready_waits,
            WorkChange::Continue
            | WorkChange::Retry { .. }
            | WorkChange::Hold { .. }
            | WorkChange::Park { .. } => false,
        };
    if moved || unfinished { &WorkChange::Continue } else { &outcome.work }
}

/// When a row is due that goes on at once: of a derived group, more may come before the rest is sent.
fn continued(step: &Step<'_>, lane: Lane, now: Timestamp) -> Timestamp {
    let gathers = step.outcome.key.is_derived() && step.outcome.work == WorkChange::Finish;
    if gathers { now.after(gathering(lane)) } else { now }
}

/// What a row that stays becomes.
struct State<'a> {
    code: i16,
    due: Timestamp,
    attempts: u32,
    reason: Option<&'a str>,
    failed_at: Option<Timestamp>,
    parked_at: Option<Timestamp>,
}

impl<'a> State<'a> {
    /// `None` for a row that goes.
    fn of(change: &'a WorkChange, continued: Timestamp, now: Timestamp) -> Option<Self> {
        let due_now =
            Self { code: PENDING, due: now, attempts: 0, reason: None, failed_at: None, parked_at: None };
        match change {
            WorkChange::Finish => None,
            WorkChange::Continue => Some(Self { due: continued, ..due_now }),
            WorkChange::Retry { due, attempts, reason, failed_at } => Some(Self {
                due: *due,
                attempts: *attempts,
                reason: Some(reason),
                failed_at: *failed_at,
                ..due_now
            }),
            WorkChange::Wait { due, reason } => {
                Some(Self { code: WAITING, due: *due, reason: Some(reason), ..due_now })
            }
            WorkChange::Hold { reason } => Some(Self { code: HELD, reason: Some(reason), ..due_now }),
            WorkChange::Park { reason } => Some(Self {
                code: PARKED,
                attempts: 1,
                reason: Some(reason),
                failed_at: Some(now),
                parked_at: Some(now),
                ..due_now
            }),
        }
    }
}

struct Stay<'a> {
    step: &'a Step<'a>,
    state: State<'a>,
}

async fn delete(at: &LockedTarget<'_>, keys: &[&ResourceKey]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_columns(keys.iter().copied());
    execute(
        at.tx,
        "DELETE FROM work AS w USING unnest($2::smallint[], $3::text[]) AS k (kind, id)
         WHERE w.target = $1 AND w.kind = k.kind AND w.id = k.id",
        &[&at.name, &kinds, &ids],
    )
    .await?;
    Ok(())
}

async fn update(at: &LockedTarget<'_>, rows: &[Stay<'_>]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_columns(rows.iter().map(|row| &row.step.outcome.key));
    let states: Vec<_> = rows.iter().map(|row| row.state.code).collect();
    let dues: Vec<_> = rows.iter().map(|row| row.state.due).collect();
    let attempts: Vec<_> =
        rows.iter().map(|row| i32::try_from(row.state.attempts).unwrap_or(i32::MAX)).collect();
    let reasons: Vec<Option<Cow<'_, str>>> = rows.iter().map(|row| row.state.reason.map(storable)).collect();
    let failed_at: Vec<_> = rows.iter().map(|row| row.state.failed_at).collect();
    let parked_at: Vec<_> = rows.iter().map(|row| row.state.parked_at).collect();
    // A call that may have been sent stays noted until something is known of it.
    let doubt = to_json(&Intent::doubt(at.now));
    let doubts: Vec<_> =
        rows.iter().map(|row| row.step.outcome.leaves_doubt().then_some(doubt.as_str())).collect();
    // A parked row counts the failures that led to it.
    execute(
        at.tx,
        "UPDATE work AS w
         SET state = k.state, due = k.due,
             attempts = CASE k.state WHEN 2 THEN w.attempts + k.attempts ELSE k.attempts END,
             reason = k.reason, failed_at = k.failed_at, parked_at = k.parked_at,
             intent = CASE WHEN k.doubt IS NOT NULL THEN coalesce(w.intent, k.doubt) END, woken = false, lost = false
         FROM unnest($2::smallint[], $3::text[], $4::smallint[], $5::bigint[], $6::integer[], $7::text[],
                     $8::bigint[], $9::bigint[], $10::text[])
             AS k (kind, id, state, due, attempts, reason, failed_at, parked_at, doubt)
         WHERE w.target = $1 AND w.kind = k.kind AND w.id = k.id",
        &[&at.name, &kinds, &ids, &states, &dues, &attempts, &reasons, &failed_at, &parked_at, &doubts],
    )
    .await?;
    Ok(())
}

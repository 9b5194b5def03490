//! What became of calls, recorded in one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::directory::Kind;
use crate::store::ItemId;
use crate::store::derived::{self, gathering};
use crate::store::sqlite::links::{self, Standing};
use crate::store::sqlite::members::{Noted, Waiter};
use crate::store::sqlite::rows::{HELD, PARKED, PENDING, WAITING, to_json};
use crate::store::sqlite::{derived as sqlite_derived, holds, ledger, targets, work};
use crate::store::{Committed, Intent, Lane, Outcome, StoreError, Tenure, WorkChange};

/// Records outcomes, if the tenure still holds.
pub(super) fn commit(
    conn: &Connection,
    tenure: &Tenure,
    outcomes: &[Outcome],
    now: Timestamp,
) -> Result<Committed, StoreError> {
    let directory = targets::check_tenure(conn, tenure)?;
    let mut committed = Committed::default();
    // First, so that a user who is lost is looked for in the groups that it belongs to now.
    committed.woken |= sqlite_derived::judge(conn, &tenure.target, &derived::judgements(outcomes), now)?;
    for outcome in outcomes {
        let waiter = Waiter::new(conn, (&tenure.target, &directory), &outcome.key, now);
        record(&waiter, outcome, &mut committed)?;
    }
    if derived::concerns(outcomes) {
        committed.woken |= sqlite_derived::release(conn, &tenure.target, now)?;
    }
    Ok(committed)
}

fn record(waiter: &Waiter<'_>, outcome: &Outcome, committed: &mut Committed) -> Result<(), StoreError> {
    let &Waiter { conn, target, directory, key, now, .. } = waiter;
    let before = links::standing(conn, target, key)?;
    links::change(conn, target, key, &outcome.link)?;
    let after = links::standing(conn, target, key)?;
    if key.kind == Kind::User && before.vendor_id.is_some() && before.vendor_id != after.vendor_id {
        waiter.lose_memberships(after.vendor_id.is_some())?;
    }

    waiter.end(&outcome.members, before.synced_members, after.synced_members)?;
    let mut noted = waiter.wait_for(&outcome.waits_for)?;
    waiter.park(&outcome.members)?;
    noted.ready |= waiter.hold(&outcome.members, before.synced_members, after.synced_members)?;
    committed.woken |= noted.sought;
    if key.kind == Kind::User && after.vendor_id.is_some() && after.vendor_id != before.vendor_id {
        committed.woken |= work::wake_waiters(conn, target, directory, &key.id, now)?;
    }
    change_row(waiter, outcome, noted, &after, committed)?;
    ledger::append(conn, target, directory, outcome, before.synced_generation)
}

/// The row before the change.
struct Held {
    lane: Lane,
    since: Timestamp,
    generation: u64,
    woken: bool,
}

fn change_row(
    waiter: &Waiter<'_>,
    outcome: &Outcome,
    noted: Noted,
    link: &Standing,
    committed: &mut Committed,
) -> Result<(), StoreError> {
    let &Waiter { conn, target, key, now, .. } = waiter;
    let held = conn
        .prepare_cached(
            "SELECT lane, since, generation, woken FROM work WHERE target = ?1 AND kind = ?2 AND id = ?3",
        )?
        .query_row(params![target, key.kind, key.id], |row| {
            Ok(Held { lane: row.get(0)?, since: row.get(1)?, generation: row.get(2)?, woken: row.get(3)? })
        })
        .optional()?;
    // Discarded, or another directory's by now.
    let Some(held) = held else { return Ok(()) };

    let moved = held.generation > outcome.generation || noted.ready;
    let unfinished = key.kind == Kind::Group
        && link.vendor_id.is_some()
        && match outcome.work {
            WorkChange::Finish => waiter.has_rows_past(link.synced_members)? || waiter.has_ready_waits()?,
            // Whoever was linked since the plan was made is sent at once; others had their chance.
            WorkChange::Wait { .. } => held.woken && waiter.has_ready_waits()?,
            WorkChange::Continue
            | WorkChange::Retry { .. }
            | WorkChange::Hold { .. }
            | WorkChange::Park { .. } => false,
        };
    let decided = matches!(outcome.work, WorkChange::Hold { .. })
        && !holds::is_held(conn, target, &ItemId::Resource(key.clone()))?;
    let next = if moved || unfinished || decided { &WorkChange::Continue } else { &outcome.work };
    let row = match next {
        WorkChange::Finish => {
            conn.prepare_cached("DELETE FROM work WHERE target = ?1 AND kind = ?2 AND id = ?3")?
                .execute(params![target, key.kind, key.id])?;
            holds::withdraw(conn, target, key, now)?;
            committed.converged.push((held.lane, now.since(held.since)));
            return Ok(());
        }
        WorkChange::Continue => {
            committed.woken = true;
            NewState { due: continued(waiter, outcome, held.lane), ..NewState::default() }
        }
        WorkChange::Retry { due, attempts, reason, failed_at } => NewState {
            due: *due,
            attempts: *attempts,
            reason: Some(reason),
            failed_at: *failed_at,
            ..NewState::default()
        },
        WorkChange::Wait { due, reason } => {
            NewState { state: WAITING, due: *due, reason: Some(reason), ..NewState::default() }
        }
        WorkChange::Hold { reason } => {
            NewState { state: HELD, due: now, reason: Some(reason), ..NewState::default() }
        }
        WorkChange::Park { reason } => NewState {
            state: PARKED,
            due: now,
            attempts: 1,
            reason: Some(reason),
            failed_at: Some(now),
            parked_at: Some(now),
        },
    };
    let doubt = outcome.leaves_doubt().then(|| Intent::doubt(now));
    row.write(waiter, doubt.as_ref())
}

/// When a row is due that goes on at once: of a derived group, more may come before the rest is sent.
fn continued(waiter: &Waiter<'_>, outcome: &Outcome, lane: Lane) -> Timestamp {
    if waiter.key.is_derived() && outcome.work == WorkChange::Finish {
        waiter.now.after(gathering(lane))
    } else {
        waiter.now
    }
}

/// What a row that stays becomes.
struct NewState<'a> {
    state: i64,
    due: Timestamp,
    attempts: u32,
    reason: Option<&'a str>,
    failed_at: Option<Timestamp>,
    parked_at: Option<Timestamp>,
}

impl Default for NewState<'_> {
    fn default() -> Self {
        Self {
            state: PENDING,
            due: Timestamp::default(),
            attempts: 0,
            reason: None,
            failed_at: None,
            parked_at: None,
        }
    }
}

impl NewState<'_> {
    /// A call that may have been sent stays noted until something is known of it.
    fn write(&self, waiter: &Waiter<'_>, doubt: Option<&Intent>) -> Result<(), StoreError> {
        let Waiter { conn, target, key, .. } = waiter;
        // A parked row counts the failures that led to it.
        conn.prepare_cached(
            "UPDATE work
             SET state = ?4, due = ?5, attempts = CASE ?4 WHEN 2 THEN attempts + ?6 ELSE ?6 END,
                 reason = ?7, failed_at = ?8, parked_at = ?9,
                 intent = CASE WHEN ?10 IS NOT NULL THEN coalesce(intent, ?10) END, woken = 0, lost = 0
             WHERE target = ?1 AND kind = ?2 AND id = ?3",
        )?
        .execute(params![
            target,
            key.kind,
            key.id,
            self.state,
            self.due,
            self.attempts,
            self.reason,
            self.failed_at,
            self.parked_at,
            doubt.map(to_json)
        ])?;
        Ok(())
    }
}

//! What became of calls, recorded in one transaction.
//!
//! Outcomes of users who wait for nobody are most of what there is, and are recorded together, in a
//! number of statements that does not grow with theirs. The others follow, one by one: their waits and
//! watermarks depend on each other. The calls of a batch ran side by side, so any order is as good.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::postgres::links::{self, Standing};
use crate::store::postgres::members::{self, Noted, Waiter};
use crate::store::postgres::rows::{
    PARKED, PENDING, Tx, WAITING, execute, key_at, query, storable, unsigned,
};
use crate::store::postgres::{ledger, targets, work};
use crate::store::{Committed, Lane, Outcome, StoreError, Tenure, WorkChange};

/// Records outcomes, if the tenure still holds.
pub(super) async fn commit(
    tx: &Tx<'_>,
    tenure: &Tenure,
    outcomes: &[Outcome],
    now: Timestamp,
) -> Result<Committed, StoreError> {
    let directory = targets::lock_under(tx, tenure).await?;
    let recorder = Recorder { tx, target: &tenure.target, directory: &directory, now };
    let mut committed = Committed::default();
    for batch in batches(outcomes) {
        recorder.record(&batch, &mut committed).await?;
    }
    Ok(committed)
}

/// The outcomes to be recorded together; within a batch no resource comes twice.
fn batches(outcomes: &[Outcome]) -> Vec<Vec<&Outcome>> {
    let mut plain: BTreeMap<&ResourceKey, &Outcome> = BTreeMap::new();
    let mut others = Vec::new();
    for outcome in outcomes {
        if is_plain(outcome) && !plain.contains_key(&outcome.key) {
            plain.insert(&outcome.key, outcome);
        } else {
            others.push(vec![outcome]);
        }
    }
    let plain: Vec<&Outcome> = plain.into_values().collect();
    std::iter::once(plain).filter(|batch| !batch.is_empty()).chain(others).collect()
}

fn is_plain(outcome: &Outcome) -> bool {
    outcome.key.kind == Kind::User && outcome.waits_for.is_empty()
}

/// What recording needs to know of its transaction.
#[derive(Clone, Copy)]
struct Recorder<'a> {
    tx: &'a Tx<'a>,
    target: &'a str,
    directory: &'a str,
    now: Timestamp,
}

/// A work row before the change.
struct Held {
    lane: Lane,
    since: Timestamp,
    generation: u64,
    woken: bool,
}

impl<'a> Recorder<'a> {
    async fn record(&self, outcomes: &[&'a Outcome], committed: &mut Committed) -> Result<(), StoreError> {
        let Self { tx, target, directory, now } = *self;
        let before = links::standings(tx, target, outcomes.iter().map(|outcome| &outcome.key)).await?;
        let nothing = Standing::default();
        let before = |key: &ResourceKey| before.get(key).unwrap_or(&nothing);
        links::change(tx, target, outcomes).await?;

        let mut linked: Vec<&ExternalId> = Vec::new();
        let mut users: Vec<&ExternalId> = Vec::new();
        for outcome in outcomes.iter().filter(|outcome| outcome.key.kind == Kind::User) {
            let (before, after) = (before(&outcome.key), before(&outcome.key).changed(&outcome.link));
            users.push(&outcome.key.id);
            if before.vendor_id == after.vendor_id {
                continue;
            }
            if before.vendor_id.is_some() {
                self.waiter(outcome).lose_memberships(after.vendor_id.is_some()).await?;
            }
            if after.vendor_id.is_some() {
                linked.push(&outcome.key.id);
            }
        }
        members::end_waits_of_users(tx, target, &users).await?;

        let mut noted = BTreeMap::new();
        for outcome in outcomes.iter().filter(|outcome| !is_plain(outcome)) {
            let waiter = self.waiter(outcome);
            if waiter.is_group() {
                let before = before(&outcome.key);
                let synced = before.changed(&outcome.link).synced_members;
                waiter.end(&outcome.members, before.synced_members, synced).await?;
            }
            let waits = waiter.wait_for(&outcome.waits_for).await?;
            waiter.park(&outcome.members).await?;
            committed.woken |= waits.sought;
            noted.insert(&outcome.key, waits);
        }
        committed.woken |= work::wake_waiters(tx, target, directory, &linked, now).await?;

        let held = self.held(outcomes).await?;
        let mut changes = Changes::default();
        for outcome in outcomes {
            // A row that is missing was discarded, or is another directory's by now.
            let Some(held) = held.get(&outcome.key) else { continue };
            let noted = noted.get(&outcome.key).copied().unwrap_or_default();
            let after = before(&outcome.key).changed(&outcome.link);
            let next = self.next(outcome, held, noted, &after).await?;
            changes.add(outcome, next, held, now, committed);
        }
        changes.write(tx, target).await?;
        let bases = outcomes.iter().map(|outcome| before(&outcome.key).synced_generation);
        ledger::append(tx, target, directory, outcomes.iter().copied().zip(bases)).await
    }

    fn waiter(&self, outcome: &'a Outcome) -> Waiter<'a> {
        let Self { tx, target, directory, now } = *self;
        Waiter { tx, target, directory, key: &outcome.key, now }
    }

    async fn held(&self, outcomes: &[&Outcome]) -> Result<BTreeMap<ResourceKey, Held>, StoreError> {
        let (kinds, ids): (Vec<Kind>, Vec<&ExternalId>) =
            outcomes.iter().map(|outcome| (outcome.key.kind, &outcome.key.id)).unzip();
        let found = "SELECT w.kind, w.id, w.lane, w.since, w.generation, w.woken
                     FROM unnest($2::smallint[], $3::text[]) AS k (kind, id)
                     JOIN work AS w ON w.target = $1 AND w.kind = k.kind AND w.id = k.id";
        let rows = query(self.tx, found, &[&self.target, &kinds, &ids]).await?;
        let held = rows.iter().map(|row| {
            let held = Held {
                lane: row.try_get(2)?,
                since: row.try_get(3)?,
                generation: unsigned(row, 4, "work")?,
                woken: row.try_get(5)?,
            };
            Ok((key_at(row, 0)?, held))
        });
        held.collect()
    }

    /// What the row becomes, seen that it may have moved on meanwhile.
    async fn next(
        &self,
        outcome: &'a Outcome,
        held: &Held,
        noted: Noted,
        link: &Standing,
    ) -> Result<&'a WorkChange, StoreError> {
        if held.generation > outcome.generation || noted.ready {
            return Ok(&WorkChange::Continue);
        }
        let waiter = self.waiter(outcome);
        let unfinished = waiter.is_group()
            && link.vendor_id.is_some()
            && match outcome.work {
                WorkChange::Finish => {
                    waiter.has_rows_past(link.synced_members).await? || waiter.has_ready_waits().await?
                }
                // Whoever was linked since the plan was made is sent at once; others had their chance.
                WorkChange::Wait { .. } => held.woken && waiter.has_ready_waits().await?,
                WorkChange::Continue | WorkChange::Retry { .. } | WorkChange::Park { .. } => false,
            };
        Ok(if unfinished { &WorkChange::Continue } else { &outcome.work })
    }
}

/// Rows to be deleted, and rows to be changed, column by column.
#[derive(Default)]
struct Changes<'a> {
    finished_kinds: Vec<Kind>,
    finished_ids: Vec<&'a ExternalId>,
    kinds: Vec<Kind>,
    ids: Vec<&'a ExternalId>,
    states: Vec<i16>,
    dues: Vec<Timestamp>,
    attempts: Vec<i32>,
    reasons: Vec<Option<String>>,
    failed_at: Vec<Option<Timestamp>>,
    parked_at: Vec<Option<Timestamp>>,
    keep_intents: Vec<bool>,
}

/// What a row that stays becomes.
struct NewState<'a> {
    state: i16,
    due: Timestamp,
    attempts: u32,
    reason: Option<&'a str>,
    failed_at: Option<Timestamp>,
    parked_at: Option<Timestamp>,
}

impl<'a> Changes<'a> {
    fn add(
        &mut self,
        outcome: &'a Outcome,
        next: &WorkChange,
        held: &Held,
        now: Timestamp,
        committed: &mut Committed,
    ) {
        let pending = NewState {
            state: PENDING,
            due: now,
            attempts: 0,
            reason: None,
            failed_at: None,
            parked_at: None,
        };
        let state = match next {
            WorkChange::Finish => {
                committed.converged.push((held.lane, now.since(held.since)));
                self.finished_kinds.push(outcome.key.kind);
                self.finished_ids.push(&outcome.key.id);
                return;
            }
            WorkChange::Continue => {
                committed.woken = true;
                pending
            }
            WorkChange::Retry { due, attempts, reason, failed_at } => NewState {
                due: *due,
                attempts: *attempts,
                reason: Some(reason),
                failed_at: *failed_at,
                ..pending
            },
            WorkChange::Wait { due, reason } => {
                NewState { state: WAITING, due: *due, reason: Some(reason), ..pending }
            }
            WorkChange::Park { reason } => NewState {
                state: PARKED,
                attempts: 1,
                reason: Some(reason),
                failed_at: Some(now),
                parked_at: Some(now),
                ..pending
            },
        };
        self.push(outcome, &state);
    }

    fn push(&mut self, outcome: &'a Outcome, state: &NewState<'_>) {
        self.kinds.push(outcome.key.kind);
        self.ids.push(&outcome.key.id);
        self.states.push(state.state);
        self.dues.push(state.due);
        self.attempts.push(i32::try_from(state.attempts).unwrap_or(i32::MAX));
        self.reasons.push(state.reason.map(|reason| storable(reason).into_owned()));
        self.failed_at.push(state.failed_at);
        self.parked_at.push(state.parked_at);
        // A call that may have been sent stays noted until something is known of it.
        self.keep_intents.push(outcome.ledger.iter().any(|entry| entry.result == "unknown"));
    }

    async fn write(&self, tx: &Tx<'_>, target: &str) -> Result<(), StoreError> {
        if !self.finished_ids.is_empty() {
            let finish = "DELETE FROM work AS w USING unnest($2::smallint[], $3::text[]) AS k (kind, id)
                          WHERE w.target = $1 AND w.kind = k.kind AND w.id = k.id";
            execute(tx, finish, &[&target, &self.finished_kinds, &self.finished_ids]).await?;
        }
        if self.ids.is_empty() {
            return Ok(());
        }
        // A parked row counts the failures that led to it.
        execute(
            tx,
            "UPDATE work AS w
             SET state = n.state, due = n.due,
                 attempts = CASE n.state WHEN 2 THEN w.attempts + n.attempts ELSE n.attempts END,
                 reason = n.reason, failed_at = n.failed_at, parked_at = n.parked_at,
                 intent = CASE WHEN n.keep_intent THEN w.intent END, woken = false
             FROM unnest($2::smallint[], $3::text[], $4::smallint[], $5::bigint[], $6::integer[], $7::text[],
                         $8::bigint[], $9::bigint[], $10::boolean[])
                 AS n (kind, id, state, due, attempts, reason, failed_at, parked_at, keep_intent)
             WHERE w.target = $1 AND w.kind = n.kind AND w.id = n.id",
            &[
                &target,
                &self.kinds,
                &self.ids,
                &self.states,
                &self.dues,
                &self.attempts,
                &self.reasons,
                &self.failed_at,
                &self.parked_at,
                &self.keep_intents,
            ],
        )
        .await?;
        Ok(())
    }
}

//! What became of calls, recorded in one transaction: a few statements for each round of a batch.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::try_join;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::derived;
use crate::store::guard::ItemState;
use crate::store::postgres::links::{self, Standing};
use crate::store::postgres::members::{self, Progress};
use crate::store::postgres::next_state;
use crate::store::postgres::rounds::{Touch, rounds};
use crate::store::postgres::rows::Tx;
use crate::store::postgres::targets::{self, LockedTarget};
use crate::store::postgres::{derived as postgres_derived, holds, ledger, work};
use crate::store::{Committed, LinkChange, Outcome, StoreError, Tenure};

/// Records outcomes, if the tenure still holds. Locks the target, then its lease.
pub(super) async fn commit(
    tx: &Tx<'_>,
    tenure: &Tenure,
    outcomes: &[Outcome],
    now: Timestamp,
) -> Result<Committed, StoreError> {
    let directory = targets::check_tenure(tx, tenure).await?;
    let mut committed = Committed::default();
    if outcomes.is_empty() {
        return Ok(committed);
    }
    let at = LockedTarget { tx, name: &tenure.target, directory: &directory, now };
    // First, so that a user who is lost is looked for in the groups that it belongs to now.
    committed.woken |= postgres_derived::judge(&at, &derived::judgements(outcomes)).await?;
    let keys: BTreeSet<&ResourceKey> = outcomes.iter().map(|outcome| &outcome.key).collect();
    let changing: Vec<&ExternalId> = outcomes.iter().filter_map(user_of_changed_link).collect();
    let (mut standings, waiting) = try_join!(
        links::standings(tx, at.name, keys.iter().copied()),
        members::waiting_among(tx, at.name, &changing, keys.iter().copied()),
    )?;
    let mut converged = BTreeMap::new();
    let mut bases = vec![0; outcomes.len()];
    for round in rounds(&touches(outcomes, &standings, &waiting)) {
        let steps: Vec<Step<'_>> =
            round.into_iter().map(|place| Step::new(place, &outcomes[place], &standings)).collect();
        let recorded = record(&at, &steps).await?;
        committed.woken |= recorded.woken;
        converged.extend(recorded.converged);
        for Step { place, outcome, before, after } in steps {
            bases[place] = before.synced_generation;
            standings.insert(outcome.key.clone(), after);
        }
    }
    if derived::concerns(outcomes) {
        committed.woken |= postgres_derived::release(&at).await?;
    }
    ledger::append(&at, &lines(outcomes, &bases)).await?;
    committed.converged = converged.into_values().collect();
    Ok(committed)
}

/// The entries of a batch, in its order. `bases` are the generations that the vendor had before.
fn lines<'a>(outcomes: &'a [Outcome], bases: &[u64]) -> Vec<ledger::Line<'a>> {
    let of_outcome = |(outcome, base_generation): (&'a Outcome, &u64)| {
        let Outcome { key, generation, ledger, .. } = outcome;
        let (base_generation, generation) = (*base_generation, *generation);
        ledger.iter().map(move |entry| ledger::Line { key: Some(key), base_generation, generation, entry })
    };
    outcomes.iter().zip(bases).flat_map(of_outcome).collect()
}

/// One outcome of a round.
pub(super) struct Step<'a> {
    /// Its place in the batch.
    pub(super) place: usize,
    pub(super) outcome: &'a Outcome,
    /// The link before the outcome.
    pub(super) before: Standing,
    /// The link after it.
    pub(super) after: Standing,
}

impl<'a> Step<'a> {
    fn new(place: usize, outcome: &'a Outcome, standings: &BTreeMap<ResourceKey, Standing>) -> Self {
        let before = standings.get(&outcome.key).cloned().unwrap_or_default();
        let after = before.after(&outcome.link);
        Self { place, outcome, before, after }
    }

    /// Whether the vendor has a resource now that it did not have under this id before.
    fn is_newly_linked(&self) -> bool {
        self.after.vendor_id.is_some() && self.after.vendor_id != self.before.vendor_id
    }

    /// Whether the vendor has forgotten the resource that it had.
    fn is_lost(&self) -> bool {
        self.before.vendor_id.is_some() && self.after.vendor_id != self.before.vendor_id
    }
}

/// What each outcome touches.
fn touches<'a>(
    outcomes: &'a [Outcome],
    standings: &BTreeMap<ResourceKey, Standing>,
    waiting: &BTreeMap<ExternalId, Vec<ResourceKey>>,
) -> Vec<Touch<'a>> {
    let mut met = BTreeSet::new();
    let touch = |(place, outcome): (usize, &'a Outcome)| {
        let own = &outcome.key;
        let seeks = outcome.waits_for.iter().cloned().map(ResourceKey::user).collect();
        let wakes = user_of_changed_link(outcome).and_then(|user| waiting.get(user));
        // A user who is lost has groups that nobody has named yet; and what a resource that comes again
        // waits for, nobody knows beforehand.
        let alone = !met.insert(own) || is_user(outcome) && Step::new(place, outcome, standings).is_lost();
        Touch { own, seeks, wakes: wakes.cloned().unwrap_or_default(), alone }
    };
    outcomes.iter().enumerate().map(touch).collect()
}

/// The user whose link an outcome changes, if it is a user's.
fn user_of_changed_link(outcome: &Outcome) -> Option<&ExternalId> {
    (is_user(outcome) && outcome.link != LinkChange::Keep).then_some(&outcome.key.id)
}

fn is_user(outcome: &Outcome) -> bool {
    outcome.key.kind == Kind::User
}

/// What recording a round did.
struct Recorded {
    woken: bool,
    converged: next_state::Converged,
}

async fn record(at: &LockedTarget<'_>, steps: &[Step<'_>]) -> Result<Recorded, StoreError> {
    let links: Vec<_> = steps.iter().map(|step| (&step.outcome.key, &step.outcome.link)).collect();
    links::change(at, &links).await?;
    let users = || steps.iter().filter(|step| is_user(step.outcome));
    let lost: Vec<_> = users()
        .filter(|step| step.is_lost())
        .map(|step| (&step.outcome.key.id, step.after.vendor_id.is_some()))
        .collect();
    members::lose_memberships(at, &lost).await?;

    end_waits(at, steps).await?;
    let waits =
        steps.iter().flat_map(|step| step.outcome.waits_for.iter().map(|user| (&step.outcome.key, user)));
    let mut noted = members::wait_for(at, &waits.collect::<Vec<_>>()).await?;
    park(at, steps).await?;
    noted.ready.extend(hold(at, steps).await?);
    let linked: Vec<_> =
        users().filter(|step| step.is_newly_linked()).map(|step| &step.outcome.key.id).collect();
    let mut woken = noted.sought | work::wake_waiters(at, &linked).await?;
    let changed = next_state::change_rows(at, steps, &noted.ready).await?;
    woken |= changed.woken;
    Ok(Recorded { woken, converged: changed.converged })
}

/// Ends waits and parkings that a planner has dealt with: those that it names, and those whose row the
/// watermark has passed.
async fn end_waits(at: &LockedTarget<'_>, steps: &[Step<'_>]) -> Result<(), StoreError> {
    let (users, groups): (Vec<&Step<'_>>, Vec<&Step<'_>>) =
        steps.iter().partition(|step| is_user(step.outcome));
    let users: Vec<_> = users.iter().map(|step| &step.outcome.key.id).collect();
    members::forget_waits_of_users(at, &users).await?;
    let settled = groups
        .iter()
        .flat_map(|step| step.outcome.members.settled.iter().map(|user| (&step.outcome.key.id, user)));
    let settled: Vec<_> = settled.collect();
    members::end_settled_waits(at, &settled).await?;
    members::end_parkings(at, &settled).await?;
    let passed = groups.iter().filter(|step| step.after.synced_members > step.before.synced_members);
    let passed = passed.map(|step| Progress {
        group: &step.outcome.key.id,
        after: step.before.synced_members,
        through: step.after.synced_members,
    });
    members::end_passed(at, &passed.collect::<Vec<_>>()).await
}

/// Leaves removals out about which a person decides; of other members, nothing that was held waits any
/// more once something newer was sent. Answers groups of which it was decided meanwhile that one is sent.
async fn hold(at: &LockedTarget<'_>, steps: &[Step<'_>]) -> Result<BTreeSet<ResourceKey>, StoreError> {
    let held = steps
        .iter()
        .flat_map(|step| step.outcome.members.held.iter().map(|user| (&step.outcome.key.id, user)));
    let held: BTreeSet<_> = held.collect();
    let groups = steps.iter().filter(|step| !is_user(step.outcome));
    let passed = groups.filter(|step| step.after.synced_members > step.before.synced_members);
    let passed = passed.map(|step| Progress {
        group: &step.outcome.key.id,
        after: step.before.synced_members,
        through: step.after.synced_members,
    });
    holds::withdraw_passed(at, &passed.collect::<Vec<_>>(), &held).await?;
    let decided = holds::decided_members(at, &held).await?;
    let (approved, others): (Vec<_>, Vec<_>) =
        held.iter().copied().partition(|member| decided.get(member) == Some(&ItemState::Approved));
    members::end_waits(at, &others).await?;
    let approved: Vec<_> =
        approved.iter().map(|(group, user)| (ResourceKey::group((*group).clone()), *user)).collect();
    let waits: Vec<_> = approved.iter().map(|(group, user)| (group, *user)).collect();
    Ok(members::wait_for(at, &waits).await?.ready)
}

async fn park(at: &LockedTarget<'_>, steps: &[Step<'_>]) -> Result<(), StoreError> {
    let parked = steps.iter().flat_map(|step| {
        let parked = step.outcome.members.parked.iter();
        parked.map(|parked| ((&step.outcome.key.id, &parked.user), parked.reason.as_str()))
    });
    members::park(at, &parked.collect()).await
}

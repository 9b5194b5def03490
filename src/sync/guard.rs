//! Whether what is about to be sent takes something away from somebody, and whether it may.
//!
//! Asked when a call is planned, before it takes a permit: the store counts, and notes what goes through
//! before it is sent. What a person has to decide first leaves the queue, and holds up nothing else; of
//! a group, members who join are sent all the same. A change that stops being planned, since something
//! newer was said, asks nobody any more.

use std::collections::BTreeSet;

use crate::directory::{ExternalId, ResourceKey, User};
use crate::store::guard::{Admission, Destruction};
use crate::store::{ItemId, LedgerEntry, StoreError};
use crate::sync::plan::{Pass, Request};
use crate::sync::policy::Policy;
use crate::sync::run::Run;

/// What becomes of a planned call.
pub(super) enum Ruling {
    /// It may be sent.
    Send,
    /// It is to be planned again, without what must not be sent.
    PlanAgain,
    /// A person decides first.
    Hold {
        /// What waits, for people.
        reason: String,
    },
    /// It is not sent.
    Drop {
        /// The ledger's word for it.
        result: &'static str,
        /// Why, for people.
        reason: String,
    },
}

/// Rules about a call, once for each thing that it takes away in a pass. Members who are left out are
/// noted in the ledger.
pub(super) async fn rule(
    run: &Run,
    policy: &Policy,
    pass: &mut Pass,
    request: &Request,
    ledger: &mut Vec<LedgerEntry>,
) -> Result<Ruling, StoreError> {
    if let Request::Members { removes, .. } = request
        && !removes.is_empty()
    {
        return rule_on_members(run, policy, pass, ledger).await;
    }
    match request.ends_access() {
        Some(operation) => rule_on_resource(run, policy, pass, operation).await,
        None => Ok(Ruling::Send),
    }
}

async fn rule_on_resource(
    run: &Run,
    policy: &Policy,
    pass: &mut Pass,
    operation: &'static str,
) -> Result<Ruling, StoreError> {
    let shared = &run.shared;
    if pass.is_protected(policy) {
        let reason = format!("to {operation} it is forbidden by `protected`");
        return Ok(Ruling::Drop { result: "protected", reason });
    }
    let Some(guard) = &shared.settings.guard else { return Ok(Ruling::Send) };
    if pass.is_admitted() {
        return Ok(Ruling::Send);
    }
    let item = ItemId::Resource(pass.key().clone());
    let change = Destruction { item, operation, generation: pass.generation() };
    let admissions = shared.store.admit(&run.tenure, &[change], guard, shared.clock.now()).await?;
    Ok(match admissions.first() {
        Some(Admission::Go) | None => {
            pass.admit();
            Ruling::Send
        }
        Some(Admission::Held { hold }) => {
            Ruling::Hold { reason: format!("to {operation} it waits for a decision about hold {hold}") }
        }
        Some(Admission::Rejected { hold }) => Ruling::Drop {
            result: "rejected",
            reason: format!("to {operation} it was rejected with hold {hold}"),
        },
    })
}

/// Every removal of the pass is ruled on at once; what must not be sent is taken out of the plan.
async fn rule_on_members(
    run: &Run,
    policy: &Policy,
    pass: &mut Pass,
    ledger: &mut Vec<LedgerEntry>,
) -> Result<Ruling, StoreError> {
    let removals = pass.removals_to_rule_on();
    if removals.is_empty() {
        return Ok(Ruling::Send);
    }
    let protected = protected_among(run, policy, &removals).await?;
    let others: Vec<_> = removals.into_iter().filter(|(user, _)| !protected.contains(user)).collect();
    let Guarded { held, rejected } = guarded(run, pass.key(), &others).await?;
    let now = run.shared.clock.now();
    for (word, users) in [("protected", &protected), ("rejected", &rejected)] {
        let entry =
            |user| LedgerEntry::without_call(now, "members", word, Some(format!("removal of {user}")));
        ledger.extend(users.iter().map(entry));
    }
    let dropped: BTreeSet<ExternalId> = protected.into_iter().chain(rejected).collect();
    pass.removals_ruled_on(&held, &dropped);
    Ok(if held.is_empty() && dropped.is_empty() { Ruling::Send } else { Ruling::PlanAgain })
}

/// A removal, with the sequence of the membership.
type Removal = (ExternalId, u64);

async fn protected_among(
    run: &Run,
    policy: &Policy,
    removals: &[Removal],
) -> Result<BTreeSet<ExternalId>, StoreError> {
    if policy.protected.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids = removals.iter().map(|(user, _)| user.clone()).collect();
    let known = run.shared.store.users(run.shared.name(), &ids).await?;
    let nothing_known = User::default();
    let is_protected = |id: &ExternalId| policy.protected.covers(id, known.get(id).unwrap_or(&nothing_known));
    Ok(ids.into_iter().filter(is_protected).collect())
}

/// Removals that the guard does not let through.
#[derive(Default)]
struct Guarded {
    held: BTreeSet<ExternalId>,
    rejected: BTreeSet<ExternalId>,
}

async fn guarded(run: &Run, group: &ResourceKey, removals: &[Removal]) -> Result<Guarded, StoreError> {
    let mut guarded = Guarded::default();
    let Some(guard) = &run.shared.settings.guard else { return Ok(guarded) };
    let change = |(user, sequence): &Removal| Destruction {
        item: ItemId::Member { group: group.id.clone(), user: user.clone() },
        operation: "remove",
        generation: *sequence,
    };
    let changes: Vec<_> = removals.iter().map(change).collect();
    let admissions = run.shared.store.admit(&run.tenure, &changes, guard, run.shared.clock.now()).await?;
    for ((user, _), admission) in removals.iter().zip(admissions) {
        let place = match admission {
            Admission::Go => continue,
            Admission::Held { .. } => &mut guarded.held,
            Admission::Rejected { .. } => &mut guarded.rejected,
        };
        place.insert(user.clone());
    }
    Ok(guarded)
}

//! Whether what is about to be sent takes something away from somebody, and whether it may.
//!
//! Asked when a call is planned, before it takes a permit: the store counts, and notes what goes through
//! before it is sent. What a person has to decide first leaves the queue, and holds up nothing else; of
//! a group, members who join are sent all the same. A change that stops being planned, since something
//! newer was said, asks nobody any more.

use std::collections::BTreeSet;

use crate::directory::{ExternalId, Kind};
use crate::store::guard::{Admission, Destruction};
use crate::store::{ParkedId, StoreError};
use crate::sync::plan::{Pass, Purpose, Request};
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

/// Rules about a call, once for each thing that it takes away in a pass.
pub(super) async fn rule(run: &Run, pass: &mut Pass, request: &Request) -> Result<Ruling, StoreError> {
    match request {
        Request::Members { removes, .. } if !removes.is_empty() => rule_on_members(run, pass).await,
        Request::Delete { .. } => rule_on_resource(run, pass, "delete").await,
        Request::Update { purpose: Purpose::Deactivate, .. }
        | Request::Put { purpose: Purpose::Deactivate, .. } => {
            rule_on_resource(run, pass, "deactivate").await
        }
        Request::Members { .. }
        | Request::Update { purpose: Purpose::Update | Purpose::Activate, .. }
        | Request::Put { purpose: Purpose::Update | Purpose::Activate, .. }
        | Request::Create { .. }
        | Request::Lookup { .. }
        | Request::Fetch { .. } => Ok(Ruling::Send),
    }
}

async fn rule_on_resource(run: &Run, pass: &mut Pass, operation: &'static str) -> Result<Ruling, StoreError> {
    let shared = &run.shared;
    let Some(guard) = &shared.settings.guard else { return Ok(Ruling::Send) };
    if pass.is_admitted() {
        return Ok(Ruling::Send);
    }
    let item = ParkedId::Resource(pass.key().clone());
    let change = Destruction { item, operation, generation: pass.generation() };
    let admissions = shared.store.admit(&run.tenure, &[change], guard, shared.clock.now()).await?;
    Ok(match admissions.first() {
        Some(Admission::Go) => {
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
        None => Ruling::Send,
    })
}

/// Every removal of the pass is ruled on at once; what must not be sent is taken out of the plan.
async fn rule_on_members(run: &Run, pass: &mut Pass) -> Result<Ruling, StoreError> {
    let shared = &run.shared;
    let Some(guard) = &shared.settings.guard else { return Ok(Ruling::Send) };
    debug_assert_eq!(pass.key().kind, Kind::Group, "only groups have members");
    let removals = pass.removals_to_rule_on();
    if removals.is_empty() {
        return Ok(Ruling::Send);
    }
    let group = pass.key().id.clone();
    let changes: Vec<Destruction> = removals
        .iter()
        .map(|(user, sequence)| Destruction {
            item: ParkedId::Member { group: group.clone(), user: user.clone() },
            operation: "remove",
            generation: *sequence,
        })
        .collect();
    let admissions = shared.store.admit(&run.tenure, &changes, guard, shared.clock.now()).await?;
    let (mut held, mut dropped) = (BTreeSet::<ExternalId>::new(), BTreeSet::<ExternalId>::new());
    for ((user, _), admission) in removals.into_iter().zip(admissions) {
        match admission {
            Admission::Go => {}
            Admission::Held { .. } => drop(held.insert(user)),
            Admission::Rejected { .. } => drop(dropped.insert(user)),
        }
    }
    let all_go = held.is_empty() && dropped.is_empty();
    pass.removals_ruled_on(&held, &dropped);
    Ok(if all_go { Ruling::Send } else { Ruling::PlanAgain })
}

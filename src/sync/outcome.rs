//! What a worked-on resource leaves behind for the store.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::store::{LedgerEntry, LinkChange, MembersOutcome, Outcome, WorkChange};
use crate::sync::plan::{Findings, Pass};
use crate::sync::step::Task;

/// What is to be recorded of `task`, whose row becomes `work`.
pub(super) fn outcome(now: Timestamp, task: Task, work: WorkChange) -> Outcome {
    let Task { item, pass, mut ledger, .. } = task;
    let generation = pass.as_ref().map_or(item.generation, Pass::generation);
    let unchanged =
        if pass.as_ref().is_some_and(Pass::is_out_of_scope) { "out_of_scope" } else { "already_in_place" };
    let findings = pass.map_or_else(no_findings, |mut pass| pass.findings(now));
    let told = ledger.iter().any(|entry| matches!(entry.result, "applied" | "rejected" | "protected"))
        || !findings.parked().is_empty()
        || !findings.members.held.is_empty();
    if let Some(entry) = closing_entry(now, told, unchanged, &work) {
        ledger.push(entry);
    }
    for parked in findings.parked() {
        ledger.push(LedgerEntry::without_call(
            now,
            "members",
            "parked",
            Some(format!("{}: {}", parked.user, parked.reason)),
        ));
    }
    for user in &findings.members.held {
        ledger.push(LedgerEntry::without_call(now, "members", "held", Some(format!("removal of {user}"))));
    }
    Outcome {
        key: item.key,
        generation,
        link: findings.link,
        members: findings.members,
        waits_for: findings.waits_for,
        memberships: findings.memberships,
        work,
        ledger,
    }
}

fn no_findings() -> Findings {
    Findings {
        link: LinkChange::Keep,
        members: MembersOutcome::default(),
        waits_for: BTreeSet::new(),
        memberships: BTreeMap::new(),
    }
}

/// The end of a pass that no other entry tells. A pass that came to its end without a write that
/// was applied has found everything in place, however many calls it took to see that; `unchanged` says
/// what that means of the resource.
fn closing_entry(
    now: Timestamp,
    told: bool,
    unchanged: &'static str,
    work: &WorkChange,
) -> Option<LedgerEntry> {
    match work {
        WorkChange::Finish if !told => Some(LedgerEntry::without_call(now, "none", unchanged, None)),
        WorkChange::Wait { reason, .. } => {
            Some(LedgerEntry::without_call(now, "none", "waiting", Some(reason.clone())))
        }
        WorkChange::Hold { reason } => {
            Some(LedgerEntry::without_call(now, "none", "held", Some(reason.clone())))
        }
        WorkChange::Park { reason } => {
            Some(LedgerEntry::without_call(now, "none", "parked", Some(reason.clone())))
        }
        WorkChange::Finish | WorkChange::Continue | WorkChange::Retry { .. } => None,
    }
}

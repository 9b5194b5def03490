//! Where the groups are kept that a target derives from attributes: in a directory of its own, as rows
//! like any other, so that all that holds of groups and memberships holds of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Version};
use crate::store::{Lane, Outcome};

/// What the name of a target's own directory begins with. No configured directory is called so, since
/// their names hold no colon.
pub(super) const OWN: &str = "derived:";

/// The directory that holds a resource of a target that follows `directory`.
pub(super) fn home<'a>(target: &str, directory: &'a str, key: &ResourceKey) -> Cow<'a, str> {
    if key.is_derived() { Cow::Owned(format!("{OWN}{target}")) } else { Cow::Borrowed(directory) }
}

/// Whether a user belongs to a derived group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judgement<'a> {
    pub(super) user: &'a ExternalId,
    pub(super) group: &'a ExternalId,
    pub(super) present: bool,
}

/// What a batch says of memberships: each pair once, by its last word, in order of the ids.
pub(super) fn judgements(outcomes: &[Outcome]) -> Vec<Judgement<'_>> {
    let mut last: BTreeMap<(&ExternalId, &ExternalId), bool> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.key.kind == Kind::User) {
        let derived = outcome.memberships.iter().filter(|(group, _)| group.derived_name().is_some());
        last.extend(derived.map(|(group, present)| ((&outcome.key.id, group), *present)));
    }
    last.into_iter().map(|((user, group), present)| Judgement { user, group, present }).collect()
}

/// The version of a membership that is judged: commits of a target follow each other, so the last one
/// counts, and the moment only tells its age.
pub(super) const fn version(now: Timestamp) -> Version {
    Version { occurred_at: now, event: String::new(), index: 0 }
}

/// Whether a batch may leave derived groups that need not wait for anybody any more.
pub(super) fn concerns(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| !outcome.memberships.is_empty() || outcome.key.is_derived())
}

/// How long a derived group waits for more members to come, while users wait to be judged: one call
/// then tells the vendor of many. Those who are to leave wait less.
pub(super) const fn gathering(lane: Lane) -> Duration {
    match lane {
        Lane::Deprovision | Lane::Revoke => Duration::from_secs(1),
        Lane::Change | Lane::Membership | Lane::Backfill => Duration::from_secs(10),
    }
}

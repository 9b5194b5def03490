//! Folds changes into the directory: last-writer-wins, in any order, any number of times.
//!
//! A membership row is written by explicit changes and outdated by *floors*: the group's latest
//! whole statement (`set`), the group's deletion, the user's deletion. A row older than a floor is
//! rewritten as removed at that floor, whichever of the two came first. Identity providers send no
//! per-member removals when a user or a group is deleted, so this is where parents are expanded.

use crate::directory::register::Written;
use crate::directory::{ExternalId, MembersEdit, Membership, Operation, ResourceKey, Snapshot, Version};

/// A change with its place in the order of all changes.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedChange {
    /// Decides against other writers of the same item.
    pub version: Version,
    /// What changed.
    pub operation: Operation,
}

/// What became of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The resource that the change was about.
    pub key: ResourceKey,
    /// What it did.
    pub outcome: MergeOutcome,
    /// The resource's generation afterwards: a target that has applied it has seen this change.
    pub generation: u64,
}

/// What merging one change did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeOutcome {
    /// What is desired is another now.
    Merged,
    /// It says what was known already.
    Unchanged,
    /// A later change had spoken before.
    Superseded,
}

impl MergeOutcome {
    /// The lower-case word, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Merged => "merged",
            Self::Unchanged => "unchanged",
            Self::Superseded => "superseded",
        }
    }
}

/// Folds `changes` into `snapshot`, which must hold what [`Needs`](crate::directory::Needs) names.
/// Answers one effect for each change, in order.
pub fn merge(snapshot: &mut Snapshot, changes: &[VersionedChange]) -> Vec<Effect> {
    changes.iter().map(|change| merge_one(snapshot, change)).collect()
}

fn merge_one(snapshot: &mut Snapshot, change: &VersionedChange) -> Effect {
    let version = &change.version;
    let written = match &change.operation {
        Operation::UserUpsert { id, attributes } => {
            let written = snapshot.user_mut(id).upsert(attributes, version);
            settle_user(snapshot, id, written)
        }
        Operation::UserDeactivate { id } => {
            let written = snapshot.user_mut(id).deactivate(version);
            settle_user(snapshot, id, written)
        }
        Operation::UserDelete { id } => {
            let written = snapshot.user_mut(id).delete(version);
            expand_user_deletion(snapshot, id);
            settle_user(snapshot, id, written)
        }
        Operation::GroupUpsert { id, attributes } => {
            let written = snapshot.group_mut(id).upsert(attributes, version);
            settle_group(snapshot, id, written)
        }
        Operation::GroupDelete { id } => {
            let written = snapshot.group_mut(id).delete(version);
            expand_floor(snapshot, id);
            settle_group(snapshot, id, written)
        }
        Operation::GroupMembers { id, edit: MembersEdit::Delta { add, remove } } => {
            let added = add.iter().map(|user| (user, true));
            let removed = remove.iter().map(|user| (user, false));
            write_members(snapshot, id, added.chain(removed), version)
        }
        Operation::GroupMembers { id, edit: MembersEdit::Set(users) } => {
            set_members(snapshot, id, users, version)
        }
    };
    let key = change.operation.key();
    let generation = match change.operation {
        Operation::UserUpsert { .. } | Operation::UserDeactivate { .. } | Operation::UserDelete { .. } => {
            snapshot.user(&key.id).map_or(0, |user| user.generation)
        }
        Operation::GroupUpsert { .. } | Operation::GroupDelete { .. } | Operation::GroupMembers { .. } => {
            snapshot.group(&key.id).map_or(0, |group| group.generation)
        }
    };
    let outcome = match written {
        Written::Changed => MergeOutcome::Merged,
        Written::Same => MergeOutcome::Unchanged,
        Written::Older => MergeOutcome::Superseded,
    };
    Effect { key, outcome, generation }
}

fn settle_user(snapshot: &mut Snapshot, id: &ExternalId, written: Written) -> Written {
    if written == Written::Changed {
        snapshot.user_changed(id);
    }
    written
}

fn settle_group(snapshot: &mut Snapshot, id: &ExternalId, written: Written) -> Written {
    if written == Written::Changed {
        snapshot.group_changed(id, false);
    }
    written
}

fn set_members(
    snapshot: &mut Snapshot,
    group: &ExternalId,
    users: &[ExternalId],
    version: &Version,
) -> Written {
    let row = snapshot.group_mut(group);
    let newer = row.members_set_at.as_ref().is_none_or(|held| held <= version);
    if newer {
        row.members_set_at = Some(version.clone());
    }
    let written = write_members(snapshot, group, users.iter().map(|user| (user, true)), version);
    let removed = newer && expand_floor(snapshot, group);
    match written {
        _ if removed => Written::Changed,
        // An empty list has no row that could tell.
        Written::Older if newer => Written::Same,
        Written::Changed | Written::Same | Written::Older => written,
    }
}

fn write_members<'a>(
    snapshot: &mut Snapshot,
    group: &ExternalId,
    users: impl Iterator<Item = (&'a ExternalId, bool)>,
    version: &Version,
) -> Written {
    // The group becomes known even when nobody is named.
    snapshot.group_mut(group);
    let mut strongest = Written::Older;
    let mut touched = None;
    for (user, present) in users {
        let (written, rewritten) = write_membership(snapshot, group, user, present, version);
        strongest = match (strongest, written) {
            (Written::Changed, _) | (_, Written::Changed) => Written::Changed,
            (Written::Same, _) | (_, Written::Same) => Written::Same,
            (Written::Older, Written::Older) => Written::Older,
        };
        if let Some(removed) = rewritten {
            touched = Some(touched.unwrap_or(false) | removed);
        }
    }
    if let Some(removals) = touched {
        snapshot.group_changed(group, removals);
    }
    strongest
}

/// Writes one row. The second answer is `Some(removed)` when targets must act on the row.
fn write_membership(
    snapshot: &mut Snapshot,
    group: &ExternalId,
    user: &ExternalId,
    present: bool,
    version: &Version,
) -> (Written, Option<bool>) {
    let held = snapshot.membership(group, user).cloned();
    if held.as_ref().is_some_and(|row| row.version > *version) {
        return (Written::Older, None);
    }
    let floor = snapshot.group(group).and_then(|row| row.members_floor()).max(snapshot.user_deleted_at(user));
    let outdated = floor.filter(|floor| *floor > version).cloned();
    let (present, winner, written) = match outdated {
        // The row is kept as a removal, so that the end is the same as when the floor comes later.
        Some(floor) => (false, floor, Written::Older),
        None => (present, version.clone(), Written::Changed),
    };
    if let Some(held) = held.filter(|row| row.present == present) {
        let same = if written == Written::Changed { Written::Same } else { written };
        snapshot.put_membership(group, user, Membership { version: winner, ..held });
        return (same, None);
    }
    put_row(snapshot, group, user, present, winner);
    (written, Some(!present))
}

fn put_row(snapshot: &mut Snapshot, group: &ExternalId, user: &ExternalId, present: bool, version: Version) {
    let row = snapshot.group_mut(group);
    row.member_sequence += 1;
    let sequence = row.member_sequence;
    snapshot.put_membership(group, user, Membership { present, version, sequence });
}

/// Removes the members that the group's floor has outdated; true when there were any.
fn expand_floor(snapshot: &mut Snapshot, group: &ExternalId) -> bool {
    let Some(floor) = snapshot.group(group).and_then(|row| row.members_floor()).cloned() else {
        return false;
    };
    let outdated = snapshot.members_below(group, &floor);
    for user in &outdated {
        put_row(snapshot, group, user, false, floor.clone());
    }
    if !outdated.is_empty() {
        snapshot.group_changed(group, true);
    }
    !outdated.is_empty()
}

fn expand_user_deletion(snapshot: &mut Snapshot, user: &ExternalId) {
    let Some(floor) = snapshot.user_deleted_at(user).cloned() else { return };
    for group in snapshot.groups_below(user, &floor) {
        put_row(snapshot, &group, user, false, floor.clone());
        snapshot.group_changed(&group, true);
    }
}

#[cfg(test)]
mod tests;

//! The rows that a batch of changes touches, in memory for as long as the merge takes.

use std::collections::{BTreeMap, BTreeSet};

use crate::directory::{
    ExternalId, Group, MembersEdit, Membership, Operation, User, Version, VersionedChange,
};

/// Which rows a batch needs. A store loads exactly these, under lock, before it merges.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Users to load whole.
    pub users: BTreeSet<ExternalId>,
    /// Groups to load.
    pub groups: BTreeSet<ExternalId>,
    /// (group, user) rows to load; of their users, the latest deletion as well.
    pub pairs: BTreeSet<(ExternalId, ExternalId)>,
    /// Groups of which every present member is needed.
    pub members_of: BTreeSet<ExternalId>,
    /// Users of whom every present membership is needed, and the groups these are in.
    pub groups_of: BTreeSet<ExternalId>,
}

impl Needs {
    /// What merging `changes` needs.
    pub fn of<'a>(changes: impl IntoIterator<Item = &'a VersionedChange>) -> Self {
        let mut needs = Self::default();
        for change in changes {
            needs.add(&change.operation);
        }
        needs
    }

    fn add(&mut self, operation: &Operation) {
        match operation {
            Operation::UserUpsert { id, .. } | Operation::UserDeactivate { id } => {
                self.users.insert(id.clone());
            }
            Operation::UserDelete { id } => {
                self.users.insert(id.clone());
                self.groups_of.insert(id.clone());
            }
            Operation::GroupUpsert { id, .. } => {
                self.groups.insert(id.clone());
            }
            Operation::GroupDelete { id } => {
                self.groups.insert(id.clone());
                self.members_of.insert(id.clone());
            }
            Operation::GroupMembers { id, edit } => {
                self.groups.insert(id.clone());
                let users: Box<dyn Iterator<Item = &ExternalId>> = match edit {
                    MembersEdit::Delta { add, remove } => Box::new(add.iter().chain(remove)),
                    MembersEdit::Set(users) => {
                        self.members_of.insert(id.clone());
                        Box::new(users.iter())
                    }
                };
                self.pairs.extend(users.map(|user| (id.clone(), user.clone())));
            }
        }
    }
}

/// The loaded rows, and which of them the merge has changed.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    users: BTreeMap<ExternalId, User>,
    groups: BTreeMap<ExternalId, Group>,
    members: BTreeMap<ExternalId, BTreeMap<ExternalId, Membership>>,
    groups_of: BTreeMap<ExternalId, BTreeSet<ExternalId>>,
    deletions: BTreeMap<ExternalId, Version>,
    touched: Touched,
}

/// What a merge has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// User rows to write back; true when what is desired has changed, so that targets must act.
    pub users: BTreeMap<ExternalId, bool>,
    /// Group rows to write back.
    pub groups: BTreeMap<ExternalId, TouchedGroup>,
    /// Membership rows to write back, as (group, user).
    pub members: BTreeSet<(ExternalId, ExternalId)>,
}

/// How a group was touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TouchedGroup {
    /// What is desired has changed, so that targets must act.
    pub changed: bool,
    /// Somebody lost the membership.
    pub removals: bool,
}

impl Snapshot {
    /// Puts a loaded user in.
    pub fn load_user(&mut self, id: ExternalId, user: User) {
        self.users.insert(id, user);
    }

    /// Puts a loaded group in.
    pub fn load_group(&mut self, id: ExternalId, group: Group) {
        self.groups.insert(id, group);
    }

    /// Puts a loaded membership row in.
    pub fn load_membership(&mut self, group: ExternalId, user: ExternalId, membership: Membership) {
        self.groups_of.entry(user.clone()).or_default().insert(group.clone());
        self.members.entry(group).or_default().insert(user, membership);
    }

    /// Puts in the latest deletion of a user that is not loaded whole.
    pub fn load_deletion(&mut self, user: ExternalId, deleted_at: Version) {
        self.deletions.insert(user, deleted_at);
    }

    /// What was changed since the rows were loaded.
    pub const fn touched(&self) -> &Touched {
        &self.touched
    }

    /// A user's row.
    pub fn user(&self, id: &ExternalId) -> Option<&User> {
        self.users.get(id)
    }

    /// A group's row.
    pub fn group(&self, id: &ExternalId) -> Option<&Group> {
        self.groups.get(id)
    }

    /// The row of one (group, user) pair.
    pub fn membership(&self, group: &ExternalId, user: &ExternalId) -> Option<&Membership> {
        self.members.get(group)?.get(user)
    }

    /// The users.
    pub fn users(&self) -> impl Iterator<Item = (&ExternalId, &User)> {
        self.users.iter()
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = (&ExternalId, &Group)> {
        self.groups.iter()
    }

    /// The users who belong to a group.
    pub fn members(&self, group: &ExternalId) -> impl Iterator<Item = &ExternalId> {
        self.members.get(group).into_iter().flatten().filter(|(_, row)| row.present).map(|(user, _)| user)
    }

    /// Every membership row, removed ones included, as (group, user, row).
    pub fn membership_rows(&self) -> impl Iterator<Item = (&ExternalId, &ExternalId, &Membership)> {
        self.members.iter().flat_map(|(group, rows)| rows.iter().map(move |(user, row)| (group, user, row)))
    }

    pub(super) fn user_mut(&mut self, id: &ExternalId) -> &mut User {
        self.touched.users.entry(id.clone()).or_default();
        self.users.entry(id.clone()).or_default()
    }

    pub(super) fn user_changed(&mut self, id: &ExternalId) {
        self.user_mut(id).generation += 1;
        self.touched.users.insert(id.clone(), true);
    }

    pub(super) fn group_mut(&mut self, id: &ExternalId) -> &mut Group {
        self.touched.groups.entry(id.clone()).or_default();
        self.groups.entry(id.clone()).or_default()
    }

    pub(super) fn group_changed(&mut self, id: &ExternalId, removals: bool) {
        self.group_mut(id).generation += 1;
        let touched = self.touched.groups.entry(id.clone()).or_default();
        touched.changed = true;
        touched.removals |= removals;
    }

    pub(super) fn put_membership(&mut self, group: &ExternalId, user: &ExternalId, membership: Membership) {
        self.touched.members.insert((group.clone(), user.clone()));
        self.load_membership(group.clone(), user.clone(), membership);
    }

    pub(super) fn user_deleted_at(&self, user: &ExternalId) -> Option<&Version> {
        match self.users.get(user) {
            Some(user) => user.deleted_at.as_ref(),
            None => self.deletions.get(user),
        }
    }

    /// The present members of a group that were written before `floor`.
    pub(super) fn members_below(&self, group: &ExternalId, floor: &Version) -> Vec<ExternalId> {
        let rows = self.members.get(group).into_iter().flatten();
        rows.filter(|(_, row)| row.present && row.version < *floor).map(|(user, _)| user.clone()).collect()
    }

    /// The groups in which the user is a present member since before `floor`.
    pub(super) fn groups_below(&self, user: &ExternalId, floor: &Version) -> Vec<ExternalId> {
        let groups = self.groups_of.get(user).into_iter().flatten();
        groups
            .filter(|group| {
                self.membership(group, user).is_some_and(|row| row.present && row.version < *floor)
            })
            .cloned()
            .collect()
    }
}

//! Who is in which group, in both directions, and changes to a group that take effect whole or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::sandbox::endpoint::Kind;

/// The memberships of all groups. Both directions are always each other's mirror.
#[derive(Debug, Default)]
pub struct Memberships {
    members: HashMap<String, Members>,
    groups: HashMap<String, BTreeSet<String>>,
}

/// The members of a group by id, and what they are.
pub type Members = BTreeMap<String, Kind>;

/// Changes to one group that are not made yet.
#[derive(Debug, Default)]
pub struct Staged {
    emptied: bool,
    changes: BTreeMap<String, Option<Kind>>,
}

impl Memberships {
    /// The members of a group.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&str, Kind)> {
        self.members.get(group).into_iter().flatten().map(|(id, kind)| (id.as_str(), *kind))
    }

    /// The groups that someone is directly in.
    pub fn of_member(&self, member: &str) -> impl Iterator<Item = &str> {
        self.groups.get(member).into_iter().flatten().map(String::as_str)
    }

    /// Whether someone is directly in a group.
    pub fn contains(&self, group: &str, member: &str) -> bool {
        self.members.get(group).is_some_and(|members| members.contains_key(member))
    }

    /// Makes the staged changes. Whether anything is different now.
    pub fn commit(&mut self, group: &str, staged: Staged) -> bool {
        let mut changed = false;
        if staged.emptied {
            let kept = |id: &String| staged.changes.get(id).is_some_and(Option::is_some);
            let gone: Vec<String> = self
                .members
                .get(group)
                .into_iter()
                .flat_map(BTreeMap::keys)
                .filter(|id| !kept(id))
                .cloned()
                .collect();
            for id in gone {
                changed |= self.set(group, &id, None);
            }
        }
        for (id, member) in staged.changes {
            changed |= self.set(group, &id, member);
        }
        changed
    }

    /// Forgets a group: its members, and its own memberships. Gives the groups that it was in.
    pub fn forget(&mut self, id: &str) -> Vec<String> {
        self.commit(id, Staged { emptied: true, ..Staged::default() });
        self.members.remove(id);
        let groups: Vec<String> = self.of_member(id).map(str::to_owned).collect();
        for group in &groups {
            self.set(group, id, None);
        }
        groups
    }

    fn set(&mut self, group: &str, id: &str, member: Option<Kind>) -> bool {
        let Some(kind) = member else { return self.unset(group, id) };
        self.groups.entry(id.to_owned()).or_default().insert(group.to_owned());
        self.members.entry(group.to_owned()).or_default().insert(id.to_owned(), kind) != Some(kind)
    }

    fn unset(&mut self, group: &str, id: &str) -> bool {
        let removed = self.members.get_mut(group).and_then(|members| members.remove(id)).is_some();
        if let Some(groups) = self.groups.get_mut(id) {
            groups.remove(group);
            if groups.is_empty() {
                self.groups.remove(id);
            }
        }
        removed
    }
}

impl Staged {
    /// Everyone is out.
    pub fn empty(&mut self) {
        self.emptied = true;
        self.changes.clear();
    }

    /// Someone is in.
    pub fn add(&mut self, id: String, kind: Kind) {
        self.changes.insert(id, Some(kind));
    }

    /// Someone is out.
    pub fn remove(&mut self, id: String) {
        self.changes.insert(id, None);
    }

    /// Whether someone is in, once these changes are made.
    pub fn contains(&self, group: &str, id: &str, memberships: &Memberships) -> bool {
        match self.changes.get(id) {
            Some(member) => member.is_some(),
            None => !self.emptied && memberships.contains(group, id),
        }
    }

    /// Everyone who is in, once these changes are made.
    pub fn members(&self, group: &str, memberships: &Memberships) -> Members {
        let mut members = Members::new();
        if !self.emptied {
            members.extend(memberships.of_group(group).map(|(id, kind)| (id.to_owned(), kind)));
        }
        for (id, member) in &self.changes {
            match member {
                Some(kind) => members.insert(id.clone(), *kind),
                None => members.remove(id),
            };
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Empty,
        Add(u8),
        Remove(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            1 => Just(Step::Empty),
            4 => (0..6u8).prop_map(Step::Add),
            3 => (0..6u8).prop_map(Step::Remove),
        ];
        prop::collection::vec(step, 0..12)
    }

    fn stage(steps: &[Step]) -> Staged {
        let mut staged = Staged::default();
        for step in steps {
            match step {
                Step::Empty => staged.empty(),
                Step::Add(id) => staged.add(id.to_string(), Kind::User),
                Step::Remove(id) => staged.remove(id.to_string()),
            }
        }
        staged
    }

    proptest! {
        #[test]
        fn what_is_staged_is_what_is_committed(first in steps(), second in steps()) {
            let mut memberships = Memberships::default();
            let mut model = BTreeSet::new();
            for steps in [first, second] {
                for step in &steps {
                    match step {
                        Step::Empty => model.clear(),
                        Step::Add(id) => { model.insert(id.to_string()); }
                        Step::Remove(id) => { model.remove(&id.to_string()); }
                    }
                }
                let before: Vec<_> = memberships.of_group("g").map(|(id, _)| id.to_owned()).collect();
                let staged = stage(&steps);
                prop_assert_eq!(staged.members("g", &memberships).into_keys().collect::<BTreeSet<_>>(), model.clone());
                for id in 0..6u8 {
                    let id = id.to_string();
                    prop_assert_eq!(staged.contains("g", &id, &memberships), model.contains(&id));
                }
                let changed = memberships.commit("g", staged);
                let after: Vec<_> = memberships.of_group("g").map(|(id, _)| id.to_owned()).collect();
                prop_assert_eq!(changed, before != after);
                prop_assert_eq!(after, model.iter().cloned().collect::<Vec<_>>());
                for id in 0..6u8 {
                    let id = id.to_string();
                    prop_assert_eq!(memberships.of_member(&id).count() == 1, model.contains(&id));
                }
            }
            memberships.forget("g");
            prop_assert!(memberships.members.is_empty() && memberships.groups.is_empty());
        }
    }

    #[test]
    fn a_forgotten_group_leaves_the_groups_that_it_was_in() {
        let mut memberships = Memberships::default();
        for (group, member) in [("outer", "inner"), ("inner", "u")] {
            let mut staged = Staged::default();
            staged.add(member.to_owned(), Kind::Group);
            memberships.commit(group, staged);
        }
        assert_eq!(memberships.forget("inner"), ["outer"]);
        assert_eq!((memberships.of_group("outer").count(), memberships.of_member("u").count()), (0, 0));
    }
}

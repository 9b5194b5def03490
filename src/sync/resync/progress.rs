//! What is wanted of a resync, how far it is, and what came of it: kept as one document.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind};
use crate::sync::drift::Class;
use crate::sync::resync::paging::{Gap, Paging};

/// How often lists are read again, in one resync, because they changed while they were read.
pub const READ_AGAIN_MAX: u32 = 3;

/// What becomes of what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is told.
    Report,
    /// It is put right, by the normal way.
    Apply,
}

/// Which resources are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// All.
    #[default]
    All,
    /// These users.
    Users(Vec<ExternalId>),
    /// These groups, with their members.
    Groups(Vec<ExternalId>),
}

impl Scope {
    /// Whether resources of this kind are compared at all.
    pub const fn has(&self, kind: Kind) -> bool {
        matches!((self, kind), (Self::All, _) | (Self::Users(_), Kind::User) | (Self::Groups(_), Kind::Group))
    }

    /// The first `limit` of the named resources after one, in the order of their ids; `None` where all are
    /// meant.
    pub fn named_after(&self, after: Option<&str>, limit: usize) -> Option<Vec<ExternalId>> {
        let ids = match self {
            Self::All => return None,
            Self::Users(ids) | Self::Groups(ids) => ids,
        };
        let named: BTreeSet<_> =
            ids.iter().filter(|id| after.is_none_or(|after| id.as_str() > after)).collect();
        Some(named.into_iter().take(limit).cloned().collect())
    }

    /// How many resources are named, where not all are meant.
    pub fn named(&self) -> Option<u64> {
        self.named_after(None, usize::MAX).map(|ids| ids.len() as u64)
    }
}

/// How a resync stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for the target's dispatcher.
    #[default]
    Waiting,
    /// It reads or compares.
    Running,
    /// All was read and compared.
    Complete,
    /// Something could not be read: what is reported is true, nobody's absence is, and nothing was marked.
    Incomplete,
    /// Somebody ended it.
    Cancelled,
}

/// What is done at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The vendor's users are read.
    #[default]
    ListUsers,
    /// Those that a list without a filter leaves out.
    ListInactive,
    /// The vendor's groups are read.
    ListGroups,
    /// Users are compared.
    CompareUsers,
    /// Users whom nobody knows are noted.
    UnmanagedUsers,
    /// Groups and their members are compared.
    CompareGroups,
    /// Groups that nobody knows are noted.
    UnmanagedGroups,
    /// What drifted is marked as work.
    Mark,
    /// Nothing.
    Done,
}

/// Why the resync is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindGap {
    /// Of which list.
    pub kind: Kind,
    /// What is wrong with it.
    pub gap: Gap,
}

/// The whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is wanted.
    pub mode: Mode,
    /// Of which resources.
    pub scope: Scope,
    /// Who wants it: an administrator's key, or `schedule`.
    pub by: String,
    /// How it stands.
    pub state: State,
    /// What is done at the moment.
    pub phase: Phase,
    /// How far the list is that is being read.
    pub paging: Paging,
    /// Where comparing goes on.
    pub after: Option<String>,
    /// When the first call was made.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Resources that the vendor has, as far as they were read.
    pub read: u64,
    /// How often a list was read again from its beginning, since it changed while it was read.
    #[serde(default)]
    pub read_again: u32,
    /// Resources that were read in vain for that, and are not among those that count as read.
    #[serde(default)]
    pub read_in_vain: u64,
    /// Resources that are to be read and compared, as far as is known.
    pub expected: u64,
    /// Resources of the directory that were compared.
    pub compared: u64,
    /// Why it is incomplete.
    pub gaps: Vec<KindGap>,
    /// Whether some group has shown its members.
    pub members_shown: bool,
    /// Findings by class.
    pub drift: BTreeMap<Class, u64>,
    /// How often which attribute differs.
    #[serde(default)]
    pub attributes: BTreeMap<String, u64>,
    /// The resync before, with which this one is compared.
    pub previous: Option<String>,
    /// Findings that the one before has not.
    pub new: u64,
    /// Findings that it has, too.
    pub same: u64,
    /// Findings that only it has.
    pub gone: u64,
    /// Resources and memberships that were marked as work.
    pub marked: u64,
}

impl Progress {
    /// Of a resync that has not begun.
    pub fn new(mode: Mode, scope: Scope, by: String) -> Self {
        Self {
            mode,
            scope,
            by,
            state: State::Waiting,
            phase: Phase::ListUsers,
            paging: Paging::default(),
            after: None,
            started_at: None,
            ended_at: None,
            read: 0,
            read_again: 0,
            read_in_vain: 0,
            expected: 0,
            compared: 0,
            gaps: Vec::new(),
            members_shown: false,
            drift: BTreeMap::new(),
            attributes: BTreeMap::new(),
            previous: None,
            new: 0,
            same: 0,
            gone: 0,
            marked: 0,
        }
    }

    /// As it is kept; `None` where it is not of this form.
    pub fn read(body: &Value) -> Option<Self> {
        Self::deserialize(body).ok()
    }

    /// Findings in all.
    pub fn findings(&self) -> u64 {
        self.drift.values().sum()
    }

    /// Whether a kind's list was read to its end.
    pub fn is_whole(&self, kind: Kind) -> bool {
        !self.gaps.iter().any(|gap| gap.kind == kind)
    }

    /// Notes why a list is not whole.
    pub fn note_gap(&mut self, kind: Kind, gap: Gap) {
        let gap = KindGap { kind, gap };
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// Why it is incomplete, in words.
    pub fn why_incomplete(&self) -> Vec<String> {
        let words = |KindGap { kind, gap }: &KindGap| {
            let again = match self.read_again {
                times @ 1.. if *gap == Gap::TotalChanged => {
                    format!(" (lists read again: {times})")
                }
                _ => String::new(),
            };
            format!("{}s: {gap}{again}", kind.as_str())
        };
        self.gaps.iter().map(words).collect()
    }

    /// Goes back to the beginning of a kind's list, as if nothing of it had been read; false where that has
    /// been done often enough, or where the list is known not to be whole anyway.
    pub fn read_again(&mut self, kind: Kind) -> bool {
        if self.read_again >= READ_AGAIN_MAX || !self.is_whole(kind) {
            return false;
        }
        self.read_again += 1;
        let of_others = match kind {
            Kind::User => 0,
            Kind::Group => self.read - self.paging.received.min(self.read),
        };
        self.read_in_vain += self.read - of_others;
        self.read = of_others;
        self.paging = Paging::default();
        self.phase = match kind {
            Kind::User => Phase::ListUsers,
            Kind::Group => {
                self.members_shown = false;
                Phase::ListGroups
            }
        };
        true
    }

    /// Goes on to the phase that follows.
    pub fn advance(&mut self) {
        self.paging = Paging::default();
        self.after = None;
        self.phase = match self.phase {
            Phase::ListUsers => Phase::ListInactive,
            Phase::ListInactive => Phase::ListGroups,
            Phase::ListGroups => Phase::CompareUsers,
            Phase::CompareUsers => Phase::UnmanagedUsers,
            Phase::UnmanagedUsers => Phase::CompareGroups,
            Phase::CompareGroups => Phase::UnmanagedGroups,
            Phase::UnmanagedGroups => Phase::Mark,
            Phase::Mark | Phase::Done => Phase::Done,
        };
    }

    /// How much of it is done, from 0 to 1, and the seconds that the rest will take at the same pace. What
    /// was read in vain took its time, too.
    pub fn estimate(&self, now: Timestamp) -> (f64, Option<f64>) {
        if self.phase == Phase::Done {
            return (1.0, Some(0.0));
        }
        let float = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let done = self.read + self.compared;
        let all = float(self.expected.max(1));
        let share = (float(done) / all).min(0.99);
        let spent = self.started_at.map(|started| now.since(started).as_secs_f64());
        let handled = float(done + self.read_in_vain);
        (share, spent.filter(|_| handled > 0.0).map(|spent| spent / handled * (1.0 - share) * all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<ExternalId> {
        names.iter().map(|name| ExternalId::parse(*name).unwrap()).collect()
    }

    #[test]
    fn a_narrow_scope_is_gone_through_in_order_each_of_it_once() {
        let scope = Scope::Users(ids(&["c", "a", "b", "a"]));
        for (after, limit, expected) in [
            (None, 2, vec!["a", "b"]),
            (Some("b"), 2, vec!["c"]),
            (Some("aa"), 9, vec!["b", "c"]),
            (Some("c"), 2, vec![]),
        ] {
            assert_eq!(scope.named_after(after, limit), Some(ids(&expected)), "{after:?}");
        }
        assert_eq!((scope.named(), Scope::All.named()), (Some(3), None));
    }

    fn reading(phase: Phase, read: u64, received: u64) -> Progress {
        let paging = Paging { received, pages: 2, total: Some(90), cursor: None };
        Progress { phase, paging, read, ..Progress::new(Mode::Report, Scope::All, "ops".to_owned()) }
    }

    #[test]
    fn a_list_that_is_read_again_begins_as_if_nothing_of_it_had_been_read() {
        for (phase, kind, read, received, expected) in [
            (Phase::ListUsers, Kind::User, 40, 40, (Phase::ListUsers, 0, 40)),
            (Phase::ListInactive, Kind::User, 45, 5, (Phase::ListUsers, 0, 45)),
            (Phase::ListGroups, Kind::Group, 47, 7, (Phase::ListGroups, 40, 7)),
        ] {
            let mut progress = reading(phase, read, received);
            progress.members_shown = true;
            assert!(progress.read_again(kind));
            assert_eq!((progress.phase, progress.read, progress.read_in_vain), expected);
            assert_eq!(progress.paging, Paging::default());
            assert_eq!(progress.members_shown, kind == Kind::User, "of the list itself nothing is known");
        }
    }

    #[test]
    fn lists_are_read_again_a_few_times_and_only_where_that_may_help() {
        let mut progress = reading(Phase::ListUsers, 40, 40);
        let again: Vec<_> =
            [Kind::User, Kind::Group, Kind::User, Kind::User].map(|kind| progress.read_again(kind)).to_vec();
        assert_eq!(again, [true, true, true, false], "{READ_AGAIN_MAX} times in all");

        let mut progress = reading(Phase::ListInactive, 40, 40);
        progress.note_gap(Kind::User, Gap::EndedEarly);
        assert!(!progress.read_again(Kind::User), "it is not whole anyway");
        assert_eq!((progress.read, progress.read_again), (40, 0));
    }

    #[test]
    fn what_was_read_in_vain_counts_for_the_pace_and_not_for_the_share() {
        let started_at = Some(Timestamp::from_seconds(100));
        let mut progress = Progress { expected: 200, started_at, ..reading(Phase::ListUsers, 40, 40) };
        let now = Timestamp::from_seconds(110);
        assert_eq!(progress.estimate(now), (0.2, Some(40.0)), "40 in ten seconds, and 160 are left");
        progress.read_again(Kind::User);
        assert_eq!(progress.estimate(now), (0.0, Some(50.0)), "all 200 are left");
    }

    #[test]
    fn why_it_is_incomplete_says_how_often_that_was_tried() {
        let mut progress = reading(Phase::ListUsers, 40, 40);
        progress.read_again(Kind::User);
        progress.note_gap(Kind::User, Gap::TotalChanged);
        progress.note_gap(Kind::Group, Gap::Unread);
        assert_eq!(
            progress.why_incomplete(),
            [
                "users: the number of resources changed while pages were read (lists read again: 1)",
                "groups: a page could not be read"
            ]
        );
    }
}

//! How long things are kept, and what was deleted.

use std::time::Duration;

/// How long things are kept once nothing depends on them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events that are merged, from their receipt: the bodies, the ids by which duplicates are known,
    /// and what became of their changes. At least [`EVENTS_MIN`](Self::EVENTS_MIN).
    pub events: Duration,
    /// The ledger's entries, from the end of the call.
    pub ledger: Duration,
    /// Deleted users and groups, and memberships that ended, from the change that ended them. A change
    /// that is older than this and comes later still is taken for new.
    pub tombstones: Duration,
}

impl Retention {
    /// The longest-lived sender repeats an event for three days; twice that and a day.
    pub const EVENTS_MIN: Duration = Duration::from_hours(7 * 24);
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events: Duration::from_hours(30 * 24),
            ledger: Duration::from_hours(400 * 24),
            tombstones: Duration::from_hours(90 * 24),
        }
    }
}

/// What one batch of pruning has deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Events.
    pub events: u64,
    /// Entries of the ledger.
    pub ledger: u64,
    /// Users, groups and memberships.
    pub tombstones: u64,
    /// Whether there is more to delete.
    pub more: bool,
}

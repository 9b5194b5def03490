//! How long things are kept, and what was deleted.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::directory::Version;

/// How long things are kept once nothing depends on them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events that are merged, from their receipt: the bodies, the ids by which duplicates are known,
    /// and what became of their changes. At least [`EVENTS_MIN`](Self::EVENTS_MIN).
    pub events: Duration,
    /// The ledger's entries, from the end of the call; what the guard let through, and holds that are closed,
    /// too, but at least [`GUARD_MIN`](Self::GUARD_MIN).
    pub ledger: Duration,
    /// Deleted users and groups, and memberships that ended, from the change that ended them. A change
    /// that is older than this and comes later still is taken for new.
    pub tombstones: Duration,
}

impl Retention {
    /// Senders repeat an event for three days at most; twice that, and a day.
    pub const EVENTS_MIN: Duration = Duration::from_hours(7 * 24);
    /// The guard's longest window, and a day.
    pub const GUARD_MIN: Duration = Duration::from_hours(32 * 24);
}

/// Before when things of each sort are past their retention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Horizons {
    pub(crate) events: Timestamp,
    pub(crate) ledger: Timestamp,
    /// Like the ledger, but never within a window of the guard.
    pub(crate) guard: Timestamp,
    /// The beginning of a version's sort key; older versions have smaller keys.
    pub(crate) tombstones: Vec<u8>,
}

impl Retention {
    pub(crate) fn horizons(&self, now: Timestamp) -> Horizons {
        let before = |kept: Duration| {
            let micros = i64::try_from(kept.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(now.as_micros().saturating_sub(micros))
        };
        let moment = Version { occurred_at: before(self.tombstones), event: String::new(), index: 0 };
        let mut tombstones = moment.to_sort_key();
        tombstones.truncate(VERSION_TIME_BYTES);
        Horizons {
            events: before(self.events.max(Self::EVENTS_MIN)),
            ledger: before(self.ledger),
            guard: before(self.ledger.max(Self::GUARD_MIN)),
            tombstones,
        }
    }
}

/// Bytes of the time at the start of a version's sort key.
const VERSION_TIME_BYTES: usize = 8;

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
    /// What the guard has noted: what went through, and what was decided about holds.
    pub guard: u64,
    /// Whether there is more to delete.
    pub more: bool,
}

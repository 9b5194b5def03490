//! What somebody should know of before it hurts: work that waits, secrets that end, sources that are
//! silent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::expiry::Expiry;
use crate::store::Lane;

/// The objective of each lane, which is how old its oldest work may be; and what else is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarms {
    /// For the ends of somebody's access.
    pub deprovision: Duration,
    /// For all other changes.
    pub other: Duration,
    /// How far ahead of its end a secret is told of.
    pub secret_notice: Duration,
    /// The secrets whose end is known.
    pub expiries: Vec<Expiry>,
    /// After how long a source counts as silent, where that is configured rather than learned.
    pub silent_after: BTreeMap<String, Duration>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            deprovision: Duration::from_mins(5),
            other: Duration::from_mins(15),
            secret_notice: Duration::from_hours(14 * 24),
            expiries: Vec::new(),
            silent_after: BTreeMap::new(),
        }
    }
}

impl Alarms {
    /// How old the oldest work of a lane may be. A target that catches up takes what the vendor's limit
    /// makes it take, so nothing is promised of that.
    pub const fn objective(&self, lane: Lane) -> Option<Duration> {
        match lane {
            Lane::Deprovision => Some(self.deprovision),
            Lane::Revoke | Lane::Change | Lane::Membership => Some(self.other),
            Lane::Backfill => None,
        }
    }

    /// Whether work of this age is later than it may be.
    pub fn is_breached(&self, lane: Lane, age: Option<Duration>) -> bool {
        age.zip(self.objective(lane)).is_some_and(|(age, objective)| age > objective)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_late_once_it_is_older_than_its_lanes_objective() {
        let alarms = Alarms::default();
        let (five, fifteen) = (Duration::from_mins(5), Duration::from_mins(15));
        let more = Duration::from_secs(1);
        for (lane, age, late) in [
            (Lane::Deprovision, None, false),
            (Lane::Deprovision, Some(five), false),
            (Lane::Deprovision, Some(five + more), true),
            (Lane::Change, Some(five + more), false),
            (Lane::Revoke, Some(fifteen + more), true),
            (Lane::Membership, Some(fifteen + more), true),
            (Lane::Backfill, Some(fifteen * 100), false),
        ] {
            assert_eq!(alarms.is_breached(lane, age), late, "{lane:?} {age:?}");
        }
    }
}

//! How many retries a target gets, so that an outage is not amplified.
//!
//! An attempt is a retry when the resource has failed and not succeeded since. Of those that have not
//! succeeded, no more begin in any ten seconds than a tenth of the operations in that time, and one a
//! second where there are hardly any, so that a vendor's return is noticed. A call is one operation; a
//! bulk request is as many as it holds. A retry that succeeds was no load in vain and is not counted any
//! longer: once the vendor works, the backlog flows.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::directory::ResourceKey;

/// The stretch of time in which retries and operations are compared.
pub(super) const STRETCH: Duration = Duration::from_secs(10);
/// Retries in a stretch, whatever else: one a second.
const RETRIES_MIN: u64 = 10;
/// One retry for so many operations.
const OPERATIONS_PER_RETRY: u64 = 10;

/// The retries of the last stretch that have not succeeded.
#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    begun: VecDeque<(Instant, ResourceKey)>,
}

impl RetryBudget {
    /// Takes one retry of `key` out of the budget, where there have been so many `operations` in the
    /// last stretch; `false` when it is used up.
    pub(super) fn take(&mut self, key: &ResourceKey, operations: u64, now: Instant) -> bool {
        while self.begun.front().is_some_and(|(begun, _)| *begun + STRETCH < now) {
            self.begun.pop_front();
        }
        let most = RETRIES_MIN.max(operations / OPERATIONS_PER_RETRY);
        let within = u64::try_from(self.begun.len()).is_ok_and(|begun| begun < most);
        if within {
            self.begun.push_back((now, key.clone()));
        }
        within
    }

    /// All that `key` needed has worked; a look-up alone says nothing of the write that follows.
    pub(super) fn succeeded(&mut self, key: &ResourceKey) {
        self.begun.retain(|(_, retried)| retried != key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::directory::ExternalId;

    fn key(number: usize) -> ResourceKey {
        ResourceKey::user(ExternalId::parse(format!("u{number}")).unwrap())
    }

    fn taken(budget: &mut RetryBudget, asked: usize, calls: u64, now: Instant) -> usize {
        (0..asked).filter(|number| budget.take(&key(*number), calls, now)).count()
    }

    #[test]
    fn retries_are_a_tenth_of_the_calls_and_one_a_second_at_least() {
        let now = Instant::now();
        for (calls, retries) in [(0, 10), (99, 10), (250, 25), (10_000, 1_000)] {
            assert_eq!(taken(&mut RetryBudget::default(), 2_000, calls, now), retries, "{calls}");
        }
    }

    #[test]
    fn what_was_taken_comes_back_after_ten_seconds_or_with_success() {
        let (mut budget, now) = (RetryBudget::default(), Instant::now());
        assert_eq!(taken(&mut budget, 20, 0, now), 10);
        assert!(!budget.take(&key(99), 0, now + STRETCH));
        budget.succeeded(&key(3));
        budget.succeeded(&key(3));
        assert_eq!(taken(&mut budget, 20, 0, now + STRETCH), 1);
        assert_eq!(taken(&mut budget, 20, 0, now + STRETCH + Duration::from_millis(1)), 9);
    }

    proptest! {
        /// However they come, failing retries in any ten seconds are within the budget.
        #[test]
        fn no_ten_seconds_hold_more_than_the_budget(waits in prop::collection::vec(0_u64..2_000, 1..200)) {
            let (mut budget, mut now) = (RetryBudget::default(), Instant::now());
            let mut begun = Vec::new();
            for (number, wait) in waits.into_iter().enumerate() {
                now += Duration::from_millis(wait);
                if budget.take(&key(number), 150, now) {
                    begun.push(now);
                }
            }
            for from in &begun {
                let within = begun.iter().filter(|at| **at >= *from && **at <= *from + STRETCH).count();
                prop_assert!(within <= 15, "{within}");
            }
        }
    }
}

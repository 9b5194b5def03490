//! Due work within the retry budget; what is over it goes back with a later due time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Dispatcher;
use crate::store::{WorkChange, WorkItem};
use crate::sync::lanes::Candidate;
use crate::sync::retry_budget::STRETCH;
use crate::sync::step::Task;

/// How long a retry over the budget is put off: at random between these, so that they come one by one.
const PUT_OFF_MIN: Duration = Duration::from_secs(5);
const PUT_OFF_MAX: Duration = Duration::from_secs(15);

impl Dispatcher {
    /// The most urgent candidate that is no retry, or one that the budget has room for. Others that
    /// come before it are put off: their attempts and their last failure stay as they are.
    pub(super) fn next_within_retry_budget(&mut self) -> Option<Candidate<Task>> {
        loop {
            match self.lanes.take()? {
                Candidate::Fresh(item) if !self.may_try(&item) => self.put_off(item),
                candidate => return Some(candidate),
            }
        }
    }

    /// Those that are no retries, or that the budget has room for; the others are put off.
    pub(super) fn within_retry_budget(&mut self, items: Vec<WorkItem>) -> Vec<WorkItem> {
        let (now, later): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| self.may_try(item));
        for item in later {
            self.put_off(item);
        }
        now
    }

    fn may_try(&mut self, item: &WorkItem) -> bool {
        let limiter = &self.run.shared.target.health().limiter;
        item.failed_at.is_none()
            || self.retries.take(&item.key, limiter.calls_within(STRETCH), Instant::now())
    }

    fn put_off(&mut self, item: WorkItem) {
        self.shared().in_flight.fetch_add(1, Ordering::SeqCst);
        let wait = self.chance.random_range(PUT_OFF_MIN..PUT_OFF_MAX);
        let reason = "other retries come first".to_owned();
        self.push_outcome(Task::new(item), |now, item| WorkChange::Retry {
            due: now.after(wait),
            attempts: item.attempts,
            reason,
            failed_at: item.failed_at,
        });
    }
}

#[cfg(test)]
mod tests;

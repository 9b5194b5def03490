//! Retries within their budget; what is over it goes back with a later due time.
//!
//! What goes out in a bulk request costs no call of its own, and is not counted.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Dispatcher;
use crate::store::{WorkChange, WorkItem};
use crate::sync::retry_budget::STRETCH;

/// How long a retry over the budget is put off: at random between these, so that they come one by one.
const PUT_OFF_MIN: Duration = Duration::from_secs(5);
const PUT_OFF_MAX: Duration = Duration::from_secs(15);

impl Dispatcher {
    /// Whether this is a retry that the budget has no room for. One that it has room for is taken out.
    pub(super) fn is_over_retry_budget(&mut self, item: &WorkItem) -> bool {
        let limiter = &self.run.shared.target.health().limiter;
        item.failed_at.is_some()
            && !self.retries.take(&item.key, limiter.calls_within(STRETCH), Instant::now())
    }

    /// Its attempts and its last failure stay as they are.
    pub(super) fn put_off(&mut self, item: WorkItem) {
        let task = self.taken(item);
        let wait = self.chance.random_range(PUT_OFF_MIN..PUT_OFF_MAX);
        let reason = "other retries come first".to_owned();
        self.push_outcome(task, |now, item| WorkChange::Retry {
            due: now.after(wait),
            attempts: item.attempts,
            reason,
            failed_at: item.failed_at,
        });
    }
}

#[cfg(test)]
mod tests;

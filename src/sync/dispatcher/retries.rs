//! Retries within their budget; what is over it goes back with a later due time.
//!
//! An operation of a bulk request counts as one that went alone: the vendor's work is the same.

use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Dispatcher;
use crate::store::WorkChange;
use crate::sync::retry_budget::STRETCH;
use crate::sync::step::Task;

/// How long a retry over the budget is put off: at random between these, so that they come one by one.
const PUT_OFF_MIN: Duration = Duration::from_secs(5);
const PUT_OFF_MAX: Duration = Duration::from_secs(15);

impl Dispatcher {
    /// Whether a resource that is about to be sent is a retry that the budget has no room for. One that it
    /// has room for is taken out of it, once.
    pub(super) fn is_over_retry_budget(&mut self, task: &mut Task) -> bool {
        if task.item.failed_at.is_none() || task.within_budget {
            return false;
        }
        let operations = self.run.shared.target.health().limiter.operations_within(STRETCH);
        task.within_budget = self.retries.take(&task.item.key, operations, Instant::now());
        !task.within_budget
    }

    /// Those that may go in one request now; retries that the budget has no room for are put off.
    pub(super) fn within_retry_budget(&mut self, tasks: Vec<Task>) -> Vec<Task> {
        let mut within = Vec::with_capacity(tasks.len());
        for mut task in tasks {
            if self.is_over_retry_budget(&mut task) {
                self.put_off(task);
            } else {
                within.push(task);
            }
        }
        within
    }

    /// Its attempts and its last failure stay as they are.
    pub(super) fn put_off(&mut self, task: Task) {
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

//! Due work within the retry budget; what is over it goes back with a later due time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::Instant;

use super::Dispatcher;
use crate::store::{WorkChange, WorkItem};
use crate::sync::retry_budget::STRETCH;
use crate::sync::step::Task;

/// How long a retry over the budget is put off: at random between these, so that they come one by one.
const PUT_OFF_MIN: Duration = Duration::from_secs(1);
const PUT_OFF_MAX: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// Leaves out retries that the budget has no room for, and puts them off. Their attempts and their
    /// last failure stay as they are.
    pub(super) fn within_retry_budget(&mut self, items: Vec<WorkItem>) -> Vec<WorkItem> {
        let now = Instant::now();
        let calls = self.shared().target.health().limiter.calls_within(STRETCH);
        let (mut kept, mut over) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let fits = item.failed_at.is_none()
                || self.lanes.is_held(&item.key)
                || self.retries.take(&item.key, calls, now);
            if fits { kept.push(item) } else { over.push(item) }
        }
        for item in over {
            self.put_off(item);
        }
        kept
    }

    fn put_off(&mut self, item: WorkItem) {
        self.lanes.hold(item.key.clone());
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

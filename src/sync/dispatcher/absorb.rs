//! What becomes of a step: another one, an outcome to be recorded, or nothing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Dispatcher, Ended, STORE_PAUSE, Steps};
use crate::backoff::Backoff;
use crate::clock::Timestamp;
use crate::store::{StoreError, WorkChange, WorkItem};
use crate::sync::memory::learn_members_max;
use crate::sync::outcome::outcome;
use crate::sync::plan::{End, LaterCause};
use crate::sync::step::{StepDone, Stepped, Task};
use crate::telemetry::chain;

/// How long a group waits before it is looked at again for members who are about to be linked.
const GATHER_PAUSE: Duration = Duration::from_secs(1);
/// How long a failed resource is left alone.
const BACKOFF: Backoff =
    Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(5), floor: Duration::from_millis(100) };

impl Dispatcher {
    pub(super) async fn absorb_all(&mut self, steps: Steps) -> Result<(), Ended> {
        self.looks -= usize::from(steps.looked);
        for done in steps.done {
            self.absorb(done).await?;
        }
        Ok(())
    }

    async fn absorb(&mut self, done: StepDone) -> Result<(), Ended> {
        let StepDone { task, stepped, unused, vendor_works } = done;
        self.spare.extend(unused);
        if vendor_works {
            self.vendor_works().await;
        }
        match stepped {
            Stepped::Further { packable } => self.put_back(task, packable),
            Stepped::Throttled => self.lanes.resume(task),
            Stepped::Gone => self.let_go(&task),
            Stepped::Settled => {
                if let Some(task) = self.accompany(task) {
                    self.retries.succeeded(&task.item.key);
                    self.settle(task).await;
                }
            }
            Stepped::Held { reason } => self.push_outcome(task, |_, _| WorkChange::Hold { reason }),
            Stepped::Later { reason, cause } => self.postpone(task, reason, cause),
            Stepped::TargetFault { reason, mend } => {
                self.suspend(reason.clone(), mend).await;
                self.push_outcome(task, |now, item| WorkChange::Retry {
                    due: now,
                    attempts: item.attempts,
                    reason,
                    failed_at: None,
                });
            }
            Stepped::Store(StoreError::Deposed { .. }) => return Err(self.deposed()),
            Stepped::Store(error) => {
                tracing::error!(target_name = self.name(), error = %chain(&error), "failed to read or record work");
                self.let_go(&task);
                self.look_at = Instant::now() + STORE_PAUSE;
            }
        }
        Ok(())
    }

    /// Another call is needed.
    pub(super) fn put_back(&mut self, mut task: Task, packable: bool) {
        if packable && !task.alone {
            self.lanes.resume_packable(task);
        } else if task.ledger.is_empty() && !task.alone {
            // Nothing was sent yet. It is planned anew when its turn comes, with what is true then.
            task.pass = None;
            self.lanes.resume_later(task);
        } else {
            self.lanes.resume(task);
        }
    }

    /// Nothing is to be recorded: the row is as it was.
    pub(super) fn let_go(&mut self, task: &Task) {
        self.shared().in_flight.fetch_sub(1, Ordering::SeqCst);
        self.lanes.release(&task.item.key);
    }

    pub(super) async fn settle(&mut self, task: Task) {
        let recheck = self.shared().settings.recheck_after;
        let (end, continues, learned) = match &task.pass {
            Some(pass) => {
                (pass.end().cloned().unwrap_or(End::Done), pass.continues(), pass.learned_members_max())
            }
            None => (End::Done, false, None),
        };
        if let Some(learned) = learned {
            learn_members_max(self.shared(), learned).await;
        }
        self.push_outcome(task, |now, item| match end {
            End::Done if continues => WorkChange::Continue,
            End::Done => WorkChange::Finish,
            End::Wait { reason } => WorkChange::Wait { due: now.after(recheck), reason: reason.into_owned() },
            End::Gather => WorkChange::Retry {
                due: now.after(GATHER_PAUSE),
                attempts: item.attempts,
                reason: "more members are about to be linked".to_owned(),
                failed_at: None,
            },
            End::Park { reason } => WorkChange::Park { reason },
        });
    }

    /// A failure is charged to the resource only if the vendor was seen working since the last one:
    /// an outage, however long, burns nobody's attempts.
    fn postpone(&mut self, task: Task, reason: String, cause: LaterCause) {
        let worked_since =
            task.item.failed_at.is_some_and(|failed| self.worked_at.is_some_and(|worked| worked > failed));
        let charged = match cause {
            LaterCause::Conflict => true,
            LaterCause::Transient => worked_since,
        };
        let attempts = task.item.attempts + u32::from(charged);
        let wait = BACKOFF.wait(attempts, &mut self.chance);
        let attempts_max = self.shared().settings.attempts_max;
        self.push_outcome(task, |now, _| {
            if attempts >= attempts_max {
                WorkChange::Park { reason: format!("given up after {attempts} attempts; {reason}") }
            } else {
                WorkChange::Retry { due: now.after(wait), attempts, reason, failed_at: Some(now) }
            }
        });
    }

    pub(super) fn push_outcome(&mut self, task: Task, work: impl FnOnce(Timestamp, &WorkItem) -> WorkChange) {
        let now = self.shared().clock.now();
        let work = work(now, &task.item);
        if let WorkChange::Retry { due, .. } | WorkChange::Wait { due, .. } = &work {
            self.look_at = self.look_at.min(Instant::now() + due.since(now));
        }
        self.outcomes.push(outcome(now, task, work));
    }
}

//! Drives one target: takes the most urgent resource whenever the vendor has room for a call.
//!
//! **Flow.** Wait until the stack is ready (it then holds a permit) → take the most urgent candidate
//! → one `step` in a task of its own → outcomes are gathered and committed together.
//! Every call competes for its permit, also the second and third of one resource, so a deactivation
//! waits for the calls in flight and one permit, whatever else is under way.
//!
//! **Guarantees.** A resource is worked on once at a time, and is taken again only after its outcome
//! is recorded. Nothing is held but a bounded window of keys; what is lost in a crash is planned anew
//! from the store. A step goes no further once the lease is over.
//!
//! **Faults.** A failure of one resource goes back to its row with a later due time. A failure of
//! the target suspends it: one candidate at a time probes it, ever more seldom, until a call works.

mod absorb;
mod commit;
mod companions;
mod health;
mod retries;
mod start;

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tower::Service;

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::store::{Committed, Outcome, StoreError, TargetState, WorkChange};
use crate::sync::lanes::Lanes;
use crate::sync::leases::lease::Over;
use crate::sync::retry_budget::RetryBudget;
use crate::sync::run::Run;
use crate::sync::shared::Shared;
use crate::sync::step::{StepDone, Task};
use crate::target::verdict::Mend;
use crate::target::{Stack, Turn};
use crate::telemetry::chain;
use companions::Companion;
use health::Probe;

/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Why a dispatcher has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was told to; what was in flight is recorded.
    Stopped,
    /// Somebody else dispatches the target now.
    Deposed,
    /// The lease is over.
    Over,
}

/// What has become of the resources of one task.
struct Steps {
    done: Vec<StepDone>,
    /// Whether they were only looked at.
    looked: bool,
}

type Commit = JoinHandle<(Vec<ResourceKey>, Result<Committed, StoreError>)>;

pub(super) struct Dispatcher {
    run: Arc<Run>,
    lanes: Lanes<Task>,
    steps: JoinSet<Result<Steps, Over>>,
    /// Not ready yet, or being polled.
    stack: Stack,
    /// In which turn `stack` gets ready.
    turn: Turn,
    /// Whether `stack` was polled and not ready: it then has a place in the line for permits.
    lined_up: bool,
    /// Services that were ready and not needed.
    spare: Vec<Stack>,
    /// Tasks that find out what resources need.
    looks: usize,
    /// Groups that wait for users who are being created.
    companions: Vec<Companion>,
    outcomes: Vec<Outcome>,
    commit: Option<Commit>,
    /// When to ask the store again, whatever happens.
    look_at: Instant,
    /// When the vendor last answered in a way that shows it to be working.
    worked_at: Option<Timestamp>,
    probe: Probe,
    retries: RetryBudget,
    chance: StdRng,
}

enum Event {
    Stepped(Result<Steps, Over>),
    Committed(Vec<ResourceKey>, Result<Committed, StoreError>),
    Ready(Result<Stack, String>),
    Look,
    Stop,
}

impl Dispatcher {
    pub(super) fn new(run: Arc<Run>) -> Self {
        Self {
            stack: run.shared.target.stack(),
            run,
            turn: Turn::Usual,
            lined_up: false,
            lanes: Lanes::new(),
            steps: JoinSet::new(),
            spare: Vec::new(),
            looks: 0,
            companions: Vec::new(),
            outcomes: Vec::new(),
            commit: None,
            look_at: Instant::now(),
            worked_at: None,
            probe: Probe::default(),
            retries: RetryBudget::default(),
            chance: StdRng::from_rng(&mut rand::rng()),
        }
    }

    /// Dispatches until the run is to stop, then ends what is in flight and records it.
    pub(super) async fn run(mut self) -> Ended {
        while !self.run.stop.is_cancelled() {
            self.release_companions().await;
            self.refill().await;
            self.begin_commit();
            let going_on = match self.event().await {
                Event::Stepped(Ok(done)) => self.absorb_all(done).await,
                Event::Stepped(Err(Over)) => Err(Ended::Over),
                Event::Committed(keys, result) => self.absorb_commit(keys, result).await,
                Event::Ready(Ok(stack)) => {
                    self.start(stack);
                    Ok(())
                }
                Event::Ready(Err(reason)) => {
                    tracing::warn!(target_name = self.name(), reason, "the target's stack failed");
                    self.stack = self.fresh_stack();
                    self.suspend(format!("the connection to the vendor failed: {reason}"), Mend::Address)
                        .await;
                    Ok(())
                }
                Event::Look => {
                    self.lanes.expect_more();
                    Ok(())
                }
                Event::Stop => break,
            };
            if let Err(ended) = going_on {
                return ended;
            }
        }
        self.wind_down().await.err().unwrap_or(Ended::Stopped)
    }

    async fn event(&mut self) -> Event {
        // What is being looked at may go together with what waits, and is known in a moment.
        let something_waits = self.lanes.is_urgent() || (self.looks == 0 && self.lanes.has_candidate());
        let wants_permit = self.may_send() && something_waits;
        let spare = if wants_permit { self.spare.pop() } else { None };
        if let Some(stack) = spare {
            return Event::Ready(Ok(stack));
        }
        if wants_permit {
            self.line_up();
        } else {
            self.leave_the_line();
        }
        let look_at = self.look_at.min(self.companions_end());
        let stack = &mut self.stack;
        tokio::select! {
            biased;
            () = self.run.stop.cancelled() => Event::Stop,
            Some(joined) = self.steps.join_next(), if !self.steps.is_empty() => match joined {
                Ok(done) => Event::Stepped(done),
                Err(error) => carry_on_the_panic(error),
            },
            joined = async { self.commit.as_mut().expect("guarded by the condition").await }, if self.commit.is_some() => {
                self.commit = None;
                let (keys, result) = joined.unwrap_or_else(|error| carry_on_the_panic(error));
                Event::Committed(keys, result)
            }
            () = self.run.shared.wake.notified() => Event::Look,
            ready = std::future::poll_fn(|context| stack.poll_ready(context)), if wants_permit => match ready {
                // The ready service goes out with its permit; its clone has none.
                Ok(()) => {
                    self.lined_up = false;
                    let next = self.stack.clone();
                    Event::Ready(Ok(std::mem::replace(&mut self.stack, next)))
                }
                Err(error) => Event::Ready(Err(error.to_string())),
            },
            () = tokio::time::sleep_until(look_at) => Event::Look,
        }
    }

    /// Takes a place in the line for permits; in that of those who go first while access is to end.
    fn line_up(&mut self) {
        self.lined_up = true;
        let turn = if self.lanes.is_urgent() { Turn::First } else { Turn::Usual };
        if turn != self.turn {
            self.turn = turn;
            self.stack = self.fresh_stack();
        }
    }

    fn fresh_stack(&self) -> Stack {
        match self.turn {
            Turn::First => self.shared().target.stack_going_first(),
            Turn::Usual => self.shared().target.stack(),
        }
    }

    /// Gives up the place in the line for permits. Who waits there and is not polled holds up the
    /// steps behind it, whose permits may have lapsed while they waited for the store.
    fn leave_the_line(&mut self) {
        if std::mem::take(&mut self.lined_up) {
            // A clone shares the limits, and neither a permit nor a place.
            let fresh = self.stack.clone();
            self.stack = fresh;
        }
    }

    /// Whether calls may go out now: running, or one at a time to probe a suspended target.
    fn may_send(&self) -> bool {
        match self.shared().state() {
            TargetState::Running => true,
            TargetState::Paused { .. } => false,
            TargetState::Suspended { .. } => self.steps.is_empty() && self.probe.is_due(),
        }
    }

    async fn refill(&mut self) {
        let wants = self.lanes.wants();
        if wants.is_empty() {
            return;
        }
        for (lane, limit) in wants {
            let now = self.shared().clock.now();
            match self.shared().store.due(self.name(), lane, now, limit).await {
                Ok(items) => {
                    self.let_go_of_companions_that_moved(&items);
                    self.lanes.fill(lane, limit, items);
                }
                Err(error) => {
                    tracing::error!(target_name = self.name(), error = %chain(&error), "failed to read due work");
                    self.lanes.fill(lane, limit, Vec::new());
                    self.look_at = Instant::now() + STORE_PAUSE;
                    return;
                }
            }
        }
        self.look_at = Instant::now() + self.until_next_look().await;
    }

    async fn until_next_look(&self) -> Duration {
        let longest = self.shared().settings.poll_interval;
        let now = self.shared().clock.now();
        let due = match self.shared().store.next_due(self.name(), now).await {
            Ok(Some(due)) => due.since(now).min(longest),
            Ok(None) | Err(_) => longest,
        };
        due.min(self.probe.wait().unwrap_or(longest)).max(Duration::from_millis(1))
    }

    /// Ends what is in flight and records it; what is under way stays pending with what was found out.
    async fn wind_down(mut self) -> Result<(), Ended> {
        self.leave_the_line();
        self.spare.clear();
        while let Some(joined) = self.steps.join_next().await {
            match joined {
                Ok(Ok(done)) => self.absorb_all(done).await?,
                Ok(Err(Over)) => return Err(Ended::Over),
                Err(error) => carry_on_the_panic(error),
            }
        }
        for companion in std::mem::take(&mut self.companions) {
            self.settle(companion.task).await;
        }
        for task in self.lanes.drain_under_way() {
            self.push_outcome(task, |_, _| WorkChange::Continue);
        }
        self.record_the_rest().await
    }

    fn shared(&self) -> &Shared {
        &self.run.shared
    }

    fn name(&self) -> &str {
        self.run.shared.name()
    }
}

/// A bug in a task of ours must not look like a quiet dispatcher.
fn carry_on_the_panic(error: JoinError) -> ! {
    std::panic::resume_unwind(error.into_panic())
}

#[cfg(test)]
mod tests;

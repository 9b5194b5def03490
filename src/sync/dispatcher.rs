//! Drives one target: takes the most urgent resource whenever the vendor has room for a call.
//!
//! **Flow.** Wait until the stack is ready (it then holds a permit) → take the most urgent candidate
//! → one `step` in a task of its own → outcomes are gathered and committed together.
//! Every call competes for its permit, also the second and third of one resource, so a deactivation
//! waits for the calls in flight and one permit, whatever else is under way.
//!
//! **Guarantees.** A resource is worked on once at a time, and is taken again only after its outcome
//! is recorded. Nothing is held but a bounded window of keys; what is lost in a crash is planned anew
//! from the store.
//!
//! **Faults.** A failure of one resource goes back to its row with a later due time. A failure of
//! the target suspends it: one candidate at a time probes it, ever more seldom, until a call works.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::store::{Committed, Outcome, StoreError, TargetState, WorkChange};
use crate::sync::backoff;
use crate::sync::handle::{BREAKER, MEMBERS_PER_REQUEST, Shared};
use crate::sync::lanes::{Candidate, Lanes};
use crate::sync::outcome::outcome;
use crate::sync::plan::{End, LaterCause};
use crate::sync::step::{self, StepDone, Stepped, Task};
use crate::target::Stack;
use crate::target::layers::breaker::BreakerSnapshot;
use crate::telemetry::chain;
use crate::telemetry::metrics::LaneLabels;

/// First and last wait between two probes of a suspended target.
const PROBE_FIRST: Duration = Duration::from_secs(5);
const PROBE_LAST: Duration = Duration::from_mins(5);
/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How long a group waits before it is looked at again for members who are about to be linked.
const GATHER_PAUSE: Duration = Duration::from_secs(1);
/// Most outcomes in one commit.
const COMMIT_MAX: usize = 256;

/// Dispatches until `stop`, then ends what is in flight and records it.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    Dispatcher::new(shared).run(stop).await;
}

type Commit = JoinHandle<(Vec<ResourceKey>, Result<Committed, StoreError>)>;

struct Dispatcher {
    shared: Arc<Shared>,
    lanes: Lanes<Task>,
    steps: JoinSet<StepDone>,
    /// Not ready yet, or being polled.
    stack: Stack,
    /// Whether `stack` was polled and not ready: it then has a place in the line for permits.
    lined_up: bool,
    /// Services that were ready and not needed.
    spare: Vec<Stack>,
    outcomes: Vec<Outcome>,
    commit: Option<Commit>,
    /// When to ask the store again, whatever happens.
    look_at: Instant,
    /// When the vendor last answered in a way that shows it to be working.
    worked_at: Option<Timestamp>,
    /// Of a suspended target: when to probe it, and how long to wait after that.
    probe: Option<(Instant, Duration)>,
    /// Whether a probe is under way. Calls that were sent before the suspension are none.
    probing: bool,
    breaker: watch::Receiver<BreakerSnapshot>,
    chance: StdRng,
}

enum Event {
    BreakerChanged,
    Stepped(Box<StepDone>),
    Committed(Vec<ResourceKey>, Result<Committed, StoreError>),
    Ready(Result<Stack, String>),
    Look,
    Stop,
}

impl Dispatcher {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            stack: shared.target.stack(),
            breaker: shared.target.health().breaker.watch(),
            shared,
            lined_up: false,
            lanes: Lanes::new(),
            steps: JoinSet::new(),
            spare: Vec::new(),
            outcomes: Vec::new(),
            commit: None,
            look_at: Instant::now(),
            worked_at: None,
            probe: None,
            probing: false,
            chance: StdRng::from_rng(&mut rand::rng()),
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.refill().await;
            self.begin_commit();
            match self.event(&stop).await {
                Event::Stepped(done) => self.absorb(*done).await,
                Event::Committed(keys, result) => {
                    if self.absorb_commit(keys, result).await.is_err() {
                        return;
                    }
                }
                Event::Ready(Ok(stack)) => self.start_step(stack),
                Event::Ready(Err(reason)) => {
                    tracing::warn!(target_name = self.name(), reason, "the target's stack failed");
                    self.stack = self.shared.target.stack();
                    self.suspend(format!("the connection to the vendor failed: {reason}")).await;
                }
                Event::BreakerChanged => self.keep_breaker().await,
                Event::Look => self.lanes.expect_more(),
                Event::Stop => break,
            }
        }
        self.wind_down().await;
    }

    async fn event(&mut self, stop: &CancellationToken) -> Event {
        let wants_permit = self.may_send() && self.lanes.has_candidate();
        let spare = if wants_permit { self.spare.pop() } else { None };
        if let Some(stack) = spare {
            return Event::Ready(Ok(stack));
        }
        if wants_permit {
            self.lined_up = true;
        } else {
            self.leave_the_line();
        }
        let look_at = self.look_at;
        let stack = &mut self.stack;
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            Some(joined) = self.steps.join_next(), if !self.steps.is_empty() => match joined {
                Ok(done) => Event::Stepped(Box::new(done)),
                Err(error) => carry_on_the_panic(error),
            },
            joined = async { self.commit.as_mut().expect("guarded by the condition").await }, if self.commit.is_some() => {
                self.commit = None;
                let (keys, result) = joined.unwrap_or_else(|error| carry_on_the_panic(error));
                Event::Committed(keys, result)
            }
            () = self.shared.wake.notified() => Event::Look,
            Ok(()) = self.breaker.changed() => Event::BreakerChanged,
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
        match self.shared.state() {
            TargetState::Running => true,
            TargetState::Paused { .. } => false,
            TargetState::Suspended { .. } => {
                self.steps.is_empty() && self.probe.is_none_or(|(at, _)| at <= Instant::now())
            }
        }
    }

    async fn refill(&mut self) {
        let wants = self.lanes.wants();
        if wants.is_empty() {
            return;
        }
        for (lane, limit) in wants {
            let now = self.shared.clock.now();
            match self.shared.store.due(self.name(), lane, now, limit).await {
                Ok(items) => self.lanes.fill(lane, limit, items),
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
        let longest = self.shared.settings.poll_interval;
        let now = self.shared.clock.now();
        let due = match self.shared.store.next_due(self.name(), now).await {
            Ok(Some(due)) => due.since(now).min(longest),
            Ok(None) | Err(_) => longest,
        };
        let probe = self.probe.map(|(at, _)| at.saturating_duration_since(Instant::now()));
        due.min(probe.unwrap_or(longest)).max(Duration::from_millis(1))
    }

    fn start_step(&mut self, stack: Stack) {
        let task = match self.lanes.take() {
            Some(Candidate::Fresh(item)) => {
                self.shared.in_flight.fetch_add(1, Ordering::SeqCst);
                Task::new(item)
            }
            Some(Candidate::UnderWay(task)) => task,
            None => {
                self.spare.push(stack);
                return;
            }
        };
        if let Some((at, wait)) = &mut self.probe {
            *at = Instant::now() + *wait;
            self.probing = true;
        }
        let shared = Arc::clone(&self.shared);
        self.steps.spawn(async move { step::run(&shared, task, stack).await });
    }

    async fn absorb(&mut self, done: StepDone) {
        let StepDone { task, stepped, unused, vendor_works } = done;
        self.spare.extend(unused);
        if vendor_works {
            self.vendor_works().await;
        }
        match stepped {
            Stepped::Further | Stepped::Throttled => self.lanes.resume(task.item.lane, task),
            Stepped::Gone => self.let_go(&task),
            Stepped::Settled => self.settle(task).await,
            Stepped::Later { reason, cause } => self.postpone(task, reason, cause),
            Stepped::TargetFault { reason } => {
                self.suspend(reason.clone()).await;
                self.push_outcome(task, |now, item| WorkChange::Retry {
                    due: now,
                    attempts: item.attempts,
                    reason,
                    failed_at: None,
                });
            }
            Stepped::Store(error) => {
                tracing::error!(target_name = self.name(), error = %chain(&error), "failed to read or record work");
                self.let_go(&task);
                self.look_at = Instant::now() + STORE_PAUSE;
            }
        }
    }

    /// Nothing is to be recorded: the row is as it was.
    fn let_go(&mut self, task: &Task) {
        self.shared.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.lanes.release(&task.item.key);
    }

    async fn settle(&mut self, task: Task) {
        let recheck = self.shared.settings.recheck_after;
        let (end, continues, learned) = match &task.pass {
            Some(pass) => {
                (pass.end().cloned().unwrap_or(End::Done), pass.continues(), pass.learned_members_max())
            }
            None => (End::Done, false, None),
        };
        if let Some(learned) = learned {
            self.learn_members_max(learned).await;
        }
        self.push_outcome(task, |now, item| match end {
            End::Done if continues => WorkChange::Continue,
            End::Done => WorkChange::Finish,
            End::Wait { reason } => WorkChange::Wait { due: now.after(recheck), reason: reason.to_owned() },
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
        let wait = backoff::wait(attempts, &mut self.chance);
        let attempts_max = self.shared.settings.attempts_max;
        self.push_outcome(task, |now, _| {
            if attempts >= attempts_max {
                WorkChange::Park { reason: format!("given up after {attempts} attempts; {reason}") }
            } else {
                WorkChange::Retry { due: now.after(wait), attempts, reason, failed_at: Some(now) }
            }
        });
    }

    fn push_outcome(
        &mut self,
        task: Task,
        work: impl FnOnce(Timestamp, &crate::store::WorkItem) -> WorkChange,
    ) {
        let now = self.shared.clock.now();
        let work = work(now, &task.item);
        if let WorkChange::Retry { due, .. } | WorkChange::Wait { due, .. } = &work {
            self.look_at = self.look_at.min(Instant::now() + due.since(now));
        }
        self.outcomes.push(outcome(now, task, work));
    }

    async fn vendor_works(&mut self) {
        self.worked_at = Some(self.shared.clock.now());
        self.probe = None;
        self.probing = false;
        if matches!(self.shared.state(), TargetState::Suspended { .. }) {
            tracing::info!(target_name = self.name(), "the target works again");
            if let Err(error) = self.shared.set_state(TargetState::Running).await {
                tracing::error!(target_name = self.name(), error = %chain(&error), "failed to record the target's state");
            }
        }
    }

    async fn suspend(&mut self, reason: String) {
        let probing = std::mem::take(&mut self.probing);
        let wait = match self.probe {
            None => PROBE_FIRST,
            Some((_, wait)) if probing => (wait * 2).min(PROBE_LAST),
            // One of the calls that were under way when the first of them failed.
            Some(_) => return,
        };
        self.probe = Some((Instant::now() + wait, wait));
        let since = match self.shared.state() {
            TargetState::Suspended { since, .. } => since,
            TargetState::Running => self.shared.clock.now(),
            // A person's pause stands.
            TargetState::Paused { .. } => return,
        };
        tracing::warn!(target_name = self.name(), reason, probe_in = ?wait, "the target is suspended");
        if let Err(error) = self.shared.set_state(TargetState::Suspended { reason, since }).await {
            tracing::error!(target_name = self.name(), error = %chain(&error), "failed to record the target's state");
        }
    }

    async fn learn_members_max(&self, learned: usize) {
        if learned >= self.shared.members_per_request.fetch_min(learned, Ordering::Relaxed) {
            return;
        }
        tracing::info!(
            target_name = self.name(),
            members_per_request = learned,
            "learned a limit of the vendor"
        );
        let learned = json!({
            "value": learned,
            "at": self.shared.clock.now().to_string(),
            "why": "the vendor refused more as too large",
        });
        self.shared.remember(MEMBERS_PER_REQUEST, learned).await;
    }

    async fn keep_breaker(&mut self) {
        let known = self.breaker.borrow_and_update().clone();
        match serde_json::to_value(known) {
            Ok(known) => self.shared.remember(BREAKER, known).await,
            Err(error) => {
                tracing::error!(target_name = self.name(), %error, "failed to keep the breaker's state");
            }
        }
    }

    fn begin_commit(&mut self) {
        if self.commit.is_some() || self.outcomes.is_empty() {
            return;
        }
        let rest = self.outcomes.split_off(self.outcomes.len().min(COMMIT_MAX));
        let outcomes = std::mem::replace(&mut self.outcomes, rest);
        let shared = Arc::clone(&self.shared);
        self.commit = Some(tokio::spawn(async move { commit(&shared, outcomes).await }));
    }

    /// `Err` when somebody else dispatches the target now.
    async fn absorb_commit(
        &mut self,
        keys: Vec<ResourceKey>,
        result: Result<Committed, StoreError>,
    ) -> Result<(), ()> {
        self.shared.in_flight.fetch_sub(keys.len() as u64, Ordering::SeqCst);
        for key in &keys {
            self.lanes.release(key);
        }
        match result {
            Ok(committed) => {
                for (lane, elapsed) in committed.converged {
                    let labels = LaneLabels { target: self.name().to_owned(), lane: lane.as_str() };
                    self.shared
                        .metrics
                        .convergence_seconds
                        .get_or_create(&labels)
                        .observe(elapsed.as_secs_f64());
                }
                if committed.woken {
                    self.lanes.expect_more();
                }
                Ok(())
            }
            Err(StoreError::Deposed { .. }) => {
                tracing::warn!(target_name = self.name(), "somebody else dispatches the target now");
                Err(())
            }
            Err(error) => {
                // Rows stay pending: what was sent is found by looking, and planned anew.
                tracing::error!(target_name = self.name(), error = %chain(&error), "failed to record outcomes");
                tokio::time::sleep(STORE_PAUSE).await;
                self.lanes.expect_more();
                Ok(())
            }
        }
    }

    /// Ends what is in flight and records it; what is under way stays pending with what was found out.
    async fn wind_down(mut self) {
        self.leave_the_line();
        self.spare.clear();
        while let Some(joined) = self.steps.join_next().await {
            match joined {
                Ok(done) => self.absorb(done).await,
                Err(error) => carry_on_the_panic(error),
            }
        }
        for task in self.lanes.drain_under_way() {
            self.push_outcome(task, |_, _| WorkChange::Continue);
        }
        loop {
            if let Some(commit) = self.commit.take() {
                let (keys, result) = commit.await.unwrap_or_else(|error| carry_on_the_panic(error));
                if self.absorb_commit(keys, result).await.is_err() {
                    return;
                }
            }
            self.begin_commit();
            if self.commit.is_none() {
                return;
            }
        }
    }

    fn name(&self) -> &str {
        &self.shared.settings.target
    }
}

/// A bug in a task of ours must not look like a quiet dispatcher.
fn carry_on_the_panic(error: JoinError) -> ! {
    std::panic::resume_unwind(error.into_panic())
}

async fn commit(
    shared: &Shared,
    outcomes: Vec<Outcome>,
) -> (Vec<ResourceKey>, Result<Committed, StoreError>) {
    let keys = outcomes.iter().map(|outcome| outcome.key.clone()).collect();
    let result = shared.store.commit(&shared.tenure, outcomes, shared.clock.now()).await;
    (keys, result)
}

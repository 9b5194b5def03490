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

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::clock::{SharedClock, Timestamp};
use crate::directory::ResourceKey;
use crate::store::{
    Committed, LedgerEntry, LinkChange, MembersOutcome, Outcome, Store, StoreError, TargetState, Tenure,
    WorkChange,
};
use crate::sync::lanes::{Candidate, Lanes};
use crate::sync::plan::{End, Findings, LaterCause, Pass};
use crate::sync::policy::Policy;
use crate::sync::step::{self, StepDone, Stepped, Task};
use crate::sync::{Settings, backoff};
use crate::target::layers::breaker::BreakerSnapshot;
use crate::target::{Stack, Target};
use crate::telemetry::chain;
use crate::telemetry::metrics::{LaneLabels, Metrics, TargetLabels};

/// First and last wait between two probes of a suspended target.
const PROBE_FIRST: Duration = Duration::from_secs(5);
const PROBE_LAST: Duration = Duration::from_mins(5);
/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How long a group waits before it is looked at again for members who are about to be linked.
const GATHER_PAUSE: Duration = Duration::from_secs(1);
/// What is kept of a target over a restart, by name.
const BREAKER: &str = "breaker";
const MEMBERS_PER_REQUEST: &str = "members_per_request";
/// Most outcomes in one commit.
const COMMIT_MAX: usize = 256;

/// What the steps of one target share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Arc<dyn Store>,
    pub(super) target: Target,
    pub(super) tenure: Tenure,
    pub(super) clock: SharedClock,
    metrics: Metrics,
    wake: Notify,
    state: Mutex<TargetState>,
    in_flight: AtomicU64,
    /// Smaller than the configured number once the vendor has refused it.
    members_per_request: AtomicUsize,
    /// What is kept of the target over a restart, as stored.
    memory: Mutex<Map<String, Value>>,
}

/// Reaches a running dispatcher from outside.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Shared {
    /// The configured policy, with what was learned since.
    pub(super) fn policy(&self) -> Policy {
        let learned = self.members_per_request.load(Ordering::Relaxed);
        Policy { members_per_request: learned, ..self.settings.policy.clone() }
    }

    pub(super) fn count_conflict(&self) {
        self.metrics.conflicts.get_or_create(&TargetLabels { target: self.settings.target.clone() }).inc();
    }

    fn state(&self) -> TargetState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps something of the target over a restart.
    async fn remember(&self, what: &str, value: Value) {
        let memory = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.insert(what.to_owned(), value);
            Value::Object(memory.clone())
        };
        if let Err(error) = self.store.set_target_memory(&self.settings.target, &memory).await {
            tracing::error!(target_name = self.settings.target, what, error = %chain(&error), "failed to keep what was learned");
        }
    }

    async fn set_state(&self, state: TargetState) -> Result<(), StoreError> {
        self.store.set_target_state(&self.settings.target, &state).await?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.wake.notify_one();
        Ok(())
    }
}

impl Handle {
    /// Prepares a target: becomes its one dispatcher and reads what was stored of it.
    pub async fn prepare(
        settings: Settings,
        store: Arc<dyn Store>,
        target: Target,
        holder: &str,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let tenure = store.take(&settings.target, holder).await?;
        let record = store.target(&settings.target).await?;
        let memory =
            record.as_ref().and_then(|record| record.memory.as_object()).cloned().unwrap_or_default();
        if let Some(known) = memory.get(BREAKER).and_then(|known| BreakerSnapshot::deserialize(known).ok()) {
            target.health().breaker.restore(known);
        }
        let learned = memory.get(MEMBERS_PER_REQUEST).and_then(|learned| learned.get("value")?.as_u64());
        let members_max = settings.policy.members_per_request.max(1);
        let learned = learned
            .and_then(|learned| usize::try_from(learned).ok())
            .map_or(members_max, |l| l.min(members_max));
        Ok(Self(Arc::new(Shared {
            state: Mutex::new(record.map_or(TargetState::Running, |record| record.state)),
            members_per_request: AtomicUsize::new(learned.max(1)),
            memory: Mutex::new(memory),
            settings,
            store,
            target,
            tenure,
            clock,
            metrics,
            wake: Notify::new(),
            in_flight: AtomicU64::new(0),
        })))
    }

    /// Name of the target.
    pub fn name(&self) -> &str {
        &self.0.settings.target
    }

    /// Says that there may be work.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Whether the target is worked on, and why not.
    pub fn state(&self) -> TargetState {
        self.0.state()
    }

    /// Resources being worked on, from the first step until their outcome is recorded. Their rows
    /// still count as pending in the store.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// The vendor's API, for its health and limits.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// Most members in one PATCH, as configured or learned.
    pub fn members_per_request(&self) -> usize {
        self.0.members_per_request.load(Ordering::Relaxed)
    }

    /// Stops sending until [`resume`](Self::resume); what is in flight ends.
    pub async fn pause(&self, by: &str) -> Result<(), StoreError> {
        self.0.set_state(TargetState::Paused { by: by.to_owned(), since: self.0.clock.now() }).await
    }

    /// Ends a pause or a suspension.
    pub async fn resume(&self, _by: &str) -> Result<(), StoreError> {
        self.0.set_state(TargetState::Running).await
    }

    /// Dispatches until `stop`, then ends what is in flight and records it.
    pub async fn run(self, stop: CancellationToken) {
        Dispatcher::new(self.0).run(stop).await;
    }
}

type Commit = JoinHandle<(Vec<ResourceKey>, Result<Committed, StoreError>)>;

struct Dispatcher {
    shared: Arc<Shared>,
    lanes: Lanes<Task>,
    steps: JoinSet<StepDone>,
    /// Not ready yet, or being polled.
    stack: Stack,
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
                    let next = self.stack.clone();
                    Event::Ready(Ok(std::mem::replace(&mut self.stack, next)))
                }
                Err(error) => Event::Ready(Err(error.to_string())),
            },
            () = tokio::time::sleep_until(look_at) => Event::Look,
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

fn outcome(now: Timestamp, task: Task, work: WorkChange) -> Outcome {
    let Task { item, pass, mut ledger } = task;
    let generation = pass.as_ref().map_or(item.generation, Pass::generation);
    let findings = pass.map_or_else(no_findings, |mut pass| pass.findings(now));
    let told = ledger.iter().any(|entry| entry.result == "applied") || !findings.parked().is_empty();
    if let Some(entry) = closing_entry(now, told, &work) {
        ledger.push(entry);
    }
    for parked in findings.parked() {
        ledger.push(LedgerEntry::without_call(
            now,
            "members",
            "parked",
            Some(format!("{}: {}", parked.user, parked.reason)),
        ));
    }
    Outcome {
        key: item.key,
        generation,
        link: findings.link,
        members: findings.members,
        waits_for: findings.waits_for,
        work,
        ledger,
    }
}

fn no_findings() -> Findings {
    Findings {
        link: LinkChange::Keep,
        members: MembersOutcome::default(),
        waits_for: std::collections::BTreeSet::new(),
    }
}

/// The end of a pass that no other entry tells. A pass that came to its end without a write that
/// was applied has found everything in place, however many calls it took to see that.
fn closing_entry(now: Timestamp, told: bool, work: &WorkChange) -> Option<LedgerEntry> {
    match work {
        WorkChange::Finish if !told => Some(LedgerEntry::without_call(now, "none", "already_in_place", None)),
        WorkChange::Wait { reason, .. } => {
            Some(LedgerEntry::without_call(now, "none", "waiting", Some(reason.clone())))
        }
        WorkChange::Park { reason } => {
            Some(LedgerEntry::without_call(now, "none", "parked", Some(reason.clone())))
        }
        WorkChange::Finish | WorkChange::Continue | WorkChange::Retry { .. } => None,
    }
}

/// Dispatchers by target.
pub type Handles = BTreeMap<String, Handle>;

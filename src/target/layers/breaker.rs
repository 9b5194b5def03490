//! The circuit breaker: leaves a target alone that fails for no reason it gives.
//!
//! Inside the [gate](super::gate), outside the [rate limit](super::rate), so that an open breaker
//! spends no quota. It counts runs of transport errors, timeouts and 5xx; never 4xx, and neither 429
//! nor a 503 that says when to come back, which are the gate's. After a run of `failures` it opens,
//! for a time that doubles with each further failure. When that time is over it lets one call through
//! and judges by its outcome.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::header::RETRY_AFTER;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;
use tower::{Layer, Service};

use crate::clock::{SharedClock, Timestamp};
use crate::target::call::{Answer, Call, CallError};
use crate::telemetry::chain;

/// When the breaker opens, and for how long.
#[derive(Clone, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it is open first.
    pub open_min: Duration,
    /// How long it is open at most, jitter left out.
    pub open_max: Duration,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { failures: 5, open_min: Duration::from_secs(1), open_max: Duration::from_mins(1), seed: 0 }
    }
}

/// What a breaker knows, to be shown, and to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerSnapshot {
    /// Closed, open or trying.
    pub state: BreakerState,
    /// When the vendor last answered with anything but a failure.
    pub last_success: Option<Timestamp>,
    /// How often in a row it has opened without closing in between.
    pub openings: u32,
}

/// Whether calls pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BreakerState {
    /// They do.
    Closed,
    /// They do not.
    Open {
        /// Since when the target has failed.
        since: Timestamp,
        /// When the next call is let through.
        until: Timestamp,
        /// The failure that opened it, for people.
        last_error: String,
    },
    /// One does, to find out.
    HalfOpen {
        /// Since when the target has failed.
        since: Timestamp,
        /// The failure that opened it, for people.
        last_error: String,
    },
}

/// The handle of a breaker; clones are the same breaker.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

struct Shared {
    settings: BreakerSettings,
    clock: SharedClock,
    core: Mutex<Core>,
    changes: watch::Sender<BreakerSnapshot>,
}

struct Core {
    failures: u32,
    /// When an open breaker lets one call through; the wall clock's `until` on Tokio's clock.
    opens_at: Instant,
    /// Until when a trial may be held without a call; `None` once it is under way.
    trial_lapses_at: Option<Instant>,
    /// Grows with each opening and closing, so that calls of an earlier spell are told apart.
    spell: u64,
    snapshot: BreakerSnapshot,
    chance: StdRng,
}

/// What one call told about the target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sign {
    Alive,
    Failed(String),
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings, clock: SharedClock) -> Self {
        let snapshot = BreakerSnapshot { state: BreakerState::Closed, last_success: None, openings: 0 };
        let core = Core {
            failures: 0,
            opens_at: Instant::now(),
            trial_lapses_at: None,
            spell: 0,
            snapshot: snapshot.clone(),
            chance: StdRng::seed_from_u64(settings.seed),
        };
        let changes = watch::Sender::new(snapshot);
        Self { shared: Arc::new(Shared { settings, clock, core: Mutex::new(core), changes }) }
    }

    /// What it knows now.
    pub fn snapshot(&self) -> BreakerSnapshot {
        self.core().snapshot.clone()
    }

    /// Tells each opening, trial and closing.
    pub fn watch(&self) -> watch::Receiver<BreakerSnapshot> {
        self.shared.changes.subscribe()
    }

    /// Takes up what an earlier process knew. A trial that it did not finish is made again.
    pub fn restore(&self, known: BreakerSnapshot) {
        let now = self.shared.clock.now();
        let mut core = self.core();
        let (until, state) = match known.state {
            BreakerState::Closed => (now, BreakerState::Closed),
            BreakerState::Open { since, until, last_error } => {
                // A stored moment is no reason to wait longer than the breaker ever does.
                let until = until.min(now.after(self.shared.settings.open_max.mul_f64(1.0 + JITTER)));
                (until, BreakerState::Open { since, until, last_error })
            }
            BreakerState::HalfOpen { since, last_error } => {
                (now, BreakerState::Open { since, until: now, last_error })
            }
        };
        core.failures = 0;
        core.spell += 1;
        core.opens_at = Instant::now() + until.since(now);
        core.snapshot = BreakerSnapshot { state, ..known };
        self.publish(&core);
    }

    /// Lets the next call through, whatever was known.
    pub fn reset(&self) {
        let last_success = self.core().snapshot.last_success;
        self.restore(BreakerSnapshot { state: BreakerState::Closed, last_success, openings: 0 });
    }

    /// Waits until a call may pass, and takes the right to be the one that tries.
    async fn admitted(self) -> Pass {
        let mut changes = self.watch();
        loop {
            changes.mark_unchanged();
            let until = match self.try_pass() {
                Ok(pass) => return pass,
                Err(until) => until,
            };
            let turned = async { changes.changed().await.expect("the breaker itself holds the sender") };
            match until {
                Some(until) => {
                    tokio::select! { () = tokio::time::sleep_until(until) => {}, () = turned => {} }
                }
                None => turned.await,
            }
        }
    }

    /// A pass, or until when to wait; `None` while somebody else tries.
    fn try_pass(&self) -> Result<Pass, Option<Instant>> {
        let mut core = self.core();
        match core.snapshot.state.clone() {
            BreakerState::Closed => Ok(Pass { breaker: self.clone(), spell: core.spell, trial: false }),
            BreakerState::Open { .. } if core.opens_at > Instant::now() => Err(Some(core.opens_at)),
            BreakerState::HalfOpen { .. } if core.trial_lapses_at.is_none_or(|at| at > Instant::now()) => {
                Err(core.trial_lapses_at)
            }
            BreakerState::Open { since, last_error, .. } | BreakerState::HalfOpen { since, last_error } => {
                core.spell += 1;
                core.trial_lapses_at = Some(Instant::now() + TRIAL_HOLD_MAX);
                core.snapshot.state = BreakerState::HalfOpen { since, last_error };
                self.publish(&core);
                Ok(Pass { breaker: self.clone(), spell: core.spell, trial: true })
            }
        }
    }

    /// The call of a pass is under way.
    fn begin(&self, pass: &Pass) {
        let mut core = self.core();
        if core.spell == pass.spell {
            core.trial_lapses_at = None;
        }
    }

    /// Whether a pass that was given earlier still counts.
    fn honours(&self, pass: &Pass) -> bool {
        self.core().spell == pass.spell
    }

    fn learn(&self, sign: Sign, spell: u64) {
        let mut core = self.core();
        let now = self.shared.clock.now();
        if sign == Sign::Alive {
            core.snapshot.last_success = Some(now);
        }
        if spell != core.spell {
            // Sent before the breaker turned; what it says is old news.
            return;
        }
        match sign {
            Sign::Alive => self.close(&mut core),
            Sign::Failed(error) => self.fail(&mut core, now, error),
        }
    }

    fn close(&self, core: &mut Core) {
        core.failures = 0;
        core.snapshot.openings = 0;
        if core.snapshot.state != BreakerState::Closed {
            core.spell += 1;
            core.snapshot.state = BreakerState::Closed;
            self.publish(core);
        }
    }

    fn fail(&self, core: &mut Core, now: Timestamp, last_error: String) {
        core.failures += 1;
        let since = match &core.snapshot.state {
            BreakerState::Closed if core.failures < self.shared.settings.failures => return,
            BreakerState::Closed => now,
            BreakerState::Open { since, .. } | BreakerState::HalfOpen { since, .. } => *since,
        };
        let settings = &self.shared.settings;
        let doubled = settings.open_min.saturating_mul(2_u32.saturating_pow(core.snapshot.openings));
        let wait = doubled.min(settings.open_max).mul_f64(1.0 + core.chance.random_range(0.0..JITTER));
        core.failures = 0;
        core.spell += 1;
        core.opens_at = Instant::now() + wait;
        core.snapshot.openings = core.snapshot.openings.saturating_add(1);
        core.snapshot.state = BreakerState::Open { since, until: now.after(wait), last_error };
        self.publish(core);
    }

    /// A trial that was given up without a call: the next one may try at once.
    fn give_up(&self, spell: u64) {
        let mut core = self.core();
        if core.spell != spell {
            return;
        }
        if let BreakerState::HalfOpen { since, last_error } = core.snapshot.state.clone() {
            core.opens_at = Instant::now();
            core.snapshot.state = BreakerState::Open { since, until: self.shared.clock.now(), last_error };
            core.spell += 1;
            self.publish(&core);
        }
    }

    fn publish(&self, core: &Core) {
        self.shared.changes.send_replace(core.snapshot.clone());
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock().expect("nothing panics while it holds the core")
    }
}

/// How long the right to try may be held without a call while others wait.
const TRIAL_HOLD_MAX: Duration = Duration::from_secs(1);
/// The most that chance adds to an opening, as a share of it.
const JITTER: f64 = 0.2;

/// The right to make one call. Dropped without an outcome, a trial goes to the next caller.
struct Pass {
    breaker: Breaker,
    spell: u64,
    trial: bool,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.give_up(self.spell);
        }
    }
}

fn sign(outcome: &Result<Answer, CallError>) -> Sign {
    match outcome {
        Ok(answer) if answer.status.is_server_error() => {
            let announced = answer.status == 503 && answer.headers.contains_key(RETRY_AFTER);
            // 501 is a statement about the request, made by a target in good health.
            if announced || answer.status == 501 {
                Sign::Alive
            } else {
                Sign::Failed(format!("status {}", answer.status.as_u16()))
            }
        }
        Ok(_) | Err(CallError::Credentials { .. } | CallError::TooLarge { .. }) => Sign::Alive,
        Err(error @ (CallError::NotSent { .. } | CallError::Unknown { .. } | CallError::Unusable { .. })) => {
            Sign::Failed(chain(error))
        }
    }
}

/// Puts a [`Breaker`] before a service.
#[derive(Clone)]
pub struct BreakerLayer {
    breaker: Breaker,
}

impl BreakerLayer {
    /// All services made by this layer stand behind `breaker`.
    pub fn new(breaker: Breaker) -> Self {
        Self { breaker }
    }
}

impl<S> Layer<S> for BreakerLayer {
    type Service = Broken<S>;

    fn layer(&self, inner: S) -> Broken<S> {
        Broken { inner, breaker: self.breaker.clone(), state: State::Idle }
    }
}

/// A service behind a breaker.
pub struct Broken<S> {
    inner: S,
    breaker: Breaker,
    state: State,
}

enum State {
    Idle,
    Waiting(ReusableBoxFuture<'static, Pass>),
    Granted(Pass),
}

impl<S: Clone> Clone for Broken<S> {
    /// Shares the breaker, never the pass.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), breaker: self.breaker.clone(), state: State::Idle }
    }
}

impl<S> Service<Call> for Broken<S>
where
    S: Service<Call, Response = Answer, Error = CallError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            self.state = match &mut self.state {
                State::Idle => State::Waiting(ReusableBoxFuture::new(self.breaker.clone().admitted())),
                State::Waiting(wait) => State::Granted(ready!(wait.poll(cx))),
                // The breaker turned while the pass was held.
                State::Granted(pass) if !self.breaker.honours(pass) => State::Idle,
                State::Granted(_) => return self.inner.poll_ready(cx),
            };
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let State::Granted(pass) = std::mem::replace(&mut self.state, State::Idle) else {
            panic!("call without poll_ready");
        };
        self.breaker.begin(&pass);
        let answer = self.inner.call(call);
        async move {
            let outcome = answer.await;
            pass.breaker.learn(sign(&outcome), pass.spell);
            outcome
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;

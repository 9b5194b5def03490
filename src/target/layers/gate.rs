//! The gate: one pause for all calls to a target.
//!
//! Outermost of the layers that wait. A vendor's `Retry-After`, its exhausted quota, a suspension and
//! an administrator's pause all close it, for every clone at once. It differs from the
//! [circuit breaker](super::breaker) in what it counts: the gate does what the vendor or a person
//! asked for, the breaker acts on failures that nobody announced.
//!
//! A 429 (or a 503 that says when to come back) closes it for the time it names. A 429 that names
//! none closes it for 1 s, and while further ones follow, for 10 s, 100 s and so on up to a cap; chance
//! only adds. A success ends the run.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;
use tower::{Layer, Service};

use crate::clock::SharedClock;
use crate::target::call::{Answer, Call, CallError};
use crate::target::profile::{Limits, QuotaHeaders};
use crate::target::rate_headers::{Told, told};
use crate::target::retry_after::retry_after;
use crate::telemetry::metrics::FloatCounter;

/// What the gate obeys, and how far.
#[derive(Clone, Debug)]
pub struct GateSettings {
    /// The longest pause that a vendor can ask for.
    pub wait_max: Duration,
    /// The pause after a first 429 that names none.
    pub default_wait: Duration,
    /// The longest pause after a run of such 429s.
    pub default_wait_max: Duration,
    /// The headers in which the vendor tells its quota.
    pub quota: Option<QuotaHeaders>,
    /// Seed of the jitter.
    pub seed: u64,
}

impl GateSettings {
    /// As the limits say.
    pub fn new(limits: &Limits, seed: u64) -> Self {
        Self {
            wait_max: limits.retry_after_cap,
            default_wait: limits.default_wait,
            default_wait_max: DEFAULT_WAIT_MAX.max(limits.default_wait),
            quota: limits.headers.clone(),
            seed,
        }
    }
}

const DEFAULT_WAIT_MAX: Duration = Duration::from_mins(2);

/// The handle of a gate; clones are the same gate.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

/// Whether calls may pass, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateSnapshot {
    /// Why it was closed until further notice.
    pub closed: Option<String>,
    /// Until when the vendor asked us to stay away; may lie in the past.
    pub paused_until: Option<Instant>,
}

struct Shared {
    state: watch::Sender<GateSnapshot>,
    run: Mutex<Run>,
    settings: GateSettings,
    clock: SharedClock,
    throttled_seconds: FloatCounter,
}

/// The present run of 429s that named no time.
struct Run {
    length: u32,
    began: Instant,
    chance: StdRng,
}

impl Gate {
    /// An open gate. `throttled_seconds` counts the pauses that the vendor caused.
    pub fn new(settings: GateSettings, clock: SharedClock, throttled_seconds: FloatCounter) -> Self {
        let run = Run { length: 0, began: Instant::now(), chance: StdRng::seed_from_u64(settings.seed) };
        let state = watch::Sender::new(GateSnapshot::default());
        Self { shared: Arc::new(Shared { state, run: Mutex::new(run), settings, clock, throttled_seconds }) }
    }

    /// Lets nothing pass before `until`. Never shortens a pause.
    pub fn pause_until(&self, until: Instant) {
        let longer = self.lengthen(until);
        self.shared.throttled_seconds.inc_by(longer.as_secs_f64());
    }

    /// Takes up a pause that somebody before has met, and counted; at most the longest that a vendor
    /// can ask for. Never shortens one.
    pub fn restore(&self, until: Instant) {
        self.lengthen(until.min(Instant::now() + self.shared.settings.wait_max));
    }

    /// By how much the pause is longer.
    fn lengthen(&self, until: Instant) -> Duration {
        let now = Instant::now();
        let mut longer = Duration::ZERO;
        self.shared.state.send_if_modified(|state| {
            longer =
                until.saturating_duration_since(state.paused_until.map_or(now, |paused| paused.max(now)));
            if longer > Duration::ZERO {
                state.paused_until = Some(until);
            }
            longer > Duration::ZERO
        });
        longer
    }

    /// Lets nothing pass until [`open`](Self::open). A later reason takes the place of an earlier one.
    pub fn close(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.shared.state.send_modify(|state| state.closed = Some(reason));
    }

    /// Undoes [`close`](Self::close); a pause that the vendor asked for stays.
    pub fn open(&self) {
        self.shared.state.send_if_modified(|state| state.closed.take().is_some());
    }

    /// Whether a call may pass now.
    pub fn is_open(&self) -> bool {
        self.shared.state.borrow().passes(Instant::now())
    }

    /// Waits until a call may pass.
    pub async fn opened(&self) {
        let mut state = self.shared.state.subscribe();
        loop {
            let seen = state.borrow_and_update().clone();
            if seen.passes(Instant::now()) {
                return;
            }
            let until = if seen.closed.is_some() { None } else { seen.paused_until };
            let changed = async { state.changed().await.expect("the gate itself holds the sender") };
            match until {
                Some(until) => {
                    tokio::select! { () = tokio::time::sleep_until(until) => {}, () = changed => {} }
                }
                None => changed.await,
            }
        }
    }

    /// What it looks like now.
    pub fn snapshot(&self) -> GateSnapshot {
        self.shared.state.borrow().clone()
    }

    /// Tells each change of the gate.
    pub fn watch(&self) -> watch::Receiver<GateSnapshot> {
        self.shared.state.subscribe()
    }

    /// Takes note of an answer to a call that was sent at `sent`.
    pub(crate) fn heed(&self, answer: &Answer, sent: Instant) {
        let now = Instant::now();
        let settings = &self.shared.settings;
        let hint = retry_after(&answer.headers, Some(self.shared.clock.now()));
        match (answer.status, hint) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(wait)) => {
                self.pause_until(now + wait.min(settings.wait_max));
            }
            (StatusCode::TOO_MANY_REQUESTS, None) => self.widen(sent, now),
            (status, _) if status.is_success() => self.end_run(sent),
            _ => {}
        }
        if let Some(told) = self.told(answer).filter(|told| told.left == 0) {
            self.pause_until(now + told.resets_in);
        }
    }

    /// What an answer tells of the vendor's count, for no longer than a vendor can ask for.
    pub fn told(&self, answer: &Answer) -> Option<Told> {
        let settings = &self.shared.settings;
        let told = told(&answer.headers, settings.quota.as_ref(), self.shared.clock.now())?;
        Some(Told { resets_in: told.resets_in.min(settings.wait_max), ..told })
    }

    /// One more 429 that names no time. Calls that were in flight together count once.
    fn widen(&self, sent: Instant, now: Instant) {
        let settings = &self.shared.settings;
        let until = {
            let mut run = self.run();
            if run.length > 0 && sent < run.began {
                return;
            }
            let factor = 10_u32.saturating_pow(run.length);
            run.length += 1;
            run.began = now;
            let wait = settings.default_wait.saturating_mul(factor).min(settings.default_wait_max);
            now + wait + wait.mul_f64(run.chance.random_range(0.0..0.1))
        };
        self.pause_until(until);
    }

    /// A success of a call that was sent after the last 429.
    fn end_run(&self, sent: Instant) {
        let mut run = self.run();
        if sent >= run.began {
            run.length = 0;
        }
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.shared.run.lock().expect("nothing panics while it holds the run")
    }
}

impl GateSnapshot {
    fn passes(&self, now: Instant) -> bool {
        self.closed.is_none() && self.paused_until.is_none_or(|until| until <= now)
    }
}

/// Puts a [`Gate`] before a service.
#[derive(Clone)]
pub struct GateLayer {
    gate: Gate,
}

impl GateLayer {
    /// All services made by this layer stand behind `gate`.
    pub fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

impl<S> Layer<S> for GateLayer {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.gate.clone(), wait: None }
    }
}

/// A service behind a gate.
pub struct Gated<S> {
    inner: S,
    gate: Gate,
    wait: Option<ReusableBoxFuture<'static, ()>>,
}

impl<S: Clone> Clone for Gated<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), gate: self.gate.clone(), wait: None }
    }
}

impl<S> Service<Call> for Gated<S>
where
    S: Service<Call, Response = Answer, Error = CallError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    /// Looks at the gate each time, so that readiness ends when the gate closes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.poll(cx));
                self.wait = None;
            }
            if self.gate.is_open() {
                return self.inner.poll_ready(cx);
            }
            let gate = self.gate.clone();
            self.wait = Some(ReusableBoxFuture::new(async move { gate.opened().await }));
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let gate = self.gate.clone();
        let sent = Instant::now();
        let answer = self.inner.call(call);
        async move {
            let answer = answer.await?;
            gate.heed(&answer, sent);
            Ok(answer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;

//! What is kept of a target over a restart and a change of its holder: the breaker, the vendor's
//! pause, the share of the rate that is used, the chunks that the vendor takes.
//!
//! Only the holder writes it. It is written when it changes, at most once a second, but for what
//! must not be lost: a breaker that turns, and a pause of some length.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::sync::Settings;
use crate::sync::discovery::{self, DISCOVERY, Discovery};
use crate::sync::shared::Shared;
use crate::target::layers::breaker::BreakerSnapshot;
use crate::telemetry::chain;

/// The parts, by name.
const BREAKER: &str = "breaker";
const MEMBERS_PER_REQUEST: &str = "members_per_request";
const PAUSED_UNTIL: &str = "paused_until";
const RATE_FACTOR: &str = "rate_factor";

/// At most one write in this time of what is in no hurry.
const EVERY: Duration = Duration::from_secs(1);
/// A pause of this length is written at once.
const PAUSE_LONG: Duration = Duration::from_secs(2);
/// By how much a pause differs from one that is only told again in other words.
const PAUSE_STEP: Duration = Duration::from_secs(1);
/// By how much the rate grows back before that is worth a write.
const FACTOR_STEP: f64 = 0.05;

/// What a holder has kept of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Recollection {
    /// The breaker.
    pub breaker: Option<BreakerSnapshot>,
    /// Until when the vendor asked us to stay away.
    pub paused_until: Option<Timestamp>,
    /// The share of the configured rate that was used; 1 unless the vendor said 429.
    pub rate_factor: f64,
    /// Most members in one PATCH, as configured or learned; at least 1.
    pub members_per_request: usize,
    /// What the vendor said of itself.
    pub discovery: Option<Discovery>,
}

/// Reads what was kept; what cannot be read is as if it had never been kept.
pub(super) fn recollect(settings: &Settings, memory: &Value) -> Recollection {
    let members_max = settings.policy.members_per_request.max(1);
    let learned = memory[MEMBERS_PER_REQUEST]["value"].as_u64();
    let learned = learned.and_then(|learned| usize::try_from(learned).ok()).unwrap_or(members_max);
    Recollection {
        breaker: BreakerSnapshot::deserialize(&memory[BREAKER]).ok(),
        paused_until: Timestamp::deserialize(&memory[PAUSED_UNTIL]).ok(),
        rate_factor: memory[RATE_FACTOR].as_f64().unwrap_or(1.0),
        members_per_request: learned.clamp(1, members_max),
        discovery: discovery::recollect(&memory[DISCOVERY]),
    }
}

/// The memory of a target that is dispatched here.
pub(super) struct Memory {
    shared: Arc<Shared>,
    kept: Kept,
    /// No write before this.
    not_before: Instant,
    /// None that is in no hurry before this.
    soon_at: Instant,
}

/// What is kept and changes by itself.
#[derive(Clone, Debug)]
struct Kept {
    breaker: BreakerSnapshot,
    paused_until: Option<Instant>,
    rate_factor: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    None,
    Soon,
    Now,
}

impl Memory {
    /// Goes on where the holder before has left off. Whatever it did is reckoned to have been just
    /// now, and nothing that this process knows is loosened.
    pub(super) async fn take_up(shared: Arc<Shared>, memory: Value) -> Self {
        let known = recollect(&shared.settings, &memory);
        let health = shared.target.health();
        health.limiter.take_over(known.rate_factor);
        if let Some(until) = known.paused_until {
            health.gate.restore(Instant::now() + until.since(shared.clock.now()));
        }
        if let Some(breaker) = known.breaker {
            health.breaker.restore(breaker);
        }
        shared.members_per_request.store(known.members_per_request, Ordering::Relaxed);
        shared.bulk.take_up(&memory);
        let memory = match memory {
            Value::Object(memory) => memory,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        };
        shared.take_up_memory(memory).await;
        let (kept, now) = (Kept::of(&shared), Instant::now());
        Self { shared, kept, not_before: now, soon_at: now }
    }

    /// Writes what changes, for ever.
    pub(super) async fn keep(&mut self) -> Infallible {
        let mut breaker = self.shared.target.health().breaker.watch();
        let mut gate = self.shared.target.health().gate.watch();
        loop {
            let (present, now) = (Kept::of(&self.shared), Instant::now());
            let write_at = match urgency(&self.kept, &present, now) {
                Urgency::None => None,
                Urgency::Soon => Some(self.soon_at),
                Urgency::Now => Some(self.not_before),
            };
            if write_at.is_some_and(|at| at <= now) {
                self.write(present).await;
                continue;
            }
            let look_at = write_at.unwrap_or(now + EVERY).min(now + EVERY);
            tokio::select! {
                () = tokio::time::sleep_until(look_at) => {}
                changed = breaker.changed() => changed.expect("the target holds its breaker"),
                changed = gate.changed() => changed.expect("the target holds its gate"),
            }
        }
    }

    /// Writes what has changed since the last write, before somebody else goes on from it.
    pub(super) async fn keep_the_last(&mut self) {
        let present = Kept::of(&self.shared);
        if urgency(&self.kept, &present, Instant::now()) != Urgency::None {
            self.write(present).await;
        }
    }

    async fn write(&mut self, present: Kept) {
        let now = Instant::now();
        let wall = self.shared.clock.now();
        let paused_until =
            present.paused_until.filter(|until| *until > now).map(|until| wall.after(until - now));
        let news = [
            (BREAKER, json!(present.breaker)),
            (PAUSED_UNTIL, json!(paused_until)),
            (RATE_FACTOR, json!(present.rate_factor)),
        ];
        match self.shared.remember(news).await {
            Ok(()) => self.kept = present,
            Err(error) => {
                tracing::error!(target_name = self.shared.name(), error = %chain(&error), "failed to keep what was learned");
                self.not_before = now + EVERY;
            }
        }
        self.soon_at = now + EVERY;
    }
}

/// Remembers that the vendor takes no more members at once.
pub(super) async fn learn_members_max(shared: &Shared, learned: usize) {
    if learned >= shared.members_per_request.fetch_min(learned, Ordering::Relaxed) {
        return;
    }
    tracing::info!(
        target_name = shared.name(),
        members_per_request = learned,
        "learned a limit of the vendor"
    );
    let at = shared.clock.now().to_string();
    let learned = json!({ "value": learned, "at": at, "why": "the vendor refused more as too large" });
    if let Err(error) = shared.remember([(MEMBERS_PER_REQUEST, learned)]).await {
        tracing::error!(target_name = shared.name(), error = %chain(&error), "failed to keep what was learned");
    }
}

impl Kept {
    fn of(shared: &Shared) -> Self {
        let health = shared.target.health().snapshot();
        Self {
            breaker: health.breaker,
            paused_until: health.gate.paused_until,
            rate_factor: health.limiter.factor,
        }
    }
}

/// How soon `present` is to be written, where `kept` was written last.
fn urgency(kept: &Kept, present: &Kept, now: Instant) -> Urgency {
    // The moment of the last success is no news.
    let turned = |a: &BreakerSnapshot, b: &BreakerSnapshot| a.state != b.state || a.openings != b.openings;
    let pause = present.paused_until.filter(|until| *until > now);
    let from = kept.paused_until.map_or(now, |until| until.max(now));
    let longer = pause.map_or(Duration::ZERO, |until| until.saturating_duration_since(from));
    let long = pause.is_some_and(|until| until >= now + PAUSE_LONG);
    if turned(&kept.breaker, &present.breaker) || (long && longer >= PAUSE_STEP) {
        return Urgency::Now;
    }
    let slower = present.rate_factor < kept.rate_factor;
    let faster = present.rate_factor >= kept.rate_factor + FACTOR_STEP
        || (present.rate_factor >= 1.0 && kept.rate_factor < 1.0);
    if longer > Duration::ZERO || slower || faster { Urgency::Soon } else { Urgency::None }
}

#[cfg(test)]
mod tests;

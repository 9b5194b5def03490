//! Whether a target is sent bulk requests, and how large: what it says of itself, what was learned,
//! and for how long that holds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tower::{Service, ServiceExt};

use crate::clock::Timestamp;
use crate::scim::bulk::request::BulkLimits;
use crate::scim::bulk::support::{self, BulkSupport as Said};
use crate::sync::BulkMode;
use crate::sync::bulk::reading::Whole;
use crate::sync::run::Run;
use crate::sync::shared::Shared;
use crate::target::profile::{Bulk, BulkSupport};
use crate::target::verdict::Verdict;
use crate::target::{CallFacts, Stack, judge, requests};
use crate::telemetry::chain;

/// The parts of what is kept of a target, by name.
pub(in crate::sync) const OPERATIONS: &str = "bulk_operations";
pub(in crate::sync) const OFF: &str = "bulk_off";

/// Limits where nobody names any.
const OPERATIONS_DEFAULT: usize = 100;
const BYTES_DEFAULT: usize = 1024 * 1024;
/// Limits above which nothing is gained: what is in one request is lost together.
const OPERATIONS_MAX: usize = 1_000;
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// The least request that is one.
const OPERATIONS_MIN: usize = 2;

/// How long what turned bulk requests off is believed.
const OFF_LASTS: Duration = Duration::from_hours(24);
/// How long a service that could not be asked is left alone.
const ASK_AGAIN: Duration = Duration::from_mins(10);
/// Refusals of whole requests in a row that turn them off.
const REFUSALS_MAX: u32 = 3;

/// Whether a target is sent bulk requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sync) enum Standing {
    /// Not known: ask the service.
    Ask,
    /// So large ones.
    On(BulkLimits),
    /// None, for now.
    Off,
}

/// Whether several operations go in one request, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BulkReport {
    /// `on`, `off`, or `unknown` until the vendor was asked.
    pub state: &'static str,
    /// Why they are off.
    pub reason: Option<String>,
    /// When they are tried again, where that is so.
    pub until: Option<Timestamp>,
    /// Most operations in one request at present.
    pub operations_max: Option<usize>,
    /// Most bytes of one request.
    pub bytes_max: Option<usize>,
    /// Most operations that the vendor has not refused, where it has refused more.
    pub learned_operations_max: Option<usize>,
}

/// What is known of a target's bulk requests.
pub(in crate::sync) struct BulkState(Mutex<Known>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// What rules them out for good: the configuration or the profile.
    ruled_out: Option<&'static str>,
    /// The vendor's limits; `None` until they are known.
    limits: Option<BulkLimits>,
    /// Most operations, since the vendor refused more as too large.
    learned: usize,
    /// Most operations at present: smaller after requests without an answer.
    present: usize,
    refusals: u32,
    off: Option<Off>,
}

/// Why none are sent for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Off {
    until: Timestamp,
    why: String,
}

/// What a request has shown that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    None,
    /// No more operations than these.
    Operations(usize),
    /// No requests at all, because of this.
    Off(String),
}

impl BulkState {
    /// As configured; nothing is learned yet.
    pub(in crate::sync) fn new(mode: BulkMode, bulk: &Bulk) -> Self {
        let limits = (bulk.supported == BulkSupport::Yes).then(|| limits(bulk, Said::default()));
        Self(Mutex::new(Known {
            ruled_out: ruled_out(mode, bulk),
            limits,
            learned: OPERATIONS_MAX,
            present: OPERATIONS_MAX,
            refusals: 0,
            off: None,
        }))
    }

    /// What to do at this moment.
    pub(in crate::sync) fn standing(&self, now: Timestamp) -> Standing {
        self.known().standing(now)
    }

    /// How it stands, for people.
    pub(in crate::sync) fn report(&self, now: Timestamp) -> BulkReport {
        self.known().report(now)
    }

    /// Takes up what was kept of the target.
    pub(in crate::sync) fn take_up(&self, memory: &Value) {
        let mut known = self.known();
        let learned = memory[OPERATIONS]["value"].as_u64().and_then(|learned| usize::try_from(learned).ok());
        known.learned = learned.unwrap_or(OPERATIONS_MAX).clamp(OPERATIONS_MIN, OPERATIONS_MAX);
        let off_at = memory[OFF]["at"].as_str().and_then(Timestamp::parse_rfc3339);
        let why = memory[OFF]["why"].as_str().unwrap_or_default();
        known.off = off_at.map(|at| Off { until: at.after(OFF_LASTS), why: why.to_owned() });
    }

    /// What the service says of itself; `None` when it did not say that it takes bulk requests.
    fn said(&self, bulk: &Bulk, said: Option<Said>, now: Timestamp) {
        let mut known = self.known();
        if let Some(said) = said {
            known.limits = Some(limits(bulk, said));
        } else {
            let why = "the vendor does not say that it takes them".to_owned();
            known.off = Some(Off { until: now.after(OFF_LASTS), why });
        }
    }

    fn ask_again_later(&self, now: Timestamp) {
        let why = "the vendor was asked and has not answered yet".to_owned();
        self.known().off = Some(Off { until: now.after(ASK_AGAIN), why });
    }

    fn learn(&self, whole: &Whole, count: usize, now: Timestamp) -> News {
        self.known().learn(whole, count, now)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn off(&self, now: Timestamp) -> Option<&Off> {
        self.off.as_ref().filter(|off| now < off.until)
    }

    fn report(&self, now: Timestamp) -> BulkReport {
        let (state, limits) = match self.standing(now) {
            Standing::Ask => ("unknown", None),
            Standing::On(limits) => ("on", Some(limits)),
            Standing::Off => ("off", None),
        };
        let off = self.off(now).filter(|_| self.ruled_out.is_none());
        let too_few = || (state == "off").then_some("the vendor takes fewer than two operations in one");
        let reason = self.ruled_out.or(off.map(|off| off.why.as_str())).or_else(too_few);
        BulkReport {
            state,
            reason: reason.map(str::to_owned),
            until: off.map(|off| off.until),
            operations_max: limits.map(|limits| limits.operations),
            bytes_max: limits.map(|limits| limits.bytes),
            learned_operations_max: (self.learned < OPERATIONS_MAX).then_some(self.learned),
        }
    }

    fn standing(&self, now: Timestamp) -> Standing {
        if self.ruled_out.is_some() || self.off(now).is_some() {
            return Standing::Off;
        }
        match self.limits {
            None => Standing::Ask,
            Some(limits) if limits.operations < OPERATIONS_MIN => Standing::Off,
            Some(limits) => {
                let operations = limits.operations.min(self.learned).min(self.present);
                Standing::On(BulkLimits { operations, ..limits })
            }
        }
    }

    fn learn(&mut self, whole: &Whole, count: usize, now: Timestamp) -> News {
        match whole {
            Whole::Each(_) => {
                self.refusals = 0;
                self.present = (self.present * 2).min(OPERATIONS_MAX);
                News::None
            }
            Whole::TooLarge if count <= OPERATIONS_MIN => {
                self.turn_off("the vendor refused two operations as too many".to_owned(), now)
            }
            Whole::TooLarge => {
                self.learned = (count / 2).max(OPERATIONS_MIN);
                News::Operations(self.learned)
            }
            Whole::Unsupported { reason } => self.turn_off(reason.clone(), now),
            Whole::Refused { status } => {
                self.refusals += 1;
                if self.refusals < REFUSALS_MAX {
                    return News::None;
                }
                self.turn_off(
                    format!("the vendor refused {REFUSALS_MAX} requests in a row, with {status}"),
                    now,
                )
            }
            // Too much to be done in time, perhaps.
            Whole::All(Verdict::Unknown | Verdict::Transient { .. }) => {
                self.present = (count / 2).max(OPERATIONS_MIN);
                News::None
            }
            Whole::All(_) => News::None,
        }
    }

    fn turn_off(&mut self, reason: String, now: Timestamp) -> News {
        self.off = Some(Off { until: now.after(OFF_LASTS), why: reason.clone() });
        self.refusals = 0;
        News::Off(reason)
    }
}

/// Takes in what a request of `count` operations has shown, and keeps over a restart what must be.
pub(super) async fn learn(shared: &Shared, whole: &Whole, count: usize) {
    let now = shared.clock.now();
    let at = now.to_string();
    let news = match shared.bulk.learn(whole, count, now) {
        News::None => return,
        News::Operations(value) => {
            tracing::info!(
                target_name = shared.name(),
                bulk_operations = value,
                "learned a limit of the vendor"
            );
            let why = "the vendor refused more as too large";
            (OPERATIONS, json!({ "value": value, "at": at, "why": why }))
        }
        News::Off(why) => {
            tracing::warn!(target_name = shared.name(), reason = why, "bulk requests are turned off");
            (OFF, json!({ "at": at, "why": why }))
        }
    };
    if let Err(error) = shared.remember([news]).await {
        tracing::error!(target_name = shared.name(), error = %chain(&error), "failed to keep what was learned");
    }
}

/// Asks the service what it says of itself, with one call.
pub(in crate::sync) async fn ask(run: &Run, ready: Stack) {
    let shared = &run.shared;
    let (profile, now) = (shared.target.profile(), shared.clock.now());
    // Whatever comes of it, one call at a time asks.
    shared.bulk.ask_again_later(now);
    let call = requests::probe(profile);
    let outcome = match ready.ready_oneshot().await {
        Ok(mut ready) => ready.call(call.clone()).await,
        Err(error) => Err(error),
    };
    match judge(profile, &CallFacts::from(&call), outcome.as_ref()) {
        Verdict::Done { resource, .. } => {
            let said = resource.as_ref().and_then(support::read);
            tracing::info!(
                target_name = shared.name(),
                supported = said.is_some(),
                "asked for bulk requests"
            );
            shared.bulk.known().off = None;
            shared.bulk.said(&profile.bulk, said, now);
        }
        Verdict::Missing => shared.bulk.said(&profile.bulk, None, now),
        Verdict::Stale
        | Verdict::Taken { .. }
        | Verdict::TooLarge { .. }
        | Verdict::Refused { .. }
        | Verdict::Throttled { .. }
        | Verdict::Transient { .. }
        | Verdict::Unknown
        | Verdict::NotSent
        | Verdict::TargetFault { .. } => {}
    }
}

fn ruled_out(mode: BulkMode, bulk: &Bulk) -> Option<&'static str> {
    match (mode, bulk.supported) {
        (BulkMode::Off, _) => Some("the configuration says so"),
        (BulkMode::Auto, BulkSupport::No) => Some("the profile says that the vendor takes none"),
        // Two operations may cost more than two calls, many may not.
        (BulkMode::Auto, BulkSupport::Auto | BulkSupport::Yes) => (!bulk.saves(OPERATIONS_MAX))
            .then_some("the vendor counts each operation, so that nothing would be saved"),
    }
}

/// The profile's limits, else the service's, else ours.
fn limits(bulk: &Bulk, said: Said) -> BulkLimits {
    let of_profile =
        |limit: Option<std::num::NonZeroU32>| limit.and_then(|limit| usize::try_from(limit.get()).ok());
    let operations = of_profile(bulk.max_operations).or(said.operations).unwrap_or(OPERATIONS_DEFAULT);
    let bytes = of_profile(bulk.max_payload_size).or(said.bytes).unwrap_or(BYTES_DEFAULT);
    BulkLimits { operations: operations.min(OPERATIONS_MAX), bytes: bytes.min(BYTES_MAX) }
}

#[cfg(test)]
mod tests;

//! One window of a rate limit: governor's cell rate algorithm, on time and memory of our own.
//!
//! governor decides; what has been spent and what time it is are kept here, because the limiter
//! must be able to ask without spending (several windows are met together, and a permit is
//! accounted when the call goes out), and to change the rate without forgetting what was spent. Where
//! a window is to be kept, what it has spent is [remembered](super::window) too, since calls may
//! differ in cost and a burst comes on top of the rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use crate::target::layers::window::Sliding;

/// How fast calls may follow each other: any stretch of time `t` sees at most `burst + t / period`.
/// Calls that cost more than 1 count as that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time between calls in the long run.
    pub period: Duration,
    /// Calls that may go at once after a quiet time.
    pub burst: NonZeroU32,
    /// No stretch of so much time sees more than so many calls.
    pub window: Option<(NonZeroU32, Duration)>,
    /// The same of one stretch by which it is told that calls come later than they went.
    stretch: (NonZeroU32, Duration),
}

/// The share of a vendor's limit that is left unused, so that uneven delays on the way do not carry
/// calls of one window into the next.
const MARGIN: f64 = 0.03;

/// A second and what may be misjudged of how late a call came; still within the margin.
const SECOND: Duration = Duration::from_millis(1_020);

const PERIOD_MAX: Duration = Duration::from_hours(24);

impl Pace {
    /// `burst` at once, then `rate` a second, less the margin.
    pub fn per_second(rate: f64, burst: NonZeroU32) -> Self {
        let period = Duration::try_from_secs_f64(1.0 / (rate * (1.0 - MARGIN))).unwrap_or(PERIOD_MAX);
        let in_a_second = burst.saturating_add(whole_part(rate.ceil() - 1.0));
        Self {
            period: period.clamp(Duration::from_nanos(1), PERIOD_MAX),
            burst,
            window: None,
            stretch: (in_a_second, SECOND),
        }
    }

    /// Never more than `limit` in any stretch of `per`, at most `burst` of them at once. A burst within
    /// half of the margin costs nothing of the rate, and makes up for short waits elsewhere.
    pub fn window(limit: NonZeroU32, per: Duration, burst: NonZeroU32) -> Self {
        let rate = f64::from(limit.get()) / per.as_secs_f64();
        Self { window: Some((limit, per)), stretch: (limit, per), ..Self::per_second(rate, burst.min(limit)) }
    }
}

impl Pace {
    /// The most that any stretch of `time` sees, in calls.
    pub fn most(&self, time: Duration) -> f64 {
        match self.window {
            Some((limit, per)) => f64::from(limit.get()) * time.div_duration_f64(per).ceil(),
            None => f64::from(self.burst.get()) + time.div_duration_f64(self.period).floor(),
        }
    }
}

/// Keeps one pace. Time is given as the time since some fixed moment; it never runs backwards.
pub struct Meter {
    pace: Pace,
    /// How much faster than at present it may run at most; the present period is `pace.period / factor`.
    factor: f64,
    memory: Memory,
    governor: Governor,
    window: Sliding,
}

type Governor = RateLimiter<NotKeyed, Memory, Memory, NoOpMiddleware<Nanos>>;

impl Meter {
    /// Starts with room for one call and not for a burst: a process before this one may just have
    /// spent it.
    pub fn new(pace: Pace, now: Duration) -> Self {
        let memory = Memory::default();
        memory.cells.spent_until.store(nanos(now + pace.period * (pace.burst.get() - 1)), Ordering::Relaxed);
        let governor = memory.governor(pace.period, pace.burst);
        let window = Sliding::new(pace.stretch.0.get(), pace.stretch.1);
        Self { pace, factor: 1.0, memory, governor, window }
    }

    /// The first moment from `now` on at which a call of this cost is within the pace.
    pub fn earliest(&self, cost: NonZeroU32, now: Duration) -> Duration {
        let paced = self.paced(cost, now);
        self.window.earliest(0, cost.get(), paced)
    }

    /// The same after `others` more were spent, as early as may be.
    pub fn earliest_after(&self, others: u32, cost: NonZeroU32, now: Duration) -> Duration {
        let spent_until = self.memory.cells.spent_until.load(Ordering::Relaxed);
        self.charge(others, now);
        let paced = self.paced(cost, now);
        self.memory.cells.spent_until.store(spent_until, Ordering::Relaxed);
        self.window.earliest(others, cost.get(), paced)
    }

    /// Accounts a call that goes out at `at`, no earlier than [`earliest`](Self::earliest).
    pub fn spend(&mut self, cost: NonZeroU32, at: Duration) {
        let (now, rest) = self.split(cost);
        self.memory.at(at);
        let within = matches!(self.governor.check_n(now), Ok(Ok(())));
        debug_assert!(within, "spent before the earliest moment");
        self.charge(rest, at);
        self.window.spend(cost.get(), at);
    }

    /// Forgets what no longer counts at `now`.
    pub fn forget(&mut self, now: Duration) {
        self.window.forget(now);
    }

    /// A call that was accounted at `at` may have come to the vendor so late.
    pub fn put_off(&mut self, cost: NonZeroU32, at: Duration, late: Duration) {
        self.window.put_off(cost.get(), at, late);
    }

    /// Takes over from another meter that may have spent its burst up to `now`: the next call comes
    /// a full period later, and both together keep the pace.
    pub fn take_over(&mut self, now: Duration) {
        let burst = self.pace.burst.get();
        self.memory.cells.spent_until.store(nanos(now + self.period() * burst), Ordering::Relaxed);
        self.window.take_over(burst, self.pace.period, now);
    }

    /// The first moment from `now` on at which governor lets a call of this cost pass.
    fn paced(&self, cost: NonZeroU32, now: Duration) -> Duration {
        self.memory.at(now);
        self.memory.cells.looking.store(true, Ordering::Relaxed);
        let verdict = self.governor.check_n(self.split(cost).0).expect("split to fit the burst");
        self.memory.cells.looking.store(false, Ordering::Relaxed);
        verdict.err().map_or(now, |refusal| now + refusal.wait_time_from(Nanos::from(now)))
    }

    /// What of a cost is waited for, and what is paid back afterwards because it is over the burst.
    fn split(&self, cost: NonZeroU32) -> (NonZeroU32, u32) {
        let now = cost.min(self.pace.burst);
        (now, cost.get() - now.get())
    }

    /// Adds to what is spent, without asking.
    fn charge(&self, units: u32, now: Duration) {
        if units > 0 {
            let from = self.memory.cells.spent_until.load(Ordering::Relaxed).max(nanos(now));
            let debt = nanos(self.period().saturating_mul(units));
            self.memory.cells.spent_until.store(from.saturating_add(debt), Ordering::Relaxed);
        }
    }

    /// Runs at `factor` of the pace, over 0 and at most 1. What was spent stays spent.
    pub fn retune(&mut self, factor: f64, now: Duration) {
        // No slower than one call in the longest period, so that debts and periods keep their ratio.
        let slowest = self.pace.period.div_duration_f64(PERIOD_MAX).min(1.0);
        let factor = factor.clamp(slowest, 1.0);
        let cells = &self.memory.cells;
        let now = nanos(now);
        let debt = cells.spent_until.load(Ordering::Relaxed).saturating_sub(now);
        // The debt is a number of calls; it takes longer to pay back at a lower rate.
        let debt = Duration::from_nanos(debt).mul_f64(self.factor / factor);
        cells.spent_until.store(now.saturating_add(nanos(debt)), Ordering::Relaxed);
        self.factor = factor;
        self.governor = self.memory.governor(self.period(), self.pace.burst);
    }

    /// Time between calls in the long run, at present.
    fn period(&self) -> Duration {
        self.pace.period.div_f64(self.factor)
    }

    /// Calls a second in the long run, at present.
    pub fn rate(&self) -> f64 {
        self.factor / self.pace.period.as_secs_f64()
    }
}

/// The clock and the state that governor works on; clones are the same.
#[derive(Clone, Default)]
struct Memory {
    cells: Arc<Cells>,
}

#[derive(Default)]
struct Cells {
    now: AtomicU64,
    /// governor's theoretical arrival time.
    spent_until: AtomicU64,
    /// Whether the next decision is a question only.
    looking: AtomicBool,
}

impl Memory {
    fn at(&self, now: Duration) {
        self.cells.now.store(nanos(now), Ordering::Relaxed);
    }

    fn governor(&self, period: Duration, burst: NonZeroU32) -> Governor {
        // governor counts from the moment at which it is made; let that be zero for all of them.
        self.at(Duration::ZERO);
        let quota = Quota::with_period(period).expect("a period is over zero").allow_burst(burst);
        RateLimiter::new(quota, self.clone(), self.clone())
    }
}

impl Clock for Memory {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.cells.now.load(Ordering::Relaxed).into()
    }
}

impl StateStore for Memory {
    type Key = NotKeyed;

    /// A meter is used by one thread at a time, so load and store need not be one step.
    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, spent_until) = decide(Some(self.cells.spent_until.load(Ordering::Relaxed).into()))?;
        if !self.cells.looking.load(Ordering::Relaxed) {
            self.cells.spent_until.store(spent_until.as_u64(), Ordering::Relaxed);
        }
        Ok(outcome)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates at both ends")]
fn whole_part(number: f64) -> u32 {
    number as u32
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(super) mod tests;

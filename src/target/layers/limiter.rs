//! The rate limiter that all calls to one target share.
//!
//! Callers wait in line, one line per class of call, and the first of each line waits until every
//! window that applies will have room in a moment, those that hold a permit already counted in. A
//! permit that is held for too long no longer counts. What a call costs is accounted when it is made,
//! and its exact moment is set then, so that callers which dawdle cannot bunch their calls up.
//!
//! The rate falls by a factor at each 429, at most once a second, and grows back by small steps
//! with each success, never over what is configured.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::target::call::CallClass;
use crate::target::layers::meter::{Meter, Pace};

/// The paces of a target: those of every call, and further ones by class.
#[derive(Clone, Debug, Default)]
pub struct Paces {
    /// Each pace, and the class it is for; `None` means every call.
    pub paces: Vec<(Option<CallClass>, Pace)>,
}

/// What the limiter is doing, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct LimiterSnapshot {
    /// The share of the configured rate that is used at present; 1 unless the vendor said 429.
    pub factor: f64,
    /// Calls a second in the long run at present, by the slowest window of every call; `None`
    /// without any.
    pub rate_per_second: Option<f64>,
    /// The same as configured.
    pub configured_rate_per_second: Option<f64>,
}

/// How long before its moment a call is let in: enough to load what it is to say.
const LEAD: Duration = Duration::from_millis(20);
/// How long a permit counts that is held without a call.
const HOLD_MAX: Duration = Duration::from_millis(100);
/// What a 429 leaves of the rate.
const DECREASE: f64 = 0.7;
/// At most one decrease in this time.
const DECREASE_EVERY: Duration = Duration::from_secs(1);
/// How much of the configured rate comes back with each second's worth of successes.
const INCREASE_PER_SECOND: f64 = 0.02;
/// The least share of the configured rate.
const FACTOR_MIN: f64 = 0.01;

/// The handle of a limiter; clones are the same limiter.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

struct Shared {
    anchor: Instant,
    core: Mutex<Core>,
    /// Tells the heads of the lines that a permit was given back, or the rate has risen.
    freed: Notify,
    /// One line per class, and one for callers that do not know yet what they will call.
    lines: [Arc<Semaphore>; CallClass::ALL.len() + 1],
}

struct Core {
    meters: Vec<(Option<CallClass>, Meter)>,
    factor: f64,
    cut_at: Option<Instant>,
    holds: Vec<Hold>,
    last_id: u64,
}

struct Hold {
    id: u64,
    lapses_at: Instant,
}

/// Leave to make one call. Not to be kept: it lapses when others wait.
pub struct Permit {
    limiter: Limiter,
    class: Option<CallClass>,
    id: u64,
}

impl Limiter {
    /// A limiter that has spent its bursts and nothing else.
    pub fn new(paces: &Paces) -> Self {
        let meters =
            paces.paces.iter().map(|(class, pace)| (*class, Meter::new(*pace, Duration::ZERO))).collect();
        let core = Core { meters, factor: 1.0, cut_at: None, holds: Vec::new(), last_id: 0 };
        Self {
            shared: Arc::new(Shared {
                anchor: Instant::now(),
                core: Mutex::new(core),
                freed: Notify::new(),
                lines: std::array::from_fn(|_| Arc::new(Semaphore::new(1))),
            }),
        }
    }

    /// Waits for leave to make a call of `class`, or of any class when it is not known yet.
    pub async fn admitted(self, class: Option<CallClass>) -> Permit {
        let line = &self.shared.lines[line(class)];
        let _first = line.acquire().await.expect("no line is ever closed");
        loop {
            let mut freed = std::pin::pin!(self.shared.freed.notified());
            freed.as_mut().enable();
            let until = match self.try_hold(class) {
                Ok(id) => return Permit { limiter: self.clone(), class, id },
                Err(until) => until,
            };
            tokio::select! { () = tokio::time::sleep_until(until) => {}, () = freed => {} }
        }
    }

    /// Accounts a call of `class`, and tells when it is to go out. With a permit that is now or in a
    /// moment.
    pub fn account(&self, class: CallClass) -> Instant {
        self.account_for(Some(class), Some(class))
    }

    /// A 429 to a call that was sent at `sent`.
    pub fn slow_down(&self, sent: Instant) {
        let now = Instant::now();
        let mut core = self.core();
        if core.cut_at.is_some_and(|cut| sent < cut || now < cut + DECREASE_EVERY) {
            return;
        }
        core.cut_at = Some(now);
        let factor = core.factor * DECREASE;
        core.retune(factor, self.elapsed(now));
    }

    /// Takes over from another limiter that ran at `factor` of the rate, and that may have spent all
    /// its bursts until now. Never faster than this one ran before.
    pub fn take_over(&self, factor: f64) {
        let mut core = self.core();
        let now = self.elapsed(Instant::now());
        let factor = core.factor.min(factor);
        core.retune(factor, now);
        for (_, meter) in &core.meters {
            meter.take_over(now);
        }
    }

    /// A call that the vendor took.
    pub fn speed_up(&self) {
        let mut core = self.core();
        if core.factor >= 1.0 {
            return;
        }
        let Some(rate) = core.rate() else { return };
        let configured = rate / core.factor;
        let factor = core.factor + INCREASE_PER_SECOND / configured;
        core.retune(factor, self.elapsed(Instant::now()));
        drop(core);
        // Whoever sleeps until a moment reckoned at the lower rate may go earlier.
        self.shared.freed.notify_waiters();
    }

    /// What it is doing now.
    pub fn snapshot(&self) -> LimiterSnapshot {
        let core = self.core();
        let rate = core.rate();
        LimiterSnapshot {
            factor: core.factor,
            rate_per_second: rate,
            configured_rate_per_second: rate.map(|rate| rate / core.factor),
        }
    }

    /// Takes a permit, or tells when to ask again.
    fn try_hold(&self, class: Option<CallClass>) -> Result<u64, Instant> {
        let now = Instant::now();
        let mut core = self.core();
        core.holds.retain(|hold| now < hold.lapses_at);
        let earliest = self.shared.anchor + core.earliest_after_holds(class, self.elapsed(now));
        if earliest > now + LEAD {
            // A hold that lapses may make room before that.
            let lapse = core.holds.iter().map(|hold| hold.lapses_at).min();
            return Err(lapse.map_or(earliest - LEAD, |lapse| lapse.min(earliest - LEAD)));
        }
        core.last_id += 1;
        let id = core.last_id;
        core.holds.push(Hold { id, lapses_at: now + HOLD_MAX });
        Ok(id)
    }

    fn account_for(&self, class: Option<CallClass>, also: Option<CallClass>) -> Instant {
        let now = Instant::now();
        let core = self.core();
        let at = core.earliest(class, also, self.elapsed(now));
        for (_, meter) in core.meters.iter().filter(|(of, _)| applies(*of, class, also)) {
            meter.spend(at);
        }
        self.shared.anchor + at
    }

    fn release(&self, id: u64) {
        let mut core = self.core();
        let held = core.holds.len();
        core.holds.retain(|hold| hold.id != id);
        if core.holds.len() < held {
            drop(core);
            self.shared.freed.notify_waiters();
        }
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.shared.anchor)
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock().expect("nothing panics while it holds the core")
    }
}

impl Permit {
    /// Whether it still gives leave to call now.
    pub fn is_valid(&self) -> bool {
        let now = self.limiter.elapsed(Instant::now());
        let core = self.limiter.core();
        core.holds.iter().any(|hold| hold.id == self.id)
            && core.earliest(self.class, self.class, now) <= now + LEAD
    }

    /// Accounts the call, and tells when it may go out: now, unless the permit has lapsed or was not
    /// for this class.
    pub fn spend(self, class: CallClass) -> Instant {
        let of = if self.class.is_none() { Some(class) } else { self.class };
        self.limiter.account_for(of, Some(class))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.release(self.id);
    }
}

impl Core {
    fn earliest(&self, class: Option<CallClass>, also: Option<CallClass>, now: Duration) -> Duration {
        let applying = self.meters.iter().filter(|(of, _)| applies(*of, class, also));
        applying.map(|(_, meter)| meter.earliest(now)).max().unwrap_or(now)
    }

    /// The earliest moment after those that hold permits have called.
    fn earliest_after_holds(&self, class: Option<CallClass>, now: Duration) -> Duration {
        let applying = self.meters.iter().filter(|(of, _)| applies(*of, class, class));
        applying.map(|(_, meter)| meter.earliest_after(self.holds.len(), now)).max().unwrap_or(now)
    }

    fn retune(&mut self, factor: f64, now: Duration) {
        self.factor = factor.clamp(FACTOR_MIN, 1.0);
        for (_, meter) in &mut self.meters {
            meter.retune(self.factor, now);
        }
    }

    /// The slowest rate that applies to every call.
    fn rate(&self) -> Option<f64> {
        let common = self.meters.iter().filter(|(of, _)| of.is_none());
        common.map(|(_, meter)| meter.rate()).min_by(f64::total_cmp)
    }
}

/// Whether a meter of class `of` counts a call of `class` (unknown: any) that is `also` of another.
fn applies(of: Option<CallClass>, class: Option<CallClass>, also: Option<CallClass>) -> bool {
    of.is_none() || class.is_none() || of == class || of == also
}

fn line(class: Option<CallClass>) -> usize {
    let known = class.and_then(|class| CallClass::ALL.iter().position(|known| *known == class));
    known.unwrap_or(CallClass::ALL.len())
}

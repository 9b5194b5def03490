//! The rate limiter that all calls to one target share.
//!
//! A target has several buckets; a call takes its cost from each that counts it, from all at once.
//! Whoever asks for leave before the call is known waits for the buckets that count every call, and
//! what the call turns out to cost on top of that is waited for when it is known.
//!
//! Callers wait in line, one line for all that draw on the same buckets, and the first of each line
//! waits until they all will have room in a moment, those that hold a permit already counted in. A
//! permit that is held for too long no longer counts. What a call costs is accounted when it is made,
//! and its exact moment is set then, so that callers which dawdle cannot bunch their calls up.
//!
//! Calls that end somebody's access have lines of their own. While one of them waits, no other takes
//! what it would have to wait for again; what it does not wait for, others go on to use.
//!
//! The rate falls by a factor at each 429, at most once a second, and grows back by small steps
//! with each success, never over what is configured.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::target::call::{Call, CallClass, Turn};
use crate::target::layers::allowance::Allowance;
use crate::target::layers::meter::{Meter, Pace};
use crate::target::layers::transit::{Kind, Transit};
use crate::target::profile::{Cost, Scope, Window};
use crate::target::rate_headers::Told;

/// One limit of a target: which calls it counts, what they cost, how fast they may follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Which calls it counts.
    pub scope: Scope,
    /// What they cost.
    pub cost: Cost,
    /// How fast.
    pub pace: Pace,
}

impl Bucket {
    /// Whether nothing that passes here is more than a window allows.
    pub fn keeps(&self, window: &Window) -> bool {
        let counts = self.scope == window.scope || self.scope.counts_every(None);
        counts && self.cost == window.cost && self.pace.most(window.per) <= f64::from(window.limit.get())
    }
}

/// What a call takes, and in which turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// From each bucket, in their order; `None` where it is not counted.
    costs: Arc<[Option<NonZeroU32>]>,
    turn: Turn,
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
/// As many calls wait for buckets of their own, and all others go on past them; with more, callers
/// that do not know their call yet wait as well.
const APART_MAX: usize = 2;
/// A call counts for no longer than this because its answer was late: vendors that take as long for some
/// calls as for many others should not halve their own rate.
const LATE_MAX: Duration = Duration::from_secs(1);
/// The time of a limiter starts with so much behind it, which holds what was spent before it was made, in
/// the longest window.
const BEFORE: Duration = Duration::from_hours(25);
/// When to ask again if only an event can help.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// For how many seconds it is known how many operations were begun.
const COUNTED_SECONDS: u64 = 60;
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
    buckets: Vec<(Scope, Cost)>,
    core: Mutex<Core>,
    /// Tells the heads of the lines that a permit was given back, or the rate has risen.
    freed: Notify,
    /// One line for each set of buckets that callers draw on together. Whoever waits apart is not
    /// behind one that gives way to it.
    lines: Mutex<Lines>,
}

/// By turn, what their callers know, and the buckets that they draw on.
type Lines = BTreeMap<(Turn, Knows, Vec<bool>), Arc<Semaphore>>;

struct Core {
    /// In the order of the buckets.
    meters: Vec<Meter>,
    factor: f64,
    cut_at: Option<Instant>,
    holds: Vec<Hold>,
    /// What those wait for that go first.
    first: Vec<(u64, Demand)>,
    /// Calls that wait for buckets of their own.
    apart: usize,
    /// Calls that are not answered yet.
    under_way: u64,
    /// Seconds in which calls were begun, and how many operations were in them.
    begun: VecDeque<(u64, u64)>,
    allowance: Allowance,
    transit: Transit,
    last_id: u64,
}

#[derive(Clone)]
struct Hold {
    id: u64,
    demand: Demand,
    lapses_at: Instant,
}

/// What a caller knows that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Knows {
    /// What any call of its class takes.
    Least,
    /// Its call.
    Call,
}

/// Leave to make one call. Not to be kept: it lapses when others wait.
pub struct Permit {
    limiter: Limiter,
    demand: Demand,
    id: u64,
}

/// The place of one that goes first and waits, until it is dropped.
struct FirstPlace {
    limiter: Limiter,
    id: u64,
}

/// A call that is not answered yet, until it is dropped.
pub struct UnderWay(Limiter);

/// A call that waits for buckets of its own, until it is dropped.
pub struct Apart(Limiter);

impl Demand {
    /// The same in this turn.
    #[must_use]
    pub fn in_turn(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }
}

impl Limiter {
    /// A limiter that has spent its bursts and nothing else.
    pub fn new(buckets: &[Bucket]) -> Self {
        let meters = buckets.iter().map(|bucket| Meter::new(bucket.pace, BEFORE)).collect();
        let core = Core {
            meters,
            factor: 1.0,
            cut_at: None,
            holds: Vec::new(),
            first: Vec::new(),
            apart: 0,
            under_way: 0,
            begun: VecDeque::new(),
            allowance: Allowance::default(),
            transit: Transit::default(),
            last_id: 0,
        };
        Self {
            shared: Arc::new(Shared {
                anchor: Instant::now(),
                buckets: buckets.iter().map(|bucket| (bucket.scope.clone(), bucket.cost)).collect(),
                core: Mutex::new(core),
                freed: Notify::new(),
                lines: Mutex::default(),
            }),
        }
    }

    /// What a call of `class`, or of any class when it is not known yet, takes at least.
    pub fn at_least(&self, class: Option<CallClass>) -> Demand {
        self.draw(|scope, _| scope.counts_every(class).then_some(NonZeroU32::MIN))
    }

    /// What a call takes.
    pub fn demand(&self, call: &Call) -> Demand {
        let demand = self.draw(|scope, cost| NonZeroU32::new(cost.of(call)).filter(|_| scope.counts(call)));
        demand.in_turn(call.turn)
    }

    fn draw(&self, units: impl Fn(&Scope, Cost) -> Option<NonZeroU32>) -> Demand {
        let costs = self.shared.buckets.iter().map(|(scope, cost)| units(scope, *cost)).collect();
        Demand { costs, turn: Turn::Usual }
    }

    /// Waits for leave to take `demand`, before the call is known. Gives way while several calls wait
    /// for buckets of their own, so that these do not pile up; who goes first does not.
    pub async fn admitted(self, demand: Demand) -> Permit {
        self.wait_for(demand, Knows::Least).await
    }

    /// Waits for leave to make a call that is known.
    pub async fn admitted_apart(self, demand: Demand, _apart: &Apart) -> Permit {
        self.wait_for(demand, Knows::Call).await
    }

    async fn wait_for(self, demand: Demand, knows: Knows) -> Permit {
        let _place = (demand.turn == Turn::First).then(|| self.first_place(&demand));
        let line = self.line(&demand, knows);
        let _first = line.acquire().await.expect("no line is ever closed");
        loop {
            let mut freed = std::pin::pin!(self.shared.freed.notified());
            freed.as_mut().enable();
            let until = match self.try_hold(&demand, knows) {
                Ok(id) => return Permit { limiter: self.clone(), demand, id },
                Err(until) => until,
            };
            tokio::select! { () = tokio::time::sleep_until(until) => {}, () = freed => {} }
        }
    }

    /// A known call goes and waits for what its buckets lack.
    pub fn wait_apart(&self) -> Apart {
        self.core().apart += 1;
        Apart(self.clone())
    }

    /// Accounts a call, and tells when it is to go out.
    pub fn account(&self, demand: &Demand) -> Instant {
        let now = self.elapsed(Instant::now());
        let mut core = self.core();
        let at = core.earliest(demand, now);
        core.spend(demand, at, now);
        self.instant(at)
    }

    /// A call of so many operations is under way, until what this answers is dropped.
    pub fn begin(&self, operations: u32) -> UnderWay {
        let now = self.elapsed(Instant::now());
        let mut core = self.core();
        core.under_way += 1;
        match core.begun.back_mut() {
            Some((second, begun)) if *second == now.as_secs() => *begun += u64::from(operations),
            Some(_) | None => core.begun.push_back((now.as_secs(), operations.into())),
        }
        let kept_since = now.as_secs().saturating_sub(COUNTED_SECONDS);
        while core.begun.front().is_some_and(|(second, _)| *second < kept_since) {
            core.begun.pop_front();
        }
        UnderWay(self.clone())
    }

    /// Operations that were begun in the last so much time, at most a minute, to whole seconds.
    pub fn operations_within(&self, time: Duration) -> u64 {
        let since = self.elapsed(Instant::now()).saturating_sub(time).as_secs();
        let core = self.core();
        core.begun.iter().filter(|(second, _)| *second >= since).map(|(_, operations)| operations).sum()
    }

    /// An answer has come to a call that was to go out at `at` and was sent at `sent`. Until then it may
    /// have been on its way, so where the answer is late, the call counts for longer.
    pub fn answered(&self, kind: Kind, demand: &Demand, at: Instant, sent: Instant) {
        let now = Instant::now();
        let mut core = self.core();
        let late = core.transit.late(kind, now.saturating_duration_since(sent));
        let late = (late + sent.saturating_duration_since(at)).min(LATE_MAX);
        let at = self.elapsed(at);
        if late > Duration::ZERO {
            core.put_off(demand, at, late);
        }
    }

    /// Takes in what the answer to a call that was sent at `sent` tells of the vendor's count.
    pub fn hear(&self, told: Told, sent: Instant) {
        let now = self.elapsed(Instant::now());
        let mut core = self.core();
        let (rate, under_way) = (self.rate(&core), core.under_way);
        core.allowance.hear(told, self.elapsed(sent), under_way, rate, now);
        drop(core);
        // Who sleeps until the count starts anew may go earlier when it is told that more is left.
        self.shared.freed.notify_waiters();
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
        for meter in &mut core.meters {
            meter.take_over(now);
        }
    }

    /// A call that the vendor took.
    pub fn speed_up(&self) {
        let mut core = self.core();
        if core.factor >= 1.0 {
            return;
        }
        let Some(rate) = self.rate(&core) else { return };
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
        let rate = self.rate(&core);
        LimiterSnapshot {
            factor: core.factor,
            rate_per_second: rate,
            configured_rate_per_second: rate.map(|rate| rate / core.factor),
        }
    }

    /// Takes a permit, or tells when to ask again.
    fn try_hold(&self, demand: &Demand, knows: Knows) -> Result<u64, Instant> {
        let now = Instant::now();
        let mut core = self.core();
        let gives_way = demand.turn == Turn::Usual && knows == Knows::Least;
        if gives_way && core.apart >= APART_MAX {
            return Err(now + LOOK_AGAIN);
        }
        core.holds.retain(|hold| now < hold.lapses_at);
        let hold = Hold { id: core.last_id + 1, demand: demand.clone(), lapses_at: now + HOLD_MAX };
        if core.delays_first(&hold, self.elapsed(now)) {
            return Err(now + LOOK_AGAIN);
        }
        let earliest = self.instant(core.earliest_after_holds(demand, self.elapsed(now)));
        if earliest > now + LEAD {
            // A hold that lapses may make room before that.
            let lapse = core.holds.iter().map(|hold| hold.lapses_at).min();
            return Err(lapse.map_or(earliest - LEAD, |lapse| lapse.min(earliest - LEAD)));
        }
        core.last_id += 1;
        core.holds.push(hold);
        Ok(core.last_id)
    }

    fn first_place(&self, demand: &Demand) -> FirstPlace {
        let mut core = self.core();
        core.last_id += 1;
        let id = core.last_id;
        core.first.push((id, demand.clone()));
        FirstPlace { limiter: self.clone(), id }
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

    /// The slowest rate that applies to every call.
    fn rate(&self, core: &Core) -> Option<f64> {
        let common =
            self.shared.buckets.iter().zip(&core.meters).filter(|((scope, _), _)| scope.counts_every(None));
        common.map(|(_, meter)| meter.rate()).min_by(f64::total_cmp)
    }

    /// The line of all that draw on the same buckets. There are as many as kinds of call.
    fn line(&self, demand: &Demand, knows: Knows) -> Arc<Semaphore> {
        let drawn = (demand.turn, knows, demand.costs.iter().map(Option::is_some).collect());
        let mut lines = self.shared.lines.lock().expect("nothing panics while it holds the lines");
        Arc::clone(lines.entry(drawn).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    fn elapsed(&self, now: Instant) -> Duration {
        BEFORE + now.saturating_duration_since(self.shared.anchor)
    }

    fn instant(&self, at: Duration) -> Instant {
        self.shared.anchor + at.saturating_sub(BEFORE)
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
        core.holds.iter().any(|hold| hold.id == self.id) && core.earliest(&self.demand, now) <= now + LEAD
    }

    /// Accounts a call that takes `demand`, and tells when it may go out: now or in a moment. `None`
    /// when it may not, because the permit has lapsed and others went, because the call takes more than
    /// the permit is for, or because that much is another's who goes first.
    pub fn spend(self, demand: &Demand) -> Option<Instant> {
        let now = self.limiter.elapsed(Instant::now());
        let mut core = self.limiter.core();
        let at = core.earliest(demand, now);
        let hold = Hold { id: self.id, demand: demand.clone(), lapses_at: Instant::now() };
        if at > now + LEAD || core.delays_first(&hold, now) {
            return None;
        }
        core.spend(demand, at, now);
        Some(self.limiter.instant(at))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.release(self.id);
    }
}

impl Drop for FirstPlace {
    fn drop(&mut self) {
        self.limiter.core().first.retain(|(id, _)| *id != self.id);
        self.limiter.shared.freed.notify_waiters();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.core().under_way -= 1;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.core().apart -= 1;
        self.0.shared.freed.notify_waiters();
    }
}

impl Core {
    fn earliest(&self, demand: &Demand, now: Duration) -> Duration {
        let drawn = self.meters.iter().zip(demand.costs.iter());
        let paced = drawn.filter_map(|(meter, cost)| Some(meter.earliest((*cost)?, now))).max();
        paced.unwrap_or(now).max(self.allowance.earliest(0, now))
    }

    /// The earliest moment after those that hold permits have called.
    fn earliest_after_holds(&self, demand: &Demand, now: Duration) -> Duration {
        let held = |index: usize| {
            self.holds.iter().filter_map(|hold| hold.demand.costs[index]).map(NonZeroU32::get).sum()
        };
        let drawn = self.meters.iter().zip(demand.costs.iter()).enumerate();
        let paced = drawn
            .filter_map(|(index, (meter, cost))| Some(meter.earliest_after(held(index), (*cost)?, now)))
            .max();
        paced.unwrap_or(now).max(self.allowance.earliest(self.holds.len(), now))
    }

    /// Whether somebody who goes first would wait longer if this were held, in place of what is held
    /// under the same id.
    fn delays_first(&mut self, hold: &Hold, now: Duration) -> bool {
        if hold.demand.turn == Turn::First || self.first.is_empty() {
            return false;
        }
        let before = self.first_goes_at(now);
        let mut holds: Vec<Hold> = self.holds.iter().filter(|held| held.id != hold.id).cloned().collect();
        holds.push(hold.clone());
        let holds = std::mem::replace(&mut self.holds, holds);
        let after = self.first_goes_at(now);
        self.holds = holds;
        before.iter().zip(after).any(|(before, after)| *before < after)
    }

    fn first_goes_at(&self, now: Duration) -> Vec<Duration> {
        self.first.iter().map(|(_, demand)| self.earliest_after_holds(demand, now)).collect()
    }

    fn spend(&mut self, demand: &Demand, at: Duration, now: Duration) {
        self.allowance.spend(at);
        for (meter, cost) in self.meters.iter_mut().zip(demand.costs.iter()) {
            if let Some(cost) = cost {
                meter.forget(now);
                meter.spend(*cost, at);
            }
        }
    }

    fn put_off(&mut self, demand: &Demand, at: Duration, late: Duration) {
        for (meter, cost) in self.meters.iter_mut().zip(demand.costs.iter()) {
            if let Some(cost) = cost {
                meter.put_off(*cost, at, late);
            }
        }
    }

    fn retune(&mut self, factor: f64, now: Duration) {
        self.factor = factor.clamp(FACTOR_MIN, 1.0);
        for meter in &mut self.meters {
            meter.retune(self.factor, now);
        }
    }
}

#[cfg(test)]
mod tests;

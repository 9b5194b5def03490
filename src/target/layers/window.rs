//! What a window has spent, exactly: no stretch of its length ever holds more than its limit.
//!
//! The [meter](super::meter) spreads calls; alone it keeps a window only where its burst is small
//! against the limit and every call costs the same. Where not, this stands behind it.

use std::collections::VecDeque;
use std::time::Duration;

/// Spends that lie within this share of the window are kept as one, as if all were made at the last
/// moment of them, so that the memory does not grow with the limit.
const GRAINS: u32 = 256;

/// The spends of one window. Time is given as the time since some fixed moment.
#[derive(Clone, Debug)]
pub struct Sliding {
    limit: u64,
    per: Duration,
    /// Oldest first.
    spent: VecDeque<Spent>,
}

#[derive(Clone, Copy, Debug)]
struct Spent {
    first: Duration,
    last: Duration,
    units: u64,
}

impl Sliding {
    /// Nothing spent yet.
    pub fn new(limit: u32, per: Duration) -> Self {
        Self { limit: u64::from(limit), per, spent: VecDeque::new() }
    }

    /// The first moment from `now` on at which `units` more have room after `others`, which are yet to
    /// be spent. More than the limit counts as the limit: the whole window then has to be empty.
    pub fn earliest(&self, others: u32, units: u32, now: Duration) -> Duration {
        let units = u64::from(units).min(self.limit) + u64::from(others);
        if units > self.limit {
            return now + self.per;
        }
        let within = || self.spent.iter().filter(|spent| spent.last + self.per >= now);
        let used: u64 = within().map(|spent| spent.units).sum();
        let mut over = (used + units).saturating_sub(self.limit);
        let mut earliest = now;
        for spent in within() {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(spent.units);
            // Both ends of a stretch count.
            earliest = earliest.max(spent.last + self.per + Duration::from_nanos(1));
        }
        earliest
    }

    /// `units` are spent at `at`.
    pub fn spend(&mut self, units: u32, at: Duration) {
        while self.spent.front().is_some_and(|spent| spent.last + self.per < at) {
            self.spent.pop_front();
        }
        let grain = self.per / GRAINS;
        match self.spent.back_mut() {
            Some(spent) if at <= spent.first + grain => {
                spent.last = spent.last.max(at);
                spent.units = spent.units.saturating_add(units.into());
            }
            Some(_) | None => self.spent.push_back(Spent { first: at, last: at, units: units.into() }),
        }
    }

    /// As if somebody had spent as much as can be until `now`: `burst` at once, and before that one
    /// every `period`.
    pub fn take_over(&mut self, burst: u32, period: Duration, now: Duration) {
        self.spent.clear();
        let mut left = self.limit;
        let mut history = VecDeque::new();
        let mut put = |at: Duration, units: u64| {
            let units = units.min(left);
            left -= units;
            history.push_front(Spent { first: at, last: at, units });
            left > 0
        };
        let mut going_on = put(now, u64::from(burst));
        let (grain, mut back) = (self.per / GRAINS, Duration::ZERO);
        while going_on && back <= self.per {
            // What was spent in one grain, as if all of it at the grain's end.
            let units = (back + grain).as_nanos() / period.as_nanos().max(1)
                - back.as_nanos() / period.as_nanos().max(1);
            going_on = put(now.saturating_sub(back), u64::try_from(units).unwrap_or(u64::MAX));
            back += grain.max(Duration::from_nanos(1));
        }
        self.spent = history;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn room_comes_back_when_what_was_spent_leaves_the_window() {
        let mut window = Sliding::new(10, MINUTE);
        window.spend(6, at(0));
        window.spend(4, at(30));
        assert_eq!(window.earliest(0, 1, at(30)), at(60) + Duration::from_nanos(1));
        assert_eq!(window.earliest(0, 6, at(30)), at(60) + Duration::from_nanos(1));
        assert_eq!(window.earliest(0, 7, at(30)), at(90) + Duration::from_nanos(1));
        assert_eq!(window.earliest(0, 7, at(91)), at(91));
    }

    #[test]
    fn more_than_the_limit_waits_for_an_empty_window_and_not_for_ever() {
        let mut window = Sliding::new(10, MINUTE);
        assert_eq!(window.earliest(0, 11, at(5)), at(5));
        window.spend(11, at(5));
        assert_eq!(window.earliest(0, 1, at(6)), at(65) + Duration::from_nanos(1));
    }

    #[test]
    fn memory_is_bounded_whatever_the_limit() {
        let mut window = Sliding::new(1_000_000, at(1));
        for micros in 0..1_000_000 {
            window.spend(1, Duration::from_micros(micros));
        }
        assert!(window.spent.len() <= GRAINS as usize + 2, "{}", window.spent.len());
        assert!(window.earliest(0, 1, at(1)) + Duration::from_millis(1) > at(1));
    }
}

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
        self.add(units.into(), at);
    }

    /// Forgets what has left the window by `now`, which is not to be the moment of a spend that lies
    /// ahead: somebody else may spend before that.
    pub fn forget(&mut self, now: Duration) {
        while self.spent.front().is_some_and(|spent| spent.last + self.per < now) {
            self.spent.pop_front();
        }
    }

    /// What was spent at `at` has reached the vendor only `late` after that, and counts from then on.
    pub fn put_off(&mut self, units: u32, at: Duration, late: Duration) {
        let index = self.spent.partition_point(|spent| spent.last < at);
        let mut units = u64::from(units);
        if let Some(spent) = self.spent.get_mut(index).filter(|spent| spent.first <= at) {
            units = units.min(spent.units);
            spent.units -= units;
            if spent.units == 0 {
                self.spent.remove(index);
            }
        }
        self.add(units, at + late);
    }

    /// Kept with what is before or after where no grain becomes too long, as if it were no earlier.
    fn add(&mut self, units: u64, at: Duration) {
        let grain = self.per / GRAINS;
        let index = self.spent.partition_point(|spent| spent.first <= at);
        if let Some(before) = index.checked_sub(1).and_then(|index| self.spent.get_mut(index))
            && at <= before.first + grain
        {
            before.last = before.last.max(at);
            before.units = before.units.saturating_add(units);
        } else if let Some(after) = self.spent.get_mut(index).filter(|after| after.last <= at + grain) {
            after.first = at;
            after.units = after.units.saturating_add(units);
        } else {
            self.spent.insert(index, Spent { first: at, last: at, units });
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
    fn what_is_spent_ahead_hides_nothing_from_who_spends_before() {
        let mut window = Sliding::new(10, MINUTE);
        window.spend(7, at(0));
        window.spend(3, at(30));
        let now = Duration::from_millis(59_990);
        let ahead = window.earliest(0, 5, now);
        window.forget(now);
        window.spend(5, ahead);
        assert_eq!(window.earliest(0, 1, now), at(60) + Duration::from_nanos(1));
        window.forget(at(61));
        assert_eq!(window.spent.len(), 2);
    }

    #[test]
    fn what_came_late_counts_from_when_it_came() {
        let mut window = Sliding::new(10, MINUTE);
        window.spend(6, at(0));
        window.spend(4, at(30));
        window.put_off(2, at(0), at(7));
        assert_eq!(window.earliest(0, 4, at(31)), at(60) + Duration::from_nanos(1));
        assert_eq!(window.earliest(0, 5, at(31)), at(67) + Duration::from_nanos(1));
        window.put_off(4, at(0), at(40));
        assert_eq!(window.earliest(0, 2, at(41)), at(67) + Duration::from_nanos(1));
        assert_eq!(window.earliest(0, 3, at(41)), at(90) + Duration::from_nanos(1));
        // What has left the window meanwhile is back in it.
        window.spend(1, at(200));
        window.put_off(1, at(100), at(90));
        assert_eq!(window.earliest(0, 9, at(201)), at(250) + Duration::from_nanos(1));
    }

    #[test]
    fn who_takes_over_has_spent_all_that_the_one_before_may_have() {
        let mut window = Sliding::new(10, MINUTE);
        window.spend(1, at(99));
        // Four at once just now, and the six before them one in six seconds.
        window.take_over(4, at(6), at(100));
        let oldest = window.earliest(0, 1, at(100));
        assert!((at(123)..=at(125)).contains(&oldest), "{oldest:?}");
        let all_but_the_burst = window.earliest(0, 6, at(100));
        assert!((at(153)..=at(155)).contains(&all_but_the_burst), "{all_but_the_burst:?}");
        assert_eq!(window.earliest(0, 7, at(100)), at(160) + Duration::from_nanos(1));
        assert_eq!(window.earliest(0, 10, at(161)), at(161), "and nothing besides");
    }

    #[test]
    fn memory_is_bounded_however_late_calls_are() {
        let mut window = Sliding::new(1_000_000, at(1));
        for number in 0..200_000_u64 {
            let now = Duration::from_micros(number * 5);
            window.spend(1, now);
            window.put_off(1, now, Duration::from_micros(number * 7_919 % 100_003));
        }
        assert!(window.spent.len() <= 2 * GRAINS as usize + 60, "{}", window.spent.len());
        assert_eq!(window.spent.iter().map(|spent| spent.units).sum::<u64>(), 200_000);
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

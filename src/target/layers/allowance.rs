//! What the vendor says that is left, and until when: it bounds what the buckets give out.
//!
//! Where the pace would use it up before the count starts anew, what is left is spread over the time,
//! so that something is left for whatever turns up that is urgent.

use std::time::Duration;

use crate::target::rate_headers::Told;

/// Over a shorter time nothing is spread: vendors round to a second.
const SPREAD_MIN: Duration = Duration::from_secs(1);

/// What is left of what the vendor has told last. Time is given as the time since some fixed moment.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    known: Option<Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// When the call was sent whose answer told it.
    sent: Duration,
    left: u64,
    until: Duration,
    /// No call before this.
    next: Duration,
    spread: bool,
}

impl Allowance {
    /// Takes in what an answer told at `now` to a call that was sent at `sent`, while `under_way` others
    /// were not answered yet: perhaps the vendor has not counted them. `rate` is the pace in calls a
    /// second. The answer to the call that was sent last is believed.
    pub fn hear(&mut self, told: Told, sent: Duration, under_way: u64, rate: Option<f64>, now: Duration) {
        if self.known.is_some_and(|known| known.sent > sent) {
            return;
        }
        let left = told.left.saturating_sub(under_way);
        let until = now + told.resets_in;
        let dry = rate.is_none_or(|rate| rate * told.resets_in.as_secs_f64() > as_f64(left));
        let spread = dry && told.resets_in > SPREAD_MIN;
        let mut known = Known { sent, left, until, next: now, spread };
        if let Some(last) = self.known.filter(|_| spread) {
            // The call before was made at its moment; the next one keeps its distance from it.
            known.next = last.next.min(now + known.distance(now)).max(now);
        }
        self.known = Some(known);
    }

    /// The first moment from `now` on at which one more call is allowed after `others`.
    pub fn earliest(&self, others: usize, now: Duration) -> Duration {
        let Some(known) = self.known.filter(|known| now < known.until) else { return now };
        let others = u64::try_from(others).unwrap_or(u64::MAX);
        if known.left <= others {
            return known.until;
        }
        let distance = known.distance(now).saturating_mul(u32::try_from(others).unwrap_or(u32::MAX));
        (known.next.max(now) + distance).min(known.until)
    }

    /// A call goes out at `at`.
    pub fn spend(&mut self, at: Duration) {
        if let Some(known) = self.known.as_mut().filter(|known| at < known.until) {
            known.next = at.max(known.next) + known.distance(at);
            known.left = known.left.saturating_sub(1);
        }
    }
}

impl Known {
    /// Between two calls, if those that are left last until the count starts anew.
    fn distance(&self, now: Duration) -> Duration {
        if !self.spread || self.left == 0 {
            return Duration::ZERO;
        }
        self.until.saturating_sub(now) / u32::try_from(self.left).unwrap_or(u32::MAX)
    }
}

#[expect(clippy::cast_precision_loss, reason = "compared with a rate, which is no more exact")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn told(left: u64, seconds: u64) -> Told {
        Told { left, resets_in: at(seconds) }
    }

    /// The moments at which calls go out that are made as early as may be, from second 0 to 100.
    fn calls(allowance: &mut Allowance, from: Duration) -> Vec<u64> {
        let mut now = from;
        let mut calls = Vec::new();
        loop {
            now = allowance.earliest(0, now);
            if now >= at(100) || calls.len() > 50 {
                return calls;
            }
            allowance.spend(now);
            calls.push(now.as_secs());
        }
    }

    #[test]
    fn no_more_goes_out_than_is_left_and_it_is_spread_where_the_pace_would_use_it_up() {
        let mut allowance = Allowance::default();
        allowance.hear(told(5, 60), at(0), 0, Some(10.0), at(0));
        let within: Vec<u64> =
            calls(&mut allowance, at(0)).into_iter().filter(|second| *second < 60).collect();
        assert_eq!(within, [0, 12, 24, 36, 48]);
        let mut slow = Allowance::default();
        slow.hear(told(5, 60), at(0), 0, Some(0.05), at(0));
        assert_eq!(slow.earliest(0, at(0)), at(0));
        slow.spend(at(0));
        assert_eq!(slow.earliest(0, at(0)), at(0), "the pace itself is slower");
    }

    #[test]
    fn calls_under_way_and_permits_count() {
        let mut allowance = Allowance::default();
        allowance.hear(told(4, 60), at(0), 3, None, at(0));
        assert_eq!(allowance.earliest(0, at(1)), at(1));
        assert_eq!(allowance.earliest(1, at(1)), at(60));
        allowance.hear(told(2, 60), at(1), 3, None, at(1));
        assert_eq!(allowance.earliest(0, at(2)), at(61));
        assert_eq!(allowance.earliest(0, at(61)), at(61), "the count has started anew");
    }

    #[test]
    fn an_answer_to_an_earlier_call_is_old_news() {
        let mut allowance = Allowance::default();
        allowance.hear(told(0, 60), at(5), 0, None, at(6));
        allowance.hear(told(100, 60), at(4), 0, None, at(7));
        assert_eq!(allowance.earliest(0, at(8)), at(66));
        allowance.hear(told(100, 60), at(6), 0, None, at(9));
        assert_eq!(allowance.earliest(0, at(9)), at(9));
    }
}

use proptest::prelude::*;

use super::*;

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn whole(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn window(limit: u32, per: Duration) -> Pace {
    Pace::window(whole(limit), per, whole((limit / 64).max(1)))
}

/// The most calls in any stretch of `length`, both ends included.
pub(in crate::target::layers) fn busiest(calls: &[Duration], length: Duration) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, at) in calls.iter().enumerate() {
        while at.abs_diff(calls[first]) > length {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[test]
fn a_new_meter_has_room_for_one_call_and_not_for_a_burst() {
    let now = Duration::from_secs(5);
    let mut meter = Meter::new(Pace::per_second(10.0, whole(20)), now);
    assert_eq!(meter.earliest(ONE, now), now);
    meter.spend(ONE, now);
    assert!(meter.earliest(ONE, now) > now);
    assert_eq!(meter.earliest_after(0, ONE, now), meter.earliest(ONE, now));
}

#[test]
fn a_burst_is_there_after_a_quiet_time() {
    let mut meter = Meter::new(Pace::per_second(10.0, whole(20)), Duration::ZERO);
    let now = Duration::from_mins(1);
    for _ in 0..20 {
        assert_eq!(meter.earliest(ONE, now), now);
        meter.spend(ONE, now);
    }
    assert!(meter.earliest(ONE, now) > now);
    assert!(meter.earliest_after(3, ONE, now) > meter.earliest(ONE, now));
}

#[test]
fn asking_spends_nothing() {
    let meter = Meter::new(Pace::per_second(1.0, whole(1)), Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(meter.earliest(ONE, Duration::ZERO), Duration::ZERO);
        assert!(meter.earliest_after(2, ONE, Duration::ZERO) > Duration::from_secs(2));
    }
}

#[test]
fn what_was_spent_stays_spent_when_the_rate_changes() {
    let mut meter = Meter::new(Pace::per_second(10.0, whole(10)), Duration::ZERO);
    let now = Duration::from_mins(1);
    for _ in 0..10 {
        meter.spend(ONE, now);
    }
    meter.retune(0.1, now);
    assert!(meter.earliest(ONE, now) > now + Duration::from_millis(999), "one call takes ten times as long");
    meter.retune(1.0, now);
    let wait = meter.earliest(ONE, now).abs_diff(now);
    assert!((wait.as_secs_f64() - 0.103).abs() < 0.001, "{wait:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Calls(usize),
    Retune(f64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u64..5_000).prop_map(Step::Wait),
        (1_usize..40).prop_map(Step::Calls),
        (0.02_f64..=1.0).prop_map(Step::Retune),
    ];
    prop::collection::vec(step, 1..60)
}

/// Calls as early as it may, from `now` on. Answers when it called last, or stopped waiting.
fn play(meter: &mut Meter, steps: &[Step], mut now: Duration, until: Duration, calls: &mut Vec<Duration>) {
    for step in steps {
        match step {
            Step::Wait(millis) => now += Duration::from_millis(*millis),
            Step::Retune(factor) => meter.retune(*factor, now.min(until)),
            Step::Calls(number) => {
                for _ in 0..*number {
                    now = meter.earliest(ONE, now);
                    if now > until {
                        return;
                    }
                    meter.spend(ONE, now);
                    calls.push(now);
                }
            }
        }
    }
}

/// One meter is used until `taken_over`, and another, long at rest, from then on.
fn both(pace: Pace, before: &[Step], after: &[Step], factor: f64, taken_over: Duration) -> Vec<Duration> {
    let (mut old, mut new) = (Meter::new(pace, Duration::ZERO), Meter::new(pace, Duration::ZERO));
    let mut calls = Vec::new();
    play(&mut old, before, Duration::ZERO, taken_over, &mut calls);
    new.retune(factor, taken_over);
    new.take_over(taken_over);
    let earlier = calls.len();
    play(&mut new, after, taken_over, Duration::MAX, &mut calls);
    if let Some(first) = calls.get(earlier) {
        let waited = first.abs_diff(taken_over) + Duration::from_micros(1);
        assert!(waited >= pace.period, "a full period after the take-over, whatever was spent: {waited:?}");
    }
    calls
}

#[test]
fn who_takes_over_starts_one_period_later_and_without_a_burst() {
    for (rate, burst, factor, period) in
        [(10.0, 20, 1.0, 0.103), (10.0, 1, 1.0, 0.103), (10.0, 20, 0.1, 1.03)]
    {
        let mut meter = Meter::new(Pace::per_second(rate, whole(burst)), Duration::ZERO);
        let now = Duration::from_hours(1);
        meter.retune(factor, now);
        meter.take_over(now);
        for number in 1..4 {
            let at = meter.earliest(ONE, now);
            let expected = now.as_secs_f64() + period * f64::from(number);
            assert!((at.as_secs_f64() - expected).abs() < 0.01 * period, "{number}: {at:?}");
            meter.spend(ONE, at);
        }
    }
}

proptest! {
    /// Whoever calls as early as it may, at whatever rates, stays within the limit in every window.
    #[test]
    fn no_window_ever_holds_more_than_its_limit(limit in 1_u32..400, per in 1_u64..120, steps in steps()) {
        let per = Duration::from_secs(per);
        let mut meter = Meter::new(window(limit, per), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut calls = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Retune(factor) => meter.retune(factor, now),
                Step::Calls(number) => for _ in 0..number {
                    now = meter.earliest(ONE, now);
                    meter.spend(ONE, now);
                    calls.push(now);
                },
            }
        }
        prop_assert!(busiest(&calls, per) <= limit as usize, "{} of {limit}", busiest(&calls, per));
    }

    /// Any stretch of time `t` sees at most `burst + rate × t`.
    #[test]
    fn a_rate_is_kept_over_every_stretch(rate in 0.5_f64..200.0, burst in 1_u32..50, steps in steps()) {
        let mut meter = Meter::new(Pace::per_second(rate, whole(burst)), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut calls = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Retune(factor) => meter.retune(factor, now),
                Step::Calls(number) => for _ in 0..number {
                    now = meter.earliest(ONE, now);
                    meter.spend(ONE, now);
                    calls.push(now);
                },
            }
        }
        for (index, from) in calls.iter().enumerate() {
            for (further, to) in calls[index..].iter().enumerate() {
                let bound = f64::from(burst) + rate * to.abs_diff(*from).as_secs_f64();
                let count = f64::from(u32::try_from(further + 1).unwrap());
                prop_assert!(count <= bound + 1e-6);
            }
        }
    }

    /// Over a take-over at any moment a window holds no more than its limit, be it seconds or hours long.
    #[test]
    fn two_holders_in_turn_keep_every_window(
        limit in 1_u32..400, per in prop_oneof![1_u64..120, Just(7_200)],
        before in steps(), after in steps(), factor in 0.02_f64..=1.0, taken_over in 0_u64..60_000,
    ) {
        let per = Duration::from_secs(per);
        let calls = both(window(limit, per), &before, &after, factor, Duration::from_millis(taken_over));
        prop_assert!(busiest(&calls, per) <= limit as usize, "{} of {limit}", busiest(&calls, per));
    }

    /// Both together keep `burst + rate × t` over any stretch.
    #[test]
    fn two_holders_in_turn_keep_the_rate(
        rate in 0.5_f64..200.0, burst in 1_u32..50,
        before in steps(), after in steps(), factor in 0.02_f64..=1.0, taken_over in 0_u64..60_000,
    ) {
        let calls = both(Pace::per_second(rate, whole(burst)), &before, &after, factor, Duration::from_millis(taken_over));
        for (index, from) in calls.iter().enumerate() {
            for (further, to) in calls[index..].iter().enumerate() {
                let bound = f64::from(burst) + rate * to.abs_diff(*from).as_secs_f64();
                let count = f64::from(u32::try_from(further + 1).unwrap());
                prop_assert!(count <= bound + 1e-6);
            }
        }
    }
}

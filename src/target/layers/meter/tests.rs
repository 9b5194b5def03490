use proptest::prelude::*;

use super::*;

fn whole(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
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
    let meter = Meter::new(Pace::per_second(10.0, whole(20)), now);
    assert_eq!(meter.earliest(now), now);
    meter.spend(now);
    assert!(meter.earliest(now) > now);
    assert_eq!(meter.earliest_after(0, now), meter.earliest(now));
}

#[test]
fn a_burst_is_there_after_a_quiet_time() {
    let meter = Meter::new(Pace::per_second(10.0, whole(20)), Duration::ZERO);
    let now = Duration::from_mins(1);
    for _ in 0..20 {
        assert_eq!(meter.earliest(now), now);
        meter.spend(now);
    }
    assert!(meter.earliest(now) > now);
    assert!(meter.earliest_after(3, now) > meter.earliest(now));
}

#[test]
fn asking_spends_nothing() {
    let meter = Meter::new(Pace::per_second(1.0, whole(1)), Duration::ZERO);
    for _ in 0..3 {
        assert_eq!(meter.earliest(Duration::ZERO), Duration::ZERO);
        assert!(meter.earliest_after(2, Duration::ZERO) > Duration::from_secs(2));
    }
}

#[test]
fn what_was_spent_stays_spent_when_the_rate_changes() {
    let mut meter = Meter::new(Pace::per_second(10.0, whole(10)), Duration::ZERO);
    let now = Duration::from_mins(1);
    for _ in 0..10 {
        meter.spend(now);
    }
    meter.retune(0.1, now);
    assert!(meter.earliest(now) > now + Duration::from_millis(999), "one call takes ten times as long");
    meter.retune(1.0, now);
    let wait = meter.earliest(now).abs_diff(now);
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

proptest! {
    /// Whoever calls as early as it may, at whatever rates, stays within the limit in every window.
    #[test]
    fn no_window_ever_holds_more_than_its_limit(limit in 1_u32..400, per in 1_u64..120, steps in steps()) {
        let per = Duration::from_secs(per);
        let mut meter = Meter::new(Pace::window(whole(limit), per), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut calls = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Retune(factor) => meter.retune(factor, now),
                Step::Calls(number) => for _ in 0..number {
                    now = meter.earliest(now);
                    meter.spend(now);
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
                    now = meter.earliest(now);
                    meter.spend(now);
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
}

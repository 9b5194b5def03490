use crate::store::Store as _;
use crate::sync::policy::Policy;
use crate::sync::stage::{ACME, Stage};
use crate::telemetry::metrics::Metrics;

use super::*;

fn settings(members_per_request: usize) -> Settings {
    Settings {
        target: ACME.to_owned(),
        policy: Policy { members_per_request, ..Policy::default() },
        attempts_max: 20,
        poll_interval: EVERY,
        recheck_after: EVERY,
        bulk: crate::sync::BulkMode::Off,
        discover: false,
        guard: None,
        resync: None,
    }
}

#[test]
fn what_cannot_be_read_is_as_if_it_had_never_been_kept() {
    let nothing = Recollection {
        breaker: None,
        paused_until: None,
        rate_factor: 1.0,
        members_per_request: 100,
        discovery: None,
    };
    for memory in [
        Value::Null,
        json!("words"),
        json!({"breaker": 7, "paused_until": "soon", "rate_factor": "half", "members_per_request": 3, "discovery": {"at": "then"}}),
        json!({"members_per_request": {"value": 5_000}}),
    ] {
        assert_eq!(recollect(&settings(100), &memory), nothing, "{memory}");
    }
    let memory = json!({"paused_until": 7, "rate_factor": 0.5, "members_per_request": {"value": 0}});
    let known = recollect(&settings(100), &memory);
    assert_eq!(known.paused_until, Some(Timestamp::from_micros(7)));
    assert!((known.rate_factor - 0.5).abs() < f64::EPSILON);
    assert_eq!(known.members_per_request, 1);
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_lost_is_written_at_once_and_little_things_soon_or_never() {
    let now = Instant::now();
    let closed = BreakerSnapshot {
        state: crate::target::layers::breaker::BreakerState::Closed,
        last_success: None,
        openings: 0,
    };
    let kept = |pause_ms: u64, rate_factor| Kept {
        breaker: closed.clone(),
        paused_until: Some(now + Duration::from_millis(pause_ms)),
        rate_factor,
    };
    let opened = Kept { breaker: BreakerSnapshot { openings: 1, ..closed.clone() }, ..kept(0, 1.0) };
    let succeeded = Kept {
        breaker: BreakerSnapshot { last_success: Some(Timestamp::from_seconds(1)), ..closed.clone() },
        ..kept(0, 1.0)
    };
    for (before, present, expected) in [
        (kept(0, 1.0), kept(0, 1.0), Urgency::None),
        (kept(0, 1.0), opened, Urgency::Now),
        (kept(0, 1.0), succeeded, Urgency::None),
        (kept(0, 1.0), kept(2_000, 1.0), Urgency::Now),
        (kept(0, 1.0), kept(1_999, 1.0), Urgency::Soon),
        (kept(7_000, 1.0), kept(7_100, 1.0), Urgency::Soon),
        (kept(7_000, 1.0), kept(8_000, 1.0), Urgency::Now),
        (kept(7_000, 1.0), kept(7_000, 1.0), Urgency::None),
        (kept(0, 1.0), kept(0, 0.7), Urgency::Soon),
        (kept(0, 0.7), kept(0, 0.74), Urgency::None),
        (kept(0, 0.7), kept(0, 0.75), Urgency::Soon),
        (kept(0, 0.99), kept(0, 1.0), Urgency::Soon),
    ] {
        assert_eq!(urgency(&before, &present, now), expected, "{before:?} {present:?}");
    }
}

/// A vendor that throttles all the time does not make the store write all the time.
#[tokio::test(start_paused = true)]
async fn a_stream_of_changes_is_written_once_a_second() {
    let stage = Stage::new(&[ACME], 20.0).await;
    let store = stage.world.view();
    let handle = stage.handle(ACME, "one", store.clone(), &Metrics::new());
    let mut memory = Memory::take_up(Arc::clone(handle.shared()), Value::Null).await;
    let health = handle.target().health().clone();
    let mut writes = 0;
    let mut last = Value::Null;
    let changing = async {
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            health.gate.pause_until(Instant::now() + Duration::from_millis(500));
            let stored = store.target(ACME).await.unwrap().unwrap().memory;
            writes += usize::from(stored != last);
            last = stored;
        }
    };
    tokio::select! { never = memory.keep() => match never {}, () = changing => {} }
    assert!((8..=11).contains(&writes), "{writes} writes in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_target_up_again_loosens_nothing_that_it_knows() {
    let stage = Stage::new(&[ACME], 20.0).await;
    let handle = stage.handle(ACME, "one", stage.world.view(), &Metrics::new());
    let health = handle.target().health().clone();
    let now = Instant::now();
    health.limiter.take_over(0.5);
    health.gate.pause_until(now + Duration::from_mins(1));
    let paused_until = stage.clock.now().after(Duration::from_secs(30));
    let stored = json!({"paused_until": paused_until, "rate_factor": 0.8});
    Memory::take_up(Arc::clone(handle.shared()), stored).await;
    assert!((health.limiter.snapshot().factor - 0.5).abs() < f64::EPSILON);
    assert_eq!(health.gate.snapshot().paused_until, Some(now + Duration::from_mins(1)));

    let paused_until = stage.clock.now().after(Duration::from_secs(90));
    let stored = json!({"paused_until": paused_until, "rate_factor": 0.1});
    Memory::take_up(Arc::clone(handle.shared()), stored).await;
    assert!((health.limiter.snapshot().factor - 0.1).abs() < f64::EPSILON);
    assert_eq!(health.gate.snapshot().paused_until, Some(now + Duration::from_secs(90)));
}

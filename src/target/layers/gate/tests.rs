use tower_test::mock::Spawn;

use super::*;
use crate::clock::{Timestamp, TokioClock};
use crate::target::layers::testing::{Scripted, answer, answer_with, by_hand, call, go};

/// Sun, 06 Nov 1994 08:49:30 GMT
const START: Timestamp = Timestamp::from_seconds(784_111_770);

fn gate_for(limits: &Limits) -> Gate {
    Gate::new(GateSettings::new(limits, 7), Arc::new(TokioClock::starting_at(START)), FloatCounter::default())
}

fn gate() -> Gate {
    gate_for(&Limits::default())
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Tokio's timers are exact to a millisecond, and never early.
fn assert_waited(waited: Duration, least: Duration) {
    assert!(least <= waited && waited <= least + Duration::from_millis(2), "{waited:?}, not {least:?}");
}

/// The wait that a call meets after this answer.
async fn wait_after(limits: &Limits, given: Answer) -> Duration {
    let mut service = GateLayer::new(gate_for(limits)).layer(Scripted::new([Ok(given)]));
    go(&mut service).await.1.unwrap();
    go(&mut service).await.0
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_to_the_second_and_capped() {
    let limits = Limits { retry_after_cap: seconds(600.0), ..Limits::default() };
    for (status, value, wait) in [
        (429, "7", 7.0),
        (503, "7", 7.0),
        (429, "0", 0.0),
        (429, "Sun, 06 Nov 1994 08:49:37 GMT", 7.0),
        (429, "Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        (429, "86400", 600.0),
        (429, "99999999999999999999999999", 600.0),
        (429, "Sat, 06 Nov 2094 08:49:37 GMT", 600.0),
        (500, "7", 0.0),
        (200, "7", 0.0),
    ] {
        let waited = wait_after(&limits, answer_with(status, &[("retry-after", value)])).await;
        assert_waited(waited, seconds(wait));
    }
}

#[tokio::test(start_paused = true)]
async fn one_pause_holds_every_clone_and_a_permit_held_before_it() {
    let gate = gate();
    let (vendor, mut handle) = by_hand();
    let layer = GateLayer::new(gate.clone());
    let mut held = Spawn::new(layer.layer(vendor));
    let mut clone = held.clone();
    handle.allow(2);
    assert!(held.poll_ready().is_ready());

    gate.pause_until(Instant::now() + seconds(5.0));
    assert!(held.poll_ready().is_pending(), "readiness ends with the pause");
    assert!(clone.poll_ready().is_pending());

    tokio::time::advance(seconds(4.999)).await;
    assert!(held.poll_ready().is_pending() && clone.poll_ready().is_pending());
    tokio::time::advance(seconds(0.002)).await;
    assert!(held.poll_ready().is_ready() && clone.poll_ready().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_never_shortened() {
    let gate = gate();
    let now = Instant::now();
    gate.pause_until(now + seconds(5.0));
    gate.pause_until(now + seconds(1.0));
    gate.opened().await;
    assert_waited(now.elapsed(), seconds(5.0));
}

#[tokio::test(start_paused = true)]
async fn a_longer_pause_reaches_those_who_wait_already() {
    let gate = gate();
    let now = Instant::now();
    gate.pause_until(now + seconds(1.0));
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.opened().await }
    });
    tokio::task::yield_now().await;
    gate.pause_until(now + seconds(3.0));
    waiting.await.unwrap();
    assert_waited(now.elapsed(), seconds(3.0));
}

#[tokio::test(start_paused = true)]
async fn a_run_of_429s_widens_the_pause_and_a_success_ends_it() {
    let script = [429, 429, 429, 429, 429, 200, 429].map(|status| Ok(answer(status)));
    let mut service = GateLayer::new(gate()).layer(Scripted::new(script));
    for least in [0.0, 1.0, 10.0, 100.0, 120.0, 120.0, 0.0, 1.0] {
        let (waited, outcome) = go(&mut service).await;
        outcome.unwrap();
        let most = seconds(least * 1.1) + Duration::from_millis(2);
        assert!(seconds(least) <= waited && waited <= most, "{waited:?}, not {least} s and a little");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_in_flight_together_count_once() {
    let (vendor, mut handle) = by_hand();
    let mut service = GateLayer::new(gate()).layer(vendor);
    handle.allow(3);
    let mut pending = Vec::new();
    for _ in 0..3 {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        pending.push(tokio::spawn(service.call(call())));
    }
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(handle.next_request().await.unwrap().1);
    }
    tokio::time::advance(seconds(0.1)).await;
    for reply in replies {
        reply.send_response(answer(429));
    }
    for call in pending {
        call.await.unwrap().unwrap();
    }
    let began = Instant::now();
    service.gate.opened().await;
    assert!(began.elapsed() < seconds(1.2), "one 429 without a time means about 1 s: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_a_person_closed_only_a_person_opens() {
    let gate = gate();
    let now = Instant::now();
    gate.pause_until(now + seconds(5.0));
    gate.close("paused by ops");
    let waiting = tokio::spawn({
        let gate = gate.clone();
        async move { gate.opened().await }
    });
    tokio::time::sleep(seconds(60.0)).await;
    assert!(!waiting.is_finished());
    assert_eq!(gate.snapshot().closed.as_deref(), Some("paused by ops"));
    gate.open();
    waiting.await.unwrap();
    assert_waited(now.elapsed(), seconds(60.0));

    gate.close("again");
    gate.pause_until(Instant::now() + seconds(5.0));
    gate.open();
    assert!(!gate.is_open(), "the vendor's pause stays");
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_quota_pauses_until_it_starts_anew() {
    let genesys = crate::target::Profile::builtin("genesys-cloud").unwrap().limits;
    let quota = |used: &str, allowed: &str, reset: &str| {
        answer_with(
            200,
            &[
                ("inin-ratelimit-count", used),
                ("inin-ratelimit-allowed", allowed),
                ("inin-ratelimit-reset", reset),
            ],
        )
    };
    for (used, allowed, reset, wait) in [
        ("300", "300", "61", 61.0),
        ("301", "300", "61", 61.0),
        ("299", "300", "61", 0.0),
        ("300", "300", "never", 0.0),
        ("many", "300", "61", 0.0),
        ("300", "300", "999999", 3_600.0),
    ] {
        assert_waited(wait_after(&genesys, quota(used, allowed, reset)).await, seconds(wait));
    }
    let mut limits = genesys;
    limits.headers.as_mut().unwrap().remaining = Some("left".to_owned());
    let left = answer_with(200, &[("left", "0"), ("inin-ratelimit-reset", "3")]);
    assert_waited(wait_after(&limits, left).await, seconds(3.0));
}

#[tokio::test(start_paused = true)]
async fn throttled_seconds_count_each_second_once() {
    let throttled = FloatCounter::default();
    let clock = Arc::new(TokioClock::starting_at(START));
    let gate = Gate::new(GateSettings::new(&Limits::default(), 7), clock, throttled.clone());
    let now = Instant::now();
    gate.pause_until(now + seconds(5.0));
    gate.pause_until(now + seconds(3.0));
    gate.pause_until(now + seconds(8.0));
    assert!((throttled.get() - 8.0).abs() < 0.001, "{}", throttled.get());
    tokio::time::advance(seconds(10.0)).await;
    gate.pause_until(Instant::now() + seconds(1.0));
    assert!((throttled.get() - 9.0).abs() < 0.001, "{}", throttled.get());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_is_taken_up_is_kept_capped_and_not_counted_again() {
    let throttled = FloatCounter::default();
    let clock = Arc::new(TokioClock::starting_at(START));
    let limits = Limits { retry_after_cap: seconds(600.0), ..Limits::default() };
    let gate = Gate::new(GateSettings::new(&limits, 7), clock, throttled.clone());
    let now = Instant::now();
    gate.restore(now + seconds(5.0));
    gate.restore(now + seconds(3.0));
    gate.opened().await;
    assert_waited(now.elapsed(), seconds(5.0));
    assert!(throttled.get() == 0.0);

    let now = Instant::now();
    gate.restore(now + seconds(86_400.0));
    gate.opened().await;
    assert_waited(now.elapsed(), seconds(600.0));
}

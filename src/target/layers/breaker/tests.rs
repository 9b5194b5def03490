use tower_test::mock::Spawn;

use super::*;
use crate::clock::TokioClock;
use crate::target::layers::testing::{Scripted, answer, answer_with, by_hand, call, go, reset};

const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn breaker() -> Breaker {
    Breaker::new(BreakerSettings::default(), Arc::new(TokioClock::starting_at(START)))
}

fn is_open(breaker: &Breaker) -> bool {
    matches!(breaker.snapshot().state, BreakerState::Open { .. })
}

/// Fails so often that a closed breaker opens.
async fn break_it(breaker: &Breaker) {
    let failures = (0..5).map(|_| Ok(answer(500)));
    let mut service = BreakerLayer::new(breaker.clone()).layer(Scripted::new(failures));
    for _ in 0..5 {
        go(&mut service).await.1.unwrap();
    }
    assert!(is_open(breaker));
}

fn assert_between(waited: Duration, from_seconds: f64, to_seconds: f64) {
    let waited = waited.as_secs_f64();
    assert!((from_seconds..=to_seconds + 0.002).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn only_unannounced_failures_count() {
    type Outcome = fn() -> Result<Answer, CallError>;
    let failures: [Outcome; 7] = [
        || Ok(answer(500)),
        || Ok(answer(502)),
        || Ok(answer(503)),
        || Ok(answer(504)),
        || Err(reset()),
        || Err(CallError::NotSent { source: "refused".into() }),
        || Err(CallError::Unusable { reason: "TLS".to_owned() }),
    ];
    let others: [Outcome; 8] = [
        || Ok(answer(200)),
        || Ok(answer(400)),
        || Ok(answer(404)),
        || Ok(answer(429)),
        || Ok(answer_with(503, &[("retry-after", "1")])),
        || Ok(answer(501)),
        || Err(CallError::Credentials { reason: "invalid_client".to_owned() }),
        || Err(CallError::TooLarge { status: http::StatusCode::OK, limit: 1 }),
    ];
    for (outcomes, opens) in [(failures.as_slice(), true), (others.as_slice(), false)] {
        for outcome in outcomes {
            let breaker = breaker();
            let script = Scripted::new((0..5).map(|_| outcome()));
            let mut service = BreakerLayer::new(breaker.clone()).layer(script);
            for _ in 0..5 {
                let _ = go(&mut service).await.1;
            }
            assert_eq!(is_open(&breaker), opens, "{:?}", outcome());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_the_run() {
    let breaker = breaker();
    let script = [500, 500, 500, 500, 200, 500, 500, 500, 500].map(|status| Ok(answer(status)));
    let mut service = BreakerLayer::new(breaker.clone()).layer(Scripted::new(script));
    for _ in 0..9 {
        go(&mut service).await.1.unwrap();
    }
    assert_eq!(breaker.snapshot().state, BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_open_time_doubles_to_a_minute_and_a_success_closes() {
    let breaker = breaker();
    let script = (0..12).map(|_| Err(reset()));
    let mut service = BreakerLayer::new(breaker.clone()).layer(Scripted::new(script));
    for _ in 0..5 {
        assert_between(go(&mut service).await.0, 0.0, 0.0);
    }
    for wait in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0] {
        assert_between(go(&mut service).await.0, wait, wait * 1.2);
    }
    assert_eq!(breaker.snapshot().state, BreakerState::Closed);
    assert_eq!(breaker.snapshot().openings, 0);
    assert_between(go(&mut service).await.0, 0.0, 0.0);
}

#[tokio::test(start_paused = true)]
async fn it_tells_since_when_until_when_and_why() {
    let breaker = breaker();
    let mut changes = breaker.watch();
    tokio::time::advance(Duration::from_secs(10)).await;
    break_it(&breaker).await;
    assert!(changes.has_changed().unwrap());
    let snapshot = changes.borrow_and_update().clone();
    assert_eq!(snapshot, breaker.snapshot());
    let BreakerState::Open { since, until, last_error } = snapshot.state else { panic!("{snapshot:?}") };
    assert_eq!(since, START.after(Duration::from_secs(10)));
    assert!(until.since(since) >= Duration::from_secs(1));
    assert_eq!(last_error, "status 500");
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_one_call_through() {
    let breaker = breaker();
    break_it(&breaker).await;
    let (vendor, mut handle) = by_hand();
    let layer = BreakerLayer::new(breaker.clone());
    let mut first = Spawn::new(layer.layer(vendor));
    let mut second = first.clone();
    handle.allow(2);
    assert!(first.poll_ready().is_pending() && second.poll_ready().is_pending());

    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(first.poll_ready().is_ready());
    assert!(second.poll_ready().is_pending(), "one is enough to find out");
    assert!(matches!(breaker.snapshot().state, BreakerState::HalfOpen { .. }));

    let call = tokio::spawn(first.call(call()));
    handle.next_request().await.unwrap().1.send_response(answer(200));
    call.await.unwrap().unwrap();
    assert_eq!(breaker.snapshot().state, BreakerState::Closed);
    assert!(second.poll_ready().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_given_up_goes_to_the_next() {
    let breaker = breaker();
    break_it(&breaker).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let (vendor, mut handle) = by_hand();
    handle.allow(3);
    let layer = BreakerLayer::new(breaker.clone());
    let mut first = Spawn::new(layer.layer(vendor));
    let mut second = first.clone();
    assert!(first.poll_ready().is_ready());
    assert!(second.poll_ready().is_pending());
    drop(first);
    assert!(second.poll_ready().is_ready());

    // Given up in the middle of the call, it goes on as well.
    let mut third = second.clone();
    drop(second.call(call()));
    assert!(third.poll_ready().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_held_too_long_goes_to_the_next_but_not_in_mid_call() {
    let breaker = breaker();
    break_it(&breaker).await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let (vendor, mut handle) = by_hand();
    handle.allow(3);
    let mut first = Spawn::new(BreakerLayer::new(breaker.clone()).layer(vendor));
    let mut second = first.clone();
    let mut third = first.clone();
    assert!(first.poll_ready().is_ready() && second.poll_ready().is_pending());
    tokio::time::advance(Duration::from_millis(1_001)).await;
    assert!(second.poll_ready().is_ready());
    assert!(first.poll_ready().is_pending(), "the first has lost its turn");

    let _under_way = second.call(call());
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(third.poll_ready().is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_permit_held_while_the_breaker_opens_is_worth_nothing() {
    let breaker = breaker();
    let (vendor, mut handle) = by_hand();
    let mut held = Spawn::new(BreakerLayer::new(breaker.clone()).layer(vendor));
    handle.allow(1);
    assert!(held.poll_ready().is_ready());
    break_it(&breaker).await;
    assert!(held.poll_ready().is_pending());
}

#[tokio::test(start_paused = true)]
async fn news_of_calls_sent_before_it_opened_is_old() {
    let breaker = breaker();
    let (vendor, mut handle) = by_hand();
    let mut service = BreakerLayer::new(breaker.clone()).layer(vendor);
    handle.allow(1);
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    let early = tokio::spawn(service.call(call()));
    let reply = handle.next_request().await.unwrap().1;
    break_it(&breaker).await;
    reply.send_response(answer(200));
    early.await.unwrap().unwrap();
    assert!(is_open(&breaker));
    assert_eq!(breaker.snapshot().last_success, Some(START));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stays_open_over_a_restart_and_not_longer_than_it_ever_would() {
    let open = |until: u64| BreakerSnapshot {
        state: BreakerState::Open {
            since: START,
            until: START.after(Duration::from_secs(until)),
            last_error: "status 500".to_owned(),
        },
        last_success: None,
        openings: 3,
    };
    let trying = BreakerSnapshot {
        state: BreakerState::HalfOpen { since: START, last_error: "status 500".to_owned() },
        ..open(0)
    };
    for (known, from, to) in
        [(open(7), 7.0, 7.0), (open(0), 0.0, 0.0), (open(9_999), 60.0, 72.0), (trying, 0.0, 0.0)]
    {
        let json = serde_json::to_value(&known).unwrap();
        let breaker = breaker();
        breaker.restore(serde_json::from_value(json).unwrap());
        let mut service = BreakerLayer::new(breaker.clone()).layer(Scripted::new([Ok(answer(500))]));
        assert_between(go(&mut service).await.0, from, to);
        // The doubling goes on where it stood.
        assert_between(go(&mut service).await.0, 8.0, 9.6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_lets_calls_through_at_once() {
    let breaker = breaker();
    break_it(&breaker).await;
    let waiting = tokio::spawn({
        let mut service = BreakerLayer::new(breaker.clone()).layer(Scripted::default());
        async move { go(&mut service).await.0 }
    });
    tokio::task::yield_now().await;
    breaker.reset();
    assert_between(waiting.await.unwrap(), 0.0, 0.0);
}

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::runtime::Builder;
use tower::ServiceExt as _;
use tower_test::mock::Spawn;

use super::*;
use crate::clock::{Timestamp, TokioClock};
use crate::target::layers::gate::GateSettings;
use crate::target::layers::limiter::Bucket;
use crate::target::layers::meter::Pace;
use crate::target::layers::meter::tests::busiest;
use crate::target::layers::testing::{Scripted, answer, by_hand, call, call_of, go};
use crate::target::profile::{ClassLimits, Cost, Limits, Scope, Window};
use crate::telemetry::metrics::FloatCounter;

pub(in crate::target::layers) fn admission(buckets: &[Bucket]) -> Admission {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::from_seconds(0)));
    let gate = Gate::new(GateSettings::new(&Limits::default(), 7), clock, FloatCounter::default());
    Admission { gate, limiter: Limiter::new(buckets) }
}

fn per_second(rate: f64, burst: u32) -> Pace {
    Pace::per_second(rate, NonZeroU32::new(burst).unwrap())
}

fn window(limit: u32, seconds: u64) -> Pace {
    Pace::window(NonZeroU32::new(limit).unwrap(), Duration::from_secs(seconds), NonZeroU32::MIN)
}

/// A bucket that counts every call.
fn common(pace: Pace) -> Bucket {
    Bucket { scope: Scope::default(), cost: Cost::Request, pace }
}

fn paused() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn clones_share_the_limit_and_never_a_permit() {
    let (vendor, mut handle) = by_hand();
    handle.allow(4);
    let mut first = Spawn::new(RateLayer::new(admission(&[common(per_second(1.0, 1))]), None).layer(vendor));
    let mut second = first.clone();
    assert!(first.poll_ready().is_ready());
    assert!(second.poll_ready().is_pending());

    // The permit held lapses after a while, so that nobody is held up for good.
    tokio::time::advance(Duration::from_millis(101)).await;
    assert!(second.poll_ready().is_ready());
    assert!(first.poll_ready().is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_goes_to_the_next_in_line() {
    let (vendor, mut handle) = by_hand();
    handle.allow(2);
    let mut first = Spawn::new(RateLayer::new(admission(&[common(per_second(1.0, 1))]), None).layer(vendor));
    let mut second = first.clone();
    assert!(first.poll_ready().is_ready() && second.poll_ready().is_pending());
    drop(first);
    assert!(second.is_woken() && second.poll_ready().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_call_on_a_lapsed_permit_waits_for_its_moment() {
    let vendor = Scripted::default();
    let layer = RateLayer::new(admission(&[common(per_second(1.0, 1))]), None);
    let mut held = layer.layer(vendor.clone());
    held.ready().await.unwrap();
    let mut other = held.clone();
    go(&mut other).await.1.unwrap();
    // Not polled again, as it should have been.
    held.call(call()).await.unwrap();
    let calls = vendor.calls.lock().unwrap().clone();
    assert!(calls[1] - calls[0] >= Duration::from_secs(1), "{:?}", calls[1] - calls[0]);
}

#[tokio::test(start_paused = true)]
async fn callers_go_in_the_order_in_which_they_came() {
    let layer = RateLayer::new(admission(&[common(per_second(10.0, 1))]), None);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let callers = (0..20).map(|number| {
        let mut service = layer.layer(Scripted::default());
        let order = Arc::clone(&order);
        tokio::spawn(async move {
            go(&mut service).await.1.unwrap();
            order.lock().unwrap().push(number);
        })
    });
    join_all(callers).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_those_who_wait() {
    let (vendor, mut handle) = by_hand();
    handle.allow(4);
    let mut first = Spawn::new(RateLayer::new(admission(&[common(per_second(1.0, 1))]), None).layer(vendor));
    let (mut second, mut late) = (first.clone(), first.clone());
    assert!(first.poll_ready().is_ready());
    let _under_way = tokio::spawn(first.call(call()));
    assert!(second.poll_ready().is_pending());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(late.poll_ready().is_pending(), "it came last");
    assert!(second.poll_ready().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_closes_between_readiness_and_call_holds_the_call() {
    for held in [Duration::ZERO, Duration::from_secs(2)] {
        let (vendor, admission) = (Scripted::default(), admission(&[common(per_second(1.0, 1))]));
        let mut service = RateLayer::new(admission.clone(), None).layer(vendor.clone());
        go(&mut service).await.1.unwrap();
        service.ready().await.unwrap();
        tokio::time::advance(held).await;
        let late = service.call(call());
        let opens = Instant::now() + Duration::from_secs(5);
        admission.gate.pause_until(opens);
        late.await.unwrap();
        assert!(vendor.calls.lock().unwrap()[1] >= opens);
    }
}

#[tokio::test(start_paused = true)]
async fn a_class_of_its_own_windows_does_not_hold_up_the_others() {
    let list = ClassLimits {
        windows: vec![Window::of_all(NonZeroU32::MIN, Duration::from_secs(30))],
        ..ClassLimits::default()
    };
    let limits = Limits { list, rate_per_second: Some(100.0), ..Limits::default() };
    let admission = admission(&limits.buckets());
    let vendor = Scripted::default();
    let mut lists = RateLayer::new(admission.clone(), Some(CallClass::List)).layer(vendor.clone());
    let mut singles = RateLayer::new(admission.clone(), Some(CallClass::Single)).layer(vendor.clone());
    let mut any = RateLayer::new(admission, None).layer(vendor.clone());

    let began = Instant::now();
    lists.ready().await.unwrap().call(call_of(CallClass::List)).await.unwrap();
    let waiting = tokio::spawn(async move {
        lists.ready().await.unwrap().call(call_of(CallClass::List)).await.unwrap();
    });
    for _ in 0..10 {
        singles.ready().await.unwrap().call(call_of(CallClass::Single)).await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    waiting.await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(30));
    // Who does not know the call yet is ready, and the list then waits for its window.
    any.ready().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(32), "{:?}", began.elapsed());
    any.call(call_of(CallClass::List)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn a_429_lowers_the_rate_at_most_once_a_second_and_success_brings_it_back() {
    let admission = admission(&[common(per_second(10.0, 1))]);
    let limiter = admission.limiter.clone();
    let factor = || limiter.snapshot().factor;
    let script = [429, 429, 429].map(|status| Ok(answer(status)));
    let mut service = RateLayer::new(admission, None).layer(Scripted::new(script));
    tokio::time::advance(Duration::from_secs(10)).await;
    for _ in 0..3 {
        go(&mut service).await.1.unwrap();
    }
    assert!((factor() - 0.7).abs() < 1e-9, "{}", factor());
    let mut last = factor();
    for _ in 0..200 {
        go(&mut service).await.1.unwrap();
        assert!(factor() >= last && factor() - last < 0.003, "{last} to {}", factor());
        last = factor();
    }
    assert!((factor() - 1.0).abs() < 1e-9, "{}", factor());
    for _ in 0..9 {
        limiter.slow_down(Instant::now());
        tokio::time::advance(Duration::from_mins(1)).await;
    }
    for _ in 0..100 {
        limiter.slow_down(Instant::now());
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert!((factor() - 0.01).abs() < 1e-9, "there is a floor: {}", factor());
}

#[tokio::test(start_paused = true)]
async fn a_rise_of_the_rate_wakes_those_who_wait() {
    let admission = admission(&[common(per_second(1.0, 1))]);
    let limiter = admission.limiter.clone();
    for _ in 0..20 {
        limiter.slow_down(Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let mut service = RateLayer::new(admission, None).layer(Scripted::default());
    go(&mut service).await.1.unwrap();
    let began = Instant::now();
    let waiting = tokio::spawn(async move { go(&mut service).await.0 });
    tokio::task::yield_now().await;
    for _ in 0..100 {
        limiter.speed_up();
    }
    waiting.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// One caller: when it comes, how long it holds its permit, how long the vendor takes.
#[derive(Clone, Debug)]
struct Caller {
    comes: u64,
    holds: u64,
    repolls: bool,
}

fn callers() -> impl Strategy<Value = Vec<Caller>> {
    let caller = (0_u64..20_000, 0_u64..200, any::<bool>()).prop_map(|(comes, holds, repolls)| Caller {
        comes,
        holds,
        repolls,
    });
    prop::collection::vec(caller, 1..80)
}

/// Lets all callers loose on one limit, and tells when the vendor was called.
fn play(buckets: Vec<Bucket>, callers: Vec<Caller>) -> Vec<Duration> {
    paused().block_on(async move {
        let began = Instant::now();
        let vendor = Scripted::default();
        let layer = RateLayer::new(admission(&buckets), None);
        let tasks = callers.into_iter().map(|caller| {
            let mut service = layer.layer(vendor.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(caller.comes)).await;
                service.ready().await.unwrap();
                tokio::time::sleep(Duration::from_millis(caller.holds)).await;
                if caller.repolls {
                    service.ready().await.unwrap();
                }
                service.call(call()).await.unwrap();
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        let calls = vendor.calls.lock().unwrap();
        calls.iter().map(|at| *at - began).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However callers come, dawdle and hold permits, no window sees more than its limit.
    #[test]
    fn no_window_is_ever_exceeded(
        callers in callers(),
        small in (1_u32..20, 1_u64..5),
        large in (5_u32..60, 5_u64..60),
        rate in 1_u32..50,
        burst in 1_u32..10,
    ) {
        let paces = vec![
            common(window(small.0, small.1)),
            common(window(large.0, large.1)),
            common(per_second(f64::from(rate), burst)),
        ];
        let expected = callers.len();
        let calls = play(paces, callers);
        prop_assert_eq!(calls.len(), expected);
        // A timer may be a millisecond late, which brings two calls that much closer together.
        let nearly = |seconds| Duration::from_millis(seconds * 1_000 - 1);
        prop_assert!(busiest(&calls, nearly(small.1)) <= small.0 as usize);
        prop_assert!(busiest(&calls, nearly(large.1)) <= large.0 as usize);
        prop_assert!(busiest(&calls, nearly(3)) <= (burst + 3 * rate) as usize);
    }

    /// A backlog drains within 5 % of the time that the limit makes necessary, although each caller
    /// needs some milliseconds to load what it sends.
    #[test]
    fn a_backlog_drains_at_the_limit(rate in 2_u32..100, holds in 0_u64..10, backlog in 60_u32..120) {
        let callers = (0..backlog).map(|_| Caller { comes: 0, holds, repolls: true }).collect();
        let calls = play(vec![common(per_second(f64::from(rate), 1))], callers);
        let least = Duration::from_secs_f64(f64::from(backlog - 1) / f64::from(rate));
        let took = *calls.last().unwrap();
        prop_assert!(took >= least && took <= least.mul_f64(1.05) + Duration::from_millis(20), "{took:?} {least:?}");
    }
}

/// A vendor that hangs now and then: what was sent meanwhile it takes in when it goes on.
#[derive(Clone)]
struct Hanging {
    began: Instant,
    hangs: Arc<Vec<(Duration, Duration)>>,
    came: Arc<std::sync::Mutex<Vec<Duration>>>,
}

impl Service<Call> for Hanging {
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Call) -> Self::Future {
        let vendor = self.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let now = vendor.began.elapsed();
            let hang = vendor.hangs.iter().find(|(from, length)| *from <= now && now < *from + *length);
            if let Some((from, length)) = hang {
                sleep_until(vendor.began + *from + *length).await;
            }
            vendor.came.lock().unwrap().push(vendor.began.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(answer(200))
        }
        .boxed()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The vendor counts calls as they come, and calls that were held up on the way come together.
    #[test]
    fn what_comes_late_to_the_vendor_makes_no_second_too_full(
        hangs in prop::collection::vec((100_u64..4_000, 1_u64..600), 0..6), rate in 2_u32..80, callers in 1_usize..12,
    ) {
        let came = paused().block_on(async move {
            let began = Instant::now();
            let hangs = hangs.into_iter();
            let hangs = hangs.map(|(from, length)| (Duration::from_millis(from), Duration::from_millis(length)));
            let vendor = Hanging { began, hangs: Arc::new(hangs.collect()), came: Arc::default() };
            let layer = RateLayer::new(admission(&[common(per_second(f64::from(rate), 1))]), None);
            join_all((0..callers).map(|_| {
                let mut service = layer.layer(vendor.clone());
                tokio::spawn(async move {
                    while began.elapsed() < Duration::from_secs(5) {
                        go(&mut service).await.1.unwrap();
                    }
                })
            }))
            .await;
            Arc::into_inner(vendor.came).unwrap().into_inner().unwrap()
        });
        let most = busiest(&came, Duration::from_secs(1));
        prop_assert!(most <= rate as usize, "{most} in a second of {rate}");
    }
}

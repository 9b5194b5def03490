use http::Method;
use proptest::prelude::*;
use tokio::runtime::Builder;
use tower::{Layer as _, Service as _, ServiceExt as _};

use super::*;
use crate::target::layers::rate::{RateLayer, tests::admission};
use crate::target::layers::testing::{Scripted, call_of};
use crate::target::profile::{Limits, Resource, Shape, Verb};

fn whole(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn call(method: Method, endpoint: &'static str, class: CallClass, operations: u32, bytes: usize) -> Call {
    Call { method, endpoint, operations, body: Some(vec![0; bytes].into()), ..call_of(class) }
}

/// Calls of every kind.
fn kinds() -> Vec<Call> {
    vec![
        call(Method::GET, "Users", CallClass::Single, 1, 0),
        call(Method::POST, "Users", CallClass::Single, 1, 300),
        call(Method::PATCH, "Users/{id}", CallClass::Single, 1, 90),
        call(Method::DELETE, "Users/{id}", CallClass::Single, 1, 0),
        call(Method::PATCH, "Groups/{id}", CallClass::Single, 1, 900),
        call(Method::GET, "Groups", CallClass::List, 1, 0),
        call(Method::POST, "Bulk", CallClass::Bulk, 7, 2_000),
        Call { turn: Turn::First, ..call(Method::PATCH, "Users/{id}", CallClass::Single, 1, 80) },
    ]
}

/// What a window lets through, and whom it counts.
fn windows() -> impl Strategy<Value = Vec<Window>> {
    let scope = prop_oneof![
        3 => Just(Scope::default()),
        1 => Just(Scope { methods: vec![Verb::Post, Verb::Patch, Verb::Delete], ..Scope::default() }),
        1 => Just(Scope { resources: vec![Resource::Users], ..Scope::default() }),
        1 => Just(Scope { resources: vec![Resource::Groups], body_bytes_min: 500, ..Scope::default() }),
        1 => Just(Scope { shapes: vec![Shape::List, Shape::Search], ..Scope::default() }),
        1 => Just(Scope { methods: vec![Verb::Delete], ..Scope::default() }),
    ];
    let cost = prop_oneof![2 => Just(Cost::Request), 1 => Just(Cost::BulkOperation), 1 => Just(Cost::Bytes(whole(200)))];
    // No call costs more than a tenth of what is allowed, so that none is over a burst.
    let window = (prop_oneof![1_u64..5, 20_u64..90, Just(3_600)], 1_u32..300, scope, cost);
    let window = window.prop_map(|(seconds, limit, scope, cost)| {
        let limit = if cost == Cost::Request { limit } else { limit + 100 };
        Window { cost, scope, ..Window::of_all(whole(limit), Duration::from_secs(seconds)) }
    });
    prop::collection::vec(window, 1..5)
}

fn limiter(windows: &[Window]) -> Limiter {
    let limits = Limits { windows: windows.to_vec(), rate_per_second: None, ..Limits::default() };
    Limiter::new(&limits.buckets())
}

/// The most that any stretch of a window's length has spent, both ends included.
fn busiest(window: &Window, calls: &[(Duration, Call)]) -> u32 {
    let counted: Vec<_> = calls.iter().filter(|(_, call)| window.scope.counts(call)).collect();
    let spent = |from: Duration| -> u32 {
        let within = counted.iter().filter(|(at, _)| *at >= from && *at <= from + window.per);
        within.map(|(_, call)| window.cost.of(call)).sum()
    };
    counted.iter().map(|(at, _)| spent(*at)).max().unwrap_or_default()
}

/// Calls as early as it may after each wait, from now on and no later than `until`.
async fn go_on(
    limiter: &Limiter,
    stream: &[(u64, usize)],
    began: Instant,
    until: Duration,
    calls: &mut Vec<(Duration, Call)>,
) {
    for (wait, kind) in stream {
        tokio::time::advance(Duration::from_millis(*wait)).await;
        let call = kinds()[*kind].clone();
        let at = limiter.account(&limiter.demand(&call));
        if at - began > until {
            return;
        }
        tokio::time::advance(at - Instant::now()).await;
        calls.push((at - began, call));
    }
}

fn stream() -> impl Strategy<Value = Vec<(u64, usize)>> {
    prop::collection::vec(
        (prop_oneof![3 => Just(0_u64), 1 => 0_u64..3_000, 1 => 0_u64..100_000], 0_usize..7),
        1..120,
    )
}

fn paused<T>(test: impl Future<Output = T>) -> T {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever windows there are and whatever is called, no stretch of time holds more than its limit.
    #[test]
    fn no_window_of_any_scope_and_cost_is_ever_exceeded(windows in windows(), stream in stream()) {
        let mut calls = Vec::new();
        paused(async { go_on(&limiter(&windows), &stream, Instant::now(), Duration::MAX, &mut calls).await });
        prop_assert_eq!(calls.len(), stream.len());
        for window in &windows {
            prop_assert!(busiest(window, &calls) <= window.limit.get(), "{window:?}");
        }
    }

    /// The same where somebody else takes over at any moment, knowing nothing of what was spent.
    #[test]
    fn no_window_is_exceeded_over_a_take_over(
        windows in windows(), before in stream(), after in stream(), taken_over in 0_u64..200_000,
    ) {
        let mut calls = Vec::new();
        paused(async {
            let (began, taken_over) = (Instant::now(), Duration::from_millis(taken_over));
            let (first, second) = (limiter(&windows), limiter(&windows));
            go_on(&first, &before, began, taken_over, &mut calls).await;
            tokio::time::advance((began + taken_over).saturating_duration_since(Instant::now())).await;
            second.take_over(1.0);
            go_on(&second, &after, began, Duration::MAX, &mut calls).await;
        });
        for window in &windows {
            prop_assert!(busiest(window, &calls) <= window.limit.get(), "{window:?}");
        }
    }

    /// The same through the layer, where many wait at once, hold permits and dawdle.
    #[test]
    fn no_window_is_exceeded_by_callers_that_come_together(
        windows in windows(), callers in prop::collection::vec((0_u64..9_000, 0_u64..200, 0_usize..8), 1..60),
    ) {
        let calls = paused(async move {
            let began = Instant::now();
            let limits = Limits { windows: windows.clone(), rate_per_second: None, ..Limits::default() };
            let layer = RateLayer::new(admission(&limits.buckets()), None);
            let callers = callers.into_iter().map(|(comes, holds, kind)| {
                let vendor = Scripted::default();
                let mut service = layer.clone().in_turn(kinds()[kind].turn).layer(vendor.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(comes)).await;
                    service.ready().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(holds)).await;
                    let call = kinds()[kind].clone();
                    service.ready().await.unwrap().call(call.clone()).await.unwrap();
                    let at = vendor.calls.lock().unwrap()[0];
                    (at - began, call)
                })
            });
            let mut calls = Vec::new();
            for caller in futures_util::future::join_all(callers).await {
                calls.push(caller.unwrap());
            }
            (windows, calls)
        });
        let (windows, calls) = calls;
        for mut window in windows {
            // A timer may be a millisecond late, which brings two calls that much closer together.
            window.per -= Duration::from_millis(1);
            let most = busiest(&window, &calls);
            prop_assert!(most <= window.limit.get(), "{most} in {window:?}");
        }
    }
}

/// The share of a window that is used, while there is always something to call, after a first window.
fn share_used(windows: &[Window], kind: usize, judged: usize) -> f64 {
    paused(async {
        let limiter = limiter(windows);
        let (began, window) = (Instant::now(), &windows[judged]);
        let call = kinds()[kind].clone();
        let (start, end) = (window.per, window.per * 4);
        let mut units = 0;
        loop {
            let at = limiter.account(&limiter.demand(&call)) - began;
            if at > end {
                return f64::from(units) / f64::from(window.limit.get() * 3);
            }
            units += if at > start { window.cost.of(&call) } else { 0 };
            tokio::time::advance(began + at - Instant::now()).await;
        }
    })
}

#[test]
fn a_backlog_uses_nearly_all_of_the_tightest_window() {
    let window = |limit, seconds| Window::of_all(whole(limit), Duration::from_secs(seconds));
    let operations = Window { cost: Cost::BulkOperation, ..window(25_000, 3_600) };
    let bytes = Window { cost: Cost::Bytes(whole(500)), ..window(1_000, 60) };
    for (windows, kind, judged) in [
        (vec![window(300, 60)], 1, 0),
        (vec![window(20, 1), window(600, 60), window(30_000, 3_600)], 1, 2),
        (vec![window(50, 1), window(600, 60)], 2, 1),
        (vec![operations], 6, 0),
        (vec![bytes, window(100, 1)], 6, 0),
        (vec![Window { burst: Some(whole(180)), ..window(600, 60) }], 2, 0),
    ] {
        let share = share_used(&windows, kind, judged);
        assert!((0.95..=1.0).contains(&share), "{share} of {}", windows[judged]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_used_up_holds_up_its_own_calls_alone() {
    let deletes = Scope { methods: vec![Verb::Delete], ..Scope::default() };
    let deletes = Window { scope: deletes, ..Window::of_all(whole(1), Duration::from_mins(1)) };
    let limits = Limits { windows: vec![deletes], rate_per_second: Some(20.0), ..Limits::default() };
    let layer = RateLayer::new(admission(&limits.buckets()), None);
    let began = Instant::now();
    let one = async |kind: usize| {
        let mut service = layer.layer(Scripted::default());
        service.ready().await.unwrap().call(kinds()[kind].clone()).await.unwrap();
        began.elapsed().as_secs()
    };
    assert_eq!(one(3).await, 0);
    let waiting = async { one(3).await };
    let others = async {
        let mut last = 0;
        for _ in 0..100 {
            last = one(1).await;
        }
        last
    };
    let (last_delete, others_took) = futures_util::future::join(waiting, others).await;
    assert!(last_delete >= 60, "{last_delete}");
    assert!(others_took <= 6, "a hundred calls at twenty a second: {others_took}");
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_bucket_of_their_own_do_not_pile_up() {
    let deletes = Scope { methods: vec![Verb::Delete], ..Scope::default() };
    let deletes = Window { scope: deletes, ..Window::of_all(whole(1), Duration::from_mins(1)) };
    let limits = Limits { windows: vec![deletes], rate_per_second: Some(20.0), ..Limits::default() };
    let admission = admission(&limits.buckets());
    let layer = RateLayer::new(admission.clone(), None);
    let mut waiting = Vec::new();
    for _ in 0..=APART_MAX {
        let mut service = layer.layer(Scripted::default());
        service.ready().await.unwrap();
        waiting.push(tokio::spawn(service.call(kinds()[3].clone())));
        tokio::task::yield_now().await;
    }
    let mut next = layer.layer(Scripted::default());
    let wait = tokio::time::timeout(Duration::from_secs(30), next.ready()).await;
    assert!(wait.is_err(), "who does not know its call yet gives way");
    next.ready().await.unwrap();
    assert!(admission.limiter.core().apart < APART_MAX);
}

/// Ten calls a second, and one PATCH in ten seconds; two of those wait.
async fn narrow() -> (RateLayer, Instant, Vec<tokio::task::JoinHandle<()>>, Scripted) {
    let patches = Scope { methods: vec![Verb::Patch], ..Scope::default() };
    let patches = Window { scope: patches, ..Window::of_all(whole(1), Duration::from_secs(10)) };
    let limits = Limits { windows: vec![patches], rate_per_second: Some(10.0), ..Limits::default() };
    let layer = RateLayer::new(admission(&limits.buckets()), None);
    let (vendor, began) = (Scripted::default(), Instant::now());
    let mut waiting = Vec::new();
    for _ in 0..=APART_MAX {
        let mut service = layer.layer(vendor.clone());
        service.ready().await.unwrap();
        let patch = service.call(kinds()[2].clone());
        waiting.push(tokio::spawn(async move { drop(patch.await.unwrap()) }));
        tokio::task::yield_now().await;
    }
    (layer, began, waiting, vendor)
}

/// Makes a call that goes first, and tells when it was made.
async fn first(layer: &RateLayer, kind: usize, began: Instant) -> u64 {
    let mut service = layer.clone().in_turn(Turn::First).layer(Scripted::default());
    let call = Call { turn: Turn::First, ..kinds()[kind].clone() };
    service.ready().await.unwrap().call(call).await.unwrap();
    began.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn who_goes_first_waits_for_no_bucket_that_only_others_need() {
    let (layer, began, _waiting, _) = narrow().await;
    let mut usual = layer.layer(Scripted::default());
    assert!(tokio::time::timeout(Duration::from_secs(2), usual.ready()).await.is_err(), "others give way");
    assert_eq!(first(&layer, 3, began).await, 2, "a DELETE is no PATCH");
}

#[tokio::test(start_paused = true)]
async fn who_goes_first_overtakes_those_who_wait_for_the_same_bucket() {
    let (layer, began, waiting, vendor) = narrow().await;
    assert_eq!(vendor.calls.lock().unwrap().len(), 1, "two wait");
    let took = first(&layer, 2, began).await;
    assert!((10..=11).contains(&took), "the next PATCH is theirs: {took}");
    assert_eq!(vendor.calls.lock().unwrap().len(), 1, "the two wait still");
    for patch in waiting {
        patch.await.unwrap();
    }
    let last = (*vendor.calls.lock().unwrap().last().unwrap() - began).as_secs();
    assert!((30..=33).contains(&last), "and then they go: {last}");
}

#[tokio::test(start_paused = true)]
async fn who_has_a_permit_and_takes_what_another_needs_first_gives_way() {
    let (layer, began, waiting, vendor) = narrow().await;
    let leaver = {
        let layer = layer.clone();
        tokio::spawn(async move { first(&layer, 2, began).await })
    };
    tokio::task::yield_now().await;
    let mut late = layer.layer(vendor.clone());
    // Until the two that wait for a bucket of their own have gone.
    late.ready().await.unwrap();
    late.call(kinds()[2].clone()).await.unwrap();
    let took = leaver.await.unwrap();
    assert!((10..=11).contains(&took), "{took}");
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn others_go_on_while_one_who_goes_first_waits_for_a_bucket_of_its_own() {
    let (layer, began, waiting, _) = narrow().await;
    for patch in waiting {
        patch.await.unwrap();
    }
    let since = began.elapsed().as_secs();
    let leaver = first(&layer, 2, began);
    let others = async {
        for _ in 0..50 {
            let mut usual = layer.layer(Scripted::default());
            usual.ready().await.unwrap().call(kinds()[1].clone()).await.unwrap();
        }
        began.elapsed().as_secs() - since
    };
    let (leaver, others) = futures_util::future::join(leaver, others).await;
    assert!(others <= 6, "fifty calls at ten a second: {others}");
    assert!((since + 9..=since + 11).contains(&leaver), "{leaver} after {since}");
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_says_is_left_bounds_what_goes_out_until_its_count_starts_anew() {
    let limits = Limits { rate_per_second: Some(10.0), ..Limits::default() };
    let admission = admission(&limits.buckets());
    let vendor = Scripted::new([Ok(crate::target::layers::testing::answer_with(
        200,
        &[("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "40")],
    ))]);
    let mut service = RateLayer::new(admission, None).layer(vendor.clone());
    let began = Instant::now();
    for _ in 0..8 {
        service.ready().await.unwrap().call(kinds()[1].clone()).await.unwrap();
    }
    let calls: Vec<u64> = vendor.calls.lock().unwrap().iter().map(|at| (*at - began).as_secs()).collect();
    assert_eq!(calls, [0, 0, 10, 20, 30, 40, 40, 40], "spread, and at the pace again afterwards");
}

/// What somebody before may have spent leaves the window bit by bit, as it was spent.
#[tokio::test(start_paused = true)]
async fn a_limiter_that_takes_over_goes_on_at_the_pace_and_waits_for_no_whole_window() {
    let window = Window::of_all(whole(600), Duration::from_mins(1));
    let limiter = limiter(std::slice::from_ref(&window));
    limiter.take_over(1.0);
    let demand = limiter.at_least(None);
    let began = Instant::now();
    for _ in 0..20 {
        let at = limiter.account(&demand);
        tokio::time::sleep_until(at).await;
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep};

use crate::mapping::{Expression, Mapping};
use crate::sync::stage::{ACME, Stage, until};

/// A step's permit lapses while its intent is noted, and goes to the dispatcher, which then stands in
/// the line before it for another call, until the pause takes away the reason.
#[tokio::test(start_paused = true)]
async fn a_pause_does_not_hold_up_a_step_that_waits_behind_the_dispatcher() {
    // One call in ten seconds.
    let stage = Stage::new(&[ACME], 0.1).await;
    stage.world.habits.lock().unwrap().intend_takes = Duration::from_secs(3);
    stage.hire(0..2).await;
    let one = stage.replica("one");
    let calls = || stage.vendor(ACME).calls();
    until("the other user's lookup, on the lapsed permit", async || calls().len() == 2).await;
    one.target(ACME).pause("ops").await.unwrap();
    let paused = Instant::now();
    until("the creation", async || calls().len() > 2).await;
    assert!(paused.elapsed() < Duration::from_secs(12), "the next permit was for it: {:?}", paused.elapsed());
    until("its outcome is recorded", async || one.target(ACME).in_flight() == 1).await;
    sleep(Duration::from_mins(1)).await;
    let methods: Vec<Method> = calls().into_iter().map(|seen| seen.method).collect();
    assert_eq!(
        methods,
        [Method::GET, Method::GET, Method::POST],
        "the other one is paused before its creation"
    );
    one.shut_down().await;
}

/// How long after `since` the vendor is asked to change a user.
async fn patched(stage: &Stage, number: usize, since: Instant) -> Duration {
    let name = format!("u{number}@example.com");
    let mut at = since;
    until("the user is changed", async || {
        let calls = stage.vendor(ACME).calls();
        let seen =
            calls.iter().find(|seen| seen.at >= since && seen.method == Method::PATCH && seen.user == name);
        seen.inspect(|seen| at = seen.at).is_some()
    })
    .await;
    at - since
}

/// The rate is narrow, and answers come at once.
#[tokio::test(start_paused = true)]
async fn a_deactivation_waits_for_one_permit_whatever_waits_besides() {
    let stage = Stage::new(&[ACME], 10.0).await;
    let one = stage.replica("one");
    stage.hire(0..1).await;
    stage.quiet(ACME).await;
    stage.hire(1..3_000).await;
    sleep(Duration::from_secs(7)).await;
    let said = Instant::now();
    stage.deactivate(0).await;
    let took = patched(&stage, 0, said).await;
    assert!(took <= Duration::from_millis(200), "{took:?}, with {} rows left", stage.pending(ACME).await);
    assert!(stage.pending(ACME).await > 2_000);
    one.kill().await;
}

/// Every place is taken by a call that the vendor takes long to answer.
#[tokio::test(start_paused = true)]
async fn a_deactivation_waits_for_one_call_in_flight_and_one_permit() {
    let stage = Stage::new(&[ACME], 1.0).await;
    let one = stage.replica("one");
    stage.hire(0..1).await;
    stage.quiet(ACME).await;
    stage.vendor(ACME).set_latency(Duration::from_secs(20));
    stage.hire(1..1_000).await;
    sleep(Duration::from_secs(70)).await;
    let said = Instant::now();
    stage.deactivate(0).await;
    let took = patched(&stage, 0, said).await;
    assert!(took <= Duration::from_secs(21), "{took:?}");
    one.kill().await;
}

/// A change of attributes ends the access, which is found in the target's scope and not in the change.
#[tokio::test(start_paused = true)]
async fn who_leaves_the_scope_by_a_change_goes_ahead_of_all_that_waits() {
    let mut stage = Stage::new(&[ACME], 10.0).await;
    let scope = Expression::compile("user.title != 'Contractor'").unwrap();
    stage.mapping = Arc::new(Mapping { scope: Some(scope), ..Mapping::default() });
    let one = stage.replica("one");
    stage.hire(0..1).await;
    stage.quiet(ACME).await;
    stage.hire(1..1_000).await;
    sleep(Duration::from_secs(7)).await;
    let said = Instant::now();
    stage.promote(0..1, "Contractor").await;
    let took = patched(&stage, 0, said).await;
    assert!(took <= Duration::from_millis(200), "{took:?}, with {} rows left", stage.pending(ACME).await);
    one.kill().await;
}

/// The row was chosen for its turn among the changes before the access ended.
#[tokio::test(start_paused = true)]
async fn a_deactivation_goes_ahead_where_a_change_of_the_same_user_waits_in_line() {
    let stage = Stage::new(&[ACME], 10.0).await;
    let one = stage.replica("one");
    stage.hire(0..200).await;
    stage.quiet(ACME).await;
    stage.promote(0..200, "Senior").await;
    sleep(Duration::from_secs(2)).await;
    let said = Instant::now();
    stage.deactivate(190).await;
    let took = patched(&stage, 190, said).await;
    assert!(took <= Duration::from_millis(200), "{took:?}, with {} rows left", stage.pending(ACME).await);
    one.kill().await;
}

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::directory::{ExternalId, ResourceKey};
use crate::mapping::{Expression, Mapping};
use crate::store::Store as _;
use crate::sync::BulkMode;
use crate::sync::stage::{ACME, Stage, until};
use crate::target::Answer;

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

/// The vendor does what it is told, and the replica does not live to hear of it.
#[tokio::test(start_paused = true)]
async fn that_somebody_is_about_to_be_made_is_noted_before_the_call() {
    let stage = Stage::new(&[ACME], 10.0).await;
    stage.vendor(ACME).set_latency(Duration::from_secs(1));
    stage.hire(0..1).await;
    let one = stage.replica("one");
    let is_made = async || stage.vendor(ACME).calls().iter().any(|seen| seen.method == Method::POST);
    until("the creation is under way", is_made).await;
    one.kill().await;
    let user = ResourceKey::user(ExternalId::parse("u0").unwrap());
    let dossier = stage.world.view().load(ACME, &user, 1).await.unwrap().unwrap();
    assert_eq!(dossier.item.intent.map(|intent| intent.operation).as_deref(), Some("create"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_however_long_costs_nobody_an_attempt() {
    let mut stage = Stage::new(&[ACME], 10.0).await;
    stage.attempts_max = 3;
    stage.vendor(ACME).set_failing(5);
    stage.hire(0..1).await;
    let one = stage.replica("one");
    until("more tries than anybody has", async || stage.vendor(ACME).calls().len() > 4).await;
    sleep(Duration::from_secs(1)).await;
    let user = ResourceKey::user(ExternalId::parse("u0").unwrap());
    let dossier = stage.world.view().load(ACME, &user, 1).await.unwrap().expect("it is not parked");
    assert_eq!(dossier.item.attempts, 0);
    stage.vendor(ACME).set_failing(0);
    stage.quiet(ACME).await;
    assert_eq!(stage.vendor(ACME).users(), 1);
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn what_keeps_failing_while_others_work_is_given_up_after_its_attempts() {
    let mut stage = Stage::new(&[ACME], 10.0).await;
    stage.attempts_max = 4;
    stage.hire(0..1).await;
    let one = stage.replica("one");
    stage.quiet(ACME).await;
    stage.vendor(ACME).set_failing_changes(true);
    stage.promote(0..1, "Senior").await;
    let parked = async || stage.world.view().parked(ACME, None, 10).await.unwrap().items;
    for other in 1..100 {
        stage.hire(other..other + 1).await;
        sleep(Duration::from_secs(1)).await;
        if !parked().await.is_empty() {
            break;
        }
    }
    let told: Vec<String> = parked().await.into_iter().map(|item| item.reason).collect();
    let [reason] = told.as_slice() else { panic!("after minutes of failing alone: {told:?}") };
    assert!(reason.starts_with("given up after 4 attempts; "), "{reason}");
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_answer_to_a_pack_leaves_out_counts_as_not_done() {
    let mut stage = Stage::new(&[ACME], 10.0).await;
    stage.bulk = BulkMode::Auto;
    stage.hire(0..5).await;
    let one = stage.replica("one");
    stage.quiet(ACME).await;
    let body = json!({"Operations": [{"bulkId": "op-1", "method": "PATCH", "status": "200"}]}).to_string();
    stage.vendor(ACME).answer_next(Answer { body: body.into(), ..Answer::new(StatusCode::OK) });
    let before = stage.vendor(ACME).calls().len();
    stage.promote(0..5, "Senior").await;
    stage.quiet(ACME).await;
    let calls = stage.vendor(ACME).calls().split_off(before);
    let sent =
        |user: &str| calls.iter().filter(|seen| seen.method == Method::PATCH && seen.user == user).count();
    let mut sent: Vec<usize> = (0..5).map(|number| sent(&format!("u{number}@example.com"))).collect();
    sent.sort_unstable();
    assert_eq!(sent, [1, 2, 2, 2, 2], "once for whom it names, again for all others: {calls:?}");
    one.shut_down().await;
}

/// Steps whose permits lapsed while their intent was noted stand in the line before the dispatcher.
#[tokio::test(start_paused = true)]
async fn a_deactivation_goes_ahead_of_calls_whose_permits_have_lapsed() {
    for wait in [55, 60] {
        // One call in ten seconds.
        let stage = Stage::new(&[ACME], 0.1).await;
        let one = stage.replica("one");
        stage.hire(0..1).await;
        stage.quiet(ACME).await;
        stage.world.habits.lock().unwrap().intend_takes = Duration::from_secs(15);
        stage.hire(1..9).await;
        sleep(Duration::from_secs(wait)).await;
        let said = Instant::now();
        stage.deactivate(0).await;
        let took = patched(&stage, 0, said).await;
        assert!(took <= Duration::from_millis(10_500), "the next permit was for it: {took:?} after {wait} s");
        one.kill().await;
    }
}

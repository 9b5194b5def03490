use http::StatusCode;

use crate::store::Store as _;
use crate::sync::stage::{ACME, Replica, Stage, until};
use crate::target::Answer;
use crate::telemetry::metrics::Metrics;

use super::*;

async fn stage(calls_per_second: f64) -> Stage {
    let mut stage = Stage::new(&[ACME], calls_per_second).await;
    stage.discovers = true;
    let config = json!({"patch": {"supported": true}, "filter": {"supported": true, "maxResults": 50}});
    stage.vendor(ACME).describe("ServiceProviderConfig", config);
    stage
}

async fn read_by(replica: &Replica) -> Discovery {
    until("the vendor is read", async || replica.target(ACME).discovery().await.is_some()).await;
    replica.target(ACME).discovery().await.unwrap()
}

fn max_results(discovery: &Discovery) -> Option<u32> {
    discovery.reading.discovered.features.as_ref().and_then(|features| features.filter.max_results)
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_says_is_read_once_the_work_is_done_and_known_everywhere() {
    let stage = stage(20.0).await;
    stage.hire(0..200).await;
    let one = stage.replica("one");
    let read = read_by(&one).await;
    assert_eq!((max_results(&read), stage.pending(ACME).await), (Some(50), 0), "work goes first");
    assert!(read.reading.unread.is_empty() && read.reading.discovered.schemas.is_none());

    let record = one.view.target(ACME).await.unwrap().unwrap();
    assert_eq!(one.target(ACME).recollection(&record).discovery, Some(read));
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_backlog_without_an_end_does_not_keep_the_vendor_from_being_read() {
    let stage = stage(2.0).await;
    stage.hire(0..1_000).await;
    let one = stage.replica("one");
    let begun = Instant::now();
    read_by(&one).await;
    assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
    assert!(stage.pending(ACME).await > 500);
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_target_is_asked_nothing_before_it_is_resumed() {
    let stage = stage(20.0).await;
    let one = stage.replica("one");
    until("it is held", async || one.holds(ACME)).await;
    one.target(ACME).pause("me").await.unwrap();
    sleep(PATIENCE * 2).await;
    assert_eq!((stage.vendor(ACME).calls().len(), one.target(ACME).discovery().await), (0, None));
    one.target(ACME).resume("me").await.unwrap();
    read_by(&one).await;
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn it_is_read_again_when_somebody_asks_who_holds_the_target() {
    let stage = stage(20.0).await;
    let one = stage.replica("one");
    assert_eq!(max_results(&read_by(&one).await), Some(50));
    stage.vendor(ACME).describe("ServiceProviderConfig", json!({"filter": {"maxResults": 70}}));
    assert!(one.target(ACME).discover());
    until("it was read anew", async || max_results(&read_by(&one).await) == Some(70)).await;
    one.shut_down().await;
    assert!(!stage.handle(ACME, "two", stage.world.view(), &Metrics::new()).discover());
}

#[tokio::test(start_paused = true)]
async fn it_is_read_again_after_a_day_and_sooner_after_a_failure() {
    let stage = stage(20.0).await;
    let handle = stage.handle(ACME, "one", stage.world.view(), &Metrics::new());
    assert_eq!(round(handle.shared()).await, AGAIN);
    stage.vendor(ACME).answer_next(Answer::new(StatusCode::FORBIDDEN));
    assert_eq!(round(handle.shared()).await, AGAIN_AFTER_FAILURE);
}

#[tokio::test(start_paused = true)]
async fn a_failure_changes_nothing_and_blames_nobody() {
    let stage = stage(20.0).await;
    let one = stage.replica("one");
    let before = read_by(&one).await;
    for _ in 0..3 {
        stage.vendor(ACME).answer_next(Answer::new(StatusCode::INTERNAL_SERVER_ERROR));
    }
    assert!(one.target(ACME).discover());
    until("it was read anew", async || read_by(&one).await.at > before.at).await;
    let after = read_by(&one).await;
    assert_eq!(after.reading.discovered, before.reading.discovered);
    assert_eq!(after.reading.unread.len(), 3);
    assert_eq!(stage.stored_state(ACME).await, TargetState::Running);
    stage.hire(0..1).await;
    stage.quiet(ACME).await;
    assert_eq!(stage.vendor(ACME).users(), 1);
    one.shut_down().await;
}

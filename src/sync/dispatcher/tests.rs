use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep};

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

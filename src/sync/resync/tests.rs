use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{Mode, Progress, Scope, State};
use crate::store::{NewResync, Part, Store as _};
use crate::sync::stage::{ACME, Replica, Stage, until};

/// What a page takes at the vendor, and what it takes to keep one.
const TAKES: Duration = Duration::from_secs(10);
/// Three pages.
const USERS: usize = 60;

/// A vendor who has everybody, and a resync that is asked for. From now on everything takes its time.
async fn begin() -> (Stage, Replica) {
    let stage = Stage::new(&[ACME], 1_000.0).await;
    stage.hire(0..USERS).await;
    let replica = stage.replica("a");
    stage.quiet(ACME).await;
    stage.vendor(ACME).describe("Groups", json!({"totalResults": 0}));
    stage.vendor(ACME).set_latency(TAKES);
    keep_takes(&stage, TAKES);
    let progress = Progress::new(Mode::Report, Scope::All, "ops".to_owned());
    let (id, target) = ("r-1".to_owned(), ACME.to_owned());
    let new = NewResync { id, target, at: stage.clock.now(), by: None, body: json!(progress) };
    assert!(stage.world.view().resyncs().begin_resync(&new).await.unwrap());
    (stage, replica)
}

fn keep_takes(stage: &Stage, takes: Duration) {
    stage.world.habits.lock().unwrap().keep_takes = takes;
}

async fn progress(stage: &Stage) -> Progress {
    let record = stage.world.view().resyncs().resync("r-1").await.unwrap().unwrap();
    Progress::read(&record.body).unwrap()
}

async fn ended(stage: &Stage) -> Progress {
    until("the resync ends", async || progress(stage).await.ended_at.is_some()).await;
    progress(stage).await
}

fn starts(pages: &[(Instant, usize)]) -> Vec<usize> {
    pages.iter().map(|(_, start)| *start).collect()
}

#[tokio::test(start_paused = true)]
async fn the_next_page_is_asked_for_while_the_last_one_is_kept_and_one_at_a_time() {
    let (stage, replica) = begin().await;
    let ended = ended(&stage).await;
    assert_eq!((ended.state, ended.read, ended.findings()), (State::Complete, 60, 0), "{ended:?}");
    let pages = stage.vendor(ACME).pages();
    assert_eq!(starts(&pages), [1, 21, 41]);
    for pair in pages.windows(2) {
        let gap = pair[1].0 - pair[0].0;
        assert!(gap >= TAKES, "no call before the last one is answered: {gap:?}");
        assert!(gap < TAKES * 2, "nor does it wait until that page is kept: {gap:?}");
    }
    replica.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_only_read_ahead_is_asked_for_again_after_a_restart() {
    let (stage, replica) = begin().await;
    let asked = stage.vendor(ACME).clone();
    until("the last page is asked for", async || asked.pages().len() == 3).await;
    // The second page has come, and is about to be kept.
    replica.kill().await;
    assert_eq!(progress(&stage).await.read, 20);
    keep_takes(&stage, Duration::ZERO);
    let replica = stage.replica("b");
    let ended = ended(&stage).await;
    assert_eq!((ended.state, ended.read, ended.findings()), (State::Complete, 60, 0), "{ended:?}");
    assert_eq!(starts(&asked.pages()), [1, 21, 41, 21, 41], "what was kept is not read again");
    replica.shut_down().await;
}

async fn has_forgotten(stage: &Stage) -> bool {
    let rows = stage.world.view().resyncs().resync_rows("r-1", Part::User, None, 1).await;
    rows.unwrap().items.is_empty()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_was_seen_to_be_forgotten_and_who_takes_over_forgets_it() {
    let (stage, replica) = begin().await;
    stage.world.habits.lock().unwrap().forget_takes = Duration::from_hours(24);
    assert_eq!(ended(&stage).await.state, State::Complete);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!has_forgotten(&stage).await, "that takes a day");
    replica.kill().await;
    stage.world.habits.lock().unwrap().forget_takes = Duration::ZERO;
    let replica = stage.replica("b");
    until("what was seen is forgotten", async || has_forgotten(&stage).await).await;
    assert_eq!(progress(&stage).await.state, State::Complete);
    replica.shut_down().await;
}

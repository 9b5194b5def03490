//! Several replicas on one store, and vendors that note who called when.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::time::{Instant, advance, sleep};

use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{Lane, Store, TargetState};
use crate::sync::stage::{ACME, LEASE, Mood, Stage, Vendor, throttled, until};
use crate::target::layers::breaker::BreakerState;

const RATE: f64 = 10.0;
/// A little more than the time between two calls.
const PERIOD: Duration = Duration::from_millis(110);

/// The last call of one replica and the first of another after it.
fn handover(vendor: &Vendor, from: &str, to: &str) -> (Instant, Instant) {
    let last = vendor.calls_by(from).last().expect("the first holder called").at;
    let first = vendor.calls_by(to).into_iter().find(|seen| seen.at > last);
    (last, first.expect("the next holder called").at)
}

#[tokio::test(start_paused = true)]
async fn who_starts_alone_dispatches_at_once() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.hire(0..3).await;
    let began = Instant::now();
    let one = stage.replica("one");
    until("the first call", async || !stage.vendor(ACME).calls().is_empty()).await;
    assert!(began.elapsed() <= PERIOD + Duration::from_millis(50), "{:?}", began.elapsed());
    stage.quiet(ACME).await;
    assert_eq!(stage.vendor(ACME).users(), 3);
    assert_eq!(one.target(ACME).holder().as_deref(), Some("one"));
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_second_replica_gets_its_part_with_hardly_a_pause_and_never_calls_beside_the_first() {
    let stage = Stage::new(&[ACME, "beta"], RATE).await;
    stage.hire(0..200).await;
    let one = stage.replica("one");
    until("both are held", async || one.holds(ACME) && one.holds("beta")).await;
    sleep(Duration::from_secs(3)).await;
    let two = stage.replica("two");
    until("each holds one", async || one.holds(ACME) && two.holds("beta")).await;
    sleep(Duration::from_secs(5)).await;
    let (last, first) = handover(stage.vendor("beta"), "one", "two");
    assert!(
        first - last >= Duration::from_millis(100),
        "a full period after the last call: {:?}",
        first - last
    );
    assert!(first - last < Duration::from_secs(1), "{:?}", first - last);
    assert!(stage.vendor(ACME).calls_by("two").is_empty(), "what is spread evenly stays where it is");

    for target in [ACME, "beta"] {
        stage.quiet(target).await;
        assert_eq!(stage.vendor(target).users(), 200);
    }
    assert_eq!(one.target("beta").holder().as_deref(), Some("two"), "the roster tells everybody");
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn who_shuts_down_records_what_is_in_flight_and_hands_over_in_a_moment() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.vendor(ACME).set_latency(Duration::from_millis(300));
    stage.hire(0..100).await;
    let one = stage.replica("one");
    until("some are there", async || stage.vendor(ACME).users() > 10).await;
    let two = stage.replica("two");
    sleep(Duration::from_secs(6)).await;
    assert!(one.holds(ACME) && !two.holds(ACME), "there is one target, and it stays");
    one.shut_down().await;
    sleep(Duration::from_secs(2)).await;
    let (last, first) = handover(stage.vendor(ACME), "one", "two");
    assert!(first - last < Duration::from_secs(1), "{:?}", first - last);
    stage.quiet(ACME).await;
    let creations = stage.vendor(ACME).calls().into_iter().filter(|seen| seen.method == http::Method::POST);
    assert_eq!((stage.vendor(ACME).users(), creations.count()), (100, 100), "nobody was created twice");
    two.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_replicas_target_is_taken_over_when_its_lease_has_ended() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.hire(0..60).await;
    let (one, two) = (stage.replica("one"), stage.replica("two"));
    until("it is held", async || one.holds(ACME)).await;
    sleep(Duration::from_secs(4)).await;
    let died = Instant::now();
    one.kill().await;
    let (_, ends) = stage.world.holder(ACME).unwrap();
    until("it is taken over", async || two.holds(ACME)).await;
    stage.quiet(ACME).await;
    let (last, first) = handover(stage.vendor(ACME), "one", "two");
    assert!(last <= died && first > ends, "not while the lease lasted");
    assert!(first - died <= LEASE.term + LEASE.every() + Duration::from_secs(1), "{:?}", first - died);
    assert_eq!(stage.vendor(ACME).users(), 60);
    two.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn who_cannot_reach_the_store_stops_calling_before_its_lease_ends() {
    for mood in [Mood::Silent, Mood::Down] {
        let stage = Stage::new(&[ACME], RATE).await;
        // Calls hang, so that there is one to be cut when the lease ends.
        stage.hire(0..200).await;
        let (one, two) = (stage.replica("one"), stage.replica("two"));
        until("it is held", async || one.holds(ACME)).await;
        sleep(Duration::from_secs(7)).await;
        stage.vendor(ACME).set_latency(Duration::from_mins(1));
        one.view.set_mood(mood);
        let (_, ends) = stage.world.holder(ACME).unwrap();
        // The vendor panics where the second calls while a call of the first is not given up.
        until("it is taken over", async || two.holds(ACME)).await;
        stage.vendor(ACME).set_latency(Duration::ZERO);
        let last = stage.vendor(ACME).calls_by("one").last().unwrap().at;
        assert!(last <= ends - LEASE.margin, "{mood:?}");
        assert!(!one.holds(ACME));

        one.view.set_mood(Mood::Well);
        let before = stage.vendor(ACME).calls_by("one").len();
        stage.quiet(ACME).await;
        assert_eq!(stage.vendor(ACME).users(), 200, "{mood:?}");
        assert_eq!(stage.vendor(ACME).calls_by("one").len(), before, "it is another's now");
        two.kill().await;
        until("it is back", async || one.holds(ACME)).await;
        one.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_could_not_renew_in_time_takes_its_target_anew_when_nobody_else_has() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.hire(0..250).await;
    let one = stage.replica("one");
    until("it is held", async || one.holds(ACME)).await;
    one.view.set_mood(Mood::Down);
    until("it is lost", async || !one.holds(ACME)).await;
    let lost = stage.vendor(ACME).calls().len();
    sleep(LEASE.term).await;
    assert_eq!(stage.vendor(ACME).calls().len(), lost);
    one.view.set_mood(Mood::Well);
    let back = Instant::now();
    until("it is back", async || stage.vendor(ACME).calls().len() > lost).await;
    assert!(back.elapsed() <= LEASE.retry + Duration::from_secs(1), "{:?}", back.elapsed());
    stage.quiet(ACME).await;
    assert_eq!(stage.vendor(ACME).users(), 250);
    one.shut_down().await;
}

/// The process is stopped, and goes on when another has long taken over.
#[tokio::test(start_paused = true)]
async fn who_slept_past_its_lease_sends_nothing_on_waking() {
    for latency in [Duration::ZERO, Duration::from_secs(10)] {
        let stage = Stage::new(&[ACME], RATE).await;
        stage.vendor(ACME).set_latency(latency);
        stage.hire(0..200).await;
        let one = stage.replica("one");
        until("calls go out", async || stage.vendor(ACME).calls().len() > 3).await;
        let last = stage.vendor(ACME).calls().last().unwrap().at;
        stage.world.depose(ACME, "two").await;
        let asleep = Instant::now();
        advance(LEASE.term).await;
        sleep(LEASE.term / 2).await;
        let calls = stage.vendor(ACME).calls();
        assert!(calls.last().unwrap().at <= asleep, "{:?}", calls.last().unwrap().at - last);
        assert!(!one.holds(ACME));
        one.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_commit_is_refused_and_ends_the_run() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.vendor(ACME).set_latency(Duration::from_secs(2));
    stage.hire(0..200).await;
    let one = stage.replica("one");
    until("a call goes out", async || !stage.vendor(ACME).calls().is_empty()).await;
    let pending = stage.pending(ACME).await;
    stage.world.depose(ACME, "two").await;
    let deposed = Instant::now();
    until("it stops", async || !one.holds(ACME)).await;
    assert!(deposed.elapsed() < Duration::from_secs(6), "{:?}", deposed.elapsed());
    let calls = stage.vendor(ACME).calls().len();
    sleep(LEASE.term / 2).await;
    assert_eq!(stage.vendor(ACME).calls().len(), calls);
    assert_eq!(stage.pending(ACME).await, pending, "nothing was recorded under the old tenure");
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_roster_that_names_another_ends_the_run_of_who_has_nothing_to_commit() {
    let stage = Stage::new(&[ACME], RATE).await;
    let one = stage.replica("one");
    until("it is held", async || one.holds(ACME)).await;
    sleep(LEASE.every() / 2).await;
    stage.world.depose(ACME, "two").await;
    sleep(LEASE.every()).await;
    assert!(!one.holds(ACME));
    assert_eq!(one.target(ACME).holder().as_deref(), Some("two"));
    one.shut_down().await;
}

/// While a configuration is rolled out, some replicas know targets that others do not.
#[tokio::test(start_paused = true)]
async fn a_target_that_some_replicas_do_not_know_is_dispatched_by_one_that_does() {
    for unknown in [ACME, "beta"] {
        let stage = Stage::new(&[ACME, "beta"], RATE).await;
        let (one, two) = (stage.replica_without(&[unknown], "one"), stage.replica("two"));
        let all = || one.targets.values().chain(two.targets.values());
        until("both are held", async || {
            two.holds(unknown) && all().filter(|target| target.is_held()).count() == 2
        })
        .await;
        one.shut_down().await;
        two.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_followed_no_more_is_let_go() {
    let stage = Stage::new(&[ACME, "beta"], RATE).await;
    let one = stage.replica("one");
    until("both are held", async || one.holds(ACME) && one.holds("beta")).await;
    stage.world.view().retire_all_but(&[ACME.to_owned()]).await.unwrap();
    sleep(LEASE.every() + PERIOD).await;
    assert!(one.holds(ACME) && !one.holds("beta"));
    one.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_and_its_end_reach_the_holder_through_any_replica_whether_or_not_hints_do() {
    for mute in [false, true] {
        let stage = Stage::new(&[ACME], RATE).await;
        stage.world.habits.lock().unwrap().mute = mute;
        stage.hire(0..200).await;
        let (one, two) = (stage.replica("one"), stage.replica("two"));
        until("it is held", async || one.holds(ACME)).await;
        sleep(Duration::from_secs(2)).await;

        two.target(ACME).pause("ops").await.unwrap();
        let heard = if mute { Duration::from_millis(1_100) } else { Duration::from_millis(100) };
        sleep(heard).await;
        let calls = stage.vendor(ACME).calls().len();
        sleep(Duration::from_secs(20)).await;
        assert_eq!(stage.vendor(ACME).calls().len(), calls, "mute: {mute}");
        assert!(matches!(one.target(ACME).state(), TargetState::Paused { by, .. } if by == "ops"));

        two.target(ACME).resume("ops").await.unwrap();
        sleep(heard + PERIOD).await;
        assert!(stage.vendor(ACME).calls().len() > calls, "mute: {mute}");
        assert_eq!(one.target(ACME).state(), TargetState::Running);

        // Whoever takes over finds it as it was left.
        two.target(ACME).pause("ops").await.unwrap();
        one.shut_down().await;
        let calls = stage.vendor(ACME).calls().len();
        until("it is taken over", async || two.holds(ACME)).await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(stage.vendor(ACME).calls().len(), calls);
        assert!(matches!(stage.stored_state(ACME).await, TargetState::Paused { .. }));
        two.shut_down().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_resume_at_any_replica_gives_a_failing_vendor_its_chance_at_the_holder() {
    let stage = Stage::new(&[ACME], RATE).await;
    let (one, two) = (stage.replica("one"), stage.replica("two"));
    until("it is held", async || one.holds(ACME)).await;
    for _ in 0..40 {
        stage.vendor(ACME).answer_next(crate::target::Answer::new(http::StatusCode::BAD_GATEWAY));
    }
    stage.hire(0..40).await;
    let breaker = || one.target(ACME).target().health().breaker.snapshot();
    until("the breaker is open for long", async || breaker().openings >= 5).await;
    let BreakerState::Open { until: opens_at, .. } = breaker().state else { panic!("{:?}", breaker()) };
    assert!(opens_at.since(stage.clock.now()) > Duration::from_secs(5));
    sleep(Duration::from_millis(100)).await;
    let kept = two.target(ACME).recollection(&two.target(ACME).record().await.unwrap().unwrap());
    assert_eq!(kept.breaker.map(|kept| kept.state), Some(breaker().state), "any replica can tell");

    let calls = stage.vendor(ACME).calls().len();
    two.target(ACME).resume("ops").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert!(stage.vendor(ACME).calls().len() > calls);
    one.shut_down().await;
    two.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn a_vendors_pause_and_a_reduced_rate_outlive_their_holder() {
    let stage = Stage::new(&[ACME], RATE).await;
    let (one, two) = (stage.replica("one"), stage.replica("two"));
    until("it is held", async || one.holds(ACME)).await;
    stage.vendor(ACME).answer_next(throttled(60));
    stage.hire(0..20).await;
    until("it is throttled", async || !stage.vendor(ACME).calls().is_empty()).await;
    let throttled_at = stage.vendor(ACME).calls()[0].at;
    // Long enough for one write, and no goodbye.
    sleep(Duration::from_millis(100)).await;
    one.kill().await;
    let before = stage.vendor(ACME).calls().len();
    until("it is taken over", async || two.holds(ACME)).await;
    sleep(Duration::from_millis(100)).await;
    let factor = two.target(ACME).target().health().limiter.snapshot().factor;
    assert!((factor - 0.7).abs() < 0.01, "{factor}");
    stage.quiet(ACME).await;
    let after = stage.vendor(ACME).calls()[before].at;
    assert!(after >= throttled_at + Duration::from_mins(1), "{:?}", after - throttled_at);
    assert!(after < throttled_at + Duration::from_secs(62), "{:?}", after - throttled_at);
    two.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn new_work_wakes_the_holder_whichever_replica_merged_it() {
    let stage = Stage::new(&[ACME], RATE).await;
    let one = stage.replica("one");
    until("it is held", async || one.holds(ACME)).await;
    sleep(Duration::from_millis(1_500)).await;
    let merged = Instant::now();
    stage.hire(0..1).await;
    until("the call", async || !stage.vendor(ACME).calls().is_empty()).await;
    assert!(merged.elapsed() < Duration::from_millis(200), "{:?}", merged.elapsed());
    one.shut_down().await;
}

/// SQLite is opened by one process at a time, so leases of the one before mean nothing.
#[tokio::test(start_paused = true)]
async fn after_a_kill_the_next_process_on_the_file_dispatches_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut options = Options::default();
        options.hold_paused_clock = true;
        Arc::new(SqliteStore::open(folder.path().join("relay.db"), options).unwrap())
    };
    let stage = Stage::new(&[ACME], RATE).await;
    let before = open();
    before.enrol(ACME, &"corp".to_owned(), stage.clock.now()).await.unwrap();
    before.attend("dead", Duration::from_hours(1)).await.unwrap();
    before.take(ACME, "dead", Duration::from_hours(1)).await.unwrap().unwrap();
    drop(before);

    let began = Instant::now();
    let one = stage.replica_on(open(), "one");
    until("it is held", async || one.holds(ACME)).await;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    one.shut_down().await;
}

/// The vendor has done what the dead replica asked for, and it has been taken back since.
#[tokio::test(start_paused = true)]
async fn what_a_dead_replica_may_have_changed_is_looked_at_where_it_was_taken_back() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.hire(0..2).await;
    let one = stage.replica("one");
    stage.quiet(ACME).await;
    stage.vendor(ACME).set_latency(Duration::from_secs(1));
    stage.promote(0..2, "Lead").await;
    let in_flight = async || {
        let seen = stage.vendor(ACME).calls();
        seen.iter().filter(|seen| seen.method == Method::PATCH).count() == 2
    };
    until("both changes are in flight", in_flight).await;
    one.kill().await;
    stage.promote(0..1, "Newcomer").await;
    stage.vendor(ACME).set_latency(Duration::ZERO);

    let two = stage.replica("two");
    stage.quiet(ACME).await;
    let calls: Vec<_> = stage.vendor(ACME).calls_by("two");
    let first_of = |method: &Method| calls.iter().position(|seen| seen.method == *method);
    assert!(first_of(&Method::GET).is_some(), "who was taken back is looked at: {calls:?}");
    assert_eq!(
        calls.iter().filter(|seen| seen.method == Method::GET).count(),
        1,
        "and nobody else: {calls:?}"
    );
    assert!(first_of(&Method::PATCH).is_some(), "who was not is sent again: {calls:?}");
    two.shut_down().await;
}

/// The same where nobody dies: the vendor does what it is told and answers too late.
#[tokio::test(start_paused = true)]
async fn what_a_lost_answer_may_have_changed_is_looked_at_where_it_was_taken_back() {
    let stage = Stage::new(&[ACME], RATE).await;
    stage.hire(0..1).await;
    let one = stage.replica("one");
    stage.quiet(ACME).await;
    stage.vendor(ACME).set_latency(Duration::from_hours(1));
    stage.promote(0..1, "Lead").await;
    let store = stage.world.view();
    let user = store.due(ACME, Lane::Change, stage.clock.now(), 1).await.unwrap().remove(0).key;
    let in_doubt = async || {
        let dossier = store.load(ACME, &user, 1).await.unwrap().unwrap();
        dossier.item.failed_at.is_some()
    };
    until("no answer has come", in_doubt).await;
    stage.vendor(ACME).set_latency(Duration::ZERO);
    let before = stage.vendor(ACME).calls().len();
    stage.promote(0..1, "Newcomer").await;
    stage.quiet(ACME).await;
    let calls = stage.vendor(ACME).calls().split_off(before);
    assert!(calls.iter().any(|seen| seen.method == Method::GET), "what is there is looked at: {calls:?}");
    one.shut_down().await;
}

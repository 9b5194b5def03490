//! Several relays on one database: whatever becomes of one of them, the others do its work, and no
//! vendor notices.

use std::collections::BTreeMap;
use std::time::Duration;

use scim_relay::demo::company::Event;
use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{Behaviour, Settings};
use serde_json::json;
use tokio::time::Instant;

use crate::support::postgres::Postgres;
use crate::support::proof::{assert_all_accounted_for, assert_equal};
use crate::support::relay::TargetSetup;
use crate::support::replicas::{Replicas, Setup};
use crate::support::sandbox::{Call, Sandbox, TOKEN, longest_gap};
use crate::support::sender::Sender;
use crate::support::{eventually, eventually_each};

const LIMIT: Duration = Duration::from_mins(2);
/// For how long a lease lasts that nobody renews.
const TERM: Duration = Duration::from_secs(15);
/// How long a free target may wait for somebody to see that it is free, on a machine that is busy.
const NOTICE: Duration = Duration::from_secs(8);

const NAMES: [&str; 3] = ["acme", "bolt", "corp"];

/// Three vendors whose answers take a while, so that calls are in flight at any moment.
async fn vendors(latency: Duration) -> Vec<Sandbox> {
    let mut vendors = Vec::new();
    for _ in NAMES {
        let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..Behaviour::default() };
        vendors.push(Sandbox::start_with(Settings { behaviour, latency, ..Settings::default() }, &[]).await);
    }
    vendors
}

fn followers(vendors: &[Sandbox], limits: &str) -> Vec<TargetSetup> {
    let follower =
        |(name, vendor): (&&str, &Sandbox)| TargetSetup::new(name, vendor.base_url(), TOKEN).with(limits);
    NAMES.iter().zip(vendors).map(follower).collect()
}

/// Events that make users, so many each.
fn hires(name: &str, events: usize, users: usize) -> Vec<Event> {
    let user = |id: String| {
        let attributes = json!({"userName": format!("{id}@example.com"), "active": true});
        json!({"op": "user.upsert", "id": id, "occurred_at": "2026-01-01T00:00:00Z", "attributes": attributes})
    };
    let event = |number: usize| Event {
        id: format!("{name}-{number}"),
        changes: (0..users).map(|index| user(format!("{name}-{number}-{index}"))).collect(),
    };
    (0..events).map(event).collect()
}

async fn calls_flow(vendors: &[Sandbox]) {
    for vendor in vendors {
        let before = vendor.total().await;
        let more = async || (vendor.total().await >= before + 10).then_some(());
        eventually("calls go out", LIMIT, more).await;
    }
}

/// Waits until nothing comes to a vendor for longer than it takes to answer; tells how much has come.
async fn rests(vendor: &Sandbox) -> u64 {
    let mut last = None;
    eventually_each(Duration::from_secs(2), "no more calls come", LIMIT, async || {
        let total = vendor.total().await;
        (last.replace(total) == Some(total)).then_some(total)
    })
    .await
}

/// Everything is at every vendor, and each user was made by one call.
async fn assert_all_made_once(replicas: &Replicas, asked: usize, vendors: &[Sandbox], events: &[Event]) {
    replicas.quiet(asked, LIMIT).await;
    for vendor in vendors {
        assert_equal(vendor, events).await;
        let calls = vendor.calls().await;
        let is_creation = |call: &&Call| call.method == "POST" && call.status == "201";
        assert_eq!(calls.iter().filter(is_creation).count(), vendor.users().await.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_of_a_killed_replica_move_when_its_lease_ends_and_nobody_is_made_twice() {
    let postgres = Postgres::start().await;
    let vendors = vendors(Duration::from_millis(100)).await;
    let limits = "limits = { rate_per_second = 40, burst = 8, concurrency = 8 }\n";
    let replicas = Replicas::start(&postgres, 2, &followers(&vendors, limits)).await;
    replicas.all_held_among(&[0, 1], &NAMES, LIMIT).await;
    let sender = Sender::to(&replicas);
    let events = hires("u", 100, 10);
    let load = sender.begin(&events, 20);
    calls_flow(&vendors).await;

    let victim = replicas.holder_among(&[0, 1], NAMES[0]).await.unwrap();
    let survivor = 1 - victim;
    replicas.kill(victim).await;
    let killed_at = Instant::now();
    replicas.all_held_among(&[survivor], &NAMES, LIMIT).await;
    let moved_after = killed_at.elapsed();
    println!("all targets had moved after {moved_after:?}");
    assert!(moved_after < TERM + NOTICE, "{moved_after:?}");

    load.await.unwrap();
    assert_all_made_once(&replicas, survivor, &vendors, &events).await;
    assert_all_accounted_for(&replicas, survivor, &sender, &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_slept_past_its_lease_finds_itself_deposed_and_nobody_is_made_twice() {
    let postgres = Postgres::start().await;
    let vendors = vendors(Duration::from_millis(500)).await;
    let limits = "limits = { rate_per_second = 20, burst = 8, concurrency = 8 }\n";
    let replicas = Replicas::start(&postgres, 2, &followers(&vendors, limits)).await;
    replicas.all_held_among(&[0, 1], &NAMES, LIMIT).await;
    let sender = Sender::to(&replicas);
    let events = hires("u", 60, 10);
    sender.deliver_at(&events, 100).await;
    calls_flow(&vendors).await;

    let sleeper = replicas.holder_among(&[0, 1], NAMES[0]).await.unwrap();
    let other = 1 - sleeper;
    replicas.pause(sleeper).await;
    replicas.all_held_among(&[other], &NAMES, LIMIT).await;
    // The vendor has long answered what the sleeper had in flight; the other finds it by looking.
    calls_flow(&vendors).await;
    // Of a pause the sleeper knows nothing, so whatever comes now comes from one that believes its lease.
    replicas.act(other, &format!("/targets/{}/pause", NAMES[0])).await;
    let before = rests(&vendors[0]).await;
    replicas.wake(sleeper).await;
    let lost = async || replicas.log(sleeper).contains("lost a target").then_some(());
    eventually("the sleeper sees that it has lost its targets", LIMIT, lost).await;
    assert_eq!(vendors[0].total().await, before, "calls without a lease");
    replicas.act(sleeper, &format!("/targets/{}/resume", NAMES[0])).await;

    assert_all_made_once(&replicas, other, &vendors, &events).await;
    assert_all_made_once(&replicas, sleeper, &vendors, &events).await;
    assert_all_accounted_for(&replicas, sleeper, &sender, &events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_same_event_at_two_replicas_at_once_one_is_accepted_and_one_is_known() {
    let postgres = Postgres::start().await;
    let replicas = Replicas::start(&postgres, 2, &[]).await;
    let sender = Sender::to(&replicas);
    let urls = [replicas.url(0).unwrap(), replicas.url(1).unwrap()];
    for event in hires("u", 200, 1) {
        let body = event.body();
        let post = |url| sender.post_once(url, &event.id, &body);
        let (first, second) = tokio::join!(post(&urls[0]), post(&urls[1]));
        let mut answers = [first.unwrap(), second.unwrap()];
        answers.sort_unstable();
        assert_eq!(answers, [200, 202], "{}", event.id);
    }
    assert_eq!(postgres.number("SELECT count(*) FROM events").await, 200);
}

/// Events without a time of their own count from their receipt, which any replica may have seen.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_whose_clocks_are_wrong_agree_on_what_came_last() {
    let postgres = Postgres::start().await;
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    // More than a signature's age may be off, so that a replica which believed its clock would show.
    let clocks = [0, 400, -400];
    let setups = clocks.map(|seconds| Setup::on(&postgres).with_clock_off_by(seconds)).to_vec();
    let replicas = Replicas::start_each(setups, &[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]).await;
    let holder = replicas.all_held_among(&[0, 1, 2], &["acme"], LIMIT).await[0];
    let sender = Sender::to(&replicas);
    for number in 0..90 {
        let attributes =
            json!({"userName": "jane@example.com", "active": true, "title": format!("title {number}")});
        let change = json!({"op": "user.upsert", "id": "u-1", "attributes": attributes});
        let body = json!({ "changes": [change] }).to_string();
        let url = replicas.url(number % clocks.len()).unwrap();
        let status = sender.post_once(&url, &format!("evt-{number}"), &body).await;
        assert_eq!(status, Some(202), "posted to a clock that is off by {} s", clocks[number % clocks.len()]);
    }
    replicas.quiet(0, LIMIT).await;
    assert_eq!(sandbox.user("u-1").await["title"], "title 89", "the last one wins");
    assert_eq!(replicas.holder_among(&[0, 1, 2], "acme").await, Some(holder), "leases do not care");
    let logs: Vec<String> = (0..3).map(|number| replicas.log(number)).collect();
    assert!(logs.iter().all(|log| !log.contains("lost a target")), "nobody lost a target");
}

/// How each vendor's longest wait for a call changes.
async fn longest_gaps(vendors: &[Sandbox], since_us: &[u64]) -> BTreeMap<&'static str, Duration> {
    let mut gaps = BTreeMap::new();
    for ((name, vendor), since) in NAMES.iter().zip(vendors).zip(since_us) {
        gaps.insert(*name, longest_gap(&vendor.calls().await, *since..u64::MAX));
    }
    gaps
}

async fn moments(vendors: &[Sandbox]) -> Vec<u64> {
    let mut moments = Vec::new();
    for vendor in vendors {
        moments.push(vendor.moment().await);
    }
    moments
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_restarted_one_after_the_other_and_no_vendor_waits_for_it() {
    let postgres = Postgres::start().await;
    let vendors = vendors(Duration::from_millis(20)).await;
    let limits = "limits = { rate_per_second = 25, burst = 1, concurrency = 8 }\n";
    let replicas = Replicas::start(&postgres, 3, &followers(&vendors, limits)).await;
    replicas.all_held_among(&[0, 1, 2], &NAMES, LIMIT).await;
    let sender = Sender::to(&replicas);
    // Two calls a user: a minute's work at least, whatever comes in besides.
    let mut events = hires("first", 80, 10);
    sender.deliver_at(&events, 100).await;
    calls_flow(&vendors).await;
    let undisturbed_since = moments(&vendors).await;
    calls_flow(&vendors).await;
    calls_flow(&vendors).await;
    let undisturbed = longest_gaps(&vendors, &undisturbed_since).await;

    let during = hires("during", 200, 1);
    let load = sender.begin(&during, 20);
    let restarts_since = moments(&vendors).await;
    for number in 0..replicas.count() {
        replicas.terminate(number).await;
        replicas.start_one(number).await;
    }
    replicas.all_held_among(&[0, 1, 2], &NAMES, LIMIT).await;
    calls_flow(&vendors).await;
    let restarted = longest_gaps(&vendors, &restarts_since).await;
    let pending = replicas.admin(0, "/status").await;
    assert!(NAMES.iter().all(|name| pending["targets"][name]["pending"] != 0), "there was work: {pending}");
    println!("longest waits of vendors: undisturbed {undisturbed:?}, over restarts {restarted:?}");
    for (name, gap) in restarted {
        assert!(gap < GAP_MAX, "{name} waited for {gap:?}; undisturbed {undisturbed:?}");
    }

    load.await.unwrap();
    events.extend(during);
    assert_all_made_once(&replicas, 0, &vendors, &events).await;
    assert_all_accounted_for(&replicas, 0, &sender, &events).await;
    assert_eq!(sender.tally().hung, 0);
}

/// A second, and what a machine of two busy cores adds to it.
const GAP_MAX: Duration = Duration::from_millis(1_500);

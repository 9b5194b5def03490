//! Somebody leaves while ten thousand changes wait: the call that ends their access is the next one.

use std::time::Duration;

use scim_relay::clock::{Clock as _, SystemClock};
use scim_relay::sandbox::Behaviour;
use scim_relay::store::sqlite::{Options, SqliteStore};
use scim_relay::store::{NewEvent, Store as _};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN, shapes};

const LIMIT: Duration = Duration::from_mins(1);
const BACKLOG: usize = 10_000;
/// How long merging one event may take beside all else.
const MERGE_MAX: Duration = Duration::from_secs(30);
/// The rate that the target is held to.
const PER_SECOND: usize = 10;

async fn home(sandbox: &Sandbox) -> Home {
    // Somebody whom the relay has not met, and who is known to the vendor by the source's id.
    sandbox.make("Users", &json!({"userName": "stranger@example.com", "externalId": "u-stranger"})).await;
    let limits = format!("limits = {{ rate_per_second = {PER_SECOND}, burst = 1, concurrency = 8 }}\n");
    Home::new(&[TargetSetup::new("slow", sandbox.base_url(), TOKEN).with(&limits)])
}

/// Makes a user whom the relay has linked.
async fn link(relay: &Relay) {
    relay.changes("evt-link", &json!([upsert("u-linked")])).await;
    relay.quiet("slow", LIMIT).await;
}

fn upsert(id: &str) -> Value {
    json!({"op": "user.upsert", "id": id, "attributes": {"userName": format!("{id}@example.com"), "active": true}})
}

fn newcomer(number: usize) -> Value {
    upsert(&format!("n-{number}"))
}

/// Posts the event that ends somebody's access, waits until it is done, and answers the calls that
/// came at the vendor since the event was merged, the PATCH of the leaver included.
///
/// Merging takes what the machine takes, whatever the vendor does; a call that goes out meanwhile is
/// ahead of nobody. It has a bound of its own: a fraction of what the backlog would take.
async fn calls_until_inactive(relay: &Relay, sandbox: &Sandbox, id: &str) -> Vec<String> {
    let event = format!("evt-{id}-leaves");
    relay.changes(&event, &json!([{"op": "user.deactivate", "id": id}])).await;
    let accepted_at = sandbox.moment().await;
    eventually("the event is merged", MERGE_MAX, async || {
        (relay.admin(&format!("/events/{event}")).await["state"] == "projected").then_some(())
    })
    .await;
    let merged_at = sandbox.moment().await;
    eventually("the leaver is inactive", LIMIT, async || {
        (sandbox.user(id).await["active"] == false).then_some(())
    })
    .await;
    let vendor_id = sandbox.user(id).await["id"].as_str().unwrap().to_owned();
    let calls = sandbox.calls().await;
    let at = calls.iter().position(|call| call.method == "PATCH" && call.path.ends_with(&vendor_id));
    let calls = &calls[..=at.expect("a PATCH of the leaver")];
    let came_since = |moment| calls.iter().filter(|call| call.time_us >= moment).cloned().collect::<Vec<_>>();
    println!("{id}: {} calls from acceptance to the PATCH", came_since(accepted_at).len());
    shapes(&came_since(merged_at))
}

/// Of a user whom the relay knows the PATCH is the next call; of another one the look-up, then the PATCH.
async fn assert_leavers_are_next(relay: &Relay, sandbox: &Sandbox) {
    let linked = calls_until_inactive(relay, sandbox, "u-linked").await;
    assert!(linked.len() <= 2, "at most one call that had its permit already goes ahead: {linked:?}");
    let stranger = calls_until_inactive(relay, sandbox, "u-stranger").await;
    assert!(stranger.len() <= 3, "at most one call that had its permit already goes ahead: {stranger:?}");
    let last_two = &sandbox_calls_of_a_stranger(sandbox).await;
    assert_eq!(last_two, &["GET Users? 200", "PATCH Users 200"], "nothing comes between the two");
}

/// The PATCH of the stranger, and what came right before.
async fn sandbox_calls_of_a_stranger(sandbox: &Sandbox) -> Vec<String> {
    let vendor_id = sandbox.user("u-stranger").await["id"].as_str().unwrap().to_owned();
    let calls = sandbox.calls().await;
    let at = calls.iter().position(|call| call.path.ends_with(&vendor_id)).expect("a PATCH");
    shapes(&calls[at - 1..=at])
}

async fn assert_the_backlog_stands(relay: &Relay) {
    let status = relay.admin("/status").await;
    let left = status["targets"]["slow"]["lanes"]["change"].as_u64().unwrap();
    assert!(left > 9 * BACKLOG as u64 / 10, "the leavers did not wait for the others: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_goes_ahead_of_ten_thousand_changes_that_wait_for_the_vendor() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = home(&sandbox).await;
    let relay = home.start().await;
    link(&relay).await;
    for part in 0..10 {
        let changes: Vec<Value> = (0..BACKLOG / 10).map(|n| newcomer(part * BACKLOG / 10 + n)).collect();
        relay.changes(&format!("evt-import-{part}"), &json!(changes)).await;
    }
    eventually("the import is merged", LIMIT, async || {
        (relay.admin("/status").await["inbox"]["unprojected"] == 0).then_some(())
    })
    .await;
    assert_leavers_are_next(&relay, &sandbox).await;
    assert_the_backlog_stands(&relay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivation_goes_ahead_of_ten_thousand_events_that_are_not_merged_yet() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = home(&sandbox).await;
    let relay = home.start().await;
    link(&relay).await;
    assert_eq!(relay.terminate().await, Some(0));
    fill_inbox(&home).await;

    let relay = home.start().await;
    let unmerged = relay.admin("/status").await["inbox"]["unprojected"].as_u64().unwrap();
    let linked = calls_until_inactive(&relay, &sandbox, "u-linked").await;
    assert!(linked.len() <= 2, "at most one call that had its permit already goes ahead: {linked:?}");
    let left = relay.admin("/status").await["inbox"]["unprojected"].as_u64().unwrap();
    println!("{unmerged} events unmerged before, {left} after");
    assert!(
        left > BACKLOG as u64 / 10,
        "only {left} events were left to merge: the leaver waited for them, or the test has no point"
    );
}

/// Puts events into the store of a relay that does not run, as they are after a long stop.
async fn fill_inbox(home: &Home) {
    let store = SqliteStore::open(home.path().join("relay.db"), Options::default()).unwrap();
    let event = |number| {
        store.append(NewEvent {
            source: "hr".into(),
            directory: "default".into(),
            event_id: format!("evt-{number}"),
            received_at: SystemClock.now(),
            urgent: false,
            body: json!({"changes": [newcomer(number)]}).to_string().into_bytes(),
        })
    };
    for first in (0..BACKLOG).step_by(100) {
        for appended in futures_util::future::join_all((first..first + 100).map(event)).await {
            appended.unwrap();
        }
    }
    store.close().await;
}

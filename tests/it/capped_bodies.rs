//! Vendors that take a group's body up to so many bytes: what is larger is not sent where that is known, found
//! out where it is not, and told to a person where it cannot be cut.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use scim_relay::target::Profile;
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Call, Sandbox, TOKEN, shapes};

const LIMIT: Duration = Duration::from_mins(1);
/// Room for the names of some twenty members.
const CAPPED: &str = "[members]\nmax_bytes = 1200\n";

fn profile(tables: &str) -> String {
    format!("name = \"capped\"\nevidence = \"unverified\"\nsources = []\nas_of = \"2026-11-21\"\n\n{tables}")
}

/// A vendor, and a relay that takes it for what `known` says.
async fn start(vendor: &str, known: &str) -> (Sandbox, Home, Relay) {
    let behaviour = Behaviour::from(&Profile::parse(&profile(vendor)).unwrap());
    let sandbox = Sandbox::start(Behaviour { rate: None, ..behaviour }, &[]).await;
    let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("capped.toml");
    let home = Home::new(&[target]);
    std::fs::write(home.path().join("capped.toml"), profile(known)).unwrap();
    let relay = home.start().await;
    (sandbox, home, relay)
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("u-{number}")).collect()
}

/// A group of so many people, who have their accounts before it is heard of: it is made with all of them.
async fn crowd(relay: &Relay, group: &str, size: usize) -> Vec<Value> {
    let person = |id: String| json!({"op": "user.upsert", "attributes": {"userName": format!("{id}@example.com")}, "id": id});
    let people: Value = ids(0..size).into_iter().map(person).collect();
    assert_eq!(done(relay, &format!("evt-people-{group}"), &people).await, Vec::<Value>::new());
    let members = json!({"op": "group.members", "id": group, "add": ids(0..size)});
    done(relay, &format!("evt-group-{group}"), &json!([named(group, group), members])).await
}

fn named(group: &str, name: &str) -> Value {
    json!({"op": "group.upsert", "id": group, "attributes": {"displayName": name}})
}

/// What is parked once all is done.
async fn done(relay: &Relay, event: &str, changes: &Value) -> Vec<Value> {
    relay.changes(event, changes).await;
    relay.quiet("acme", LIMIT).await;
    relay.items("/targets/acme/parked").await
}

async fn writes_to_groups(sandbox: &Sandbox) -> Vec<Call> {
    let mut calls = sandbox.calls().await;
    calls.retain(|call| call.method != "GET" && call.path.starts_with("Groups"));
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_larger_than_the_profile_says_and_everybody_joins_and_leaves() {
    let (sandbox, _home, relay) = start(CAPPED, CAPPED).await;
    assert_eq!(crowd(&relay, "Support", 60).await, Vec::<Value>::new());
    assert_eq!(sandbox.members("Support").await.len(), 60);
    let leave = json!([{"op": "group.members", "id": "Support", "remove": ids(0..50)}]);
    assert_eq!(done(&relay, "evt-leave", &leave).await, Vec::<Value>::new());
    assert_eq!(sandbox.members("Support").await.len(), 10);
    let calls = writes_to_groups(&sandbox).await;
    assert!(calls.iter().all(|call| call.status.starts_with('2')), "{:?}", shapes(&calls));
    let largest = calls.iter().map(|call| call.body_bytes).max().unwrap();
    assert!((600..=1_200).contains(&largest), "no larger, and not one by one either: {largest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_vendor_finds_too_large_is_cut_until_everybody_is_in() {
    let (sandbox, _home, relay) = start(CAPPED, "").await;
    assert_eq!(crowd(&relay, "Support", 60).await, Vec::<Value>::new());
    assert_eq!(sandbox.members("Support").await.len(), 60);
    let calls = writes_to_groups(&sandbox).await;
    let refused = calls.iter().filter(|call| call.status == "413").count();
    assert!((1..=4).contains(&refused), "cut and remembered, not tried again: {:?}", shapes(&calls));
    assert!(calls.iter().filter(|call| call.status == "413").all(|call| call.body_bytes > 1_200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_too_large_to_be_replaced_is_parked_in_words_and_keeps_its_members() {
    let whole = "[patch]\nsupported = false\n\n[members]\nmax_bytes = 2000\n";
    let (sandbox, _home, relay) = start(whole, whole).await;
    assert_eq!(crowd(&relay, "Small", 3).await, Vec::<Value>::new());
    assert_eq!(crowd(&relay, "Large", 25).await, Vec::<Value>::new());
    let parked = done(&relay, "evt-names", &json!([named("Small", "Little"), named("Large", "Big")])).await;
    assert_eq!(sandbox.members("Little").await.len(), 3, "it was replaced with its members");
    assert_eq!(sandbox.members("Large").await.len(), 25, "it is as it was");
    let told: Vec<_> = parked.iter().map(|item| (item["id"].as_str(), item["reason"].as_str())).collect();
    assert_eq!(told, [(Some("group:Large"), Some("413: more than 2000 bytes in one request"))]);
    let calls = writes_to_groups(&sandbox).await;
    let refused: Vec<_> = calls.iter().filter(|call| call.status == "413").map(Call::shape).collect();
    assert_eq!(refused, ["PUT Groups 413"], "once");
}

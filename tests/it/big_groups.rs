//! A group of 100,000: what is changed decides what it costs, not how many are in it.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::{GroupRules, UnknownMember};
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Call, Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(4);
const MEMBERS: usize = 100_000;

/// A vendor with a group of `members` whom nobody but the group knows.
async fn vendor(members: usize) -> Sandbox {
    let groups = GroupRules { unknown_member: UnknownMember::Accepted, ..GroupRules::default() };
    let sandbox = Sandbox::start(Behaviour { groups, ..Behaviour::default() }, &[]).await;
    let theirs: Vec<Value> =
        (0..members).map(|number| json!({"value": format!("theirs-{number:07}")})).collect();
    let group = json!({"displayName": "Everyone", "externalId": "g-1", "members": theirs});
    sandbox.make("Groups", &group).await;
    sandbox
}

async fn start(sandbox: &Sandbox) -> (Home, Relay) {
    let limits = "limits = { rate_per_second = 2000, burst = 50, concurrency = 4 }\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(limits)]);
    let relay = home.start().await;
    (home, relay)
}

fn joiners(range: std::ops::Range<usize>) -> Value {
    let ids: Vec<String> = range.map(|number| format!("u-{number}")).collect();
    let mut changes: Vec<Value> = ids
        .iter()
        .map(|id| json!({"op": "user.upsert", "id": id, "attributes": {"userName": format!("{id}@example.com")}}))
        .collect();
    changes.push(json!({"op": "group.members", "id": "g-1", "add": ids}));
    Value::Array(changes)
}

/// The calls about the group since the first `after` ones, and the bytes both ways.
async fn about_the_group(sandbox: &Sandbox, after: usize) -> (Vec<Call>, u64) {
    let calls = sandbox.calls().await.split_off(after);
    let calls: Vec<_> = calls.into_iter().filter(|call| call.path.starts_with("Groups")).collect();
    let bytes = calls.iter().map(|call| call.body_bytes + call.answer_bytes).sum();
    (calls, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_to_a_group_of_a_hundred_thousand_costs_what_it_changes() {
    let sandbox = vendor(MEMBERS).await;
    let (_home, relay) = start(&sandbox).await;
    relay.changes("evt-1", &joiners(0..1)).await;
    relay.quiet("acme", LIMIT).await;
    let (met, whole) = about_the_group(&sandbox, 0).await;
    println!("the first contact: {} calls, {whole} bytes", met.len());

    // One joins.
    let before = sandbox.calls().await.len();
    relay.changes("evt-2", &joiners(1..2)).await;
    relay.quiet("acme", LIMIT).await;
    let (calls, bytes) = about_the_group(&sandbox, before).await;
    println!("one joins: {} calls, {bytes} bytes", calls.len());
    assert_eq!(calls.len(), 1, "{calls:?}");
    assert!(bytes * 1_000 < whole, "{bytes} bytes, of {whole} for the whole");

    // Somebody else changes the group meanwhile: its version is read, and not its members.
    let group =
        sandbox.console(reqwest::Method::GET, "Groups?excludedAttributes=members", &Value::Null).await;
    let group = group["Resources"][0]["id"].as_str().unwrap().to_owned();
    let edit = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "members", "value": [{"value": "theirs-too"}]}]});
    sandbox
        .console(reqwest::Method::PATCH, &format!("Groups/{group}?excludedAttributes=members"), &edit)
        .await;
    let before = sandbox.calls().await.len();
    relay.changes("evt-3", &joiners(2..3)).await;
    relay.quiet("acme", LIMIT).await;
    let (calls, bytes) = about_the_group(&sandbox, before).await;
    println!("one joins behind somebody's back: {} calls, {bytes} bytes", calls.len());
    let statuses: Vec<_> = calls.iter().map(|call| format!("{} {}", call.method, call.status)).collect();
    assert_eq!(statuses, ["PATCH 412", "GET 200", "PATCH 200"]);
    assert!(bytes * 1_000 < whole, "{bytes} bytes, of {whole} for the whole");

    // Many join, in chunks of what the profile allows.
    let mut many = joiners(3..1_003);
    let membership = many.as_array_mut().unwrap().pop().unwrap();
    relay.changes("evt-4", &many).await;
    relay.quiet("acme", LIMIT).await;
    let before = sandbox.calls().await.len();
    relay.changes("evt-5", &json!([membership])).await;
    relay.quiet("acme", LIMIT).await;
    let (calls, bytes) = about_the_group(&sandbox, before).await;
    println!("a thousand join: {} calls, {bytes} bytes", calls.len());
    assert_eq!(calls.len(), 10);
    assert!(bytes * 10 < whole, "{bytes} bytes, of {whole} for the whole");
    assert_eq!(sandbox.members("Everyone").await.len(), MEMBERS + 1 + 1_003);
    assert_eq!(relay.terminate().await, Some(0));
}

/// The whole group is over what is taken in of one answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_too_large_to_be_read_is_found_and_changed_all_the_same() {
    let sandbox = vendor(20_000).await;
    let profile = "name = \"small\"\nevidence = \"unverified\"\nsources = []\nas_of = \"2026-11-21\"\n\n[http]\nbody_bytes_max = 65536\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("small.toml")]);
    std::fs::write(home.path().join("small.toml"), profile).unwrap();
    let relay = home.start().await;
    relay.changes("evt-1", &joiners(0..1)).await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
    assert_eq!(sandbox.members("Everyone").await.len(), 20_001);
}

//! "Everyone has left": what a source says in error is done to a few, and a person decides about the rest.

use std::time::Duration;

use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::relay::{ADMIN_KEY, Home, JsonValue as _, Relay, TargetSetup};
use crate::support::resyncs::resync;
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(2);
/// Everybody at the company.
const PEOPLE: usize = 500;
/// A tenth of them, which is the default's most as well.
const ALLOWED: usize = 50;

async fn start(people: usize, guard: &'static str) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_guard(guard)]);
    let relay = home.start().await;
    for (number, chunk) in (0..people).collect::<Vec<_>>().chunks(100).enumerate() {
        let changes: Value = chunk.iter().map(|number| hire(*number)).collect();
        relay.changes(&format!("evt-hire-{number}"), &changes).await;
    }
    let ids: Vec<String> = (0..people).map(id).collect();
    let group = json!([{"op": "group.upsert", "id": "g-all", "attributes": {"displayName": "All"}},
                       {"op": "group.members", "id": "g-all", "add": ids}]);
    relay.changes("evt-group", &group).await;
    relay.quiet("acme", LIMIT).await;
    (sandbox, home, relay)
}

fn id(number: usize) -> String {
    format!("u-{number:03}")
}

fn hire(number: usize) -> Value {
    let id = id(number);
    json!({"op": "user.upsert", "id": id, "attributes": {"userName": format!("{id}@example.com"), "active": true}})
}

async fn fire(relay: &Relay, number: usize) {
    relay.changes(&format!("evt-fire-{number}"), &json!([{"op": "user.delete", "id": id(number)}])).await;
}

async fn inactive(sandbox: &Sandbox) -> usize {
    sandbox.users().await.iter().filter(|user| user["active"] == false).count()
}

async fn members(sandbox: &Sandbox) -> usize {
    sandbox.members("All").await.len()
}

async fn only_hold(relay: &Relay) -> Value {
    let holds = relay.items("/holds").await;
    assert_eq!(holds.len(), 1, "{holds:?}");
    holds[0].clone()
}

/// POST below `/holds/{id}`, which must work.
async fn decide(relay: &Relay, hold: &Value, verdict: &str, body: &Value) -> Value {
    let url = format!("{}/admin/v1/holds/{}/{verdict}", relay.admin_url, hold["id"]);
    let request = http_client()
        .post(url)
        .bearer_auth(ADMIN_KEY)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json_value().await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_everyone_has_left_few_do_until_a_person_agrees_whatever_happens_to_the_relay() {
    let (sandbox, home, mut relay) = start(PEOPLE, "").await;
    for number in 0..PEOPLE {
        fire(&relay, number).await;
        if number % 100 == 40 {
            relay.kill().await;
            relay = home.start().await;
        }
    }
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(inactive(&sandbox).await, ALLOWED);
    assert_eq!(members(&sandbox).await, PEOPLE - ALLOWED, "who stays keeps the groups");
    let waiting = PEOPLE - ALLOWED;
    assert_eq!(status["targets"]["acme"]["held"], 2 * waiting, "each with a membership");
    let hold = only_hold(&relay).await;
    assert_eq!((&hold["state"], &hold["items"]["held"]), (&json!("open"), &json!(2 * waiting)), "{hold}");
    assert!(relay.metrics().await.value("scim_relay_held", &[("target", "acme")]) > 899.0);

    // Other work goes on, and nothing comes loose by itself.
    relay.changes("evt-new", &json!([hire(PEOPLE)])).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.user(&id(PEOPLE)).await["active"], true);
    relay.kill().await;
    let relay = home.start().await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(inactive(&sandbox).await, ALLOWED);

    let decided = decide(&relay, &hold, "approve", &json!({"reason": "the company is sold"})).await;
    assert_eq!(decided["decided"], 2 * waiting);
    relay.quiet("acme", LIMIT).await;
    assert_eq!((inactive(&sandbox).await, members(&sandbox).await), (PEOPLE, 0));
    assert_eq!(only_hold(&relay).await["state"], "approved");
    let approvals = relay.items("/ledger?outcome=approved&resource=user:u-499").await;
    assert_eq!(approvals.len(), 1);
    let detail = approvals[0]["detail"].as_str().unwrap();
    assert!(detail.ends_with("by tests: the company is sold"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_is_not_done_at_the_next_pass_and_items_are_decided_one_by_one() {
    let (sandbox, home, relay) = start(8, "guard = { max_destructive = 2, always_allowed = 2 }").await;
    for number in 0..8 {
        fire(&relay, number).await;
    }
    relay.quiet("acme", LIMIT).await;
    assert_eq!(inactive(&sandbox).await, 2);
    let hold = only_hold(&relay).await;
    let page = relay.admin(&format!("/holds/{}?limit=1000", hold["id"])).await;
    let items: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    let user = *items.iter().find(|item| item.starts_with("user:")).unwrap();

    decide(&relay, &hold, "approve", &json!({"items": [user]})).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!((inactive(&sandbox).await, members(&sandbox).await), (3, 5));
    let again = format!("/holds/{}/approve", hold["id"]);
    decide(&relay, &hold, "reject", &json!({"reason": "a bug at the identity provider"})).await;
    assert_eq!(relay.admin_request(Method::POST, &again).await.status(), 409, "nothing waits");
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["held"], 0);
    relay.terminate().await;

    let relay = home.start().await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!((inactive(&sandbox).await, members(&sandbox).await), (3, 5));
    // Whoever is hired again stays as they are, and may leave again.
    let kept = sandbox.users().await.into_iter().find(|user| user["active"] == true).unwrap();
    let kept = kept["externalId"].as_str().unwrap();
    let event = relay
        .admin(&format!("/events/evt-fire-{}", kept.trim_start_matches("u-").parse::<usize>().unwrap()))
        .await;
    assert_eq!(event["changes"][0]["targets"]["acme"]["state"], "rejected", "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_lets_nobody_leave_whom_a_person_has_not_let_go() {
    let (sandbox, _home, relay) = start(8, "guard = { max_destructive = 2, always_allowed = 2 }").await;
    for number in 0..8 {
        fire(&relay, number).await;
    }
    relay.quiet("acme", LIMIT).await;
    assert_eq!((inactive(&sandbox).await, members(&sandbox).await), (2, 6));
    // What is held differs, and is found; to mend it takes what it took before.
    for _ in 0..2 {
        let (view, _) = resync(&relay, "apply").await;
        assert_eq!(view["state"], "complete", "{view}");
        let status = relay.quiet("acme", LIMIT).await;
        assert_eq!((inactive(&sandbox).await, members(&sandbox).await), (2, 6), "{view}");
        assert_eq!(status["targets"]["acme"]["held"], 12, "{status}");
    }
    let hold = only_hold(&relay).await;
    assert_eq!((&hold["state"], &hold["items"]["held"]), (&json!("open"), &json!(12)), "{hold}");
    decide(&relay, &hold, "reject", &json!({"reason": "a bug at the identity provider"})).await;
    resync(&relay, "apply").await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!((inactive(&sandbox).await, members(&sandbox).await), (2, 6), "{status}");
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_and_what_comes_back_is_withdrawn() {
    let guard = "guard = { max_destructive = 1, always_allowed = 1, hold_expires = '2s' }";
    let (sandbox, _home, relay) = start(3, guard).await;
    for number in 0..3 {
        fire(&relay, number).await;
    }
    relay.quiet("acme", LIMIT).await;
    let left: Vec<Value> = sandbox.users().await.into_iter().filter(|user| user["active"] == true).collect();
    assert_eq!(left.len(), 2);
    let back = left[0]["externalId"].as_str().unwrap();
    relay
        .changes("evt-back", &json!([{"op": "user.upsert", "id": back, "attributes": {"active": true}}]))
        .await;
    relay.quiet("acme", LIMIT).await;
    let hold = only_hold(&relay).await;
    assert_eq!(hold["items"]["withdrawn"], 1, "{hold}");
    assert_eq!(inactive(&sandbox).await, 1);
    eventually("the hold has expired", LIMIT, async || {
        (only_hold(&relay).await["state"] == "expired").then_some(())
    })
    .await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(inactive(&sandbox).await, 1, "nothing is done by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_protected_is_never_deactivated_nor_taken_out_of_a_group() {
    let (sandbox, _home, relay) = start(3, "guard = false\nprotected = [\"U-000@example.com\"]").await;
    for number in 0..2 {
        fire(&relay, number).await;
    }
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.user("u-000").await["active"], true);
    assert_eq!(sandbox.user("u-001").await["active"], false);
    assert_eq!(members(&sandbox).await, 2);
    assert!(relay.story("user:u-000").await.contains(&"none protected".to_owned()));
    assert!(relay.story("group:g-all").await.contains(&"members protected".to_owned()));
    // What does not take anything away goes out as ever.
    let change =
        json!([{"op": "user.upsert", "id": "u-000", "attributes": {"active": true, "title": "Lead"}}]);
    relay.changes("evt-title", &change).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.user("u-000").await["title"], "Lead");
}

//! What administrators and monitoring see and do, over HTTP, at the built program.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{Behaviour, Settings};
use serde_json::{Value, json};

use crate::support::relay::{ADMIN_KEY, Home, JsonValue as _, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(1);

fn people(range: std::ops::Range<usize>) -> Value {
    let change = |number: usize| {
        let attributes = json!({"userName": format!("u-{number}@example.com"), "active": true});
        json!({"op": "user.upsert", "id": format!("u-{number}"), "attributes": attributes})
    };
    range.map(change).collect()
}

async fn start(faults: &[&str]) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), faults).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

async fn get(url: String, key: Option<&str>) -> reqwest::Response {
    let mut request = http_client().get(url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_everything_back_over_a_restart_until_it_is_resumed() {
    let (sandbox, home, relay) = start(&[]).await;
    relay.act("/targets/acme/pause").await;
    relay.changes("evt-1", &people(0..3)).await;
    let merged = |status: &Value| status["pending"] == 3;
    let status = relay.until("acme", "three are pending", LIMIT, merged).await;
    assert_eq!((&status["state"], &status["by"]), (&json!("paused"), &json!("tests")));
    assert_eq!(relay.terminate().await, Some(0));

    let relay = home.start().await;
    relay.changes("evt-2", &people(3..5)).await;
    let status = relay.until("acme", "five are pending", LIMIT, |status| status["pending"] == 5).await;
    assert_eq!((&status["state"], &status["by"]), (&json!("paused"), &json!("tests")));
    assert_eq!(sandbox.calls().await.len(), 0);

    relay.act("/targets/acme/resume").await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.users().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_work_is_listed_with_its_reason_and_discarded_until_it_changes() {
    let (sandbox, _home, relay) = start(&["400:on=POST+users"]).await;
    relay.changes("evt-1", &people(0..1)).await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 1);
    let parked = relay.items("/targets/acme/parked").await;
    assert_eq!(parked[0]["id"], "user:u-0");
    assert!(parked[0]["reason"].as_str().unwrap().contains("a fault of the sandbox"), "{parked:?}");

    for (path, status) in [("user:nobody/discard", 404), ("what/discard", 400), ("user:nobody/retry", 404)] {
        let answer = relay.admin_request(Method::POST, &format!("/targets/acme/parked/{path}")).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    relay.act("/targets/acme/parked/user:u-0/discard").await;
    assert_eq!(relay.items("/targets/acme/parked").await, Vec::<Value>::new());
    assert!(relay.story("user:u-0").await.iter().any(|line| line.ends_with("discarded")));

    sandbox.set_faults(&[]).await;
    let change = json!([{"op": "user.upsert", "id": "u-0", "attributes": {"title": "Lead"}}]);
    relay.changes("evt-2", &change).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.user("u-0").await["title"], "Lead");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_tells_what_became_of_it_at_each_target() {
    let good = Sandbox::start(Behaviour::default(), &[]).await;
    let bad = Sandbox::start(Behaviour::default(), &["400:on=POST+users"]).await;
    let home = Home::new(&[
        TargetSetup::new("good", good.base_url(), TOKEN),
        TargetSetup::new("bad", bad.base_url(), TOKEN),
        TargetSetup::new("idle", good.base_url(), TOKEN),
    ]);
    let relay = home.start().await;
    relay.act("/targets/idle/pause").await;
    relay.changes("evt-1", &people(0..1)).await;
    relay.quiet("good", LIMIT).await;
    relay.quiet("bad", LIMIT).await;
    let event = relay.admin("/events/evt-1").await;
    assert_eq!((&event["state"], &event["source"]), (&json!("projected"), &json!("hr")));
    let targets = &event["changes"][0]["targets"];
    let states = ["good", "bad", "idle"].map(|name| targets[name]["state"].as_str().unwrap().to_owned());
    assert_eq!(states, ["applied", "parked", "pending"], "{event}");
    assert!(targets["bad"]["reason"].as_str().unwrap().contains("a fault of the sandbox"));

    let stale = json!([{"op": "user.upsert", "id": "u-0", "occurred_at": "2020-01-01T00:00:00Z",
                        "attributes": {"userName": "old@example.com"}}]);
    relay.changes("evt-2", &stale).await;
    relay.quiet("good", LIMIT).await;
    assert_eq!(relay.admin("/events/evt-2").await["changes"][0]["outcome"], "superseded");
    let events = relay.items("/events").await;
    assert_eq!(events.iter().map(|event| &event["event_id"]).collect::<Vec<_>>(), ["evt-2", "evt-1"]);
    assert_eq!(relay.admin_request(Method::GET, "/events/evt-9").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_filters_and_comes_as_json_csv_and_ndjson() {
    let (_sandbox, _home, relay) = start(&[]).await;
    relay.changes("evt-1", &people(0..3)).await;
    relay.quiet("acme", LIMIT).await;
    let count = async |query: &str| relay.items(&format!("/ledger?{query}")).await.len();
    assert_eq!(count("").await, 6, "a look-up and a creation for each of three");
    assert_eq!(count("outcome=applied").await, 3);
    assert_eq!(count("resource=user:u-1").await, 2);
    assert_eq!(count("kind=user&id=u-1&outcome=applied").await, 1);
    assert_eq!(count("target=other").await, 0);
    assert_eq!(count("until=2020-01-01T00:00:00Z").await, 0);
    assert_eq!(count("from=2020-01-01T00:00:00Z").await, 6);
    let entry = relay.items("/ledger?resource=user:u-1&outcome=applied").await.remove(0);
    assert_eq!((&entry["operation"], &entry["status"]), (&json!("create"), &json!(201)));
    assert_eq!((&entry["events"], &entry["call"]), (&json!(["evt-1"]), &json!("POST Users")));
    assert!(!entry.to_string().contains("@example.com"), "no attribute value: {entry}");

    let fetch = async |accept: &str| {
        let url = format!("{}/admin/v1/ledger?limit=2", relay.admin_url);
        let answer =
            http_client().get(url).bearer_auth(ADMIN_KEY).header("accept", accept).send().await.unwrap();
        let text = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        (text("content-type"), text("link"), answer.text().await.unwrap())
    };
    let (media_type, link, body) = fetch("text/csv").await;
    assert!(media_type.starts_with("text/csv") && link.contains("rel=\"next\""), "{media_type} {link}");
    assert_eq!(body.lines().count(), 3, "a heading and two entries");
    assert!(body.starts_with("sequence,at,target,kind,id,"), "{body}");
    let (media_type, _, body) = fetch("application/x-ndjson").await;
    assert_eq!(media_type, "application/x-ndjson");
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_everything_and_does_nothing() {
    let (_sandbox, _home, relay) = start(&[]).await;
    let viewer = format!("{ADMIN_KEY}-to-look");
    let call = async |method: Method, path: &str, key: Option<&str>| {
        let mut request = http_client().request(method, format!("{}/admin/v1{path}", relay.admin_url));
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for path in ["/status", "/targets", "/targets/acme", "/targets/acme/parked", "/events", "/ledger"] {
        assert_eq!(call(Method::GET, path, Some(&viewer)).await, 200, "{path}");
        assert_eq!(call(Method::GET, path, None).await, 401, "{path}");
        assert_eq!(call(Method::GET, path, Some("wrong")).await, 401, "{path}");
    }
    for path in ["/targets/acme/pause", "/targets/acme/resume", "/targets/acme/parked/user:u/retry"] {
        assert_eq!(call(Method::POST, path, Some(&viewer)).await, 403, "{path}");
        assert_eq!(call(Method::POST, path, None).await, 401, "{path}");
    }
    assert_eq!(relay.admin("/status").await["targets"]["acme"]["state"], "running");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_listeners_administration_and_metrics_are_not_on_the_public_one() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let setup = TargetSetup::new("acme", sandbox.base_url(), TOKEN);
    let home = Home::with_server_lines("admin_listen = \"127.0.0.1:0\"", &[setup]);
    let relay = home.start().await;
    assert_ne!(relay.url, relay.admin_url);
    for path in ["/admin/v1/status", "/metrics"] {
        assert_eq!(get(format!("{}{path}", relay.url), Some(ADMIN_KEY)).await.status(), 404, "{path}");
        assert_eq!(get(format!("{}{path}", relay.admin_url), Some(ADMIN_KEY)).await.status(), 200, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(format!("{}{path}", relay.url), None).await.status(), 200, "{path}");
    }
    let hook = http_client().post(format!("{}/webhooks/hr", relay.admin_url)).send().await.unwrap();
    assert_eq!(hook.status(), 404, "webhooks are not on the other one");
    relay.changes("evt-1", &people(0..1)).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happened() {
    let (sandbox, _home, relay) = start(&["400:next=1:on=POST+users", "edit:next=1:on=PATCH+users"]).await;
    relay.changes("evt-1", &people(0..1)).await;
    relay.quiet("acme", LIMIT).await;
    relay.changes("evt-2", &people(1..4)).await;
    relay.accept("evt-2", &json!({"changes": people(1..4)}).to_string()).await;
    relay.quiet("acme", LIMIT).await;
    let title = json!([{"op": "user.upsert", "id": "u-1", "attributes": {"title": "Lead"}}]);
    relay.changes("evt-3", &title).await;
    relay.quiet("acme", LIMIT).await;
    sandbox.set_faults(&["429:next=1:retry-after=1s"]).await;
    relay.changes("evt-4", &json!([{"op": "user.deactivate", "id": "u-2"}])).await;
    relay.quiet("acme", LIMIT).await;

    let metrics = relay.metrics().await;
    let acme = ("target", "acme");
    let count = |name: &str, labels: &[(&str, &str)]| metrics.count(&format!("scim_relay_{name}"), labels);
    assert_eq!(count("events_total", &[("source", "hr"), ("outcome", "accepted")]), 4);
    assert_eq!(count("events_total", &[("source", "hr"), ("outcome", "duplicate")]), 1);
    for lane in ["deprovision", "revoke", "change", "membership", "backfill"] {
        assert_eq!(count("pending", &[acme, ("lane", lane)]), 0);
    }
    assert_eq!(count("oldest_pending_seconds", &[acme]), 0);
    let requests = count("requests_total", &[acme]);
    assert_eq!(requests, sandbox.calls().await.len(), "each call is counted once");
    let users = [acme, ("method", "POST"), ("endpoint", "Users"), ("status", "201")];
    assert_eq!(count("requests_total", &users), 3);
    assert_eq!(count("request_seconds_count", &[acme]), requests);
    assert_eq!(count("convergence_seconds_count", &[acme, ("lane", "deprovision")]), 1);
    assert_eq!(count("convergence_seconds_count", &[acme, ("lane", "change")]), 4);
    assert_eq!(count("conflicts_total", &[acme]), 1);
    assert!((0.9..=2.0).contains(&metrics.value("scim_relay_throttled_seconds_total", &[acme])));
    assert_eq!(count("target_state", &[acme, ("state", "running")]), 1);
    assert_eq!(count("target_state", &[acme, ("state", "suspended")]), 0);
    assert_eq!(count("parked", &[acme]), 1);
    assert!(!metrics.0.contains("@example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_terminate_while_busy_ends_with_0_and_loses_nothing() {
    let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..Behaviour::default() };
    let latency = Duration::from_millis(100);
    let settings = Settings { behaviour, latency, ..Settings::default() };
    let sandbox = Sandbox::start_with(settings, &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    for number in 0..10 {
        relay.changes(&format!("evt-{number}"), &people(number * 10..number * 10 + 10)).await;
    }
    eventually("calls are under way", LIMIT, async || (sandbox.calls().await.len() >= 10).then_some(()))
        .await;
    assert_eq!(relay.terminate().await, Some(0));
    let calls = sandbox.calls().await;
    assert!(calls.iter().all(|call| call.status != "lost"), "what was under way was waited for");
    let made = sandbox.users().await.len();
    assert!(made < 100, "it was busy");

    let relay = home.start().await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.users().await.len(), 100);
    let answers: Vec<_> = sandbox.calls().await.into_iter().filter(|call| call.method == "POST").collect();
    assert_eq!(answers.len(), 100, "nobody was asked for twice");
    let first = relay.items("/ledger?outcome=applied&limit=1000").await;
    assert_eq!(first.len(), 100, "and every creation is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unready_relay_says_so_and_an_outage_of_the_vendor_is_none() {
    let (sandbox, _home, relay) = start(&[]).await;
    sandbox.stop().await;
    relay.changes("evt-1", &people(0..1)).await;
    let suspended = |status: &Value| status["oldest_pending_seconds"].as_f64().is_some_and(|age| age > 0.0);
    relay.until("acme", "the change waits", LIMIT, suspended).await;
    let ready = get(format!("{}/readyz", relay.url), None).await;
    assert_eq!(ready.status(), StatusCode::OK);
    let missing = get(format!("{}/admin/v1/nothing", relay.url), Some(ADMIN_KEY)).await;
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.json_value().await["status"], 404);
}

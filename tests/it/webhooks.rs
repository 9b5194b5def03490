//! Every row of the webhooks' answers, against the built program.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::http_client;
use crate::support::relay::{Home, JsonValue as _, Relay, SECRET, TargetSetup, now_seconds, signed_headers};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);

fn body(user: &str) -> String {
    let attributes = json!({"userName": format!("{user}@example.com"), "active": true});
    json!({"changes": [{"op": "user.upsert", "id": user, "attributes": attributes}]}).to_string()
}

async fn start(server: &str, sources: &str) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::with_server_lines(server, &[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    home.append(sources);
    let relay = home.start().await;
    (sandbox, home, relay)
}

/// The status, and that a refusal is a problem that says the same.
async fn status(answer: reqwest::Response) -> u16 {
    let status = answer.status().as_u16();
    if status >= 400 {
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem = answer.json_value().await;
        assert_eq!(problem["status"], status, "{problem}");
    }
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_now_with_a_secret_of_the_source_is_taken() {
    let (sandbox, _home, relay) = start("", "").await;
    let now = now_seconds();
    let good = body("u-good");
    let sign = |secret: &str, id: &str, time: i64| signed_headers(secret, id, time, good.as_bytes());
    let post = async |headers: &[(&'static str, String)], body: &str| {
        status(relay.post_as(headers, body.into()).await.unwrap()).await
    };
    assert_eq!(post(&sign(SECRET, "evt-1", now), &body("u-tampered")).await, 401, "another body");
    assert_eq!(post(&sign("a wrong secret", "evt-1", now), &good).await, 401, "another secret");
    assert_eq!(post(&sign(SECRET, "evt-1", now - 310), &good).await, 401, "too old");
    assert_eq!(post(&sign(SECRET, "evt-1", now + 310), &good).await, 401, "in the future");
    assert_eq!(post(&[], &good).await, 401, "no signature");
    let mut other_id = sign(SECRET, "evt-1", now);
    other_id[0].1 = "evt-2".to_owned();
    assert_eq!(post(&other_id, &good).await, 401, "another id");
    assert_eq!(relay.items("/events").await, Vec::<Value>::new(), "nothing of it is stored");

    assert_eq!(post(&sign("an older secret", "evt-1", now), &good).await, 202, "while rotating");
    assert_eq!(post(&sign(SECRET, "evt-2", now - 290), &good).await, 202, "a little old");
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_event_is_202_and_the_same_again_200_and_changes_nothing() {
    let (sandbox, home, relay) = start("", "").await;
    let answer = relay.post("evt-1", &body("u-1")).await.unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json_value().await, json!({"event_id": "evt-1", "changes": 1}));
    relay.quiet("acme", LIMIT).await;
    let calls = sandbox.calls().await.len();
    assert_duplicate(&relay).await;
    assert_eq!(relay.terminate().await, Some(0));
    let relay = home.start().await;
    assert_duplicate(&relay).await;
    assert_eq!(sandbox.calls().await.len(), calls);
}

/// The first event's id under another body is known, whatever the body says.
async fn assert_duplicate(relay: &Relay) {
    let answer = relay.post("evt-1", &body("u-other")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json_value().await, json!({"event_id": "evt-1", "duplicate": true}));
    relay.quiet("acme", LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_of_the_shape_is_400_and_says_where() {
    let (_sandbox, _home, relay) = start("", "").await;
    let deep = "[".repeat(100_000);
    let deep_in_place = format!(
        r#"{{"changes":[{{"op":"user.upsert","id":"u","attributes":{{"x":{}1{}}}}}]}}"#,
        "[".repeat(5_000),
        "]".repeat(5_000)
    );
    let cases: [(&[u8], &str); 8] = [
        (b"not json", ""),
        (b"\xff\xfe{}", ""),
        (b"{\"changes\":[{\"op\":\"user.upsert\",\"id\":\"\xff\",\"attributes\":{}}]}", ""),
        (deep.as_bytes(), ""),
        (deep_in_place.as_bytes(), ""),
        (br#"{"changes":[{"op":"user.delete","id":"u"},{"op":"user.delete"}]}"#, "/changes/1/id"),
        (br#"{"changes":[{"op":"user.explode","id":"u"}]}"#, "/changes/0/op"),
        (br#"{"changes":[{"op":"user.delete","id":"u","occurred_at":"noon"}]}"#, "/changes/0/occurred_at"),
    ];
    for (number, (body, place)) in cases.into_iter().enumerate() {
        let headers = signed_headers(SECRET, &format!("evt-{number}"), now_seconds(), body);
        let answer = relay.post_as(&headers, body.to_vec()).await.unwrap();
        assert_eq!(answer.status(), 400, "case {number}");
        let problem = answer.json_value().await;
        assert!(problem["detail"].as_str().unwrap().starts_with(place), "case {number}: {problem}");
    }
    assert_eq!(relay.items("/events").await, Vec::<Value>::new());
    assert_eq!(relay.post("evt-0", &body("u-1")).await.unwrap().status(), 202, "the id is not used up");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_sources_other_media_types_large_bodies_and_bursts_are_told_apart() {
    let limited = "\n[sources.slow]\nkind = \"native\"\nsecrets = [\"a secret of the slow one\"]\n\
                   intake_limit = { rate_per_second = 1, burst = 2 }\n";
    let (_sandbox, _home, relay) = start("body_limit = \"2KiB\"", limited).await;
    let client = http_client();
    let post = |source: &str, secret: &str, id: &str, media_type: &str, body: &str| {
        let mut request =
            client.post(format!("{}/webhooks/{source}", relay.url)).header("content-type", media_type);
        for (name, value) in signed_headers(secret, id, now_seconds(), body.as_bytes()) {
            request = request.header(name, value);
        }
        let request = request.body(body.to_owned()).send();
        async { request.await.unwrap() }
    };
    let json = "application/json";
    assert_eq!(status(post("nobody", SECRET, "evt-1", json, &body("u")).await).await, 404);
    assert_eq!(status(post("hr", SECRET, "evt-1", "text/plain", &body("u")).await).await, 415);
    let large = body(&"u".repeat(2_048));
    assert_eq!(status(post("hr", SECRET, "evt-1", json, &large).await).await, 413);
    assert_eq!(status(post("hr", SECRET, "evt-1", json, &body("u")).await).await, 202);

    let slow = "a secret of the slow one";
    assert_eq!(status(post("slow", SECRET, "evt-1", json, &body("u")).await).await, 401, "another's secret");
    let mut refused = None;
    for number in 0..8 {
        let answer = post("slow", slow, &format!("evt-{number}"), json, &body("u")).await;
        if answer.status() == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("a burst of nine is over the limit of two");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(status(post("hr", SECRET, "evt-2", json, &body("u")).await).await, 202, "others go on");
}

/// Lets a process write files up to so many bytes only, or as it likes.
async fn limit_files(pid: u32, bytes: &str) {
    let limit = format!("--fsize={bytes}:unlimited");
    let set = Command::new("prlimit").args(["--pid", &pid.to_string(), &limit]).status().await;
    assert!(set.expect("prlimit of util-linux").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_write_is_503_and_the_resend_is_taken_once_it_can() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    // A write past the limit is then an error, as on a full disk, and no deadly signal.
    let relay = home.start_by(&["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]).await;
    relay.accept("evt-1", &body("u-1")).await;
    relay.quiet("acme", LIMIT).await;

    limit_files(relay.pid(), "4096").await;
    for _ in 0..3 {
        let answer = relay.post("evt-2", &body("u-2")).await.unwrap();
        let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!(wait >= 1);
        assert_eq!(status(answer).await, 503);
    }
    assert_eq!(http_client().get(format!("{}/readyz", relay.url)).send().await.unwrap().status(), 503);
    assert_eq!(http_client().get(format!("{}/healthz", relay.url)).send().await.unwrap().status(), 200);

    limit_files(relay.pid(), "unlimited").await;
    let answer = relay.post("evt-2", &body("u-2")).await.unwrap();
    assert_eq!(status(answer).await, 202, "it was not taken before");
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.users().await.len(), 2);
    assert_eq!(http_client().get(format!("{}/readyz", relay.url)).send().await.unwrap().status(), 200);
    let refused = relay.metrics().await.count("scim_relay_events_total", &[("outcome", "unavailable")]);
    assert_eq!(refused, 3);
}

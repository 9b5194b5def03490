//! What is wrong with the target costs no user and no group anything; what is wrong with one of them
//! costs the others nothing. Targets here park at the first failure that is charged to an item, so
//! that one wrong charge shows.

use std::time::Duration;

use scim_relay::sandbox::settings::{Auth, RateLimit, RetryAfter};
use scim_relay::sandbox::{Behaviour, Settings};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Call, Sandbox, TOKEN, busiest_second, shapes};

const LIMIT: Duration = Duration::from_secs(90);
/// Parks whatever is charged with a failure.
const UNFORGIVING: &str =
    "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\nmax_attempts = 1\n";

fn people(prefix: &str, count: usize) -> Value {
    let change = |number: usize| {
        let id = format!("{prefix}-{number}");
        json!({"op": "user.upsert", "id": id, "attributes": {"userName": format!("{id}@example.com"), "active": true}})
    };
    (0..count).map(change).collect()
}

async fn start(behaviour: Behaviour, faults: &[&str], extra: &str) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(behaviour, faults).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(extra)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

/// Everything accepted is at the vendor, and nothing is parked.
async fn assert_all_there(relay: &Relay, sandbox: &Sandbox, target: &str, users: usize) {
    let status = relay.quiet(target, LIMIT).await;
    let parked = relay.items(&format!("/targets/{target}/parked")).await;
    assert_eq!(parked, Vec::<Value>::new(), "{status}");
    assert_eq!(sandbox.users().await.len(), users);
}

async fn suspended(relay: &Relay, target: &str, reason: &str) {
    let what = format!("{target} is suspended: {reason}");
    let status = relay.until(target, &what, LIMIT, |status| status["state"] == "suspended").await;
    assert!(status["reason"].as_str().unwrap().contains(reason), "{status}");
    assert!(status["since"].is_string(), "{status}");
    let told = &status["quarantine"];
    assert!(told["words"].as_str().unwrap().contains(reason), "{told}");
    assert!(!told["mend"].as_str().unwrap().is_empty() && told["tried"].as_u64() >= Some(1), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_at_fault_is_suspended_with_its_reason_and_resumes_by_itself() {
    let cases = [
        ("t401", "401", "401"),
        ("t403", "403", "403"),
        ("thtml", "html", "HTML"),
        ("t404", "404", "base URL"),
    ];
    let mut sandboxes = Vec::new();
    for (_, fault, _) in cases {
        sandboxes.push(Sandbox::start(Behaviour::default(), &[fault]).await);
    }
    let setups: Vec<_> = cases
        .iter()
        .zip(&sandboxes)
        .map(|((name, _, _), sandbox)| TargetSetup::new(name, sandbox.base_url(), TOKEN).with(UNFORGIVING))
        .collect();
    let home = Home::new(&setups);
    let relay = home.start().await;
    relay.changes("evt-1", &people("u", 30)).await;
    for ((name, _, reason), sandbox) in cases.iter().zip(&sandboxes) {
        suspended(&relay, name, reason).await;
        let listed = relay.admin(&format!("/targets/{name}")).await;
        assert!(listed["quarantine"]["next_probe"].is_string(), "{listed}");
        let calls = sandbox.calls().await;
        assert!(calls.len() <= 2 * 8, "calls that were under way, and no more: {:?}", shapes(&calls));
        sandbox.set_faults(&[]).await;
    }
    for ((name, _, _), sandbox) in cases.iter().zip(&sandboxes) {
        assert_all_there(&relay, sandbox, name, 30).await;
        let status = relay.admin("/status").await["targets"][name].clone();
        assert_eq!((&status["state"], &status["quarantine"]), (&json!("running"), &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_base_url_blames_no_user_and_is_mended_in_the_configuration() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let wrong = format!("{}/nowhere", sandbox.base_url());
    let home = Home::new(&[TargetSetup::new("acme", wrong.clone(), TOKEN).with(UNFORGIVING)]);
    let relay = home.start().await;
    relay.changes("evt-1", &people("u", 10)).await;
    suspended(&relay, "acme", "base URL").await;
    assert_eq!(relay.terminate().await, Some(0));
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace(&wrong, sandbox.base_url())).unwrap();
    let relay = home.start().await;
    assert_all_there(&relay, &sandbox, "acme", 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_that_is_down_and_up_again_has_cost_nobody_anything() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(UNFORGIVING)]);
    let listen = sandbox.stop().await;
    let relay = home.start().await;
    relay.changes("evt-1", &people("u", 30)).await;
    suspended(&relay, "acme", "refused").await;
    assert_eq!(relay.admin("/targets/acme").await["state"], "suspended");
    let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..Behaviour::default() };
    let sandbox = Sandbox::start_with(Settings { listen, behaviour, ..Settings::default() }, &[]).await;
    assert_all_there(&relay, &sandbox, "acme", 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_server_errors_opens_the_breaker_and_is_not_fed() {
    let (sandbox, _home, relay) = start(Behaviour::default(), &["503"], UNFORGIVING).await;
    relay.changes("evt-1", &people("u", 200)).await;
    suspended(&relay, "acme", "503").await;
    // Two further trials show that it stays open between them.
    let before = sandbox.calls().await.len();
    assert!(before <= 5 + 8, "five failures open it, and what was under way ends: {before} calls");
    eventually("two trials", LIMIT, async || (sandbox.calls().await.len() >= before + 2).then_some(())).await;
    let calls = sandbox.calls().await;
    let trials = &calls[before..];
    let gap_us = trials[1].time_us - trials[0].ended_us();
    assert!(gap_us > 900_000, "a trial at once: {gap_us} us");
    sandbox.set_faults(&[]).await;
    assert_all_there(&relay, &sandbox, "acme", 200).await;
}

fn oauth(sandbox: &Sandbox, secret: &str) -> String {
    let token_url = sandbox.token_url();
    format!(
        "{{ type = \"oauth2\", token_url = \"{token_url}\", client_id = \"relay\", client_secret = \"{secret}\" }}"
    )
}

async fn with_tokens_that_live(token_life: Duration, latency: Duration) -> Sandbox {
    let client_secret = "a-client-secret".into();
    let auth = Auth::OAuth2 { client_id: "relay".to_owned(), client_secret, token_life };
    let behaviour = Behaviour { auth, ..Behaviour::default() };
    Sandbox::start_with(Settings { behaviour, latency, ..Settings::default() }, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_revoked_are_renewed_once_for_all_calls_under_way() {
    let sandbox = with_tokens_that_live(Duration::from_hours(1), Duration::from_millis(50)).await;
    let target =
        TargetSetup::new("acme", sandbox.base_url(), "").with_auth(&oauth(&sandbox, "a-client-secret"));
    let home = Home::new(&[target.with(UNFORGIVING)]);
    let relay = home.start().await;
    relay.changes("evt-1", &people("u", 100)).await;
    eventually("calls go out", LIMIT, async || (sandbox.calls().await.len() > 20).then_some(())).await;
    sandbox.revoke_tokens().await;
    assert_all_there(&relay, &sandbox, "acme", 100).await;
    let refused = sandbox.calls().await.iter().filter(|call| call.status == "401").count();
    assert!((2..=16).contains(&refused), "{refused} calls met the revoked token");
    assert_eq!(sandbox.look("counts").await["tokens_issued"], 2, "one at the start, one for all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_live_shortly_are_replaced_without_a_failure() {
    let sandbox = with_tokens_that_live(Duration::from_secs(2), Duration::ZERO).await;
    let target =
        TargetSetup::new("acme", sandbox.base_url(), "").with_auth(&oauth(&sandbox, "a-client-secret"));
    let slow = "limits = { rate_per_second = 20, burst = 1, concurrency = 8 }\nmax_attempts = 1\n";
    let home = Home::new(&[target.with(slow)]);
    let relay = home.start().await;
    relay.changes("evt-1", &people("u", 60)).await;
    assert_all_there(&relay, &sandbox, "acme", 60).await;
    let issued = sandbox.look("counts").await["tokens_issued"].as_u64().unwrap();
    assert!((3..=5).contains(&issued), "six seconds of tokens that live for two: {issued}");
    let calls = sandbox.calls().await;
    assert!(
        busiest_second(&calls) <= 20,
        "repeated calls are within the limit too: {}",
        busiest_second(&calls)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_that_is_refused_suspends_without_showing_the_secret() {
    let sandbox = with_tokens_that_live(Duration::from_hours(1), Duration::ZERO).await;
    let target =
        TargetSetup::new("acme", sandbox.base_url(), "").with_auth(&oauth(&sandbox, "a-wrong-secret"));
    let home = Home::new(&[target.with(UNFORGIVING)]);
    let relay = home.start().await;
    relay.changes("evt-1", &people("u", 5)).await;
    suspended(&relay, "acme", "invalid_client").await;
    for path in ["/status", "/targets/acme", "/ledger", "/events"] {
        assert!(!relay.admin(path).await.to_string().contains("a-wrong-secret"), "{path}");
    }
    assert_eq!(sandbox.calls().await.len(), 0, "no call goes out without a token");
}

/// The calls after the first that was answered 429, and the time of that answer.
fn after_the_first_429(calls: &[Call]) -> (u64, Vec<Call>) {
    let throttled = calls.iter().find(|call| call.status == "429").expect("a 429");
    let after = calls.iter().filter(|call| call.time_us > throttled.ended_us()).cloned().collect();
    (throttled.ended_us(), after)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_in_seconds_holds_for_all_calls_to_the_second() {
    let (sandbox, _home, relay) =
        start(Behaviour::default(), &["429:every=20:retry-after=2s"], UNFORGIVING).await;
    relay.changes("evt-1", &people("u", 15)).await;
    assert_all_there(&relay, &sandbox, "acme", 15).await;
    let (answered_us, after) = after_the_first_429(&sandbox.calls().await);
    // What the relay sent before it read the answer is not to blame.
    let next = after.iter().find(|call| call.time_us > answered_us + 200_000).expect("a later call");
    let waited_ms = (next.time_us - answered_us) / 1_000;
    assert!((2_000..3_500).contains(&waited_ms), "{waited_ms} ms instead of two seconds");
    let metrics = relay.metrics().await;
    assert!(metrics.value("scim_relay_throttled_seconds_total", &[("target", "acme")]) >= 1.9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_as_a_date_holds_for_all_calls() {
    let limit = RateLimit { retry_after: RetryAfter::HttpDate, ..RateLimit::new(0.5, 10) };
    let behaviour = Behaviour { rate: Some(limit), ..Behaviour::default() };
    let (sandbox, _home, relay) = start(behaviour, &[], UNFORGIVING).await;
    relay.changes("evt-1", &people("u", 6)).await;
    assert_all_there(&relay, &sandbox, "acme", 6).await;
    let calls = sandbox.calls().await;
    let (answered_us, after) = after_the_first_429(&calls);
    let next = after.iter().find(|call| call.time_us > answered_us + 200_000).expect("a later call");
    assert_eq!(next.status.len(), 3);
    assert_ne!(next.status, "429", "the date was not waited for");
    let waited_ms = (next.time_us - answered_us) / 1_000;
    assert!((1_000..4_500).contains(&waited_ms), "{waited_ms} ms for a date up to three seconds ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept_in_every_second() {
    let slow = "limits = { rate_per_second = 25, burst = 1, concurrency = 8 }\nmax_attempts = 1\n";
    let (sandbox, _home, relay) = start(Behaviour::default(), &["503:every=15"], slow).await;
    relay.changes("evt-1", &people("u", 60)).await;
    relay.quiet("acme", LIMIT).await;
    let calls = sandbox.calls().await;
    let busiest = busiest_second(&calls);
    assert!(busiest <= 25, "{busiest} calls in one second");
    let span_s = (calls[calls.len() - 1].time_us - calls[0].time_us) as f64 / 1e6;
    println!("{} calls in {span_s:.1} s, {busiest} in the busiest", calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_creation_makes_nobody_twice() {
    let faults = ["lost:0.3:on=POST", "500-after:0.3:on=POST"];
    let patient = "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\n";
    let (sandbox, _home, relay) = start(Behaviour::default(), &faults, patient).await;
    // The vendor lets groups share a name, so a second POST would make a second group.
    let groups: Vec<Value> = (0..20)
        .map(|number| json!({"op": "group.upsert", "id": format!("g-{number}"), "attributes": {"displayName": format!("Team {number}")}}))
        .collect();
    relay.changes("evt-groups", &json!(groups)).await;
    relay.changes("evt-users", &people("u", 20)).await;
    assert_all_there(&relay, &sandbox, "acme", 20).await;
    let calls = sandbox.calls().await;
    let lost = calls.iter().filter(|call| call.method == "POST" && call.status != "201").count();
    assert!(lost >= 10, "only {lost} answers were lost: the test has no point");
    let state = sandbox.look("state").await;
    let mut names: Vec<_> =
        state["groups"].as_array().unwrap().iter().map(|group| group["displayName"].to_string()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), state["groups"].as_array().unwrap().len()), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_failing_while_others_work_is_parked_after_its_attempts() {
    let deletes = "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\nmax_attempts = 2\non_delete = \"delete\"\n";
    let (sandbox, _home, relay) = start(Behaviour::default(), &["500:on=DELETE"], deletes).await;
    relay.changes("evt-1", &people("u", 3)).await;
    relay.quiet("acme", LIMIT).await;
    relay.changes("evt-2", &json!([{"op": "user.delete", "id": "u-0"}])).await;
    let mut number = 0;
    let parked = eventually("the deletion is parked", LIMIT, async || {
        number += 1;
        relay.changes(&format!("evt-other-{number}"), &people(&format!("o{number}"), 1)).await;
        relay.items("/targets/acme/parked").await.into_iter().next()
    })
    .await;
    assert_eq!((&parked["id"], &parked["attempts"]), (&json!("user:u-0"), &json!(2)), "{parked}");
    assert!(parked["reason"].as_str().unwrap().contains("500"), "{parked}");
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 1, "nobody else is");
    sandbox.set_faults(&[]).await;
    relay.act("/targets/acme/parked/user:u-0/retry").await;
    assert_all_there(&relay, &sandbox, "acme", 2 + number).await;
}

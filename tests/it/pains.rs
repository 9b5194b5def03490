//! What users of other provisioning services suffer from, as far as no other test shows that it is not so
//! here. docs/REQUIREMENTS.md has the list, P1 to P20.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::relay::{ADMIN_KEY, Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(1);
/// Longest way of a change to an idle vendor. It takes milliseconds; there is no cycle to wait for.
const SOON: Duration = Duration::from_secs(30);
const USERS: usize = 60;
const GROUPS: usize = 20;

fn user(number: usize, title: &str) -> Value {
    json!({"op": "user.upsert", "id": format!("u{number}"), "attributes": {
        "userName": format!("u{number}@example.com"), "active": true, "title": title}})
}

async fn start() -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_no_cycle() {
    let (sandbox, _home, relay) = start().await;
    for round in 0..5 {
        let title = format!("Clerk {round}");
        relay.changes(&format!("evt-{round}"), &json!([user(1, &title)])).await;
        eventually("the vendor has it", SOON, async || {
            sandbox.users().await.iter().any(|user| user["title"] == title.as_str()).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memberships_by_the_thousand_are_a_row_a_group_and_few_calls() {
    let (sandbox, _home, relay) = start().await;
    relay.act("/targets/acme/pause").await;
    relay.changes("users", &(0..USERS).map(|number| user(number, "Clerk")).collect()).await;
    let group = |number: usize| {
        json!({"op": "group.upsert", "id": format!("g{number}"),
            "attributes": {"displayName": format!("G{number}")}})
    };
    relay.changes("groups", &(0..GROUPS).map(group).collect()).await;
    // One event for each user, which joins every group by a change of its own.
    for user in 0..USERS {
        let join = |group: usize| json!({"op": "group.members", "id": format!("g{group}"), "add": [format!("u{user}")]});
        relay.changes(&format!("joins-{user}"), &(0..GROUPS).map(join).collect()).await;
    }
    eventually("all is merged", LIMIT, async || {
        (relay.admin("/status").await["inbox"]["unprojected"] == 0).then_some(())
    })
    .await;
    let status = relay.admin("/status").await;
    assert_eq!(status["targets"]["acme"]["pending"], USERS + GROUPS, "{status}");

    relay.act("/targets/acme/resume").await;
    relay.quiet("acme", LIMIT).await;
    let calls = sandbox.calls().await.len();
    let fewest = 2 * USERS + 3 * GROUPS;
    assert!(calls <= 2 * fewest, "{calls} calls for {} memberships", USERS * GROUPS);
    let story = relay.admin("/directories/default/users/u7/timeline?limit=1").await;
    assert_eq!(story["present"]["groups"].as_array().unwrap().len(), GROUPS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_every_step_and_sends_nothing() {
    let (sandbox, _home, relay) = start().await;
    relay.changes("evt-1", &json!([user(1, "Clerk")])).await;
    relay.quiet("acme", LIMIT).await;
    relay.act("/targets/acme/pause").await;
    relay.changes("evt-2", &json!([user(1, "Head of Secrets"), user(2, "Clerk of Secrets")])).await;
    relay.until("acme", "both are pending", LIMIT, |status| status["pending"] == 2).await;
    let (calls, entries) = (sandbox.calls().await.len(), relay.items("/ledger").await.len());

    let dry = async |user: &str| -> Value {
        let url = format!("{}/admin/v1/targets/acme/users/{user}/sync", relay.admin_url);
        let request = http_client().request(Method::POST, url).bearer_auth(ADMIN_KEY);
        let request = request.header("content-type", "application/json").body(r#"{"dry_run": true}"#);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 200, "{text}");
        assert!(!text.contains("Secrets"), "names and no values: {text}");
        serde_json::from_str(&text).unwrap()
    };
    let changed = dry("u1").await;
    assert_eq!(
        (&changed["outcome"], &changed["plan"][0]["attributes"]),
        (&json!("planned"), &json!(["title"]))
    );
    assert_eq!(changed["plan"].as_array().unwrap().len(), 1, "{changed}");
    let made = dry("u2").await;
    let operations: Vec<_> = made["plan"].as_array().unwrap().iter().map(|step| &step["operation"]).collect();
    assert_eq!(
        (operations.first().unwrap(), operations.last().unwrap()),
        (&&json!("lookup"), &&json!("create"))
    );

    assert_eq!(sandbox.calls().await.len(), calls);
    assert_eq!(relay.items("/ledger").await.len(), entries);
    relay.act("/targets/acme/resume").await;
    relay.quiet("acme", LIMIT).await;
    let told = relay.items("/ledger?resource=user%3Au1&operation=update").await;
    assert_eq!(told[0]["detail"], "title", "what was sent is told by the same names");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_prints_one_persons_story() {
    let (_sandbox, home, relay) = start().await;
    relay.changes("evt-1", &json!([user(1, "Clerk")])).await;
    relay.quiet("acme", LIMIT).await;
    relay.changes("evt-1", &json!([user(1, "Clerk")])).await;
    let by_address = ["--url", relay.admin_url.as_str(), "--key", ADMIN_KEY];
    let config = home.config();
    let by_file = ["--url", relay.admin_url.as_str(), "--config", config.to_str().unwrap()];
    let why = async |person: &str, connection: &[&str]| {
        let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scim-relay"))
            .args(["why", person])
            .args(connection)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output();
        let output = command.await.unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.success(), out, err)
    };
    let (known, story, _) = why("u1", &by_address).await;
    assert!(known, "{story}");
    for part in [
        "at acme: in place",
        "said user.upsert: merged",
        "repeated 1 times",
        "create (POST Users → 201): applied",
    ] {
        assert!(story.contains(part), "{part} is missing in:\n{story}");
    }
    let (known, by_name, reason) = why("U1@example.com", &by_file).await;
    assert!(known && by_name == story, "{by_name}{reason}");
    let (known, _, reason) = why("nobody", &by_address).await;
    assert!(!known && reason.contains("no source has named"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_and_by_whom_reaches_the_audit_file_over_a_restart() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let path = home.path().join("audit.jsonl");
    home.append(&format!("\n[audit]\npath = '{}'\n", path.display()));
    let lines = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let has = |outcome: &str, id: &Value| {
        lines().iter().any(|line| line["outcome"] == outcome && line["external_id"] == *id)
    };
    let relay = home.start().await;
    relay.changes("evt-1", &json!([user(1, "Clerk")])).await;
    relay.quiet("acme", LIMIT).await;
    relay.act("/targets/acme/pause").await;
    // Before the file had time to follow, or after: whichever it is.
    assert_eq!(relay.terminate().await, Some(0));
    let relay = home.start().await;
    relay.act("/targets/acme/resume").await;
    eventually("all is written", LIMIT, async || {
        (has("applied", &json!("u1")) && has("paused", &Value::Null) && has("resumed", &Value::Null))
            .then_some(())
    })
    .await;
    let written = lines();
    let numbers: Vec<_> = written.iter().map(|line| line["sequence"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "each once: {numbers:?}");
    let ledger = relay.items("/ledger").await;
    assert_eq!(written.len(), ledger.len());
    let paused = written.iter().find(|line| line["outcome"] == "paused").unwrap();
    assert_eq!((&paused["actor"], &paused["kind"]), (&json!("tests"), &json!("target")));
    assert_eq!(relay.admin("/status").await["audit"]["state"], "written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_that_cannot_be_written_is_told_and_keeps_nothing_up() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    home.append("\n[audit]\npath = '/dev/null/audit.jsonl'\n");
    let relay = home.start().await;
    relay.changes("evt-1", &json!([user(1, "Clerk")])).await;
    relay.quiet("acme", LIMIT).await;
    let audit = relay.admin("/status").await["audit"].clone();
    assert_eq!(audit["state"], "failing", "{audit}");
    assert!(
        audit["since"].is_string() && audit["reason"].as_str().unwrap().contains("write the audit"),
        "{audit}"
    );
    assert!((relay.metrics().await.value("scim_relay_audit_failing", &[]) - 1.0).abs() < f64::EPSILON);
    assert_eq!(sandbox.users().await.len(), 1);
}

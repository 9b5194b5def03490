//! Resyncs against vendors that somebody has edited: exactly the edits are found, told or mended.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::Paging;
use scim_relay::target::Profile;
use serde_json::{Value, json};

use crate::support::relay::{ADMIN_KEY, Home, JsonValue as _, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::scim_server::ScimServer;
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(4);

/// Users and groups: 2,000 and 20 unless `SCIM_RELAY_RESYNC_USERS` says otherwise.
fn size() -> (usize, usize) {
    let users = std::env::var("SCIM_RELAY_RESYNC_USERS").ok().and_then(|users| users.parse().ok());
    let users = users.unwrap_or(2_000);
    (users, users / 100)
}

async fn fill(relay: &Relay, users: usize, groups: usize) {
    for start in (0..users).step_by(500) {
        let changes: Value = (start..users.min(start + 500))
            .map(|n| {
                json!({"op": "user.upsert", "id": format!("u-{n}"), "attributes": {
                    "userName": format!("u{n}@example.com"), "active": true, "title": "Clerk",
                    "emails": [{"value": format!("u{n}@example.com"), "type": "work", "primary": true}],
                    "department": "SUPPORT"}})
            })
            .collect();
        relay.changes(&format!("users-{start}"), &changes).await;
    }
    for group in 0..groups {
        // u-50, who is to be deleted at the vendor, is in no group.
        let first = if group == 0 { 0 } else { 100 + group * 10 };
        let members: Vec<_> = (first..first + 10).map(|n| format!("u-{n}")).collect();
        let changes = json!([
            {"op": "group.upsert", "id": format!("g-{group}"), "attributes": {"displayName": format!("Group {group}")}},
            {"op": "group.members", "id": format!("g-{group}"), "set": members}
        ]);
        relay.changes(&format!("group-{group}"), &changes).await;
    }
    relay.quiet("acme", LIMIT).await;
}

/// A vendor as its administrator uses it.
struct Console {
    base_url: String,
    token: &'static str,
}

impl Console {
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let request = http_client()
            .request(method, format!("{}/{path}", self.base_url))
            .bearer_auth(self.token)
            .header("content-type", "application/scim+json");
        let request = body.into_iter().fold(request, |request, body| request.body(body.to_string()));
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    async fn find(&self, kind: &str, filter: &str) -> Value {
        let filter: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        let list =
            self.call(Method::GET, &format!("{kind}?filter={}", filter.replace('+', "%20")), None).await;
        assert_eq!(list["totalResults"], 1, "{filter}");
        list["Resources"][0].clone()
    }

    async fn user(&self, number: usize) -> Value {
        self.find("Users", &format!("userName eq \"u{number}@example.com\"")).await
    }

    async fn group(&self, number: usize) -> Value {
        self.find("Groups", &format!("displayName eq \"Group {number}\"")).await
    }

    async fn patch(&self, kind: &str, resource: &Value, operations: Value) {
        let body =
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
        self.call(Method::PATCH, &format!("{kind}/{}", resource["id"].as_str().unwrap()), Some(body)).await;
    }

    /// What somebody does there: one edit of every sort.
    async fn edit(&self) {
        let edited = self.user(1).await;
        let edits = json!([{"op": "replace", "path": "title", "value": "King"},
                           {"op": "add", "path": "nickName", "value": "Theirs"}]);
        self.patch("Users", &edited, edits).await;
        let locked = self.user(2).await;
        self.patch("Users", &locked, json!([{"op": "replace", "path": "active", "value": false}])).await;
        let gone = self.user(50).await;
        self.call(Method::DELETE, &format!("Users/{}", gone["id"].as_str().unwrap()), None).await;
        let stranger = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "userName": "stranger@example.com", "active": true});
        let stranger = self.call(Method::POST, "Users", Some(stranger)).await;
        let group = self.group(0).await;
        let member = self.user(3).await;
        let remove = format!("members[value eq \"{}\"]", member["id"].as_str().unwrap());
        let members = json!([{"op": "remove", "path": remove},
                             {"op": "add", "path": "members", "value": [{"value": stranger["id"]}]}]);
        self.patch("Groups", &group, members).await;
    }
}

async fn begin(relay: &Relay, body: &Value) -> String {
    let request = http_client()
        .post(format!("{}/admin/v1/targets/acme/resyncs", relay.admin_url))
        .bearer_auth(ADMIN_KEY)
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let id = answer.json_value().await["id"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/admin/v1/resyncs/{id}"));
    id
}

async fn ended(relay: &Relay, id: &str) -> Value {
    eventually("the resync has ended", LIMIT, async || {
        let view = relay.admin(&format!("/resyncs/{id}")).await;
        (view["state"] != "waiting" && view["state"] != "running").then_some(view)
    })
    .await
}

async fn resync(relay: &Relay, mode: &str) -> (Value, Vec<String>) {
    let id = begin(relay, &json!({ "mode": mode })).await;
    let view = ended(relay, &id).await;
    (view, found(&relay.admin(&format!("/resyncs/{id}/report")).await))
}

/// Entries as short text, sorted: `user differs u-1 title`.
fn found(report: &Value) -> Vec<String> {
    let line = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let attributes: Vec<_> =
            entry["attributes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let member = if entry["external_id"].is_null() || !text("member").starts_with("u-") {
            String::new()
        } else {
            text("member")
        };
        let words = [text("kind"), text("drift"), text("external_id"), member, attributes.join(",")];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<_> = report["entries"].as_array().unwrap().iter().map(line).collect();
    lines.sort();
    lines
}

async fn exactly_the_edits(console: &Console, home: &Home, users: usize, groups: usize) {
    let relay = home.start().await;
    fill(&relay, users, groups).await;
    let (view, lines) = resync(&relay, "report").await;
    assert_eq!((view["state"].as_str(), lines), (Some("complete"), vec![]), "{view}");

    console.edit().await;
    let edits = [
        "member missing g-0 u-3",
        "member unmanaged g-0",
        "user differs u-1 title",
        "user differs u-2 active",
        "user missing u-50",
        "user unmanaged",
    ];
    let (view, lines) = resync(&relay, "report").await;
    assert_eq!(lines, edits);
    assert_eq!((&view["state"], &view["summary"]["new"]), (&json!("complete"), &json!(6)), "{view}");
    assert_eq!(console.user(1).await["title"], "King", "a report changes nothing");

    let (view, lines) = resync(&relay, "apply").await;
    assert_eq!(lines, edits);
    assert_eq!((&view["summary"]["same"], &view["summary"]["marked"]), (&json!(6), &json!(4)), "{view}");
    relay.quiet("acme", LIMIT).await;
    let mended = console.user(1).await;
    assert_eq!((&mended["title"], &mended["nickName"]), (&json!("Clerk"), &json!("Theirs")));
    assert_eq!(console.user(2).await["active"], true);
    let members = console.group(0).await["members"].as_array().unwrap().len();
    assert_eq!(members, 11, "who was put out is in again, and who was put in stays");

    let (view, lines) = resync(&relay, "report").await;
    assert_eq!(lines, ["member unmanaged g-0", "user unmanaged"], "what is not ours stays");
    assert_eq!(view["summary"]["gone"], 4, "{view}");
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_somebody_edited_is_found_and_mended() {
    let (users, groups) = size();
    let paging = Paging { count_max: 73, ..Paging::default() };
    let sandbox = Sandbox::start(Behaviour { paging, ..Behaviour::default() }, &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let console = Console { base_url: sandbox.base_url().to_owned(), token: TOKEN };
    exactly_the_edits(&console, &home, users, groups).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_somebody_edited_is_found_at_a_server_that_is_not_ours() {
    let server = ScimServer::start().await;
    let home = Home::new(&[TargetSetup::new("acme", server.base_url(), ScimServer::TOKEN)]);
    let console = Console { base_url: server.base_url(), token: ScimServer::TOKEN };
    exactly_the_edits(&console, &home, 120, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_goes_on_after_a_restart_and_ends_when_cancelled() {
    let paging = Paging { count_max: 5, ..Paging::default() };
    let sandbox = Sandbox::start(Behaviour { paging, ..Behaviour::default() }, &[]).await;
    let slow = "limits = { rate_per_second = 20, burst = 1, concurrency = 1 }\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(slow)]);
    let relay = home.start().await;
    fill(&relay, 100, 1).await;

    let id = begin(&relay, &json!({})).await;
    eventually("some pages are read", LIMIT, async || {
        let view = relay.admin(&format!("/resyncs/{id}")).await;
        (view["progress"]["read"].as_u64().unwrap() >= 20).then_some(())
    })
    .await;
    relay.kill().await;
    let pages = |calls: Vec<crate::support::sandbox::Call>| {
        calls.into_iter().filter(|call| call.path.starts_with("Users?startIndex")).count()
    };
    let relay = home.start().await;
    let view = ended(&relay, &id).await;
    assert_eq!((&view["state"], &view["summary"]["findings"]), (&json!("complete"), &json!(0)), "{view}");
    let read = pages(sandbox.calls().await);
    assert!(read <= 21, "{read} pages were read of 20: it went on from the last one");

    let id = begin(&relay, &json!({ "mode": "apply" })).await;
    let again = relay.admin_request(Method::POST, "/targets/acme/resyncs").await;
    assert_eq!(again.status(), 409, "one at a time");
    let cancelled = relay.admin_request(Method::DELETE, &format!("/resyncs/{id}")).await;
    assert_eq!(cancelled.status(), 202);
    assert_eq!(ended(&relay, &id).await["state"], "cancelled");
    assert_eq!(relay.admin_request(Method::DELETE, &format!("/resyncs/{id}")).await.status(), 409);
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_ends_incomplete_and_nothing_is_marked() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    fill(&relay, 20, 0).await;
    let console = Console { base_url: sandbox.base_url().to_owned(), token: TOKEN };
    for number in 0..20 {
        let user = console.user(number).await;
        console.call(Method::DELETE, &format!("Users/{}", user["id"].as_str().unwrap()), None).await;
    }
    let (view, lines) = resync(&relay, "apply").await;
    assert_eq!((&view["state"], lines), (&json!("incomplete"), vec![]), "{view}");
    assert_eq!(view["summary"]["marked"], 0);
    assert_eq!(view["incomplete"][0], "users: the list is empty, though the vendor had resources");
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_the_drift_as_csv() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    fill(&relay, 60, 1).await;
    Console { base_url: sandbox.base_url().to_owned(), token: TOKEN }.edit().await;
    let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_scim-relay"))
        .args(["resync", "acme", "--url", &relay.admin_url, "--key", ADMIN_KEY])
        .stdout(Stdio::piped())
        .output();
    let output = command.await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 7, "{text}");
    assert!(
        text.starts_with("target_id,external_id,email,department,sync_status,error_detail,drift,attributes,")
    );
    assert!(text.contains(",u-1,u1@example.com,SUPPORT,drifted,,differs,title,user,"), "{text}");
    assert_eq!(relay.terminate().await, Some(0));
}

/// A vendor that shows a group's members below the group, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_shown_below_their_group_are_compared_and_mended() {
    let mut profile = Profile::builtin("webex").unwrap();
    profile.list.max_count = 4.try_into().unwrap();
    profile.list.default_count = profile.list.max_count;
    let sandbox = Sandbox::start(Behaviour { rate: None, ..Behaviour::from(&profile) }, &[]).await;
    let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("webex");
    let home = Home::new(&[target.with("limits = { rate_per_second = 2000, burst = 50 }\n")]);
    let relay = home.start().await;
    fill(&relay, 12, 1).await;
    let (view, lines) = resync(&relay, "report").await;
    assert_eq!((&view["state"], lines), (&json!("complete"), vec![]), "{view}");
    let before = sandbox.members("Group 0").await;
    let group = sandbox.holdings().await.groups[0]["id"].as_str().unwrap().to_owned();
    let left = sandbox.user("u-3").await["id"].as_str().unwrap().to_owned();
    let edit = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": format!("members[value eq \"{left}\"]")}]});
    sandbox.console(Method::PATCH, &format!("Groups/{group}"), &edit).await;
    let (_, lines) = resync(&relay, "apply").await;
    assert_eq!(lines, ["member missing g-0 u-3"]);
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.members("Group 0").await, before);
    assert_eq!(relay.terminate().await, Some(0));
}

//! Resyncs against vendors that somebody has edited: exactly the edits are found, told or mended.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::Paging;
use scim_relay::target::Profile;
use serde_json::{Value, json};

use crate::support::relay::{ADMIN_KEY, Home, Relay, TargetSetup};
use crate::support::resyncs::{begin, ended, resync};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::scim_server::ScimServer;
use crate::support::{eventually, http_client};

/// Ample for the largest sizes that are asked for by hand.
const LIMIT: Duration = Duration::from_mins(40);

/// Users and groups: a hundredth as many groups as users, of which the variable may want more.
fn size(variable: &str, users: usize) -> (usize, usize) {
    let wanted = std::env::var(variable).ok().and_then(|users| users.parse().ok());
    let users = wanted.unwrap_or(users);
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
    let (users, groups) = size("SCIM_RELAY_RESYNC_USERS", 2_000);
    let paging = Paging { count_max: 73, ..Paging::default() };
    let sandbox = Sandbox::start(Behaviour { paging, ..Behaviour::default() }, &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let console = Console { base_url: sandbox.base_url().to_owned(), token: TOKEN };
    exactly_the_edits(&console, &home, users, groups).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_somebody_edited_is_found_at_a_server_that_is_not_ours() {
    // It has an index for what is compared alone; of a filter with `or` it walks through everybody.
    const PEER: &str = "name = \"peer\"\nsummary = \"scim2-server\"\nevidence = \"verified\"\n\
                        sources = [\"scim2-server\"]\nas_of = \"2026-11-21\"\n[filter]\nor = false\n";
    let (users, groups) = size("SCIM_RELAY_RESYNC_PEER_USERS", 200);
    let server = ScimServer::start_with_users(users).await;
    let target = TargetSetup::new("acme", server.base_url(), ScimServer::TOKEN).with_profile("peer.toml");
    let home = Home::new(&[target]);
    std::fs::write(home.path().join("peer.toml"), PEER).unwrap();
    let console = Console { base_url: server.base_url(), token: ScimServer::TOKEN };
    exactly_the_edits(&console, &home, users, groups).await;
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
    assert!(read <= 22, "{read} pages were read of 20: it went on from the last one that was kept");

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

async fn writes(sandbox: &Sandbox) -> usize {
    sandbox.calls().await.iter().filter(|call| call.method != "GET").count()
}

async fn stand(relay: &Relay, user: &str) -> String {
    let story = relay.admin(&format!("/directories/default/users/{user}/timeline")).await;
    story["present"]["targets"]["acme"]["words"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_with_accounts_is_compared_while_it_is_paused_and_changes_when_it_is_told_to() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let there = async |collection: &str, attributes: Value| sandbox.make(collection, &attributes).await;
    there("Users", json!({"userName": "U1@example.com", "active": true, "title": "King"})).await;
    there("Users", json!({"userName": "old@example.com", "externalId": "u-2", "active": true})).await;
    for name in ["one", "two"] {
        let name = format!("{name}@example.com");
        there("Users", json!({"userName": name, "externalId": "u-3", "active": true})).await;
    }
    let stranger = there("Users", json!({"userName": "stranger@example.com", "active": true})).await;
    let members = json!([{ "value": stranger }]);
    there("Groups", json!({"displayName": "Group 0", "members": members})).await;

    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    relay.act("/targets/acme/pause").await;
    let users = (1..=4).map(|n| {
        json!({"op": "user.upsert", "id": format!("u-{n}"),
            "attributes": {"userName": format!("u{n}@example.com"), "active": true, "title": "Clerk"}})
    });
    relay.changes("users", &users.collect()).await;
    let ids: Vec<_> = (1..=4).map(|n| format!("u-{n}")).collect();
    let group = json!([{"op": "group.upsert", "id": "g-0", "attributes": {"displayName": "Group 0"}},
                       {"op": "group.members", "id": "g-0", "set": ids}]);
    relay.changes("group", &group).await;
    relay.until("acme", "all is work", LIMIT, |counts| counts["pending"] == 5).await;

    let wanted = [
        "group unlinked g-0 externalId",
        "member unmanaged g-0",
        "user duplicate u-3",
        "user duplicate u-3",
        "user missing u-4",
        "user unlinked u-1 externalId,title",
        "user unlinked u-2 title,userName",
        "user unmanaged",
    ];
    for mode in ["report", "apply"] {
        let (view, lines) = resync(&relay, mode).await;
        assert_eq!(lines, wanted, "{mode}");
        let said = (&view["state"], &view["summary"]["marked"]);
        assert_eq!(said, (&json!("complete"), &json!(0)), "what waits is not marked: {view}");
    }
    assert_eq!(writes(&sandbox).await, 0, "nothing is done until it is told to");

    relay.act("/targets/acme/resume").await;
    relay.quiet("acme", LIMIT).await;
    let (_, lines) = resync(&relay, "report").await;
    let left = ["member unmanaged g-0", "user duplicate u-3", "user duplicate u-3", "user unmanaged"];
    assert_eq!(lines, left, "what is not ours stays, and nobody guesses between two");
    assert!(
        stand(&relay, "u-3").await.contains("several users at the vendor match"),
        "{}",
        stand(&relay, "u-3").await
    );
    let holdings = sandbox.holdings().await;
    assert_eq!((holdings.users.len(), holdings.groups.len()), (6, 1), "u-4 alone is new");
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_away_and_is_there_again_is_extra() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let limits = "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\non_delete = \"delete\"\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(limits)]);
    let relay = home.start().await;
    fill(&relay, 30, 1).await;
    let changes =
        json!([{"op": "group.members", "id": "g-0", "remove": ["u-3"]}, {"op": "user.delete", "id": "u-20"}]);
    relay.changes("leaving", &changes).await;
    relay.quiet("acme", LIMIT).await;

    let console = Console { base_url: sandbox.base_url().to_owned(), token: TOKEN };
    let back = json!([{"op": "add", "path": "members", "value": [{"value": console.user(3).await["id"]}]}]);
    console.patch("Groups", &console.group(0).await, back).await;
    let again = json!({"userName": "u20@example.com", "externalId": "u-20", "active": true});
    sandbox.make("Users", &again).await;
    let namesake = json!({"userName": "u21x@example.com", "externalId": "u-21", "active": true});
    let namesake = sandbox.make("Users", &namesake).await;

    let extra = ["member extra g-0 u-3", "user duplicate u-21", "user extra u-20"];
    let (view, lines) = resync(&relay, "apply").await;
    assert_eq!(lines, extra, "{view}");
    relay.quiet("acme", LIMIT).await;
    let (_, lines) = resync(&relay, "report").await;
    assert_eq!(lines, ["user duplicate u-21"], "which of two is meant is for a person to say");
    console.call(Method::DELETE, &format!("Users/{namesake}"), None).await;
    let (view, lines) = resync(&relay, "report").await;
    assert_eq!((&view["state"], lines), (&json!("complete"), vec![]), "{view}");
    assert_eq!(sandbox.users().await.len(), 29);
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_a_target_derives_are_compared_and_mended() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let rules = "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\n\
                 [[targets.acme.derived_groups]]\nwhen = 'user.department == \"SUPPORT\"'\ngroup = \"Agents\"\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(rules)]);
    let relay = home.start().await;
    fill(&relay, 12, 0).await;
    let (view, lines) = resync(&relay, "report").await;
    assert_eq!((&view["state"], lines), (&json!("complete"), vec![]), "{view}");

    let console = Console { base_url: sandbox.base_url().to_owned(), token: TOKEN };
    let agents = console.find("Groups", "displayName eq \"Agents\"").await;
    let out = format!("members[value eq \"{}\"]", console.user(5).await["id"].as_str().unwrap());
    console.patch("Groups", &agents, json!([{"op": "remove", "path": out}])).await;
    let (view, lines) = resync(&relay, "apply").await;
    assert_eq!(lines, ["member missing derived:Agents u-5"], "{view}");
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.members("Agents").await.len(), 12);
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drifts_is_found_and_mended_without_being_asked_where_a_schedule_says_so() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let lines = "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(lines)]);
    let relay = home.start().await;
    fill(&relay, 60, 1).await;
    assert_eq!(relay.terminate().await, Some(0));
    Console { base_url: sandbox.base_url().to_owned(), token: TOKEN }.edit().await;

    home.append("resync = { every = \"24h\", mode = \"apply\" }\n");
    let relay = home.start().await;
    let resyncs = eventually("it has come round", LIMIT, async || {
        let resyncs = relay.admin("/targets/acme/resyncs").await;
        (resyncs[0]["state"] == "complete").then_some(resyncs)
    })
    .await;
    let first = &resyncs[0];
    assert_eq!((&first["by"], &first["mode"]), (&json!("schedule"), &json!("apply")), "{first}");
    assert_eq!(first["summary"]["findings"], 6, "{first}");
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.user("u-1").await["title"], "Clerk");
    let resyncs = relay.admin("/targets/acme/resyncs").await;
    assert_eq!(resyncs.as_array().unwrap().len(), 1, "the next one is tomorrow's");
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

//! Others write at the vendor too: stale versions, taken names, vanished accounts, members refused.

use std::time::Duration;

use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::{
    AbsentMember, Cap, GroupRules, HolderTold, OverCap, Stale, Support, UserRules, Versions,
};
use scim_relay::target::Profile;
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Call, Sandbox, TOKEN, shapes};

const LIMIT: Duration = Duration::from_mins(1);

fn upsert(id: &str, attributes: &Value) -> Value {
    let mut change = json!({"op": "user.upsert", "id": id, "attributes": attributes});
    change["attributes"]["userName"] = format!("{id}@example.com").into();
    change
}

fn group(id: &str, name: &str) -> Value {
    json!({"op": "group.upsert", "id": id, "attributes": {"displayName": name}})
}

fn adds(group: &str, users: &[String]) -> Value {
    json!({"op": "group.members", "id": group, "add": users})
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("u-{number}")).collect()
}

/// Users of these ids, nothing but named.
fn people(ids: &[String]) -> Value {
    ids.iter().map(|id| upsert(id, &json!({}))).collect()
}

async fn start(behaviour: Behaviour) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(behaviour, &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

async fn done(relay: &Relay, event: &str, changes: &Value) -> Value {
    relay.changes(event, changes).await;
    relay.quiet("acme", LIMIT).await["targets"]["acme"].clone()
}

/// The calls that came at the vendor after the first `skipped`.
async fn calls_after(sandbox: &Sandbox, skipped: usize) -> Vec<Call> {
    sandbox.calls().await.split_off(skipped)
}

/// Three users and a group that holds the first of them, linked at a vendor that says "stale" so.
async fn linked(stale: Stale, profile: &str) -> (Sandbox, Home, Relay) {
    let mut behaviour = Behaviour::from(&Profile::builtin(profile).unwrap());
    behaviour.rate = None;
    behaviour.etag = Versions { stale, ..Versions::default() };
    // Not every vendor lets clients create groups, so this one is there already.
    behaviour.groups.create = Support::Yes;
    let groups = behaviour.groups_path.clone();
    let sandbox = Sandbox::start(behaviour, &[]).await;
    sandbox.make(&groups, &json!({"displayName": "Support"})).await;
    let extra = "limits = { rate_per_second = 2000, burst = 50, concurrency = 8, windows = [] }\n";
    let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile(profile).with(extra);
    let home = Home::new(&[target]);
    let relay = home.start().await;
    let mut changes = people(&ids(1..4));
    changes.as_array_mut().unwrap().extend([group("g-1", "Support"), adds("g-1", &ids(1..2))]);
    let status = done(&relay, "evt-all", &changes).await;
    assert_eq!(status["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
    (sandbox, home, relay)
}

const DIALECTS: [(Stale, &str, u16); 3] = [
    (Stale::PreconditionFailed, "rfc7644", 412),
    (Stale::Conflict, "rfc7644", 409),
    (Stale::InvalidVers, "genesys-cloud", 400),
];

fn three_steps(calls: &[Call], stale: u16) -> bool {
    let steps: Vec<_> = calls.iter().map(|call| (call.method.as_str(), call.status.as_str())).collect();
    steps == [("PATCH", stale.to_string().as_str()), ("GET", "200"), ("PATCH", "200")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_user_is_read_again_and_what_the_other_wrote_stays() {
    for (stale, profile, status) in DIALECTS {
        let (sandbox, _home, relay) = linked(stale, profile).await;
        let before = sandbox.calls().await.len();
        sandbox.set_faults(&["edit:next=1:on=PATCH+users"]).await;
        done(&relay, "evt-title", &json!([upsert("u-1", &json!({"title": "New"}))])).await;
        let calls = calls_after(&sandbox, before).await;
        assert!(three_steps(&calls, status), "{status}: {:?}", shapes(&calls));
        let user = sandbox.user("u-1").await;
        assert_eq!(user["title"], "New");
        assert!(user["nickName"].as_str().unwrap().starts_with("edited"), "{user}");
        let story = relay.story("user:u-1").await;
        assert_eq!(story[story.len() - 3..], ["update stale", "fetch found", "update applied"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stale_group_only_what_is_left_is_sent_and_the_members_of_others_stay() {
    for (stale, profile, status) in DIALECTS {
        let (sandbox, _home, relay) = linked(stale, profile).await;
        let before = sandbox.calls().await.len();
        sandbox.set_faults(&["edit:next=1:on=PATCH+groups"]).await;
        relay.act("/targets/acme/pause").await;
        relay.changes("evt-two", &json!([adds("g-1", &ids(2..4))])).await;
        console_adds(&sandbox, &sandbox.user("u-2").await["id"]).await;
        relay.act("/targets/acme/resume").await;
        relay.quiet("acme", LIMIT).await;
        let calls = calls_after(&sandbox, before).await;
        assert!(three_steps(&calls, status), "{status}: {:?}", shapes(&calls));
        assert!(calls[2].body_bytes < calls[0].body_bytes, "the one who was there already is not sent again");
        let mut wanted = Vec::new();
        for user in sandbox.users().await {
            // The three of ours, and whom the console added by the fault.
            wanted.push(user["id"].as_str().unwrap().to_owned());
        }
        wanted.sort_unstable();
        assert_eq!(wanted.len(), 4);
        assert_eq!(sandbox.members("Support").await, wanted);
    }
}

/// Somebody adds a member at the vendor's console.
async fn console_adds(sandbox: &Sandbox, member: &Value) {
    let state = sandbox.look("state").await;
    let group = &state["groups"][0];
    let path = group["meta"]["location"].as_str().unwrap().rsplit('/').take(2).collect::<Vec<_>>();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "members", "value": [{"value": member}]}]
    });
    sandbox.console(Method::PATCH, &format!("{}/{}", path[1], path[0]), &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_answer_after_which_nothing_is_left_is_already_in_place() {
    let (sandbox, _home, relay) = linked(Stale::PreconditionFailed, "rfc7644").await;
    relay.act("/targets/acme/pause").await;
    relay.changes("evt-title", &json!([upsert("u-1", &json!({"title": "New"}))])).await;
    relay.changes("evt-member", &json!([adds("g-1", &ids(2..3))])).await;
    let user = sandbox.user("u-1").await;
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "title", "value": "New"}]
    });
    sandbox.console(Method::PATCH, &format!("Users/{}", user["id"].as_str().unwrap()), &body).await;
    console_adds(&sandbox, &sandbox.user("u-2").await["id"]).await;
    relay.act("/targets/acme/resume").await;
    relay.quiet("acme", LIMIT).await;
    for (resource, operation) in [("user:u-1", "update"), ("group:g-1", "members")] {
        let story = relay.story(resource).await;
        let wanted = [format!("{operation} stale"), "fetch found".into(), "none already_in_place".into()];
        assert_eq!(story[story.len() - 3..], wanted, "{resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_made_between_look_up_and_creation_is_found_linked_and_merged() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    // A call in two seconds leaves time to be overtaken.
    let slow = "limits = { rate_per_second = 0.5, burst = 1, concurrency = 1 }\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(slow)]);
    let relay = home.start().await;
    relay.changes("evt-1", &json!([upsert("u-1", &json!({"title": "Ours", "nickName": null}))])).await;
    eventually("the look-up", LIMIT, async || (sandbox.calls().await.len() == 1).then_some(())).await;
    let theirs = json!({"userName": "U-1@example.com", "title": "Theirs", "locale": "de"});
    let id = sandbox.make("Users", &theirs).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(
        shapes(&sandbox.calls().await),
        ["GET Users? 200", "POST Users 409", "GET Users? 200", "PATCH Users 200"]
    );
    let user = sandbox.user("u-1").await;
    assert_eq!(
        (&user["id"], &user["title"], &user["locale"]),
        (&json!(id), &json!("Ours"), &json!("de")),
        "linked, ours written, theirs kept"
    );
    assert_eq!(sandbox.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_no_filter_finds_is_linked_where_the_refused_creation_names_it() {
    for holder in [HolderTold::Header, HolderTold::Body] {
        let users = UserRules { filters_pass_inactive: true, ..UserRules::default() };
        let sandbox = Sandbox::start(Behaviour { users, holder, ..Behaviour::default() }, &[]).await;
        // Left long ago: the account is kept, holds its name and is shown to nobody who searches.
        let left = json!({"userName": "U-1@example.com", "active": false, "locale": "de"});
        let id = sandbox.make("Users", &left).await;
        let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
        let relay = home.start().await;
        let status =
            done(&relay, "evt-1", &json!([upsert("u-1", &json!({"title": "Back", "active": true}))])).await;
        assert_eq!(status["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
        assert_eq!(
            shapes(&sandbox.calls().await),
            ["GET Users? 200", "POST Users 409", "GET Users 200", "PATCH Users 200"],
            "{holder:?}"
        );
        let user = sandbox.user("u-1").await;
        assert_eq!(
            (&user["id"], &user["title"], &user["locale"], &user["active"]),
            (&json!(id), &json!("Back"), &json!("de"), &json!(true)),
            "linked, ours written, theirs kept"
        );
        let story = relay.story("user:u-1").await;
        assert_eq!(story[..3], ["lookup not_found", "create conflict", "lookup found"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_deleted_at_the_vendor_is_made_again_with_its_memberships() {
    let (sandbox, _home, relay) = linked(Stale::PreconditionFailed, "rfc7644").await;
    let before = sandbox.user("u-1").await["id"].as_str().unwrap().to_owned();
    sandbox.console(Method::DELETE, &format!("Users/{before}"), &Value::Null).await;
    assert_eq!(sandbox.members("Support").await, Vec::<String>::new());
    done(&relay, "evt-title", &json!([upsert("u-1", &json!({"title": "Back"}))])).await;
    let user = sandbox.user("u-1").await;
    assert_ne!(user["id"], before);
    assert_eq!(user["title"], "Back");
    assert_eq!(sandbox.users().await.len(), 3);
    assert_eq!(sandbox.members("Support").await, [user["id"].as_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_that_match_are_parked_as_ambiguous_and_hold_up_nobody() {
    let (sandbox, _home, relay) = start(Behaviour::default()).await;
    for name in ["one", "two"] {
        sandbox.make("Users", &json!({"userName": name, "externalId": "u-1"})).await;
    }
    let status = done(&relay, "evt-1", &people(&ids(1..3))).await;
    assert_eq!(status["parked"], 1);
    let parked = relay.items("/targets/acme/parked").await;
    assert_eq!(parked[0]["id"], "user:u-1");
    assert!(parked[0]["reason"].as_str().unwrap().starts_with("several users"), "{parked:?}");
    let calls = sandbox.calls().await;
    let writes: Vec<_> = calls.iter().filter(|call| call.method != "GET").collect();
    assert_eq!(writes.len(), 1, "nobody is written but the other: {writes:?}");
    let made = sandbox.look("state").await["users"].as_array().unwrap().len();
    assert_eq!(made, 3);

    // A person has settled it.
    let two = sandbox.look("state").await["users"][1]["id"].as_str().unwrap().to_owned();
    sandbox.console(Method::DELETE, &format!("Users/{two}"), &Value::Null).await;
    relay.act("/targets/acme/parked/user:u-1/retry").await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 0);
    assert_eq!(sandbox.user("u-1").await["userName"], "u-1@example.com");
}

fn poisoned(name: &str) -> Behaviour {
    let poison_members = [name.to_owned()].into();
    Behaviour { groups: GroupRules { poison_members, ..GroupRules::default() }, ..Behaviour::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_the_vendor_refuses_is_parked_alone_and_taken_once_the_vendor_is_mended() {
    let (sandbox, _home, relay) = start(poisoned("u-42@example.com")).await;
    done(&relay, "evt-users", &people(&ids(0..100))).await;
    done(&relay, "evt-group", &json!([group("g-1", "All")])).await;
    let before = sandbox.calls().await.len();
    let status = done(&relay, "evt-members", &json!([adds("g-1", &ids(0..100))])).await;
    assert_eq!(sandbox.members("All").await.len(), 99);
    assert_eq!(status["parked"], 1);
    let parked = relay.items("/targets/acme/parked").await;
    assert_eq!(parked[0]["id"], "member:3:g-1:u-42");
    let reason = parked[0]["reason"].as_str().unwrap();
    assert!(reason.starts_with("400: ") && reason.len() > 8, "the vendor's reason is kept: {reason}");
    let calls = calls_after(&sandbox, before).await;
    assert!(calls.len() <= 20, "halving, not trying each: {} calls", calls.len());

    // The vendor refuses by name, so another name mends it.
    let id = sandbox.user("u-42").await["id"].as_str().unwrap().to_owned();
    let body = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "userName", "value": "mended@example.com"}]
    });
    sandbox.console(Method::PATCH, &format!("Users/{id}"), &body).await;
    relay.act("/targets/acme/parked/member:3:g-1:u-42/retry").await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 0);
    assert_eq!(sandbox.members("All").await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_the_vendor_refuses_does_not_keep_a_new_group_from_being_made() {
    let (sandbox, _home, relay) = start(poisoned("u-7@example.com")).await;
    let mut changes = people(&ids(0..10));
    changes.as_array_mut().unwrap().extend([group("g-1", "New"), adds("g-1", &ids(0..10))]);
    done(&relay, "evt-1", &changes).await;
    let parked = relay.items("/targets/acme/parked").await;
    assert_eq!(
        parked.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["member:3:g-1:u-7"]
    );
    assert_eq!(sandbox.members("New").await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_too_large_is_halved_and_the_size_is_remembered_over_a_restart() {
    for over in [OverCap::PayloadTooLarge, OverCap::TooMany] {
        let groups = GroupRules { members_max: Some(Cap { most: 30, over }), ..GroupRules::default() };
        let (sandbox, home, relay) = start(Behaviour { groups, ..Behaviour::default() }).await;
        let mut changes = people(&ids(0..100));
        changes.as_array_mut().unwrap().extend([group("g-1", "First"), group("g-2", "Second")]);
        done(&relay, "evt-users", &changes).await;
        let status = done(&relay, "evt-first", &json!([adds("g-1", &ids(0..100))])).await;
        assert_eq!((sandbox.members("First").await.len(), &status["parked"]), (100, &json!(0)));
        assert_eq!(relay.admin("/targets/acme").await["limits"]["members_per_request"], 25);
        assert_eq!(relay.terminate().await, Some(0));

        let relay = home.start().await;
        let before = sandbox.calls().await.len();
        done(&relay, "evt-second", &json!([adds("g-2", &ids(0..100))])).await;
        assert_eq!(sandbox.members("Second").await.len(), 100);
        let calls = calls_after(&sandbox, before).await;
        assert!(calls.iter().all(|call| call.status == "200"), "{:?}", shapes(&calls));
        assert_eq!(calls.len(), 4);
    }
}

/// Nobody is shown in a group, but the vendor tells of one: who is out already needs nobody to look at it.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_a_group_whose_members_are_hidden_is_asked_for_and_not_parked() {
    let mut behaviour =
        Behaviour { rate: None, ..Behaviour::from(&Profile::builtin("aws-identity-center").unwrap()) };
    behaviour.groups.absent_member = AbsentMember::NoTarget;
    let sandbox = Sandbox::start(behaviour, &[]).await;
    let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("aws-identity-center");
    let home = Home::new(&[target.with("limits = { rate_per_second = 2000, burst = 50 }\n")]);
    let relay = home.start().await;
    let named =
        |id: &String| upsert(id, &json!({"displayName": id, "name": {"givenName": id, "familyName": id}}));
    let mut changes: Vec<Value> = ids(0..4).iter().map(named).collect();
    changes.extend([group("g-1", "Support"), adds("g-1", &ids(0..4))]);
    done(&relay, "evt-all", &json!(changes)).await;
    let members = sandbox.members("Support").await;
    assert_eq!(members.len(), 4);
    let group = sandbox.holdings().await.groups[0]["id"].as_str().unwrap().to_owned();
    let left = sandbox.user("u-1").await["id"].as_str().unwrap().to_owned();
    let edit = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": "members", "value": [{"value": left}]}]});
    sandbox.console(Method::PATCH, &format!("Groups/{group}"), &edit).await;
    let before = sandbox.calls().await.len();
    let gone = json!({"op": "group.members", "id": "g-1", "remove": ids(1..3)});
    let status = done(&relay, "evt-gone", &json!([gone])).await;
    assert_eq!(status["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
    assert_eq!(sandbox.members("Support").await.len(), 2);
    let calls = calls_after(&sandbox, before).await;
    let asked =
        calls.iter().filter(|call| call.method == "GET" && call.path.contains("members%20eq")).count();
    assert_eq!(asked, 1, "{calls:?}");
}

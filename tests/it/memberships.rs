//! A feed of memberships alone: users and groups are the vendor's, known here by id only.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN, shapes};

const LIMIT: Duration = Duration::from_mins(1);

async fn start() -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

async fn user_at_the_vendor(sandbox: &Sandbox, id: &str) -> String {
    let attributes = json!({"userName": format!("{id}@vendor.example"), "externalId": id, "title": "Theirs"});
    sandbox.make("Users", &attributes).await
}

fn members(add: &[&str], remove: &[&str]) -> Value {
    json!([{"op": "group.members", "id": "g-1", "add": add, "remove": remove}])
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_groups_known_by_id_alone_are_found_linked_and_changed() {
    let (sandbox, _home, relay) = start().await;
    let mut vendor_ids = Vec::new();
    for id in ["u-1", "u-2", "u-3"] {
        vendor_ids.push(user_at_the_vendor(&sandbox, id).await);
    }
    sandbox.make("Groups", &json!({"displayName": "Agents", "externalId": "g-1"})).await;
    let before = sandbox.users().await;

    relay.changes("evt-1", &members(&["u-1", "u-2", "u-3"], &[])).await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(
        (&status["targets"]["acme"]["parked"], &status["targets"]["acme"]["waiting"]),
        (&json!(0), &json!(0))
    );
    let mut wanted = vendor_ids.clone();
    wanted.sort_unstable();
    assert_eq!(sandbox.members("Agents").await, wanted);

    relay.changes("evt-2", &members(&[], &["u-2"])).await;
    relay.quiet("acme", LIMIT).await;
    wanted.retain(|id| *id != vendor_ids[1]);
    assert_eq!(sandbox.members("Agents").await, wanted);

    let without_groups = |users: Vec<Value>| -> Vec<Value> {
        let bare = |mut user: Value| {
            user.as_object_mut().unwrap().remove("groups");
            user
        };
        users.into_iter().map(bare).collect()
    };
    assert_eq!(
        without_groups(sandbox.users().await),
        without_groups(before),
        "nobody's own data were touched"
    );
    let writes: Vec<_> = sandbox.calls().await.into_iter().filter(|call| call.method != "GET").collect();
    assert!(writes.len() <= 4, "few calls for four changes: {:?}", shapes(&writes));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_id_map_names_is_linked_though_nothing_matches_and_who_is_not_there_is_looked_up() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let named = sandbox.make("Users", &json!({"userName": "jd@old.example", "externalId": "77"})).await;
    let found = user_at_the_vendor(&sandbox, "u-2").await;
    let group = sandbox.make("Groups", &json!({"displayName": "Agents"})).await;
    let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with("id_map = \"ids.csv\"\n");
    let home = Home::new(&[target]);
    let rows = format!("user,u-1,{named}\nuser,u-2,nobody\ngroup,g-1,{group}\n");
    std::fs::write(home.path().join("ids.csv"), format!("kind,external_id,vendor_id\n{rows}")).unwrap();
    let relay = home.start().await;

    relay.changes("evt-1", &members(&["u-1", "u-2"], &[])).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    assert_eq!((&status["parked"], &status["waiting"]), (&json!(0), &json!(0)), "{status}");
    let mut wanted = vec![named.clone(), found];
    wanted.sort_unstable();
    assert_eq!(sandbox.members("Agents").await, wanted);
    assert_eq!(relay.story("user:u-1").await[0], "lookup found");
    assert_eq!(relay.story("user:u-2").await[..2], ["lookup not_found", "lookup found"]);
    let told = relay.items("/ledger?resource=user:u-2&limit=1000").await;
    assert_eq!(told.last().unwrap()["detail"], "the one that the id map names");

    let described = json!({"userName": "jane@example.com", "title": "Lead"});
    let upsert = json!([{"op": "user.upsert", "id": "u-1", "attributes": described}]);
    relay.changes("evt-2", &upsert).await;
    relay.quiet("acme", LIMIT).await;
    let users = sandbox.users().await;
    let user = users.iter().find(|user| user["id"] == *named).expect("still there");
    assert_eq!((&user["userName"], &user["title"]), (&json!("jane@example.com"), &json!("Lead")));
    assert_eq!(users.len(), 2, "nobody is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whom_the_vendor_does_not_know_waits_in_sight_and_is_added_when_it_appears() {
    let (sandbox, _home, relay) = start().await;
    let known = user_at_the_vendor(&sandbox, "u-1").await;
    sandbox.make("Groups", &json!({"displayName": "Agents", "externalId": "g-1"})).await;
    relay.changes("evt-1", &members(&["u-1", "u-later"], &[])).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    assert_eq!(sandbox.members("Agents").await, [known.as_str()], "the group does not wait for the member");
    assert_eq!((&status["waiting_members"], &status["parked"]), (&json!(1), &json!(0)), "{status}");
    let event = relay.admin("/events/evt-1").await;
    assert_eq!(event["changes"][0]["targets"]["acme"]["state"], "waiting", "{event}");

    let upsert =
        json!([{"op": "user.upsert", "id": "u-later", "attributes": {"userName": "later@example.com"}}]);
    relay.changes("evt-2", &upsert).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    let mut wanted = vec![known, sandbox.user("u-later").await["id"].as_str().unwrap().to_owned()];
    wanted.sort_unstable();
    assert_eq!(sandbox.members("Agents").await, wanted);
    assert_eq!((&status["waiting_members"], &status["waiting"]), (&json!(0), &json!(0)), "{status}");
    let event = relay.admin("/events/evt-1").await;
    assert_eq!(event["changes"][0]["targets"]["acme"]["state"], "applied", "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_vendor_does_not_know_waits_in_sight_and_is_filled_when_it_is_named() {
    let (sandbox, _home, relay) = start().await;
    let known = user_at_the_vendor(&sandbox, "u-1").await;
    relay.changes("evt-1", &members(&["u-1"], &[])).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    assert_eq!((&status["waiting"], &status["parked"]), (&json!(1), &json!(0)), "{status}");
    assert_eq!(relay.story("group:g-1").await.last().unwrap(), "none waiting");

    let upsert = json!([{"op": "group.upsert", "id": "g-1", "attributes": {"displayName": "Agents"}}]);
    relay.changes("evt-2", &upsert).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    assert_eq!(sandbox.members("Agents").await, [known]);
    assert_eq!(status["waiting"], 0, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_others_added_goes_once_members_are_authoritative_and_stays_before() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let target = |members: &str| {
        let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN);
        target.with(&format!("members = \"{members}\"\n"))
    };
    let home = Home::new(&[target("additive")]);
    let relay = home.start().await;
    let person = |id: &str| json!({"op": "user.upsert", "id": id, "attributes": {"userName": format!("{id}@example.com")}});
    let group = json!({"op": "group.upsert", "id": "g-1", "attributes": {"displayName": "Agents"}});
    relay.changes("evt-1", &json!([person("u-1"), person("u-2"), group])).await;
    relay.changes("evt-2", &members(&["u-1"], &[])).await;
    relay.quiet("acme", LIMIT).await;
    let ours = sandbox.user("u-1").await["id"].as_str().unwrap().to_owned();
    let stranger = user_at_the_vendor(&sandbox, "stranger").await;
    let state = sandbox.look("state").await;
    let group = state["groups"][0]["id"].as_str().unwrap();
    let add = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "members", "value": [{"value": stranger}]}]});
    sandbox.console(reqwest::Method::PATCH, &format!("Groups/{group}"), &add).await;
    relay.changes("evt-3", &members(&["u-2"], &[])).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.members("Agents").await.len(), 3, "additive: the stranger stays");
    assert_eq!(relay.terminate().await, Some(0));

    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace("\"additive\"", "\"authoritative\"")).unwrap();
    let relay = home.start().await;
    let mut wanted = vec![ours, sandbox.user("u-2").await["id"].as_str().unwrap().to_owned()];
    wanted.sort_unstable();
    crate::support::eventually("the stranger is out", LIMIT, async || {
        (sandbox.members("Agents").await == wanted).then_some(())
    })
    .await;
    sandbox.console(reqwest::Method::PATCH, &format!("Groups/{group}"), &add).await;
    relay.changes("evt-4", &members(&[], &["u-2"])).await;
    relay.quiet("acme", LIMIT).await;
    let left = sandbox.members("Agents").await;
    assert_eq!(
        left,
        [sandbox.user("u-1").await["id"].as_str().unwrap()],
        "with the next change he goes again"
    );
}

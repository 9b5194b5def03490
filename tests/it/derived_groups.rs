//! Groups whose members follow from attributes.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(2);
const RULES: &str = r#"
scope = 'user.department != "HIDDEN"'
limits = { rate_per_second = 2000, burst = 50, concurrency = 4 }
[[targets.acme.derived_groups]]
when = 'user.department == "SUPPORT"'
group = "Agents"
[[targets.acme.derived_groups]]
when = 'user.title == "Coach"'
group = "Agents"
"#;

async fn start() -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(RULES)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

async fn done(relay: &Relay, event: &str, changes: &Value) -> Value {
    relay.changes(event, changes).await;
    relay.quiet("acme", LIMIT).await["targets"]["acme"].clone()
}

fn user(id: &str, department: &str) -> Value {
    let attributes = json!({"userName": format!("{id}@example.com"), "department": department});
    json!({"op": "user.upsert", "id": id, "attributes": attributes})
}

/// The directory's ids of a group's members, sorted.
async fn members(sandbox: &Sandbox, group: &str) -> Vec<String> {
    let users = sandbox.users().await;
    let mut names = Vec::new();
    for id in sandbox.members(group).await {
        let user = users.iter().find(|user| user["id"] == id.as_str()).unwrap();
        names.push(user["externalId"].as_str().unwrap().to_owned());
    }
    names.sort();
    names
}

async fn group_patches(sandbox: &Sandbox) -> usize {
    let calls = sandbox.calls().await;
    calls.iter().filter(|call| call.method == "PATCH" && call.path.starts_with("Groups")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_decide_who_belongs_and_others_stay() {
    let (sandbox, _home, relay) = start().await;
    let admin = sandbox.make("Users", &json!({"userName": "admin@example.com", "externalId": "admin"})).await;
    sandbox.make("Groups", &json!({"displayName": "agents", "members": [{"value": admin}]})).await;
    let people = ["a", "b", "c", "d", "e"].map(|id| user(id, "SUPPORT"));
    done(&relay, "evt-1", &Value::from(people.to_vec())).await;
    done(&relay, "evt-2", &json!([user("f", "SALES")])).await;
    assert_eq!(sandbox.members("agents").await.len(), 6, "the group that was there, by its name");

    let coach =
        json!({"op": "user.upsert", "id": "a", "attributes": {"department": "SALES", "title": "Coach"}});
    let leaving = json!([
        coach,
        user("b", "SALES"),
        user("c", "HIDDEN"),
        {"op": "user.delete", "id": "d"},
        {"op": "user.deactivate", "id": "e"},
        user("f", "SUPPORT"),
    ]);
    done(&relay, "evt-3", &leaving).await;
    assert_eq!(members(&sandbox, "agents").await, ["a", "admin", "e", "f"]);
    let status =
        done(&relay, "evt-4", &json!([{"op": "user.upsert", "id": "f", "attributes": {"title": "X"}}])).await;
    assert_eq!(status["parked"], 0, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_join_at_once_are_told_in_few_calls() {
    let (sandbox, _home, relay) = start().await;
    let people: Vec<Value> = (0..1_000).map(|number| user(&format!("u-{number}"), "SUPPORT")).collect();
    done(&relay, "evt-1", &Value::from(people)).await;
    assert_eq!(members(&sandbox, "Agents").await.len(), 1_000);
    let joined = group_patches(&sandbox).await;
    assert!(joined <= 20, "{joined} calls of up to 100 members each");

    let leavers: Vec<Value> = (0..1_000).map(|number| user(&format!("u-{number}"), "SALES")).collect();
    done(&relay, "evt-2", &Value::from(leavers)).await;
    assert_eq!(members(&sandbox, "Agents").await, [""; 0]);
    let left = group_patches(&sandbox).await - joined;
    assert!(left <= 30, "{left} calls of up to 100 members each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_reaches_whom_the_vendor_has_already() {
    let (sandbox, home, relay) = start().await;
    done(
        &relay,
        "evt-1",
        &json!([user("stays", "SUPPORT"), user("goes", "SUPPORT"), user("comes", "SALES")]),
    )
    .await;
    done(&relay, "evt-2", &json!([{"op": "user.upsert", "id": "stays", "attributes": {"title": "Coach"}}]))
        .await;
    assert_eq!(members(&sandbox, "Agents").await, ["goes", "stays"]);
    assert_eq!(relay.terminate().await, Some(0));
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace(r#"== "SUPPORT""#, r#"== "SALES""#)).unwrap();
    let relay = home.start().await;
    let changed = async || (members(&sandbox, "Agents").await == ["comes", "stays"]).then_some(());
    crate::support::eventually("the new rule is in place", LIMIT, changed).await;
    relay.quiet("acme", LIMIT).await;

    // A rule that is gone owns nobody any more.
    assert_eq!(relay.terminate().await, Some(0));
    let text = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), text.replace("\"Agents\"", "\"Others\"")).unwrap();
    let relay = home.start().await;
    let changed = async || {
        let groups = sandbox.look("state").await["groups"].clone();
        let named = |group: &&Value| group["displayName"] == "Others";
        let others = groups.as_array()?.iter().find(named)?;
        (others["members"].as_array()?.len() == 2).then_some(())
    };
    crate::support::eventually("the other group is in place", LIMIT, changed).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(members(&sandbox, "Agents").await, ["comes", "stays"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_cannot_name_a_derived_group() {
    let (_sandbox, _home, relay) = start().await;
    for change in [
        json!({"op": "group.upsert", "id": "derived:Agents", "attributes": {"displayName": "x"}}),
        json!({"op": "group.members", "id": "derived:Agents", "add": ["u-1"]}),
    ] {
        let body = json!({"changes": [change]}).to_string();
        let answer = relay.post("evt-x", &body).await.unwrap();
        assert_eq!(answer.status(), 400);
    }
}

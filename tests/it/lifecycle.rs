//! The life of a user and of a group at the vendor, from the first word of it to the last.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use scim_relay::target::Profile;
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN, shapes};

const LIMIT: Duration = Duration::from_mins(1);
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

async fn start(extra: &str) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(extra)]);
    let relay = home.start().await;
    (sandbox, home, relay)
}

async fn done(relay: &Relay, event: &str, changes: &Value) -> Value {
    relay.changes(event, changes).await;
    relay.quiet("acme", LIMIT).await["targets"]["acme"].clone()
}

fn user(id: &str, attributes: &Value) -> Value {
    let mut change = json!({"op": "user.upsert", "id": id, "attributes": attributes});
    change["attributes"]["userName"] = format!("{id}@example.com").into();
    change
}

fn group(name: &str) -> Value {
    json!({"op": "group.upsert", "id": "g-1", "attributes": {"displayName": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_made_renamed_and_deleted() {
    let (sandbox, _home, relay) = start("").await;
    let changes = [
        user("u-1", &json!({})),
        group("First"),
        json!({"op": "group.members", "id": "g-1", "add": ["u-1"]}),
    ];
    done(&relay, "evt-1", &json!(changes)).await;
    done(&relay, "evt-2", &json!([group("Second")])).await;
    assert_eq!(sandbox.members("Second").await.len(), 1, "under its new name, with its member");
    assert_eq!(sandbox.look("state").await["groups"].as_array().unwrap().len(), 1);
    done(&relay, "evt-3", &json!([{"op": "group.delete", "id": "g-1"}])).await;
    assert_eq!(sandbox.look("state").await["groups"], json!([]));
    assert_eq!(sandbox.users().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_groups_cannot_be_made_one_made_by_hand_is_matched_by_its_name() {
    let mut behaviour = Behaviour::from(&Profile::builtin("genesys-cloud").unwrap());
    behaviour.rate = None;
    // By hand means by the vendor's own pages: whoever has the profile does not try.
    behaviour.groups.create = scim_relay::sandbox::settings::Support::Yes;
    let sandbox = Sandbox::start(behaviour, &[]).await;
    let home =
        Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("genesys-cloud")]);
    let relay = home.start().await;
    let changes = [
        user("u-1", &json!({})),
        group("Agents"),
        json!({"op": "group.members", "id": "g-1", "add": ["u-1"]}),
    ];
    let status = done(&relay, "evt-1", &json!(changes)).await;
    assert_eq!(status["parked"], 1, "{status}");
    let parked = relay.items("/targets/acme/parked").await;
    assert!(parked[0]["reason"].as_str().unwrap().contains("by hand and retry"), "{parked:?}");
    sandbox.make("groups", &json!({"displayName": "Agents"})).await;
    relay.act("/targets/acme/parked/group:g-1/retry").await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 0, "{status}");
    assert_eq!(sandbox.members("Agents").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_goes_by_the_vendors_id_once_the_vendor_has_it_and_is_cleared() {
    let (sandbox, _home, relay) = start("").await;
    let attributes = json!({"department": "SUPPORT", "manager": "u-boss"});
    done(&relay, "evt-1", &json!([user("u-1", &attributes)])).await;
    let held = sandbox.user("u-1").await;
    assert_eq!(held[ENTERPRISE], json!({"department": "SUPPORT"}), "nobody waits for the manager");
    assert!(held["schemas"].as_array().unwrap().contains(&json!(ENTERPRISE)));
    done(&relay, "evt-2", &json!([user("u-boss", &json!({}))])).await;
    let boss = sandbox.user("u-boss").await;
    assert_eq!(sandbox.user("u-1").await[ENTERPRISE]["manager"]["value"], boss["id"]);
    done(&relay, "evt-3", &json!([user("u-1", &json!({"manager": null}))])).await;
    assert_eq!(sandbox.user("u-1").await[ENTERPRISE], json!({"department": "SUPPORT"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_is_deactivated_or_deleted_as_configured() {
    for (extra, left) in [("on_delete = \"deactivate\"\n", 1), ("on_delete = \"delete\"\n", 0)] {
        let (sandbox, _home, relay) = start(extra).await;
        done(&relay, "evt-1", &json!([user("u-1", &json!({"active": true, "title": "Lead"}))])).await;
        done(&relay, "evt-2", &json!([{"op": "user.delete", "id": "u-1"}])).await;
        let users = sandbox.users().await;
        assert_eq!(users.len(), left, "{extra}");
        assert!(users.iter().all(|user| user["active"] == false && user["title"] == "Lead"), "{users:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_inactive_already_costs_no_write_and_who_comes_back_is_reactivated() {
    let (sandbox, _home, relay) = start("").await;
    for id in ["u-1", "u-2"] {
        let attributes = json!({"userName": format!("{id}@example.com"), "externalId": id, "active": false});
        sandbox.make("Users", &attributes).await;
    }
    done(&relay, "evt-1", &json!([{"op": "user.deactivate", "id": "u-1"}])).await;
    assert_eq!(shapes(&sandbox.calls().await), ["GET Users? 200"]);
    assert_eq!(relay.story("user:u-1").await, ["lookup found", "none already_in_place"]);
    done(&relay, "evt-2", &json!([user("u-2", &json!({"active": true}))])).await;
    assert_eq!(sandbox.user("u-2").await["active"], true);
    assert_eq!(sandbox.users().await.len(), 2);
    assert_eq!(relay.story("user:u-2").await, ["lookup found", "activate applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_patch_the_merged_whole_is_put_and_what_is_not_ours_stays() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home =
        Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("no-patch.toml")]);
    let profile = "name = \"no-patch\"\nevidence = \"unverified\"\nsources = [\"made up\"]\nas_of = \"2026-11-20\"\n\
                   [patch]\nsupported = false\n";
    std::fs::write(home.path().join("no-patch.toml"), profile).unwrap();
    let relay = home.start().await;
    done(&relay, "evt-1", &json!([user("u-1", &json!({"title": "Old"}))])).await;
    sandbox.set_faults(&["edit:next=1:on=PUT+users"]).await;
    done(&relay, "evt-2", &json!([user("u-1", &json!({"title": "New"}))])).await;
    let held = sandbox.user("u-1").await;
    assert_eq!(held["title"], "New");
    assert!(held["nickName"].as_str().unwrap().starts_with("edited"), "{held}");
    let writes: Vec<_> = sandbox.calls().await.into_iter().filter(|call| call.method != "GET").collect();
    assert_eq!(shapes(&writes), ["POST Users 201", "PUT Users 412", "PUT Users 200"]);
}

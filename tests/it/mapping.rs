//! Who is in a target's scope, and which attributes go out under which names.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const RULES: &str = r#"
scope = 'user.department in ["SUPPORT", "SALES"]'
[targets.acme.attributes]
displayName = 'user.name.givenName + " " + user.name.familyName'
'emails[type eq "work"].value' = 'user.userName'
'phoneNumbers[type eq "work"].value' = 'user.phoneNumbers.filter(p, p.type == "mobile")[0].value'
"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:costCenter" = 'user.department'
"#;

async fn start(rules: &str) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(rules)]);
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

fn named(id: &str, department: &str) -> Value {
    user(
        id,
        &json!({"department": department, "name": {"givenName": "Jo", "familyName": id}, "title": "Lead"}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_scope_loses_access_and_gets_it_back_on_return() {
    let (sandbox, _home, relay) = start(RULES).await;
    done(&relay, "evt-1", &json!([named("in", "SALES"), named("out", "HR")])).await;
    assert_eq!(sandbox.users().await.len(), 1);
    assert_eq!(relay.story("user:out").await, ["none out_of_scope"], "nobody asked the vendor");

    done(&relay, "evt-2", &json!([named("in", "HR")])).await;
    assert_eq!(sandbox.user("in").await["active"], false);
    done(&relay, "evt-3", &json!([named("in", "HR"), user("in", &json!({"title": "Head"}))])).await;
    let story = relay.story("user:in").await;
    assert_eq!(story.last().map(String::as_str), Some("none out_of_scope"), "{story:?}");

    done(&relay, "evt-4", &json!([named("in", "SUPPORT"), named("out", "SALES")])).await;
    assert_eq!(sandbox.user("in").await["active"], true);
    assert_eq!(sandbox.user("out").await["displayName"], "Jo out");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_mapped_goes_out_and_elements_of_others_stay() {
    let (sandbox, _home, relay) = start(RULES).await;
    let theirs = json!({
        "userName": "u-1@example.com", "nickName": "theirs",
        "emails": [{"type": "home", "value": "theirs@home.example"}],
    });
    sandbox.make("Users", &theirs).await;
    let phone = json!({"department": "SALES", "phoneNumbers": [{"type": "mobile", "value": "+49 1"}]});
    done(&relay, "evt-1", &json!([named("u-1", "SALES"), user("u-1", &phone)])).await;
    let held = sandbox.user("u-1").await;
    assert_eq!(held["emails"].as_array().unwrap().len(), 2, "{held}");
    assert!(
        held["emails"].as_array().unwrap().contains(&json!({"type": "work", "value": "u-1@example.com"}))
    );
    assert_eq!(held["phoneNumbers"], json!([{"type": "work", "value": "+49 1"}]));
    assert_eq!(held[ENTERPRISE], json!({"costCenter": "SALES"}));
    assert!(held["schemas"].as_array().unwrap().contains(&json!(ENTERPRISE)), "{held}");
    assert_eq!((&held["nickName"], held.get("title")), (&json!("theirs"), None));

    let no_phone = json!({"department": "SALES", "phoneNumbers": null});
    done(&relay, "evt-2", &json!([user("u-1", &no_phone)])).await;
    let held = sandbox.user("u-1").await;
    assert_eq!((held.get("phoneNumbers"), held["emails"].as_array().unwrap().len()), (None, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_fails_parks_one_user_and_tells_no_value() {
    let (sandbox, _home, relay) = start(RULES).await;
    let nameless = user("secret-name", &json!({"department": "SALES", "title": "secret-title"}));
    let status = done(&relay, "evt-1", &json!([nameless, named("fine", "SALES")])).await;
    assert_eq!(status["parked"], 1, "{status}");
    assert_eq!(sandbox.user("fine").await["displayName"], "Jo fine");
    let parked = relay.items("/targets/acme/parked").await;
    let reason = parked[0]["reason"].as_str().unwrap();
    assert!(reason.contains("displayName fails for this user") && !reason.contains("secret"), "{reason}");

    let status = done(&relay, "evt-2", &json!([named("secret-name", "SALES")])).await;
    assert_eq!(status["parked"], 0, "{status}");
    assert_eq!(sandbox.users().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_mapping_reaches_whom_the_vendor_has_already() {
    let (sandbox, home, relay) = start(RULES).await;
    done(&relay, "evt-1", &json!([named("stays", "SALES"), named("goes", "SUPPORT")])).await;
    assert_eq!(relay.terminate().await, Some(0));
    let text = std::fs::read_to_string(home.config()).unwrap();
    let changed = text.replace(r#"["SUPPORT", "SALES"]"#, r#"["SALES"]"#);
    let changed = changed.replace("displayName = ", "nickName = ");
    std::fs::write(home.config(), changed).unwrap();

    let relay = home.start().await;
    let nick = async || {
        let held = sandbox.user("stays").await;
        (held["nickName"] == "Jo stays" && sandbox.user("goes").await["active"] == false).then_some(held)
    };
    let held = crate::support::eventually("the new mapping is in place", LIMIT, nick).await;
    assert_eq!(held["displayName"], "Jo stays", "what is mapped no more is left at the vendor");
    relay.quiet("acme", LIMIT).await;

    assert_eq!(relay.terminate().await, Some(0));
    let before = sandbox.total().await;
    let relay = home.start().await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.total().await, before, "an unchanged mapping costs nothing");
}

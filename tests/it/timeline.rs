//! "Why has Jane no access?", answered end to end.

use std::time::Duration;

use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::relay::{Home, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);
const SCOPE: &str = r#"scope = 'user.department == "SUPPORT"'"#;

fn jane(department: &str) -> Value {
    json!({"op": "user.upsert", "id": "jane", "attributes": {
        "userName": "jane@example.com", "displayName": "Jane", "department": department}})
}

#[tokio::test(flavor = "multi_thread")]
async fn janes_story_tells_of_her_scope_and_of_what_was_ordered() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with(SCOPE)]);
    let relay = home.start().await;
    relay.changes("evt-1", &json!([jane("SUPPORT")])).await;
    relay.quiet("acme", LIMIT).await;
    relay
        .changes(
            "evt-2",
            &json!([{"op": "group.upsert", "id": "g", "attributes": {"displayName": "G"}},
        {"op": "group.members", "id": "g", "add": ["jane", "ghost"]}]),
        )
        .await;
    relay.quiet("acme", LIMIT).await;
    relay.changes("evt-3", &json!([jane("HR")])).await;
    relay.quiet("acme", LIMIT).await;

    let story = relay.admin("/directories/default/users/jane/timeline?order=oldest").await;
    let told: Vec<String> = story["items"].as_array().unwrap().iter().map(short).collect();
    for part in ["evt-1 merged", "create applied", "evt-2 merged", "evt-3 merged", "deactivate applied"] {
        assert!(told.iter().any(|line| line == part), "{part} is missing: {told:?}");
    }
    assert_eq!(story["present"]["groups"], json!(["g"]), "{story}");
    let ghost = relay.admin("/directories/default/users/ghost/timeline").await;
    assert_eq!(ghost["present"]["targets"]["acme"]["memberships"][0]["state"], "waiting", "{ghost}");

    let path = "/targets/acme/users/jane/sync";
    let answer = relay.admin_request(Method::POST, path).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((&answer["outcome"], &answer["steps"][0]["outcome"]), (&json!("done"), &json!("ordered")));
    let asked = answer["steps"].as_array().unwrap().iter().any(|step| step["operation"] == "fetch");
    assert!(asked, "the vendor is asked first: {answer}");
    assert_eq!(relay.admin_request(Method::POST, "/targets/acme/users/nobody/sync").await.status(), 404);
}

fn short(item: &Value) -> String {
    match item["what"].as_str() {
        Some("change") => {
            format!("{} {}", item["event_id"].as_str().unwrap(), item["outcome"].as_str().unwrap())
        }
        _ => format!("{} {}", item["operation"].as_str().unwrap(), item["outcome"].as_str().unwrap()),
    }
}

//! Several operations in one request, and the dialects of the answer.

use serde_json::{Value, json};

use super::Vendor;
use crate::sandbox::Behaviour;
use crate::sandbox::settings::{BulkRules, Cap, OverCap, StatusForm};
use crate::scim::schema;

fn user(name: &str) -> Value {
    json!({"method": "POST", "path": "/Users", "bulkId": name, "data": {"schemas": [schema::USER], "userName": name}})
}

fn bulk(operations: &[Value]) -> Value {
    json!({"schemas": [schema::BULK_REQUEST], "Operations": operations})
}

async fn vendor(rules: BulkRules) -> Vendor {
    Vendor::with(Behaviour { bulk: Some(rules), ..Behaviour::default() }, &[]).await
}

#[tokio::test]
async fn each_operation_is_done_and_answered_for_itself() {
    let vendor = vendor(BulkRules::default()).await;
    let answer = vendor.post("/Bulk", &bulk(&[user("a"), user("b"), user("a")])).await;
    assert_eq!(answer.status, 200);
    let entries = answer.json()["Operations"].as_array().unwrap().clone();
    let statuses: Vec<_> = entries.iter().map(|entry| entry["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["201", "201", "409"]);
    assert_eq!(entries[2]["response"]["scimType"], "uniqueness");
    let (path, version) = (entries[0]["location"].as_str().unwrap(), entries[0]["version"].clone());
    let path = path.strip_prefix(vendor.running.base_url()).unwrap();
    let change = |version: &Value| {
        json!({"method": "PATCH", "path": path, "version": version,
        "data": {"schemas": [schema::PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "x"}]}})
    };
    let answer = vendor.post("/Bulk", &bulk(&[change(&version), change(&version)])).await.json();
    assert_eq!(
        (&answer["Operations"][0]["status"], &answer["Operations"][1]["status"]),
        (&json!("200"), &json!("412"))
    );
}

#[tokio::test]
async fn an_operation_may_refer_to_one_that_went_before() {
    let vendor = vendor(BulkRules::default()).await;
    let group = |member: &str| {
        json!({"method": "POST", "path": "/Groups", "bulkId": "g",
        "data": {"schemas": [schema::GROUP], "displayName": "G", "members": [{"value": member}]}})
    };
    let answer = vendor.post("/Bulk", &bulk(&[user("a"), group("bulkId:a"), group("bulkId:z")])).await.json();
    let statuses: Vec<_> =
        answer["Operations"].as_array().unwrap().iter().map(|entry| entry["status"].clone()).collect();
    assert_eq!(statuses, ["201", "201", "400"]);
    let groups = vendor.get("/Groups").await.json();
    assert_eq!(groups["Resources"][0]["members"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_limits_are_those_of_the_configuration() {
    let rules = BulkRules {
        operations_max: Cap { most: 2, over: OverCap::TooMany },
        bytes_max: 600,
        ..BulkRules::default()
    };
    let vendor = vendor(rules).await;
    let said = vendor.get("/ServiceProviderConfig").await.json();
    assert_eq!(said["bulk"], json!({"supported": true, "maxOperations": 2, "maxPayloadSize": 600}));
    let many = vendor.post("/Bulk", &bulk(&[user("a"), user("b"), user("c")])).await;
    assert_eq!((many.status, &many.json()["scimType"]), (400, &json!("tooMany")));
    let large = vendor.post("/Bulk", &bulk(&[user(&"a".repeat(600))])).await;
    assert_eq!(large.status, 413);
}

#[tokio::test]
async fn the_answer_comes_in_the_dialect_that_is_asked_for() {
    let rules = BulkRules {
        status: 207,
        key: "responses",
        status_form: StatusForm::Code,
        bulk_id: false,
        method: false,
        location: false,
        response: true,
        reason_in_a_word: true,
        reversed: true,
        leaves_out_every: Some(3),
        fails_every: Some((4, 429)),
        ..BulkRules::default()
    };
    let vendor = vendor(rules).await;
    let answer = vendor.post("/Bulk", &bulk(&[user("a"), user("a"), user("b"), user("c")])).await;
    assert_eq!(answer.status, 207);
    let entries = answer.json()["responses"].as_array().unwrap().clone();
    let statuses: Vec<_> = entries.iter().map(|entry| entry["status"]["code"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["429", "409", "201"]);
    assert_eq!(
        (&entries[1]["response"], &entries[2]["response"]["userName"]),
        (&json!("Refused"), &json!("a"))
    );
    assert!(entries[2].get("bulkId").is_none() && entries[2].get("location").is_none());
    let users = vendor.get("/Users").await.json();
    assert_eq!(users["totalResults"], 2, "what is left out of the answer was done, what failed was not");
}

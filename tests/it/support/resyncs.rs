//! Asking for resyncs, and reading what they found.

use std::time::Duration;

use serde_json::{Value, json};

use super::relay::{ADMIN_KEY, JsonValue as _, Relay};
use super::{eventually, http_client};

/// Ample for the largest sizes that are asked for by hand.
const LIMIT: Duration = Duration::from_mins(40);

/// Asks for a resync of the target `acme`; answers its name.
pub async fn begin(relay: &Relay, body: &Value) -> String {
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

/// Waits for its end.
pub async fn ended(relay: &Relay, id: &str) -> Value {
    eventually("the resync has ended", LIMIT, async || {
        let view = relay.admin(&format!("/resyncs/{id}")).await;
        (view["state"] != "waiting" && view["state"] != "running").then_some(view)
    })
    .await
}

/// A whole one: what is shown of it, and what it found.
pub async fn resync(relay: &Relay, mode: &str) -> (Value, Vec<String>) {
    scoped(relay, mode, &json!("all")).await
}

/// One of a scope.
pub async fn scoped(relay: &Relay, mode: &str, scope: &Value) -> (Value, Vec<String>) {
    let id = begin(relay, &json!({ "mode": mode, "scope": scope })).await;
    let view = ended(relay, &id).await;
    (view, found(&relay.admin(&format!("/resyncs/{id}/report")).await))
}

/// Entries as short text, sorted: `user differs u-1 title`.
pub fn found(report: &Value) -> Vec<String> {
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

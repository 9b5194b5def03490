//! The whole line of a webhook that only names a record: accepted, read at the provider, sent to the
//! vendor.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::identity_provider::IdentityProvider;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(1);
const SECRET: &str = "the hook's secret";
const API_KEY: &str = "SSWS an-api-token";

fn person(id: &str, status: &str, title: &str, second: u32) -> Value {
    json!({
        "id": id, "status": status, "lastUpdated": format!("2026-08-20T10:00:{second:02}.000Z"),
        "profile": {
            "login": format!("{id}@acme.example"), "email": format!("{id}@acme.example"),
            "firstName": "Ann", "lastName": "Lee", "title": title,
        },
    })
}

async fn start(okta: &IdentityProvider) -> (Sandbox, Home, Relay) {
    let url = okta.start().await;
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    home.append(&format!(
        "\n[sources.okta]\nkind = \"okta\"\nsecrets = [\"{SECRET}\"]\n\
         [sources.okta.connector]\nbase_url = \"{url}\"\n\
         auth = {{ type = \"header\", name = \"Authorization\", value = \"{API_KEY}\" }}\n\
         limits = {{ rate_per_second = 100, burst = 20 }}\n"
    ));
    let relay = home.start().await;
    (sandbox, home, relay)
}

/// Posts one event of Okta's about one user.
async fn hook(relay: &Relay, number: u32, kind: &str, user: &str) {
    let event = json!({
        "uuid": format!("event-{number}"), "published": format!("2026-08-20T10:00:{:02}.500Z", number % 60),
        "eventType": kind, "outcome": {"result": "SUCCESS"}, "target": [{"id": user, "type": "User"}],
    });
    let body = json!({"eventId": format!("batch-{number}"), "data": {"events": [event]}});
    let request = http_client()
        .post(format!("{}/webhooks/okta", relay.url))
        .header("content-type", "application/json")
        .header("authorization", SECRET)
        .body(body.to_string());
    assert_eq!(request.send().await.expect("an answer").status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thin_event_reaches_the_vendor_with_what_the_provider_says() {
    let okta = IdentityProvider::new(API_KEY);
    okta.set("/api/v1/users/00u1", person("00u1", "ACTIVE", "Lead", 1));
    let (sandbox, _home, relay) = start(&okta).await;
    hook(&relay, 1, "user.lifecycle.create", "00u1").await;
    let held = eventually("the user is there", LIMIT, async || {
        sandbox.users().await.into_iter().find(|user| user["externalId"] == "00u1")
    })
    .await;
    assert_eq!((&held["userName"], &held["title"]), (&json!("00u1@acme.example"), &json!("Lead")));
    assert_eq!((&held["active"], &held["name"]["familyName"]), (&json!(true), &json!("Lee")));

    okta.set("/api/v1/users/00u1", person("00u1", "DEPROVISIONED", "Lead", 2));
    hook(&relay, 2, "user.account.update_profile", "00u1").await;
    eventually("access ends", LIMIT, async || (sandbox.user("00u1").await["active"] == false).then_some(()))
        .await;
    let events = relay.items("/events?limit=100").await;
    assert_eq!(events.len(), 4, "each webhook, and what was read after it: {events:?}");
    let metrics = relay.metrics().await;
    assert_eq!(metrics.count("scim_relay_reads_total", &[("source", "okta"), ("outcome", "read")]), 2);
    assert_eq!(metrics.count("scim_relay_reads_pending", &[("source", "okta")]), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_webhooks_are_taken_and_reads_wait_over_a_restart() {
    let okta = IdentityProvider::new(API_KEY);
    okta.set("/api/v1/users/00u1", person("00u1", "ACTIVE", "Lead", 1));
    okta.set_down(true);
    let (sandbox, home, relay) = start(&okta).await;
    for number in 0..20 {
        hook(&relay, number, "user.account.update_profile", "00u1").await;
    }
    let waiting = eventually("the failure shows", LIMIT, async || {
        let reads = relay.admin("/status").await["reads"]["okta"].clone();
        (reads["failing"] == 1).then_some(reads)
    })
    .await;
    assert_eq!(waiting["pending"], 1, "twenty webhooks about one record are one reading");
    assert!(waiting["failure"].as_str().unwrap().contains("502"), "{waiting}");
    relay.kill().await;
    okta.set_down(false);
    let asked = okta.asked("/api/v1/users/00u1");

    let relay = home.start().await;
    eventually("the user is there", LIMIT, async || (sandbox.users().await.len() == 1).then_some(())).await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["reads"]["okta"], Value::Null, "{status}");
    assert_eq!(okta.asked("/api/v1/users/00u1"), asked + 1);
}

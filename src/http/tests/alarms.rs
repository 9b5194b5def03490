//! What somebody should know of before it hurts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::client::send;
use super::fixture::{NOW, VIEWER, deletion, parts, serve_parts};
use crate::clock::Timestamp;
use crate::http::alarms::Alarms;
use crate::http::expiry::Expiry;
use crate::http::rhythm::Rhythms;

#[tokio::test]
async fn a_silent_source_and_a_secret_that_ends_are_told_and_webhooks_are_taken_all_the_same() {
    let mut parts = parts().await;
    let hour = Duration::from_hours(1);
    let silent_after = BTreeMap::from([("hr".to_owned(), hour), ("limited".to_owned(), hour)]);
    let start = Timestamp::from_seconds(NOW.as_seconds() - 3601);
    parts.relay.rhythms = Arc::new(Rhythms::new(&parts.relay.sources, &silent_after, start));
    let expiry = Expiry { secret: "sources.hr".to_owned(), at: NOW.after(hour) };
    parts.relay.alarms = Arc::new(Alarms { expiries: vec![expiry], ..Alarms::default() });
    let served = serve_parts(parts).await;
    assert_eq!(served.hook("evt-1", &deletion("u-1")).await.status, 202);

    let status = served.admin("GET", "/status", VIEWER).await.json();
    let silent = |name: &str| status["sources"][name]["silent"].clone();
    assert_eq!((silent("hr"), silent("limited")), (json!(false), json!(true)));
    let secret = json!({"expires": NOW.after(hour).to_string(), "seconds_left": 3600, "near": true});
    assert_eq!(status["secrets"], json!({"sources.hr": secret}));

    let metrics = send(served.address, "GET", "/metrics", &[], b"").await;
    for line in [
        r#"scim_relay_source_silent{source="hr"} 0"#,
        r#"scim_relay_source_silent{source="limited"} 1"#,
        r#"scim_relay_source_quiet_seconds{source="limited"} 3601.0"#,
        r#"scim_relay_source_silent_after_seconds{source="limited"} 3600.0"#,
        r#"scim_relay_secret_left_seconds{secret="sources.hr"} 3600"#,
    ] {
        assert!(metrics.body.contains(line), "{line}");
    }
    assert_eq!(send(served.address, "GET", "/readyz", &[], b"").await.status, 200);
}

#[tokio::test]
async fn a_webhook_that_nobody_vouches_for_is_no_sign_of_life() {
    let served = serve_parts(parts().await).await;
    let headers = [("content-type", "application/json")];
    assert_eq!(send(served.address, "POST", "/webhooks/hr", &headers, b"{}").await.status, 401);
    let status = served.admin("GET", "/status", VIEWER).await.json();
    assert_eq!(status["sources"]["hr"]["last_heard"], json!(null));
}

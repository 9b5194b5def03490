use std::time::Duration;

use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn the_log_tells_what_was_asked_and_answered() {
    let vendor = Vendor::strict().await;
    let id = vendor.user("jane").await;
    let path = format!("/Users/{id}");
    let body = user("bo").to_string();
    let request = with_json(vendor.request(Method::PUT, &path), &user("bo")).header("if-match", "\"9\"");
    send(request.header("user-agent", "the test")).await.unwrap();
    vendor.get("/Users?count=1").await;
    let log = vendor.get("/_sandbox/requests?after=1&limit=1").await.json();
    assert_eq!((&log["total"], log["requests"].as_array().unwrap().len()), (&json!(3), 1));
    let entry = &log["requests"][0];
    for (key, expected) in [
        ("number", json!(2)),
        ("method", json!("PUT")),
        ("path", json!(format!("/scim/v2{path}"))),
        ("endpoint", json!("user")),
        ("status", json!(412)),
        ("applied", json!(false)),
        ("if_match", json!(true)),
        ("body_bytes", json!(body.len())),
        ("user_agent", json!("the test")),
        ("fault", Value::Null),
    ] {
        assert_eq!(entry[key], expected, "{key}");
    }
    assert!(entry["time_us"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn counts_are_by_method_endpoint_and_status_and_leave_out_the_looking() {
    let vendor = Vendor::strict().await;
    vendor.user("jane").await;
    vendor.user("bo").await;
    vendor.get("/Users/none").await;
    vendor.get("/_sandbox/state").await;
    let counts = vendor.get("/_sandbox/counts").await.json();
    assert_eq!((&counts["total"], &counts["tokens_issued"]), (&json!(3), &json!(0)));
    assert_eq!(
        counts["requests"],
        json!([
            {"method": "GET", "endpoint": "user", "status": 404, "count": 1},
            {"method": "POST", "endpoint": "users", "status": 201, "count": 2}
        ])
    );
    assert_eq!((&counts["concurrency_max"], &counts["requests_in_one_second_max"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn the_gauge_sees_requests_that_overlap() {
    let vendor = Vendor::with(Behaviour::default(), &["slow=200ms"]).await;
    tokio::join!(vendor.get("/Users"), vendor.get("/Users"), vendor.get("/Users"));
    assert_eq!(vendor.get("/_sandbox/counts").await.json()["concurrency_max"], 3);
}

#[tokio::test]
async fn latency_can_be_set_while_it_runs() {
    let vendor = Vendor::strict().await;
    for (text, status) in [("150ms", 204), ("soon", 400)] {
        assert_eq!(vendor.put("/_sandbox/latency", &json!({"latency": text})).await.status, status);
    }
    let begun = Instant::now();
    vendor.get("/Users").await;
    assert!(begun.elapsed() >= Duration::from_millis(150));
}

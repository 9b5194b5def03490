use std::time::Duration;

use tokio::time::Instant;

use super::*;

async fn failing(fault: &str) -> Vendor {
    Vendor::with(Behaviour::default(), &[fault]).await
}

async fn users(vendor: &Vendor) -> usize {
    vendor.get("/_sandbox/state").await.json()["users"].as_array().unwrap().len()
}

/// The newest line of the log, without what depends on the clock.
async fn logged(vendor: &Vendor) -> (Value, bool, Value) {
    let log = vendor.get("/_sandbox/requests").await.json();
    let last = log["requests"].as_array().unwrap().last().unwrap().clone();
    (last["status"].clone(), last["applied"].as_bool().unwrap(), last["fault"].clone())
}

#[tokio::test]
async fn a_status_comes_before_or_after_the_change() {
    for (fault, status, done) in [
        ("500", 500, 0),
        ("502", 502, 0),
        ("503", 503, 0),
        ("504", 504, 0),
        ("429", 429, 0),
        ("outage:0s..1h", 503, 0),
        ("500-after", 500, 1),
        ("504-after", 504, 1),
    ] {
        let vendor = failing(fault).await;
        let reply = vendor.post("/Users", &user("jane")).await;
        assert_eq!((reply.status, users(&vendor).await), (status, done), "{fault}");
        let (sent, applied, _) = logged(&vendor).await;
        assert_eq!((sent, applied), (json!(status), done == 1), "{fault}");
    }
}

#[tokio::test]
async fn a_status_may_say_when_to_come_back() {
    let vendor = failing("429:retry-after=7s").await;
    assert_eq!(vendor.get("/Users").await.header("retry-after"), "7");
    let vendor = failing("503").await;
    assert_eq!(vendor.get("/Users").await.header("retry-after"), "");
}

#[tokio::test]
async fn a_lost_answer_is_a_closed_connection() {
    for (fault, done) in [("lost:next=1", 1), ("lost-before:next=1", 0)] {
        let vendor = failing(fault).await;
        let error = vendor.try_write(Method::POST, "/Users", &user("jane")).await.err().unwrap();
        assert!(!error.is_status() && !error.is_timeout(), "{error:?}");
        assert_eq!(users(&vendor).await, done, "{fault}");
        let (sent, applied, name) = logged(&vendor).await;
        assert_eq!(
            (sent, applied, name),
            (json!("lost"), done == 1, json!(fault.trim_end_matches(":next=1")))
        );
        assert_eq!(vendor.get("/Users").await.status, 200, "the next connection is a good one");
    }
}

#[tokio::test]
async fn a_hanging_request_ends_when_the_client_gives_up() {
    for (fault, done) in [("hang:next=1", 0), ("hang-after:next=1", 1)] {
        let vendor = failing(fault).await;
        let request = with_json(vendor.request(Method::POST, "/Users"), &user("jane"));
        let error = send(request.timeout(Duration::from_millis(300))).await.err().unwrap();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(users(&vendor).await, done, "{fault}");
    }
}

#[tokio::test]
async fn a_sandbox_stops_although_a_request_hangs() {
    let vendor = failing("hang").await;
    let hanging = tokio::spawn(send(vendor.request(Method::GET, "/Users")));
    while vendor.get("/_sandbox/counts").await.json()["concurrency_max"] == 0 {}
    vendor.running.shutdown().await;
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_slow_answer_comes_late_and_whole() {
    let vendor = failing("slow=200ms").await;
    let begun = Instant::now();
    assert_eq!(vendor.post("/Users", &user("jane")).await.status, 201);
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_truncated_answer_stops_within_its_body() {
    let vendor = failing("truncated:next=1").await;
    let response = with_json(vendor.request(Method::POST, "/Users"), &user("jane")).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 201, "the head arrives");
    assert!(response.bytes().await.is_err());
    assert_eq!(users(&vendor).await, 1);
}

#[tokio::test]
async fn a_page_or_another_type_comes_with_200() {
    let vendor = failing("html").await;
    let reply = vendor.post("/Users", &user("jane")).await;
    assert_eq!(
        (reply.status, reply.header("content-type"), users(&vendor).await),
        (200, "text/html; charset=utf-8", 0)
    );
    assert!(reply.text.starts_with("<!doctype html>"));
    let vendor = failing("wrong-type").await;
    let reply = vendor.post("/Users", &user("jane")).await;
    assert_eq!(
        (reply.status, reply.header("content-type"), reply.json()["userName"].as_str()),
        (201, "text/plain", Some("jane"))
    );
}

#[tokio::test]
async fn an_edit_makes_the_next_write_stale() {
    let vendor = failing("edit:every=2").await;
    let (path, id) = {
        let id = vendor.user("jane").await;
        (format!("/Users/{id}"), id)
    };
    let group = vendor.group("g", &[&id]).await;
    let write = |path: String, body: Value| {
        send(with_json(vendor.request(Method::PUT, &path), &body).header("if-match", "W/\"1\""))
    };
    assert_eq!(write(path.clone(), user("jane")).await.unwrap().status, 200, "the first write meets no edit");
    assert_eq!(write(path.clone(), user("jane")).await.unwrap().status, 412);
    let edited = vendor.get(&path).await;
    assert_eq!(
        (edited.header("etag"), edited.json()["nickName"].as_str()),
        ("W/\"2\"", Some("edited in version 1"))
    );

    let group_path = format!("/Groups/{group}");
    write(group_path.clone(), json!({})).await.unwrap();
    assert_eq!(write(group_path.clone(), super::group("g", &[])).await.unwrap().status, 412);
    let members = vendor.members(&group).await;
    assert!(members.contains(&id) && members.len() == 2);
    let found = vendor.get("/Users?filter=userName+sw+%22console-%22").await.json();
    assert!(members.contains(&found["Resources"][0]["id"].as_str().unwrap().to_owned()));
}

#[tokio::test]
async fn faults_can_be_replaced_while_it_runs() {
    let vendor = failing("500").await;
    assert_eq!(vendor.get("/Users").await.status, 500);
    let faults = json!(["503:next=1:on=reads", "lost:0.5:on=POST"]);
    assert_eq!(vendor.put("/_sandbox/faults", &faults).await.json(), faults);
    assert_eq!([vendor.get("/Users").await.status, vendor.get("/Users").await.status], [503, 200]);
    let wrong = vendor.put("/_sandbox/faults", &json!(["600"])).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("600"));
    assert_eq!(vendor.get("/_sandbox/faults").await.json(), faults, "a list with a mistake changes nothing");
}

#[tokio::test]
async fn the_token_endpoint_fails_only_when_named() {
    let vendor = failing("500:on=token").await;
    assert_eq!(vendor.get("/Users").await.status, 200);
    assert_eq!(vendor.post("/oauth/token", &json!({})).await.status, 500);
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::client::{send, send_chunked, send_raw};
use super::faulty::Mood;
use super::fixture::{BODY_BYTES_MAX, NOW, OLD_SECRET, SECRET, deletion, headers, parts, served, signed};
use crate::http::router_on_one_listener;
use crate::store::Store;

#[tokio::test]
async fn an_accepted_event_is_stored_byte_for_byte_and_announced() {
    let served = served().await;
    let body = b"{ \"changes\" : [ {\"op\":\"user.delete\",\"id\":\"u-1\"} ]}\n";
    let answer = served.hook("evt-1", body).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"event_id": "evt-1", "changes": 1})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let events = served.parts.store.events(None, 10).await.unwrap().items;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].source.as_str(), events[0].event_id.as_str()), ("hr", "evt-1"));
    assert_eq!((events[0].received_at, events[0].body_bytes), (NOW, body.len() as u64));
    assert!(served.parts.relay.appended.notified().now_or_never().is_some());
    assert_eq!(served.counted("accepted"), 1);
}

#[tokio::test]
async fn an_event_that_was_seen_changes_nothing() {
    let served = served().await;
    assert_eq!(served.hook("evt-1", &deletion("u-1")).await.status, 202);
    let again = served.hook("evt-1", &deletion("u-2")).await;
    assert_eq!((again.status, again.json()), (200, json!({"event_id": "evt-1", "duplicate": true})));
    assert_eq!(served.events().await, 1);
    assert_eq!(served.counted("duplicate"), 1);
}

#[tokio::test]
async fn of_many_copies_at_once_one_is_accepted() {
    let served = served().await;
    let body = deletion("u-1");
    let answers = join_all((0..20).map(|_| served.hook("evt-1", &body))).await;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(202), with(200)), (1, 19));
}

#[tokio::test]
async fn while_secrets_rotate_either_passes() {
    let served = served().await;
    let body = deletion("u-1");
    for (id, secret) in [("evt-1", SECRET), ("evt-2", OLD_SECRET)] {
        let headers = headers(&signed(id, NOW, secret, &body));
        assert_eq!(send(served.address, "POST", "/webhooks/hr", &headers, &body).await.status, 202, "{id}");
    }
}

#[tokio::test]
async fn no_changes_and_many_changes_are_events_too() {
    let served = served().await;
    let many: Vec<_> = (0..4000).map(|n| json!({"op": "user.delete", "id": n.to_string()})).collect();
    let many = json!({"changes": many}).to_string();
    assert!(many.len() > 64 * 1024, "it must be too long to be read on the runtime's own threads");
    assert_eq!(served.hook("none", br#"{"changes":[]}"#).await.json()["changes"], 0);
    assert_eq!(served.hook("many", many.as_bytes()).await.json()["changes"], 4000);
    assert_eq!(served.events().await, 2);
}

#[tokio::test]
async fn what_cannot_be_verified_is_refused_in_one_way() {
    let served = served().await;
    let body = deletion("u-1");
    let good = signed("evt-1", NOW, SECRET, &body);
    let later = |seconds| crate::clock::Timestamp::from_seconds(NOW.as_seconds() + seconds);
    let without = |name: &str| good.iter().filter(|(own, _)| *own != name).cloned().collect::<Vec<_>>();
    let twice = |name: &str| {
        let row = good.iter().find(|(own, _)| *own == name).cloned();
        good.iter().cloned().chain(row).collect::<Vec<_>>()
    };
    let mut answers = Vec::new();
    for (case, headers_sent, body_sent) in [
        ("tampered body", good.clone(), deletion("u-2")),
        ("no body", good.clone(), vec![]),
        ("wrong secret", signed("evt-1", NOW, "guess", &body), body.clone()),
        ("stale", signed("evt-1", later(-301), SECRET, &body), body.clone()),
        ("future", signed("evt-1", later(301), SECRET, &body), body.clone()),
        ("no id", without("webhook-id"), body.clone()),
        ("no timestamp", without("webhook-timestamp"), body.clone()),
        ("no signature", without("webhook-signature"), body.clone()),
        ("two ids", twice("webhook-id"), body.clone()),
        ("two signatures", twice("webhook-signature"), body.clone()),
        (
            "other id",
            signed("evt-2", NOW, SECRET, &body).into_iter().take(2).chain(good[2..].to_vec()).collect(),
            body.clone(),
        ),
        ("not JSON and not signed", signed("evt-1", NOW, "guess", b"{"), b"{".to_vec()),
    ] {
        let answer = send(served.address, "POST", "/webhooks/hr", &headers(&headers_sent), &body_sent).await;
        assert_eq!(answer.status, 401, "{case}");
        answer.detail();
        answers.push(answer.body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "an answer tells what was wrong: {answers:?}");
    assert_eq!(served.counted("unauthorized"), 12);
    assert_eq!(served.events().await, 0);
}

#[tokio::test]
async fn what_is_not_of_the_sources_shape_is_refused_with_its_place() {
    let served = served().await;
    let deep = format!("{{\"changes\":{}", "[".repeat(10_000));
    for (body, expected) in [
        (&b"\xff\xfe"[..], "not UTF-8 at line 1 column 1"),
        (b"{\"changes\":[]\xc3(", "not UTF-8 at line 1 column 14"),
        (b"not json", "the body is not JSON: expected ident at line 1 column 2"),
        (b"\xef\xbb\xbf{\"changes\":[]}", "byte order mark"),
        (deep.as_bytes(), "recursion limit exceeded"),
        (b"{\"changes\":[],\"changes\":[]}", "names a member twice"),
        (b"{}", "/changes: is missing"),
        (br#"{"changes":[{"op":"user.delete","id":"u"},{"op":"user.delete"}]}"#, "/changes/1/id: is missing"),
        (br#"{"changes":[{"op":"user.rename","id":"u"}]}"#, "known: user.upsert, user.deactivate"),
    ] {
        let answer = served.hook("evt-1", body).await;
        assert_eq!(answer.status, 400, "{expected}");
        assert!(answer.detail().contains(expected), "{answer:?}");
    }
    assert_eq!(served.counted("malformed"), 9);
    assert_eq!(served.events().await, 0);
    // Nothing of it was remembered either: the same id passes once the body is mended.
    assert_eq!(served.hook("evt-1", &deletion("u")).await.status, 202);
}

#[tokio::test]
async fn an_unknown_source_and_an_unknown_path_are_not_found() {
    let served = served().await;
    let body = deletion("u-1");
    let headers = headers(&signed("evt-1", NOW, SECRET, &body));
    for path in ["/webhooks/nobody", "/webhooks/HR", "/webhooks/", "/webhooks", "/", "/webhooks/hr/more"] {
        let answer = send(served.address, "POST", path, &headers, &body).await;
        assert_eq!(answer.status, 404, "{path}");
        answer.detail();
    }
    assert_eq!(send(served.address, "GET", "/webhooks/nobody", &[], b"").await.status, 404);
    // The framework's own refusals are problems, too.
    let unreadable = send(served.address, "POST", "/webhooks/%ff", &headers, &body).await;
    assert_eq!((unreadable.status, unreadable.detail().as_str()), (400, ""));
}

#[tokio::test]
async fn other_methods_are_refused_with_the_ones_that_are_taken() {
    let served = served().await;
    for (method, path, allowed) in [
        ("GET", "/webhooks/hr", "POST"),
        ("PUT", "/webhooks/hr", "POST"),
        ("DELETE", "/healthz", "GET"),
        ("POST", "/metrics", "GET"),
    ] {
        let answer = send(served.address, method, path, &[], b"").await;
        assert_eq!(answer.status, 405, "{method} {path}");
        answer.detail();
        assert!(answer.header("allow").is_some_and(|allow| allow.contains(allowed)), "{answer:?}");
    }
}

#[tokio::test]
async fn only_what_is_declared_as_json_is_read() {
    let served = served().await;
    let body = deletion("u-1");
    let post = async |event_id: &str, content_type: &str| {
        let mut rows = signed(event_id, NOW, SECRET, &body);
        rows[0].1 = content_type.to_owned();
        send(served.address, "POST", "/webhooks/hr", &headers(&rows), &body).await
    };
    for (index, content_type) in
        ["application/json", "application/json; charset=utf-8", "application/scim+json"].iter().enumerate()
    {
        assert_eq!(post(&index.to_string(), content_type).await.status, 202, "{content_type}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""] {
        let answer = post("evt", content_type).await;
        assert_eq!(answer.status, 415, "{content_type}");
        assert!(answer.detail().contains("application/json"), "{answer:?}");
    }
    let undeclared = headers(&signed("evt", NOW, SECRET, &body)[1..]);
    assert_eq!(send(served.address, "POST", "/webhooks/hr", &undeclared, &body).await.status, 415);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let served = served().await;
    let fits = padded(BODY_BYTES_MAX);
    let over = padded(BODY_BYTES_MAX + 1);
    let huge = padded(8 * BODY_BYTES_MAX);
    for (id, body, expected) in [("a", &fits, 202), ("b", &over, 413), ("c", &huge, 413)] {
        let announced = served.hook(id, body).await;
        assert_eq!(announced.status, expected, "{} bytes, announced", body.len());
        let id = format!("{id}-chunked");
        let headers = headers(&signed(&id, NOW, SECRET, body));
        let chunked = send_chunked(served.address, "POST", "/webhooks/hr", &headers, body).await;
        assert_eq!(chunked.status, expected, "{} bytes, in chunks", body.len());
        if expected == 413 {
            assert!(chunked.detail().contains(&BODY_BYTES_MAX.to_string()), "{chunked:?}");
            announced.detail();
        }
    }
    assert_eq!(served.events().await, 2);
}

#[tokio::test]
async fn an_announced_length_that_is_not_true_takes_nothing_in() {
    let served = served().await;
    let body = deletion("u-1");
    let rows = signed("evt-1", NOW, SECRET, &body);
    let raw = |length: usize| {
        let head = super::client::head("POST", "/webhooks/hr", &headers(&rows));
        [format!("{head}\r\ncontent-length: {length}\r\n\r\n").as_bytes(), &body].concat()
    };
    let short = send_raw(served.address, &raw(body.len() - 1)).await;
    assert_eq!(short.status, 401);
    // A sender that hangs up early gets no answer that matters, and leaves no event.
    let mut stream = tokio::net::TcpStream::connect(served.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &raw(body.len() + 1)).await.unwrap();
    tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
    let mut answer = String::new();
    let _ = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    // A length that no machine holds reserves no memory.
    assert_eq!(send_raw(served.address, &raw(usize::MAX >> 1)).await.status, 413);
    assert_eq!(served.events().await, 0);
}

#[tokio::test]
async fn while_the_store_cannot_take_it_the_sender_is_asked_to_come_again() {
    let served = served().await;
    for mood in [Mood::Down, Mood::Busy] {
        served.set_mood(mood);
        let answer = served.hook("evt-1", &deletion("u-1")).await;
        assert_eq!(answer.status, 503, "{mood:?}");
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
        assert!(!answer.detail().contains("/secret/path"), "the driver's words are for the log: {answer:?}");
    }
    assert_eq!(served.counted("unavailable"), 2);
    served.set_mood(Mood::Well);
    assert_eq!(served.hook("evt-1", &deletion("u-1")).await.status, 202);
    assert_eq!(served.events().await, 1);
}

#[tokio::test]
async fn every_answer_bears_a_request_id_that_the_relay_chose() {
    let served = served().await;
    let mut seen = std::collections::BTreeSet::new();
    for path in ["/healthz", "/healthz", "/nowhere"] {
        let answer = send(served.address, "GET", path, &[("x-request-id", "mine")], b"").await;
        let id = answer.header("x-request-id").unwrap().to_owned();
        assert_ne!(id, "mine");
        assert!(seen.insert(id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_over_its_intake_limit_is_told_when_to_come_again() {
    let router = router_on_one_listener(&parts().await.relay);
    let post = async |event_id: &str| {
        let body = deletion("u-1");
        let mut request = Request::post("/webhooks/limited");
        for (name, value) in signed(event_id, NOW, SECRET, &body) {
            request = request.header(name, value);
        }
        let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let wait = response.headers().get("retry-after").map(|wait| wait.to_str().unwrap().to_owned());
        (response.status().as_u16(), wait)
    };
    assert_eq!(post("evt-1").await, (202, None));
    assert_eq!(post("evt-2").await, (202, None));
    assert_eq!(post("evt-3").await, (429, Some("1".to_owned())));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(post("evt-3").await, (202, None));
    assert_eq!(post("evt-4").await, (429, Some("1".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let router = router_on_one_listener(&parts().await.relay);
    let trickle = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>("{"), ()))
    });
    let request = Request::post("/webhooks/hr").header("content-type", "application/json");
    let started = tokio::time::Instant::now();
    let response = router.oneshot(request.body(Body::from_stream(trickle)).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(started.elapsed(), Duration::from_secs(30));
    let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
    let problem: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["status"], 408);
}

/// A peer that still sends when the server closes may never see the answer.
#[tokio::test]
async fn a_refusal_reads_what_is_still_being_sent_unless_the_sender_waits_to_be_asked() {
    let router = router_on_one_listener(&parts().await.relay);
    let chunks = 10;
    for (path, content_type, chunk_bytes, expected) in [
        ("/webhooks/nobody", "application/json", 100, 404),
        ("/nowhere", "application/json", 100, 404),
        ("/healthz", "application/json", 100, 405),
        ("/webhooks/hr", "text/plain", 100, 415),
        ("/webhooks/hr", "application/json", BODY_BYTES_MAX, 413),
        ("/admin/v1/status", "application/json", 100, 401),
    ] {
        let read = Arc::new(AtomicUsize::new(0));
        let sent = read.clone();
        let body = stream::iter(0..chunks).map(move |_| {
            sent.fetch_add(1, Ordering::SeqCst);
            Ok::<_, std::io::Error>("x".repeat(chunk_bytes))
        });
        let request = Request::post(path).header("content-type", content_type);
        let request = request.body(Body::from_stream(body)).unwrap();
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), expected, "{path}");
        assert_eq!(read.load(Ordering::SeqCst), chunks, "{path}");
    }
    let unasked = Body::from_stream(stream::pending::<Result<&str, std::io::Error>>());
    let request = Request::post("/webhooks/nobody").header("expect", "100-continue").body(unasked).unwrap();
    let answer = router.oneshot(request).now_or_never().expect("nothing is waited for").unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

/// A valid body of exactly this length.
fn padded(length: usize) -> Vec<u8> {
    let mut body = br#"{"changes":[]}"#.to_vec();
    body.resize(length, b' ');
    body
}

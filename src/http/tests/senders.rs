//! The manners of senders that are built in, over the wire.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::client::{self, Answer};
use super::fixture::{NOW, Served, parts_with, serve_parts, source};
use crate::source::jws_testing::Signer;
use crate::source::{Expected, IntakeLimit, Kind, Options, PRESETS, Settings, Transmitter};

/// A source of that kind and name, with the secret `the secret` and one webhook at once.
fn sender(kind: &str) -> Settings {
    let preset = PRESETS.iter().find(|preset| preset.name == kind).unwrap();
    let once = IntakeLimit { rate_per_second: NonZeroU32::MIN, burst: NonZeroU32::MIN };
    Settings {
        kind: Kind::Preset(preset, Options::default()),
        secrets: vec!["the secret".into()],
        ..source(kind, Some(once))
    }
}

async fn senders(kinds: &[&str]) -> Served {
    serve_parts(parts_with(kinds.iter().copied().map(sender)).await).await
}

async fn call(served: &Served, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    client::send(served.address, method, path, headers, body).await
}

#[tokio::test]
async fn okta_hears_its_challenge_and_then_is_believed_by_its_header() {
    let served = senders(&["okta"]).await;
    let challenge = [("x-okta-verification-challenge", "a\"b")];
    let answer = call(&served, "GET", "/webhooks/okta", &challenge, b"").await;
    assert_eq!((answer.status, answer.json()), (200, json!({"verification": "a\"b"})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(call(&served, "GET", "/webhooks/okta", &[], b"").await.status, 405);

    let body = include_bytes!("../../../tests/fixtures/hooks/okta/user_deactivate.json");
    let headers = [("content-type", "application/json"), ("authorization", "the secret")];
    let answer = call(&served, "POST", "/webhooks/okta", &headers, body).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"event_id": "f1d0b993-0003", "changes": 1})));
    // Okta never repeats what was answered with a 4xx.
    assert_eq!(call(&served, "POST", "/webhooks/okta", &headers, body).await.status, 503);
}

#[tokio::test]
async fn graph_hears_its_token_as_plain_text() {
    let served = senders(&["entra"]).await;
    let path = "/webhooks/entra?validationToken=Validation%3A+a%26b";
    let answer = call(&served, "POST", path, &[("content-type", "text/plain")], b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "Validation: a&b"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(served.events().await, 0);
}

#[tokio::test]
async fn graph_hears_no_token_that_is_none_of_its_own() {
    let served = senders(&["entra"]).await;
    for (method, token) in [("GET", "Validation".to_owned()), ("POST", "x".repeat(4_097))] {
        let path = format!("/webhooks/entra?validationToken={token}");
        let answer = call(&served, method, &path, &[("content-type", "text/plain")], b"").await;
        assert!(answer.status >= 400 && !answer.body.contains(&token), "{method} {}", answer.status);
    }
}

#[tokio::test]
async fn what_must_be_read_at_the_sender_is_told_and_counted() {
    let served = senders(&["entra"]).await;
    let body = br#"{"value":[{"changeType":"updated","resource":"Users/u-1","clientState":"the secret"}]}"#;
    let answer =
        call(&served, "POST", "/webhooks/entra", &[("content-type", "application/json")], body).await;
    assert_eq!(answer.status, 202);
    assert_eq!((&answer.json()["changes"], &answer.json()["needs_read"]), (&json!(0), &json!(1)));
    let metrics = served.parts.relay.metrics.exposition();
    let line = "scim_relay_event_items_total{source=\"entra\",outcome=\"needs_read\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn hibob_may_try_before_it_sends() {
    for body in [&b"Ping test"[..], br#"{"text":"Ping test"}"#] {
        let served = senders(&["hibob"]).await;
        let answer = call(&served, "POST", "/webhooks/hibob", &[("content-type", "text/plain")], body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(served.events().await, 0);
    }
    let served = senders(&["hibob"]).await;
    let body = br#"{"text":"Ping tests"}"#;
    assert_eq!(call(&served, "POST", "/webhooks/hibob", &[], body).await.status, 401);
}

#[tokio::test]
async fn google_names_its_event_in_headers_and_never_hears_a_429() {
    let served = senders(&["google"]).await;
    let body = include_bytes!("../../../tests/fixtures/hooks/google/delete.json");
    let headers = [
        ("x-goog-channel-token", "the secret"),
        ("x-goog-channel-id", "7a1c2f"),
        ("x-goog-message-number", "12"),
        ("x-goog-resource-state", "delete"),
    ];
    let answer = call(&served, "POST", "/webhooks/google", &headers, body).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"event_id": "7a1c2f:12", "changes": 1})));
    assert_eq!(call(&served, "POST", "/webhooks/google", &headers, body).await.status, 503);
}

/// The kind of source that takes tokens of `https://idp.example`, which publishes these keys.
pub async fn transmitter(published: String) -> Kind {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    let router = axum::Router::new().route("/keys", axum::routing::get(move || async move { published }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let expected = Expected { issuer: "https://idp.example".to_owned(), audiences: vec!["relay".to_owned()] };
    Kind::ScimEvents(Box::new(Transmitter { expected, keys }))
}

/// A relay that takes those tokens.
async fn token_receiver(published: String) -> Served {
    let settings =
        Settings { kind: transmitter(published).await, secrets: Vec::new(), ..source("idp", None) };
    serve_parts(parts_with([settings]).await).await
}

fn disabled(issuer: &str, id: &str) -> Value {
    json!({"iss": issuer, "aud": "relay", "jti": id, "iat": NOW.as_seconds(),
           "sub_id": {"format": "opaque", "id": "u-1"},
           "events": {"https://schemas.openid.net/secevent/risc/event-type/account-disabled": {}}})
}

#[tokio::test]
async fn a_security_event_token_is_answered_as_its_rfc_wants() {
    let signer = Signer::new(1);
    let served = token_receiver(Signer::published(&[&signer])).await;
    let media = [("content-type", "application/secevent+jwt")];
    let post = async |token: String| call(&served, "POST", "/webhooks/idp", &media, token.as_bytes()).await;

    let token = signer.token(&disabled("https://idp.example", "evt-1"));
    for _ in 0..2 {
        let answer = post(token.clone()).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, ""));
    }
    assert_eq!(served.events().await, 1);

    for (token, code) in [
        (signer.token(&disabled("https://other.example", "evt-2")), "invalid_issuer"),
        (Signer::new(2).token(&disabled("https://idp.example", "evt-3")), "invalid_key"),
        (signer.token(&json!({"iss": "https://idp.example", "aud": "relay", "jti": "evt-4", "events": {"urn:ietf:params:scim:event:prov:delete": {}}})), "invalid_request"),
        ("nonsense".to_owned(), "invalid_request"),
    ] {
        let answer = post(token).await;
        assert_eq!((answer.status, answer.json()["err"].as_str()), (400, Some(code)));
        assert_eq!(answer.header("content-language"), Some("en"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let other = [("content-type", "application/json")];
    assert_eq!(call(&served, "POST", "/webhooks/idp", &other, token.as_bytes()).await.status, 415);
    assert_eq!(served.events().await, 1);
}

#[tokio::test]
async fn a_transmitter_whose_keys_cannot_be_had_is_asked_to_come_back() {
    let served = token_receiver("no keys".to_owned()).await;
    let token = Signer::new(1).token(&disabled("https://idp.example", "evt-1"));
    let media = [("content-type", "application/secevent+jwt")];
    let answer = call(&served, "POST", "/webhooks/idp", &media, token.as_bytes()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
}

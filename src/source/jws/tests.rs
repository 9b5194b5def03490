use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;

use super::testing::Signer;
use super::*;

/// A transmitter that publishes keys, and counts how often it is asked.
struct Publisher {
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
    url: url::Url,
}

impl Publisher {
    async fn start(signers: &[&Signer]) -> Self {
        let answer = Arc::new(Mutex::new((StatusCode::OK, Signer::published(signers))));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shown, counted) = (answer.clone(), asked.clone());
        let handler = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let answer = shown.lock().unwrap().clone();
            async move { answer }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/keys", get(handler));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { answer, asked, url }
    }

    fn publish(&self, status: StatusCode, text: String) {
        *self.answer.lock().unwrap() = (status, text);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn expected() -> Expected {
    Expected {
        issuer: "https://idp.example".to_owned(),
        audiences: vec!["relay".to_owned(), "other".to_owned()],
    }
}

fn right() -> Value {
    json!({"iss": "https://idp.example", "aud": ["x", "relay"], "jti": "1"})
}

async fn verified(keys: &Arc<Keys>, token: &str) -> Result<(), Refusal> {
    keys.prepare(token.as_bytes()).await.unwrap();
    verify(token.as_bytes(), keys, &expected()).map(|_| ())
}

#[tokio::test]
async fn a_token_is_believed_by_key_issuer_and_audience() {
    let (signer, stranger) = (Signer::new(1), Signer::new(2));
    let publisher = Publisher::start(&[&signer]).await;
    let keys = Arc::new(Keys::new(publisher.url.clone()));
    let with = |name: &str, value: Value| {
        let mut claims = right();
        claims[name] = value;
        signer.token(&claims)
    };
    let tampered = signer.token(&right()).replacen('.', ".e", 1);
    let forged = stranger.token_with(&json!({"alg": "EdDSA", "kid": signer.id}), &right());
    for (token, expected) in [
        (signer.token(&right()), Ok(())),
        (with("aud", json!("other")), Ok(())),
        (with("iss", json!("https://idp.example/")), Err(Refusal::Issuer)),
        (with("iss", json!(null)), Err(Refusal::Issuer)),
        (with("aud", json!("nobody")), Err(Refusal::Audience)),
        (with("aud", json!([])), Err(Refusal::Audience)),
        (forged, Err(Refusal::Mismatch)),
        (stranger.token(&right()), Err(Refusal::Key)),
        (tampered, Err(Refusal::Mismatch)),
        ("a.b.c".to_owned(), Err(Refusal::unreadable("the token"))),
        (String::new(), Err(Refusal::unreadable("the token"))),
    ] {
        assert_eq!(verified(&keys, &token).await, expected, "{token}");
    }
}

#[tokio::test]
async fn only_signatures_of_the_list_are_taken() {
    let signer = Signer::new(1);
    let publisher = Publisher::start(&[&signer]).await;
    let keys = Arc::new(Keys::new(publisher.url.clone()));
    assert_eq!(verified(&keys, &signer.token(&right())).await, Ok(()));
    for algorithm in ["HS256", "HS512", "RS512", "ES384"] {
        let token = signer.token_with(&json!({"alg": algorithm, "kid": signer.id}), &right());
        assert_eq!(verified(&keys, &token).await, Err(Refusal::Mismatch), "{algorithm}");
    }
    for algorithm in ["none", "None", ""] {
        let token = signer.token_with(&json!({"alg": algorithm, "kid": signer.id}), &right());
        assert!(verified(&keys, &token).await.is_err(), "{algorithm}");
    }
    // An RSA signature by an Ed25519 key there cannot be.
    let token = signer.token_with(&json!({"alg": "RS256", "kid": signer.id}), &right());
    assert_eq!(verified(&keys, &token).await, Err(Refusal::Key));
}

#[tokio::test]
async fn keys_are_asked_for_once_and_once_more_for_a_new_one() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let publisher = Publisher::start(&[&old]).await;
    let keys = Arc::new(Keys::new(publisher.url.clone()));
    let token = old.token(&right());
    let (a, b) = tokio::join!(verified(&keys, &token), verified(&keys, &token));
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert_eq!(verified(&keys, &token).await, Ok(()));
    assert_eq!(publisher.asked(), 1);

    publisher.publish(StatusCode::OK, Signer::published(&[&old, &new]));
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(verified(&keys, &new.token(&right())).await, Ok(()));
    assert_eq!(publisher.asked(), 2);
    // Invented keys cost the transmitter nothing.
    for number in 3..10 {
        assert_eq!(verified(&keys, &Signer::new(number).token(&right())).await, Err(Refusal::Key));
    }
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn a_key_that_is_not_published_any_more_ends_within_the_hour() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let publisher = Publisher::start(&[&old]).await;
    let keys = Arc::new(Keys::new(publisher.url.clone()));
    assert_eq!(verified(&keys, &old.token(&right())).await, Ok(()));
    publisher.publish(StatusCode::OK, Signer::published(&[&new]));
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(61)).await;
    tokio::time::resume();
    assert_eq!(verified(&keys, &old.token(&right())).await, Err(Refusal::Key));
}

#[tokio::test]
async fn without_keys_the_sender_is_asked_to_come_back() {
    let signer = Signer::new(1);
    let publisher = Publisher::start(&[&signer]).await;
    let token = signer.token(&right());
    for (status, text) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::FOUND, String::new()),
        (StatusCode::OK, "no keys".to_owned()),
        (StatusCode::OK, format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300 * 1024))),
    ] {
        publisher.publish(status, text);
        let keys = Arc::new(Keys::new(publisher.url.clone()));
        assert_eq!(keys.prepare(token.as_bytes()).await, Err(Unready), "{status}");
    }
}

#[tokio::test]
async fn keys_are_taken_from_nowhere_else_than_configured() {
    let signer = Signer::new(1);
    let publisher = Publisher::start(&[&signer]).await;
    let elsewhere = publisher.url.to_string();
    let handler = move || async move { axum::response::Redirect::temporary(&elsewhere) };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/keys", get(handler))).await });
    let keys = Arc::new(Keys::new(url));
    assert_eq!(keys.prepare(signer.token(&right()).as_bytes()).await, Err(Unready));
    assert_eq!(publisher.asked(), 0);
}

#[test]
fn a_key_is_used_for_what_it_is_published_for() {
    let key = |id: &str, more: Value| {
        let modulus = URL_SAFE_NO_PAD.encode([0xC3; 256]);
        let mut key = json!({"kty": "RSA", "kid": id, "n": modulus, "e": "AQAB"});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    };
    let any = key("any", json!({}));
    let signs = key("signs", json!({"use": "sig", "alg": "RS256"}));
    let seals = key("seals", json!({"use": "enc"}));
    let keys = Keys::of_set(json!({"keys": [any, signs, seals]}).to_string().as_bytes()).unwrap();
    for (id, algorithm, candidates) in [
        (None, Algorithm::RS256, 2),
        (None, Algorithm::PS256, 1),
        (Some("signs"), Algorithm::PS256, 0),
        (Some("seals"), Algorithm::RS256, 0),
        (None, Algorithm::ES256, 0),
    ] {
        assert_eq!(keys.candidates(id, algorithm).len(), candidates, "{id:?} {algorithm:?}");
    }
}

#[tokio::test]
async fn known_keys_outlive_an_outage_of_the_sender_for_a_day() {
    let signer = Signer::new(1);
    let publisher = Publisher::start(&[&signer]).await;
    let keys = Arc::new(Keys::new(publisher.url.clone()));
    let token = signer.token(&right());
    assert_eq!(verified(&keys, &token).await, Ok(()));
    publisher.publish(StatusCode::BAD_GATEWAY, String::new());
    for (hours, expected) in [(2, Ok(())), (23, Err(Unready))] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_hours(hours)).await;
        tokio::time::resume();
        assert_eq!(keys.prepare(token.as_bytes()).await, expected, "{hours} hours on");
    }
}

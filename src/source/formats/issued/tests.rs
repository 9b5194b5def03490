use axum::Router;
use axum::routing::get;
use http::HeaderValue;
use serde_json::json;

use super::*;
use crate::source::formats::{Options, Preset, keycloak, preset::Hook, zitadel};
use crate::source::jws::testing::Signer;
use crate::source::{Media, Source};

const NOW: Timestamp = Timestamp::from_seconds(1_795_168_800);
const KEYCLOAK: &str =
    r#"{"id":"e-1","type":"admin.USER-DELETE","time":1795168800000,"resourcePath":"users/u-1"}"#;

/// A source whose sender publishes the key of this signer.
async fn source(preset: &'static Preset, signer: &Signer, expected: Option<Expected>) -> Hook {
    let answer = Signer::published(&[signer]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap();
    let router = Router::new().route("/keys", get(move || std::future::ready(answer.clone())));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let options = Options { issued: Some(Issued { keys, expected }), ..Options::default() };
    Hook::open(preset, &options, &[]).unwrap()
}

async fn verified(hook: &Hook, headers: &HeaderMap, body: &str) -> Result<Proof, Refusal> {
    let body = body.as_bytes();
    if let Some(ready) = hook.prepare(headers, body) {
        ready.await.unwrap();
    }
    hook.verify(&Delivery { headers, query: "", body }, NOW)
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
}

fn realm() -> Expected {
    let issuer = "https://sso.example/realms/acme".to_owned();
    Expected { issuer, audiences: vec!["relay".to_owned()] }
}

fn about(body: &str) -> Value {
    json!({"iss": "https://sso.example/realms/acme", "aud": "relay", "jti": "t-1",
           "exp": NOW.as_seconds() + 300, "request_body_sha256": digest_of(body.as_bytes())})
}

#[tokio::test]
async fn a_token_beside_the_body_vouches_for_this_body_until_it_ends() {
    let signer = Signer::new(1);
    let hook = source(&keycloak::PRESET, &signer, Some(realm())).await;
    let with = |name: &str, value: Value| {
        let mut claims = about(KEYCLOAK);
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = about(KEYCLOAK);
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let end = |seconds: i64| with("exp", (NOW.as_seconds() + seconds).into());
    for (claims, expected) in [
        (about(KEYCLOAK), Ok(())),
        (end(-60), Ok(())),
        (end(-61), Err(Refusal::Untimely { seconds: 61 })),
        (without("exp"), Err(Refusal::unreadable("exp"))),
        (with("exp", "soon".into()), Err(Refusal::unreadable("exp"))),
        (without("request_body_sha256"), Err(Refusal::unreadable("request_body_sha256"))),
        (about("{}"), Err(Refusal::Mismatch)),
        (with("aud", "somebody".into()), Err(Refusal::Audience)),
        (with("iss", "https://sso.example/realms/other".into()), Err(Refusal::Issuer)),
    ] {
        let found = verified(&hook, &bearer(&signer.token(&claims)), KEYCLOAK).await;
        assert_eq!(found.map(|_| ()), expected, "{claims}");
    }
    assert_eq!(hook.read(KEYCLOAK.as_bytes()).unwrap().event_id.as_deref(), Some("e-1"));
}

#[tokio::test]
async fn without_its_one_token_nothing_is_believed() {
    let signer = Signer::new(1);
    let hook = source(&keycloak::PRESET, &signer, Some(realm())).await;
    let token = signer.token(&about(KEYCLOAK));
    let missing = || Refusal::unreadable("an unencrypted token");
    let mut twice = bearer(&token);
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    let stranger = Signer::new(2).token(&about(KEYCLOAK));
    let mut forger = Signer::new(2);
    forger.id.clone_from(&signer.id);
    for (headers, expected) in [
        (HeaderMap::new(), missing()),
        (twice, missing()),
        (bearer("a.b.c.d.e"), missing()),
        (bearer(&stranger), Refusal::Key),
        (bearer(&forger.token(&about(KEYCLOAK))), Refusal::Mismatch),
    ] {
        assert_eq!(verified(&hook, &headers, KEYCLOAK).await, Err(expected), "{headers:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_the_body_reads_as_the_event_that_it_holds() {
    let signer = Signer::new(1);
    let hook = source(&zitadel::PRESET, &signer, None).await;
    let event = json!({"aggregateID": "u-1", "aggregateType": "user", "instanceID": "i-1", "sequence": 7,
        "event_type": "user.removed", "created_at": "2026-11-20T10:00:00Z", "event_payload": null});
    let token = signer.token_with(&json!({"alg": "EdDSA", "kid": signer.id}), &event);
    let headers = HeaderMap::new();
    verified(&hook, &headers, &token).await.unwrap();
    let delivery = Delivery { headers: &headers, query: "", body: token.as_bytes() };
    let record = hook.record(&delivery).unwrap();
    let reading = hook.read(&record).unwrap();
    assert_eq!(reading.changes[0].operation.name(), "user.delete");
    assert_eq!(reading.event_id.as_deref(), Some("i-1:u-1:00000000000000000007"));
    assert_eq!(hook.manners().media, Media::Any);
}

#[tokio::test]
async fn what_people_sign_in_with_is_no_event() {
    let signer = Signer::new(1);
    let hook = source(&zitadel::PRESET, &signer, None).await;
    let headers = HeaderMap::new();
    for (claims, expected) in [
        (json!({"sub": "u-1", "event_type": "user.removed", "aggregateID": "u-2"}), Refusal::Audience),
        (
            json!({"event_type": "user.removed", "exp": NOW.as_seconds() - 61}),
            Refusal::Untimely { seconds: 61 },
        ),
    ] {
        let found = verified(&hook, &headers, &signer.token(&claims)).await;
        assert_eq!(found, Err(expected), "{claims}");
    }
    let stranger = Signer::new(2).token(&json!({"event_type": "user.removed", "aggregateID": "u-2"}));
    assert_eq!(verified(&hook, &headers, &stranger).await, Err(Refusal::Key));
    let plain = r#"{"event_type": "user.removed", "aggregateID": "u-2"}"#;
    assert_eq!(verified(&hook, &headers, plain).await, Err(Refusal::unreadable("an unencrypted token")));
}

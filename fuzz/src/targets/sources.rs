//! Webhooks: what each sender's bodies say, and how it asks whether it is welcome.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use scim_relay::source::{Delivery, Kind, PRESETS, Proof, Registered};

use crate::configured::{ALL, NOW};
use crate::input::Input;

/// A source by number, headers, and a body.
pub fn read(input: &[u8]) {
    let mut input = Input::of(input);
    let registered = *input.pick(&ALL);
    let headers = input.headers();
    let body = body_of(registered, input.rest());
    let delivery = Delivery { headers: &headers, query: "", body: &body };
    let source = &registered.source;
    let stored = source.record(&delivery).unwrap_or_else(|| body.clone());
    let _ = source.is_trial(&body);
    let reading = source.read(&stored);
    assert_eq!(reading, source.read(&stored), "a body reads the same each time");
    if let Ok(reading) = reading {
        let _ = reading.check_ids();
        let id = Proof::default().event_id(&reading, &stored, NOW);
        let fits = (1..=Proof::EVENT_ID_BYTES_MAX).contains(&id.len());
        assert!(fits && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?} is no id of an event");
    }
}

/// Security Event Tokens are put in their form, so that what they say is reached.
fn body_of(registered: &Registered, body: &[u8]) -> Vec<u8> {
    match registered.settings.kind {
        Kind::ScimEvents(_) => format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(body)).into_bytes(),
        Kind::Native | Kind::Preset(..) | Kind::Mapped(_) | Kind::Fed | Kind::File(_) => body.to_vec(),
    }
}

/// The fixtures of the built-in senders, and a few bodies for the others.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for preset in PRESETS {
        for (headers, body) in fixtures(preset.name) {
            seeds.push([&[number_of(preset.name)], headers.as_slice(), b"\n", &body].concat());
        }
    }
    for (name, body) in OTHERS {
        seeds.push([&[number_of(name)], &b"\n"[..], body.as_bytes()].concat());
    }
    seeds
}

/// A source by number, a method, a query, headers.
pub fn handshake(input: &[u8]) {
    let mut input = Input::of(input);
    let registered = *input.pick(&ALL);
    let method = input.pick(&[Method::GET, Method::POST, Method::OPTIONS]).clone();
    let query = input.text_line();
    let headers = input.headers();
    let Ok(mut request) = Request::builder().method(method).uri(format!("/webhooks/x?{query}")).body(())
    else {
        return;
    };
    *request.headers_mut() = headers;
    let _ = registered.source.handshake(&request);
}

pub fn handshake_seeds() -> Vec<Vec<u8>> {
    let questions = [
        ("entra", 1, "validationToken=Validation%3A+Testing+client+application\n"),
        ("okta", 0, "\nx-okta-verification-challenge: abc\n"),
    ];
    let seed =
        |(name, method, text): (&str, u8, &str)| [&[number_of(name), method], text.as_bytes()].concat();
    questions.into_iter().map(seed).collect()
}

/// What chooses the source of that name.
pub fn number_of(name: &str) -> u8 {
    let place = ALL.iter().position(|registered| registered.settings.name == name);
    place.and_then(|place| u8::try_from(place).ok()).expect("the source is configured")
}

/// Headers and body of each fixture of a sender.
pub fn fixtures(sender: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/hooks").join(sender);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("each sender has fixtures")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "form"))
        .collect();
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let headers = fs::read(path.with_extension("headers")).unwrap_or_default();
        (headers, fs::read(path).expect("the fixture can be read"))
    };
    paths.into_iter().map(read).collect()
}

const OTHERS: &[(&str, &str)] = &[
    (
        "native",
        r#"{"id":"e","changes":[{"op":"user.upsert","id":"u","occurred_at":"2026-01-01T00:00:00Z","attributes":{"userName":"a","name":{"givenName":"b"},"emails":[{"value":"a@b","type":"work","primary":true}],"active":false}},{"op":"group.members","id":"g","add":["u"],"remove":["v"]}]}"#,
    ),
    (
        "native",
        r#"{"changes":[{"op":"group.members","id":"g","set":[]},{"op":"group.upsert","id":"g","attributes":{"displayName":"x"}},{"op":"user.delete","id":"u"},{"op":"user.deactivate","id":"u"},{"op":"group.delete","id":"g"}]}"#,
    ),
    (
        "pairs",
        r#"{"id":"e","events":[{"kind":"up","u":1,"n":"a","g":"b","m":"a@b","p":["1"],"s":"enabled","d":null,"at":1786000000},{"kind":"in","g":"g","j":[{"u":"a"}],"l":["b"]},{"kind":"all","g":"g","j":[["a"],["b"]]},{"kind":"ask","g":"g"},{"kind":"x","g":"g","t":"T"}]}"#,
    ),
    ("versions", r#"[{"type":"t","a":[{"b":"u","c":"n"}]}]"#),
    ("prefix", r#"{"type":"t","id":"g","members":["a","b"]}"#),
    (
        "tokens",
        r#"{"iss":"https://issuer.example","aud":"relay","jti":"1","iat":1786000000,"sub_id":{"format":"scim","uri":"/Users/1","externalId":"u"},"events":{"urn:ietf:params:SCIM:event:prov:create:full":{"data":{"userName":"a","active":true}}}}"#,
    ),
    (
        "tokens",
        r#"{"jti":"1","iat":1,"toe":2,"sub_id":{"format":"scim","uri":"/Groups/1"},"events":{"urn:ietf:params:SCIM:event:prov:patch:full":{"data":{"Operations":[{"op":"add","path":"members","value":[{"value":"u"}]}]}},"urn:ietf:params:SCIM:event:prov:delete":{}}}"#,
    ),
    (
        "tokens",
        r#"{"jti":"1","iat":1,"sub_id":{"format":"opaque","id":"u"},"events":{"https://schemas.openid.net/secevent/risc/event-type/account-disabled":{"subject":{"format":"iss_sub","iss":"i","sub":"u"}}}}"#,
    ),
];

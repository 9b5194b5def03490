//! What providers answer to whom keeps subscriptions with them: where calls go, what there is already, what
//! was made.

use std::sync::LazyLock;

use scim_relay::source::connectors::{Held, Next, Subscribe, Wish, Write};
use scim_relay::source::parse_json;
use secrecy::SecretString;
use serde_json::Value;

use super::connectors::follow;
use crate::configured::{CONNECTORS, NOW};
use crate::input::Input;

static SUBSCRIBING: LazyLock<Vec<&'static dyn Subscribe>> =
    LazyLock::new(|| CONNECTORS.iter().filter_map(|connector| connector.subscribe()).collect());

/// A provider by number, a line with its description of itself, a line with what there is already, and an
/// answer.
pub fn answer(input: &[u8]) {
    let mut input = Input::of(input);
    let subscribe = *input.pick(&SUBSCRIBING);
    let [directions, existing] =
        [input.line(), input.line()].map(|line| parse_json(line).unwrap_or_default());
    let body = input.json().unwrap_or_default();
    let secret = SecretString::from("secret");
    let ends_at = NOW.after(subscribe.lifetime());
    let address = "https://relay.example/webhooks/x";
    let wish = Wish { address, secret: &secret, id: "id", now: NOW, ends_at, directions: &directions };
    for topic in subscribe.topics() {
        go(Some(subscribe.make(topic, &wish)));
    }
    if let Some(ask) = subscribe.existing(&wish) {
        goes(ask.path);
    }
    go(subscribe.adopt(&existing, &wish));
    let Ok(held) = subscribe.made(&body, &wish) else { return };
    keep(subscribe, &held, &body, &wish);
}

/// What is held is remembered as text, and may be renewed and ended whatever the provider made of it.
fn keep(subscribe: &dyn Subscribe, held: &Held, body: &Value, wish: &Wish<'_>) {
    let kept = serde_json::to_value(held).expect("what is held can be remembered");
    assert_eq!(serde_json::from_value::<Held>(kept).ok().as_ref(), Some(held), "and is found again");
    assert!(held.renew_at() <= held.ends_at().max(wish.now), "it is renewed before it ends: {held:#?}");
    for write in subscribe.renew(held, wish) {
        go(Some(write));
    }
    go(subscribe.end(held));
    if let Ok(renewed) = subscribe.renewed(held, body, wish) {
        let _ = (renewed.renew_at(), renewed.ends_at());
    }
}

fn go(write: Option<Write>) {
    if let Some(write) = write {
        goes(write.path);
    }
}

/// An address of the provider's own is followed below the base URL, or not at all.
fn goes(path: String) {
    if path.contains("://") {
        follow(Some(Next::Link(path)));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    const DESCRIPTION: &str = r#"{"issuer":"https://provider.example","configuration_endpoint":"https://provider.example/api/v1/stream","status_endpoint":"https://provider.example/api/v1/status","verification_endpoint":"https://provider.example/api/v1/verify"}"#;
    const THERE: [&str; 3] = [
        "",
        r#"[{"stream_id":"s","delivery":{"endpoint_url":"https://relay.example/webhooks/x"}},{"stream_id":"t"}]"#,
        r#"{"stream_id":"s"}"#,
    ];
    const MADE: [&str; 3] = [
        r#"{"stream_id":"s","inactivity_timeout":7200,"min_verification_interval":60,"events_delivered":[]}"#,
        r#"{"id":"s","expirationDateTime":"2026-09-01T00:00:00Z"}"#,
        r#"{"id":"s","resourceId":"r","expiration":"1786000000000"}"#,
    ];
    let providers = u8::try_from(SUBSCRIBING.len()).expect("there are few");
    let mut seeds = Vec::new();
    for (there, made) in THERE.iter().zip(MADE) {
        let text = format!("{DESCRIPTION}\n{there}\n{made}");
        seeds.extend((0..providers).map(|provider| [&[provider], text.as_bytes()].concat()));
    }
    seeds
}

//! A transmitter of the Shared Signals Framework 1.0, told by its stream management API to push Security Event
//! Tokens: <https://openid.net/specs/openid-sharedsignals-framework-1_0.html>.
//!
//! A stream has no end, but a transmitter may pause it, or drop it once it hears nothing for a while. So it is
//! looked after like one that ends: its status is set, and a verification asked for, which shows that tokens
//! arrive. Where each call goes is what the transmitter's own description says.

use std::time::Duration;

use http::{Method, StatusCode};
use percent_encoding::utf8_percent_encode;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{Ask, Connector, Held, RESERVED, Subscribe, Wish, Write};
use crate::directory::{Change, ResourceKey};
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "ssf"`; the base URL is the transmitter's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssf {
    /// Where its description is, below the base URL: for an issuer with a path, that path comes last.
    pub description: String,
}

/// How long a stream is left alone: half of this.
const LIFETIME: Duration = Duration::from_hours(24);
/// No transmitter is called more often for an inactivity timeout that is nonsense.
const LIFETIME_SECONDS_MIN: u64 = 600;
/// How tokens are delivered (RFC 8935).
const PUSH: &str = "urn:ietf:rfc:8935";
/// The events that mean something here.
const EVENTS: [&str; 11] = [
    "https://schemas.openid.net/secevent/risc/event-type/account-disabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-enabled",
    "https://schemas.openid.net/secevent/risc/event-type/account-purged",
    "urn:ietf:params:scim:event:prov:create:full",
    "urn:ietf:params:scim:event:prov:create:notice",
    "urn:ietf:params:scim:event:prov:patch:full",
    "urn:ietf:params:scim:event:prov:patch:notice",
    "urn:ietf:params:scim:event:prov:put:full",
    "urn:ietf:params:scim:event:prov:delete",
    "urn:ietf:params:scim:event:prov:activate",
    "urn:ietf:params:scim:event:prov:deactivate",
];

impl Connector for Ssf {
    fn record(&self, _: &ResourceKey) -> Option<Ask> {
        None
    }

    fn understand(&self, _: &ResourceKey, _: &View<'_>) -> Result<Vec<Change>, Malformed> {
        Ok(Vec::new())
    }

    fn is_absent(&self, _: StatusCode, _: &Value) -> bool {
        false
    }

    fn subscribe(&self) -> Option<&dyn Subscribe> {
        Some(self)
    }
}

impl Subscribe for Ssf {
    fn topics(&self) -> &'static [&'static str] {
        &["stream"]
    }

    fn lifetime(&self) -> Duration {
        LIFETIME
    }

    fn directions(&self) -> Option<Ask> {
        Some(Ask { path: self.description.clone(), endpoint: "ssf-configuration" })
    }

    fn make(&self, _: &str, wish: &Wish<'_>) -> Write {
        let mut body = stream(wish);
        body["description"] = "scim-relay".into();
        to(wish, "configuration_endpoint", Method::POST, body)
    }

    fn existing(&self, wish: &Wish<'_>) -> Option<Ask> {
        Some(Ask { path: address(wish, "configuration_endpoint"), endpoint: "configuration_endpoint" })
    }

    /// A transmitter that grants one stream only has it already. Of several, the one that comes here.
    fn adopt(&self, existing: &Value, wish: &Wish<'_>) -> Option<Write> {
        let streams = existing.as_array().map_or_else(|| std::slice::from_ref(existing), Vec::as_slice);
        let is_ours = |stream: &&Value| stream["delivery"]["endpoint_url"] == wish.address;
        let only = streams.first().filter(|_| streams.len() == 1);
        let id = streams.iter().find(is_ours).or(only)?["stream_id"].as_str()?;
        let mut body = stream(wish);
        body["stream_id"] = id.into();
        Some(to(wish, "configuration_endpoint", Method::PATCH, body))
    }

    fn renew(&self, held: &Held, wish: &Wish<'_>) -> Vec<Write> {
        let enabled = json!({"stream_id": held.id, "status": "enabled"});
        let verified = json!({"stream_id": held.id, "state": wish.id});
        vec![
            to(wish, "status_endpoint", Method::POST, enabled),
            to(wish, "verification_endpoint", Method::POST, verified),
        ]
    }

    fn asks_for_an_event(&self) -> bool {
        true
    }

    fn end(&self, held: &Held) -> Option<Write> {
        let (address, id) = (held.handle.as_ref()?, utf8_percent_encode(&held.id, RESERVED));
        Some(Write {
            method: Method::DELETE,
            path: format!("{address}?stream_id={id}"),
            endpoint: "configuration_endpoint",
            body: Value::Null,
        })
    }

    fn made(&self, answer: &Value, wish: &Wish<'_>) -> Result<Held, Malformed> {
        let view = View::root(answer);
        let timeout = answer["inactivity_timeout"].as_u64().map(|seconds| seconds.max(LIFETIME_SECONDS_MIN));
        let life = timeout.map_or(LIFETIME, Duration::from_secs).min(LIFETIME);
        Ok(Held {
            id: view.text("stream_id")?.to_owned(),
            handle: Some(address(wish, "configuration_endpoint")),
            address: wish.address.to_owned(),
            made_us: wish.now.as_micros(),
            ends_us: wish.now.after(life).as_micros(),
            due_us: None,
        })
    }

    /// A request for a verification is answered by nothing; the stream lasts for as long again.
    fn renewed(&self, held: &Held, _: &Value, wish: &Wish<'_>) -> Result<Held, Malformed> {
        let made_us = wish.now.as_micros();
        let ends_us = made_us.saturating_add(held.ends_us.saturating_sub(held.made_us));
        Ok(Held { made_us, ends_us, due_us: None, ..held.clone() })
    }
}

fn stream(wish: &Wish<'_>) -> Value {
    json!({
        "delivery": {
            "method": PUSH,
            "endpoint_url": wish.address,
            "authorization_header": wish.secret.expose_secret(),
        },
        "events_requested": EVENTS,
    })
}

fn to(wish: &Wish<'_>, endpoint: &'static str, method: Method, body: Value) -> Write {
    Write { method, path: address(wish, endpoint), endpoint, body }
}

/// Where a call goes; empty where the description does not say.
fn address(wish: &Wish<'_>, endpoint: &str) -> String {
    wish.directions[endpoint].as_str().unwrap_or_default().to_owned()
}

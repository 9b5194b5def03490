//! The other side, for tests: webhooks as a sender would sign them.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::keyed::{self, ValueForm};
use super::shared::Place;
use super::time::Format;
use super::{Scheme, standard_webhooks};
use crate::clock::Timestamp;
use crate::source::Delivery;

/// The id that signed webhooks have where the scheme gives them one.
const ID: &str = "msg_1";

/// The body with the secret in it, where that is its place.
pub fn bear(scheme: &Scheme, secret: &str, body: &[u8]) -> Vec<u8> {
    let Scheme::Shared(Place::EachItem { list, member }) = scheme else { return body.to_vec() };
    let mut body: Value = serde_json::from_slice(body).unwrap();
    for item in body[list].as_array_mut().unwrap() {
        item[member] = secret.into();
    }
    body.to_string().into_bytes()
}

/// Adds what proves that the body was sent with this secret at this time.
pub fn sign(
    scheme: &Scheme,
    secret: &str,
    at: Timestamp,
    headers: &mut HeaderMap,
    query: &mut String,
    body: &[u8],
) {
    let mut put = |name: HeaderName, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    };
    match scheme {
        Scheme::StandardWebhooks(names) => {
            let [id, timestamp, signature] = names.all().map(HeaderName::from_static);
            // Every body has an id of its own, as a sender gives it.
            let event = format!("{ID}_{:x?}", &Sha256::digest(body)[..4]).replace([' ', '[', ']', ','], "");
            put(signature, &standard_webhooks::sign(&secret.into(), &event, at, body));
            put(id, &event);
            put(timestamp, &at.as_seconds().to_string());
        }
        Scheme::Keyed(settings) => sign_keyed(settings, secret, at, headers, body),
        Scheme::Shared(Place::Header { name, prefix }) => put(name.clone(), &format!("{prefix}{secret}")),
        Scheme::Shared(Place::Query(parameter)) => *query = format!("{parameter}={secret}"),
        Scheme::Shared(Place::EachItem { .. }) => {}
    }
}

fn sign_keyed(settings: &keyed::Settings, secret: &str, at: Timestamp, headers: &mut HeaderMap, body: &[u8]) {
    let time = settings.time.as_ref().map(|time| match time.format {
        Format::UnixSeconds | Format::Auto => at.as_seconds().to_string(),
        Format::UnixMillis => (at.as_micros() / 1000).to_string(),
        Format::Rfc3339 => at.to_string(),
    });
    if let Some((name, text)) = settings.time.as_ref().and_then(|time| time.header.clone()).zip(time.as_ref())
    {
        headers.insert(name, HeaderValue::from_str(text).unwrap());
    }
    if let Some(name) = &settings.id_header {
        headers.insert(name, HeaderValue::from_static(ID));
    }
    let delivery = Delivery { headers, query: "", body };
    let signature = keyed::sign(settings, &secret.into(), &delivery, time.as_deref(), Some(ID));
    let value = match &settings.form {
        ValueForm::Bare => signature,
        ValueForm::Prefixed(prefix) => format!("{prefix}{signature}"),
        ValueForm::Pairs { time: name, signature: other } => {
            format!("{name}={}, {other}={signature}", time.unwrap_or_default())
        }
        ValueForm::Versioned(version) => format!("{version},{signature}"),
    };
    headers.insert(settings.headers[0].clone(), HeaderValue::from_str(&value).unwrap());
}

//! HiBob: <https://apidocs.hibob.com/docs/webhooks>, version 2.
//!
//! Events name an employee and not much else, so most of them leave a record to be read. When
//! somebody sets up a webhook, HiBob sends `Ping test` and wants to hear 200.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::Preset;
use super::draft::{Draft, deactivation, user_deletion};
use super::view::View;
use crate::directory::ResourceKey;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::{Algorithm, Encoding, Settings};
use crate::source::{Manners, Media, Reading};

const PING: &str = "Ping test";

/// `kind = "hibob"`.
pub const PRESET: Preset = Preset {
    is_trial,
    repeats_for: Duration::from_hours(72),
    manners: Manners { accepted: StatusCode::OK, media: Media::Any, ..Manners::USUAL },
    ..Preset::new("hibob", |_| scheme(), read)
};

fn scheme() -> Scheme {
    Scheme::Keyed(Settings {
        algorithm: Algorithm::Sha512,
        encoding: Encoding::Base64,
        ..Settings::of_body("bob-signature")
    })
}

fn is_trial(body: &[u8]) -> bool {
    // A trial is short; nothing longer is worth reading twice.
    body.len() <= 64
        && (body.trim_ascii() == PING.as_bytes()
            || json::parse(body).is_ok_and(|body| body.get("text").and_then(Value::as_str) == Some(PING)))
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let at = root.time("triggeredAt")?;
    let employee = root.get("data").and_then(|data| data.get("employeeId"));
    Ok(match (root.text("type")?, employee) {
        ("employee.deleted", Some(id)) => Reading::of(vec![user_deletion(id.id()?, at)]),
        ("employee.inactivated", Some(id)) => Reading::of(vec![deactivation(id.id()?, at)]),
        ("employee.activated", Some(id)) => {
            let id = id.id()?;
            let change = Draft::user().active(Some(true)).upsert(id.clone(), at)?;
            Reading::of(vec![change]).and_needing(ResourceKey::user(id))
        }
        // Somebody may join or leave on a day to come, so these alone prove nothing for today.
        ("employee.created" | "employee.updated" | "employee.joined" | "employee.left", Some(id)) => {
            Reading::needing(ResourceKey::user(id.id()?))
        }
        _ => Reading::nothing(),
    })
}

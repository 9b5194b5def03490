//! Zitadel Actions v2, conditions on events:
//! <https://zitadel.com/docs/guides/integrate/actions/usage>. The target's payload type is JSON, or JWT: a
//! token of the instance's key whose claims are the event, without issuer and audience. JWE is not
//! understood.
//!
//! Each event is one entry of Zitadel's event store: what changed and nothing else, numbered within
//! its aggregate. `event_payload` is an object, or in older versions its Base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Preset;
use super::draft::{Draft, deactivation, group_deletion, memberships, user_deletion};
use super::issued::{TokenPlace, Tokens};
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, ResourceKey};
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::Settings;
use crate::source::signature::time::{Format, Tolerance};

/// `kind = "zitadel"`.
pub const PRESET: Preset = Preset { tokens: Some(&TOKENS), ..Preset::new("zitadel", |_| scheme(), read) };

/// The target's payload type.
const TOKENS: Tokens =
    Tokens { key: "payload", shared: "json", signed: "jwt", encrypted: Some("jwe"), place: TokenPlace::Body };

/// `ZITADEL-Signature: t=<s>,v1=<hex>,v1=<hex>…`; a comment in their code puts an `X-` before it.
fn scheme() -> Scheme {
    let settings =
        Settings::of_time_and_body("x-zitadel-signature", "v1", Format::UnixSeconds, Tolerance::USUAL);
    Scheme::Keyed(settings.or_header("zitadel-signature"))
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let id = root.need("aggregateID")?;
    let at = root.time("created_at")?;
    let payload = payload(&root)?;
    let payload = root.in_place(&payload);
    let reading = match root.text("event_type")? {
        "user.human.added" | "user.human.selfregistered" => {
            Reading::of(vec![described(&payload, id.id()?, at, Some(true))?])
        }
        "user.human.profile.changed" | "user.human.email.changed" | "user.username.changed" => {
            Reading::of(vec![described(&payload, id.id()?, at, None)?])
        }
        "user.deactivated" | "user.locked" => Reading::of(vec![deactivation(id.id()?, at)]),
        "user.reactivated" | "user.unlocked" => {
            Reading::of(vec![Draft::user().active(Some(true)).upsert(id.id()?, at)?])
        }
        "user.removed" => Reading::of(vec![user_deletion(id.id()?, at)]),
        "group.added" | "group.changed" => {
            let draft = Draft::group().key("displayName", payload.word("name"));
            Reading::of(vec![draft.upsert(id.id()?, at)?])
        }
        "group.removed" => Reading::of(vec![group_deletion(id.id()?, at)]),
        "group.users.added" => edges(&payload, id.id()?, true, at)?,
        "group.users.removed" => edges(&payload, id.id()?, false, at)?,
        _ => Reading::nothing(),
    };
    Ok(reading.under(event_id(&root).as_deref()))
}

/// The place of the event in the store; the number keeps its order as text.
fn event_id(root: &View<'_>) -> Option<String> {
    let sequence = root.get("sequence").and_then(|view| match view.value() {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })?;
    let instance = root.word("instanceID").unwrap_or("-");
    Some(format!("{instance}:{}:{sequence:020}", root.word("aggregateID")?))
}

fn described(
    payload: &View<'_>,
    id: ExternalId,
    at: Option<Timestamp>,
    active: Option<bool>,
) -> Result<Change, Malformed> {
    Draft::user()
        .key("userName", payload.word("userName"))
        .email(payload.word("email"))
        .name("givenName", payload, "firstName")
        .name("familyName", payload, "lastName")
        .text("displayName", payload, "displayName")
        .text("nickName", payload, "nickName")
        .text("preferredLanguage", payload, "preferredLanguage")
        .active(active)
        .upsert(id, at)
}

/// Without the members' ids the group must be asked for.
fn edges(
    payload: &View<'_>,
    group: ExternalId,
    joins: bool,
    at: Option<Timestamp>,
) -> Result<Reading, Malformed> {
    let users = payload.ids("userId")?;
    if users.is_empty() {
        return Ok(Reading::needing(ResourceKey::group(group)));
    }
    let (add, remove) = if joins { (users, vec![]) } else { (vec![], users) };
    Ok(Reading::of(vec![memberships(group, add, remove, at)]))
}

fn payload(root: &View<'_>) -> Result<Value, Malformed> {
    let Some(view) = root.get("event_payload") else { return Ok(Value::Null) };
    let Some(text) = view.value().as_str() else { return Ok(view.value().clone()) };
    let decoded = STANDARD.decode(text).map_err(|_| view.wrong("Base64 or an object is expected"))?;
    if decoded.is_empty() {
        return Ok(Value::Null);
    }
    json::parse(&decoded).map_err(|error| view.wrong(error.to_string()))
}

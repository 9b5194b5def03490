//! JumpCloud webhook channels: <https://jumpcloud.com/support/create-webhook-channels>.
//!
//! A channel is called for alerts and for events of Directory Insights, and proves itself by a header
//! that the administrator writes into it. What it posts is not documented; what an event of Directory
//! Insights says is (<https://docs.jumpcloud.com/api/insights/directory/1.0/index.html>), so that the
//! event is looked for as the body and as the parts in which alerts bear it. An event names users and
//! groups without describing them: except for their end and for suspensions, they must be read.

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::Value;

use super::Preset;
use super::draft::{Draft, deactivation, group_deletion, membership, user_deletion};
use super::preset::Options;
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::shared::Place;

/// `kind = "jumpcloud"`. It repeats at 408, 429 and 5xx, three times.
pub const PRESET: Preset = Preset { options: &[Options::HEADER], ..Preset::new("jumpcloud", scheme, read) };

/// The header and its value are whatever the administrator wrote into the channel.
fn scheme(options: &Options) -> Scheme {
    let name: HeaderName = options.header.clone().unwrap_or(AUTHORIZATION);
    Scheme::Shared(Place::Header { name, prefix: String::new() })
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let events: Vec<View<'_>> = if body.is_array() { root.items()?.collect() } else { vec![root] };
    let events: Vec<View<'_>> = events.into_iter().map(unwrapped).collect();
    let reading =
        events.iter().try_fold(Reading::default(), |read, event| Ok(read.and(read_event(event)?)))?;
    let id = match events.as_slice() {
        [only] => only.word("id"),
        _ => None,
    };
    Ok(reading.under(id))
}

/// The event of Directory Insights that an alert bears, or what is there instead.
fn unwrapped(body: View<'_>) -> View<'_> {
    let event = borne(&body).or_else(|| body.get("data").and_then(|data| borne(&data)));
    match event {
        Some(event) => body.in_place(event),
        None => body,
    }
}

fn borne<'a>(alert: &View<'a>) -> Option<&'a Value> {
    alert.get("di_event").map(|event| event.value())
}

fn read_event(event: &View<'_>) -> Result<Reading, Malformed> {
    if event.flag("success") == Some(false) {
        return Ok(Reading::nothing());
    }
    let at = event.time("timestamp")?;
    let resource = event.get("resource");
    Ok(match (event.word("event_type"), resource) {
        (Some("user_create"), Some(user)) => Reading::needing(ResourceKey::user(user.need("id")?.id()?)),
        (Some("user_update"), Some(user)) => read_update(event, &user, at)?,
        (Some("user_delete"), Some(user)) => Reading::of(vec![user_deletion(user.need("id")?.id()?, at)]),
        (Some("group_create" | "group_update"), Some(group)) if is_of_users(&group) => {
            Reading::needing(ResourceKey::group(group.need("id")?.id()?))
        }
        (Some("group_delete"), Some(group)) if is_of_users(&group) => {
            Reading::of(vec![group_deletion(group.need("id")?.id()?, at)])
        }
        (Some("association_change"), _) => read_association(event, at)?,
        _ => Reading::nothing(),
    })
}

/// Devices have groups as well.
fn is_of_users(group: &View<'_>) -> bool {
    group.word("type") == Some("user_group")
}

/// A suspension is told by what has changed, and does not wait for the user to be read.
fn read_update(event: &View<'_>, user: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let id = user.need("id")?.id()?;
    let changes = match event.get("changes") {
        Some(changes) => changes.items()?.collect(),
        None => Vec::new(),
    };
    let to = changes.iter().rev().find(|change| change.word("field") == Some("suspended"));
    let reading = Reading::needing(ResourceKey::user(id.clone()));
    Ok(match to.and_then(|change| change.flag("to")) {
        Some(true) => reading.and(Reading::of(vec![deactivation(id, at)])),
        Some(false) => reading.and(Reading::of(vec![Draft::user().active(Some(true)).upsert(id, at)?])),
        None => reading,
    })
}

/// Whatever two things are tied or untied: a user and a group of users are a membership.
fn read_association(event: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let Some(association) = event.get("association") else { return Ok(Reading::nothing()) };
    let connection = association.need("connection")?;
    let (from, to) = (connection.need("from")?, connection.need("to")?);
    let (group, user) = match (from.word("type"), to.word("type")) {
        (Some("user_group"), Some("user")) => (from, to),
        (Some("user"), Some("user_group")) => (to, from),
        _ => return Ok(Reading::nothing()),
    };
    let joins = match association.word("op") {
        Some("add") => true,
        Some("remove") => false,
        _ => return Ok(Reading::needing(ResourceKey::group(group.need("object_id")?.id()?))),
    };
    let (group, user) = (group.need("object_id")?.id()?, user.need("object_id")?.id()?);
    Ok(Reading::of(vec![membership(group, user, joins, at)]))
}

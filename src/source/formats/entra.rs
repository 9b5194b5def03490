//! Microsoft Entra through Graph change notifications:
//! <https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks>.
//!
//! Notifications name users and groups without their attributes, and the members who joined or left.
//! A user who was deleted in the portal comes as `updated`; `deleted` means for good. When a
//! subscription is made, Graph posts a token in the address and wants it back as plain text within
//! ten seconds.

use std::time::Duration;

use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{Method, Request, Response};
use serde_json::Value;

use super::Preset;
use super::draft::{group_deletion, memberships, user_deletion};
use super::view::View;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::shared::Place;
use crate::source::{Manners, Media, Notice, Reading};

const TOKEN_BYTES_MAX: usize = 4096;

/// `kind = "entra"`.
pub const PRESET: Preset = Preset {
    handshake,
    repeats_for: Duration::from_hours(4),
    manners: Manners { media: Media::Any, ..Manners::USUAL },
    ..Preset::new("entra", |_| scheme(), read)
};

fn scheme() -> Scheme {
    Scheme::Shared(Place::EachItem { list: "value".to_owned(), member: "clientState".to_owned() })
}

fn handshake(request: &Request<()>) -> Option<Response<String>> {
    if request.method() != Method::POST {
        return None;
    }
    let query = request.uri().query()?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let token = pairs.find(|(name, _)| name == "validationToken")?.1.into_owned();
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    // A browser must not take it for a page: anybody can send this question.
    let answer =
        Response::builder().header(CONTENT_TYPE, "text/plain").header(X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer.body(token).ok()
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let items: Vec<View<'_>> = View::root(&body).need("value")?.items()?.collect();
    let reading = items.iter().try_fold(Reading::default(), |read, item| Ok(read.and(read_item(item)?)))?;
    let id = match items.as_slice() {
        [only] => only.word("id"),
        _ => None,
    };
    Ok(reading.under(id))
}

fn read_item(item: &View<'_>) -> Result<Reading, Malformed> {
    if let Some(lifecycle) = item.word("lifecycleEvent") {
        return Ok(read_lifecycle(lifecycle));
    }
    let Some(key) = subject(item)? else { return Ok(Reading::nothing()) };
    let data = item.get("resourceData");
    let at = data.as_ref().map_or(Ok(None), |data| data.time("eventTime"))?;
    match (item.word("changeType"), key.kind) {
        (Some("deleted"), Kind::User) => Ok(Reading::of(vec![user_deletion(key.id, at)])),
        (Some("deleted"), Kind::Group) => Ok(Reading::of(vec![group_deletion(key.id, at)])),
        (Some("created" | "updated"), _) => {
            let members = data.and_then(|data| data.get("members@delta"));
            let Some(members) = members.filter(|_| key.kind == Kind::Group) else {
                return Ok(Reading::needing(key));
            };
            let (add, remove) = joined_and_left(&members)?;
            Ok(Reading::of(vec![memberships(key.id, add, remove, at)]))
        }
        _ => Ok(Reading::nothing()),
    }
}

/// What a notification says of its subscription:
/// <https://learn.microsoft.com/en-us/graph/change-notifications-lifecycle-events>.
fn read_lifecycle(event: &str) -> Reading {
    match event {
        "reauthorizationRequired" => Reading::noticing(vec![Notice::Renew]),
        "subscriptionRemoved" => Reading::noticing(vec![Notice::Renew, Notice::Missed]),
        "missed" => Reading::noticing(vec![Notice::Missed]),
        _ => Reading::nothing(),
    }
}

/// What a notification is about; `None` for one about another resource.
fn subject(item: &View<'_>) -> Result<Option<ResourceKey>, Malformed> {
    let Some(resource) = item.word("resource") else {
        return Ok(None);
    };
    let parts: Vec<&str> = resource.trim_start_matches('/').split('/').collect();
    let id = |text: &str| match item.get("resourceData").and_then(|data| data.get("id")) {
        Some(id) => id.id(),
        None => ExternalId::parse(text).map_err(|error| item.wrong(error.to_string())),
    };
    Ok(match parts.as_slice() {
        [kind, text] if kind.eq_ignore_ascii_case("users") => Some(ResourceKey::user(id(text)?)),
        [kind, text] if kind.eq_ignore_ascii_case("groups") => Some(ResourceKey::group(id(text)?)),
        _ => None,
    })
}

/// `@removed` is a text in a notification and an object in a delta query; both mean that one left.
fn joined_and_left(members: &View<'_>) -> Result<(Vec<ExternalId>, Vec<ExternalId>), Malformed> {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for member in members.items()? {
        let removed = member.value().get("@removed").is_some_and(|removed| *removed != Value::Null);
        let list = if removed { &mut left } else { &mut joined };
        list.push(member.need("id")?.id()?);
    }
    Ok((joined, left))
}

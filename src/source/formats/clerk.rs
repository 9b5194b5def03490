//! Clerk: <https://clerk.com/docs/guides/development/webhooks/overview>. Sent through Svix, whose
//! headers it bears.
//!
//! Organisations are the groups. A user comes whole, with the time of the last change in
//! milliseconds; bans come as updates. A deletion bears the id alone, and a deleted organisation
//! sends no removals of members.

use std::time::Duration;

use super::Preset;
use super::draft::{Draft, group_deletion, membership, user_deletion};
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::Change;
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::standard_webhooks::HeaderNames;

/// `kind = "clerk"`.
pub const PRESET: Preset = Preset {
    repeats_for: Duration::from_hours(27),
    ..Preset::new("clerk", |_| Scheme::StandardWebhooks(HeaderNames::SVIX), read)
};

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let at = root.time("timestamp")?;
    let data = root.get("data");
    Ok(match (root.text("type")?, data) {
        ("user.created" | "user.updated", Some(user)) => Reading::of(vec![upserted_user(&user, at)?]),
        ("user.deleted", Some(user)) => Reading::of(vec![user_deletion(user.need("id")?.id()?, at)]),
        ("organization.created" | "organization.updated", Some(group)) => {
            Reading::of(vec![upserted_group(&group, at)?])
        }
        ("organization.deleted", Some(group)) => {
            Reading::of(vec![group_deletion(group.need("id")?.id()?, at)])
        }
        ("organizationMembership.created" | "organizationMembership.updated", Some(pair)) => {
            Reading::of(vec![edge(&pair, true, at)?])
        }
        ("organizationMembership.deleted", Some(pair)) => Reading::of(vec![edge(&pair, false, at)?]),
        _ => Reading::nothing(),
    })
}

fn upserted_user(user: &View<'_>, at: Option<Timestamp>) -> Result<Change, Malformed> {
    let email = primary_email(user)?;
    Draft::user()
        .key("userName", user.word("username").or(email))
        .email(email)
        .name("givenName", user, "first_name")
        .name("familyName", user, "last_name")
        .active(user.flag("banned").map(|banned| !banned))
        .upsert(user.need("id")?.id()?, user.time("updated_at")?.or(at))
}

fn primary_email<'a>(user: &View<'a>) -> Result<Option<&'a str>, Malformed> {
    let Some(primary) = user.word("primary_email_address_id") else { return Ok(None) };
    let Some(addresses) = user.get("email_addresses") else { return Ok(None) };
    let found = addresses.items()?.find(|address| address.word("id") == Some(primary));
    Ok(found.and_then(|address| address.word("email_address")))
}

fn upserted_group(group: &View<'_>, at: Option<Timestamp>) -> Result<Change, Malformed> {
    Draft::group()
        .key("displayName", group.word("name"))
        .upsert(group.need("id")?.id()?, group.time("updated_at")?.or(at))
}

fn edge(pair: &View<'_>, joins: bool, at: Option<Timestamp>) -> Result<Change, Malformed> {
    let group = pair.need("organization")?.need("id")?.id()?;
    let user = pair.need("public_user_data")?.need("user_id")?.id()?;
    Ok(membership(group, user, joins, at))
}

//! Auth0 Event Streams: <https://auth0.com/docs/customize/events>.
//!
//! CloudEvents with the whole user; blocking a user is an update. A member of a group may be a
//! connection as well as a user, and then stands for people whom the event does not name. Any 4xx
//! makes Auth0 give an event up at once, and a stream that fails long enough is switched off.

use http::StatusCode;
use http::header::AUTHORIZATION;

use super::Preset;
use super::draft::{Draft, group_deletion, membership, user_deletion};
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{Change, ResourceKey};
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::shared::Place;
use crate::source::{Manners, Reading};

/// `kind = "auth0"`.
pub const PRESET: Preset = Preset {
    manners: Manners { limited: StatusCode::SERVICE_UNAVAILABLE, ..Manners::USUAL },
    ..Preset::new("auth0", |_| scheme(), read)
};

fn scheme() -> Scheme {
    Scheme::Shared(Place::Header { name: AUTHORIZATION, prefix: "Bearer ".to_owned() })
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let at = root.time("time")?;
    let object = root.get("data").and_then(|data| data.get("object"));
    let reading = match (root.text("type")?, object) {
        ("user.created" | "user.updated", Some(user)) => Reading::of(vec![upserted_user(&user, at)?]),
        ("user.deleted", Some(user)) => Reading::of(vec![user_deletion(user.need("user_id")?.id()?, at)]),
        ("group.created" | "group.updated", Some(group)) => Reading::of(vec![upserted_group(&group, at)?]),
        ("group.deleted", Some(group)) => Reading::of(vec![group_deletion(group.need("id")?.id()?, at)]),
        ("group.member.added", Some(pair)) => edge(&pair, true, at)?,
        ("group.member.deleted", Some(pair)) => edge(&pair, false, at)?,
        _ => Reading::nothing(),
    };
    Ok(reading.under(root.word("id")))
}

/// A user as an event or the management API tells it.
pub fn upserted_user(user: &View<'_>, at: Option<Timestamp>) -> Result<Change, Malformed> {
    let email = user.word("email");
    Draft::user()
        .key("userName", user.word("username").or(email))
        .email(email)
        .text("displayName", user, "name")
        .name("givenName", user, "given_name")
        .name("familyName", user, "family_name")
        // A user who was never blocked has no such member.
        .active(Some(user.flag("blocked") != Some(true)))
        .upsert(user.need("user_id")?.id()?, at)
}

/// A group as an event or the management API tells it.
pub fn upserted_group(group: &View<'_>, at: Option<Timestamp>) -> Result<Change, Malformed> {
    Draft::group().key("displayName", group.word("name")).upsert(group.need("id")?.id()?, at)
}

fn edge(pair: &View<'_>, joins: bool, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let group = pair.need("group")?.need("id")?.id()?;
    let member = pair.need("member")?;
    if member.word("member_type") != Some("user") {
        return Ok(Reading::needing(ResourceKey::group(group)));
    }
    Ok(Reading::of(vec![membership(group, member.need("id")?.id()?, joins, at)]))
}

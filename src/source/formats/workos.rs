//! WorkOS Directory Sync: <https://workos.com/docs/events/directory-sync>.
//!
//! Users and groups come whole, with the time of their last change; that time orders them, since
//! events come out of order and are repeated with the data of their first time. A deleted group sends
//! no removals of members. A deleted directory sends nothing of its users and groups, and names nobody:
//! everybody known by WorkOS's ids must be read then, and who is gone there ends here.

use std::time::Duration;

use super::Preset;
use super::draft::{Draft, group_deletion, membership, user_deletion};
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::Change;
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::Settings;
use crate::source::signature::time::{Format, Tolerance};

/// `kind = "workos"`.
pub const PRESET: Preset =
    Preset { repeats_for: Duration::from_hours(72), ..Preset::new("workos", |_| scheme(), read) };

/// `WorkOS-Signature: t=<ms>, v1=<hex>`; their libraries allow three minutes.
fn scheme() -> Scheme {
    let tolerance = Tolerance { past: 180, future: 180 };
    Scheme::Keyed(Settings::of_time_and_body("workos-signature", "v1", Format::UnixMillis, tolerance))
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    Ok(read_event(&root)?.under(root.word("id")))
}

/// One event, as a webhook or the list of events tells it.
pub fn read_event(root: &View<'_>) -> Result<Reading, Malformed> {
    let created_at = root.time("created_at")?;
    let data = root.get("data");
    Ok(match (root.text("event")?, data) {
        ("dsync.user.created" | "dsync.user.updated", Some(user)) => Reading::of(vec![upserted_user(&user)?]),
        ("dsync.user.deleted", Some(user)) => {
            Reading::of(vec![user_deletion(user.need("id")?.id()?, created_at)])
        }
        ("dsync.group.created" | "dsync.group.updated", Some(group)) => {
            Reading::of(vec![upserted_group(&group)?])
        }
        ("dsync.group.deleted", Some(group)) => {
            Reading::of(vec![group_deletion(group.need("id")?.id()?, created_at)])
        }
        ("dsync.group.user_added", Some(pair)) => Reading::of(vec![edge(&pair, true, created_at)?]),
        ("dsync.group.user_removed", Some(pair)) => Reading::of(vec![edge(&pair, false, created_at)?]),
        ("dsync.deleted", _) => Reading { everyone_needs_read: true, ..Reading::default() },
        _ => Reading::nothing(),
    })
}

/// A user as an event or the API tells it.
pub fn upserted_user(user: &View<'_>) -> Result<Change, Malformed> {
    let custom = user.get("custom_attributes");
    let custom = custom.as_ref().unwrap_or(user);
    let email = user.word("email").or_else(|| primary_email(user));
    let login = user.word("username").or_else(|| custom.word("username")).or(email);
    let state = user.word("state").map(|state| state == "active");
    Draft::user()
        .key("userName", login)
        .email(email)
        .name("givenName", user, "first_name")
        .name("familyName", user, "last_name")
        .active(state)
        .text("title", custom, "job_title")
        .text("department", custom, "department_name")
        .text("division", custom, "division_name")
        .text("costCenter", custom, "cost_center_name")
        .upsert(user.need("id")?.id()?, user.time("updated_at")?)
}

/// Older accounts send a list of addresses.
fn primary_email<'a>(user: &View<'a>) -> Option<&'a str> {
    let emails = user.get("emails")?;
    let primary = emails.items().ok()?.find(|email| email.flag("primary") == Some(true))?;
    primary.word("value")
}

/// A group as an event or the API tells it.
pub fn upserted_group(group: &View<'_>) -> Result<Change, Malformed> {
    Draft::group()
        .key("displayName", group.word("name"))
        .upsert(group.need("id")?.id()?, group.time("updated_at")?)
}

fn edge(pair: &View<'_>, joins: bool, at: Option<Timestamp>) -> Result<Change, Malformed> {
    let user = pair.need("user")?.need("id")?.id()?;
    let group = pair.need("group")?.need("id")?.id()?;
    Ok(membership(group, user, joins, at))
}

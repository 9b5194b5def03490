//! Logto: <https://docs.logto.io/developers/webhooks>. Organisations are the groups.
//!
//! Logto sends each event once and never again, whatever the answer: events that are lost on the way
//! stay lost. The signature covers the body alone; an old body that is sent again loses by its
//! `createdAt`.

use super::Preset;
use super::draft::{Draft, group_deletion, memberships, user_deletion};
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{Change, ResourceKey};
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::Settings;

/// Most users that Logto names in one event; a list of that length may have been cut.
const NAMED_MAX: usize = 5000;

/// `kind = "logto"`.
pub const PRESET: Preset =
    Preset::new("logto", |_| Scheme::Keyed(Settings::of_body("logto-signature-sha-256")), read);

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let at = root.time("createdAt")?;
    let data = root.get("data");
    let named = root.get("params").and_then(|parameters| parameters.get("userId").or(parameters.get("id")));
    Ok(match (root.text("event")?, data, named) {
        ("User.Created" | "User.Data.Updated" | "User.SuspensionStatus.Updated", Some(user), _) => {
            Reading::of(vec![upserted_user(&user, at)?])
        }
        ("User.Deleted", _, Some(id)) => Reading::of(vec![user_deletion(id.id()?, at)]),
        ("Organization.Created" | "Organization.Data.Updated", Some(group), _) => {
            let draft = Draft::group().key("displayName", group.word("name"));
            Reading::of(vec![draft.upsert(group.need("id")?.id()?, at)?])
        }
        ("Organization.Deleted", _, Some(id)) => Reading::of(vec![group_deletion(id.id()?, at)]),
        ("Organization.Membership.Updated", _, named) => edges(&root, named, at)?,
        _ => Reading::nothing(),
    })
}

fn upserted_user(user: &View<'_>, at: Option<Timestamp>) -> Result<Change, Malformed> {
    let email = user.word("primaryEmail");
    let profile = user.get("profile");
    let profile = profile.as_ref().unwrap_or(user);
    Draft::user()
        .key("userName", user.word("username").or(email))
        .email(email)
        .text("displayName", user, "name")
        .name("givenName", profile, "givenName")
        .name("familyName", profile, "familyName")
        .active(user.flag("isSuspended").map(|suspended| !suspended))
        .upsert(user.need("id")?.id()?, at)
}

/// Older versions name nobody, and long lists are cut: then the organisation must be asked for.
fn edges(root: &View<'_>, named: Option<View<'_>>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let group = match root.get("organizationId").or(named) {
        Some(id) => id.id()?,
        None => return Err(root.wrong("neither organizationId nor params/id is there")),
    };
    let (add, remove) = (root.ids("addedUserIds")?, root.ids("removedUserIds")?);
    let key = ResourceKey::group(group.clone());
    if add.is_empty() && remove.is_empty() {
        return Ok(Reading::needing(key));
    }
    let cut = add.len() >= NAMED_MAX || remove.len() >= NAMED_MAX;
    let reading = Reading::of(vec![memberships(group, add, remove, at)]);
    Ok(if cut { reading.and_needing(key) } else { reading })
}

//! Ory Polis, once BoxyHQ Jackson: <https://www.ory.com/docs/polis/directory-sync/webhooks>.
//!
//! Polis passes on what a SCIM client told it, with that client's resource as `raw`. Bodies have
//! neither id nor time, so what arrives last counts; the time of signing, which repetitions keep,
//! tells events apart. In batch mode a body is a list of events, and any answer but exactly 200 makes
//! Polis send the batch again for ever.

use http::StatusCode;
use serde_json::{Map, Value};

use super::Preset;
use super::draft::{Draft, group_deletion, membership, user_deletion};
use super::view::View;
use crate::directory::Change;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::Settings;
use crate::source::signature::time::{Format, Tolerance};
use crate::source::{Manners, Reading};

const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// `kind = "polis"`.
pub const PRESET: Preset = Preset {
    manners: Manners { accepted: StatusCode::OK, ..Manners::USUAL },
    ..Preset::new("polis", |_| scheme(), read)
};

/// `BoxyHQ-Signature` or `Ory-Polis-Signature`: `t=<ms>,s=<hex>`, each with a time of its own.
fn scheme() -> Scheme {
    let settings = Settings::of_time_and_body("boxyhq-signature", "s", Format::UnixMillis, Tolerance::USUAL);
    Scheme::Keyed(settings.or_header("ory-polis-signature"))
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    if root.value().is_array() {
        root.items()?.try_fold(Reading::default(), |read, event| Ok(read.and(read_event(&event)?)))
    } else {
        read_event(&root)
    }
}

fn read_event(event: &View<'_>) -> Result<Reading, Malformed> {
    let data = event.get("data");
    Ok(match (event.text("event")?, data) {
        ("user.created" | "user.updated", Some(user)) => Reading::of(vec![upserted_user(&user)?]),
        ("user.deleted", Some(user)) => Reading::of(vec![user_deletion(user.need("id")?.id()?, None)]),
        ("group.created" | "group.updated", Some(group)) => Reading::of(vec![upserted_group(&group)?]),
        ("group.deleted", Some(group)) => Reading::of(vec![group_deletion(group.need("id")?.id()?, None)]),
        ("group.user_added", Some(user)) => Reading::of(vec![edge(&user, true)?]),
        ("group.user_removed", Some(user)) => Reading::of(vec![edge(&user, false)?]),
        _ => Reading::nothing(),
    })
}

/// What Polis says in its own words goes over what the client said.
fn upserted_user(user: &View<'_>) -> Result<Change, Malformed> {
    let resource = user.get("raw").and_then(|raw| raw.object().map(without_manager));
    let email = user.word("email");
    let mut draft = Draft::user().key("userName", email).email(email);
    if let Some(resource) = &resource {
        draft = draft.scim(resource);
    }
    draft
        .name("givenName", user, "first_name")
        .name("familyName", user, "last_name")
        .active(user.flag("active"))
        .upsert(user.need("id")?.id()?, None)
}

/// The client names a manager by an id of its own, which is none of those that Polis gives.
fn without_manager(resource: &Map<String, Value>) -> Map<String, Value> {
    let mut resource = resource.clone();
    if let Some(Value::Object(extension)) = resource.get_mut(ENTERPRISE_USER) {
        extension.remove("manager");
    }
    resource.remove("manager");
    resource
}

fn upserted_group(group: &View<'_>) -> Result<Change, Malformed> {
    Draft::group().key("displayName", group.word("name")).upsert(group.need("id")?.id()?, None)
}

fn edge(user: &View<'_>, joins: bool) -> Result<Change, Malformed> {
    let group = user.need("group")?.need("id")?.id()?;
    Ok(membership(group, user.need("id")?.id()?, joins, None))
}

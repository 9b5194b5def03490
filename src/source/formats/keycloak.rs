//! Keycloak with the extension `keycloak-events` of Phase Two:
//! <https://github.com/p2-inc/keycloak-events>. Keycloak itself sends no webhooks.
//!
//! Admin events bear the representation that an administrator sent, as a text of JSON; `resourcePath`
//! says what it is about. What people do themselves (`access.…`) names the user and little more. A keyed
//! hash covers the body alone: an old body that is sent again loses by its `time`. A realm's token ends.
//!
//! The extension repeats for a quarter of an hour what was answered with an error, and not at all what nobody
//! answered: while no relay listens and nothing stands in front of it, events are lost.

use serde_json::Value;

use super::Preset;
use super::draft::{Draft, group_deletion, membership, user_deletion};
use super::issued::{TokenPlace, Tokens};
use super::preset::Options;
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{ExternalId, ResourceKey};
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::keyed::{Algorithm, Settings};

/// `kind = "keycloak"`.
pub const PRESET: Preset =
    Preset { options: &[Options::ALGORITHM], tokens: Some(&TOKENS), ..Preset::new("keycloak", scheme, read) };

/// `authType` of the webhook: with `bearer`, a token of the realm's key that names the body's hash.
const TOKENS: Tokens = Tokens {
    key: "auth_type",
    shared: "hmac",
    signed: "bearer",
    encrypted: None,
    place: TokenPlace::Beside { digest: "request_body_sha256" },
};

fn scheme(options: &Options) -> Scheme {
    let algorithm = options.algorithm.unwrap_or(Algorithm::Sha256);
    Scheme::Keyed(Settings { algorithm, ..Settings::of_body("x-keycloak-signature") })
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let at = root.time("time")?;
    let reading = match root.text("type")?.split_once('.') {
        Some(("admin", kind)) => read_admin(kind, &root, at)?,
        Some(("access", kind)) => read_access(kind, &root, at)?,
        Some(_) | None => Reading::nothing(),
    };
    // `uid` is another each time that a stored event is sent; `id` stays.
    Ok(reading.under(root.word("id").or(root.word("uid"))))
}

fn read_admin(kind: &str, root: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let path: Vec<&str> = root.word("resourcePath").unwrap_or_default().split('/').collect();
    let id = |text: &str| {
        ExternalId::parse(text).map_err(|error| Malformed::new("/resourcePath", error.to_string()))
    };
    let record = representation(root)?;
    let record = record.as_ref().map(|record| root.in_place(record));
    Ok(match (kind, path.as_slice(), record) {
        ("USER-CREATE" | "USER-UPDATE", ["users", user], Some(record)) => {
            user_upserted(&record, id(user)?, at)?
        }
        ("USER-CREATE" | "USER-UPDATE", ["users", user], None) => {
            Reading::needing(ResourceKey::user(id(user)?))
        }
        ("USER-DELETE", ["users", user], _) => Reading::of(vec![user_deletion(id(user)?, at)]),
        ("GROUP-CREATE" | "GROUP-UPDATE", ["groups", group], Some(record)) => {
            group_upserted(&record, id(group)?, at)?
        }
        // A subgroup is made below its parent, and only its record says which it is.
        ("GROUP-CREATE", ["groups", _, "children"], Some(record)) => {
            group_upserted(&record, record.need("id")?.id()?, at)?
        }
        ("GROUP-CREATE" | "GROUP-UPDATE", ["groups", group], None) => {
            Reading::needing(ResourceKey::group(id(group)?))
        }
        ("GROUP-DELETE", ["groups", group], _) => Reading::of(vec![group_deletion(id(group)?, at)]),
        ("GROUP_MEMBERSHIP-CREATE", ["users", user, "groups", group], _) => {
            Reading::of(vec![membership(id(group)?, id(user)?, true, at)])
        }
        ("GROUP_MEMBERSHIP-DELETE", ["users", user, "groups", group], _) => {
            Reading::of(vec![membership(id(group)?, id(user)?, false, at)])
        }
        _ => Reading::nothing(),
    })
}

fn read_access(kind: &str, root: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let Some(user) = root.get("authDetails").and_then(|details| details.get("userId")) else {
        return Ok(Reading::nothing());
    };
    read_access_of(kind, &user, at)
}

fn read_access_of(kind: &str, user: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    Ok(match kind {
        "DELETE_ACCOUNT" => Reading::of(vec![user_deletion(user.id()?, at)]),
        "REGISTER" | "UPDATE_PROFILE" | "UPDATE_EMAIL" => Reading::needing(ResourceKey::user(user.id()?)),
        _ => Reading::nothing(),
    })
}

/// An admin event of Keycloak's own record, which has the same members under other names than a webhook's
/// type. One with an error says what was refused.
pub fn read_admin_event(event: &View<'_>) -> Result<Reading, Malformed> {
    let kind = event.word("resourceType").zip(event.word("operationType"));
    match kind.filter(|_| event.get("error").is_none()) {
        Some((resource, operation)) => {
            read_admin(&format!("{resource}-{operation}"), event, event.time("time")?)
        }
        None => Ok(Reading::nothing()),
    }
}

/// An event of Keycloak's own record of what people did themselves.
pub fn read_user_event(event: &View<'_>) -> Result<Reading, Malformed> {
    match event.get("userId").filter(|_| event.get("error").is_none()) {
        Some(user) => read_access_of(event.text("type")?, &user, event.time("time")?),
        None => Ok(Reading::nothing()),
    }
}

/// A user's representation.
pub fn user_upserted(record: &View<'_>, id: ExternalId, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let change = Draft::user()
        .key("userName", record.word("username"))
        .email(record.word("email"))
        .name("givenName", record, "firstName")
        .name("familyName", record, "lastName")
        .active(record.flag("enabled"))
        .upsert(id, at)?;
    Ok(Reading::of(vec![change]))
}

/// A group's representation.
pub fn group_upserted(
    record: &View<'_>,
    id: ExternalId,
    at: Option<Timestamp>,
) -> Result<Reading, Malformed> {
    Ok(Reading::of(vec![Draft::group().key("displayName", record.word("name")).upsert(id, at)?]))
}

/// The record: a text of JSON, or the JSON itself; `None` where there is none.
fn representation(root: &View<'_>) -> Result<Option<Value>, Malformed> {
    let Some(view) = root.get("representation") else { return Ok(None) };
    let record = match view.value().as_str() {
        Some(text) => json::parse(text.as_bytes()).map_err(|error| view.wrong(error.to_string()))?,
        None => view.value().clone(),
    };
    Ok(Some(record).filter(Value::is_object))
}

//! Okta event hooks: <https://developer.okta.com/docs/concepts/event-hooks/>.
//!
//! A hook is first asked by a GET to repeat a header's value. Events name people and groups without
//! their profiles: what the event itself proves is taken, for the rest the record must be read. Okta
//! waits three seconds, tries once more after a 5xx, and gives up at any 4xx.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, Method, Request, Response, StatusCode};
use serde_json::json;

use super::Preset;
use super::draft::{Draft, deactivation, group_deletion, membership, user_deletion};
use super::preset::Options;
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{Change, ResourceKey};
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::shared::Place;
use crate::source::{Manners, Reading};

const CHALLENGE: HeaderName = HeaderName::from_static("x-okta-verification-challenge");
const CHALLENGE_BYTES_MAX: usize = 1024;

/// `kind = "okta"`.
pub const PRESET: Preset = Preset {
    handshake,
    manners: Manners { limited: StatusCode::SERVICE_UNAVAILABLE, ..Manners::USUAL },
    options: &[Options::HEADER],
    ..Preset::new("okta", scheme, read)
};

/// The header and its value are whatever the administrator wrote into the hook.
fn scheme(options: &Options) -> Scheme {
    let name = options.header.clone().unwrap_or(AUTHORIZATION);
    Scheme::Shared(Place::Header { name, prefix: String::new() })
}

fn handshake(request: &Request<()>) -> Option<Response<String>> {
    if request.method() != Method::GET {
        return None;
    }
    let challenge = request.headers().get(CHALLENGE)?.to_str().ok()?;
    if challenge.len() > CHALLENGE_BYTES_MAX {
        return None;
    }
    let answer = json!({"verification": challenge}).to_string();
    Response::builder().header(CONTENT_TYPE, "application/json").body(answer).ok()
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let root = View::root(&body);
    let events: Vec<View<'_>> = root.need("data")?.need("events")?.items()?.collect();
    let reading =
        events.iter().try_fold(Reading::default(), |read, event| Ok(read.and(read_event(event)?)))?;
    // Okta may put an event into another batch when it tries again.
    let id = match events.as_slice() {
        [only] => only.word("uuid"),
        _ => root.word("eventId"),
    };
    Ok(reading.under(id))
}

/// One event, as a hook or the System Log tells it.
pub fn read_event(event: &View<'_>) -> Result<Reading, Malformed> {
    let outcome = event.get("outcome").and_then(|outcome| outcome.word("result").map(str::to_owned));
    if outcome.is_some_and(|outcome| outcome != "SUCCESS") {
        return Ok(Reading::nothing());
    }
    let at = event.time("published")?;
    let kind = event.text("eventType")?;
    let (user, group) = (target(event, "User")?, target(event, "UserGroup")?);
    match (user, group) {
        (Some(user), Some(group)) => read_membership(kind, &user, &group, at),
        (Some(user), None) => read_user(kind, &user, at),
        (None, Some(group)) => read_group(kind, &group, at),
        (None, None) => Ok(Reading::nothing()),
    }
}

/// The one target of that type.
fn target<'a>(event: &View<'a>, kind: &str) -> Result<Option<View<'a>>, Malformed> {
    let Some(targets) = event.get("target") else { return Ok(None) };
    let mut of_kind = targets.items()?.filter(|target| target.word("type") == Some(kind));
    let first = of_kind.next();
    if of_kind.next().is_some() {
        return Err(targets.wrong(format!("names more than one {kind}")));
    }
    Ok(first)
}

fn read_membership(
    kind: &str,
    user: &View<'_>,
    group: &View<'_>,
    at: Option<Timestamp>,
) -> Result<Reading, Malformed> {
    let joins = match kind {
        "group.user_membership.add" => true,
        "group.user_membership.remove" => false,
        _ => return Ok(Reading::nothing()),
    };
    Ok(Reading::of(vec![membership(group.need("id")?.id()?, user.need("id")?.id()?, joins, at)]))
}

fn read_user(kind: &str, user: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let id = user.need("id")?.id()?;
    let record = ResourceKey::user(id.clone());
    Ok(match kind {
        // Somebody new may be staged, and a profile may be that of somebody who left: an upsert that
        // cannot say so might open an account.
        "user.lifecycle.create" | "user.account.update_profile" => Reading::needing(record),
        "user.lifecycle.activate" | "user.lifecycle.reactivate" | "user.lifecycle.unsuspend" => {
            Reading::of(vec![activated(user, at)?]).and_needing(record)
        }
        "user.lifecycle.deactivate" | "user.lifecycle.suspend" => Reading::of(vec![deactivation(id, at)]),
        "user.lifecycle.delete.initiated" => Reading::of(vec![user_deletion(id, at)]),
        _ => Reading::nothing(),
    })
}

fn read_group(kind: &str, group: &View<'_>, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let id = group.need("id")?.id()?;
    Ok(match kind {
        "group.lifecycle.create" | "group.profile.update" | "system.import.group.create" => {
            let draft = Draft::group().key("displayName", group.word("displayName"));
            Reading::of(vec![draft.upsert(id, at)?])
        }
        "group.lifecycle.delete" | "system.import.group.delete" => Reading::of(vec![group_deletion(id, at)]),
        _ => Reading::nothing(),
    })
}

/// Somebody who may sign in, with the login and the name that a target bears.
fn activated(user: &View<'_>, at: Option<Timestamp>) -> Result<Change, Malformed> {
    let login = user.word("alternateId").filter(|login| *login != "unknown");
    Draft::user()
        .key("userName", login)
        .key("displayName", user.word("displayName"))
        .active(Some(true))
        .upsert(user.need("id")?.id()?, at)
}

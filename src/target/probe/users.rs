//! What a vendor does with users.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::ProbeError;
use super::session::{Session, id_of, json, said};
use crate::scim::patch::{PatchOp, PatchRequest};
use crate::scim::{etag::ETag, resource, schema};
use crate::target::call::Answer;
use crate::target::requests::{self, Kind};

/// How long a new user may take to be found.
const VISIBLE_MAX: Duration = Duration::from_secs(30);
/// More than any page holds.
const PAGE_ASKED: u32 = 1_000;

/// A user of the probe's.
pub(super) struct User {
    pub(super) id: String,
    name: String,
    external_id: String,
}

/// Creates two users; without them there is nothing to probe.
pub(super) async fn create(session: &mut Session) -> Result<[User; 2], ProbeError> {
    let one = create_one(session, "one").await?;
    let two = create_one(session, "two").await?;
    session.findings.found("users can be created", "yes", vec![("users.create", true.into())]);
    let (_, body) = session.fetch("read a user", (Kind::User, &one.id)).await?;
    let active = match resource::get(&body, "active") {
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::String(_)) => "a string",
        Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) => "something else",
        None => "not returned",
    };
    session.findings.know("`active` is answered as", active);
    Ok([one, two])
}

async fn create_one(session: &mut Session, which: &str) -> Result<User, ProbeError> {
    let doing = "create a user";
    let external_id = format!("{}-{which}", session.unique);
    let name = format!("{external_id}@example.com");
    let body = json!({
        "schemas": [schema::USER],
        "userName": name,
        "externalId": external_id,
        "displayName": external_id,
        "name": {"givenName": "Scim-Relay", "familyName": "Probe", "formatted": "Scim-Relay Probe"},
        "emails": [{"value": name, "type": "work", "primary": true}],
        "active": true
    });
    let answer = session.create(doing, Kind::User, &name, &body).await?;
    let id = id_of(&answer).filter(|_| answer.status.is_success());
    let id = id.ok_or(ProbeError::Refused { doing, status: answer.status.as_u16() })?;
    Ok(User { id, name, external_id })
}

/// Which attributes find a user, and how soon.
pub(super) async fn filters(session: &mut Session, user: &User) -> Result<(), ProbeError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(100);
    let mut by_name = finds(session, user, &[("userName", &user.name)]).await?;
    while by_name != Found::It && begun.elapsed() < VISIBLE_MAX && by_name == Found::Nothing {
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
        by_name = finds(session, user, &[("userName", &user.name)]).await?;
    }
    if by_name == Found::It {
        let after = begun.elapsed().as_millis();
        session.findings.know("a new user is found after", format!("{after} ms"));
    }
    let by_id = finds(session, user, &[("externalId", &user.external_id)]).await?;
    let display = finds(session, user, &[("displayName", &user.external_id)]).await?;
    let known: Vec<&str> = [("userName", by_name), ("externalId", by_id), ("displayName", display)]
        .into_iter()
        .filter_map(|(attribute, found)| (found == Found::It).then_some(attribute))
        .collect();
    let answer = if known.is_empty() { "none of those tried".to_owned() } else { known.join(", ") };
    // A profile must let users be matched by something, and an empty list would mean any attribute.
    let listed = known.contains(&session.base.users.match_attribute.as_str());
    let values = if listed { vec![("filter.attributes", toml_list(&known))] } else { Vec::new() };
    session.findings.found("users are found by", answer, values);
    if by_name == Found::It && by_id == Found::It {
        let both = [("userName", user.name.as_str()), ("externalId", user.external_id.as_str())];
        let or = finds(session, user, &both).await? == Found::It;
        session.findings.found("filters may hold `or`", yes(or), vec![("filter.or", or.into())]);
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    It,
    Nothing,
    /// An error, or everybody.
    Nonsense,
}

async fn finds(session: &mut Session, user: &User, values: &[(&str, &str)]) -> Result<Found, ProbeError> {
    let Some(lookup) = requests::lookup(&session.profile, Kind::User, values) else {
        return Ok(Found::Nonsense);
    };
    let page = session.list("look up a user", lookup).await?;
    let Some(page) = page else { return Ok(Found::Nonsense) };
    let ids: Vec<_> = page.resources.iter().filter_map(resource::id).collect();
    Ok(match ids.as_slice() {
        [] => Found::Nothing,
        [only] if *only == user.id => Found::It,
        [_, ..] => Found::Nonsense,
    })
}

/// Whether there is PATCH, what it answers, and whether its paths may hold filters.
pub(super) async fn patches(session: &mut Session, user: &User) -> Result<(), ProbeError> {
    let answer = retitle(session, user, "one", None).await?;
    let there = !matches!(answer.status.as_u16(), 404 | 405 | 501);
    session.findings.found("PATCH is supported", yes(there), vec![("patch.supported", there.into())]);
    session.findings.know("PATCH answers", said(&answer));
    if !answer.status.is_success() {
        return Ok(());
    }
    let mail = format!("{}-new@example.com", session.unique);
    let path = "emails[type eq \"work\"].value";
    let request = PatchRequest { operations: vec![PatchOp::replace(path, json!(mail))] };
    let answer = session.patch("change a mail address", (Kind::User, &user.id), &request).await?;
    let (_, body) = session.fetch("read a user", (Kind::User, &user.id)).await?;
    let changed = answer.status.is_success() && body.to_string().contains(&mail);
    // Whether `members[…]` works is found out with a group.
    let form = if changed { "full" } else { "members" };
    let text = if changed { "yes".to_owned() } else { format!("no: {}", said(&answer)) };
    session.findings.found(
        "paths on users may hold filters",
        text,
        vec![("patch.path_filters", form.into())],
    );
    Ok(())
}

/// What a stale `If-Match` gets.
pub(super) async fn versions(session: &mut Session, user: &User) -> Result<(), ProbeError> {
    let question = "a stale If-Match gets";
    let (answer, body) = session.fetch("read a user", (Kind::User, &user.id)).await?;
    let Some(version) = answer.etag.or_else(|| resource::version(&body)) else {
        session.findings.found(question, "there are no versions", vec![("etag.trust", "ignored".into())]);
        return Ok(());
    };
    let changed = retitle(session, user, "two", None).await?;
    let stale = retitle(session, user, "three", Some(&version)).await?;
    if !changed.status.is_success() {
        session.findings.know(question, "could not be told: the user cannot be changed");
        return Ok(());
    }
    if stale.status.is_success() {
        session.findings.found(question, "no notice", vec![("etag.trust", "ignored".into())]);
        return Ok(());
    }
    let mut values = vec![("etag.trust", "enforced".into())];
    let status = stale.status.as_u16();
    if !matches!(status, 409 | 412) {
        let mut dialect =
            toml::Table::from_iter([("status".to_owned(), toml::Value::from(i64::from(status)))]);
        if let Some(scim_type) = resource::get(&json(&stale), "scimType").and_then(Value::as_str) {
            dialect.insert("scim_type".to_owned(), scim_type.into());
        }
        values.push(("etag.stale", toml::Value::Array(vec![dialect.into()])));
    }
    session.findings.found(question, said(&stale), values);
    Ok(())
}

async fn retitle(
    session: &mut Session,
    user: &User,
    title: &str,
    version: Option<&ETag>,
) -> Result<Answer, ProbeError> {
    let doing = "change a user";
    let request = PatchRequest { operations: vec![PatchOp::replace("title", json!(title))] };
    match requests::patch(&session.profile, Kind::User, &user.id, &request, version) {
        Ok(call) => session.send(doing, call).await,
        Err(_) => Err(ProbeError::Refused { doing, status: 0 }),
    }
}

/// How large a page is, where there are users enough to tell.
pub(super) async fn pages(session: &mut Session) -> Result<(), ProbeError> {
    let path = session.base.http.users_path.clone();
    let largest =
        page_size(session, format!("{path}?startIndex=1&count={PAGE_ASKED}&attributes=userName")).await?;
    let usual = page_size(session, format!("{path}?startIndex=1&attributes=userName")).await?;
    let mut values = Vec::new();
    let told = |size: Option<u32>| {
        size.map_or_else(|| "not told: too few users".to_owned(), |size| size.to_string())
    };
    if let Some(size) = largest {
        values.push(("list.max_count", i64::from(size).into()));
        let page = usual.unwrap_or(size).min(size);
        values.push(("list.default_count", i64::from(page).into()));
    }
    session.findings.found("the largest page holds", told(largest), values);
    session.findings.know("a page that nobody sizes holds", told(usual));
    Ok(())
}

/// The resources on a page that is full.
async fn page_size(session: &mut Session, path: String) -> Result<Option<u32>, ProbeError> {
    let page = session.list("list users", requests::describe(path, Kind::User.collection())).await?;
    let Some(page) = page else { return Ok(None) };
    let size = page.resources.len();
    let full = size > 0 && page.total_results.is_some_and(|total| total > size as u64);
    Ok(u32::try_from(size).ok().filter(|_| full))
}

/// Whether `active: false` takes.
pub(super) async fn deactivate(session: &mut Session, user: &User) -> Result<(), ProbeError> {
    let request = PatchRequest { operations: vec![PatchOp::replace("active", json!(false))] };
    let answer = session.patch("deactivate a user", (Kind::User, &user.id), &request).await?;
    let (read, body) = session.fetch("read a user", (Kind::User, &user.id)).await?;
    let text = if !answer.status.is_success() {
        format!("refused: {}", said(&answer))
    } else if read.status.is_success() {
        if is_inactive(&body) { "deactivates".to_owned() } else { "no notice".to_owned() }
    } else {
        format!("ends the account: reading it is answered {}", said(&read))
    };
    session.findings.know("`active: false` on a user", text);
    Ok(())
}

/// What DELETE does.
pub(super) async fn delete(session: &mut Session, user: &User) -> Result<(), ProbeError> {
    let question = "DELETE of a user";
    let status = session.delete("delete a user", (Kind::User, &user.id)).await?;
    if !status.is_success() {
        let text = format!("is refused: {}", status.as_u16());
        session.findings.found(question, text, vec![("delete.mode", "unsupported".into())]);
        return Ok(());
    }
    let (read, body) = session.fetch("read a deleted user", (Kind::User, &user.id)).await?;
    let (text, mode) = match read.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            session.is_gone(&user.id);
            ("removes it", "hard")
        }
        status if status.is_success() && is_inactive(&body) => ("deactivates it", "deactivate"),
        _ => {
            session
                .findings
                .know(question, format!("could not be told: then reading is answered {}", said(&read)));
            return Ok(());
        }
    };
    session.findings.found(question, text, vec![("delete.mode", mode.into())]);
    Ok(())
}

fn is_inactive(user: &Value) -> bool {
    match resource::get(user, "active") {
        Some(Value::Bool(active)) => !active,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
        Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => false,
    }
}

pub(super) fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

fn toml_list(names: &[&str]) -> toml::Value {
    names.iter().map(|name| toml::Value::from(*name)).collect::<Vec<_>>().into()
}

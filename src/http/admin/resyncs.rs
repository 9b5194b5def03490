//! `/targets/{target}/resyncs` and `/resyncs/{id}`: asking for a resync, following it, ending it.

use axum::Extension;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::CommonProblems;
use super::auth::Actor;
use super::targets::control;
use crate::directory::ExternalId;
use crate::http::{Problem, Relay};
use crate::store::{NewResync, ResyncRecord};
use crate::sync::resync::{Mode, Progress, Scope, State as Standing};

/// Most resources that a scope names.
const SCOPE_MAX: usize = 1_000;
/// Resyncs in a list: more are not kept.
const LISTED_MAX: usize = 20;

/// What is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResyncRequest {
    /// `report` (the default) changes nothing; `apply` has what drifted put right by the normal way.
    #[schema(value_type = Option<String>, example = "report")]
    mode: Option<Mode>,
    /// `all` (the default), `{"users": [ids]}` or `{"groups": [ids]}`.
    #[schema(value_type = Option<Value>, example = "all")]
    scope: Option<WantedScope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum WantedScope {
    All,
    Users(Vec<ExternalId>),
    Groups(Vec<ExternalId>),
}

/// One resync.
#[derive(Serialize, ToSchema)]
pub struct ResyncView {
    /// Its name.
    pub id: String,
    /// The target.
    pub target: String,
    /// `report` or `apply`.
    #[schema(value_type = String)]
    pub mode: Mode,
    /// Who asked: an administrator's key, or `schedule`.
    pub by: String,
    /// When (RFC 3339).
    pub requested_at: String,
    /// `waiting`, `running`, `complete`, `incomplete` or `cancelled`.
    #[schema(value_type = String)]
    pub state: Standing,
    /// `phase`, how many resources were `read` at the vendor and `compared`, the `share` that is done, and
    /// `seconds_left` at the same pace (null before anything was read). A list that changed while it was read
    /// is read again from its beginning, up to three times in a resync: `read_again` says how often that was
    /// done, `read_in_vain` how many resources came that do not count any more.
    pub progress: Value,
    /// Why it is incomplete; empty otherwise.
    pub incomplete: Vec<String>,
    /// Findings by class (`drift`), and how often which of the `attributes` differs; against the resync before: how many are `new`, the `same` or `gone`; how many
    /// resources and memberships were `marked` as work.
    pub summary: Value,
}

/// Asks for a resync.
///
/// It begins within a second or so, reads whenever nothing else waits for the target, and is refused
/// while another one of the target is under way.
#[utoipa::path(
    post, path = "/targets/{target}/resyncs", tag = "admin", operation_id = "begin_resync",
    params(("target" = String, Path, description = "Name of the target in the configuration")),
    request_body(content = Option<ResyncRequest>),
    responses(
        (status = 202, description = "It will run; `Location` names it", body = ResyncView),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "Another resync of the target is under way", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn begin(
    State(relay): State<Relay>,
    Path(target): Path<String>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Response, Problem> {
    control(&relay, &target)?;
    let request = request(&body)?;
    let progress = Progress::new(request.0, request.1, actor.name.clone());
    let id = uuid::Uuid::now_v7().to_string();
    let at = relay.clock.now();
    let by = Some(actor.name.clone());
    let new = NewResync { id: id.clone(), target: target.clone(), at, by, body: json!(progress) };
    if !relay.store.resyncs().begin_resync(&new).await? {
        let detail = "another resync of this target is under way; wait for it, or cancel it";
        return Err(Problem::new(StatusCode::CONFLICT).with_detail(detail));
    }
    tracing::info!(target_name = target, resync = id, by = actor.name, "asked for a resync");
    let location = HeaderValue::from_str(&format!("{}/resyncs/{id}", super::PATH));
    let location = location.expect("a path and a UUID are visible ASCII");
    let record = ResyncRecord { id, target, at, ended: false, cancelled: false, body: new.body };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view(&relay, record)?)).into_response())
}

/// A target's resyncs, newest first.
#[utoipa::path(
    get, path = "/targets/{target}/resyncs", tag = "admin", operation_id = "list_resyncs",
    params(("target" = String, Path, description = "Name of the target in the configuration")),
    responses(
        (status = 200, description = "Those that are kept", body = Vec<ResyncView>),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn list(
    State(relay): State<Relay>,
    Path(target): Path<String>,
) -> Result<Json<Vec<ResyncView>>, Problem> {
    control(&relay, &target)?;
    let records = relay.store.resyncs().resyncs(&target, LISTED_MAX).await?;
    Ok(Json(records.into_iter().map(|record| view(&relay, record)).collect::<Result<_, _>>()?))
}

/// One resync: how far it is, and what it has found so far.
#[utoipa::path(
    get, path = "/resyncs/{id}", tag = "admin", operation_id = "read_resync",
    params(("id" = String, Path, description = "As `Location` said")),
    responses(
        (status = 200, description = "The resync", body = ResyncView),
        (status = 404, description = "No such resync, or its report is not kept any more", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn read(State(relay): State<Relay>, Path(id): Path<String>) -> Result<Json<ResyncView>, Problem> {
    Ok(Json(view(&relay, record(&relay, &id).await?)?))
}

/// Ends a resync within a second or so. What it has marked as work stays so.
#[utoipa::path(
    delete, path = "/resyncs/{id}", tag = "admin", operation_id = "cancel_resync",
    params(("id" = String, Path, description = "As `Location` said")),
    responses(
        (status = 202, description = "It will end", body = ResyncView),
        (status = 404, description = "No such resync", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "It has ended", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn cancel(
    State(relay): State<Relay>,
    Path(id): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<(StatusCode, Json<ResyncView>), Problem> {
    let record = record(&relay, &id).await?;
    if !relay.store.resyncs().cancel_resync(&id, &actor.name, relay.clock.now()).await? {
        return Err(Problem::new(StatusCode::CONFLICT).with_detail("the resync has ended"));
    }
    tracing::info!(target_name = record.target, resync = id, by = actor.name, "cancelled a resync");
    Ok((StatusCode::ACCEPTED, Json(view(&relay, record)?)))
}

/// The stored resync of that name.
pub(super) async fn record(relay: &Relay, id: &str) -> Result<ResyncRecord, Problem> {
    let found = relay.store.resyncs().resync(id).await?;
    found.ok_or_else(|| Problem::not_found("there is no resync of this name"))
}

/// As it is shown.
pub(super) fn view(relay: &Relay, record: ResyncRecord) -> Result<ResyncView, Problem> {
    let progress = Progress::read(&record.body).ok_or_else(unreadable)?;
    let (share, seconds_left) = progress.estimate(relay.clock.now());
    Ok(ResyncView {
        id: record.id,
        target: record.target,
        mode: progress.mode,
        by: progress.by.clone(),
        requested_at: record.at.to_string(),
        state: progress.state,
        progress: json!({
            "phase": progress.phase, "read": progress.read, "compared": progress.compared,
            "read_again": progress.read_again, "read_in_vain": progress.read_in_vain,
            "share": share, "seconds_left": seconds_left,
            "started_at": progress.started_at.map(|at| at.to_string()),
            "ended_at": progress.ended_at.map(|at| at.to_string()),
        }),
        incomplete: progress.why_incomplete(),
        summary: json!({
            "findings": progress.findings(), "drift": progress.drift,
            "attributes": progress.attributes, "new": progress.new,
            "same": progress.same, "gone": progress.gone, "marked": progress.marked,
        }),
    })
}

fn unreadable() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).with_detail("the stored resync cannot be read")
}

fn request(body: &[u8]) -> Result<(Mode, Scope), Problem> {
    let request: ResyncRequest = match body {
        [] => ResyncRequest { mode: None, scope: None },
        body => serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(format!("the body is no request for a resync: {error}")))?,
    };
    let scope = match request.scope {
        None | Some(WantedScope::All) => Scope::All,
        Some(WantedScope::Users(ids)) => Scope::Users(ids),
        Some(WantedScope::Groups(ids)) => Scope::Groups(ids),
    };
    match &scope {
        Scope::Users(ids) | Scope::Groups(ids) if ids.is_empty() || ids.len() > SCOPE_MAX => {
            Err(Problem::bad_request(format!("scope: 1 to {SCOPE_MAX} ids are expected")))
        }
        Scope::All | Scope::Users(_) | Scope::Groups(_) => Ok((request.mode.unwrap_or(Mode::Report), scope)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_mode_and_scope_or_is_refused() {
        let users = Scope::Users(vec![ExternalId::parse("u-1").unwrap()]);
        for (body, expected) in [
            ("", Some((Mode::Report, Scope::All))),
            ("{}", Some((Mode::Report, Scope::All))),
            (r#"{"mode":"apply","scope":"all"}"#, Some((Mode::Apply, Scope::All))),
            (r#"{"scope":{"users":["u-1"]}}"#, Some((Mode::Report, users))),
            (r#"{"scope":{"users":[]}}"#, None),
            (r#"{"mode":"mend"}"#, None),
            (r#"{"scope":"users"}"#, None),
            (r#"{"moed":"apply"}"#, None),
            ("[]", None),
        ] {
            assert_eq!(request(body.as_bytes()).ok(), expected, "{body}");
        }
    }
}

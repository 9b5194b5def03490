//! `/targets`: how each target is, and stopping and resuming it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Actor;
use super::status::{TargetReport, report};
use super::{CommonProblems, Listing, PageQuery, Params};
use crate::http::targets::{TargetControl, TargetSnapshot};
use crate::http::{Problem, Relay};

/// One target.
#[derive(Serialize, ToSchema)]
pub struct TargetView {
    /// Its name in the configuration.
    #[schema(example = "genesys")]
    pub name: String,
    /// Its state and backlog.
    #[serde(flatten)]
    pub report: TargetReport,
    /// The replica that dispatches it; null where none does, or this one has not heard yet.
    #[schema(example = "relay-0/019a2c6e-5f0e-7c31-9c55-6f1d2a0b8e11")]
    pub holder: Option<String>,
    /// Whether that is the replica that answers. Only it knows what is in flight.
    pub held_here: bool,
    /// The limits in force.
    pub limits: Value,
    /// The circuit breaker.
    pub breaker: Value,
    /// Whether several operations go in one request: `state` is `on`, `off` or, before the vendor was asked,
    /// `unknown`; `reason` and `until` say why they are off and when they are tried again;
    /// `operations_max` and `bytes_max` are the limits in use, `learned_operations_max` what was learned
    /// from refusals.
    #[schema(example = json!({"state": "on", "reason": null, "until": null, "operations_max": 50,
        "bytes_max": 1_048_576, "learned_operations_max": 50}))]
    pub bulk: Value,
    /// What the vendor's server says that it can do (`discovered`, null before it was read), where that
    /// differs from its profile, and what the relay does then (`differences`).
    pub capabilities: Value,
}

/// Every target.
#[utoipa::path(
    get, path = "/targets", tag = "admin", operation_id = "list_targets", params(PageQuery),
    responses((status = 200, description = "One page of targets, by name", body = Listing<TargetView>), CommonProblems),
)]
pub async fn list(
    State(relay): State<Relay>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Listing<TargetView>>, Problem> {
    let mut reports = report(&relay).await?.targets;
    let after = page.cursor.as_deref().unwrap_or("");
    let limit = page.limit.get();
    let page = relay.targets.iter().filter(|(name, _)| name.as_str() > after).take(limit + 1);
    let mut items = Vec::new();
    for (name, control) in page {
        if let Some(report) = reports.remove(name) {
            items.push(view(name, control.snapshot().await?, report));
        }
    }
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|last| last.name.clone());
    Ok(Json(Listing { items, next_cursor }))
}

/// One target.
#[utoipa::path(
    get, path = "/targets/{target}", tag = "admin", operation_id = "read_target",
    params(("target" = String, Path, description = "Name of the target in the configuration")),
    responses(
        (status = 200, description = "The target", body = TargetView),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn read(
    State(relay): State<Relay>,
    Path(target): Path<String>,
) -> Result<Json<TargetView>, Problem> {
    let control = control(&relay, &target)?;
    present(&relay, &target, control.as_ref()).await
}

/// Stops sending to a target until it is resumed.
///
/// What is in flight ends as it does; work gathers, and survives restarts.
#[utoipa::path(
    post, path = "/targets/{target}/pause", tag = "admin", operation_id = "pause_target",
    params(("target" = String, Path, description = "Name of the target in the configuration")),
    responses(
        (status = 200, description = "It is paused", body = TargetView),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn pause(
    State(relay): State<Relay>,
    Path(target): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<TargetView>, Problem> {
    let control = control(&relay, &target)?;
    control.pause(&actor.name).await?;
    tracing::info!(target_name = target, by = actor.name, "paused a target");
    present(&relay, &target, control.as_ref()).await
}

/// Sends to a target again, after a pause or a suspension.
#[utoipa::path(
    post, path = "/targets/{target}/resume", tag = "admin", operation_id = "resume_target",
    params(("target" = String, Path, description = "Name of the target in the configuration")),
    responses(
        (status = 200, description = "It runs", body = TargetView),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn resume(
    State(relay): State<Relay>,
    Path(target): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<TargetView>, Problem> {
    let control = control(&relay, &target)?;
    control.resume(&actor.name).await?;
    tracing::info!(target_name = target, by = actor.name, "resumed a target");
    present(&relay, &target, control.as_ref()).await
}

/// Asks the vendor anew what its server says that it can do.
///
/// It is read as soon as the target may be called and has a quiet moment; `capabilities.read_at`
/// then moves. Only the replica that dispatches a target calls its vendor.
#[utoipa::path(
    post, path = "/targets/{target}/discover", tag = "admin", operation_id = "discover_target",
    params(("target" = String, Path, description = "Name of the target in the configuration")),
    responses(
        (status = 202, description = "It will be read; the target as it is now", body = TargetView),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "Another replica dispatches the target: ask that one",
         body = Problem, content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn discover(
    State(relay): State<Relay>,
    Path(target): Path<String>,
) -> Result<(StatusCode, Json<TargetView>), Problem> {
    let control = control(&relay, &target)?;
    // Nothing is begun that the answer could not be given for.
    let view = present(&relay, &target, control.as_ref()).await?;
    if control.discover() {
        Ok((StatusCode::ACCEPTED, view))
    } else {
        let holder = view.0.holder.unwrap_or_else(|| "none yet".to_owned());
        let detail = format!("this replica does not dispatch the target; the one that does: {holder}");
        Err(Problem::new(StatusCode::CONFLICT).with_detail(detail))
    }
}

/// The running target of that name.
pub fn control(relay: &Relay, target: &str) -> Result<Arc<dyn TargetControl>, Problem> {
    let found = relay.targets.get(target).cloned();
    found.ok_or_else(|| Problem::not_found("there is no target of this name"))
}

async fn present(
    relay: &Relay,
    target: &str,
    control: &dyn TargetControl,
) -> Result<Json<TargetView>, Problem> {
    let mut reports: BTreeMap<_, _> = report(relay).await?.targets;
    let report = reports.remove(target).expect("every running target is in the report");
    Ok(Json(view(target, control.snapshot().await?, report)))
}

fn view(name: &str, snapshot: TargetSnapshot, report: TargetReport) -> TargetView {
    TargetView {
        name: name.to_owned(),
        report,
        holder: snapshot.holder,
        held_here: snapshot.held,
        limits: snapshot.limits,
        breaker: snapshot.breaker,
        bulk: snapshot.bulk,
        capabilities: snapshot.capabilities,
    }
}

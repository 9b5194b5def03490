//! `/targets/{target}/users/{id}/sync` and the like of groups: done now, while the caller waits.
//!
//! The order goes by way of the store, so that it is done by whichever replica dispatches the target,
//! within the target's limits, and survives the caller.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::CommonProblems;
use super::auth::Actor;
use super::ledger::LedgerView;
use super::targets::control;
use super::timeline::{unknown, words};
use crate::directory::{DirectoryName, ExternalId, Kind, ResourceKey};
use crate::http::targets::TargetControl;
use crate::http::{Problem, Relay};
use crate::store::timeline::Standing;
use crate::store::{LedgerFilter, Present, TargetState};
use crate::sync::foresee::Foreseen;

/// Longest wait for the vendor; less than any caller of the admin API may wait.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How often the store is asked meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Steps that an answer tells; the ledger has the rest.
const STEPS_MAX: usize = 100;
/// Callers that wait at the same time.
static WAITING: Semaphore = Semaphore::const_new(32);

/// What is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncOrder {
    /// Tells what would be sent, and sends nothing; the vendor is not even read.
    #[serde(default)]
    pub dry_run: bool,
}

/// What became of it.
#[derive(Serialize, ToSchema)]
pub struct SyncView {
    /// `done`, `waiting`, `parked`, `held`, `failed` (it will be tried again), `pending` (still under way), or
    /// `planned` (a dry run: nothing was sent).
    #[schema(example = "done")]
    pub outcome: &'static str,
    /// The same in words.
    #[schema(example = "in place")]
    pub words: String,
    /// The generation in the directory; null where the directory knows the id alone.
    pub generation: Option<u64>,
    /// Whether it is to be there and, if a user, to have access.
    pub wanted: bool,
    /// The vendor's id, where it is linked.
    pub vendor_id: Option<String>,
    /// Each step since the order, oldest first, with the vendor's answer; 100 at most.
    pub steps: Vec<LedgerView>,
    /// Each step that would be taken; of a dry run alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlannedStep>>,
}

/// A call that would be made.
#[derive(Serialize, ToSchema)]
pub struct PlannedStep {
    /// As in the ledger.
    #[schema(example = "update")]
    pub operation: &'static str,
    /// The HTTP method and endpoint.
    #[schema(example = "PATCH Users/{id}")]
    pub call: String,
    /// Names of the attributes that differ and would be told; no value is among them.
    #[schema(example = json!(["title"]))]
    pub attributes: Vec<String>,
    /// Members who would join the group.
    pub joining: usize,
    /// Members who would leave it.
    pub leaving: usize,
    /// What it depends on.
    pub words: &'static str,
}

impl From<Foreseen> for PlannedStep {
    fn from(step: Foreseen) -> Self {
        let Foreseen { operation, call, attributes, joining, leaving, words } = step;
        Self { operation, call, attributes, joining, leaving, words }
    }
}

/// Makes one user at a target as the directory wants it, now.
///
/// It goes ahead of other work but never past the target's limits. The vendor is asked how the user is
/// before anything is concluded. Answers after 20 seconds at most.
#[utoipa::path(
    post, path = "/targets/{target}/users/{id}/sync", tag = "admin", operation_id = "sync_user",
    params(
        ("target" = String, Path, description = "Name of the target in the configuration"),
        ("id" = String, Path, description = "The source's id of the user, percent-encoded"),
    ),
    request_body(content = Option<SyncOrder>),
    responses(
        (status = 200, description = "It came to an end", body = SyncView),
        (status = 202, description = "It is still under way; the timeline will tell", body = SyncView),
        (status = 404, description = "No such target, or nothing is known of the user", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "The target is paused or suspended; `detail` says why", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn of_user(
    State(relay): State<Relay>,
    Path((target, id)): Path<(String, String)>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<(StatusCode, Json<SyncView>), Problem> {
    sync(&relay, &target, Kind::User, &id, &actor, &body).await
}

/// Makes one group at a target as the directory wants it, now.
#[utoipa::path(
    post, path = "/targets/{target}/groups/{id}/sync", tag = "admin", operation_id = "sync_group",
    params(
        ("target" = String, Path, description = "Name of the target in the configuration"),
        ("id" = String, Path, description = "The source's id of the group, percent-encoded"),
    ),
    request_body(content = Option<SyncOrder>),
    responses(
        (status = 200, description = "It came to an end", body = SyncView),
        (status = 202, description = "It is still under way; the timeline will tell", body = SyncView),
        (status = 404, description = "No such target, or nothing is known of the group", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "The target is paused or suspended; `detail` says why", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn of_group(
    State(relay): State<Relay>,
    Path((target, id)): Path<(String, String)>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<(StatusCode, Json<SyncView>), Problem> {
    sync(&relay, &target, Kind::Group, &id, &actor, &body).await
}

async fn sync(
    relay: &Relay,
    target: &str,
    kind: Kind,
    id: &str,
    actor: &Actor,
    body: &[u8],
) -> Result<(StatusCode, Json<SyncView>), Problem> {
    let control = control(relay, target)?;
    let order = order(body)?;
    let id = ExternalId::parse(id).map_err(|error| Problem::bad_request(format!("id: {error}")))?;
    let key = ResourceKey { kind, id };
    let Some(record) = relay.store.target(target).await? else {
        return Err(Problem::not_found("the target follows no directory yet"));
    };
    if relay.store.present(&record.directory, &key).await?.is_none() {
        return Err(unknown(&key));
    }
    if order.dry_run {
        return plan(relay, control.as_ref(), &record.directory, target, &key).await;
    }
    refuse_what_cannot_be_sent(&control.snapshot().await?.state)?;
    let _waiting = WAITING.try_acquire().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .with_detail("too many callers wait for a vendor already")
            .with_retry_after(WAIT_MAX)
    })?;
    let filter =
        LedgerFilter { target: Some(target.to_owned()), key: Some(key.clone()), ..LedgerFilter::default() };
    let before = relay.store.ledger(&filter, None, 1).await?.items.first().map_or(0, |last| last.sequence);
    relay.store.expedite(target, &key, &actor.name, relay.clock.now()).await?;
    control.wake();
    tracing::info!(target_name = target, by = actor.name, "ordered a resource to be synced now");
    let deadline = Instant::now() + WAIT_MAX;
    let (present, outcome) = loop {
        let Some(present) = relay.store.present(&record.directory, &key).await? else {
            return Err(unknown(&key));
        };
        let outcome = outcome(present.targets.get(target));
        if outcome != "pending" || Instant::now() >= deadline {
            break (present, outcome);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let mut steps = relay.store.ledger(&filter, None, STEPS_MAX).await?.items;
    steps.retain(|step| step.sequence > before);
    steps.reverse();
    let status = if outcome == "pending" { StatusCode::ACCEPTED } else { StatusCode::OK };
    let steps = steps.into_iter().map(Into::into).collect();
    Ok((status, Json(view(&present, target, outcome, steps))))
}

/// What would be sent, whatever state the target is in. Nothing is ordered, and nothing is noted.
async fn plan(
    relay: &Relay,
    control: &dyn TargetControl,
    directory: &DirectoryName,
    target: &str,
    key: &ResourceKey,
) -> Result<(StatusCode, Json<SyncView>), Problem> {
    let Some(present) = relay.store.present(directory, key).await? else { return Err(unknown(key)) };
    let Some(foresight) = control.foresee(key).await? else {
        return Err(Problem::not_found("the target follows no directory yet"));
    };
    let plan = foresight.steps.into_iter().map(Into::into).collect();
    let view = view(&present, target, "planned", Vec::new());
    Ok((StatusCode::OK, Json(SyncView { words: foresight.end, plan: Some(plan), ..view })))
}

fn order(body: &[u8]) -> Result<SyncOrder, Problem> {
    if body.is_empty() {
        return Ok(SyncOrder::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is not what is expected: {error}")))
}

fn refuse_what_cannot_be_sent(state: &TargetState) -> Result<(), Problem> {
    let conflict = |detail: String| Err(Problem::new(StatusCode::CONFLICT).with_detail(detail));
    match state {
        TargetState::Running => Ok(()),
        TargetState::Paused { by, since } => {
            conflict(format!("the target is paused by {by} since {since}; resume it first"))
        }
        TargetState::Suspended { reason, since, .. } => conflict(format!(
            "the target is suspended since {since}: {reason}; it is probed by itself, or resume it"
        )),
    }
}

/// How the order has ended. A group that gathers its members, or a vendor that asks for patience, is
/// under way: nothing failed.
fn outcome(standing: Option<&Standing>) -> &'static str {
    let Some(work) = standing.and_then(|standing| standing.work.as_ref()) else { return "done" };
    match work.state {
        "pending" if work.attempts > 0 => "failed",
        other => other,
    }
}

fn view(present: &Present, target: &str, outcome: &'static str, steps: Vec<LedgerView>) -> SyncView {
    let standing = present.targets.get(target);
    SyncView {
        outcome,
        words: standing.map_or_else(
            || "the target follows another directory now".to_owned(),
            |standing| words(standing, present.generation.unwrap_or(0)),
        ),
        generation: present.generation,
        wanted: present.wanted,
        vendor_id: standing.and_then(|standing| standing.vendor_id.clone()),
        steps,
        plan: None,
    }
}

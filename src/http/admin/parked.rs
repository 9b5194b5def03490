//! `/targets/{target}/parked`: work that waits for a person.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Actor;
use super::targets::control;
use super::{CommonProblems, Listing, PageQuery, Params};
use crate::http::{Problem, Relay};
use crate::store::{ItemId, ParkedItem};

/// Work that waits for a person.
#[derive(Serialize, ToSchema)]
pub struct ParkedView {
    /// `user:<id>`, `group:<id>`, or `member:<length of group id>:<group id>:<user id>`.
    #[schema(example = "user:u-101")]
    pub id: String,
    /// The vendor's reason, or the relay's.
    #[schema(example = "400 invalidValue: department is not known")]
    pub reason: String,
    /// Since when (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub parked_at: String,
    /// Failures charged to it.
    pub attempts: u32,
}

impl From<ParkedItem> for ParkedView {
    fn from(item: ParkedItem) -> Self {
        Self {
            id: item.id.to_string(),
            reason: item.reason,
            parked_at: item.parked_at.to_string(),
            attempts: item.attempts,
        }
    }
}

/// Parked work of a target, oldest first.
#[utoipa::path(
    get, path = "/targets/{target}/parked", tag = "admin", operation_id = "list_parked",
    params(("target" = String, Path, description = "Name of the target in the configuration"), PageQuery),
    responses(
        (status = 200, description = "One page of parked work", body = Listing<ParkedView>),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn list(
    State(relay): State<Relay>,
    Path(target): Path<String>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Listing<ParkedView>>, Problem> {
    control(&relay, &target)?;
    let page = relay.store.parked(&target, page.cursor.as_deref(), page.limit.get()).await?;
    Ok(Json(Listing::of(page)))
}

/// Tries a parked item again, its attempts forgotten.
#[utoipa::path(
    post, path = "/targets/{target}/parked/{id}/retry", tag = "admin", operation_id = "retry_parked",
    params(
        ("target" = String, Path, description = "Name of the target in the configuration"),
        ("id" = String, Path, description = "As listed, percent-encoded"),
    ),
    responses(
        (status = 204, description = "It is pending"),
        (status = 404, description = "No such target, or nothing parked under this id", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn retry(
    State(relay): State<Relay>,
    Path((target, id)): Path<(String, String)>,
    Extension(actor): Extension<Actor>,
) -> Result<StatusCode, Problem> {
    let control = control(&relay, &target)?;
    let id = parked_id(&id)?;
    if !relay.store.retry_parked(&target, &id, &actor.name, relay.clock.now()).await? {
        return Err(nothing_parked());
    }
    control.wake();
    tracing::info!(target_name = target, by = actor.name, "retried a parked item");
    Ok(StatusCode::NO_CONTENT)
}

/// Drops a parked item.
///
/// It is not tried again until the user or group changes; the ledger says who dropped it.
#[utoipa::path(
    post, path = "/targets/{target}/parked/{id}/discard", tag = "admin", operation_id = "discard_parked",
    params(
        ("target" = String, Path, description = "Name of the target in the configuration"),
        ("id" = String, Path, description = "As listed, percent-encoded"),
    ),
    responses(
        (status = 204, description = "It is dropped"),
        (status = 404, description = "No such target, or nothing parked under this id", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn discard(
    State(relay): State<Relay>,
    Path((target, id)): Path<(String, String)>,
    Extension(actor): Extension<Actor>,
) -> Result<StatusCode, Problem> {
    control(&relay, &target)?;
    let id = parked_id(&id)?;
    if relay.store.discard_parked(&target, &id, &actor.name, relay.clock.now()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(nothing_parked())
    }
}

fn parked_id(text: &str) -> Result<ItemId, Problem> {
    text.parse().map_err(|()| {
        Problem::bad_request("the id of a parked item is user:…, group:… or member:…, as it is listed")
    })
}

fn nothing_parked() -> Problem {
    Problem::not_found("nothing is parked under this id")
}

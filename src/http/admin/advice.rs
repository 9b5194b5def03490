//! `/sources/{source}/resynced`: that a source was read, or has sent everything, as a whole.

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::CommonProblems;
use super::auth::Actor;
use crate::http::{Problem, Relay};
use crate::store::advice;

/// Notes that a source has sent everything again, so that no resync of it is advised any more.
///
/// A source that is listed as a whole by its connector is noted without this.
#[utoipa::path(
    post, path = "/sources/{source}/resynced", tag = "admin", operation_id = "note_source_resynced",
    params(("source" = String, Path, description = "Name of the source in the configuration")),
    responses(
        (status = 204, description = "It is noted, or nothing was advised"),
        (status = 404, description = "No such source", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn withdraw(
    State(relay): State<Relay>,
    Path(source): Path<String>,
    Extension(actor): Extension<Actor>,
) -> Result<StatusCode, Problem> {
    if relay.sources.get(&source).is_none() {
        return Err(Problem::not_found("there is no source of this name"));
    }
    if let Some(advised) = advice::withdraw(&*relay.store, &source).await? {
        tracing::info!(
            source,
            by = actor.name,
            reason = advised.reason,
            "noted that the source was resynced"
        );
    }
    Ok(StatusCode::NO_CONTENT)
}

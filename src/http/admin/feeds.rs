//! `/sources/{source}/feed`: what is remembered of a source that is polled or drops files, and consent to
//! a snapshot that removes many.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::Actor;
use super::{CommonProblems, Params};
use crate::http::{Problem, Relay};
use crate::store::{Consent, Feed};

/// How long consent lasts.
const CONSENT_TERM: Duration = Duration::from_hours(24);

/// What is remembered of a feed.
#[derive(Serialize, ToSchema)]
pub struct FeedView {
    /// Of the last poll or file: when, what it did, and the error where it failed. Times are microseconds
    /// since the Unix epoch.
    pub memory: Value,
    /// What somebody has consented to, and not been asked for yet.
    pub consent: Option<ConsentView>,
}

/// What somebody has consented to.
#[derive(Serialize, ToSchema)]
pub struct ConsentView {
    /// How many users and groups the next snapshot may remove.
    #[schema(example = 120)]
    pub removals: u64,
    /// Until when (RFC 3339).
    #[schema(example = "2026-11-21T10:00:00Z")]
    pub until: String,
    /// Who.
    #[schema(example = "ann")]
    pub by: String,
}

/// What is consented to.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ConsentQuery {
    /// How many users and groups the next snapshot may remove.
    pub removals: u64,
}

impl From<Feed> for FeedView {
    fn from(feed: Feed) -> Self {
        let view = |consent: Consent| ConsentView {
            removals: consent.removals,
            until: consent.until.to_string(),
            by: consent.by,
        };
        Self { memory: feed.memory, consent: feed.consent.map(view) }
    }
}

/// What is remembered of a source that is polled or drops files.
#[utoipa::path(
    get, path = "/sources/{source}/feed", tag = "admin", operation_id = "read_feed",
    params(("source" = String, Path, description = "Name of the source in the configuration")),
    responses(
        (status = 200, description = "What is remembered", body = FeedView),
        (status = 404, description = "No such source, or nothing was taken of it yet", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn read(State(relay): State<Relay>, Path(source): Path<String>) -> Result<Json<FeedView>, Problem> {
    let feed = relay.store.feeds().feed(&source).await?.filter(|_| relay.sources.get(&source).is_some());
    Ok(Json(feed.ok_or_else(no_such_feed)?.into()))
}

/// Lets the next snapshot of a source remove more than is usual, once, within a day.
///
/// The snapshot that was held is not kept: drop the file again, or wait for the next listing.
#[utoipa::path(
    post, path = "/sources/{source}/consent", tag = "admin", operation_id = "consent_to_snapshot",
    params(("source" = String, Path, description = "Name of the source in the configuration"), ConsentQuery),
    responses(
        (status = 200, description = "It is noted", body = FeedView),
        (status = 404, description = "No such source, or nothing was taken of it yet", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn consent(
    State(relay): State<Relay>,
    Path(source): Path<String>,
    Params(query): Params<ConsentQuery>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<FeedView>, Problem> {
    let until = relay.clock.now().after(CONSENT_TERM);
    let consent = Consent { removals: query.removals, until, by: actor.name.clone() };
    let is_known = relay.sources.get(&source).is_some();
    if !is_known || !relay.store.feeds().consent(&source, &consent).await? {
        return Err(no_such_feed());
    }
    tracing::info!(source, by = actor.name, removals = query.removals, "consented to a snapshot");
    read(State(relay), Path(source)).await
}

fn no_such_feed() -> Problem {
    Problem::not_found(
        "there is no source of this name that is polled or drops files, or nothing was taken of it yet",
    )
}

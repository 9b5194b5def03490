//! `/events`: what came in, and what became of it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{CommonProblems, Listing, PageQuery, Params};
use crate::http::{Problem, Relay};
use crate::store::{ChangeRecord, EventRecord, EventSummary};

/// One event.
#[derive(Serialize, ToSchema)]
pub struct EventView {
    /// The relay's number.
    pub sequence: u64,
    /// The source.
    #[schema(example = "hr")]
    pub source: String,
    /// The sender's id.
    #[schema(example = "msg_01")]
    pub event_id: String,
    /// When it arrived (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub received_at: String,
    /// Length of the body.
    pub body_bytes: u64,
    /// `accepted` (not merged yet), `projected`, or `unreadable`.
    #[schema(example = "projected")]
    pub state: &'static str,
}

/// One event, and what became of each of its changes.
#[derive(Serialize, ToSchema)]
pub struct EventDetail {
    /// As in lists.
    #[serde(flatten)]
    pub event: EventView,
    /// Its changes; empty while it is not merged.
    pub changes: Vec<ChangeView>,
}

/// One change of an event.
#[derive(Serialize, ToSchema)]
pub struct ChangeView {
    /// Position in the event, from 0.
    pub index: u32,
    /// What changed.
    #[schema(example = "user.upsert")]
    pub operation: String,
    /// `user` or `group`.
    #[schema(example = "user")]
    pub kind: &'static str,
    /// The source's id of the user or group.
    #[schema(example = "u-101")]
    pub id: String,
    /// `merged`, `unchanged` or `superseded`.
    #[schema(example = "merged")]
    pub outcome: String,
    /// The user's or group's generation after the merge.
    pub generation: u64,
    /// What became of it, per target.
    pub targets: BTreeMap<String, ChangeAtTarget>,
}

/// What became of a change at one target.
#[derive(Serialize, ToSchema)]
pub struct ChangeAtTarget {
    /// `applied`, `pending`, `waiting`, `parked`, `held`, `rejected` or `protected`.
    #[schema(example = "applied")]
    pub state: String,
    /// Why, where there is a reason.
    pub reason: Option<String>,
}

impl From<EventSummary> for EventView {
    fn from(summary: EventSummary) -> Self {
        Self {
            sequence: summary.sequence,
            source: summary.source,
            event_id: summary.event_id,
            received_at: summary.received_at.to_string(),
            body_bytes: summary.body_bytes,
            state: summary.state,
        }
    }
}

impl From<EventRecord> for EventDetail {
    fn from(record: EventRecord) -> Self {
        let changes = record.changes.into_iter().map(Into::into).collect();
        Self { event: record.summary.into(), changes }
    }
}

impl From<ChangeRecord> for ChangeView {
    fn from(change: ChangeRecord) -> Self {
        let at_target = |(state, reason)| ChangeAtTarget { state, reason };
        Self {
            index: change.index,
            operation: change.operation,
            kind: change.key.kind.as_str(),
            id: change.key.id.into(),
            outcome: change.outcome,
            generation: change.generation,
            targets: change.targets.into_iter().map(|(name, fate)| (name, at_target(fate))).collect(),
        }
    }
}

/// Events, newest first.
#[utoipa::path(
    get, path = "/events", tag = "admin", operation_id = "list_events", params(PageQuery),
    responses((status = 200, description = "One page of events", body = Listing<EventView>), CommonProblems),
)]
pub async fn list(
    State(relay): State<Relay>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Listing<EventView>>, Problem> {
    let page = relay.store.events(page.cursor.as_deref(), page.limit.get()).await?;
    Ok(Json(Listing::of(page)))
}

/// One event, and what became of it.
#[utoipa::path(
    get, path = "/events/{id}", tag = "admin", operation_id = "read_event",
    params(("id" = String, Path, description = "The relay's number, or the sender's id of the event")),
    responses(
        (status = 200, description = "The event", body = EventDetail),
        (status = 404, description = "No such event", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn read(State(relay): State<Relay>, Path(id): Path<String>) -> Result<Json<EventDetail>, Problem> {
    match relay.store.event(&id).await? {
        Some(record) => Ok(Json(record.into())),
        None => Err(Problem::not_found("there is no event of this id")),
    }
}

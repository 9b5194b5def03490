//! `/targets/{target}/waiting`: work that waits for something to be told, or to appear at the vendor.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::targets::control;
use super::{CommonProblems, Listing, PageQuery, Params};
use crate::http::{Problem, Relay};
use crate::store::WaitingItem;

/// Work that nobody can do yet: it goes on by itself once it can.
#[derive(Serialize, ToSchema)]
pub struct WaitingView {
    /// `user:<id>`, `group:<id>`, or `member:<length of group id>:<group id>:<user id>`.
    #[schema(example = "user:u-104")]
    pub id: String,
    /// For what.
    #[schema(example = "the directory does not know the userName yet")]
    pub reason: String,
    /// When the oldest change was received that is not applied (RFC 3339); of a member that is not kept.
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub since: Option<String>,
}

impl From<WaitingItem> for WaitingView {
    fn from(WaitingItem { id, reason, since }: WaitingItem) -> Self {
        Self { id: id.to_string(), reason, since: since.map(|since| since.to_string()) }
    }
}

/// Users, groups, then members that wait, as `waiting` and `waiting_members` count them in the status.
#[utoipa::path(
    get, path = "/targets/{target}/waiting", tag = "admin", operation_id = "list_waiting",
    params(("target" = String, Path, description = "Name of the target in the configuration"), PageQuery),
    responses(
        (status = 200, description = "One page of what waits", body = Listing<WaitingView>),
        (status = 404, description = "No such target", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn list(
    State(relay): State<Relay>,
    Path(target): Path<String>,
    Params(page): Params<PageQuery>,
) -> Result<Json<Listing<WaitingView>>, Problem> {
    control(&relay, &target)?;
    let page = relay.store.waiting(&target, page.cursor.as_deref(), page.limit.get()).await?;
    Ok(Json(Listing::of(page)))
}

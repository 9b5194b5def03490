//! `/holds`: destructive changes that wait for a person.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::auth::Actor;
use super::query::Limit;
use super::{CommonProblems, Listing, PageQuery, Params};
use crate::http::{Problem, Relay};
use crate::store::ItemId;
use crate::store::guard::{Decision, Hold, HoldFilter, HoldItem, HoldState, HoldVerdict};

/// Items that one call names at most.
const ITEMS_MAX: usize = 1_000;
/// Longest reason that is recorded.
const REASON_CHARS_MAX: usize = 300;

/// Destructive changes of one target that wait for a person together.
#[derive(Serialize, ToSchema)]
pub struct HoldView {
    /// The relay's number.
    pub id: u64,
    /// The target.
    pub target: String,
    /// `open`, `expired`, `approved`, `rejected` or `withdrawn`. What is open or expired waits until
    /// somebody decides.
    #[schema(example = "open")]
    pub state: &'static str,
    /// Why it was opened.
    pub reason: String,
    /// When (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub created_at: String,
    /// When it counts as expired (RFC 3339).
    pub expires_at: String,
    /// When the last of its items was decided or came to nothing (RFC 3339).
    pub closed_at: Option<String>,
    /// How many items are in which state.
    pub items: ItemCounts,
    /// Sequence of the last item: a decision that names it as `through` is about no later one.
    pub last_item: u64,
}

/// How many items are in which state.
#[derive(Serialize, ToSchema)]
pub struct ItemCounts {
    /// They wait.
    pub held: u64,
    /// They were approved.
    pub approved: u64,
    /// They were rejected.
    pub rejected: u64,
    /// Something newer was said, which takes nothing away.
    pub withdrawn: u64,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        Self {
            id: hold.id,
            target: hold.target,
            state: hold.state.as_str(),
            reason: hold.reason,
            created_at: hold.created_at.to_string(),
            expires_at: hold.expires_at.to_string(),
            closed_at: hold.closed_at.map(|at| at.to_string()),
            items: ItemCounts {
                held: hold.held,
                approved: hold.approved,
                rejected: hold.rejected,
                withdrawn: hold.withdrawn,
            },
            last_item: hold.last_item,
        }
    }
}

/// One change that waits, or waited.
#[derive(Serialize, ToSchema)]
pub struct HoldItemView {
    /// `user:<id>`, `group:<id>`, or `member:<length of group id>:<group id>:<user id>`.
    #[schema(example = "user:u-101")]
    pub id: String,
    /// The relay's number.
    pub sequence: u64,
    /// `deactivate`, `delete` or `remove`.
    #[schema(example = "deactivate")]
    pub operation: String,
    /// `held`, `approved`, `rejected` or `withdrawn`.
    #[schema(example = "held")]
    pub state: &'static str,
    /// Since when it waits, or waited (RFC 3339).
    pub held_at: String,
    /// When it was decided or came to nothing (RFC 3339).
    pub decided_at: Option<String>,
    /// The name of the key that decided.
    pub decided_by: Option<String>,
}

impl From<HoldItem> for HoldItemView {
    fn from(item: HoldItem) -> Self {
        Self {
            id: item.item.to_string(),
            sequence: item.sequence,
            operation: item.operation,
            state: item.state.as_str(),
            held_at: item.held_at.to_string(),
            decided_at: item.decided_at.map(|at| at.to_string()),
            decided_by: item.decided_by,
        }
    }
}

/// A hold with one page of its items.
#[derive(Serialize, ToSchema)]
pub struct HoldWithItems {
    /// The hold.
    pub hold: HoldView,
    /// Its items, in the order in which they were held.
    pub items: Vec<HoldItemView>,
    /// What to pass as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// Which holds to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HoldQuery {
    /// Name of a target.
    pub target: Option<String>,
    /// `open`, `expired`, `approved`, `rejected` or `withdrawn`.
    pub state: Option<String>,
    /// `next_cursor` of the page before; absent: the first page.
    pub cursor: Option<String>,
    /// Most items of a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
}

/// What a decision is about. An empty body: everything that waits now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// Items as listed, at most 1000; absent: all that wait. A user's memberships follow the user.
    #[schema(example = json!(["user:u-101"]))]
    pub items: Option<Vec<String>>,
    /// Without `items`: nothing past this sequence, such as the `last_item` that was looked at.
    pub through: Option<u64>,
    /// Why, for the ledger; at most 300 characters.
    #[schema(example = "agreed with HR")]
    pub reason: Option<String>,
}

/// What a decision did.
#[derive(Serialize, ToSchema)]
pub struct DecisionView {
    /// Items that were decided, memberships included.
    pub decided: u64,
    /// The hold afterwards.
    pub hold: HoldView,
}

/// Destructive changes that wait, or waited, for a person; newest first.
#[utoipa::path(
    get, path = "/holds", tag = "admin", operation_id = "list_holds",
    params(HoldQuery),
    responses((status = 200, description = "One page of holds", body = Listing<HoldView>), CommonProblems),
)]
pub async fn list(
    State(relay): State<Relay>,
    Params(query): Params<HoldQuery>,
) -> Result<Json<Listing<HoldView>>, Problem> {
    let state = query.state.as_deref().map(state).transpose()?;
    let filter = HoldFilter { target: query.target, state };
    let (now, limit) = (relay.clock.now(), query.limit.get());
    Ok(Json(Listing::of(relay.store.holds(&filter, now, query.cursor.as_deref(), limit).await?)))
}

/// One hold, with a page of its items.
#[utoipa::path(
    get, path = "/holds/{id}", tag = "admin", operation_id = "read_hold",
    params(("id" = u64, Path, description = "As listed"), PageQuery),
    responses(
        (status = 200, description = "The hold and a page of its items", body = HoldWithItems),
        (status = 404, description = "No such hold", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn read(
    State(relay): State<Relay>,
    Path(id): Path<String>,
    Params(page): Params<PageQuery>,
) -> Result<Json<HoldWithItems>, Problem> {
    let hold = existing(&relay, &id).await?;
    let items = relay.store.hold_items(hold.id, page.cursor.as_deref(), page.limit.get()).await?;
    let listing = Listing::of(items);
    Ok(Json(HoldWithItems { hold: hold.into(), items: listing.items, next_cursor: listing.next_cursor }))
}

/// Lets held changes through.
///
/// They are sent as soon as the target may be called, and are not counted by the guard.
#[utoipa::path(
    post, path = "/holds/{id}/approve", tag = "admin", operation_id = "approve_hold",
    params(("id" = u64, Path, description = "As listed")),
    request_body(content = DecisionRequest, description = "Which items, and why; may be empty"),
    responses(
        (status = 200, description = "They are pending", body = DecisionView),
        (status = 404, description = "No such hold", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "None of these waits", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn approve(
    State(relay): State<Relay>,
    Path(id): Path<String>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Json<DecisionView>, Problem> {
    decide(&relay, &id, actor, HoldVerdict::Approve, &body).await
}

/// Leaves undone what is held.
///
/// It does not come back until something newer is said about the user, group or member. Other targets
/// are not touched.
#[utoipa::path(
    post, path = "/holds/{id}/reject", tag = "admin", operation_id = "reject_hold",
    params(("id" = u64, Path, description = "As listed")),
    request_body(content = DecisionRequest, description = "Which items, and why; may be empty"),
    responses(
        (status = 200, description = "They stay undone", body = DecisionView),
        (status = 404, description = "No such hold", body = Problem,
         content_type = "application/problem+json"),
        (status = 409, description = "None of these waits", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn reject(
    State(relay): State<Relay>,
    Path(id): Path<String>,
    Extension(actor): Extension<Actor>,
    body: Bytes,
) -> Result<Json<DecisionView>, Problem> {
    decide(&relay, &id, actor, HoldVerdict::Reject, &body).await
}

/// A large hold is decided in several transactions. Should the relay stop in between, what is left
/// waits, and the same call decides about it.
async fn decide(
    relay: &Relay,
    id: &str,
    actor: Actor,
    verdict: HoldVerdict,
    body: &[u8],
) -> Result<Json<DecisionView>, Problem> {
    let request = read_request(body)?;
    let hold = existing(relay, id).await?;
    let items = request.items.as_deref().map(item_names).transpose()?;
    let through = request.through.unwrap_or(u64::MAX).min(hold.last_item);
    let decision =
        Decision { hold: hold.id, verdict, items, through, by: actor.name, reason: request.reason };
    let mut decided = 0;
    loop {
        let done = relay.store.decide(&decision, relay.clock.now()).await?.ok_or_else(no_such_hold)?;
        decided += done.items;
        if !done.more {
            break;
        }
    }
    if decided == 0 {
        return Err(Problem::new(StatusCode::CONFLICT).with_detail("none of these waits for a decision"));
    }
    if let Some(target) = relay.targets.get(&hold.target) {
        target.wake();
    }
    let said = verdict.item_state().as_str();
    tracing::warn!(
        target_name = hold.target,
        hold = hold.id,
        decided,
        by = decision.by,
        said,
        "decided about a hold"
    );
    Ok(Json(DecisionView { decided, hold: existing(relay, id).await?.into() }))
}

fn read_request(body: &[u8]) -> Result<DecisionRequest, Problem> {
    if body.is_empty() {
        return Ok(DecisionRequest::default());
    }
    let request: DecisionRequest =
        serde_json::from_slice(body).map_err(|error| Problem::bad_request(error.to_string()))?;
    if request.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        return Err(Problem::bad_request(format!("the reason is longer than {REASON_CHARS_MAX} characters")));
    }
    if request.items.as_ref().is_some_and(|items| items.is_empty() || items.len() > ITEMS_MAX) {
        return Err(Problem::bad_request(format!("name 1 to {ITEMS_MAX} items, or leave them out for all")));
    }
    Ok(request)
}

fn item_names(names: &[String]) -> Result<Vec<ItemId>, Problem> {
    let parsed = names.iter().map(|name| name.parse()).collect::<Result<_, ()>>();
    parsed.map_err(|()| {
        Problem::bad_request("the id of an item is user:…, group:… or member:…, as it is listed")
    })
}

async fn existing(relay: &Relay, id: &str) -> Result<Hold, Problem> {
    let Ok(id) = id.parse() else { return Err(no_such_hold()) };
    relay.store.hold(id, relay.clock.now()).await?.ok_or_else(no_such_hold)
}

fn state(word: &str) -> Result<HoldState, Problem> {
    HoldState::parse(word).ok_or_else(|| {
        let words = HoldState::ALL.map(HoldState::as_str).join(", ");
        Problem::bad_request(format!("the state of a hold is one of {words}"))
    })
}

fn no_such_hold() -> Problem {
    Problem::not_found("there is no hold of this number")
}

//! `/directories/{directory}/users/{id}/timeline` and the like of groups: one resource's story.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::ledger::LedgerView;
use super::query::Limit;
use super::{CommonProblems, Params};
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::http::{Problem, Relay};
use crate::store::timeline::{ChangeStory, HoldStory, OpenMembership, Standing, WorkStanding};
use crate::store::{Cursor, Happening, Order, Present, TargetState};

/// One user's or group's story, and how it stands now.
#[derive(Serialize, ToSchema)]
pub struct TimelineView {
    /// How it stands now.
    pub present: PresentView,
    /// What happened, in the order asked for.
    pub items: Vec<HappeningView>,
    /// What to pass as `cursor`, with the same `order`, for the next page; null at the end.
    pub next_cursor: Option<String>,
}

/// What came in, or what was done.
#[derive(Serialize, ToSchema)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum HappeningView {
    /// A change of an event.
    Change(ChangeStoryView),
    /// A call to a vendor, or a decision without one, as in the ledger.
    Action(LedgerView),
    /// A destructive change that waited, or waits, for a person's decision.
    Hold(HoldStoryView),
}

/// A destructive change that the guard held back.
#[derive(Serialize, ToSchema)]
pub struct HoldStoryView {
    /// When it was held back (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub at: String,
    /// The hold, for `/holds/{id}`.
    pub hold: u64,
    /// The target.
    pub target: String,
    /// What was held back, as in the hold.
    #[schema(example = "user:u-101")]
    pub item: String,
    /// `deactivate`, `delete` or `remove`.
    #[schema(example = "deactivate")]
    pub operation: String,
    /// `held`, `approved`, `rejected` or `withdrawn`.
    #[schema(example = "held")]
    pub state: &'static str,
    /// When it was decided (RFC 3339).
    pub decided_at: Option<String>,
    /// Name of the key of whoever decided.
    pub decided_by: Option<String>,
}

/// A change of an event.
#[derive(Serialize, ToSchema)]
pub struct ChangeStoryView {
    /// When the event arrived (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub at: String,
    /// The relay's number of the event, for `/events/{id}`.
    pub event: u64,
    /// The sender's id of the event.
    pub event_id: String,
    /// The source.
    #[schema(example = "hr")]
    pub source: String,
    /// What was changed.
    #[schema(example = "user.upsert")]
    pub operation: String,
    /// `merged`, `unchanged` (it said nothing new) or `superseded` (something later had been said).
    #[schema(example = "merged")]
    pub outcome: String,
    /// The generation after it.
    pub generation: u64,
    /// Of a user: the group that the change is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it belongs to the group since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<bool>,
    /// How often the sender repeated the event, which changed nothing.
    pub repeats: u64,
    /// When it did so last (RFC 3339).
    pub repeated_at: Option<String>,
    /// The same in words.
    #[schema(example = "hr said user.upsert: merged")]
    pub words: String,
}

/// How a user or group stands now.
#[derive(Serialize, ToSchema)]
pub struct PresentView {
    /// Its generation in the directory; null where the directory knows the id alone.
    pub generation: Option<u64>,
    /// Whether it is to be there and, if a user, to have access.
    pub wanted: bool,
    /// Accepted events that are not merged yet; some may be about it.
    pub unprojected: u64,
    /// Groups of a user, 200 at most.
    pub groups: Vec<String>,
    /// Per target that follows the directory.
    pub targets: BTreeMap<String, StandingView>,
}

/// How it stands at one target.
#[derive(Serialize, ToSchema)]
pub struct StandingView {
    /// The answer to "why has Jane no access?", in words.
    #[schema(example = "parked: 400 invalidValue: department is not known")]
    pub words: String,
    /// Running, paused or suspended, and why.
    #[schema(value_type = Object)]
    pub target: TargetState,
    /// Whether it is known at the vendor.
    pub linked: bool,
    /// The vendor's id.
    pub vendor_id: Option<String>,
    /// The vendor was asked then, and does not know it (RFC 3339).
    pub absent_since: Option<String>,
    /// The generation that was applied last.
    pub synced_generation: u64,
    /// When something was last applied (RFC 3339).
    pub applied_at: Option<String>,
    /// `pending`, `waiting`, `parked` or `held`; null where there is nothing to do.
    pub work: Option<&'static str>,
    /// The lane of its work.
    pub lane: Option<&'static str>,
    /// When its work is due (RFC 3339).
    pub due: Option<String>,
    /// Failures charged to its work.
    pub attempts: u32,
    /// Why it waits, failed or is parked.
    pub reason: Option<String>,
    /// Users that it waits for: its manager or members, 200 at most.
    pub waits_for: Vec<String>,
    /// Memberships that the vendor does not have yet, 200 at most.
    pub memberships: Vec<OpenMembershipView>,
}

/// A membership that is not at the vendor.
#[derive(Serialize, ToSchema)]
pub struct OpenMembershipView {
    /// The group, of a user; the user, of a group.
    pub id: String,
    /// `parked` or `waiting`.
    pub state: &'static str,
    /// Why.
    pub reason: Option<String>,
}

/// Which part of a story.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// `newest` first or `oldest` first.
    #[serde(default)]
    pub order: StoryOrder,
    /// `next_cursor` of the page before; absent: the first page.
    pub cursor: Option<String>,
    /// Most items of a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
}

/// Where a story begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StoryOrder {
    /// With what happened last.
    #[default]
    Newest,
    /// With what happened first.
    Oldest,
}

/// One person's story over all targets.
///
/// Events, what they changed (memberships too), each call with the vendor's answer, why there was
/// none, what was held back, and how the user stands now.
#[utoipa::path(
    get, path = "/directories/{directory}/users/{id}/timeline", tag = "admin",
    operation_id = "user_timeline",
    params(
        ("directory" = String, Path, description = "The directory"),
        ("id" = String, Path, description = "The source's id of the user, percent-encoded"),
        TimelineQuery,
    ),
    responses(
        (status = 200, description = "One page of the story", body = TimelineView),
        (status = 404, description = "Nothing is known of the user", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn of_user(
    State(relay): State<Relay>,
    Path((directory, id)): Path<(String, String)>,
    Params(query): Params<TimelineQuery>,
) -> Result<Json<TimelineView>, Problem> {
    tell(&relay, directory, Kind::User, &id, &query).await
}

/// One group's story over all targets.
#[utoipa::path(
    get, path = "/directories/{directory}/groups/{id}/timeline", tag = "admin",
    operation_id = "group_timeline",
    params(
        ("directory" = String, Path, description = "The directory"),
        ("id" = String, Path, description = "The source's id of the group, percent-encoded"),
        TimelineQuery,
    ),
    responses(
        (status = 200, description = "One page of the story", body = TimelineView),
        (status = 404, description = "Nothing is known of the group", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn of_group(
    State(relay): State<Relay>,
    Path((directory, id)): Path<(String, String)>,
    Params(query): Params<TimelineQuery>,
) -> Result<Json<TimelineView>, Problem> {
    tell(&relay, directory, Kind::Group, &id, &query).await
}

async fn tell(
    relay: &Relay,
    directory: String,
    kind: Kind,
    id: &str,
    query: &TimelineQuery,
) -> Result<Json<TimelineView>, Problem> {
    let id = ExternalId::parse(id).map_err(|error| Problem::bad_request(format!("id: {error}")))?;
    let key = ResourceKey { kind, id };
    let cursor: Cursor = match &query.cursor {
        None => Cursor::default(),
        Some(cursor) => cursor.parse().map_err(|()| {
            Problem::bad_request("cursor: what a page has answered as next_cursor is expected")
        })?,
    };
    let order = match query.order {
        StoryOrder::Newest => Order::Falling,
        StoryOrder::Oldest => Order::Rising,
    };
    let Some(present) = relay.store.present(&directory, &key).await? else { return Err(unknown(&key)) };
    let page = relay.store.timeline(&directory, &key, order, cursor, query.limit.get()).await?;
    Ok(Json(TimelineView {
        present: present.into(),
        items: page.items.into_iter().map(Into::into).collect(),
        next_cursor: page.next,
    }))
}

/// 404, with what a person may try.
pub(super) fn unknown(key: &ResourceKey) -> Problem {
    Problem::not_found(format!(
        "no source has named a {} of this id in this directory; the id is the source's own, not the vendor's",
        key.kind
    ))
}

impl From<Happening> for HappeningView {
    fn from(happening: Happening) -> Self {
        match happening {
            Happening::Change(change) => Self::Change(change.into()),
            Happening::Ledger(record) => Self::Action(record.into()),
            Happening::Hold(hold) => Self::Hold(hold.into()),
        }
    }
}

impl From<HoldStory> for HoldStoryView {
    fn from(HoldStory { hold, target, item }: HoldStory) -> Self {
        Self {
            at: item.held_at.to_string(),
            hold,
            target,
            item: item.item.to_string(),
            operation: item.operation,
            state: item.state.as_str(),
            decided_at: item.decided_at.map(|at| at.to_string()),
            decided_by: item.decided_by,
        }
    }
}

impl From<ChangeStory> for ChangeStoryView {
    fn from(change: ChangeStory) -> Self {
        let membership = match &change.membership {
            None => String::new(),
            Some((group, true)) => format!("; belongs to group {group}"),
            Some((group, false)) => format!("; does not belong to group {group}"),
        };
        let repeated = match change.repeats {
            None => String::new(),
            Some((times, at)) => format!("; repeated {times} times, last at {at}"),
        };
        let words =
            format!("{} said {}: {}{membership}{repeated}", change.source, change.operation, change.outcome);
        let (group, member) = change.membership.unzip();
        Self {
            at: change.received_at.to_string(),
            event: change.sequence,
            event_id: change.event_id,
            source: change.source,
            operation: change.operation,
            outcome: change.outcome,
            generation: change.generation,
            group: group.map(Into::into),
            member,
            repeats: change.repeats.map_or(0, |(times, _)| times),
            repeated_at: change.repeats.map(|(_, at)| at.to_string()),
            words,
        }
    }
}

impl From<Present> for PresentView {
    fn from(present: Present) -> Self {
        let generation = present.generation.unwrap_or(0);
        let targets = present.targets.into_iter().map(|(name, standing)| (name, view(standing, generation)));
        Self {
            generation: present.generation,
            wanted: present.wanted,
            unprojected: present.unprojected,
            groups: present.groups.into_iter().map(Into::into).collect(),
            targets: targets.collect(),
        }
    }
}

fn view(standing: Standing, generation: u64) -> StandingView {
    let words = words(&standing, generation);
    let work = standing.work.as_ref();
    StandingView {
        words,
        linked: standing.vendor_id.is_some(),
        vendor_id: standing.vendor_id,
        absent_since: standing.absent_since.map(|at| at.to_string()),
        synced_generation: standing.synced_generation,
        applied_at: standing.applied_at.map(|at| at.to_string()),
        work: work.map(|work| work.state),
        lane: work.map(|work| work.lane.as_str()),
        due: work.map(|work| work.due.to_string()),
        attempts: work.map_or(0, |work| work.attempts),
        reason: work.and_then(|work| work.reason.clone()),
        target: standing.state,
        waits_for: standing.waits_for.into_iter().map(Into::into).collect(),
        memberships: standing.open.into_iter().map(Into::into).collect(),
    }
}

impl From<OpenMembership> for OpenMembershipView {
    fn from(open: OpenMembership) -> Self {
        Self { id: open.key.id.into(), state: open.state, reason: open.reason }
    }
}

/// What keeps the resource from being as it should be, worst first; else that nothing does.
pub(super) fn words(standing: &Standing, generation: u64) -> String {
    let mut said = vec![match (&standing.state, &standing.work) {
        (_, Some(WorkStanding { state: "held", reason, .. })) => {
            format!("held by the guard until a person approves or rejects it: {}", because(reason.as_deref()))
        }
        (_, Some(WorkStanding { state: "parked", reason, .. })) => {
            format!("parked until a person retries it, or it changes: {}", because(reason.as_deref()))
        }
        (TargetState::Paused { by, .. }, Some(_)) => format!("the target is paused by {by}"),
        (TargetState::Suspended { reason, .. }, Some(_)) => format!("the target is suspended: {reason}"),
        (_, Some(WorkStanding { state: "waiting", reason, .. })) => {
            format!("waiting: {}", because(reason.as_deref()))
        }
        (_, Some(work)) => match &work.reason {
            Some(reason) => format!("to be tried again at {}: {reason}", work.due),
            None => format!("in line in the lane {}", work.lane.as_str()),
        },
        (_, None) if standing.vendor_id.is_some() && standing.synced_generation >= generation => {
            "in place".to_owned()
        }
        (_, None) => "nothing to do; the last action says why".to_owned(),
    }];
    if !standing.waits_for.is_empty() {
        said.push(format!("waits for {} users whom the vendor does not know", standing.waits_for.len()));
    }
    for state in ["parked", "waiting"] {
        let count = standing.open.iter().filter(|open| open.state == state).count();
        if count > 0 {
            said.push(format!("{count} memberships {state}"));
        }
    }
    said.join("; ")
}

fn because(reason: Option<&str>) -> &str {
    reason.unwrap_or("no reason was kept")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::store::Lane;

    fn standing(state: TargetState, work: Option<(&'static str, Option<&str>)>) -> Standing {
        Standing {
            state,
            vendor_id: Some("v-1".to_owned()),
            absent_since: None,
            synced_generation: 3,
            applied_at: None,
            work: work.map(|(state, reason)| WorkStanding {
                state,
                lane: Lane::Change,
                due: Timestamp::from_seconds(0),
                since: Timestamp::from_seconds(0),
                attempts: 0,
                reason: reason.map(str::to_owned),
            }),
            waits_for: Vec::new(),
            open: Vec::new(),
        }
    }

    #[test]
    fn the_worst_that_keeps_somebody_out_is_said_first() {
        let paused = || TargetState::Paused { by: "ops".to_owned(), since: Timestamp::from_seconds(0) };
        for (state, work, generation, expected) in [
            (TargetState::Running, None, 3, "in place"),
            (TargetState::Running, None, 4, "nothing to do"),
            (TargetState::Running, Some(("pending", None)), 4, "in line in the lane change"),
            (TargetState::Running, Some(("pending", Some("503"))), 4, "to be tried again at"),
            (TargetState::Running, Some(("waiting", Some("for its manager"))), 4, "waiting: for its manager"),
            (paused(), Some(("pending", None)), 4, "the target is paused by ops"),
            (
                paused(),
                Some(("parked", Some("400"))),
                4,
                "parked until a person retries it, or it changes: 400",
            ),
            (paused(), None, 3, "in place"),
        ] {
            let words = words(&standing(state, work), generation);
            assert!(words.starts_with(expected), "{words}, not {expected}");
        }
    }
}

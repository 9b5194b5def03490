//! Calls of a resync: when nothing else waits, one at a time, each tried a few times.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value};
use tokio::time::sleep;
use tower::ServiceExt as _;

use crate::directory::Kind;
use crate::scim::list::ListResponse;
use crate::store::TargetState;
use crate::store::{Part, ResyncRow};
use crate::sync::discovery::is_idle;
use crate::sync::plan::{MemberPages, PageRead, members_at, text_at};
use crate::sync::policy::Policy;
use crate::sync::resync::paging::{Gap, Paging};
use crate::sync::shared::Shared;
use crate::target::requests::{self, PageStart};
use crate::target::{Answer, Call, CallError};

/// How often it is looked whether work waits.
const LOOK: Duration = Duration::from_millis(200);
/// Tries of one call; the target's own limits and pauses come on top.
const TRIES_MAX: u32 = 8;
/// Wait before the second try; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Reads the page that comes next.
pub(super) async fn page(
    shared: &Shared,
    kind: Kind,
    paging: &Paging,
    inactive_only: bool,
) -> Result<ListResponse, Gap> {
    let start = match &paging.cursor {
        Some(cursor) => PageStart::Cursor(cursor),
        None => PageStart::Index(paging.start_index()),
    };
    let call = requests::list(shared.target.profile(), wire(kind), start, inactive_only);
    let answer = ask(shared, call).await?.ok_or(Gap::Unread)?;
    ListResponse::parse(&answer.body).map_err(|_| Gap::Unread)
}

/// A resource out of a list as it is kept. A group that came without its members is read by itself.
pub(super) async fn listed(shared: &Shared, kind: Kind, resource: Value) -> Result<ResyncRow, Gap> {
    let Value::Object(mut resource) = resource else { return Err(Gap::Nameless) };
    let policy = shared.policy();
    if kind == Kind::Group
        && policy.members_readable
        && (!policy.members_listed || members_at(&resource).is_none())
    {
        let id = name(&resource)?;
        resource = fetched(shared, kind, &id).await?.ok_or(Gap::Unread)?;
        if policy.members_paged {
            members(shared, &id).await?.complete(&mut resource);
        }
    }
    row(&policy, kind, resource)
}

/// What the vendor has of one resource: what is known by the vendor's id, and whatever else may be meant by
/// the matchers, which are asked for one by one where the vendor wants it so.
pub(super) async fn one(
    shared: &Shared,
    kind: Kind,
    named: Option<&str>,
    matchers: &[(String, String)],
) -> Result<Vec<ResyncRow>, Gap> {
    let policy = shared.policy();
    let mut rows = Vec::new();
    if let Some(named) = named
        && let Some(resource) = fetched(shared, kind, named).await?
    {
        rows.push(row(&policy, kind, resource)?);
    }
    let at_once = if policy.lookup_or { matchers.len() } else { 1 };
    for matchers in matchers.chunks(at_once.max(1)) {
        let values: Vec<_> = matchers.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
        let call = requests::lookup(shared.target.profile(), wire(kind), &values).ok_or(Gap::Unread)?;
        let answer = ask(shared, call).await?.ok_or(Gap::Unread)?;
        let list = ListResponse::parse(&answer.body).map_err(|_| Gap::Unread)?;
        for resource in list.resources {
            let is_meant = resource.as_object().is_some_and(|resource| is_meant(resource, matchers));
            let row = listed(shared, kind, resource).await?;
            if !is_meant {
                return Err(Gap::Unfiltered);
            }
            if rows.iter().all(|known| known.name != row.name) {
                rows.push(row);
            }
        }
    }
    if rows.is_empty() && named.is_none() && matchers.is_empty() { Err(Gap::Unread) } else { Ok(rows) }
}

fn is_meant(resource: &Map<String, Value>, matchers: &[(String, String)]) -> bool {
    matchers.iter().any(|(path, wanted)| {
        text_at(resource, path).is_some_and(|held| held.to_lowercase() == wanted.to_lowercase())
    })
}

/// One resource, whole; `None` where the vendor has none of that id.
async fn fetched(shared: &Shared, kind: Kind, id: &str) -> Result<Option<Map<String, Value>>, Gap> {
    let call = requests::fetch(shared.target.profile(), wire(kind), id).map_err(|_| Gap::Nameless)?;
    let Some(answer) = ask(shared, call).await? else { return Ok(None) };
    serde_json::from_slice(&answer.body).map(Some).map_err(|_| Gap::Unread)
}

fn name(resource: &Map<String, Value>) -> Result<String, Gap> {
    text_at(resource, "id").filter(|id| !id.is_empty()).ok_or(Gap::Nameless)
}

/// A vendor's resource as it is kept.
fn row(policy: &Policy, kind: Kind, mut resource: Map<String, Value>) -> Result<ResyncRow, Gap> {
    let match_attribute = match kind {
        Kind::User => &policy.user_match,
        Kind::Group => &policy.group_match,
    };
    resource.retain(|name, _| !["groups", "meta", "schemas"].contains(&name.to_ascii_lowercase().as_str()));
    Ok(ResyncRow {
        part: Part::of(kind),
        name: name(&resource)?,
        external_id: text_at(&resource, "externalId"),
        match_value: text_at(&resource, match_attribute).map(|value| value.to_lowercase()),
        claimed: false,
        holder: None,
        body: Value::Object(resource),
    })
}

/// A group's members, where they are shown below the group. What does not add up is a gap.
async fn members(shared: &Shared, group: &str) -> Result<MemberPages, Gap> {
    let mut pages = MemberPages::default();
    loop {
        let call = requests::member_page(shared.target.profile(), group, pages.next_start());
        let answer = ask(shared, call.map_err(|_| Gap::Nameless)?).await?.ok_or(Gap::Unread)?;
        let page = serde_json::from_slice::<Map<_, _>>(&answer.body).map_err(|_| Gap::Unread)?;
        match pages.absorb(&page) {
            PageRead::More => {}
            PageRead::Whole => return Ok(pages),
            PageRead::Useless => return Err(Gap::Unread),
        }
    }
}

/// One call, in a lull; `None` for a 404, [`Gap::Unread`] where it does no good.
async fn ask(shared: &Shared, call: Call) -> Result<Option<Answer>, Gap> {
    for turn in 0..TRIES_MAX {
        lull(shared).await;
        match shared.target.stack_for(call.class).oneshot(call.clone()).await {
            Ok(answer) if answer.status.is_success() => return Ok(Some(answer)),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(None),
            Ok(answer) if answer.status.is_server_error() || matches!(answer.status.as_u16(), 408 | 429) => {}
            Ok(_)
            | Err(CallError::Credentials { .. } | CallError::Unusable { .. } | CallError::TooLarge { .. }) => {
                return Err(Gap::Unread);
            }
            Err(CallError::NotSent { .. } | CallError::Unknown { .. }) => {}
        }
        sleep(FIRST_WAIT * 2_u32.pow(turn)).await;
    }
    Err(Gap::Unread)
}

/// Waits until nothing else wants to be sent. A target that is paused is read all the same: what it
/// waits for is sent only once it is resumed, and somebody may want to know first what that will do.
async fn lull(shared: &Shared) {
    loop {
        match shared.state() {
            TargetState::Paused { .. } => return,
            TargetState::Running if is_idle(shared).await => return,
            TargetState::Running | TargetState::Suspended { .. } => sleep(LOOK).await,
        }
    }
}

const fn wire(kind: Kind) -> requests::Kind {
    match kind {
        Kind::User => requests::Kind::User,
        Kind::Group => requests::Kind::Group,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_resource_without_an_id_is_a_gap() {
        for body in [json!({}), json!({"id": ""}), json!({"id": null}), json!({"userName": "jane"})] {
            let read = row(&Policy::default(), Kind::User, body.as_object().unwrap().clone());
            assert_eq!(read.err(), Some(Gap::Nameless), "{body}");
        }
    }
}

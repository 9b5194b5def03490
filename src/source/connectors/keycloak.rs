//! Keycloak's admin API: <https://www.keycloak.org/docs-api/latest/rest-api/index.html>.
//!
//! Records have no time of change. Lists go on by offset alone, where a member who leaves meanwhile makes
//! another be passed over; so the members of a group are read as one page.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, Feed, FeedPage, Members, Next, Page, one, page, segment};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::Reading;
use crate::source::formats::keycloak;
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "keycloak"`; the base URL ends with `/admin/realms/` and the realm.
pub struct Keycloak;

/// Most members of a group.
const MEMBERS_MAX: usize = 50_000;

impl Connector for Keycloak {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("users/{id}")),
            Kind::Group => one(Kind::Group, format!("groups/{id}")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        Ok(match key.kind {
            Kind::User => keycloak::user_upserted(record, key.id.clone(), None)?.changes,
            Kind::Group => keycloak::group_upserted(record, key.id.clone(), None)?.changes,
        })
    }

    /// In the words that Keycloak has for users and groups (`UsersResource` and `GroupsResource` of its
    /// source); a realm or a path has others. An account that may not list users is answered 403 instead.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        let words = ["User not found", "Could not find group by id"];
        status == StatusCode::NOT_FOUND && body["error"].as_str().is_some_and(|said| words.contains(&said))
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        let group = segment(group);
        Some(page(format!("groups/{group}/members?first=0&max={MEMBERS_MAX}&briefRepresentation=true")))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let users: Vec<ExternalId> =
            page.view().items()?.map(|user| user.need("id")?.id()).collect::<Result<_, _>>()?;
        if users.len() >= MEMBERS_MAX {
            return Err(page.view().wrong(format!("holds {MEMBERS_MAX} members, and perhaps not all")));
        }
        Ok(Members { users, next: None })
    }

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }
}

/// Events of a page.
const PAGE: usize = 100;
/// How far a reading reaches back behind the one before: clocks differ, and an event is seen when its
/// transaction ends.
const OVERLAP: Duration = Duration::from_mins(5);

/// Keycloak's own records of what administrators and what people themselves did, where the realm keeps them.
/// Times in milliseconds and the oldest first are understood since version 26.2.
impl Feed for Keycloak {
    fn streams(&self) -> &'static [&'static str] {
        &["admin-events", "events"]
    }

    fn begin(&self, stream: &str, now: Timestamp) -> String {
        let overlap_ms = i64::try_from(OVERLAP.as_millis()).expect("some minutes");
        listing(stream, (now.as_micros() / 1_000 - overlap_ms).max(0), 0)
    }

    fn resume(&self, stream: &str, asked_at: Timestamp, _: Next) -> Next {
        Next::Path(self.begin(stream, asked_at))
    }

    fn page(&self, stream: &str, page: &Page<'_>) -> Result<FeedPage, Malformed> {
        let events: Vec<View<'_>> = page.view().items()?.collect();
        let read = |event| match stream {
            "admin-events" => keycloak::read_admin_event(event),
            _ => keycloak::read_user_event(event),
        };
        let reading = events
            .iter()
            .try_fold(Reading::default(), |reading, event| Ok::<_, Malformed>(reading.and(read(event)?)))?;
        let next = match events.last() {
            Some(last) if events.len() >= PAGE => {
                let time = last.time("time")?.ok_or_else(|| last.wrong("has no time"))?;
                further(stream, page, time.as_micros() / 1_000)?
            }
            Some(_) | None => page.path.to_owned(),
        };
        Ok(FeedPage { reading, next: Next::Path(next), is_last: events.len() < PAGE })
    }
}

/// The events from a time on, in milliseconds since the Unix epoch.
fn listing(stream: &str, from_ms: i64, first: usize) -> String {
    let kinds = match stream {
        "admin-events" => "resourceTypes=USER&resourceTypes=GROUP&resourceTypes=GROUP_MEMBERSHIP",
        _ => "type=REGISTER&type=UPDATE_PROFILE&type=UPDATE_EMAIL&type=DELETE_ACCOUNT",
    };
    format!("{stream}?{kinds}&direction=asc&max={PAGE}&dateFrom={from_ms}&first={first}")
}

/// The page after one that ends at this time. Pages are told apart by time, since an offset moves when old
/// events are cleared away; by offset only among events of one time.
fn further(stream: &str, page: &Page<'_>, last_ms: i64) -> Result<String, Malformed> {
    let number = |name: &str| {
        let (_, value) = page.path.split_once(name)?;
        value.split('&').next()?.parse::<i64>().ok()
    };
    let asked = number("&dateFrom=").zip(number("&first=").and_then(|first| usize::try_from(first).ok()));
    let (from_ms, first) = asked.ok_or_else(|| page.view().wrong("the position cannot be read"))?;
    Ok(if last_ms > from_ms { listing(stream, last_ms, 0) } else { listing(stream, from_ms, first + PAGE) })
}

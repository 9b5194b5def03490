//! WorkOS Directory Sync: <https://workos.com/docs/reference/directory-sync>.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, Feed, FeedPage, Ids, Members, Next, Page, one, page, segment, with_parameter};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::Reading;
use crate::source::formats::view::View;
use crate::source::formats::workos;
use crate::source::json::Malformed;

/// `kind = "workos"`; the base URL is the host alone.
pub struct WorkOs;

/// The largest page.
const PAGE: u32 = 100;

impl Connector for WorkOs {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("directory_users/{id}")),
            Kind::Group => one(Kind::Group, format!("directory_groups/{id}")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        Ok(vec![match key.kind {
            Kind::User => workos::upserted_user(record)?,
            Kind::Group => workos::upserted_group(record)?,
        }])
    }

    /// With this code, as clients of the API have recorded it; <https://workos.com/docs/reference/errors>
    /// gives statuses only.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        status == StatusCode::NOT_FOUND && body["code"] == "entity_not_found"
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        Some(page(format!("directory_users?group={}&limit={PAGE}", segment(group))))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let view = page.view();
        let users = view.need("data")?.items()?.map(|user| user.need("id")?.id());
        let users = users.collect::<Result<_, _>>()?;
        let metadata = view.need("list_metadata")?;
        let next = metadata.word("after").map(|after| Next::Path(with_parameter(page.path, "after", after)));
        Ok(Members { users, next })
    }

    fn ids(&self) -> Option<Ids> {
        Some(Ids { users: "directory_user_", groups: "directory_group_" })
    }

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }
}

/// What of the events is about directories.
const EVENTS: [&str; 9] = [
    "dsync.deleted",
    "dsync.user.created",
    "dsync.user.updated",
    "dsync.user.deleted",
    "dsync.group.created",
    "dsync.group.updated",
    "dsync.group.deleted",
    "dsync.group.user_added",
    "dsync.group.user_removed",
];

/// The list of events, which is kept for 90 days: the same events as webhooks tell.
impl Feed for WorkOs {
    fn streams(&self) -> &'static [&'static str] {
        &["events"]
    }

    fn kept_for(&self) -> Option<Duration> {
        Some(Duration::from_hours(90 * 24))
    }

    fn begin(&self, _: &str, now: Timestamp) -> String {
        format!("events?events%5B%5D={}&limit={PAGE}&range_start={now}", EVENTS.join("&events%5B%5D="))
    }

    fn page(&self, _: &str, page: &Page<'_>) -> Result<FeedPage, Malformed> {
        let view = page.view();
        let events: Vec<View<'_>> = view.need("data")?.items()?.collect();
        let reading = events.iter().try_fold(Reading::default(), |read, event| {
            Ok::<_, Malformed>(read.and(workos::read_event(event)?))
        })?;
        // The last event is where the list goes on, also when there is none after it yet.
        let path = match events.last() {
            Some(last) => {
                let first = page.path.split("&range_start=").next().unwrap_or(page.path);
                with_parameter(first, "after", last.text("id")?)
            }
            None => page.path.to_owned(),
        };
        let more = view.get("list_metadata").is_some_and(|metadata| metadata.word("after").is_some());
        Ok(FeedPage { reading, next: Next::Path(path), is_last: !more })
    }
}

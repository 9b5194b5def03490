//! Auth0: <https://auth0.com/docs/api/management/v2>.
//!
//! A log entry says who has changed and not what of them, so whom it names is read.
//!
//! How a group that is gone is answered is not documented, so that no 404 of a group ends it: Auth0
//! says so by an event.

use std::time::Duration;

use http::StatusCode;
use percent_encoding::{percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use super::feed::need_next;
use super::{
    Ask, Connector, Feed, FeedPage, Members, Next, Page, RESERVED, one, page, segment, with_parameter,
};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::Reading;
use crate::source::formats::auth0;
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "auth0"`; the base URL is the tenant's, without a path.
pub struct Auth0;

impl Connector for Auth0 {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("api/v2/users/{id}")),
            Kind::Group => one(Kind::Group, format!("api/v2/groups/{id}")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        let changed_at = record.time("updated_at")?;
        Ok(vec![match key.kind {
            Kind::User => auth0::upserted_user(record, changed_at)?,
            Kind::Group => auth0::upserted_group(record, changed_at)?,
        }])
    }

    /// With the code that goes with `The user does not exist.`, as clients of the Management API have
    /// recorded it; the API's description gives no codes.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        status == StatusCode::NOT_FOUND && body["errorCode"] == "inexistent_user"
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        Some(page(format!("api/v2/groups/{}/members?take=100", segment(group))))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let view = page.view();
        // A connection that is a member stands for people whom nobody lists.
        let is_user = |member: &View<'_>| member.word("member_type").is_none_or(|kind| kind == "user");
        let users = view.need("members")?.items()?.filter(is_user).map(|member| member.need("id")?.id());
        let users = users.collect::<Result<_, _>>()?;
        let next = view.word("next").map(|from| Next::Path(with_parameter(page.path, "from", from)));
        Ok(Members { users, next })
    }
    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }
}

/// The newest entry alone, whose id is the position to begin with.
const NEWEST: &str = "api/v2/logs?sort=date%3A-1&page=0&per_page=1";

/// Kinds of entries whose `user_id` is somebody who has changed: sign-ups, new addresses, names and numbers,
/// deletions (<https://auth0.com/docs/deploy-monitor/logs/log-event-type-codes>). What a sign-in brings along
/// from another provider has no kind of its own.
const OF_USERS: [&str; 7] = ["ss", "sce", "scu", "scpn", "sv", "du", "sdu"];
/// A call of the management API that succeeded. Who called is its `user_id`; the path says whom it changed.
const OF_THE_API: &str = "sapi";

/// The tenant's log, kept for one to thirty days by the tenant's plan. By checkpoint it comes in the order of
/// its ids, and its last page leads to itself.
impl Feed for Auth0 {
    fn streams(&self) -> &'static [&'static str] {
        &["log"]
    }

    fn kept_for(&self) -> Option<Duration> {
        Some(Duration::from_hours(24))
    }

    fn begin(&self, _: &str, _: Timestamp) -> String {
        NEWEST.to_owned()
    }

    fn page(&self, _: &str, page: &Page<'_>) -> Result<FeedPage, Malformed> {
        let entries: Vec<View<'_>> = page.view().items()?.collect();
        if page.path == NEWEST {
            let next = match entries.first() {
                Some(newest) => {
                    let id = utf8_percent_encode(newest.text("log_id")?, RESERVED);
                    format!("api/v2/logs?from={id}&take=100")
                }
                None => NEWEST.to_owned(),
            };
            let reading = Reading::nothing();
            return Ok(FeedPage { reading, next: Next::Path(next), is_last: entries.is_empty() });
        }
        let mut reading = Reading::default();
        for entry in &entries {
            match subject(entry)? {
                Some(key) => reading = reading.and_needing(key),
                None => reading.ignored += 1,
            }
        }
        let next = Next::of_header(page.headers);
        let next = match next {
            None if !entries.is_empty() => need_next(page.headers)?,
            next => next.unwrap_or_else(|| Next::Path(page.path.to_owned())),
        };
        Ok(FeedPage { reading, next, is_last: entries.is_empty() })
    }
}

/// Whom an entry is about; it says too little of how they are now.
fn subject(entry: &View<'_>) -> Result<Option<ResourceKey>, Malformed> {
    match entry.word("type") {
        Some(OF_THE_API) => called(entry),
        Some(kind) if OF_USERS.contains(&kind) && entry.word("user_id").is_some() => {
            Ok(Some(ResourceKey::user(entry.need("user_id")?.id()?)))
        }
        Some(_) | None => Ok(None),
    }
}

/// Whom a call of the management API has changed.
fn called(entry: &View<'_>) -> Result<Option<ResourceKey>, Malformed> {
    let Some(details) = entry.get("details") else { return Ok(None) };
    let Some(request) = details.get("request") else { return Ok(None) };
    if request.word("method").is_none_or(|method| method.eq_ignore_ascii_case("get")) {
        return Ok(None);
    }
    let path = request.word("path").unwrap_or_default();
    let mut segments = path.trim_start_matches('/').split('/').skip_while(|segment| *segment != "v2").skip(1);
    let made = |member: &str| -> Result<Option<ExternalId>, Malformed> {
        let body = details.get("response").and_then(|response| response.get("body"));
        body.and_then(|body| body.get(member)).map(|id| id.id()).transpose()
    };
    let named = |segment: Option<&str>| -> Result<Option<ExternalId>, Malformed> {
        let Some(segment) = segment.filter(|segment| !segment.is_empty()) else { return Ok(None) };
        let id = percent_decode_str(segment).decode_utf8_lossy();
        ExternalId::parse(id.as_ref()).map(Some).map_err(|error| request.wrong(error.to_string()))
    };
    Ok(match segments.next() {
        Some("users") => named(segments.next())?.or(made("user_id")?).map(ResourceKey::user),
        Some("groups") => named(segments.next())?.or(made("id")?).map(ResourceKey::group),
        Some(_) | None => None,
    })
}

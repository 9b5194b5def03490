//! Okta: <https://developer.okta.com/docs/api/openapi/okta-management/guides/overview/>.
//!
//! Times are whole seconds. A user who is deleted was deactivated before and is then unknown.

use std::time::Duration;

use http::StatusCode;
use percent_encoding::utf8_percent_encode;
use serde_json::{Value, json};

use super::feed::need_next;
use super::{Ask, Connector, Feed, FeedPage, Members, Next, Page, RESERVED, one, page, segment};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::Reading;
use crate::source::formats::draft::Draft;
use crate::source::formats::okta;
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "okta"`; the base URL is the organisation's, without a path.
pub struct Okta;

/// Okta's largest page of members.
const PAGE: u32 = 1000;

impl Connector for Okta {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("api/v1/users/{id}")),
            Kind::Group => one(Kind::Group, format!("api/v1/groups/{id}")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        let change = match key.kind {
            Kind::User => user(key.id.clone(), record)?,
            Kind::Group => {
                let name = record.need("profile")?;
                let draft = Draft::group().key("displayName", name.word("name"));
                draft.upsert(key.id.clone(), record.time("lastUpdated")?)?
            }
        };
        Ok(vec![change])
    }

    /// `E0000007` is a resource that is not found; a path that does not exist has another code.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        status == StatusCode::NOT_FOUND && body["errorCode"] == "E0000007"
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        Some(page(format!("api/v1/groups/{}/users?limit={PAGE}", segment(group))))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let users = page.view().items()?.map(|user| user.need("id")?.id()).collect::<Result<_, _>>()?;
        Ok(Members { users, next: Next::of_header(page.headers) })
    }

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }

    fn members_changed_at(&self, record: &View<'_>) -> Result<Option<Timestamp>, Malformed> {
        record.time("lastMembershipUpdated")
    }
}

/// What of the System Log is about users and groups.
const LOG: &str = "eventType sw \"user.lifecycle\" or eventType sw \"user.account.update\" \
    or eventType sw \"group.\" or eventType sw \"system.import.group\"";

/// The System Log, which is kept for 90 days and holds what hooks do not tell, too. Without an end the
/// log is in the order of its writing, and its last page has a next one, to be asked later.
impl Feed for Okta {
    fn streams(&self) -> &'static [&'static str] {
        &["log"]
    }

    fn kept_for(&self) -> Option<Duration> {
        Some(Duration::from_hours(90 * 24))
    }

    fn begin(&self, _: &str, now: Timestamp) -> String {
        let filter = utf8_percent_encode(LOG, RESERVED);
        format!("api/v1/logs?since={now}&sortOrder=ASCENDING&limit=1000&filter={filter}")
    }

    fn page(&self, _: &str, page: &Page<'_>) -> Result<FeedPage, Malformed> {
        let events: Vec<View<'_>> = page.view().items()?.collect();
        let reading = events.iter().try_fold(Reading::default(), |read, event| {
            Ok::<_, Malformed>(read.and(okta::read_event(event)?))
        })?;
        Ok(FeedPage { reading, next: need_next(page.headers)?, is_last: events.is_empty() })
    }
}

fn user(id: ExternalId, record: &View<'_>) -> Result<Change, Malformed> {
    let profile = record.need("profile")?;
    // A change of the status alone need not touch the profile's time.
    let changed_at = record.time("lastUpdated")?.max(record.time("statusChanged")?);
    Draft::user()
        .key("userName", profile.word("login"))
        .email(profile.word("email"))
        .name("givenName", &profile, "firstName")
        .name("middleName", &profile, "middleName")
        .name("familyName", &profile, "lastName")
        .text("displayName", &profile, "displayName")
        .text("nickName", &profile, "nickName")
        .text("title", &profile, "title")
        .text("userType", &profile, "userType")
        .text("preferredLanguage", &profile, "preferredLanguage")
        .text("locale", &profile, "locale")
        .text("timezone", &profile, "timezone")
        .text("employeeNumber", &profile, "employeeNumber")
        .text("costCenter", &profile, "costCenter")
        .text("organization", &profile, "organization")
        .text("division", &profile, "division")
        .text("department", &profile, "department")
        .list("phoneNumbers", phones(&profile))
        .active(Some(may_sign_in(record)?))
        .upsert(id, changed_at)
}

/// Somebody who is locked out or must choose a password may still come in; a status that is not known
/// opens no account.
fn may_sign_in(record: &View<'_>) -> Result<bool, Malformed> {
    Ok(matches!(
        record.text("status")?,
        "ACTIVE" | "PROVISIONED" | "RECOVERY" | "LOCKED_OUT" | "PASSWORD_EXPIRED"
    ))
}

fn phones(profile: &View<'_>) -> Option<Vec<Value>> {
    let members = [("primaryPhone", "work"), ("mobilePhone", "mobile")];
    let said = members.iter().any(|(member, _)| profile.value().get(*member).is_some());
    let phone = |(member, kind): &(&str, &str)| {
        profile.word(member).map(|number| json!({"value": number, "type": kind}))
    };
    said.then(|| members.iter().filter_map(phone).collect())
}

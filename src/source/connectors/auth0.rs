//! Auth0: <https://auth0.com/docs/api/management/v2>.
//!
//! How a group that is gone is answered is not documented, so that no 404 of a group ends it: Auth0
//! says so by an event.

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, Members, Next, Page, one, page, segment, with_parameter};
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
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
}

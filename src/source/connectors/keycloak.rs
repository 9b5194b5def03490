//! Keycloak's admin API: <https://www.keycloak.org/docs-api/latest/rest-api/index.html>.
//!
//! Records have no time of change. Lists go on by offset alone, where a member who leaves meanwhile makes
//! another be passed over; so the members of a group are read as one page.

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, Members, Page, one, page, segment};
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
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
}

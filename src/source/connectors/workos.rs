//! WorkOS Directory Sync: <https://workos.com/docs/reference/directory-sync>.

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, Members, Next, Page, one, page, segment, with_parameter};
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
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
}

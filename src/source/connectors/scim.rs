//! Any SCIM 2.0 service provider (RFC 7644 section 3.4.1), asked by the ids of its own.

use http::StatusCode;
use serde_json::Value;

use super::{Ask, Connector, all_members, one, segment};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::formats::draft::Draft;
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "scim"`; the base URL is that of the service provider.
pub struct Scim;

impl Connector for Scim {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("Users/{id}")),
            Kind::Group => one(Kind::Group, format!("Groups/{id}")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        let mut resource = record.object().ok_or_else(|| record.wrong("an object is expected"))?.clone();
        let changed_at = changed_at(record)?;
        resource.retain(|name, _| !name.eq_ignore_ascii_case("members"));
        let draft = match key.kind {
            Kind::User => Draft::user(),
            Kind::Group => Draft::group(),
        };
        let mut changes = vec![draft.scim(&resource).upsert(key.id.clone(), changed_at)?];
        // A list that is absent may be empty, or may be kept back.
        if let Some(members) = record.get("members").filter(|_| key.kind == Kind::Group) {
            let users = members.items()?.filter(is_user).map(|member| member.need("value")?.id());
            let users: Vec<ExternalId> = users.collect::<Result<_, _>>()?;
            let operation = all_members(key.id.clone(), users);
            changes.push(Change { occurred_at: changed_at, operation });
        }
        Ok(changes)
    }

    /// With the error body of RFC 7644 section 3.12, which no path that leads nowhere answers by chance.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        let says_so = body["schemas"].as_array().is_some_and(|schemas| {
            schemas.iter().any(|schema| schema == "urn:ietf:params:scim:api:messages:2.0:Error")
        });
        status == StatusCode::NOT_FOUND && says_so
    }
}

fn changed_at(record: &View<'_>) -> Result<Option<Timestamp>, Malformed> {
    record.get("meta").map_or(Ok(None), |meta| meta.time("lastModified"))
}

/// A member may be a group (RFC 7643 section 4.2), of which a directory knows nothing.
fn is_user(member: &View<'_>) -> bool {
    let is_group = member.word("type").is_some_and(|kind| kind.eq_ignore_ascii_case("Group"))
        || member.word("$ref").is_some_and(|reference| reference.contains("/Groups/"));
    !is_group
}

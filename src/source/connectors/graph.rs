//! Microsoft Entra through Graph: <https://learn.microsoft.com/en-us/graph/api/resources/users>.
//!
//! Users and groups have no time of change. Who was deleted is unknown, also while it can be restored.

use http::StatusCode;
use serde_json::{Value, json};

use super::{Ask, Connector, Members, Next, Page, one, page, segment};
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::formats::draft::Draft;
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "graph"`; the base URL ends with the version.
pub struct Graph;

/// What is read of a user: without a list Graph leaves out whether the account is enabled.
pub(super) const USER_FIELDS: &str = "id,userPrincipalName,accountEnabled,displayName,givenName,surname,mail,\
    jobTitle,department,employeeId,preferredLanguage,businessPhones,mobilePhone";

impl Connector for Graph {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("users/{id}?$select={USER_FIELDS}")),
            Kind::Group => one(Kind::Group, format!("groups/{id}?$select=id,displayName")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        Ok(vec![match key.kind {
            Kind::User => user(key.id.clone(), record)?,
            Kind::Group => group(key.id.clone(), record)?,
        }])
    }

    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        status == StatusCode::NOT_FOUND && body["error"]["code"] == "Request_ResourceNotFound"
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        Some(page(format!("groups/{}/members?$select=id&$top=999", segment(group))))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let view = page.view();
        // Devices, service principals and groups may be members, too.
        let is_user = |item: &View<'_>| item.word("@odata.type") == Some("#microsoft.graph.user");
        let users = view.need("value")?.items()?.filter(is_user).map(|item| item.need("id")?.id());
        let next = view.word("@odata.nextLink").map(|link| Next::Link(link.to_owned()));
        Ok(Members { users: users.collect::<Result<_, _>>()?, next })
    }
}

/// A user as a record or a delta query tells it; what a delta query leaves out has not changed.
pub(super) fn user(id: ExternalId, record: &View<'_>) -> Result<Change, Malformed> {
    Draft::user()
        .key("userName", record.word("userPrincipalName"))
        .email(record.word("mail"))
        .text("displayName", record, "displayName")
        .name("givenName", record, "givenName")
        .name("familyName", record, "surname")
        .text("title", record, "jobTitle")
        .text("department", record, "department")
        .text("employeeNumber", record, "employeeId")
        .text("preferredLanguage", record, "preferredLanguage")
        .list("phoneNumbers", phones(record)?)
        .active(record.flag("accountEnabled"))
        .upsert(id, None)
}

/// A group's name.
pub(super) fn group(id: ExternalId, record: &View<'_>) -> Result<Change, Malformed> {
    Draft::group().key("displayName", record.word("displayName")).upsert(id, None)
}

/// Both lists of numbers, where both are told: the list is one attribute.
fn phones(record: &View<'_>) -> Result<Option<Vec<Value>>, Malformed> {
    let told = |member| record.value().get(member).is_some();
    if !(told("businessPhones") && told("mobilePhone")) {
        return Ok(None);
    }
    let mut phones = Vec::new();
    if let Some(business) = record.get("businessPhones") {
        let numbers = business.items()?.filter_map(|number| number.value().as_str());
        phones.extend(numbers.map(|number| json!({"value": number, "type": "work"})));
    }
    phones.extend(record.word("mobilePhone").map(|number| json!({"value": number, "type": "mobile"})));
    Ok(Some(phones))
}

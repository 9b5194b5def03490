//! Microsoft Entra through Graph: <https://learn.microsoft.com/en-us/graph/api/resources/users>.
//!
//! Users and groups have no time of change. Who was deleted is unknown, also while it can be restored.

use std::time::Duration;

use http::{Method, StatusCode};
use percent_encoding::utf8_percent_encode;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Ask, Connector, Feed, FeedPage, Held, Members, Next, Page, RESERVED, Subscribe, Wish, Write, one, page,
    segment,
};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::Reading;
use crate::source::formats::draft::{Draft, group_deletion, memberships, user_deletion};
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// `kind = "graph"`; the base URL ends with the version.
pub struct Graph;

/// What is read of a user: without a list Graph leaves out whether the account is enabled.
const USER_FIELDS: &str = "id,userPrincipalName,accountEnabled,displayName,givenName,surname,mail,\
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

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }

    fn subscribe(&self) -> Option<&dyn Subscribe> {
        Some(self)
    }
}

/// Subscriptions of users and groups last less than 29 days. That one is made or deleted for a while comes
/// as an update.
impl Subscribe for Graph {
    fn topics(&self) -> &'static [&'static str] {
        &["users", "groups"]
    }

    fn lifetime(&self) -> Duration {
        Duration::from_hours(28 * 24)
    }

    fn make(&self, topic: &str, wish: &Wish<'_>) -> Write {
        let body = json!({
            "changeType": "updated,deleted",
            "notificationUrl": wish.address,
            "lifecycleNotificationUrl": wish.address,
            "resource": format!("/{topic}"),
            "expirationDateTime": wish.ends_at.to_string(),
            "clientState": wish.secret.expose_secret(),
        });
        Write { method: Method::POST, path: "subscriptions".to_owned(), endpoint: "subscriptions", body }
    }

    /// This lets Graph know anew that the relay may have what it sends, too.
    fn renew(&self, held: &Held, wish: &Wish<'_>) -> Vec<Write> {
        let id = utf8_percent_encode(&held.id, RESERVED);
        vec![Write {
            method: Method::PATCH,
            path: format!("subscriptions/{id}"),
            endpoint: "subscriptions/{id}",
            body: json!({ "expirationDateTime": wish.ends_at.to_string() }),
        }]
    }

    fn end(&self, held: &Held) -> Option<Write> {
        let id = utf8_percent_encode(&held.id, RESERVED);
        let path = format!("subscriptions/{id}");
        Some(Write { method: Method::DELETE, path, endpoint: "subscriptions/{id}", body: Value::Null })
    }

    fn made(&self, answer: &Value, wish: &Wish<'_>) -> Result<Held, Malformed> {
        let view = View::root(answer);
        let ends_at = view.time("expirationDateTime")?.unwrap_or(wish.ends_at);
        let (id, address) = (view.text("id")?.to_owned(), wish.address.to_owned());
        let (made_us, ends_us) = (wish.now.as_micros(), ends_at.as_micros());
        Ok(Held { id, handle: None, address, made_us, ends_us, due_us: None })
    }
}

/// Delta queries. A link is good for some days; after that everything is told, and who is not told then
/// may be gone: that stays unknown, since an absence is no proof.
impl Feed for Graph {
    fn streams(&self) -> &'static [&'static str] {
        &["users", "groups"]
    }

    fn begin(&self, stream: &str, _: Timestamp) -> String {
        format!("{}&$deltatoken=latest", everything(stream))
    }

    fn again(&self, stream: &str) -> Option<String> {
        Some(everything(stream))
    }

    /// Some errors are told as 400 with a code that says to begin anew.
    fn is_forgotten(&self, status: StatusCode, body: &Value) -> bool {
        let code = body["error"]["code"].as_str().unwrap_or_default();
        status == StatusCode::GONE || ["syncStateNotFound", "resyncRequired"].contains(&code)
    }

    fn page(&self, stream: &str, page: &Page<'_>) -> Result<FeedPage, Malformed> {
        let view = page.view();
        let mut reading = Reading::default();
        for item in view.need("value")?.items()? {
            reading.changes.extend(if stream == "groups" { group_delta(&item)? } else { user_delta(&item)? });
        }
        let link = |name| view.word(name).map(|link| Next::Link(link.to_owned()));
        match (link("@odata.nextLink"), link("@odata.deltaLink")) {
            (Some(next), _) => Ok(FeedPage { reading, next, is_last: false }),
            (None, Some(next)) => Ok(FeedPage { reading, next, is_last: true }),
            (None, None) => Err(view.wrong("says not where the delta goes on")),
        }
    }
}

fn everything(stream: &str) -> String {
    match stream {
        "groups" => "groups/delta?$select=displayName,members".to_owned(),
        _ => format!("users/delta?$select={USER_FIELDS}"),
    }
}

/// A removal, whether it can be undone or not, is the end of it here.
fn user_delta(item: &View<'_>) -> Result<Vec<Change>, Malformed> {
    let id = item.need("id")?.id()?;
    Ok(vec![if item.get("@removed").is_some() { user_deletion(id, None) } else { user(id, item)? }])
}

/// Members come as a difference, and the same group may come on several pages.
fn group_delta(item: &View<'_>) -> Result<Vec<Change>, Malformed> {
    let id = item.need("id")?.id()?;
    if item.get("@removed").is_some() {
        return Ok(vec![group_deletion(id, None)]);
    }
    let mut changes = vec![group(id.clone(), item)?];
    if let Some(members) = item.get("members@delta") {
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        for member in members.items()? {
            let kind = member.word("@odata.type").unwrap_or("#microsoft.graph.user");
            if kind.eq_ignore_ascii_case("#microsoft.graph.user") {
                let list = if member.get("@removed").is_some() { &mut left } else { &mut joined };
                list.push(member.need("id")?.id()?);
            }
        }
        changes.push(memberships(id, joined, left, None));
    }
    Ok(changes)
}

/// A user as a record or a delta query tells it; what a delta query leaves out has not changed.
fn user(id: ExternalId, record: &View<'_>) -> Result<Change, Malformed> {
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
fn group(id: ExternalId, record: &View<'_>) -> Result<Change, Malformed> {
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

//! Google Workspace: <https://developers.google.com/workspace/admin/directory/reference/rest/v1>.
//!
//! Users and groups have no time of change. Lists that are empty are left out of an answer.

use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Ask, Connector, Held, Members, Next, Page, Subscribe, Wish, Write, one, page, segment, with_parameter,
};
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::formats::draft::Draft;
use crate::source::formats::view::View;
use crate::source::json::Malformed;
use crate::source::signature::time::millis;

/// `kind = "google"`; the base URL is the host alone.
pub struct Google;

/// The longest that Google lets a channel last.
const CHANNEL: Duration = Duration::from_hours(48);
/// Google's largest page of members.
const PAGE: u32 = 200;

impl Connector for Google {
    fn record(&self, key: &ResourceKey) -> Option<Ask> {
        let id = segment(&key.id);
        Some(match key.kind {
            Kind::User => one(Kind::User, format!("admin/directory/v1/users/{id}?projection=full")),
            Kind::Group => one(Kind::Group, format!("admin/directory/v1/groups/{id}")),
        })
    }

    fn understand(&self, key: &ResourceKey, record: &View<'_>) -> Result<Vec<Change>, Malformed> {
        Ok(vec![match key.kind {
            Kind::User => user(key.id.clone(), record)?,
            Kind::Group => {
                Draft::group().key("displayName", record.word("name")).upsert(key.id.clone(), None)?
            }
        }])
    }

    /// With `notFound`, and the message `Resource Not Found: userKey` or `groupKey`, as several clients of
    /// the Directory API have recorded it. A path that leads nowhere is answered without such a list.
    fn is_absent(&self, status: StatusCode, body: &Value) -> bool {
        let reasons = body["error"]["errors"].as_array();
        status == StatusCode::NOT_FOUND
            && reasons.is_some_and(|errors| errors.iter().any(|error| error["reason"] == "notFound"))
    }

    fn members(&self, group: &ExternalId) -> Option<Ask> {
        Some(page(format!("admin/directory/v1/groups/{}/members?maxResults={PAGE}", segment(group))))
    }

    fn member_page(&self, page: &Page<'_>) -> Result<Members, Malformed> {
        let view = page.view();
        if view.text("kind")? != "admin#directory#members" {
            return Err(view.wrong("a list of members is expected"));
        }
        let mut users = Vec::new();
        if let Some(members) = view.get("members") {
            let of_users = members.items()?.filter(|member| member.word("type") == Some("USER"));
            users = of_users.map(|member| member.need("id")?.id()).collect::<Result<_, _>>()?;
        }
        let next =
            view.word("nextPageToken").map(|token| Next::Path(with_parameter(page.path, "pageToken", token)));
        Ok(Members { users, next })
    }

    fn subscribe(&self) -> Option<&dyn Subscribe> {
        Some(self)
    }
}

/// Channels of users last two days, and are replaced rather than renewed; of groups there are none.
impl Subscribe for Google {
    fn topics(&self) -> &'static [&'static str] {
        &["users"]
    }

    fn lifetime(&self) -> Duration {
        CHANNEL
    }

    fn make(&self, _: &str, wish: &Wish<'_>) -> Write {
        let body = json!({
            "id": wish.id,
            "type": "web_hook",
            "address": wish.address,
            "token": wish.secret.expose_secret(),
            "params": {"ttl": CHANNEL.as_secs().to_string()},
        });
        let path = "admin/directory/v1/users/watch?customer=my_customer".to_owned();
        Write { method: Method::POST, path, endpoint: "users/watch", body }
    }

    fn renew(&self, _: &Held, _: &Wish<'_>) -> Option<Write> {
        None
    }

    fn end(&self, held: &Held) -> Option<Write> {
        Some(Write {
            method: Method::POST,
            path: "admin/directory_v1/channels/stop".to_owned(),
            endpoint: "channels/stop",
            body: json!({"id": held.id, "resourceId": held.handle.as_ref()?}),
        })
    }

    fn made(&self, answer: &Value, wish: &Wish<'_>) -> Result<Held, Malformed> {
        let view = View::root(answer);
        let told = view.word("expiration").and_then(|text| text.parse().ok()).and_then(millis);
        Ok(Held {
            id: wish.id.to_owned(),
            handle: Some(view.text("resourceId")?.to_owned()),
            address: wish.address.to_owned(),
            made_us: wish.now.as_micros(),
            ends_us: told.unwrap_or(wish.ends_at).as_micros(),
        })
    }
}

/// A user as a record tells it.
fn user(id: ExternalId, record: &View<'_>) -> Result<Change, Malformed> {
    let email = record.word("primaryEmail");
    let organization = primary(record, "organizations")?;
    let mut draft = Draft::user()
        .key("userName", email)
        .email(email)
        .list("phoneNumbers", phones(record)?)
        .active(may_sign_in(record));
    if let Some(name) = record.get("name") {
        draft = draft.name("givenName", &name, "givenName").name("familyName", &name, "familyName").text(
            "displayName",
            &name,
            "fullName",
        );
    }
    if let Some(organization) = organization {
        draft = draft
            .text("title", &organization, "title")
            .text("department", &organization, "department")
            .text("costCenter", &organization, "costCenter");
    }
    draft.upsert(id, None)
}

/// Somebody archived may not sign in either. A record that says neither leaves what is known.
fn may_sign_in(record: &View<'_>) -> Option<bool> {
    let suspended = record.flag("suspended")?;
    Some(!suspended && record.flag("archived") != Some(true))
}

fn primary<'a>(record: &View<'a>, list: &str) -> Result<Option<View<'a>>, Malformed> {
    let Some(list) = record.get(list) else { return Ok(None) };
    let items: Vec<View<'a>> = list.items()?.collect();
    let marked = items.iter().find(|item| item.flag("primary") == Some(true));
    Ok(marked.or(items.first()).cloned())
}

fn phones(record: &View<'_>) -> Result<Option<Vec<Value>>, Malformed> {
    let Some(list) = record.get("phones") else { return Ok(None) };
    let phone = |phone: View<'_>| {
        let number = phone.word("value")?;
        Some(json!({"value": number, "type": phone.word("type").unwrap_or("work")}))
    };
    Ok(Some(list.items()?.filter_map(phone).collect()))
}

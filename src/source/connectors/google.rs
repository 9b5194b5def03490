//! Google Workspace: <https://developers.google.com/workspace/admin/directory/reference/rest/v1>.
//!
//! Users and groups have no time of change. Lists that are empty are left out of an answer.

use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    Ask, Connector, Feed, FeedPage, Held, Members, Next, Page, Subscribe, Wish, Write, one, page, segment,
    with_parameter,
};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, ResourceKey};
use crate::source::Reading;
use crate::source::formats::draft::{Draft, user_deletion};
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
        status == StatusCode::NOT_FOUND && reasons(body).any(|reason| reason == "notFound")
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

    fn feed(&self) -> Option<&dyn Feed> {
        Some(self)
    }

    fn subscribe(&self) -> Option<&dyn Subscribe> {
        Some(self)
    }
}

/// Google's record of changes names people by address, not by id, and is hours late at times; so everybody is
/// listed. Who was deleted within the last 20 days has a list of its own, so that no absence has to prove it.
/// Of groups there is no such list: that one is gone stays unknown.
impl Feed for Google {
    fn streams(&self) -> &'static [&'static str] {
        &["users", "deleted", "groups"]
    }

    fn begin(&self, stream: &str, _: Timestamp) -> String {
        listing(stream).to_owned()
    }

    /// A page's token lasts three days; one that is older, or wrong, is refused as an invalid input.
    fn again(&self, stream: &str) -> Option<String> {
        Some(listing(stream).to_owned())
    }

    fn is_forgotten(&self, status: StatusCode, body: &Value) -> bool {
        status == StatusCode::GONE
            || status == StatusCode::BAD_REQUEST && reasons(body).any(|reason| reason == "invalid")
    }

    fn is_whole(&self) -> bool {
        true
    }

    /// Lists are made from an index that follows the records themselves.
    fn lag(&self) -> Duration {
        Duration::from_mins(15)
    }

    fn page(&self, stream: &str, page: &Page<'_>) -> Result<FeedPage, Malformed> {
        let view = page.view();
        let (kind, list) = match stream {
            "groups" => ("admin#directory#groups", "groups"),
            _ => ("admin#directory#users", "users"),
        };
        if view.text("kind")? != kind {
            return Err(view.wrong(format!("a list of {list} is expected")));
        }
        let mut reading = Reading::default();
        if let Some(items) = view.get(list) {
            for item in items.items()? {
                let id = item.need("id")?.id()?;
                match stream {
                    // Their members are no part of the list.
                    "groups" => reading.needs_read.push(ResourceKey::group(id)),
                    "deleted" => reading.changes.push(user_deletion(id, item.time("deletionTime")?)),
                    _ => reading.changes.push(user(id, &item)?),
                }
            }
        }
        let token = view.word("nextPageToken");
        let next = match token {
            Some(token) => with_parameter(page.path, "pageToken", token),
            None => listing(stream).to_owned(),
        };
        Ok(FeedPage { reading, next: Next::Path(next), is_last: token.is_none() })
    }
}

fn listing(stream: &str) -> &'static str {
    match stream {
        "groups" => "admin/directory/v1/groups?customer=my_customer&maxResults=200",
        "deleted" => "admin/directory/v1/users?customer=my_customer&showDeleted=true&maxResults=500",
        _ => "admin/directory/v1/users?customer=my_customer&projection=full&orderBy=email&maxResults=500",
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

    fn renew(&self, _: &Held, _: &Wish<'_>) -> Vec<Write> {
        Vec::new()
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
            due_us: None,
        })
    }
}

/// What Google says was wrong with a call.
fn reasons(body: &Value) -> impl Iterator<Item = &str> {
    body["error"]["errors"].as_array().into_iter().flatten().filter_map(|error| error["reason"].as_str())
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

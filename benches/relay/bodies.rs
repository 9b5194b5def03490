//! What the webhooks say.

use bytes::Bytes;
use scim_relay::clock::Timestamp;
use serde_json::{Value, json};

/// A user's whole record, about 1 KiB, as an HR system sends it after any change.
pub fn full_user(user: usize) -> Bytes {
    let name = format!("user{user}@example.com");
    let attributes = json!({
        "userName": name, "displayName": format!("Given{user} Family{user}"), "active": true,
        "name": {"givenName": format!("Given{user}"), "familyName": format!("Family{user}"),
                 "formatted": format!("Given{user} Family{user}")},
        "emails": [{"value": name, "type": "work", "primary": true},
                   {"value": format!("user{user}@home.example.org"), "type": "home"}],
        "phoneNumbers": [{"value": format!("+49 30 {user:08}"), "type": "work"},
                         {"value": format!("+49 170 {user:08}"), "type": "mobile"}],
        "addresses": [{"type": "work", "streetAddress": format!("Example Street {user}"), "locality": "Berlin",
                       "postalCode": "10115", "country": "DE"}],
        "title": "Senior Specialist for Customer Relations", "userType": "Employee",
        "preferredLanguage": "de-DE", "locale": "de-DE", "timezone": "Europe/Berlin",
        "employeeNumber": format!("{user:08}"), "costCenter": "4130", "organization": "Example Corporation",
        "division": "Customer Services", "department": "SUPPORT",
    });
    body(&[json!({"op": "user.upsert", "id": user_id(user), "attributes": attributes})])
}

/// Several new users in one event.
pub fn new_users(users: impl IntoIterator<Item = usize>, at: Timestamp) -> Bytes {
    let changes: Vec<Value> = users
        .into_iter()
        .map(|user| {
            json!({"op": "user.upsert", "id": user_id(user), "occurred_at": at.to_string(), "attributes": {
                "userName": format!("user{user}@example.com"), "displayName": format!("User {user}"),
                "active": true, "department": "SUPPORT"}})
        })
        .collect();
    body(&changes)
}

/// Several new groups in one event.
pub fn new_groups(groups: impl IntoIterator<Item = usize>, at: Timestamp) -> Bytes {
    let changes: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            json!({"op": "group.upsert", "id": group_id(group), "occurred_at": at.to_string(),
                "attributes": {"displayName": format!("Team {group}")}})
        })
        .collect();
    body(&changes)
}

/// A change of one user's title.
pub fn new_title(user: usize, title: &str, at: Timestamp) -> Bytes {
    body(&[json!({"op": "user.upsert", "id": user_id(user), "occurred_at": at.to_string(),
        "attributes": {"title": title}})])
}

/// One new member.
pub fn new_member(group: usize, user: usize, at: Timestamp) -> Bytes {
    body(&[json!({"op": "group.members", "id": group_id(group), "occurred_at": at.to_string(),
        "add": [user_id(user)]})])
}

/// Several new members of one group.
pub fn new_members(group: usize, users: impl IntoIterator<Item = usize>, at: Timestamp) -> Bytes {
    let users: Vec<String> = users.into_iter().map(user_id).collect();
    body(&[
        json!({"op": "group.members", "id": group_id(group), "occurred_at": at.to_string(), "add": users}),
    ])
}

/// The directory's id of a user.
pub fn user_id(user: usize) -> String {
    format!("u-{user}")
}

fn group_id(group: usize) -> String {
    format!("g-{group}")
}

fn body(changes: &[Value]) -> Bytes {
    json!({ "changes": changes }).to_string().into()
}

//! Changes while they are put together from a sender's own words.

use serde_json::{Map, Value, json};

use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, MembersEdit, Operation, ResourceKey, parse_attributes};
use crate::source::json::Malformed;
use crate::source::{Notice, Reading};

/// What is known of one user or group.
pub struct Draft {
    kind: Kind,
    attributes: Map<String, Value>,
    name: Map<String, Value>,
}

impl Draft {
    /// Of a user.
    pub fn user() -> Self {
        Self { kind: Kind::User, attributes: Map::new(), name: Map::new() }
    }

    /// Of a group.
    pub fn group() -> Self {
        Self { kind: Kind::Group, ..Self::user() }
    }

    /// A text that stands in the member `from`: absent leaves what is known, null or blank removes it.
    pub fn text(mut self, attribute: &str, record: &View<'_>, from: &str) -> Self {
        if let Some(value) = text_of(record, from) {
            self.attributes.insert(attribute.to_owned(), value);
        }
        self
    }

    /// A part of the person's name that stands in the member `from`.
    pub fn name(mut self, part: &str, record: &View<'_>, from: &str) -> Self {
        if let Some(value) = text_of(record, from) {
            self.name.insert(part.to_owned(), value);
        }
        self
    }

    /// The text that others know the user or group by; `None` and blank leave what is known, since
    /// nobody can be without it.
    pub fn key(mut self, attribute: &str, value: Option<&str>) -> Self {
        if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
            self.attributes.insert(attribute.to_owned(), value.into());
        }
        self
    }

    /// The one work address.
    pub fn email(mut self, address: Option<&str>) -> Self {
        if let Some(address) = address.filter(|address| !address.trim().is_empty()) {
            let emails = json!([{"value": address, "type": "work", "primary": true}]);
            self.attributes.insert("emails".to_owned(), emails);
        }
        self
    }

    /// A list that is known as a whole; `None` leaves what is known.
    pub fn list(mut self, attribute: &str, items: Option<Vec<Value>>) -> Self {
        if let Some(items) = items {
            self.attributes.insert(attribute.to_owned(), items.into());
        }
        self
    }

    /// Whether the user may sign in; `None` leaves what is known.
    pub fn active(mut self, active: Option<bool>) -> Self {
        if let Some(active) = active {
            self.attributes.insert("active".to_owned(), active.into());
        }
        self
    }

    /// A SCIM resource as somebody else's client wrote it. Attributes that are not of the shape that
    /// SCIM gives them are left out, rather than the whole refused for them.
    pub fn scim(mut self, resource: &Map<String, Value>) -> Self {
        for (name, value) in resource {
            let alone = Map::from_iter([(name.clone(), value.clone())]);
            if parse_attributes(self.kind, &alone).is_ok() {
                self.attributes.insert(name.clone(), value.clone());
            }
        }
        self
    }

    /// The upsert of what is known.
    pub fn upsert(mut self, id: ExternalId, occurred_at: Option<Timestamp>) -> Result<Change, Malformed> {
        if !self.name.is_empty() {
            let name = self.attributes.entry("name").or_insert_with(|| Value::Object(Map::new()));
            match name.as_object_mut() {
                Some(parts) => parts.extend(self.name),
                None => *name = Value::Object(self.name),
            }
        }
        let attributes = parse_attributes(self.kind, &self.attributes)
            .map_err(|error| Malformed::new(error.pointer, error.reason))?;
        let operation = match self.kind {
            Kind::User => Operation::UserUpsert { id, attributes },
            Kind::Group => Operation::GroupUpsert { id, attributes },
        };
        Ok(Change { occurred_at, operation })
    }
}

fn text_of(record: &View<'_>, from: &str) -> Option<Value> {
    match record.value().get(from)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.as_str().into()),
        Value::String(_) | Value::Null => Some(Value::Null),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The end of a user's access.
pub fn deactivation(id: ExternalId, occurred_at: Option<Timestamp>) -> Change {
    Change { occurred_at, operation: Operation::UserDeactivate { id } }
}

/// The end of a user.
pub fn user_deletion(id: ExternalId, occurred_at: Option<Timestamp>) -> Change {
    Change { occurred_at, operation: Operation::UserDelete { id } }
}

/// The end of a group.
pub fn group_deletion(id: ExternalId, occurred_at: Option<Timestamp>) -> Change {
    Change { occurred_at, operation: Operation::GroupDelete { id } }
}

/// One who joins a group, or leaves it.
pub fn membership(
    group: ExternalId,
    user: ExternalId,
    joins: bool,
    occurred_at: Option<Timestamp>,
) -> Change {
    let (add, remove) = if joins { (vec![user], vec![]) } else { (vec![], vec![user]) };
    memberships(group, add, remove, occurred_at)
}

/// Those who join a group, and those who leave it.
pub fn memberships(
    group: ExternalId,
    add: Vec<ExternalId>,
    remove: Vec<ExternalId>,
    occurred_at: Option<Timestamp>,
) -> Change {
    let edit = MembersEdit::Delta { add, remove };
    Change { occurred_at, operation: Operation::GroupMembers { id: group, edit } }
}

impl Reading {
    /// A body that says this.
    pub(in crate::source) fn of(changes: Vec<Change>) -> Self {
        Self { changes, ..Self::default() }
    }

    /// A body that names a record without saying what has become of it.
    pub(in crate::source) fn needing(key: ResourceKey) -> Self {
        Self { needs_read: vec![key], ..Self::default() }
    }

    /// A body that means nothing to a directory.
    pub(in crate::source) fn nothing() -> Self {
        Self { ignored: 1, ..Self::default() }
    }

    /// A body that is about the webhooks themselves.
    pub(in crate::source) fn noticing(notices: Vec<Notice>) -> Self {
        Self { notices, ..Self::default() }
    }

    /// This, under the sender's id of the event.
    pub(in crate::source) fn under(self, event_id: Option<&str>) -> Self {
        Self { event_id: event_id.map(str::to_owned), ..self }
    }

    /// This, and the record must be read besides.
    pub(in crate::source) fn and_needing(mut self, key: ResourceKey) -> Self {
        self.needs_read.push(key);
        self
    }

    /// This and that; the id is left to the caller.
    pub(in crate::source) fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self.needs_read.extend(other.needs_read);
        self.everyone_needs_read |= other.everyone_needs_read;
        self.ignored += other.ignored;
        self.notices.extend(other.notices);
        self
    }
}

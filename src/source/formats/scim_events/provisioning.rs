//! SCIM events (RFC 9967): what became of a user or group at the transmitter.
//!
//! `:full` events bear the data, `:notice` events only say which attributes have changed. A `patch`
//! bears the operations of a SCIM PATCH, or, with some transmitters, the resource as it is now.

use serde_json::{Map, Value};

use super::claims::{Event, Subject};
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Kind, MembersEdit, Operation, ResourceKey};
use crate::scim::filter::{Comparison, Filter};
use crate::scim::patch::{Op, PatchOp, PatchRequest};
use crate::scim::path::PatchPath;
use crate::source::Reading;
use crate::source::formats::draft::{Draft, deactivation, group_deletion, user_deletion};
use crate::source::formats::view::View;
use crate::source::json::Malformed;

/// Reads an event by what follows `urn:ietf:params:scim:event:` in its URI.
pub fn read(name: &str, event: &Event<'_>) -> Result<Reading, Malformed> {
    // Leaving the feed is no end of anything; the results of asynchronous requests are not ours.
    if !name.starts_with("prov:") && name != "feed:add" {
        return Ok(Reading::nothing());
    }
    let (Subject::Known(key) | Subject::Named(key)) = event.subject()?;
    let at = event.at();
    let data = event.payload.get("data");
    Ok(match (name, data, key.kind) {
        ("prov:create:full" | "prov:put:full", Some(data), _) => resource(&data, &key, at)?,
        ("prov:patch:full", Some(data), _) => match data.get("Operations") {
            Some(_) => patched(&data, key, at)?,
            None => resource(&data, &key, at)?,
        },
        ("prov:delete", _, Kind::User) => Reading::of(vec![user_deletion(key.id, at)]),
        ("prov:delete", _, Kind::Group) => Reading::of(vec![group_deletion(key.id, at)]),
        ("prov:deactivate", _, Kind::User) => Reading::of(vec![deactivation(key.id, at)]),
        ("prov:activate", _, Kind::User) => {
            Reading::of(vec![Draft::user().active(Some(true)).upsert(key.id, at)?])
        }
        _ => Reading::needing(key),
    })
}

/// A resource as it is now; a group's list of members is the whole.
fn resource(data: &View<'_>, key: &ResourceKey, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let attributes = data.object().ok_or_else(|| data.wrong("an object is expected"))?;
    let mut plain = attributes.clone();
    plain.retain(|name, _| !name.eq_ignore_ascii_case("members"));
    let mut reading = Reading::of(vec![draft(key.kind).scim(&plain).upsert(key.id.clone(), at)?]);
    let members = attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case("members"));
    if let Some((_, Value::Array(_))) = members.filter(|_| key.kind == Kind::Group) {
        let mut edits = Edits::default();
        edits.set(members.map_or(&Value::Null, |(_, value)| value), data)?;
        reading.changes.extend(edits.into_changes(&key.id, at));
    }
    Ok(reading)
}

/// The operations of a PATCH. One that depends on what was there before leaves the record to be read.
fn patched(data: &View<'_>, key: ResourceKey, at: Option<Timestamp>) -> Result<Reading, Malformed> {
    let request = PatchRequest::parse(data.value()).map_err(|error| data.wrong(error.to_string()))?;
    let mut attributes = Map::new();
    let mut edits = Edits::default();
    let mut is_all = true;
    for operation in &request.operations {
        is_all &= edits.read(operation, key.kind, data)? || set_attribute(operation, &mut attributes);
    }
    let mut reading = Reading::default();
    if !attributes.is_empty() {
        reading.changes.push(draft(key.kind).scim(&attributes).upsert(key.id.clone(), at)?);
    }
    reading.changes.extend(edits.into_changes(&key.id, at));
    Ok(if is_all { reading } else { reading.and_needing(key) })
}

/// Whether the operation sets or removes whole attributes, which is done then.
fn set_attribute(operation: &PatchOp, attributes: &mut Map<String, Value>) -> bool {
    let value = match (operation.op, &operation.value) {
        (Op::Remove, _) => Value::Null,
        (Op::Add | Op::Replace, Some(value)) => value.clone(),
        (Op::Add | Op::Replace, None) => return false,
    };
    let Some(path) = &operation.path else {
        let Value::Object(values) = value else { return false };
        // To add to a list one must know the list.
        let is_whole = operation.op == Op::Replace || values.values().all(|value| !value.is_array());
        attributes.extend(values.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("members")));
        return is_whole;
    };
    let Some(path) = PatchPath::parse(path).filter(|path| path.filter.is_none()) else { return false };
    if operation.op == Op::Add && value.is_array() {
        return false;
    }
    match path.attribute.sub {
        None => {
            let name = path
                .attribute
                .urn
                .map_or(path.attribute.name.clone(), |urn| format!("{urn}:{}", path.attribute.name));
            attributes.insert(name, value);
            true
        }
        Some(sub) if path.attribute.name.eq_ignore_ascii_case("name") => {
            let name = attributes.entry("name").or_insert_with(|| Value::Object(Map::new()));
            name.as_object_mut().map(|parts| parts.insert(sub, value)).is_some()
        }
        Some(_) => false,
    }
}

fn draft(kind: Kind) -> Draft {
    match kind {
        Kind::User => Draft::user(),
        Kind::Group => Draft::group(),
    }
}

/// What operations do to the members of a group, in their order.
#[derive(Default)]
struct Edits(Vec<MembersEdit>);

impl Edits {
    /// Whether the operation is about members alone, which is noted then.
    fn read(&mut self, operation: &PatchOp, kind: Kind, data: &View<'_>) -> Result<bool, Malformed> {
        if kind == Kind::User {
            return Ok(false);
        }
        let nothing = Value::Null;
        let value = operation.value.as_ref().unwrap_or(&nothing);
        let Some(path) = &operation.path else {
            let members = value.as_object().and_then(|object| {
                object
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case("members"))
                    .map(|(_, members)| members)
            });
            if let Some(members) = members {
                self.apply(operation.op, members, data)?;
            }
            let is_alone = value.as_object().is_some_and(|object| object.len() == 1);
            return Ok(members.is_some() && is_alone);
        };
        let Some(path) = PatchPath::parse(path) else { return Ok(false) };
        if !path.attribute.name.eq_ignore_ascii_case("members") {
            return Ok(false);
        }
        match (&path.filter, operation.op) {
            (None, op) => self.apply(op, value, data)?,
            (Some(filter), Op::Remove) => match member_of(filter) {
                Some(id) => self.leave(vec![external_id(id, data)?]),
                None => return Ok(false),
            },
            (Some(_), Op::Add | Op::Replace) => return Ok(false),
        }
        Ok(true)
    }

    fn apply(&mut self, op: Op, value: &Value, data: &View<'_>) -> Result<(), Malformed> {
        match op {
            Op::Add => {
                let add = members(value, data)?;
                self.0.push(MembersEdit::Delta { add, remove: Vec::new() });
            }
            Op::Replace => self.set(value, data)?,
            // Without a value everybody leaves; some send those who leave as the value.
            Op::Remove if value.is_null() => self.0.push(MembersEdit::Set(Vec::new())),
            Op::Remove => self.leave(members(value, data)?),
        }
        Ok(())
    }

    fn set(&mut self, value: &Value, data: &View<'_>) -> Result<(), Malformed> {
        self.0.push(MembersEdit::Set(members(value, data)?));
        Ok(())
    }

    fn leave(&mut self, remove: Vec<ExternalId>) {
        self.0.push(MembersEdit::Delta { add: Vec::new(), remove });
    }

    fn into_changes(
        self,
        group: &ExternalId,
        occurred_at: Option<Timestamp>,
    ) -> impl Iterator<Item = Change> {
        self.0.into_iter().map(move |edit| Change {
            occurred_at,
            operation: Operation::GroupMembers { id: group.clone(), edit },
        })
    }
}

/// `value eq "id"`.
fn member_of(filter: &Filter) -> Option<&str> {
    match filter {
        Filter::Compare(path, Comparison::Equal, Value::String(id))
            if path.name.eq_ignore_ascii_case("value") =>
        {
            Some(id)
        }
        Filter::Compare(..)
        | Filter::And(_)
        | Filter::Or(_)
        | Filter::Not(_)
        | Filter::Present(_)
        | Filter::Values(..) => None,
    }
}

/// The users of a list of members, or of one. Groups in groups are left out.
fn members(value: &Value, data: &View<'_>) -> Result<Vec<ExternalId>, Malformed> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        Value::Object(_) => std::slice::from_ref(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(data.wrong("a list of members is expected"));
        }
    };
    let is_user = |item: &&Value| {
        item.get("type").and_then(Value::as_str).is_none_or(|kind| !kind.eq_ignore_ascii_case("group"))
    };
    items
        .iter()
        .filter(is_user)
        .map(|item| external_id(item.get("value").and_then(Value::as_str).unwrap_or_default(), data))
        .collect()
}

fn external_id(text: &str, data: &View<'_>) -> Result<ExternalId, Malformed> {
    ExternalId::parse(text).map_err(|error| data.wrong(error.to_string()))
}

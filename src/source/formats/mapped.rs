//! Any JSON whose meaning the configuration tells: where an event's type stands, and what each type
//! changes.

mod pointer;
pub mod records;
#[cfg(test)]
mod tests;

use http::StatusCode;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::draft::{deactivation, group_deletion, user_deletion};
use super::view::View;
use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, MembersEdit, Operation, ResourceKey, parse_attributes};
use crate::source::json::{self, Malformed};
use crate::source::signature::time::Format;
use crate::source::signature::{Scheme, SecretError, Verifier};
use crate::source::{Delivery, Manners, Media, Proof, Reading, Refusal, Source};

pub use crate::directory::Kind;
pub use pointer::Pointer;

/// Most members in one list of one change.
const MEMBERS_MAX: usize = 100_000;
/// Most events in one body.
const EVENTS_MAX: usize = 10_000;

/// What the configuration says of a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// How it proves who it is.
    pub scheme: Scheme,
    /// Where the list of events stands; `None`: the body is one event, or a list of them.
    pub events: Option<Pointer>,
    /// Where, in an event, its type stands.
    pub event_type: Pointer,
    /// Where, in a body with one event, the event's id stands.
    pub event_id: Option<Pointer>,
    /// Where, in an event, its time stands, and how it is written.
    pub occurred_at: Option<(Pointer, Format)>,
    /// What events mean; the first rule that knows the type counts.
    pub rules: Vec<Rule>,
    /// The status of an event that is durable.
    pub accepted: StatusCode,
    /// The status over the intake limit.
    pub limited: StatusCode,
}

/// What events of some types mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The types; `*` is any.
    pub types: Vec<String>,
    /// Where, in an event, the id of the user or group stands.
    pub id: Pointer,
    /// What becomes of it.
    pub effect: Effect,
}

/// What becomes of a user or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It exists, with attributes that stand in the event.
    Upsert(Kind, Vec<Field>),
    /// The user's access ends.
    Deactivate,
    /// It is gone.
    Delete(Kind),
    /// Users join the group or leave it.
    Members {
        /// Where those who join stand.
        add: Option<Pointer>,
        /// Where those who leave stand.
        remove: Option<Pointer>,
    },
    /// The group's members are exactly those who stand there.
    MemberSet(Pointer),
    /// The event does not say, and the record must be read.
    Read(Kind),
}

/// Where an attribute stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The attribute in SCIM, such as `name.givenName`.
    pub attribute: String,
    /// Where, in an event, its value stands.
    pub from: Pointer,
    /// Values that mean true, where the sender has words for it.
    pub true_when: Option<Vec<String>>,
}

/// A source that is read by a [`Mapping`].
pub struct Mapped {
    mapping: Mapping,
    verifier: Verifier,
}

impl Mapped {
    /// With any of these secrets.
    pub fn open(mapping: &Mapping, secrets: &[SecretString]) -> Result<Self, SecretError> {
        let verifier = Verifier::new(mapping.scheme.clone(), secrets)?;
        Ok(Self { mapping: mapping.clone(), verifier })
    }
}

impl Source for Mapped {
    fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        self.verifier.verify(delivery, now)
    }

    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        self.mapping.read(body)
    }

    fn manners(&self) -> Manners {
        Manners {
            accepted: self.mapping.accepted,
            limited: self.mapping.limited,
            media: Media::Json,
            ..Manners::USUAL
        }
    }
}

impl Mapping {
    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        let body = json::parse(body)?;
        let events = self.events_of(&body)?;
        let mut reading = Reading::default();
        for (value, pointer) in &events {
            let event = self.read_event(value);
            let event =
                event.map_err(|error| Malformed::new(format!("{pointer}{}", error.pointer), error.reason))?;
            reading = reading.and(event);
        }
        let id = match (&self.event_id, events.as_slice()) {
            (Some(id), [(only, _)]) => id.value(only).and_then(text_of),
            _ => None,
        };
        Ok(reading.under(id.as_deref()))
    }

    /// The events, each with its place in the body.
    fn events_of<'a>(&self, body: &'a Value) -> Result<Vec<(&'a Value, String)>, Malformed> {
        let (list, pointer) = match &self.events {
            Some(pointer) => {
                let list =
                    pointer.value(body).ok_or_else(|| Malformed::new(pointer.as_str(), "is missing"))?;
                (list, pointer.as_str())
            }
            None if body.is_array() => (body, ""),
            None => return Ok(vec![(body, String::new())]),
        };
        match list.as_array() {
            Some(items) if items.len() <= EVENTS_MAX => {
                let place = |(index, item)| (item, format!("{pointer}/{index}"));
                Ok(items.iter().enumerate().map(place).collect())
            }
            Some(items) => {
                Err(Malformed::new(pointer, format!("holds {} items, over {EVENTS_MAX}", items.len())))
            }
            None => Err(Malformed::new(pointer, "a list is expected")),
        }
    }

    fn read_event(&self, event: &Value) -> Result<Reading, Malformed> {
        let kind = self.event_type.value(event).and_then(text_of);
        let kind = kind.ok_or_else(|| Malformed::new(self.event_type.as_str(), "a text is expected"))?;
        let knows = |rule: &&Rule| rule.types.iter().any(|known| *known == kind || known == "*");
        let Some(rule) = self.rules.iter().find(knows) else { return Ok(Reading::nothing()) };
        rule.read(event, self.time(event)?)
    }

    fn time(&self, event: &Value) -> Result<Option<Timestamp>, Malformed> {
        self.occurred_at.as_ref().map_or(Ok(None), |(pointer, format)| time(pointer, *format, event))
    }
}

impl Rule {
    fn read(&self, event: &Value, at: Option<Timestamp>) -> Result<Reading, Malformed> {
        let id = self.id.value(event).ok_or_else(|| Malformed::new(self.id.as_str(), "is missing"))?;
        let id = id_of(id, self.id.as_str())?;
        Ok(match &self.effect {
            Effect::Upsert(kind, fields) => Reading::of(vec![upsert(*kind, id, fields, event, at)?]),
            Effect::Deactivate => Reading::of(vec![deactivation(id, at)]),
            Effect::Delete(Kind::User) => Reading::of(vec![user_deletion(id, at)]),
            Effect::Delete(Kind::Group) => Reading::of(vec![group_deletion(id, at)]),
            Effect::Members { add, remove } => {
                let list = |pointer: &Option<Pointer>| {
                    pointer.as_ref().map_or(Ok(Vec::new()), |pointer| ids_of(pointer, event))
                };
                let edit = MembersEdit::Delta { add: list(add)?, remove: list(remove)? };
                members(id, edit, at)
            }
            Effect::MemberSet(pointer) => {
                // A list that is missing is no empty list: an empty one ends every membership.
                if pointer.has_no_list(event) {
                    return Err(Malformed::new(pointer.as_str(), "a list is expected"));
                }
                members(id, MembersEdit::Set(ids_of(pointer, event)?), at)
            }
            Effect::Read(kind) => Reading::needing(ResourceKey { kind: *kind, id }),
        })
    }
}

fn members(group: ExternalId, edit: MembersEdit, occurred_at: Option<Timestamp>) -> Reading {
    Reading::of(vec![Change { occurred_at, operation: Operation::GroupMembers { id: group, edit } }])
}

/// The time that stands at a pointer; `None` where nothing does.
pub fn time(pointer: &Pointer, format: Format, record: &Value) -> Result<Option<Timestamp>, Malformed> {
    let Some(value) = pointer.value(record).filter(|value| !value.is_null()) else { return Ok(None) };
    match text_of(value).and_then(|text| format.read(&text)) {
        Some(time) => Ok(Some(time)),
        None => Err(Malformed::new(pointer.as_str(), "is not a time of the form that is configured")),
    }
}

/// What fields of a record say. An attribute that is absent is left as it is; null removes it.
pub fn upsert(
    kind: Kind,
    id: ExternalId,
    fields: &[Field],
    event: &Value,
    occurred_at: Option<Timestamp>,
) -> Result<Change, Malformed> {
    let mut attributes = Map::new();
    for field in fields {
        let Some(value) = field.from.value(event) else { continue };
        let value = field.convert(value);
        let alone = nested(&field.attribute, value.clone());
        parse_attributes(kind, &alone).map_err(|error| Malformed::new(field.from.as_str(), error.reason))?;
        match field.attribute.split_once('.').filter(|_| !field.attribute.starts_with("urn:")) {
            Some((container, part)) => {
                let slot = attributes.entry(container).or_insert_with(|| Value::Object(Map::new()));
                slot[part] = value;
            }
            None => {
                attributes.insert(field.attribute.clone(), value);
            }
        }
    }
    let attributes =
        parse_attributes(kind, &attributes).map_err(|error| Malformed::new(error.pointer, error.reason))?;
    let operation = match kind {
        Kind::User => Operation::UserUpsert { id, attributes },
        Kind::Group => Operation::GroupUpsert { id, attributes },
    };
    Ok(Change { occurred_at, operation })
}

impl Field {
    /// Whether an attribute of that name can be set on that kind of resource; else why not.
    pub fn check(kind: Kind, attribute: &str) -> Result<(), String> {
        let alone = nested(attribute, Value::Null);
        parse_attributes(kind, &alone).map(|_| ()).map_err(|error| error.reason)
    }

    fn convert(&self, value: &Value) -> Value {
        if let (Some(words), Some(text)) = (&self.true_when, text_of(value)) {
            return words.contains(&text).into();
        }
        match (self.attribute.as_str(), value) {
            // One address is the common case, and SCIM wants a list.
            ("emails", Value::String(address)) => {
                serde_json::json!([{"value": address, "type": "work", "primary": true}])
            }
            ("phoneNumbers", Value::String(number)) => serde_json::json!([{"value": number, "type": "work"}]),
            _ => value.clone(),
        }
    }
}

/// `name.givenName` as an object in an object.
fn nested(attribute: &str, value: Value) -> Map<String, Value> {
    match attribute.split_once('.').filter(|_| !attribute.starts_with("urn:")) {
        Some((container, part)) => {
            Map::from_iter([(container.to_owned(), Map::from_iter([(part.to_owned(), value)]).into())])
        }
        None => Map::from_iter([(attribute.to_owned(), value)]),
    }
}

/// The ids that stand at a pointer: in one list, each in an item of a list, or one alone.
pub fn ids_of(pointer: &Pointer, event: &Value) -> Result<Vec<ExternalId>, Malformed> {
    let mut ids = Vec::new();
    for value in pointer.values(event) {
        match value {
            Value::Array(items) => {
                for item in items {
                    ids.push(id_of(item, pointer.as_str())?);
                }
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                ids.push(id_of(value, pointer.as_str())?);
            }
        }
    }
    if ids.len() > MEMBERS_MAX {
        return Err(Malformed::new(
            pointer.as_str(),
            format!("holds {} items, over {MEMBERS_MAX}", ids.len()),
        ));
    }
    Ok(ids)
}

fn id_of(value: &Value, pointer: &str) -> Result<ExternalId, Malformed> {
    View::root(value).id().map_err(|error| Malformed::new(pointer, error.reason))
}

/// A text, or a number or truth as it is written.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

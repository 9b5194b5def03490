//! Reading a resource that a client sends whole, in POST and PUT.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::sandbox::answer::Refusal;
use crate::sandbox::endpoint::Kind;
use crate::sandbox::settings::Behaviour;
use crate::scim::definition::Mutability;
use crate::scim::error::ScimType;
use crate::scim::patch::normalise;
use crate::scim::resource::get_in;

/// A resource as sent: its attributes in the RFC's spelling, and a group's members apart.
#[derive(Debug)]
pub struct Sent {
    /// What the client may set, without `members`.
    pub attributes: Map<String, Value>,
    /// The members by id, with the type that the client gave.
    pub members: BTreeMap<String, Kind>,
}

/// Reads it by the schema: read-only and unknown attributes are passed over (RFC 7644 section 3.3),
/// wrong types and missing required attributes are refused.
pub fn read(behaviour: &Behaviour, kind: Kind, body: &Value) -> Result<Sent, Refusal> {
    let rules = kind.rules();
    let syntax = |detail: &str| Refusal::bad(ScimType::InvalidSyntax, detail);
    let object = body.as_object().ok_or_else(|| syntax("the body is not an object"))?;
    if behaviour.schemas_required && !names_schema(object, rules.urn) {
        return Err(syntax("`schemas` does not name the resource's schema"));
    }
    let mut attributes = Map::new();
    for (key, value) in object {
        let known = rules.top_level(key).filter(|attribute| attribute.mutability != Mutability::ReadOnly);
        if let Some(attribute) = known
            && let Some(value) = normalise(attribute, value)?
        {
            attributes.insert(attribute.name.to_owned(), value);
        }
    }
    let members = match attributes.remove("members") {
        Some(members) => read_members(&members)?,
        None => BTreeMap::new(),
    };
    check_required(kind, &attributes)?;
    Ok(Sent { attributes, members })
}

/// Refuses a resource in which a required attribute is missing or blank.
pub fn check_required(kind: Kind, attributes: &Map<String, Value>) -> Result<(), Refusal> {
    for attribute in kind.rules().attributes.iter().filter(|attribute| attribute.required) {
        let text = attributes.get(attribute.name).and_then(Value::as_str).unwrap_or_default();
        if text.trim().is_empty() {
            return Err(Refusal::bad(ScimType::InvalidValue, format!("{} is required", attribute.name)));
        }
    }
    Ok(())
}

/// Reads one member, or an array of them.
pub fn read_members(value: &Value) -> Result<BTreeMap<String, Kind>, Refusal> {
    let members = match value {
        Value::Array(members) => members.as_slice(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            std::slice::from_ref(value)
        }
    };
    members.iter().map(read_member).collect()
}

fn read_member(member: &Value) -> Result<(String, Kind), Refusal> {
    let object = member.as_object();
    let text = |name: &str| object.and_then(|object| get_in(object, name)).and_then(Value::as_str);
    let kind = match text("type") {
        Some(kind) if kind.eq_ignore_ascii_case("Group") => Kind::Group,
        Some(_) | None => Kind::User,
    };
    match text("value") {
        Some(id) if !id.is_empty() => Ok((id.to_owned(), kind)),
        Some(_) | None => Err(Refusal::bad(ScimType::InvalidValue, "a member has no `value`")),
    }
}

fn names_schema(object: &Map<String, Value>, urn: &str) -> bool {
    get_in(object, "schemas").and_then(Value::as_array).is_some_and(|urns| {
        urns.iter().filter_map(Value::as_str).any(|named| named.eq_ignore_ascii_case(urn))
    })
}

//! Attributes as a source names them, flattened to the units that are merged.
//!
//! A unit is a core attribute, a sub-attribute of `name`, or an attribute of an extension. A
//! multi-valued attribute is one unit: a source sends the list as it should be.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::Kind;
use crate::scim::schema;

/// Where an attribute lives, in the notation of SCIM PATCH paths (RFC 7644 section 3.10):
/// `userName`, `name.givenName`, `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttributePath(String);

impl AttributePath {
    /// A path that is known to be canonical.
    pub fn new(canonical: impl Into<String>) -> Self {
        Self(canonical.into())
    }

    /// An attribute of the enterprise extension.
    pub fn enterprise(attribute: &str) -> Self {
        Self(format!("{}:{attribute}", schema::ENTERPRISE_USER))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The extension's URN and the attribute's name, for an attribute of an extension.
    pub fn extension(&self) -> Option<(&str, &str)> {
        if self.0.starts_with("urn:") { self.0.rsplit_once(':') } else { None }
    }

    /// The container's name in a resource, where there is one, and the attribute's name inside it.
    pub fn place(&self) -> (Option<&str>, &str) {
        match self.extension().or_else(|| self.0.split_once('.')) {
            Some((container, name)) => (Some(container), name),
            None => (None, &self.0),
        }
    }

    /// What holds this attribute: `name` for `name.givenName`, the URN for an extension's attribute.
    pub fn container(&self) -> Option<Self> {
        self.place().0.map(Self::new)
    }
}

impl fmt::Display for AttributePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for AttributePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What one upsert says: values to set; null removes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<(AttributePath, Value)>);

impl Attributes {
    /// Most units that one upsert may carry.
    pub const MAX: usize = 500;

    /// The units, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &(AttributePath, Value)> {
        self.0.iter()
    }

    /// Whether the upsert says `active: false`.
    pub fn deactivates(&self) -> bool {
        self.0.iter().any(|(path, value)| path.as_str() == "active" && *value == Value::Bool(false))
    }
}

/// Why the attributes of a change are refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {reason}")]
pub struct AttributeError {
    /// JSON pointer from the attributes object, such as `/name/givenName`.
    pub pointer: String,
    /// What is wrong and what is expected; never the value.
    pub reason: String,
}

impl AttributeError {
    fn new(pointer: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), reason: reason.into() }
    }
}

/// Reads the `attributes` object of an upsert.
///
/// Names compare without case (RFC 7643 section 2.1). The enterprise extension's attributes may
/// stand at the top. What only a vendor can write (`id`, `meta`, `schemas`, `groups`) is skipped, so
/// that a whole SCIM resource may be sent as it is. Of an attribute that is named in several spellings, or in
/// several places, the last counts.
pub fn parse_attributes(kind: Kind, object: &Map<String, Value>) -> Result<Attributes, AttributeError> {
    let mut units = Vec::with_capacity(object.len().min(Attributes::MAX));
    for (key, value) in last_spellings(object) {
        parse_attribute(kind, key, value, &mut units)?;
    }
    let units = last_mentions(units);
    if units.len() > Attributes::MAX {
        return Err(AttributeError::new(
            "",
            format!("more than {} attributes in one change", Attributes::MAX),
        ));
    }
    Ok(Attributes(units))
}

fn last_spellings(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut seen = HashSet::with_capacity(object.len());
    let mut last: Vec<_> =
        object.iter().rev().filter(|(key, _)| seen.insert(key.to_ascii_lowercase())).collect();
    last.reverse();
    last
}

fn last_mentions(units: Vec<(AttributePath, Value)>) -> Vec<(AttributePath, Value)> {
    let mut seen = HashSet::with_capacity(units.len());
    let mut last: Vec<_> = units.into_iter().rev().filter(|(path, _)| seen.insert(path.clone())).collect();
    last.reverse();
    last
}

fn parse_attribute(
    kind: Kind,
    key: &str,
    value: &Value,
    units: &mut Vec<(AttributePath, Value)>,
) -> Result<(), AttributeError> {
    let pointer = format!("/{}", escape(key));
    if key.len() > 256 || key.is_empty() || key.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(AttributeError::new("", "an attribute's name is empty, over 256 bytes, or holds spaces"));
    }
    if key.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("urn:")) {
        return parse_extension(kind, key, value, &pointer, units);
    }
    let name = canonical_name(kind, key);
    match name.as_str() {
        "id" | "meta" | "schemas" | "groups" | "externalId" => Ok(()),
        "password" => Err(AttributeError::new(pointer, "passwords are not relayed; leave the attribute out")),
        "members" => {
            Err(AttributeError::new(pointer, "members are changed by group.members, not by an upsert"))
        }
        "name" if kind == Kind::User => parse_name(value, &pointer, units),
        _ if kind == Kind::User && schema::ENTERPRISE_ATTRIBUTES.contains(&name.as_str()) => {
            push_enterprise(&name, value, &pointer, units)
        }
        _ if name.contains(['.', '[', ']', ':']) => Err(AttributeError::new(
            pointer,
            "a name without dots or brackets is expected; nest objects instead",
        )),
        _ => {
            check_core(&name, value, &pointer)?;
            units.push((AttributePath(name), value.clone()));
            Ok(())
        }
    }
}

fn parse_name(
    value: &Value,
    pointer: &str,
    units: &mut Vec<(AttributePath, Value)>,
) -> Result<(), AttributeError> {
    match value {
        Value::Null => units.push((AttributePath("name".to_owned()), Value::Null)),
        Value::Object(parts) => {
            for (key, part) in parts {
                let canonical =
                    schema::NAME_SUB_ATTRIBUTES.iter().find(|known| known.eq_ignore_ascii_case(key));
                let Some(canonical) = canonical else {
                    let reason =
                        format!("not a part of a name; known: {}", schema::NAME_SUB_ATTRIBUTES.join(", "));
                    return Err(AttributeError::new(format!("{pointer}/{}", escape(key)), reason));
                };
                expect_text(part, &format!("{pointer}/{canonical}"))?;
                units.push((AttributePath(format!("name.{canonical}")), part.clone()));
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(AttributeError::new(
                pointer,
                "an object such as {\"givenName\": …} or null is expected",
            ));
        }
    }
    Ok(())
}

/// `urn:…:User` with an object (or null), or `urn:…:User:department` with a value.
fn parse_extension(
    kind: Kind,
    key: &str,
    value: &Value,
    pointer: &str,
    units: &mut Vec<(AttributePath, Value)>,
) -> Result<(), AttributeError> {
    let lower = key.to_ascii_lowercase();
    let enterprise = schema::ENTERPRISE_USER.to_ascii_lowercase();
    for core in [schema::USER, schema::GROUP] {
        if let Some(name) = lower.strip_prefix(&format!("{}:", core.to_ascii_lowercase())) {
            let offset = key.len() - name.len();
            return parse_attribute(kind, &key[offset..], value, units);
        }
    }
    if let Some(name) = lower.strip_prefix(&format!("{enterprise}:")) {
        let offset = key.len() - name.len();
        return push_enterprise(&canonical_name(kind, &key[offset..]), value, pointer, units);
    }
    let is_enterprise = lower == enterprise;
    // `urn` compares without case (RFC 8141 section 3.1), and by its lower case an extension is known.
    let urn = if is_enterprise { schema::ENTERPRISE_USER.to_owned() } else { format!("urn:{}", &key[4..]) };
    match value {
        Value::Null => units.push((AttributePath(urn), Value::Null)),
        Value::Object(attributes) => {
            for (name, part) in attributes {
                let pointer = format!("{pointer}/{}", escape(name));
                if name.is_empty() || name.contains([':', '.', '[', ']', ' ']) {
                    return Err(AttributeError::new(
                        pointer,
                        "an attribute's name without ':', '.', brackets or spaces is expected",
                    ));
                }
                if is_enterprise {
                    push_enterprise(&canonical_name(kind, name), part, &pointer, units)?;
                } else {
                    units.push((AttributePath(format!("{urn}:{name}")), part.clone()));
                }
            }
        }
        // A URN with the attribute's name at its end.
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            units.push((AttributePath(urn), value.clone()));
        }
    }
    Ok(())
}

fn push_enterprise(
    name: &str,
    value: &Value,
    pointer: &str,
    units: &mut Vec<(AttributePath, Value)>,
) -> Result<(), AttributeError> {
    let value = if name == "manager" { manager_id(value, pointer)? } else { value.clone() };
    if schema::ENTERPRISE_ATTRIBUTES.contains(&name) {
        expect_text(&value, pointer)?;
    }
    units.push((AttributePath::enterprise(name), value));
    Ok(())
}

/// A manager is a user of the same directory: its id, alone or as `{"value": id}`.
fn manager_id(value: &Value, pointer: &str) -> Result<Value, AttributeError> {
    let id = match value.as_object() {
        Some(object) => object.get("value").unwrap_or(&Value::Null),
        None => value,
    };
    match id {
        Value::String(text) if text.is_empty() => Ok(Value::Null),
        Value::String(_) | Value::Null => Ok(id.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(AttributeError::new(pointer, "a user's id, an object with its `value`, or null is expected"))
        }
    }
}

fn check_core(name: &str, value: &Value, pointer: &str) -> Result<(), AttributeError> {
    match name {
        "active" => match value {
            Value::Bool(_) | Value::Null => Ok(()),
            Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Err(AttributeError::new(pointer, "true or false is expected"))
            }
        },
        "userName" | "displayName" if value.as_str().is_some_and(|text| text.trim().is_empty()) => {
            Err(AttributeError::new(pointer, "must not be empty"))
        }
        "userName" | "displayName" => expect_text(value, pointer),
        "emails" | "phoneNumbers" | "addresses" | "ims" | "photos" | "entitlements" | "roles" => {
            let holds_objects = match value {
                Value::Array(items) => items.iter().all(Value::is_object),
                Value::Null => true,
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
            };
            if holds_objects {
                Ok(())
            } else {
                Err(AttributeError::new(
                    pointer,
                    "a list of objects such as [{\"value\": …, \"type\": …}] is expected",
                ))
            }
        }
        _ => Ok(()),
    }
}

fn expect_text(value: &Value, pointer: &str) -> Result<(), AttributeError> {
    match value {
        Value::String(_) | Value::Null => Ok(()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(AttributeError::new(pointer, "a text or null is expected"))
        }
    }
}

fn canonical_name(kind: Kind, name: &str) -> String {
    let known = match kind {
        Kind::User => schema::canonical_user_attribute(name).or_else(|| {
            schema::ENTERPRISE_ATTRIBUTES.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
        }),
        Kind::Group => schema::canonical_group_attribute(name),
    };
    known.map_or_else(|| name.to_owned(), str::to_owned)
}

/// Escapes a key for a JSON pointer (RFC 6901), cut so that an error stays short.
fn escape(key: &str) -> String {
    let cut: String = key.chars().take(120).collect();
    cut.replace('~', "~0").replace('/', "~1")
}

/// Nests flattened attributes into a SCIM resource's body; null values are left out.
pub fn assemble<'a>(units: impl IntoIterator<Item = (&'a AttributePath, &'a Value)>) -> Map<String, Value> {
    let mut resource = Map::new();
    for (path, value) in units {
        if value.is_null() {
            continue;
        }
        let (container, name) = path.place();
        let Some(container) = container else {
            resource.insert(name.to_owned(), value.clone());
            continue;
        };
        let slot = resource.entry(container).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(object) = slot {
            object.insert(name.to_owned(), value.clone());
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(kind: Kind, value: &Value) -> Result<Vec<(String, Value)>, String> {
        let mut units: Vec<_> = parse_attributes(kind, value.as_object().unwrap())
            .map_err(|error| error.to_string())?
            .0
            .into_iter()
            .map(|(path, value)| (path.0, value))
            .collect();
        units.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(units)
    }

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    #[test]
    fn attributes_flatten_to_the_units_that_are_merged() {
        for (given, expected) in [
            (json!({"USERNAME": "jane"}), vec![("userName".to_owned(), json!("jane"))]),
            (
                json!({"name": {"givenname": "Jane", "familyName": null}}),
                vec![
                    ("name.familyName".to_owned(), Value::Null),
                    ("name.givenName".to_owned(), json!("Jane")),
                ],
            ),
            (json!({"name": null}), vec![("name".to_owned(), Value::Null)]),
            (json!({"department": "SUPPORT"}), vec![(format!("{ENTERPRISE}:department"), json!("SUPPORT"))]),
            (
                json!({ENTERPRISE: {"Department": "SALES", "manager": {"value": "u-7"}}}),
                vec![
                    (format!("{ENTERPRISE}:department"), json!("SALES")),
                    (format!("{ENTERPRISE}:manager"), json!("u-7")),
                ],
            ),
            (
                json!({format!("{ENTERPRISE}:costCenter"): "42"}),
                vec![(format!("{ENTERPRISE}:costCenter"), json!("42"))],
            ),
            (
                json!({"urn:example:ext:1.0:User": {"badge": 7}}),
                vec![("urn:example:ext:1.0:User:badge".to_owned(), json!(7))],
            ),
            (
                json!({"urn:example:ext:1.0:User": null}),
                vec![("urn:example:ext:1.0:User".to_owned(), Value::Null)],
            ),
            (json!({"schemas": [], "meta": {}, "id": "x", "groups": [], "externalId": "y"}), vec![]),
            (json!({"manager": null}), vec![(format!("{ENTERPRISE}:manager"), Value::Null)]),
        ] {
            assert_eq!(parse(Kind::User, &given), Ok(expected), "{given}");
        }
    }

    #[test]
    fn a_wrong_shape_says_where_and_what_is_expected() {
        for (given, expected) in [
            (json!({"active": "yes"}), "/active: true or false is expected"),
            (json!({"userName": ""}), "/userName: must not be empty"),
            (json!({"userName": 7}), "/userName: a text or null is expected"),
            (
                json!({"emails": ["a@b"]}),
                "/emails: a list of objects such as [{\"value\": …, \"type\": …}] is expected",
            ),
            (json!({"name": {"nick": "J"}}), "/name/nick: not a part of a name"),
            (json!({"name": "Jane"}), "/name: an object"),
            (json!({"manager": 7}), "/manager: a user's id"),
            (json!({"password": "x"}), "/password: passwords are not relayed"),
            (json!({"emails[0].value": "x"}), "/emails[0].value: a name without dots"),
            (json!({"a/b": {"c": 1}, "department": ["x"]}), "/department: a text or null is expected"),
        ] {
            let error = parse(Kind::User, &given).unwrap_err();
            let error =
                if error.starts_with("/name/nick") { error } else { error.replace("/USERNAME", "/userName") };
            assert!(error.contains(expected), "{given}: {error}");
        }
        assert!(parse(Kind::Group, &json!({"members": []})).unwrap_err().contains("group.members"));
    }

    #[test]
    fn assembling_nests_what_was_flattened() {
        let resource = json!({
            "userName": "jane", "active": true,
            "name": {"givenName": "Jane"},
            "emails": [{"value": "jane@example.com", "type": "work"}],
            ENTERPRISE: {"department": "SUPPORT"},
        });
        let units = parse_attributes(Kind::User, resource.as_object().unwrap()).unwrap();
        assert_eq!(Value::Object(assemble(units.iter().map(|(path, value)| (path, value)))), resource);
    }
}

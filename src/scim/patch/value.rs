//! Bringing a value that a client sent into the shape of its attribute.

use serde_json::{Map, Value};

use super::PatchError;
use crate::scim::definition::{Attribute, Mutability, Type};

/// Checks `value` against `attribute` and brings it into the RFC's spelling: names canonical, unknown,
/// read-only and null parts dropped. `None` when nothing is left, which means unassigned
/// (RFC 7643 section 2.5). Booleans as strings are refused: that is a dialect, not SCIM.
pub fn normalise(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, PatchError> {
    if value.is_null() {
        return Ok(None);
    }
    if !attribute.multi_valued {
        return single(attribute, value);
    }
    let Value::Array(values) = value else {
        return Err(wrong(attribute, "an array is"));
    };
    let mut kept: Vec<Value> = Vec::with_capacity(values.len());
    for value in values {
        kept.extend(single(attribute, value)?);
    }
    if kept.iter().filter(|value| is_primary(value)).count() > 1 {
        return Err(wrong(attribute, "at most one primary value is"));
    }
    Ok((!kept.is_empty()).then_some(Value::Array(kept)))
}

/// As [`normalise`], for one element of a multi-valued attribute.
pub(super) fn single(attribute: &'static Attribute, value: &Value) -> Result<Option<Value>, PatchError> {
    match (attribute.kind, value) {
        (_, Value::Null) => Ok(None),
        (Type::String | Type::Binary | Type::Reference, Value::String(_))
        | (Type::Boolean, Value::Bool(_)) => Ok(Some(value.clone())),
        (Type::Complex, Value::Object(parts)) => complex(attribute, parts),
        (Type::String | Type::Binary | Type::Reference, _) => Err(wrong(attribute, "a string is")),
        (Type::Boolean, _) => Err(wrong(attribute, "true or false is")),
        (Type::Complex, _) => Err(wrong(attribute, "an object is")),
    }
}

pub(super) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

fn complex(attribute: &'static Attribute, parts: &Map<String, Value>) -> Result<Option<Value>, PatchError> {
    let mut kept = Map::new();
    for (name, value) in parts {
        let known = attribute.part(name).filter(|part| part.mutability != Mutability::ReadOnly);
        if let Some(part) = known
            && let Some(value) = normalise(part, value)?
        {
            kept.insert(part.name.to_owned(), value);
        }
    }
    Ok((!kept.is_empty()).then_some(Value::Object(kept)))
}

fn wrong(attribute: &Attribute, expected: &str) -> PatchError {
    PatchError::InvalidValue(format!("attribute {:?}: {expected} expected", attribute.name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::definition::USER_RULES;

    fn normal(name: &str, value: &Value) -> Result<Option<Value>, PatchError> {
        normalise(USER_RULES.top_level(name).unwrap(), value)
    }

    #[test]
    fn names_become_canonical_and_empty_becomes_unassigned() {
        assert_eq!(
            normal("name", &json!({"GIVENNAME": "Jane", "familyName": null, "shoe": 3})).unwrap(),
            Some(json!({"givenName": "Jane"}))
        );
        for empty in [json!(null), json!([]), json!([null]), json!([{}])] {
            assert_eq!(normal("emails", &empty).unwrap(), None, "{empty}");
        }
        assert_eq!(normal("name", &json!({"shoe": 3})).unwrap(), None);
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (name, value) in [
            ("active", json!("False")),
            ("userName", json!(7)),
            ("userName", json!(["a"])),
            ("name", json!("Jane")),
            ("emails", json!({"value": "a"})),
            ("emails", json!(["a"])),
            ("emails", json!([{"value": "a", "primary": "yes"}])),
            ("emails", json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}])),
        ] {
            assert!(matches!(normal(name, &value), Err(PatchError::InvalidValue(_))), "{name} {value}");
        }
    }
}

//! Reading a resource as a vendor sent it: names in any case, values of any type.

use serde_json::{Map, Value};

use crate::scim::etag::ETag;

/// An attribute by name in any case (RFC 7643 section 2.1). `None` when `resource` is no object.
pub fn get<'a>(resource: &'a Value, name: &str) -> Option<&'a Value> {
    get_in(resource.as_object()?, name)
}

/// As [`get`], on an object already at hand. The exact name is tried first: it is the common case.
pub fn get_in<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// Longest id of a service that is kept, in bytes. A longer one is no id but an attack or a mistake.
const ID_BYTES_MAX: usize = 1_024;

/// The service's own id. Some services send a number, which is taken as its digits.
pub fn id(resource: &Value) -> Option<String> {
    identifier(get(resource, "id")?)
}

/// The client's id for the resource.
pub fn external_id(resource: &Value) -> Option<&str> {
    get(resource, "externalId")?.as_str()
}

/// The version in `meta.version`, the only place where a listed resource carries it.
pub fn version(resource: &Value) -> Option<ETag> {
    ETag::parse(get(get(resource, "meta")?, "version")?.as_str()?)
}

/// The ids of a group's members. `None` when the answer carries no `members`, which is not the same
/// as an empty group: some services never return them.
pub fn member_ids(group: &Value) -> Option<Vec<String>> {
    match get(group, "members")? {
        Value::Array(members) => Some(members.iter().filter_map(member_id).collect()),
        Value::Null => Some(Vec::new()),
        single @ Value::Object(_) => Some(member_id(single).into_iter().collect()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn member_id(member: &Value) -> Option<String> {
    identifier(get(member, "value")?)
}

fn identifier(value: &Value) -> Option<String> {
    match value {
        Value::String(id) if is_id(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a text may be a service's id: 1 to 1,024 bytes without control characters.
pub fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_match_in_any_case_and_the_exact_one_first() {
        let resource = json!({"USERNAME": "loud", "userName": "exact", "ID": "7"});
        assert_eq!(get(&resource, "userName"), Some(&json!("exact")));
        assert_eq!(get(&resource, "username").and_then(Value::as_str), Some("loud"));
        assert_eq!(id(&resource).as_deref(), Some("7"));
        assert_eq!(get(&json!([1]), "id"), None);
    }

    #[test]
    fn a_number_is_an_id_and_an_empty_string_is_none() {
        assert_eq!(id(&json!({"id": 42})).as_deref(), Some("42"));
        assert_eq!(id(&json!({"id": ""})), None);
        assert_eq!(id(&json!({"id": null})), None);
    }

    #[test]
    fn a_text_that_no_store_could_keep_is_no_id() {
        for text in ["a\u{0}b", "\u{7}", "a\nb", "\u{85}", &"x".repeat(1_025)] {
            assert_eq!(id(&json!({"id": text})), None, "{text:?}");
            assert_eq!(member_ids(&json!({"members": [{"value": text}]})), Some(vec![]), "{text:?}");
        }
        for text in ["a b", "ü/1", "%00", &"x".repeat(1_024)] {
            assert_eq!(id(&json!({"id": text})).as_deref(), Some(text));
        }
    }

    #[test]
    fn the_version_is_read_as_it_came() {
        let resource = json!({"meta": {"version": "W/\"42\""}});
        assert_eq!(version(&resource).unwrap().as_str(), "W/\"42\"");
        assert_eq!(version(&json!({"meta": {"version": 42}})), None);
        assert_eq!(version(&json!({})), None);
    }

    #[test]
    fn absent_members_are_not_an_empty_group() {
        assert_eq!(member_ids(&json!({"displayName": "a"})), None);
        assert_eq!(member_ids(&json!({"members": "all"})), None);
        assert_eq!(member_ids(&json!({"members": []})), Some(vec![]));
        assert_eq!(member_ids(&json!({"members": null})), Some(vec![]));
        assert_eq!(
            member_ids(&json!({"Members": [{"value": "a"}, {"Value": 2}, {"display": "no id"}, "b"]})),
            Some(vec!["a".to_owned(), "2".to_owned()])
        );
    }
}

//! What is left to say: the least PATCH operations from what is there to what should be.
//!
//! A three-way merge. *Applied* is the base: what the relay said last, and so what it may take back.
//! *Current* is theirs: the vendor's resource where it was read, else the base. *Desired* is ours,
//! and wins for every unit that the source has spoken of; whatever else the vendor holds stays.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::directory::AttributePath;
use crate::scim::filter;
use crate::scim::patch::{Op, PatchOp};
use crate::sync::plan::pick;

/// The units of a resource; null says "absent".
pub type Units = BTreeMap<AttributePath, Value>;

/// What is known of the vendor's resource.
#[derive(Clone, Copy, Debug)]
pub enum Current<'a> {
    /// As it was just read.
    Read(&'a Map<String, Value>),
    /// As the relay left it.
    Assumed(&'a Units),
}

/// The operations that lead from `current` to `desired`.
pub fn diff(desired: &Units, applied: &Units, current: Current<'_>, path_filters: bool) -> Vec<PatchOp> {
    let mut ops = Vec::new();
    for (path, wanted) in desired.iter().filter(|(path, _)| !pick::is_pick(path)) {
        let held = match current {
            Current::Read(resource) => read(resource, path),
            Current::Assumed(units) => units.get(path).filter(|value| !value.is_null()),
        };
        // A null that was never said must be said once: the vendor may hold what nobody told us.
        let unsaid = matches!(current, Current::Assumed(units) if !units.contains_key(path));
        match (wanted, held) {
            (Value::Null, None) if !unsaid => {}
            (Value::Array(wanted), None) if wanted.is_empty() && matches!(current, Current::Read(_)) => {}
            (Value::Null, _) => ops.push(operation(Op::Remove, path.as_str(), None)),
            (wanted, Some(held)) if satisfied(path.as_str(), wanted, held, current) => {}
            (Value::Array(wanted), Some(Value::Array(held)))
                if path_filters && typed(wanted) && typed(held) =>
            {
                elements(path, wanted, applied.get(path), held, current, &mut ops);
            }
            (wanted, _) => ops.push(operation(Op::Replace, path.as_str(), Some(wanted.clone()))),
        }
    }
    let resource = match current {
        Current::Read(resource) => Some(resource),
        Current::Assumed(_) => None,
    };
    ops.extend(pick::diff(desired, applied, resource, path_filters));
    ops
}

pub(super) fn operation(op: Op, path: &str, value: Option<Value>) -> PatchOp {
    PatchOp { op, path: Some(path.to_owned()), value }
}

/// What a resource holds at a unit's path; names compare without case.
pub fn read<'a>(resource: &'a Map<String, Value>, path: &AttributePath) -> Option<&'a Value> {
    let (container, name) = path.place();
    let object = match container {
        Some(container) => member(resource, container)?.as_object()?,
        None => resource,
    };
    member(object, name).filter(|value| !value.is_null())
}

pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object
        .get(name)
        .or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// Whether what is there says all that is wanted. A vendor may add to it (`display`, `$ref`,
/// further elements); what the relay itself put there must be equal.
fn satisfied(path: &str, wanted: &Value, held: &Value, current: Current<'_>) -> bool {
    match current {
        Current::Assumed(_) => wanted == held,
        Current::Read(_) => covers(path, wanted, held),
    }
}

pub(super) fn covers(path: &str, wanted: &Value, held: &Value) -> bool {
    match (wanted, held) {
        // An account that is known by another external id keeps it.
        (Value::String(_), Value::String(held)) if path == "externalId" => !held.is_empty(),
        (Value::String(wanted), Value::String(held)) if case_insensitive(path) => {
            wanted.to_lowercase() == held.to_lowercase()
        }
        (Value::Bool(wanted), Value::String(held)) => held.eq_ignore_ascii_case(&wanted.to_string()),
        (Value::Object(wanted), Value::Object(held)) => wanted.iter().all(|(name, wanted)| {
            member(held, name).is_some_and(|held| covers(&format!("{path}.{name}"), wanted, held))
        }),
        (Value::Array(wanted), Value::Array(held)) => {
            wanted.iter().all(|wanted| held.iter().any(|held| covers(path, wanted, held)))
        }
        (Value::Object(wanted), held) if held.is_string() => {
            wanted.get("value").is_some_and(|value| covers(path, value, held))
        }
        (wanted, held) => wanted == held,
    }
}

/// RFC 7643 sections 4.1.1 and 4.1.2: `userName` and the addresses are not case-exact.
fn case_insensitive(path: &str) -> bool {
    path == "userName" || path == "emails.value"
}

/// Whether the elements can be told apart by `type`, so that each is changed by itself.
fn typed(elements: &[Value]) -> bool {
    let types: Vec<_> = elements.iter().map(element_type).collect();
    !types.contains(&None) && types.iter().enumerate().all(|(n, kind)| !types[..n].contains(kind))
}

fn element_type(element: &Value) -> Option<String> {
    Some(element.get("type")?.as_str()?.to_lowercase())
}

fn elements(
    path: &AttributePath,
    wanted: &[Value],
    applied: Option<&Value>,
    held: &[Value],
    current: Current<'_>,
    ops: &mut Vec<PatchOp>,
) {
    for element in wanted {
        let kind = element_type(element);
        match held.iter().find(|held| element_type(held) == kind) {
            None => ops.push(operation(Op::Add, path.as_str(), Some(Value::Array(vec![element.clone()])))),
            Some(held) if satisfied(path.as_str(), element, held, current) => {}
            Some(held) => parts(path, element, held, ops),
        }
    }
    // Only what the relay itself had put there is taken back.
    let ours = applied.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for element in ours {
        let kind = element_type(element);
        let still_wanted = wanted.iter().any(|wanted| element_type(wanted) == kind);
        if !still_wanted && held.iter().any(|held| element_type(held) == kind) {
            ops.push(operation(Op::Remove, &by_type(path, element, ""), None));
        }
    }
}

fn parts(path: &AttributePath, wanted: &Value, held: &Value, ops: &mut Vec<PatchOp>) {
    let (Some(wanted_parts), Some(held_parts)) = (wanted.as_object(), held.as_object()) else { return };
    for (name, value) in wanted_parts {
        let same = member(held_parts, name).is_some_and(|held| held == value);
        if name != "type" && !same {
            ops.push(operation(Op::Replace, &by_type(path, held, &format!(".{name}")), Some(value.clone())));
        }
    }
}

fn by_type(path: &AttributePath, element: &Value, suffix: &str) -> String {
    let kind = element.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("{path}[{}]{suffix}", filter::eq("type", kind))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn units(value: &Value) -> Units {
        value
            .as_object()
            .unwrap()
            .iter()
            .map(|(path, value)| (AttributePath::new(path), value.clone()))
            .collect()
    }

    /// Operations as short text: `replace title="Lead"`.
    fn text(ops: &[PatchOp]) -> Vec<String> {
        ops.iter()
            .map(|op| {
                let word = match op.op {
                    Op::Add => "add",
                    Op::Remove => "remove",
                    Op::Replace => "replace",
                };
                let value = op.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
                format!("{word} {}{value}", op.path.as_deref().unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn only_what_differs_from_the_base_is_sent() {
        let applied = units(&json!({"title": "Junior", "nickName": "Jay", "displayName": null}));
        for (desired, expected) in [
            (json!({"title": "Junior", "nickName": "Jay"}), vec![]),
            (json!({"title": "Lead"}), vec![r#"replace title="Lead""#]),
            (json!({"title": null}), vec!["remove title"]),
            (json!({"displayName": null}), vec![]),
            (json!({"locale": null}), vec!["remove locale"]),
            (json!({"name.givenName": "J"}), vec![r#"replace name.givenName="J""#]),
        ] {
            let ops = diff(&units(&desired), &applied, Current::Assumed(&applied), true);
            assert_eq!(text(&ops), expected, "{desired}");
        }
    }

    #[test]
    fn a_vendors_additions_are_no_difference() {
        let remote = json!({
            "USERNAME": "Jane@Example.com", "active": "True", "title": "Lead", "externalId": "other",
            "name": {"givenName": "Jane", "formatted": "Jane Doe"},
            "emails": [{"value": "JANE@example.com", "type": "work", "display": "x"}, {"value": "z@z", "type": "other"}],
            "urn:e:User": {"manager": {"value": "7", "$ref": "…"}}
        });
        let desired = units(&json!({
            "userName": "jane@example.com", "active": true, "title": "Lead", "externalId": "u-1",
            "name.givenName": "Jane", "emails": [{"value": "jane@example.com", "type": "work"}],
            "urn:e:User:manager": {"value": "7"}, "nickName": null
        }));
        let ops = diff(&desired, &Units::new(), Current::Read(remote.as_object().unwrap()), true);
        assert_eq!(text(&ops), Vec::<String>::new());
    }

    #[test]
    fn elements_are_changed_by_type_and_others_are_left_alone() {
        let applied =
            units(&json!({"emails": [{"value": "a@x", "type": "work"}, {"value": "h@x", "type": "home"}]}));
        let remote = json!({"emails": [
            {"value": "a@x", "type": "work"}, {"value": "h@x", "type": "home"}, {"value": "theirs@x", "type": "other"}
        ]});
        let desired =
            units(&json!({"emails": [{"value": "b@x", "type": "work"}, {"value": "m@x", "type": "mobile"}]}));
        let ops = diff(&desired, &applied, Current::Read(remote.as_object().unwrap()), true);
        assert_eq!(
            text(&ops),
            [
                r#"replace emails[type eq "work"].value="b@x""#,
                r#"add emails=[{"type":"mobile","value":"m@x"}]"#,
                r#"remove emails[type eq "home"]"#,
            ]
        );
    }

    #[test]
    fn elements_that_cannot_be_told_apart_are_replaced_as_a_whole() {
        let remote = json!({"emails": [{"value": "a@x"}]});
        let desired = units(&json!({"emails": [{"value": "b@x"}]}));
        let ops = diff(&desired, &Units::new(), Current::Read(remote.as_object().unwrap()), true);
        assert_eq!(text(&ops), [r#"replace emails=[{"value":"b@x"}]"#]);
        let typed_remote = json!({"emails": [{"value": "a@x", "type": "work"}]});
        let desired = units(&json!({"emails": [{"value": "b@x", "type": "work"}]}));
        let ops = diff(&desired, &Units::new(), Current::Read(typed_remote.as_object().unwrap()), false);
        assert_eq!(text(&ops), [r#"replace emails=[{"type":"work","value":"b@x"}]"#]);
    }
}

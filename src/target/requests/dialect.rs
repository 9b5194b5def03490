//! PATCH in a vendor's spelling: with or without paths, capital operations, booleans as strings.

use serde_json::{Map, Value, json};

use crate::scim::patch::{Op, PatchOp, PatchRequest};
use crate::scim::path::AttributePath;
use crate::scim::schema;
use crate::target::profile::{OpCase, Patch, Pathless};

/// The body of a PATCH. By RFC 7644's own spelling where the profile says nothing else.
pub fn body(dialect: &Patch, request: &PatchRequest) -> Value {
    let operations: Vec<Value> = without_paths(dialect.pathless, &request.operations)
        .into_iter()
        .map(|operation| spelled(dialect, operation))
        .collect();
    json!({ "schemas": [schema::PATCH_OP], "Operations": operations })
}

/// Gathers the replacements that go without a path into one, in the place of the first.
fn without_paths(pathless: Pathless, operations: &[PatchOp]) -> Vec<PatchOp> {
    let mut kept = Vec::with_capacity(operations.len());
    let mut gathered: Option<(usize, Map<String, Value>)> = None;
    for operation in operations {
        let Some((path, value)) = replacement(pathless, operation) else {
            kept.push(operation.clone());
            continue;
        };
        let at = kept.len();
        put(&mut gathered.get_or_insert_with(|| (at, Map::new())).1, path, value.clone());
    }
    if let Some((at, attributes)) = gathered {
        let value = Some(Value::Object(attributes));
        kept.insert(at, PatchOp { op: Op::Replace, path: None, value });
    }
    kept
}

/// Path and value of a replacement that is to go without its path. `members` keep theirs: an object
/// with members is read as the whole of them.
fn replacement(pathless: Pathless, operation: &PatchOp) -> Option<(AttributePath, &Value)> {
    let (Op::Replace, Some(path), Some(value)) = (operation.op, &operation.path, &operation.value) else {
        return None;
    };
    let gathers = match pathless {
        Pathless::None => false,
        Pathless::Active => path == "active",
        Pathless::All => path != "members",
    };
    let path = gathers.then(|| AttributePath::parse(path)).flatten()?;
    Some((path, value))
}

fn put(attributes: &mut Map<String, Value>, path: AttributePath, value: Value) {
    let mut place = attributes;
    let AttributePath { urn, name, sub } = path;
    let (parents, last) = match sub {
        Some(sub) => (urn.into_iter().chain([name]).collect::<Vec<_>>(), sub),
        None => (urn.into_iter().collect(), name),
    };
    for parent in parents {
        let inner = place.entry(parent).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(inner) = inner else { return };
        place = inner;
    }
    place.insert(last, value);
}

fn spelled(dialect: &Patch, operation: PatchOp) -> Value {
    let word = match (operation.op, dialect.op_case) {
        (Op::Add, OpCase::Lower) => "add",
        (Op::Add, OpCase::Capital) => "Add",
        (Op::Remove, OpCase::Lower) => "remove",
        (Op::Remove, OpCase::Capital) => "Remove",
        (Op::Replace, OpCase::Lower) => "replace",
        (Op::Replace, OpCase::Capital) => "Replace",
    };
    let mut spelled = Map::from_iter([("op".to_owned(), word.into())]);
    if let Some(path) = operation.path {
        spelled.insert("path".to_owned(), path.into());
    }
    if let Some(value) = operation.value {
        let value = if dialect.bool_as_string { bools_as_strings(value) } else { value };
        spelled.insert("value".to_owned(), value);
    }
    Value::Object(spelled)
}

/// Of the value itself, and of the attributes of a value without path; what is deeper stays, as no
/// vendor is known to want it.
fn bools_as_strings(mut value: Value) -> Value {
    if let Value::Object(parts) = &mut value {
        parts.values_mut().for_each(bool_as_string);
    } else {
        bool_as_string(&mut value);
    }
    value
}

fn bool_as_string(value: &mut Value) {
    if let Value::Bool(flag) = *value {
        *value = Value::String(flag.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(dialect: &Patch) -> Value {
        let operations = vec![
            PatchOp::remove("title"),
            PatchOp::replace("active", json!(false)),
            PatchOp::replace("name.givenName", json!("Ada")),
            PatchOp::add("members", json!([{ "value": "1" }])),
            PatchOp::replace("name.familyName", json!("Lovelace")),
            PatchOp::replace("urn:e:2.0:User:department", json!("Engines")),
            PatchOp::replace("emails[type eq \"work\"].value", json!("a@x")),
        ];
        body(dialect, &PatchRequest { operations })["Operations"].clone()
    }

    #[test]
    fn the_rfc_spelling_is_the_requests_own() {
        let operations = vec![PatchOp::replace("active", json!(false)), PatchOp::remove("title")];
        let request = PatchRequest { operations };
        assert_eq!(body(&Patch::default(), &request), serde_json::to_value(&request).unwrap());
    }

    #[test]
    fn replacements_without_a_filter_go_as_one_object_where_paths_are_not_read() {
        assert_eq!(
            sent(&Patch { pathless: Pathless::All, ..Patch::default() }),
            json!([
                { "op": "remove", "path": "title" },
                { "op": "replace", "value": {
                    "active": false,
                    "name": { "givenName": "Ada", "familyName": "Lovelace" },
                    "urn:e:2.0:User": { "department": "Engines" }
                } },
                { "op": "add", "path": "members", "value": [{ "value": "1" }] },
                { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "a@x" },
            ])
        );
        let active = sent(&Patch { pathless: Pathless::Active, ..Patch::default() });
        assert_eq!(active[1], json!({ "op": "replace", "value": { "active": false } }));
        assert_eq!(active[2]["path"], "name.givenName");
    }

    #[test]
    fn operations_and_booleans_are_spelled_as_the_vendor_wants() {
        let capital = Patch { op_case: OpCase::Capital, bool_as_string: true, ..Patch::default() };
        let operations = sent(&capital);
        assert_eq!(operations[0]["op"], "Remove");
        assert_eq!(operations[1], json!({ "op": "Replace", "path": "active", "value": "false" }));
        assert_eq!(operations[3]["op"], "Add");
        let pathless = Patch { pathless: Pathless::Active, ..capital };
        assert_eq!(sent(&pathless)[1]["value"], json!({ "active": "false" }));
    }
}

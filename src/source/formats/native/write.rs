//! Changes in the relay's own format, for what it takes in by itself.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::directory::{AttributePath, Attributes, Change, ExternalId, MembersEdit, Operation};
use crate::scim::schema;

/// A body with these changes; [`read`](super::parse) reads it back.
pub fn body(changes: &[Change]) -> Vec<u8> {
    let changes: Vec<Value> = changes.iter().map(change).collect();
    json!({ "changes": changes }).to_string().into_bytes()
}

/// One change as an item of `changes`.
pub fn change(change: &Change) -> Value {
    let operation = &change.operation;
    let mut item = Map::new();
    item.insert("op".to_owned(), operation.name().into());
    item.insert("id".to_owned(), operation.key().id.as_str().into());
    if let Some(time) = change.occurred_at {
        item.insert("occurred_at".to_owned(), time.to_string().into());
    }
    match operation {
        Operation::UserUpsert { attributes, .. } | Operation::GroupUpsert { attributes, .. } => {
            item.insert("attributes".to_owned(), object(attributes));
        }
        Operation::GroupMembers { edit: MembersEdit::Set(members), .. } => {
            item.insert("set".to_owned(), each_once(members, &mut BTreeSet::new()));
        }
        Operation::GroupMembers { edit: MembersEdit::Delta { add, remove }, .. } => {
            // Of somebody who joins and leaves at once it is not known in which order.
            let mut named = BTreeSet::new();
            item.insert("remove".to_owned(), each_once(remove, &mut named));
            item.insert("add".to_owned(), each_once(add, &mut named));
        }
        Operation::UserDeactivate { .. } | Operation::UserDelete { .. } | Operation::GroupDelete { .. } => {}
    }
    item.into()
}

fn object(attributes: &Attributes) -> Value {
    let mut object = Map::new();
    for (path, value) in attributes.iter() {
        match path.place() {
            (Some(container), name) if stands_inside(path, value) => {
                let slot = object.entry(container).or_insert_with(|| Value::Object(Map::new()));
                slot[name] = value.clone();
            }
            _ => {
                object.insert(path.as_str().to_owned(), value.clone());
            }
        }
    }
    object.into()
}

/// Whether an attribute is written inside its container rather than under its whole name: the parts of a
/// person's name are, and of an extension what is an object, since that under a whole name would be read
/// as an extension itself.
fn stands_inside(path: &AttributePath, value: &Value) -> bool {
    match path.extension() {
        Some((urn, _)) => value.is_object() && urn != schema::ENTERPRISE_USER,
        None => true,
    }
}

/// A list of the sender's may name somebody twice, which the relay's own format refuses.
fn each_once<'a>(users: &'a [ExternalId], named: &mut BTreeSet<&'a ExternalId>) -> Value {
    users.iter().filter(|user| named.insert(user)).map(ExternalId::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::formats::native::parse;

    #[test]
    fn what_is_written_reads_back_as_it_was() {
        let written = json!({"changes": [
            {"op": "user.upsert", "id": "u-1", "occurred_at": "2026-11-20T10:00:00.000001Z", "attributes": {
                "userName": "jane", "active": true, "name": {"givenName": "J", "familyName": null},
                "emails": [{"value": "j@x.example", "type": "work"}], "title": null,
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
                    "department": "Sales", "manager": {"value": "u-2"}}}},
            {"op": "user.deactivate", "id": "u-2"},
            {"op": "user.delete", "id": "u-3", "occurred_at": "2026-11-20T10:00:00Z"},
            {"op": "group.upsert", "id": "g", "attributes": {"displayName": "G"}},
            {"op": "group.delete", "id": "h"},
            {"op": "group.members", "id": "g", "set": []},
            {"op": "group.members", "id": "g", "add": ["a"], "remove": ["b", "c"]}
        ]});
        let changes = parse(written.to_string().as_bytes()).unwrap();
        assert_eq!(changes.len(), 7);
        assert_eq!(parse(&body(&changes)).unwrap(), changes);
    }

    #[test]
    fn what_a_sender_spells_oddly_is_read_back_all_the_same() {
        const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        for attributes in [
            json!({"urn:x:1.0": {"badge": {"no": 1}}}),
            json!({"urn:x:1.0": {"badge": {}}, "URN:x:1.0:desk": "d"}),
            json!({"urn:x:1.0": null, "urn:y:b.c": 1, "urn:z": 1, "urn:": 1}),
            json!({"urn:x:y": null, "URN:x:y": {"badge": {"no": 1}}}),
            json!({ENTERPRISE: null, "department": "d"}),
            json!({format!("{ENTERPRISE}:a.b"): {"c": 1}, format!("{ENTERPRISE}:"): 2}),
            json!({"name": null, "NAME": {"givenName": "a"}}),
            json!({"name": {"givenName": "a", "GIVENNAME": "b"}, "userName": "a", "USERNAME": "b"}),
            json!({"department": "a", ENTERPRISE: {"department": "b"}}),
        ] {
            let given = json!({"changes": [{"op": "user.upsert", "id": "u", "attributes": attributes}]});
            let changes = parse(given.to_string().as_bytes()).unwrap();
            let again = parse(&body(&changes));
            assert_eq!(again.map(|again| body(&again)), Ok(body(&changes)), "{attributes}");
        }
    }
}

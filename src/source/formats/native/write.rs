//! Changes in the relay's own format, for what it takes in by itself.

use serde_json::{Map, Value, json};

use crate::directory::{Attributes, Change, ExternalId, MembersEdit, Operation};

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
            item.insert("set".to_owned(), ids(members));
        }
        Operation::GroupMembers { edit: MembersEdit::Delta { add, remove }, .. } => {
            item.insert("add".to_owned(), ids(add));
            item.insert("remove".to_owned(), ids(remove));
        }
        Operation::UserDeactivate { .. } | Operation::UserDelete { .. } | Operation::GroupDelete { .. } => {}
    }
    item.into()
}

/// The parts of a name stand in one object; an extension's attributes have their whole names.
fn object(attributes: &Attributes) -> Value {
    let mut object = Map::new();
    for (path, value) in attributes.iter() {
        match path.as_str().split_once('.').filter(|_| !path.as_str().starts_with("urn:")) {
            Some((container, part)) => {
                let slot = object.entry(container).or_insert_with(|| Value::Object(Map::new()));
                slot[part] = value.clone();
            }
            None => {
                object.insert(path.as_str().to_owned(), value.clone());
            }
        }
    }
    object.into()
}

fn ids(ids: &[ExternalId]) -> Value {
    ids.iter().map(ExternalId::as_str).collect()
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
}

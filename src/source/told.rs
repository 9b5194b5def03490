//! What the relay read for itself, as a body of the inbox: the relay's own format, behind a mark that
//! no sender's body begins with.
//!
//! The mark is the record separator of JSON text sequences (RFC 7464), which is no JSON, so that each
//! sender's format refuses a posted body that begins so.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::formats::native;
use super::json::Malformed;
use crate::directory::{Attributes, Change, ExternalId, MembersEdit, Operation};

const MARK: u8 = 0x1e;

/// The body that says this.
pub fn write(changes: &[Change]) -> Vec<u8> {
    let changes: Vec<Value> = changes.iter().map(change).collect();
    let mut body = vec![MARK];
    body.extend(json!({"changes": changes}).to_string().into_bytes());
    body
}

/// What such a body says; `None` for a body that was posted.
pub fn read(body: &[u8]) -> Option<Result<Vec<Change>, Malformed>> {
    Some(native::parse(body.strip_prefix(&[MARK])?))
}

fn change(change: &Change) -> Value {
    let Change { occurred_at, operation } = change;
    let mut said = json!({"op": operation.name(), "id": operation.key().id.as_str()});
    if let Some(at) = occurred_at {
        said["occurred_at"] = at.to_string().into();
    }
    match operation {
        Operation::UserUpsert { attributes, .. } | Operation::GroupUpsert { attributes, .. } => {
            said["attributes"] = attributes_of(attributes).into();
        }
        Operation::GroupMembers { edit: MembersEdit::Set(users), .. } => {
            said["set"] = json!(each_once(users, &mut BTreeSet::new()));
        }
        Operation::GroupMembers { edit: MembersEdit::Delta { add, remove }, .. } => {
            // Of somebody who joins and leaves at once it is not known in which order.
            let mut named = BTreeSet::new();
            said["remove"] = json!(each_once(remove, &mut named));
            said["add"] = json!(each_once(add, &mut named));
        }
        Operation::UserDeactivate { .. } | Operation::UserDelete { .. } | Operation::GroupDelete { .. } => {}
    }
    said
}

/// A list of the provider's may name somebody twice, which the relay's own format refuses.
fn each_once<'a>(users: &'a [ExternalId], named: &mut BTreeSet<&'a ExternalId>) -> Vec<&'a ExternalId> {
    users.iter().filter(|user| named.insert(user)).collect()
}

fn attributes_of(attributes: &Attributes) -> Map<String, Value> {
    let mut object = Map::new();
    for (path, value) in attributes.iter() {
        match path.place() {
            (None, name) => {
                object.insert(name.to_owned(), value.clone());
            }
            (Some(container), name) => {
                let container = object.entry(container).or_insert_with(|| json!({}));
                container[name] = value.clone();
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::directory::{Kind, parse_attributes};

    fn id(text: &str) -> ExternalId {
        ExternalId::parse(text).unwrap()
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let attributes = json!({
            "userName": "ann", "active": false, "title": null,
            "name": {"givenName": "Ann", "familyName": null},
            "emails": [{"value": "ann@example.com", "type": "work"}],
            "department": "Sales",
            "urn:ietf:params:scim:schemas:extension:acme:2.0:User": {"badge": "7"},
        });
        let user = parse_attributes(Kind::User, attributes.as_object().unwrap()).unwrap();
        let group = json!({"displayName": "Staff"});
        let group = parse_attributes(Kind::Group, group.as_object().unwrap()).unwrap();
        let at = Some(Timestamp::from_micros(1_790_000_000_123_456));
        let delta = MembersEdit::Delta { add: vec![id("a")], remove: vec![id("b")] };
        let operations = [
            Operation::UserUpsert { id: id("ü"), attributes: user },
            Operation::UserDeactivate { id: id("u") },
            Operation::UserDelete { id: id("u") },
            Operation::GroupUpsert { id: id("g"), attributes: group },
            Operation::GroupDelete { id: id("g") },
            Operation::GroupMembers { id: id("g"), edit: delta },
            Operation::GroupMembers { id: id("g"), edit: MembersEdit::Set(vec![]) },
        ];
        let changes = operations.map(|operation| Change { occurred_at: at, operation });
        let said = read(&write(&changes)).unwrap().unwrap();
        let sorted = |changes: &[Change]| {
            let plain = changes.iter().map(change);
            plain.collect::<Vec<_>>()
        };
        assert_eq!(sorted(&said), sorted(&changes));
        assert_eq!(said.len(), changes.len());
        assert_eq!(said[0].occurred_at, at);
    }

    #[test]
    fn a_list_that_names_somebody_twice_is_read_all_the_same() {
        let twice = || vec![id("a"), id("b"), id("a")];
        let of =
            |edit| Change { occurred_at: None, operation: Operation::GroupMembers { id: id("g"), edit } };
        let changes =
            [of(MembersEdit::Set(twice())), of(MembersEdit::Delta { add: twice(), remove: vec![id("b")] })];
        let said = read(&write(&changes)).unwrap().unwrap();
        assert_eq!(said[0], of(MembersEdit::Set(vec![id("a"), id("b")])));
        assert_eq!(said[1], of(MembersEdit::Delta { add: vec![id("a")], remove: vec![id("b")] }));
    }

    #[test]
    fn a_posted_body_is_none_of_these_and_none_of_these_is_json() {
        assert_eq!(read(br#"{"changes":[]}"#), None);
        assert!(crate::source::json::parse(&write(&[])).is_err());
    }
}

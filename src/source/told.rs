//! What the relay read for itself, as a body of the inbox: the relay's own format, behind a mark that
//! no sender's body begins with.
//!
//! The mark is the record separator of JSON text sequences (RFC 7464), which is no JSON, so that each
//! sender's format refuses a posted body that begins so.

use super::formats::native;
use super::json::Malformed;
use crate::directory::Change;

const MARK: u8 = 0x1e;

/// The body that says this.
pub fn write(changes: &[Change]) -> Vec<u8> {
    let mut body = vec![MARK];
    body.extend(native::write::body(changes));
    body
}

/// What such a body says; `None` for a body that was posted.
pub fn read(body: &[u8]) -> Option<Result<Vec<Change>, Malformed>> {
    Some(native::parse(body.strip_prefix(&[MARK])?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;
    use crate::directory::{ExternalId, Kind, MembersEdit, Operation, parse_attributes};

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
        assert_eq!(native::write::body(&said), native::write::body(&changes));
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

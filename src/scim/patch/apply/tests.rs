use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::scim::definition::{GROUP_RULES, USER_RULES};
use crate::scim::schema;

fn jane() -> Value {
    json!({
        "id": "7",
        "userName": "jane",
        "name": {"givenName": "Jane", "familyName": "Doe"},
        "emails": [
            {"value": "a@x", "type": "work", "primary": true},
            {"value": "b@x", "type": "home"}
        ],
        schema::ENTERPRISE_USER: {"department": "Support", "manager": {"value": "1"}}
    })
}

fn one(op: Op, path: &str, value: Value) -> PatchRequest {
    let value = if op == Op::Remove { None } else { Some(value) };
    PatchRequest { operations: vec![PatchOp { op, path: Some(path.to_owned()), value }] }
}

/// The pointer's value after the operation, and whether anything changed.
fn after(op: Op, path: &str, value: Value, pointer: &str) -> (Option<Value>, Changed) {
    let mut user = jane();
    let changed = apply(&mut user, &one(op, path, value), &USER_RULES).unwrap();
    (user.pointer(pointer).cloned(), changed)
}

fn refusal(op: Op, path: &str, value: Value) -> &'static str {
    let mut user = jane();
    let error = apply(&mut user, &one(op, path, value), &USER_RULES).unwrap_err();
    assert_eq!(user, jane(), "a refused request leaves the resource as it was");
    match error {
        PatchError::InvalidSyntax(_) => "invalidSyntax",
        PatchError::InvalidPath(_) => "invalidPath",
        PatchError::NoTarget(_) => "noTarget",
        PatchError::InvalidValue(_) => "invalidValue",
        PatchError::Mutability(_) => "mutability",
    }
}

#[test]
fn an_operation_changes_what_its_path_names() {
    let department = format!("{}:department", schema::ENTERPRISE_USER);
    let manager = format!("{}:manager.value", schema::ENTERPRISE_USER);
    let pointer = |name: &str| format!("/{}/{name}", schema::ENTERPRISE_USER);
    for (op, path, value, at, expected) in [
        (Op::Add, "title", json!("Boss"), "/title".to_owned(), Some(json!("Boss"))),
        (Op::Replace, "TITLE", json!("Boss"), "/title".to_owned(), Some(json!("Boss"))),
        (Op::Replace, "name.givenName", json!("J"), "/name/givenName".to_owned(), Some(json!("J"))),
        (Op::Replace, "name", json!({"givenName": "J"}), "/name/familyName".to_owned(), Some(json!("Doe"))),
        (Op::Replace, &department, json!("Sales"), pointer("department"), Some(json!("Sales"))),
        (Op::Replace, &manager, json!("2"), pointer("manager/value"), Some(json!("2"))),
        (Op::Remove, &manager, json!(null), pointer("manager"), None),
        (Op::Remove, &department, json!(null), pointer("department"), None),
        (Op::Remove, schema::ENTERPRISE_USER, json!(null), pointer("manager"), None),
        (Op::Remove, "name.givenName", json!(null), "/name/givenName".to_owned(), None),
        (Op::Remove, "emails", json!(null), "/emails".to_owned(), None),
        (Op::Replace, "emails", json!(null), "/emails".to_owned(), None),
        (Op::Replace, "emails", json!([]), "/emails".to_owned(), None),
        (
            Op::Remove,
            "emails[type eq \"work\"]",
            json!(null),
            "/emails/0/value".to_owned(),
            Some(json!("b@x")),
        ),
        (Op::Remove, "emails[type eq \"home\"].type", json!(null), "/emails/1/type".to_owned(), None),
        (
            Op::Replace,
            "emails[type eq \"home\"].value",
            json!("c@x"),
            "/emails/1/value".to_owned(),
            Some(json!("c@x")),
        ),
        (Op::Replace, "emails[type eq \"home\"]", json!({"value": "c@x"}), "/emails/1/type".to_owned(), None),
        (
            Op::Add,
            "emails[type eq \"home\"]",
            json!({"display": "d"}),
            "/emails/1/value".to_owned(),
            Some(json!("b@x")),
        ),
        (Op::Replace, "emails", json!([{"value": "z"}]), "/emails".to_owned(), Some(json!([{"value": "z"}]))),
        (Op::Add, "emails", json!({"value": "z"}), "/emails/2/value".to_owned(), Some(json!("z"))),
    ] {
        assert_eq!(after(op, path, value, &at), (expected, Changed::Yes), "{op:?} {path}");
    }
}

#[test]
fn what_is_already_so_is_no_change() {
    for (op, path, value) in [
        (Op::Add, "userName", json!("jane")),
        (Op::Replace, "name.givenName", json!("Jane")),
        (Op::Add, "emails", json!([{"value": "b@x", "type": "home"}])),
        (Op::Add, "emails", json!([])),
        (Op::Add, "title", json!(null)),
        (Op::Remove, "title", json!(null)),
        (Op::Remove, "emails[type eq \"other\"]", json!(null)),
        (Op::Replace, "name", json!({"familyName": "Doe"})),
        (Op::Replace, "urn:ietf:params:scim:schemas:core:2.0:User:title", json!(null)),
    ] {
        assert_eq!(after(op, path, value, "/userName").1, Changed::No, "{op:?} {path}");
    }
}

#[test]
fn an_unassigned_extension_attribute_leaves_no_empty_object_behind() {
    let mut user = json!({"userName": "bo"});
    let path = format!("{}:manager", schema::ENTERPRISE_USER);
    assert_eq!(apply(&mut user, &one(Op::Replace, &path, json!({})), &USER_RULES), Ok(Changed::No));
    assert_eq!(user, json!({"userName": "bo"}));
}

#[test]
fn a_refusal_has_the_kind_that_the_rfc_gives() {
    for (op, path, value, kind) in [
        (Op::Replace, "emails[type eq \"other\"].value", json!("z"), "noTarget"),
        (Op::Replace, "ims[type eq \"x\"].value", json!("z"), "noTarget"),
        (Op::Add, "emails[0].value", json!("z"), "invalidPath"),
        (Op::Add, "shoeSize", json!("z"), "invalidPath"),
        (Op::Add, "name[givenName pr].familyName", json!("z"), "invalidPath"),
        (Op::Replace, "emails.value", json!("z"), "invalidPath"),
        (Op::Remove, "emails.value", json!(null), "invalidPath"),
        (Op::Replace, "groups", json!([{"value": "1"}]), "mutability"),
        (Op::Replace, "id", json!("8"), "mutability"),
        (Op::Remove, "userName", json!(null), "mutability"),
        (Op::Replace, "userName", json!(null), "mutability"),
        (Op::Replace, "active", json!("False"), "invalidValue"),
        (Op::Replace, "emails[type eq \"home\"]", json!("z"), "invalidValue"),
    ] {
        assert_eq!(refusal(op, path, value), kind, "{op:?} {path}");
    }
}

#[test]
fn a_remove_needs_a_path_and_takes_no_value() {
    let mut group = json!({"displayName": "g", "members": [{"value": "1"}, {"value": "2"}]});
    let before = group.clone();
    let with_value = PatchOp { value: Some(json!([{"value": "1"}])), ..PatchOp::remove("members") };
    let request = PatchRequest { operations: vec![with_value] };
    assert!(matches!(apply(&mut group, &request, &GROUP_RULES), Err(PatchError::InvalidValue(_))));
    let request = PatchRequest { operations: vec![PatchOp { op: Op::Remove, path: None, value: None }] };
    assert!(matches!(apply(&mut group, &request, &GROUP_RULES), Err(PatchError::NoTarget(_))));
    assert_eq!(group, before);
}

#[test]
fn without_a_path_each_key_is_a_path_and_read_only_ones_are_passed_over() {
    let mut user = jane();
    let value = json!({
        "id": "other", "title": "Boss", "name.givenName": "J",
        schema::ENTERPRISE_USER: {"division": "D"}
    });
    let request =
        PatchRequest { operations: vec![PatchOp { op: Op::Replace, path: None, value: Some(value) }] };
    assert_eq!(apply(&mut user, &request, &USER_RULES).unwrap(), Changed::Yes);
    assert_eq!(
        (&user["id"], &user["title"], &user["name"]["givenName"]),
        (&json!("7"), &json!("Boss"), &json!("J"))
    );
    let extension = &user[schema::ENTERPRISE_USER];
    assert_eq!((&extension["division"], &extension["department"]), (&json!("D"), &json!("Support")));
}

#[test]
fn a_new_primary_value_takes_the_place_of_the_old_one() {
    for request in [
        one(Op::Add, "emails", json!([{"value": "c@x", "primary": true}])),
        one(Op::Replace, "emails[type eq \"home\"].primary", json!(true)),
    ] {
        let mut user = jane();
        apply(&mut user, &request, &USER_RULES).unwrap();
        let primaries: Vec<_> = user["emails"].as_array().unwrap().iter().filter(|v| is_primary(v)).collect();
        assert_eq!(primaries.len(), 1, "{user}");
        assert_ne!(primaries[0]["value"], json!("a@x"));
    }
}

#[test]
fn a_member_once_set_cannot_be_another() {
    let mut group = json!({"displayName": "g", "members": [{"value": "1", "type": "User"}]});
    let request = one(Op::Replace, "members[value eq \"1\"].value", json!("2"));
    assert!(matches!(apply(&mut group, &request, &GROUP_RULES), Err(PatchError::Mutability(_))));
}

fn operations() -> impl Strategy<Value = PatchOp> {
    let paths = prop::sample::select(vec![
        "userName",
        "title",
        "name",
        "name.givenName",
        "emails",
        "emails[type eq \"work\"]",
        "groups",
        "emails[type eq \"none\"].value",
        "active",
        "shoe",
        "id",
        "emails[",
    ]);
    let values = prop::sample::select(vec![
        json!(null),
        json!("x"),
        json!(true),
        json!([]),
        json!({}),
        json!({"givenName": "x"}),
        json!([{"value": "n", "primary": true}]),
        json!({"value": "m"}),
    ]);
    let ops = prop::sample::select(vec![Op::Add, Op::Remove, Op::Replace]);
    (ops, prop::option::of(paths), prop::option::of(values)).prop_map(|(op, path, value)| PatchOp {
        op,
        path: path.map(str::to_owned),
        value,
    })
}

proptest! {
    #[test]
    fn a_request_takes_effect_whole_or_not_at_all(ops in prop::collection::vec(operations(), 1..6)) {
        let mut user = jane();
        match apply(&mut user, &PatchRequest { operations: ops }, &USER_RULES) {
            Err(_) | Ok(Changed::No) => prop_assert_eq!(user, jane()),
            Ok(Changed::Yes) => prop_assert_ne!(user, jane()),
        }
    }

    #[test]
    fn a_second_add_or_replace_or_remove_of_the_same_changes_nothing(op in operations()) {
        let request = PatchRequest { operations: vec![op] };
        let mut user = jane();
        if apply(&mut user, &request, &USER_RULES).is_ok() {
            let once = user.clone();
            if apply(&mut user, &request, &USER_RULES).is_ok() {
                prop_assert_eq!(user, once);
            }
        }
    }

    #[test]
    fn there_is_never_more_than_one_primary(ops in prop::collection::vec(operations(), 1..6)) {
        let mut user = jane();
        let _ = apply(&mut user, &PatchRequest { operations: ops }, &USER_RULES);
        let emails = user["emails"].as_array().cloned().unwrap_or_default();
        prop_assert!(emails.iter().filter(|value| is_primary(value)).count() <= 1);
    }
}

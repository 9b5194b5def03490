use proptest::prelude::*;
use serde_json::json;

use super::*;

fn parse_json(body: &Value) -> Result<Vec<Change>, String> {
    read_body(body.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

#[test]
fn every_operation_reads_in_the_order_of_the_body() {
    let at = "2026-11-20T11:00:00+01:00";
    let body = json!({"changes": [
        {"op": "user.upsert", "id": "u-101", "occurred_at": at, "attributes": {"userName": "jane", "active": true}},
        {"op": "user.deactivate", "id": "u-102", "occurred_at": null},
        {"op": "user.delete", "id": "u-103"},
        {"op": "group.upsert", "id": "g-1", "attributes": {}},
        {"op": "group.delete", "id": "g-2"},
        {"op": "group.members", "id": "g-1", "add": ["u-101"], "remove": ["u-102"]},
        {"op": "group.members", "id": "g-1", "remove": []},
        {"op": "group.members", "id": "g-3", "set": ["u-1", "u-2"]},
    ]});
    let changes = parse_json(&body).unwrap();
    let delta = |add, remove| MembersEdit::Delta { add, remove };
    let expected: [(Option<i64>, Operation); 8] = [
        (
            Some(1_795_168_800),
            Operation::UserUpsert {
                id: id("u-101"),
                attributes: parse_attributes(
                    Kind::User,
                    json!({"userName": "jane", "active": true}).as_object().unwrap(),
                )
                .unwrap(),
            },
        ),
        (None, Operation::UserDeactivate { id: id("u-102") }),
        (None, Operation::UserDelete { id: id("u-103") }),
        (None, Operation::GroupUpsert { id: id("g-1"), attributes: Attributes::default() }),
        (None, Operation::GroupDelete { id: id("g-2") }),
        (None, Operation::GroupMembers { id: id("g-1"), edit: delta(vec![id("u-101")], vec![id("u-102")]) }),
        (None, Operation::GroupMembers { id: id("g-1"), edit: delta(vec![], vec![]) }),
        (None, Operation::GroupMembers { id: id("g-3"), edit: MembersEdit::Set(vec![id("u-1"), id("u-2")]) }),
    ];
    let expected = expected
        .map(|(seconds, operation)| Change { occurred_at: seconds.map(Timestamp::from_seconds), operation });
    assert_eq!(changes, expected);
}

#[test]
fn no_changes_is_a_valid_body() {
    assert_eq!(parse_json(&json!({"changes": []})), Ok(vec![]));
}

#[test]
fn a_wrong_shape_says_where_and_what_is_expected() {
    let good = json!({"op": "user.delete", "id": "u"});
    let in_change = |change: Value| json!({"changes": [good, good, change]});
    let members = |rest: Value| {
        let mut change = json!({"op": "group.members", "id": "g"});
        change.as_object_mut().unwrap().append(&mut rest.as_object().unwrap().clone());
        in_change(change)
    };
    for (body, expected) in [
        (json!([]), "an object is expected"),
        (json!({}), "/changes: is missing"),
        (json!({"changes": {}}), "/changes: a list is expected"),
        (json!({"changes": [], "change": []}), "/change: is not known in the body; known: changes"),
        (in_change(json!("x")), "/changes/2: an object is expected"),
        (in_change(json!({"id": "u"})), "/changes/2/op: is missing"),
        (in_change(json!({"op": 7, "id": "u"})), "/changes/2/op: a text is expected"),
        (
            in_change(json!({"op": "user.rename", "id": "u"})),
            "/changes/2/op: is not an operation; known: user.upsert, user.deactivate, user.delete, \
             group.upsert, group.delete, group.members",
        ),
        (in_change(json!({"op": "user.delete"})), "/changes/2/id: is missing"),
        (in_change(json!({"op": "user.delete", "id": 7})), "/changes/2/id: a text is expected"),
        (in_change(json!({"op": "user.delete", "id": ""})), "/changes/2/id: id is empty"),
        (
            in_change(json!({"op": "user.delete", "id": "\u{0}"})),
            "/changes/2/id: id holds a control character",
        ),
        (
            in_change(json!({"op": "user.delete", "id": "x".repeat(513)})),
            "/changes/2/id: id is 513 bytes long, over 512",
        ),
        (
            in_change(json!({"op": "user.delete", "id": "u", "attributes": {}})),
            "/changes/2/attributes: is not known in user.delete; known: op, id, occurred_at",
        ),
        (
            in_change(json!({"op": "user.delete", "id": "u", "occured_at": "2026-11-20T10:00:00Z"})),
            "/changes/2/occured_at: is not known in user.delete",
        ),
        (
            in_change(json!({"op": "user.delete", "id": "u", "occurred_at": "2026-11-20"})),
            "/changes/2/occurred_at: a date and time with an offset is expected",
        ),
        (
            in_change(json!({"op": "user.delete", "id": "u", "occurred_at": 1_795_168_800})),
            "/changes/2/occurred_at: a text is expected",
        ),
        (in_change(json!({"op": "user.upsert", "id": "u"})), "/changes/2/attributes: is missing"),
        (
            in_change(json!({"op": "user.upsert", "id": "u", "attributes": []})),
            "/changes/2/attributes: an object is expected",
        ),
        (
            in_change(json!({"op": "user.upsert", "id": "u", "attributes": {"active": "yes"}})),
            "/changes/2/attributes/active: true or false is expected",
        ),
        (
            in_change(json!({"op": "group.upsert", "id": "g", "attributes": {"members": []}})),
            "/changes/2/attributes/members: members are changed by group.members",
        ),
        (members(json!({})), "/changes/2/set: is missing, and so are add and remove"),
        (members(json!({"set": [], "add": []})), "/changes/2/set: cannot stand beside add or remove"),
        (members(json!({"set": [], "remove": []})), "/changes/2/set: cannot stand beside add or remove"),
        (
            members(json!({"set": [], "sett": []})),
            "/changes/2/sett: is not known in group.members; known: op, id",
        ),
        (members(json!({"add": "u"})), "/changes/2/add: a list is expected"),
        (members(json!({"add": ["u", 7]})), "/changes/2/add/1: a text is expected"),
        (members(json!({"add": ["u", {"value": "v"}]})), "/changes/2/add/1: a text is expected"),
        (members(json!({"remove": ["u", ""]})), "/changes/2/remove/1: id is empty"),
        (members(json!({"add": ["u", "v", "u"]})), "/changes/2/add/2: names a user for the second time"),
        (members(json!({"add": ["u"], "remove": ["v", "u"]})), "/changes/2/remove/1: names a user"),
        (members(json!({"set": ["u", "u"]})), "/changes/2/set/1: names a user for the second time"),
    ] {
        let error = parse_json(&body).unwrap_err();
        assert!(error.starts_with(expected), "{body}\n  says {error}\n  not  {expected}");
    }
}

#[test]
fn the_number_of_changes_and_of_members_is_limited() {
    let bodies = |changes: usize, members: usize| {
        let ids: Vec<_> = (0..members).map(|n| n.to_string()).collect();
        let mut list = vec![json!({"op": "user.delete", "id": "u"}); changes - 1];
        list.push(json!({"op": "group.members", "id": "g", "add": ids}));
        parse_json(&json!({"changes": list}))
    };
    assert!(bodies(10_000, 1).is_ok());
    assert_eq!(bodies(10_001, 1), Err("/changes: holds 10001 items, over 10000".to_owned()));
    assert!(bodies(1, 100_000).is_ok());
    assert_eq!(bodies(1, 100_001), Err("/changes/0/add: holds 100001 items, over 100000".to_owned()));
}

/// Writes changes in the native format, as a sender would.
fn encode(changes: &[Change]) -> Value {
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            let mut object = json!({"op": change.operation.name(), "id": change.operation.key().id});
            if let Some(at) = change.occurred_at {
                object["occurred_at"] = json!(at.to_string());
            }
            match &change.operation {
                Operation::UserUpsert { attributes, .. } | Operation::GroupUpsert { attributes, .. } => {
                    object["attributes"] =
                        attributes.iter().map(|(path, value)| (path.to_string(), value.clone())).collect();
                }
                Operation::GroupMembers { edit: MembersEdit::Delta { add, remove }, .. } => {
                    object["add"] = json!(add);
                    object["remove"] = json!(remove);
                }
                Operation::GroupMembers { edit: MembersEdit::Set(members), .. } => {
                    object["set"] = json!(members);
                }
                Operation::UserDeactivate { .. }
                | Operation::UserDelete { .. }
                | Operation::GroupDelete { .. } => {}
            }
            object
        })
        .collect();
    json!({"changes": changes})
}

fn external_ids(pattern: &'static str) -> impl Strategy<Value = Vec<ExternalId>> {
    prop::collection::hash_set(pattern, 0..4).prop_map(|ids| ids.iter().map(|text| id(text)).collect())
}

fn operation() -> impl Strategy<Value = Operation> {
    let any_id = || "[^\\p{Cc}]{1,20}".prop_map(|text| id(&text));
    let attributes = prop_oneof![
        Just(json!({})),
        Just(
            json!({"userName": null, "active": false, "manager": "ü", "urn:a:b": {"c": [1.5, {"d": null}]}})
        ),
        Just(json!({"displayName": "\u{1F980}", "emails": [{"value": "a@b"}], "x": -3})),
    ];
    let attributes =
        attributes.prop_map(|object| parse_attributes(Kind::User, object.as_object().unwrap()).unwrap());
    prop_oneof![
        (any_id(), attributes).prop_map(|(id, attributes)| Operation::UserUpsert { id, attributes }),
        any_id().prop_map(|id| Operation::UserDeactivate { id }),
        any_id().prop_map(|id| Operation::UserDelete { id }),
        any_id().prop_map(|id| Operation::GroupUpsert { id, attributes: Attributes::default() }),
        any_id().prop_map(|id| Operation::GroupDelete { id }),
        (any_id(), external_ids("a[a-z]{1,5}"), external_ids("r[a-z]{1,5}")).prop_map(|(id, add, remove)| {
            Operation::GroupMembers { id, edit: MembersEdit::Delta { add, remove } }
        }),
        (any_id(), external_ids("[a-z]{1,5}"))
            .prop_map(|(id, set)| Operation::GroupMembers { id, edit: MembersEdit::Set(set) }),
    ]
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let occurred_at = prop::option::of((0..4_000_000_000_000_000_i64).prop_map(Timestamp::from_micros));
    prop::collection::vec(
        (occurred_at, operation()).prop_map(|(occurred_at, operation)| Change { occurred_at, operation }),
        0..6,
    )
}

proptest! {
    #[test]
    fn what_was_read_and_is_written_again_reads_the_same(changes in changes()) {
        let plain = |parsed: Vec<Change>| encode(&parsed);
        let once = parse_json(&encode(&changes)).unwrap();
        prop_assert_eq!(plain(once.clone()), encode(&changes));
        prop_assert_eq!(parse_json(&encode(&once)).unwrap(), once);
    }

    #[test]
    fn no_bytes_panic(body: Vec<u8>) {
        let _ = read_body(&body);
    }

    #[test]
    fn a_body_that_was_cut_or_changed_is_read_or_refused_without_a_panic(
        changes in changes(), at: prop::sample::Index, byte: u8, cut: bool,
    ) {
        let mut body = encode(&changes).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if cut {
            body.truncate(at);
        }
        let _ = read_body(&body);
    }
}

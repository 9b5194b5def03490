use serde_json::json;

use super::*;
use crate::source::signature::shared::Place;

fn pointer(text: &str) -> Pointer {
    Pointer::parse(text).unwrap()
}

fn rule(kind: &str, id: &str, effect: Effect) -> Rule {
    Rule { types: vec![kind.to_owned()], id: pointer(id), effect }
}

fn field(attribute: &str, from: &str) -> Field {
    Field { attribute: attribute.to_owned(), from: pointer(from), true_when: None }
}

fn mapping(rules: Vec<Rule>) -> Mapping {
    Mapping {
        scheme: Scheme::Shared(Place::Query("key".to_owned())),
        events: None,
        event_type: pointer("/type"),
        event_id: Some(pointer("/id")),
        occurred_at: Some((pointer("/at"), Format::Auto)),
        rules,
        accepted: StatusCode::ACCEPTED,
        limited: StatusCode::TOO_MANY_REQUESTS,
    }
}

fn read(mapping: &Mapping, body: &Value) -> Result<Reading, String> {
    mapping.read(body.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

#[test]
fn every_effect_is_read_from_its_places() {
    let delta = |add: &[&str], remove: &[&str]| MembersEdit::Delta {
        add: add.iter().copied().map(id).collect(),
        remove: remove.iter().copied().map(id).collect(),
    };
    let members = |edit| Operation::GroupMembers { id: id("7"), edit };
    let both = Effect::Members { add: Some(pointer("/in/*/who")), remove: Some(pointer("/out")) };
    for (effect, body, expected) in [
        (Effect::Deactivate, json!({}), Operation::UserDeactivate { id: id("7") }),
        (Effect::Delete(Kind::User), json!({}), Operation::UserDelete { id: id("7") }),
        (Effect::Delete(Kind::Group), json!({}), Operation::GroupDelete { id: id("7") }),
        (
            both.clone(),
            json!({"in": [{"who": 1}, {"who": "b"}], "out": ["c"]}),
            members(delta(&["1", "b"], &["c"])),
        ),
        (both.clone(), json!({"out": "c"}), members(delta(&[], &["c"]))),
        (both, json!({"in": null}), members(delta(&[], &[]))),
        (
            Effect::MemberSet(pointer("/all")),
            json!({"all": ["a", "b"]}),
            members(MembersEdit::Set(vec![id("a"), id("b")])),
        ),
        (Effect::MemberSet(pointer("/all/*/id")), json!({"all": []}), members(MembersEdit::Set(vec![]))),
    ] {
        let mapping = mapping(vec![rule("x", "/id", effect)]);
        let mut event = json!({"type": "x", "id": 7, "at": 1_786_000_000});
        event.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let reading = read(&mapping, &event).unwrap();
        assert_eq!(reading.event_id.as_deref(), Some("7"));
        let occurred_at = Some(Timestamp::from_seconds(1_786_000_000));
        assert_eq!(reading.changes, [Change { occurred_at, operation: expected }], "{event}");
    }
}

#[test]
fn attributes_are_taken_from_where_they_stand() {
    let state = Field { true_when: Some(vec!["on".to_owned()]), ..field("active", "/u/state") };
    let fields = vec![
        field("userName", "/u/login"),
        field("name.givenName", "/u/first"),
        field("name.familyName", "/u/last"),
        field("emails", "/u/mail"),
        field("department", "/u/unit"),
        state,
    ];
    let mapping = mapping(vec![rule("x", "/u/id", Effect::Upsert(Kind::User, fields))]);
    let event = json!({"type": "x", "u": {"id": "u-1", "login": "ada", "first": "Ada", "last": null, "mail": "a@b", "state": "off"}});
    let reading = read(&mapping, &event).unwrap();
    let expected = json!({
        "userName": "ada", "name": {"givenName": "Ada", "familyName": null}, "active": false,
        "emails": [{"value": "a@b", "type": "work", "primary": true}],
    });
    let attributes = parse_attributes(Kind::User, expected.as_object().unwrap()).unwrap();
    let Operation::UserUpsert { attributes: found, .. } = &reading.changes[0].operation else { panic!() };
    let sorted = |attributes: &crate::directory::Attributes| {
        let mut units: Vec<_> = attributes.iter().cloned().collect();
        units.sort_by(|a, b| a.0.cmp(&b.0));
        units
    };
    assert_eq!(sorted(found), sorted(&attributes));
}

#[test]
fn a_body_may_be_one_event_a_list_or_hold_a_list() {
    let one = |n: u64| json!({"type": "x", "id": n});
    let mut mapping = mapping(vec![rule("x", "/id", Effect::Deactivate)]);
    assert_eq!(read(&mapping, &one(1)).unwrap().changes.len(), 1);
    let list = read(&mapping, &json!([one(1), one(2), {"type": "other"}])).unwrap();
    assert_eq!((list.changes.len(), list.ignored, list.event_id), (2, 1, None));
    mapping.events = Some(pointer("/data/events"));
    assert_eq!(read(&mapping, &json!({"data": {"events": [one(1), one(2)]}})).unwrap().changes.len(), 2);
}

#[test]
fn the_first_rule_that_knows_the_type_counts_and_a_star_knows_all() {
    let rules = vec![
        rule("a", "/id", Effect::Deactivate),
        rule("*", "/id", Effect::Read(Kind::Group)),
        rule("b", "/id", Effect::Delete(Kind::User)),
    ];
    let mapping = mapping(rules);
    assert_eq!(read(&mapping, &json!({"type": "a", "id": "1"})).unwrap().changes.len(), 1);
    let other = read(&mapping, &json!({"type": "b", "id": "1"})).unwrap();
    assert_eq!((other.changes.len(), other.needs_read), (0, vec![ResourceKey::group(id("1"))]));
}

#[test]
fn what_is_missing_or_wrong_is_told_with_its_place() {
    let upsert = Effect::Upsert(Kind::User, vec![field("active", "/state")]);
    let mapping =
        mapping(vec![rule("x", "/id", upsert), rule("set", "/id", Effect::MemberSet(pointer("/all/*/id")))]);
    for (body, expected) in [
        (json!({"id": 1}), "/type: a text is expected"),
        (json!({"type": "x"}), "/id: is missing"),
        (json!({"type": "x", "id": {}}), "/id: an id is expected"),
        (json!({"type": "x", "id": 1, "state": "on"}), "/state: true or false is expected"),
        (json!({"type": "x", "id": 1, "at": "noon"}), "/at: is not a time"),
        (json!([{"type": "y"}, {"type": "x"}]), "/1/id: is missing"),
        (json!({"type": "set", "id": 1}), "/all/*/id: a list is expected"),
        (json!({"type": "set", "id": 1, "all": null}), "/all/*/id: a list is expected"),
    ] {
        let error = read(&mapping, &body).unwrap_err();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}

//! Planning under a mapping: who is in scope, and which attributes are ours.

use std::sync::Arc;

use super::*;
use crate::mapping::{AttributeMap, Expression, Mapping, Place};

const WORK: &str = r#"emails[type eq "work"].value"#;

fn compile(text: &str) -> Expression {
    Expression::compile(text).unwrap()
}

fn policy(scope: Option<&str>, attributes: Option<&[(&str, &str)]>) -> Policy {
    let attributes = attributes.map(|mapped| {
        let mapped = mapped.iter().map(|(path, text)| (Place::parse(path).unwrap(), compile(text)));
        AttributeMap::new(mapped.collect()).unwrap()
    });
    let mapping = Arc::new(Mapping { scope: scope.map(compile), attributes, ..Mapping::default() });
    Policy { mapping, ..Policy::default() }
}

fn sales() -> Policy {
    policy(Some("user.department == 'SALES'"), None)
}

/// Goes on with the same user after another upsert.
fn told(memory: &mut Memory, operations: Vec<Operation>) {
    memory.desired = user(operations).desired;
}

fn held(vendor: &Vendor) -> &Map<String, Value> {
    vendor.resources.values().next().unwrap()
}

#[test]
fn nobody_asks_the_vendor_about_a_user_who_never_was_in_scope() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "jane@example.com", "externalId": "u-1", "active": true}));
    let mut memory = user(vec![upsert(&jane())]);
    let (end, pass) = memory.pass(&sales(), &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec![]));
    assert!(pass.is_out_of_scope());
}

#[test]
fn leaving_the_scope_is_as_a_deletion_and_coming_back_as_a_return() {
    let states =
        || [json!({"department": "SALES"}), json!({"department": "HR"}), json!({"department": "SALES"})];
    let spoken = jane();
    let mut unspoken = jane();
    unspoken.as_object_mut().unwrap().remove("active");
    for (on_delete, jane, expected) in [
        (OnDelete::Deactivate, &spoken, vec!["lookup", "create", "update", "update"]),
        (OnDelete::Deactivate, &unspoken, vec!["lookup", "create", "update", "update"]),
        (OnDelete::Delete, &spoken, vec!["lookup", "create", "delete", "lookup", "create"]),
    ] {
        let policy = Policy { on_delete, ..sales() };
        let (mut vendor, mut memory) = (Vendor::strict(), user(vec![upsert(jane)]));
        let mut operations = vec![upsert(jane)];
        for (state, active) in states().iter().zip([true, false, true]) {
            operations.push(upsert(state));
            told(&mut memory, operations.clone());
            memory.pass(&policy, &mut vendor, calm()).unwrap();
            let access = vendor.resources.values().any(|held| held["active"] == true);
            assert_eq!(access, active, "{on_delete:?} {state}");
        }
        assert_eq!(words(&vendor), expected, "{on_delete:?}");
        assert_eq!(held(&vendor)["title"], "Lead");
    }
}

#[test]
fn a_user_known_by_id_alone_is_not_judged_by_what_nobody_has_told() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "x", "externalId": "u-1", "active": true}));
    let desired = Desired::User { user: User::default(), references: BTreeMap::new() };
    let mut memory = Memory::new(ResourceKey::user(id("u-1")), desired);
    memory.pass(&sales(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup"]);
    assert_eq!(memory.row().vendor_id, "v1");
}

#[test]
fn only_what_is_mapped_goes_out_and_what_identity_needs() {
    let badge = "urn:example:ext:1.0:User:badge";
    let attributes = [
        ("displayName", "user.name.givenName.upperAscii()"),
        ("nickName", "user.nickName"),
        (badge, "user.employeeNumber"),
        (WORK, "user.userName"),
        (r#"emails[type eq "work"].primary"#, "true"),
    ];
    let policy = policy(None, Some(&attributes));
    let mut vendor = Vendor::strict();
    let jane = vec![upsert(&jane()), upsert(&json!({"employeeNumber": "7"}))];
    user(jane).pass(&policy, &mut vendor, calm()).unwrap();
    let Request::Create { resource } = &vendor.calls[1] else { panic!() };
    assert_eq!(
        *resource,
        json!({
            "schemas": ["urn:example:ext:1.0:User", "urn:ietf:params:scim:schemas:core:2.0:User"],
            "externalId": "u-1", "active": true, "userName": "jane@example.com", "displayName": "JANE",
            "urn:example:ext:1.0:User": {"badge": "7"},
            "emails": [{"type": "work", "value": "jane@example.com", "primary": true}]
        })
    );
}

#[test]
fn elements_and_attributes_of_others_stay_with_or_without_path_filters() {
    for (path_filters, patch) in [(true, true), (false, true), (false, false)] {
        let policy = policy(None, Some(&[(WORK, "user.nickName"), ("title", "user.title")]));
        let policy = Policy { patch, path_filters, ..policy };
        let mut vendor = Vendor::strict();
        let theirs = json!([{"value": "p@home", "type": "home"}, {"value": "untyped@x"}]);
        vendor.insert(
            &json!({"userName": "jane@example.com", "active": true, "locale": "xx", "emails": theirs}),
        );
        let mut operations = vec![upsert(&jane())];
        let mut memory = user(operations.clone());
        for (nick, emails) in [(json!("a@x"), 3), (json!("b@x"), 3), (Value::Null, 2), (json!("c@x"), 3)] {
            operations.push(upsert(&json!({ "nickName": nick })));
            told(&mut memory, operations.clone());
            memory.pass(&policy, &mut vendor, calm()).unwrap();
            let held = held(&vendor);
            let list = held["emails"].as_array().unwrap();
            assert_eq!(list.len(), emails, "{path_filters} {nick}: {list:?}");
            assert!(nick.is_null() || list.iter().any(|email| email["value"] == nick), "{list:?}");
            assert!(theirs.as_array().unwrap().iter().all(|email| list.contains(email)), "{list:?}");
            assert_eq!((&held["locale"], held.get("nickName")), (&json!("xx"), None));
        }
    }
}

#[test]
fn what_is_mapped_no_more_stays_at_the_vendor_and_is_not_touched() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    let both = policy(None, Some(&[("title", "user.title"), (WORK, "user.userName")]));
    memory.pass(&both, &mut vendor, calm()).unwrap();
    let neither = policy(None, Some(&[("displayName", "user.title")]));
    memory.pass(&neither, &mut vendor, calm()).unwrap();
    told(&mut memory, vec![upsert(&jane()), upsert(&json!({"title": null}))]);
    memory.pass(&neither, &mut vendor, calm()).unwrap();
    let held = held(&vendor);
    assert_eq!((&held["title"], &held["emails"][0]["value"]), (&json!("Lead"), &json!("jane@example.com")));
    assert_eq!(held.get("displayName"), None);
    // It is the vendor's now: what comes back into the mapping is looked at, not assumed.
    vendor.calls.clear();
    memory.pass(&both, &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["fetch", "update"]);
}

#[test]
fn a_fault_parks_the_user_but_never_keeps_access_alive() {
    let policy = policy(None, Some(&[("title", "user.title + '!'")]));
    let mut vendor = Vendor::strict();
    let untitled = upsert(&json!({"title": null}));
    let (end, _) = user(vec![upsert(&jane()), untitled.clone()]).pass(&policy, &mut vendor, calm()).unwrap();
    let parks =
        |end: &End| matches!(end, End::Park { reason } if reason.contains("title fails for this user"));
    assert!(parks(&end), "{end:?}");
    assert_eq!(words(&vendor), Vec::<&str>::new());

    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&policy, &mut vendor, calm()).unwrap();
    let mut operations = vec![upsert(&jane()), untitled];
    told(&mut memory, operations.clone());
    assert!(parks(&memory.pass(&policy, &mut vendor, calm()).unwrap().0));
    assert_eq!(held(&vendor)["title"], "Lead!");

    operations.push(Operation::UserDeactivate { id: id("u-1") });
    told(&mut memory, operations.clone());
    assert!(parks(&memory.pass(&policy, &mut vendor, calm()).unwrap().0));
    assert_eq!(held(&vendor)["active"], false);

    operations.push(deletion());
    told(&mut memory, operations);
    assert_eq!(memory.pass(&policy, &mut vendor, calm()).unwrap().0, End::Done);
}

#[test]
fn a_mapping_takes_access_away_and_gives_none() {
    let policy = policy(None, Some(&[("active", "user.title != 'Guest'")]));
    for (attributes, expected) in [
        (json!({"title": "Lead"}), true),
        (json!({"title": "Guest"}), false),
        (json!({"title": "Lead", "active": false}), false),
    ] {
        let mut vendor = Vendor::strict();
        let mut memory = user(vec![upsert(&jane())]);
        memory.pass(&policy, &mut vendor, calm()).unwrap();
        told(&mut memory, vec![upsert(&jane()), upsert(&attributes)]);
        memory.pass(&policy, &mut vendor, calm()).unwrap();
        assert_eq!(held(&vendor)["active"], expected, "{attributes}");
    }
}

#[test]
fn the_account_is_matched_by_the_name_that_is_sent() {
    let policy = policy(None, Some(&[("userName", "'corp-' + user.userName")]));
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "corp-jane@example.com", "active": true}));
    user(vec![upsert(&jane())]).pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!(vendor.resources.len(), 1);
    assert_eq!(held(&vendor)["externalId"], "u-1");
}

#[test]
fn a_mapped_manager_goes_by_reference_and_can_be_no_other() {
    let path = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    let with_manager = || vec![upsert(&jane()), upsert(&json!({"manager": "boss"}))];
    let known = || BTreeMap::from([(id("boss"), MemberStanding::Linked("v77".into()))]);
    let mut vendor = Vendor::strict();
    let policy_of = |text| policy(None, Some(&[(path, text)]));
    user_with(with_manager(), known()).pass(&policy_of("user.manager"), &mut vendor, calm()).unwrap();
    let extension = &held(&vendor)[path.strip_suffix(":manager").unwrap()];
    assert_eq!(extension["manager"]["value"], "v77");

    let mut memory = user_with(with_manager(), known());
    let (end, mut pass) = memory.pass(&policy_of("'somebody'"), &mut Vendor::strict(), calm()).unwrap();
    assert!(matches!(end, End::Park { reason } if reason.contains("manager")));
    assert_eq!(pass.findings(Timestamp::default()).waits_for, BTreeSet::new());
}

#[test]
fn what_an_expression_makes_is_personal_data_too() {
    let policy = policy(None, Some(&[("displayName", "user.title + ' Jane'")]));
    let (_, pass) = user(vec![upsert(&jane())]).pass(&policy, &mut Vendor::strict(), calm()).unwrap();
    assert!(pass.known_values().any(|known| known == ("displayName", "Lead Jane")));
}

proptest! {
    /// Through any states, mishaps and habits of the vendor: what is mapped is as it should be, nothing
    /// else is touched, and who is out of scope has no access.
    #[test]
    fn a_mapped_user_converges_and_what_is_theirs_stays(
        theirs in prop::option::of(prop::collection::vec(prop::sample::select(vec!["home", "work", "other"]), 0..3)),
        states in prop::collection::vec((attributes(), prop::bool::ANY), 1..4),
        mishaps in prop::collection::vec(mishap(), 0..6),
        patch: bool,
        path_filters: bool,
    ) {
        let mapped = [("title", "user.title"), (WORK, "user.emails.filter(e, e.type == 'home')[0].value")];
        let base = policy(Some("user.department == user.title && user.nickName != 'out'"), Some(&mapped));
        let policy = Policy { patch, path_filters, ..base };
        let mut vendor = Vendor::strict();
        if let Some(types) = &theirs {
            let emails: Vec<Value> = types.iter().map(|kind| json!({"type": kind, "value": "theirs@x", "display": "theirs"})).collect();
            vendor.insert(&json!({"userName": "jane", "active": true, "locale": "theirs", "emails": emails}));
        }
        let mut operations = vec![upsert(&json!({"userName": "jane", "active": true}))];
        let mut memory = user(operations.clone());
        let mut mishap = then_calm(&mishaps);
        let mut scope = true;
        for (attributes, in_scope) in states {
            scope = in_scope;
            operations.push(upsert(&attributes));
            operations.push(upsert(&json!({"nickName": if in_scope { "in" } else { "out" }})));
            told(&mut memory, operations.clone());
            let mut passes = 0;
            while memory.pass(&policy, &mut vendor, &mut mishap).is_none() {
                passes += 1;
                prop_assert!(passes < 20, "no end in sight");
            }
        }
        prop_assert!(vendor.resources.len() <= 1);
        let Some(held) = vendor.resources.values().next() else {
            prop_assert!(!scope);
            return Ok(());
        };
        let others = |list: &[Value]| list.iter().filter(|email| email["type"] != "work").count();
        let emails = held.get("emails").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let expected = theirs.iter().flatten().filter(|kind| **kind != "work").count();
        prop_assert_eq!(others(emails), expected, "{:?}", emails);
        prop_assert!(theirs.is_none() || held["locale"] == "theirs");
        let Desired::User { user: desired, .. } = &memory.desired else { panic!() };
        if scope {
            let facts = user::Facts {
                id: &id("u-1"), user: desired, references: &BTreeMap::new(), mapped: &policy.mapping.map(&id("u-1"), desired), said_inactive: true,
            };
            let units = user::units(&facts, false, &mut BTreeSet::new());
            let left = diff(&units, &Units::new(), Current::Read(held), true);
            prop_assert!(left.is_empty(), "left to say: {left:?}\nheld: {held:?}");
        } else if memory.link.as_ref().is_some_and(|link| matches!(link, Link::Known(_))) {
            prop_assert_eq!(&held["active"], &json!(false));
        }
    }
}

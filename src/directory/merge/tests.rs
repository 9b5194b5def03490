use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::directory::{Kind, parse_attributes};

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

fn ids(texts: &[&str]) -> Vec<ExternalId> {
    texts.iter().map(|text| id(text)).collect()
}

fn at(seconds: i64, operation: Operation) -> VersionedChange {
    let version = Version { occurred_at: Timestamp::from_seconds(seconds), event: "e".into(), index: 0 };
    VersionedChange { version, operation }
}

fn user(name: &str, attributes: &Value) -> Operation {
    let attributes = parse_attributes(Kind::User, attributes.as_object().unwrap()).unwrap();
    Operation::UserUpsert { id: id(name), attributes }
}

fn group(name: &str, attributes: &Value) -> Operation {
    let attributes = parse_attributes(Kind::Group, attributes.as_object().unwrap()).unwrap();
    Operation::GroupUpsert { id: id(name), attributes }
}

fn delta(group: &str, add: &[&str], remove: &[&str]) -> Operation {
    Operation::GroupMembers { id: id(group), edit: MembersEdit::Delta { add: ids(add), remove: ids(remove) } }
}

fn set(group: &str, users: &[&str]) -> Operation {
    Operation::GroupMembers { id: id(group), edit: MembersEdit::Set(ids(users)) }
}

/// What a target can see of a directory.
#[derive(Debug, PartialEq)]
struct View {
    users: BTreeMap<ExternalId, (bool, bool, BTreeMap<String, Value>)>,
    groups: BTreeMap<ExternalId, (bool, BTreeMap<String, Value>)>,
    members: BTreeMap<ExternalId, BTreeSet<ExternalId>>,
    rows: BTreeSet<(ExternalId, ExternalId)>,
}

fn view(snapshot: &Snapshot) -> View {
    let shown = |registers: &crate::directory::Registers| {
        registers.iter().map(|(path, value)| (path.to_string(), value.clone())).collect()
    };
    View {
        users: snapshot
            .users()
            .map(|(id, user)| (id.clone(), (user.is_described(), user.has_access(), shown(&user.attributes))))
            .collect(),
        groups: snapshot
            .groups()
            .map(|(id, group)| (id.clone(), (group.is_described(), shown(&group.attributes))))
            .collect(),
        members: snapshot
            .groups()
            .map(|(id, _)| (id.clone(), snapshot.members(id).cloned().collect()))
            .collect(),
        rows: snapshot.membership_rows().map(|(group, user, _)| (group.clone(), user.clone())).collect(),
    }
}

fn merged(changes: &[VersionedChange]) -> (Snapshot, Vec<MergeOutcome>) {
    let mut snapshot = Snapshot::default();
    let effects = merge(&mut snapshot, changes);
    (snapshot, effects.into_iter().map(|effect| effect.outcome).collect())
}

fn members(snapshot: &Snapshot, group: &str) -> Vec<String> {
    snapshot.members(&id(group)).map(ToString::to_string).collect()
}

#[test]
fn the_later_writer_wins_per_attribute() {
    let (snapshot, outcomes) = merged(&[
        at(2, user("u", &json!({"title": "Lead", "active": true}))),
        at(1, user("u", &json!({"title": "Junior", "nickName": "Jay"}))),
    ]);
    let attributes = &snapshot.user(&id("u")).unwrap().attributes;
    assert_eq!(attributes.shown(&"title".into_path()), Some(&json!("Lead")));
    assert_eq!(attributes.shown(&"nickName".into_path()), Some(&json!("Jay")));
    assert_eq!(outcomes, [MergeOutcome::Merged, MergeOutcome::Merged]);
}

#[test]
fn a_null_container_hides_what_was_written_before_it_and_not_after() {
    let (snapshot, _) = merged(&[
        at(1, user("u", &json!({"name": {"givenName": "Jane", "familyName": "Doe"}}))),
        at(3, user("u", &json!({"name": {"familyName": "Roe"}}))),
        at(2, user("u", &json!({"name": null}))),
    ]);
    let attributes = &snapshot.user(&id("u")).unwrap().attributes;
    assert_eq!(attributes.shown(&"name.givenName".into_path()), Some(&Value::Null));
    assert_eq!(attributes.shown(&"name.familyName".into_path()), Some(&json!("Roe")));
}

#[test]
fn a_repeated_change_wakes_nothing() {
    let change = at(1, user("u", &json!({"title": "Lead"})));
    let (mut snapshot, _) = merged(std::slice::from_ref(&change));
    let generation = snapshot.user(&id("u")).unwrap().generation;
    let effects = merge(&mut snapshot, &[change, at(2, user("u", &json!({"title": "Lead"})))]);
    assert!(effects.iter().all(|effect| effect.outcome == MergeOutcome::Unchanged), "{effects:?}");
    assert_eq!(snapshot.user(&id("u")).unwrap().generation, generation);
}

#[test]
fn a_late_change_is_superseded() {
    let (_, outcomes) = merged(&[
        at(5, Operation::UserDelete { id: id("u") }),
        at(4, Operation::UserDelete { id: id("u") }),
        at(6, user("u", &json!({"active": false}))),
        at(5, Operation::UserDeactivate { id: id("u") }),
    ]);
    assert_eq!(outcomes[1], MergeOutcome::Superseded);
    assert_eq!(outcomes[3], MergeOutcome::Superseded);
}

#[test]
fn a_deactivation_alone_makes_the_user_known_but_not_described() {
    let (snapshot, _) = merged(&[at(1, Operation::UserDeactivate { id: id("u") })]);
    let user = snapshot.user(&id("u")).unwrap();
    assert!(!user.is_described() && !user.is_deleted() && !user.has_access());
}

#[test]
fn a_deleted_users_memberships_end_with_it_and_do_not_come_back() {
    let (snapshot, _) = merged(&[
        at(1, delta("g", &["u", "v"], &[])),
        at(2, Operation::UserDelete { id: id("u") }),
        at(3, user("u", &json!({"userName": "u"}))),
    ]);
    assert_eq!(members(&snapshot, "g"), ["v"]);
    assert!(snapshot.touched().groups[&id("g")].removals);
    assert!(snapshot.user(&id("u")).unwrap().is_described());
}

#[test]
fn a_set_removes_who_is_not_named_and_a_late_add_does_not_slip_past_it() {
    let (snapshot, _) = merged(&[
        at(1, delta("g", &["a", "b"], &[])),
        at(3, set("g", &["b", "c"])),
        at(2, delta("g", &["late"], &[])),
        at(4, delta("g", &["d"], &[])),
    ]);
    assert_eq!(members(&snapshot, "g"), ["b", "c", "d"]);
}

#[test]
fn an_empty_set_empties_the_group() {
    let (snapshot, outcomes) =
        merged(&[at(1, delta("g", &["a"], &[])), at(2, set("g", &[])), at(3, set("g", &[]))]);
    assert_eq!(members(&snapshot, "g"), [""; 0]);
    assert_eq!(outcomes[1..], [MergeOutcome::Merged, MergeOutcome::Unchanged]);
}

#[test]
fn each_changed_row_has_a_sequence_of_its_own() {
    let (snapshot, _) = merged(&[at(1, delta("g", &["a", "b"], &["c"]))]);
    let sequences: BTreeSet<u64> = ["a", "b", "c"]
        .iter()
        .map(|user| snapshot.membership(&id("g"), &id(user)).unwrap().sequence)
        .collect();
    assert_eq!(sequences, BTreeSet::from([1, 2, 3]));
}

trait IntoPath {
    fn into_path(self) -> crate::directory::AttributePath;
}

impl IntoPath for &str {
    fn into_path(self) -> crate::directory::AttributePath {
        crate::directory::AttributePath::new(self)
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let user_id = || prop::sample::select(vec!["u1", "u2", "u3"]);
    let group_id = || prop::sample::select(vec!["g1", "g2"]);
    let members = || prop::collection::btree_set(prop::sample::select(vec!["u1", "u2", "u3", "u4"]), 0..4);
    let attributes = prop::sample::select(vec![
        json!({"title": "A"}),
        json!({"title": "B", "active": true}),
        json!({"title": null, "active": false}),
        json!({"name": {"givenName": "J"}}),
        json!({"name": null}),
        json!({"name": {"givenName": null, "familyName": "D"}}),
        json!({"department": "X", "urn:e:1:User": {"badge": 1}}),
        json!({"urn:e:1:User": null}),
    ]);
    prop_oneof![
        (user_id(), attributes).prop_map(|(id, attributes)| user(id, &attributes)),
        user_id().prop_map(|name| Operation::UserDeactivate { id: id(name) }),
        user_id().prop_map(|name| Operation::UserDelete { id: id(name) }),
        (group_id(), prop::sample::select(vec!["One", "Two"]))
            .prop_map(|(id, name)| group(id, &json!({"displayName": name}))),
        group_id().prop_map(|name| Operation::GroupDelete { id: id(name) }),
        (group_id(), members(), members()).prop_map(|(group, add, remove)| {
            let remove: Vec<&str> = remove.difference(&add).copied().collect();
            delta(group, &add.into_iter().collect::<Vec<_>>(), &remove)
        }),
        (group_id(), members()).prop_map(|(group, users)| set(group, &users.into_iter().collect::<Vec<_>>())),
    ]
}

/// Changes with distinct versions; several share a moment, so that event ids decide.
fn stream() -> impl Strategy<Value = Vec<VersionedChange>> {
    prop::collection::vec((0i64..6, operation()), 1..24).prop_map(|drawn| {
        let version = |n: usize, seconds| Version {
            occurred_at: Timestamp::from_seconds(seconds),
            event: format!("e{:02}", (n * 7) % 24),
            index: u32::try_from(n).unwrap(),
        };
        drawn
            .into_iter()
            .enumerate()
            .map(|(n, (seconds, operation))| VersionedChange { version: version(n, seconds), operation })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_permutation_and_repetition_leads_to_the_same_directory(
        (original, shuffled) in stream().prop_flat_map(|stream| {
            let twice: Vec<_> = stream.iter().chain(&stream).cloned().collect();
            (Just(stream), Just(twice).prop_shuffle())
        })
    ) {
        prop_assert_eq!(view(&merged(&original).0), view(&merged(&shuffled).0));
    }

    #[test]
    fn only_what_says_something_new_bumps_a_generation(stream in stream()) {
        let (mut snapshot, _) = merged(&stream);
        let before = view(&snapshot);
        let generations = |snapshot: &Snapshot| -> Vec<u64> {
            snapshot.users().map(|(_, user)| user.generation).chain(snapshot.groups().map(|(_, group)| group.generation)).collect()
        };
        let generations_before = generations(&snapshot);
        merge(&mut snapshot, &stream);
        prop_assert_eq!(view(&snapshot), before);
        prop_assert_eq!(generations(&snapshot), generations_before);
    }
}

//! Planning of groups that a target derives, and of the users who belong to them.

use std::sync::Arc;

use super::*;
use crate::mapping::{DerivedGroup, Expression, Mapping};

fn sellers() -> ExternalId {
    ExternalId::derived("Sellers").unwrap()
}

fn policy(when: &str, scope: Option<&str>) -> Policy {
    let compile = |text: &str| Expression::compile(text).unwrap();
    let derived_groups = vec![DerivedGroup::new(compile(when), "Sellers").unwrap()];
    let mapping = Mapping { scope: scope.map(compile), derived_groups, ..Mapping::default() };
    Policy { mapping: Arc::new(mapping), ..Policy::default() }
}

fn derived_group(deltas: Vec<MemberDelta>) -> Memory {
    let version = Version { occurred_at: Timestamp::from_seconds(1), event: String::new(), index: 0 };
    let group = Group::named("Sellers", &version);
    Memory::new(ResourceKey::group(sellers()), Desired::Group { group, deltas, more: false })
}

fn judged(policy: &Policy, operations: Vec<Operation>) -> (End, BTreeMap<ExternalId, bool>) {
    let mut memory = user(operations);
    let (end, mut pass) = memory.pass(policy, &mut Vendor::strict(), calm()).unwrap();
    (end, pass.findings(Timestamp::default()).memberships)
}

#[test]
fn a_derived_group_is_found_by_its_name_and_only_its_members_are_ours() {
    let mut vendor = Vendor::strict();
    let theirs = json!({"displayName": "Sellers", "externalId": "theirs", "members": [{"value": "m9"}]});
    vendor.insert(&theirs);
    let mut memory = derived_group(vec![linked(1, true)]);
    memory.pass(&policy("true", None), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "members"]);
    let Request::Lookup { matchers } = &vendor.calls[0] else { panic!("a lookup comes first") };
    assert_eq!(*matchers, [("displayName".to_owned(), "Sellers".to_owned())]);
    let held = vendor.resources.values().next().unwrap();
    assert_eq!((&held["externalId"], held["members"].as_array().unwrap().len()), (&json!("theirs"), 2));
}

#[test]
fn who_else_is_in_a_derived_group_stays_even_where_the_directory_says_who_is_in_its_own() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"displayName": "Sellers", "members": [{"value": "m9"}]}));
    let mut memory = derived_group(vec![linked(1, true)]);
    if let Desired::Group { group, .. } = &mut memory.desired {
        group.member_sequence = 1;
    }
    memory.ours = Some([].into());
    let policy = Policy { members_authoritative: true, ..policy("true", None) };
    memory.pass(&policy, &mut vendor, calm()).unwrap();
    let held = vendor.resources.values().next().unwrap();
    assert_eq!(held["members"].as_array().unwrap().len(), 2);
}

#[test]
fn a_derived_group_that_is_not_there_is_made_with_its_name_alone() {
    let mut vendor = Vendor::strict();
    derived_group(vec![linked(1, true)]).pass(&policy("true", None), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "create"]);
    let held = vendor.resources.values().next().unwrap();
    assert_eq!((&held["displayName"], held.get("externalId")), (&json!("Sellers"), None));
}

#[test]
fn who_a_directorys_group_holds_already_is_a_conflict() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"displayName": "Sellers"}));
    let mut memory = derived_group(vec![linked(1, true)]);
    memory.holder = Some(id("g-1"));
    assert!(memory.pass(&policy("true", None), &mut vendor, calm()).is_none());
    assert_eq!(words(&vendor), ["lookup"]);
}

#[test]
fn a_user_is_judged_by_what_is_desired_now() {
    let lead = policy("user.title == 'Lead'", Some("user.active"));
    let (upserted, other) = (upsert(&jane()), upsert(&json!({"title": "Head"})));
    let inactive = upsert(&json!({"active": false}));
    for (operations, belongs) in [
        (vec![upserted.clone()], true),
        (vec![upserted.clone(), other], false),
        (vec![upserted.clone(), inactive], false),
        (vec![upserted, deletion()], false),
    ] {
        let (end, memberships) = judged(&lead, operations);
        assert_eq!((end, memberships), (End::Done, [(sellers(), belongs)].into()));
    }
}

#[test]
fn a_rule_that_fails_parks_the_user_and_judges_nothing() {
    let (end, memberships) = judged(&policy("user.title", None), vec![upsert(&jane())]);
    let End::Park { reason } = end else { panic!("{end:?}") };
    assert!(reason.contains("group Sellers fails") && !reason.contains("Lead"), "{reason}");
    assert_eq!(memberships, BTreeMap::new());
}

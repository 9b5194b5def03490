//! An administrator's word on who is who at the vendor.

use super::*;
use crate::mapping::IdMap;

fn policy(rows: &[(&str, &str, &str)]) -> Policy {
    let mut map = IdMap::default();
    for (line, (kind, external_id, vendor_id)) in (2..).zip(rows) {
        map.push(kind, external_id, vendor_id, line).unwrap();
    }
    Policy { id_map: map.complete().unwrap().into(), ..Policy::default() }
}

#[test]
fn who_is_mapped_is_read_and_linked_though_nothing_matches() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "jd@old.example", "externalId": "other", "active": true}));
    let mut memory = user(vec![upsert(&jane())]);
    let (end, _) = memory.pass(&policy(&[("user", "u-1", "v1")]), &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["inspect", "update"]));
    let held = &vendor.resources[&memory.row().vendor_id];
    let told = (&held["userName"], &held["externalId"]);
    assert_eq!(told, (&json!("jane@example.com"), &json!("other")), "whose externalId it has stays theirs");
}

#[test]
fn what_is_linked_stays_linked_whatever_the_map_says() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    vendor.insert(&json!({"userName": "other"}));
    vendor.calls.clear();
    memory.desired = user(vec![upsert(&jane()), upsert(&json!({"title": "Head"}))]).desired;
    memory.pass(&policy(&[("user", "u-1", "v2")]), &mut vendor, calm()).unwrap();
    assert_eq!((words(&vendor), memory.row().vendor_id.as_str()), (vec!["update"], "v1"));
}

#[test]
fn where_the_vendor_does_not_know_the_mapped_id_the_look_ups_go_on() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "jane@example.com", "active": true}));
    let mut memory = user(vec![upsert(&jane())]);
    let (end, _) = memory.pass(&policy(&[("user", "u-1", "gone")]), &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["inspect", "lookup", "update"]));
    assert_eq!(memory.row().vendor_id, "v1");

    let mut nobody = Vendor::strict();
    let policy = policy(&[("user", "u-1", "gone"), ("group", "u-1", "v1")]);
    user(vec![upsert(&jane())]).pass(&policy, &mut nobody, calm()).unwrap();
    assert_eq!(words(&nobody), ["inspect", "lookup", "create"]);
}

#[test]
fn a_mapped_account_that_is_linked_to_somebody_else_is_not_taken_twice() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "jane@example.com", "externalId": "u-1"}));
    let mut memory = user(vec![upsert(&jane())]);
    memory.holder = Some(id("u-0"));
    assert!(memory.pass(&policy(&[("user", "u-1", "v1")]), &mut vendor, calm()).is_none());
    assert_eq!(words(&vendor), ["inspect"]);
    assert!(!matches!(memory.link, Some(Link::Known(_))));
}

#[test]
fn a_mapped_account_that_the_vendor_will_not_show_is_for_a_person_and_made_by_nobody() {
    let policy = policy(&[("user", "u-1", "v1")]);
    let mut pass = Pass::begin(user(vec![upsert(&jane())]).dossier(), &policy, Duration::ZERO);
    let Next::Send(request) = pass.next(&policy) else { panic!() };
    let status = http::StatusCode::BAD_REQUEST;
    let refused = Verdict::Refused { status, scim_type: None, detail: Some("no such form of id".to_owned()) };
    assert_eq!(pass.absorb(&policy, &request, refused), Reaction::Continue);
    assert_eq!(pass.next(&policy), Next::Settled);
    assert!(matches!(pass.end(), Some(End::Park { reason }) if reason.contains("id map")));
}

#[test]
fn users_and_groups_of_which_only_the_id_is_known_are_found_by_the_map() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "x"}));
    let nothing = Desired::User { user: User::default(), references: BTreeMap::new() };
    let mut memory = Memory::new(ResourceKey::user(id("u-1")), nothing);
    let (end, _) = memory.pass(&policy(&[("user", "u-1", "v1")]), &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["inspect"]));
    assert_eq!(memory.row().vendor_id, "v1");

    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"displayName": "Theirs", "members": [{"value": "m9"}]}));
    let deltas = vec![linked(1, true)];
    let nothing = Desired::Group { group: Group::default(), deltas, more: false };
    let mut memory = Memory::new(ResourceKey::group(id("g-1")), nothing);
    let (end, _) = memory.pass(&policy(&[("group", "g-1", "v1")]), &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["inspect", "members"]));
    let held = &vendor.resources["v1"];
    assert_eq!(held["members"], json!([{"value": "m9"}, {"value": "m1"}]));
    assert_eq!(held["displayName"], "Theirs");
}

//! What planning does where a vendor departs from the RFC.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{Memory, Vendor};
use super::tests::{calm, deletion, group, jane, linked, upsert, user, words};
use super::*;
use crate::store::MemberDelta;
use crate::sync::policy::Shape;
use crate::sync::record;
use crate::target::Profile;
use crate::target::profile::RemoveForm;
use crate::target::verdict::Verdict;

#[test]
fn who_lacks_what_the_vendor_requires_waits_and_the_attribute_is_named() {
    let required = vec!["name.familyName".to_owned()];
    let policy = Policy { shape: Shape { required, ..Shape::default() }, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let (end, _) = user(vec![upsert(&jane())]).pass(&policy, &mut vendor, calm()).unwrap();
    assert!(matches!(end, End::Wait { reason } if reason.contains("name.familyName")));
    assert_eq!(words(&vendor), ["lookup"]);
}

#[test]
fn a_name_that_is_no_address_is_for_a_person_where_it_must_be_one() {
    let shape = Shape { username_is_email: true, ..Shape::default() };
    let policy = Policy { shape, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let (end, _) =
        user(vec![upsert(&json!({"userName": "jane"}))]).pass(&policy, &mut vendor, calm()).unwrap();
    assert!(matches!(end, End::Park { reason } if reason.contains("mail address")));
}

#[test]
fn where_deactivation_ends_the_account_it_is_absent_afterwards_and_not_made_again() {
    let policy = Policy { deactivation_ends_the_account: true, create_inactive: false, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&policy, &mut vendor, calm()).unwrap();

    let mut gone = user(vec![upsert(&jane()), deletion()]);
    gone.link = memory.link.clone();
    vendor.calls.clear();
    let (end, _) = gone.pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["update"]));
    assert!(matches!(gone.link, Some(Link::Absent { .. })));

    vendor.resources.clear();
    vendor.calls.clear();
    let (end, _) = gone.pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["lookup"]));
}

#[test]
fn where_there_are_no_groups_nothing_is_asked_of_the_vendor() {
    let policy = Policy { groups_supported: false, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let (end, pass) = group(vec![linked(1, true)]).pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!((end, vendor.calls.len()), (End::Done, 0));
    assert!(!pass.continues());
}

fn members_of(vendor: &Vendor) -> BTreeSet<String> {
    let group = vendor.resources.values().next().unwrap();
    let members = group.get("members").and_then(Value::as_array);
    members.into_iter().flatten().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_list_without_members_does_not_make_the_group_look_empty() {
    let policy = Policy { members_listed: false, ..Policy::default() };
    let mut vendor = Vendor::strict();
    vendor.lists_members = false;
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1", "members": [{"value": "m1"}]}));
    group(vec![linked(1, false)]).pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "fetch", "members"]);
    assert_eq!(members_of(&vendor), BTreeSet::new());
}

#[test]
fn a_read_that_leaves_members_out_does_not_make_the_group_look_empty() {
    let mut vendor = Vendor { hides_members: true, ..Vendor::strict() };
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1", "members": [{"value": "m1"}]}));
    group(vec![linked(1, false)]).pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "members"]);
    assert_eq!(members_of(&vendor), BTreeSet::new());
}

#[test]
fn whom_a_capped_read_does_not_show_is_removed_all_the_same() {
    let policy = Policy { members_read_cap: 2, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let shown = json!([{"value": "m8"}, {"value": "m9"}]);
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1", "members": shown}));
    group(vec![linked(1, false), linked(8, true)]).pass(&policy, &mut vendor, calm()).unwrap();
    let removed = vendor.calls.iter().find_map(|request| match request {
        Request::Members { adds, removes, .. } => Some((adds.clone(), removes.clone())),
        Request::Lookup { .. }
        | Request::Fetch { .. }
        | Request::Inspect { .. }
        | Request::MemberPage { .. }
        | Request::IsMember { .. }
        | Request::Create { .. }
        | Request::Update { .. }
        | Request::Put { .. }
        | Request::Delete { .. } => None,
    });
    assert_eq!(removed, Some((vec![], vec!["m1".to_owned()])), "who is shown costs nothing");
}

#[test]
fn a_new_group_brings_no_more_members_than_it_may() {
    let policy = Policy { members_per_create: 2, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let members = (1..=5).map(|n| linked(n, true)).collect();
    group(members).pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "create", "members"]);
    assert_eq!(members_of(&vendor).len(), 5);
}

#[test]
fn a_group_is_looked_up_only_by_what_its_filters_take() {
    let policy = Policy { group_lookup_external_id: false, ..Policy::default() };
    let mut vendor = Vendor::strict();
    group(vec![]).pass(&policy, &mut vendor, calm()).unwrap();
    let Some(Request::Lookup { matchers }) = vendor.calls.first() else { panic!("{:?}", vendor.calls) };
    assert_eq!(matchers, &[("displayName".to_owned(), "Support".to_owned())]);
}

#[test]
fn who_left_by_themselves_since_the_group_was_read_are_not_parked() {
    let policy = Policy { remove_absent_is_refused: true, ..Policy::default() };
    let mut vendor = Vendor::strict();
    let ids = ["m1", "m2", "m3", "m4"];
    let members: Vec<Value> = ids.iter().map(|id| json!({ "value": id })).collect();
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1", "members": members}));
    (vendor.refuses_absent, vendor.leavers) = (true, ["m4", "m3", "m2", "m1"].map(str::to_owned).to_vec());
    let deltas = (1..=4).map(|n| linked(n, false)).collect();
    let (end, mut pass) = group(deltas).pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!((end, members_of(&vendor)), (End::Done, BTreeSet::new()));
    assert_eq!(pass.findings(Timestamp::default()).parked(), []);
}

proptest! {
    /// Whatever the vendor's forms, nobody is left out, and only who is alone goes in a larger body.
    #[test]
    fn no_body_that_names_members_is_larger_than_the_vendor_takes(
        joined in prop::collection::vec(any::<bool>(), 1..60),
        bytes in 150..3_000u32,
        by_value in any::<bool>(),
        is_there in any::<bool>(),
    ) {
        let mut profile = Profile::builtin("rfc7644").unwrap();
        profile.members.max_bytes = NonZeroU32::new(bytes);
        profile.members.remove_form = if by_value { RemoveForm::ValueArray } else { RemoveForm::PathFilter };
        let policy = Policy::default();
        let deltas = joined.iter().enumerate().map(|(number, joined)| linked(number as u64 + 1, *joined)).collect();
        let mut memory = group(deltas);
        if is_there {
            let applied = Units::from([("displayName", "Support"), ("externalId", "g-1")]
                .map(|(name, value)| (AttributePath::new(name), json!(value))));
            memory.link = Some(Link::Known(Row { vendor_id: "g".to_owned(), applied, ..Row::default() }));
        }
        let mut pass = Pass::begin(memory.dossier(), &policy, Duration::from_mins(1));
        let mut named = 0;
        while let Next::Send(request) = pass.next(&policy) {
            let too_large = record::is_too_large(&profile, Kind::Group, &request);
            if too_large && pass.halve() {
                continue;
            }
            let members = match &request {
                Request::Members { adds, removes, .. } => adds.len() + removes.len(),
                Request::Create { resource } => resource["members"].as_array().map_or(0, Vec::len),
                Request::Lookup { .. }
                | Request::Fetch { .. }
                | Request::Inspect { .. }
                | Request::MemberPage { .. }
                | Request::IsMember { .. }
                | Request::Update { .. }
                | Request::Put { .. }
                | Request::Delete { .. } => 0,
            };
            prop_assert!(!too_large || members == 1, "{members} in a body that is too large");
            named += members;
            let id = matches!(request, Request::Create { .. }).then(|| "g-1".to_owned());
            let list = json!({"totalResults": 0, "Resources": []});
            let resource = matches!(request, Request::Lookup { .. }).then_some(list);
            pass.absorb(&policy, &request, Verdict::Done { status: StatusCode::OK, resource, etag: None, id });
        }
        prop_assert_eq!(pass.end(), Some(&End::Done));
        prop_assert_eq!(named, joined.iter().filter(|joined| is_there || **joined).count());
    }
}

/// A group that the vendor has, with these members.
fn there(vendor: &mut Vendor, members: &[&str], deltas: Vec<MemberDelta>) -> Memory {
    let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    let group_there = json!({"displayName": "Support", "externalId": "g-1", "members": members});
    let vendor_id = vendor.insert(&group_there);
    let mut memory = group(deltas);
    let applied = [("displayName", "Support"), ("externalId", "g-1")];
    let applied = applied.map(|(name, value)| (AttributePath::new(name), json!(value))).into();
    memory.link = Some(Link::Known(Row { vendor_id, applied, ..Row::default() }));
    memory
}

#[test]
fn who_is_put_inactive_loses_access_as_who_is_patched() {
    for (patch, word) in [(true, "update"), (false, "put")] {
        let policy = Policy { patch, ..Policy::default() };
        let mut vendor = Vendor::strict();
        let mut memory = user(vec![upsert(&jane())]);
        memory.pass(&policy, &mut vendor, calm()).unwrap();
        assert!(vendor.calls.iter().all(|call| call.ends_access().is_none()));
        let mut leaver = user(vec![upsert(&jane()), deletion()]);
        leaver.link = memory.link.clone();
        leaver.pass(&policy, &mut vendor, calm()).unwrap();
        assert_eq!(words(&vendor).last(), Some(&word));
        assert_eq!(vendor.calls.last().unwrap().ends_access(), Some("deactivate"), "{word}");
    }
}

/// A PUT takes out whom it leaves out.
#[test]
fn a_group_is_put_as_a_whole_with_its_members_or_not_at_all() {
    let put = Policy { patch: false, ..Policy::default() };
    let renamed = |vendor: &mut Vendor| {
        let mut memory = there(vendor, &["m1", "m2"], vec![]);
        let Some(Link::Known(row)) = &mut memory.link else { unreachable!("it is there") };
        row.applied.insert(AttributePath::new("displayName"), json!("Once"));
        vendor.resources.values_mut().next().unwrap().insert("displayName".to_owned(), json!("Once"));
        memory
    };
    for (what, policy, sent) in [
        ("all are shown", put.clone(), true),
        ("the read is capped", Policy { members_read_cap: 2, ..put.clone() }, false),
        ("none are shown", Policy { members_readable: false, ..put.clone() }, false),
    ] {
        let mut vendor = Vendor::strict();
        let (end, _) = renamed(&mut vendor).pass(&policy, &mut vendor, calm()).unwrap();
        assert_eq!(words(&vendor).contains(&"put"), sent, "{what}");
        assert_eq!(members_of(&vendor).len(), 2, "{what}");
        assert!(sent || matches!(end, End::Park { reason } if reason.contains("by hand")), "{what}");
    }
    let mut vendor = Vendor { lists_members: false, ..Vendor::strict() };
    renamed(&mut vendor);
    let (end, _) = group(vec![]).pass(&put, &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["lookup", "fetch", "put"]));
    assert_eq!(members_of(&vendor).len(), 2, "a list does not tell");
}

#[test]
fn members_in_pages_below_the_group_say_who_is_in_it() {
    let policy = Policy { members_paged: true, members_listed: false, ..Policy::default() };
    let mut vendor = Vendor::strict();
    vendor.poison = BTreeSet::from(["m9".to_owned()]);
    let deltas = vec![linked(1, true), linked(3, false), linked(5, true), linked(9, true)];
    let mut memory = there(&mut vendor, &["m1", "m2", "m7"], deltas);
    let (end, pass) = memory.pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!(end, End::Done);
    // The refusal leads to a read, which shows what is in place already.
    assert_eq!(words(&vendor)[..4], ["members", "fetch", "page", "page"]);
    let Request::Members { adds, removes, .. } = &vendor.calls[4] else { panic!("{:?}", vendor.calls[4]) };
    assert_eq!((adds.clone(), removes.len()), (vec!["m5".to_owned(), "m9".to_owned()], 0));
    assert!(pass.refused_members().iter().all(|(_, member)| member == "m9"));
}

#[test]
fn where_one_member_can_be_asked_for_a_refusal_is_held_against_the_answer() {
    let policy =
        Policy { members_readable: false, members_listed: false, members_probed: true, ..Policy::default() };
    let mut vendor = Vendor { refuses_absent: true, ..Vendor::strict() };
    vendor.poison = ["m1", "m2"].map(str::to_owned).into();
    let deltas = vec![linked(1, true), linked(2, true), linked(3, false), linked(4, true)];
    let mut memory = there(&mut vendor, &["m1"], deltas);
    let (end, pass) = memory.pass(&policy, &mut vendor, calm()).unwrap();
    assert_eq!(end, End::Done);
    let asked: Vec<_> = vendor
        .calls
        .iter()
        .filter_map(|call| match call {
            Request::IsMember { member, .. } => Some(member.as_str()),
            Request::Lookup { .. }
            | Request::Fetch { .. }
            | Request::Inspect { .. }
            | Request::MemberPage { .. }
            | Request::Create { .. }
            | Request::Update { .. }
            | Request::Put { .. }
            | Request::Members { .. }
            | Request::Delete { .. } => None,
        })
        .collect();
    assert_eq!(asked, ["m1", "m2", "m3"], "each that was refused alone");
    let parked: Vec<_> = pass.refused_members().into_iter().map(|(_, member)| member).collect();
    assert_eq!(parked, ["m2"], "who is in, or out, as it should be is no matter for a person");
}

//! A refused creation that says who holds the value.

use super::*;
use crate::target::verdict::Mend;
use crate::target::{Addresses, Profile};

/// Where the resource of an id is.
pub(super) const HERE: &str = "https://v.example/scim/Users/{id}";
/// Where somebody else's is.
pub(super) const ELSEWHERE: &str = "https://other.example/scim/Users/{id}";
/// Where none is.
pub(super) const NOBODY: &str = "https://v.example/scim/Users/{id}0";

pub(super) fn policy() -> Policy {
    let base_url = "https://v.example/scim".parse().unwrap();
    let profile = Profile::builtin("rfc7644").unwrap();
    Policy { addresses: Addresses::new(&base_url, &profile).into(), ..Policy::default() }
}

/// A vendor that holds the account, and whose filters do not find it.
fn blind(names_holder: Option<&'static str>, account: &Value) -> Vendor {
    let mut vendor = Vendor { names_holder, finds_nobody: true, ..Vendor::strict() };
    vendor.insert(account);
    vendor
}

fn janes_account() -> Value {
    json!({"userName": "jane@example.com", "active": false, "title": "Lead", "nickName": "theirs"})
}

/// What is sent, and how it ends.
fn run(vendor: &mut Vendor) -> (Memory, Option<End>, Vec<&'static str>) {
    let mut memory = user(vec![upsert(&jane())]);
    let end = memory.pass(&policy(), vendor, calm()).map(|(end, _)| end);
    let words = words(vendor);
    (memory, end, words)
}

#[test]
fn whom_a_refused_creation_names_is_linked_and_merged_though_no_filter_finds_it() {
    let mut vendor = blind(Some(HERE), &janes_account());
    let (memory, end, words) = run(&mut vendor);
    assert_eq!((end, words), (Some(End::Done), vec!["lookup", "create", "inspect", "update"]));
    assert_eq!(memory.row().vendor_id, "v1");
    let [held] = vendor.resources.values().collect::<Vec<_>>()[..] else { panic!("made once") };
    assert_eq!((&held["active"], &held["nickName"]), (&json!(true), &json!("theirs")));
}

#[test]
fn a_group_that_a_refused_creation_names_is_linked_and_keeps_the_members_of_others() {
    let mut vendor = blind(
        Some("https://v.example/scim/Groups/{id}"),
        &json!({"displayName": "Support", "members": [{"value": "m9"}]}),
    );
    let mut memory = group(vec![linked(1, true)]);
    let (end, _) = memory.pass(&policy(), &mut vendor, calm()).unwrap();
    assert_eq!((end, &words(&vendor)[..3]), (End::Done, &["lookup", "create", "inspect"][..]));
    let held = vendor.resources.values().next().unwrap();
    assert_eq!(held["members"], json!([{"value": "m9"}, {"value": "m1"}]));
}

#[test]
fn an_address_that_leads_elsewhere_is_not_followed() {
    for form in
        [ELSEWHERE, "https://v.example/scim/Groups/{id}", "https://v.example/scim/Users/{id}/x", "{id}"]
    {
        let mut vendor = blind(Some(form), &janes_account());
        let (memory, end, words) = run(&mut vendor);
        assert_eq!(words, ["lookup", "create", "lookup", "create"], "{form}");
        assert!(
            matches!(end, Some(End::Park { reason }) if reason.contains("no lookup finds it;")),
            "{form}"
        );
        assert_eq!(memory.link, Some(Link::Absent { checked_at: Timestamp::default() }), "{form}");
    }
}

#[test]
fn who_is_named_and_does_not_match_is_left_alone_and_the_look_ups_go_on() {
    let somebody = json!({"userName": "bob@example.com", "externalId": "u-9"});
    let mut vendor = blind(Some("https://v.example/scim/Users/v1"), &somebody);
    vendor.insert(&janes_account());
    let (_, end, words) = run(&mut vendor);
    assert_eq!(words, ["lookup", "create", "inspect", "lookup", "create"]);
    assert!(matches!(end, Some(End::Park { reason }) if reason.contains("what it names does not match")));
    assert_eq!(vendor.resources["v1"]["userName"], "bob@example.com");

    let mut vendor = Vendor { names_holder: Some(NOBODY), ..Vendor::strict() };
    let mut memory = user(vec![upsert(&jane())]);
    let race = then_calm(&[Mishap::None, Mishap::MadeBefore]);
    let (end, _) = memory.pass(&policy(), &mut vendor, race).unwrap();
    let words = super::words(&vendor);
    assert_eq!((end, words), (End::Done, vec!["lookup", "create", "inspect", "lookup", "update"]));
}

#[test]
fn who_is_made_anew_under_another_id_meanwhile_is_named_and_looked_at_again() {
    let mut vendor = blind(Some(HERE), &janes_account());
    let mut memory = user(vec![upsert(&jane())]);
    let race = then_calm(&[Mishap::None, Mishap::None, Mishap::Recreated]);
    let (end, _) = memory.pass(&policy(), &mut vendor, race).unwrap();
    let expected = vec!["lookup", "create", "inspect", "lookup", "create", "inspect", "update"];
    assert_eq!((end, words(&vendor)), (End::Done, expected));
}

#[test]
fn a_vendor_that_names_another_each_time_is_not_followed_for_ever() {
    let dossier = user(vec![upsert(&jane())]).dossier();
    let (mut pass, policy) = (Pass::begin(dossier, &policy(), Duration::ZERO), policy());
    let mut creations = 0;
    while let Next::Send(request) = pass.next(&policy) {
        let nothing = json!({ "totalResults": 0, "Resources": [] });
        let answer = if matches!(request, Request::Create { .. }) {
            creations += 1;
            let location = HERE.replace("{id}", &format!("n{creations}"));
            Verdict::Taken { detail: None, locations: vec![location] }
        } else if matches!(request, Request::Inspect { .. }) {
            Verdict::Missing
        } else {
            Verdict::Done { status: http::StatusCode::OK, resource: Some(nothing), etag: None, id: None }
        };
        assert_eq!(pass.absorb(&policy, &request, answer), Reaction::Continue);
    }
    assert!(matches!(pass.end(), Some(End::Park { .. })));
    assert_eq!(creations, 4);
}

#[test]
fn who_is_named_and_belongs_to_somebody_else_is_not_taken_over() {
    let mut vendor = blind(Some(HERE), &janes_account());
    let mut memory = user(vec![upsert(&jane())]);
    memory.holder = Some(id("u-0"));
    assert!(memory.pass(&policy(), &mut vendor, calm()).is_none());
    assert_eq!(words(&vendor), ["lookup", "create", "inspect"]);
    assert!(!matches!(memory.link, Some(Link::Known(_))));
}

#[test]
fn a_resource_that_may_not_be_seen_blames_nobody() {
    let unseen = |mend| Verdict::TargetFault { reason: "403".to_owned(), mend };
    let (mut vendor, policy) = (blind(Some(HERE), &janes_account()), policy());
    let dossier = user(vec![upsert(&jane())]).dossier();
    let mut pass = Pass::begin(dossier, &policy, Duration::ZERO);
    for (verdict, goes_on) in [(unseen(Mend::Permissions), true), (unseen(Mend::Credentials), false)] {
        let mut pass = loop {
            let Next::Send(request) = pass.next(&policy) else { panic!() };
            if matches!(request, Request::Inspect { .. }) {
                break pass.clone();
            }
            let answer = vendor.serve(&request, Mishap::None);
            assert_eq!(pass.absorb(&policy, &request, answer), Reaction::Continue);
        };
        let Next::Send(request) = pass.next(&policy) else { panic!() };
        let reaction = pass.absorb(&policy, &request, verdict);
        assert_eq!(reaction == Reaction::Continue, goes_on, "{reaction:?}");
        let looks = matches!(pass.next(&policy), Next::Send(Request::Lookup { .. }));
        assert_eq!(looks, goes_on);
    }
}

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::target::profile::RemoveForm;

fn rfc() -> Profile {
    Profile::builtin("rfc7644").unwrap()
}

fn body(call: &Call) -> Value {
    serde_json::from_slice(call.body.as_ref().unwrap()).unwrap()
}

fn members(ids: &[&str]) -> Vec<MemberRef> {
    ids.iter().map(|id| MemberRef { vendor_id: (*id).to_owned() }).collect()
}

fn operations(profile: &Profile, adds: &[&str], removes: &[&str]) -> Value {
    let removes: Vec<_> = removes.iter().map(|id| (*id).to_owned()).collect();
    serde_json::to_value(member_patch(profile, &members(adds), &removes)).unwrap()["Operations"].clone()
}

#[test]
fn a_lookup_asks_for_all_values_at_once_where_or_is_understood() {
    let call = lookup(&rfc(), Kind::User, &[("externalId", "u-1"), ("userName", "a\"b&c")]).unwrap();
    assert_eq!(
        call.path,
        "Users?filter=%28externalId%20eq%20%22u-1%22%29%20or%20%28userName%20eq%20%22a%5C%22b%26c%22%29&count=4"
    );
    assert_eq!((call.method, call.endpoint, call.class), (Method::GET, "Users", CallClass::Single));
}

#[test]
fn a_lookup_that_the_vendor_cannot_answer_is_not_made() {
    let genesys = Profile::builtin("genesys-cloud").unwrap();
    assert!(lookup(&genesys, Kind::User, &[("externalId", "1"), ("userName", "a")]).is_none());
    assert!(lookup(&genesys, Kind::User, &[("nickName", "a")]).is_none());
    assert!(lookup(&genesys, Kind::User, &[]).is_none());
    let call = lookup(&genesys, Kind::Group, &[("displayname", "Support")]).unwrap();
    assert_eq!(call.path, "groups?filter=displayname%20eq%20%22Support%22&count=2");
}

#[test]
fn a_version_goes_out_only_where_the_vendor_honours_it() {
    let etag = ETag::parse("W/\"1\"").unwrap();
    let request = PatchRequest { operations: vec![PatchOp::remove("title")] };
    let mut profile = rfc();
    let call = patch(&profile, Kind::User, "1", &request, Some(&etag)).unwrap();
    assert_eq!(call.if_match.as_ref(), Some(&etag));
    assert_eq!(body(&call)["Operations"], json!([{"op": "remove", "path": "title"}]));
    profile.etag.trust = EtagTrust::Ignored;
    for call in [
        patch(&profile, Kind::User, "1", &request, Some(&etag)),
        replace(&profile, Kind::User, "1", &json!({}), Some(&etag)),
        delete(&profile, Kind::User, "1", Some(&etag)),
    ] {
        assert_eq!(call.unwrap().if_match, None);
    }
}

#[test]
fn ids_are_encoded_and_those_that_climb_are_refused() {
    let call = fetch(&rfc(), Kind::Group, "a/b?c&d=é%").unwrap();
    assert_eq!(call.path, "Groups/a%2Fb%3Fc%26d%3D%C3%A9%25");
    assert_eq!(call.endpoint, "Groups/{id}");
    for id in ["", ".", ".."] {
        assert_eq!(fetch(&rfc(), Kind::User, id).unwrap_err(), UnusableId, "{id}");
    }
}

#[test]
fn members_are_removed_one_filter_each_unless_the_profile_says_otherwise() {
    let mut profile = rfc();
    assert_eq!(
        operations(&profile, &["1", "2"], &["3", "4"]),
        json!([
            {"op": "remove", "path": "members[value eq \"3\"]"},
            {"op": "remove", "path": "members[value eq \"4\"]"},
            {"op": "add", "path": "members", "value": [{"value": "1"}, {"value": "2"}]},
        ])
    );
    profile.members.remove_form = RemoveForm::PathFilterOr;
    assert_eq!(
        operations(&profile, &[], &["3", "4"]),
        json!([{"op": "remove", "path": "members[value eq \"3\" or value eq \"4\"]"}])
    );
    profile.members.remove_form = RemoveForm::ValueArray;
    assert_eq!(
        operations(&profile, &[], &["3", "4"]),
        json!([{"op": "remove", "path": "members", "value": [{"value": "3"}, {"value": "4"}]}])
    );
}

#[test]
fn members_are_added_in_the_profiles_form_and_shape() {
    let mut profile = rfc();
    profile.members.add_form = AddForm::OnePerOperation;
    profile.members.send_type = true;
    profile.members.send_ref = true;
    assert_eq!(
        operations(&profile, &["1", "a/b"], &[]),
        json!([
            {"op": "add", "path": "members", "value": [{"value": "1", "type": "User", "$ref": "Users/1"}]},
            {"op": "add", "path": "members", "value": [{"value": "a/b", "type": "User", "$ref": "Users/a%2Fb"}]},
        ])
    );
}

#[test]
fn nothing_to_change_makes_no_operation_that_could_empty_the_group() {
    for remove_form in [RemoveForm::PathFilter, RemoveForm::PathFilterOr, RemoveForm::ValueArray] {
        let mut profile = rfc();
        profile.members.remove_form = remove_form;
        assert_eq!(operations(&profile, &[], &[]), json!([]));
    }
}

proptest! {
    /// Whatever the id, the path has two segments and decodes to the id.
    #[test]
    fn an_id_never_leaves_its_segment(id in "\\PC{1,40}") {
        prop_assume!(id != "." && id != "..");
        let call = fetch(&rfc(), Kind::User, &id).unwrap();
        let segments: Vec<_> = call.path.split('/').collect();
        prop_assert_eq!(segments.len(), 2);
        prop_assert!(!call.path.contains(['?', '#', '&']));
        let decoded = percent_encoding::percent_decode_str(segments[1]).decode_utf8().unwrap();
        prop_assert_eq!(decoded.as_ref(), id.as_str());
    }
}

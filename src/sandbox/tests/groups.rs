use super::*;
use crate::sandbox::settings::{
    AbsentMember, Cap, GroupRules, OverCap, RemoveWithValue, Support, UnknownMember,
};
use crate::target::Profile;

async fn with_rules(groups: GroupRules) -> Vendor {
    Vendor::with(Behaviour { groups, ..Behaviour::default() }, &[]).await
}

fn add(ids: &[&str]) -> Value {
    json!({"op": "add", "path": "members", "value": values(ids)})
}

fn remove(id: &str) -> Value {
    json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")})
}

#[tokio::test]
async fn memberships_show_on_both_sides() {
    let vendor = with_rules(GroupRules { members_display: true, ..GroupRules::default() }).await;
    let (jane, bo) = (vendor.user("jane").await, vendor.user("bo").await);
    let inner = vendor.group("inner", &[&bo]).await;
    let id = vendor.group("outer", &[&jane, &inner]).await;
    let path = format!("/Groups/{id}");
    let mut members = vendor.get(&path).await.json()["members"].as_array().unwrap().clone();
    members.sort_by_key(|member| member["display"].to_string());
    let member = |id: &str, at: &str, display: &str, kind: &str| json!({"value": id, "$ref": vendor.url(&format!("/{at}/{id}")), "display": display, "type": kind});
    assert_eq!(members, [member(&inner, "Groups", "inner", "Group"), member(&jane, "Users", "jane", "User")]);
    let groups = vendor.get(&format!("/Users/{jane}")).await.json()["groups"].clone();
    assert_eq!(groups[0]["value"], json!(id));
    assert_eq!((groups[0]["display"].as_str(), groups[0]["type"].as_str()), (Some("outer"), Some("direct")));

    vendor.delete(&format!("/Users/{jane}")).await;
    let after = vendor.get(&path).await;
    assert_eq!((after.json()["members"].as_array().unwrap().len(), after.header("etag")), (1, "W/\"2\""));
    vendor.delete(&path).await;
    vendor.delete(&format!("/Groups/{inner}")).await;
    assert_eq!(vendor.get(&format!("/Users/{bo}")).await.json()["groups"], Value::Null);
}

#[tokio::test]
async fn members_come_and_go_by_patch_and_put() {
    let vendor = Vendor::strict().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(vendor.user(name).await);
    }
    ids.sort();
    let [a, b, c] = [ids[0].as_str(), ids[1].as_str(), ids[2].as_str()];
    let id = vendor.group("g", &[a]).await;
    let path = format!("/Groups/{id}");
    let urn = format!("{}:members", schema::GROUP);
    for (operations, left, version) in [
        (json!([add(&[a])]), vec![a], 1),
        (json!([add(&[b, c])]), vec![a, b, c], 2),
        (json!([remove(a), add(&[a])]), vec![a, b, c], 2),
        (json!([remove(a), remove(b)]), vec![c], 3),
        (json!([{"op": "add", "value": {"members": values(&[a]), "displayName": "h"}}]), vec![a, c], 5),
        (json!([{"op": "replace", "path": "members", "value": values(&[b])}]), vec![b], 6),
        (json!([{"op": "add", "path": urn, "value": {"value": a}}]), vec![a, b], 7),
        (
            json!([{"op": "remove", "path": format!("members[value eq \"{a}\" or value eq \"{b}\"]")}]),
            vec![],
            8,
        ),
        (json!([add(&[a, b, c])]), vec![a, b, c], 9),
        (json!([{"op": "remove", "path": format!("members[not (value eq \"{a}\")]")}]), vec![a], 10),
        (json!([{"op": "remove", "path": "members"}]), vec![], 11),
    ] {
        let reply = vendor.patch(&path, operations.clone()).await;
        assert_eq!(
            (reply.status, vendor.members(&id).await),
            (200, left.into_iter().map(str::to_owned).collect()),
            "{operations}"
        );
        assert_eq!(reply.header("etag"), format!("W/\"{version}\""), "{operations}");
    }
    vendor.put(&path, &group("g", &[c])).await;
    assert_eq!(vendor.members(&id).await, [c]);
}

#[tokio::test]
async fn a_patch_that_fails_in_part_changes_nothing() {
    let vendor = Vendor::strict().await;
    let (jane, bo) = (vendor.user("jane").await, vendor.user("bo").await);
    let id = vendor.group("g", &[&jane]).await;
    let path = format!("/Groups/{id}");
    let rename = json!({"op": "replace", "path": "displayName", "value": "h"});
    for (bad, kind) in [
        (add(&["nobody"]), "invalidValue"),
        (json!({"op": "replace", "path": "shoe", "value": 1}), "invalidPath"),
        (json!({"op": "remove", "path": "displayName"}), "mutability"),
        (
            json!({"op": "replace", "path": format!("members[value eq \"{jane}\"].value"), "value": bo}),
            "mutability",
        ),
        (json!({"op": "add", "path": "members", "value": [{"display": "x"}]}), "invalidValue"),
        (json!({"op": "remove"}), "noTarget"),
    ] {
        let reply = vendor.patch(&path, json!([rename, remove(&jane), add(&[&bo]), bad])).await;
        assert_eq!((reply.status, reply.scim_type().as_str()), (400, kind), "{bad}");
        let now = vendor.get(&path).await;
        assert_eq!((now.header("etag"), now.json()["displayName"].as_str()), ("W/\"1\"", Some("g")));
        assert_eq!(vendor.members(&id).await, std::slice::from_ref(&jane));
    }
}

#[tokio::test]
async fn a_vendor_may_have_no_create_or_delete_of_groups() {
    for (support, status) in [(Support::MethodNotAllowed, 405), (Support::NotImplemented, 501)] {
        let vendor = with_rules(GroupRules { create: support, ..GroupRules::default() }).await;
        assert_eq!(vendor.post("/Groups", &group("g", &[])).await.status, status);
        let vendor = with_rules(GroupRules { delete: support, ..GroupRules::default() }).await;
        let id = vendor.group("g", &[]).await;
        assert_eq!(vendor.delete(&format!("/Groups/{id}")).await.status, status);
    }
}

#[tokio::test]
async fn group_names_and_external_ids_are_unique_where_the_vendor_says_so() {
    let mut named = group("Sales", &[]);
    named["externalId"] = json!("g-1");
    let vendor = Vendor::strict().await;
    assert_eq!(vendor.post("/Groups", &named).await.status, 201);
    assert_eq!(vendor.post("/Groups", &named).await.status, 201);
    for rules in [
        GroupRules { display_name_unique: true, ..GroupRules::default() },
        GroupRules { external_id_unique: true, ..GroupRules::default() },
    ] {
        let vendor = with_rules(rules).await;
        assert_eq!(vendor.post("/Groups", &named).await.status, 201);
        let twice = vendor.post("/Groups", &named).await;
        assert_eq!((twice.status, twice.scim_type().as_str()), (409, "uniqueness"));
    }
}

#[tokio::test]
async fn members_may_be_left_out_of_every_answer() {
    let vendor = with_rules(GroupRules { members_returned: false, ..GroupRules::default() }).await;
    let jane = vendor.user("jane").await;
    let id = vendor.group("g", &[&jane]).await;
    assert_eq!(vendor.get(&format!("/Groups/{id}")).await.json()["members"], Value::Null);
    assert_eq!(vendor.get("/Groups").await.json()["Resources"][0]["members"], Value::Null);
    assert_eq!(vendor.members(&id).await, [jane]);
}

#[tokio::test]
async fn a_patch_has_a_cap_on_members() {
    for (over, status, kind) in [
        (OverCap::PayloadTooLarge, 413, ""),
        (OverCap::TooMany, 400, "tooMany"),
        (OverCap::BadRequest, 400, ""),
    ] {
        let vendor =
            with_rules(GroupRules { members_max: Some(Cap { most: 2, over }), ..GroupRules::default() })
                .await;
        let ids = [vendor.user("a").await, vendor.user("b").await, vendor.user("c").await];
        let [a, b, c] = [ids[0].as_str(), ids[1].as_str(), ids[2].as_str()];
        let path = format!("/Groups/{}", vendor.group("g", &[]).await);
        for operations in [
            json!([add(&[a, b, c])]),
            json!([add(&[a, b]), remove(c)]),
            json!([add(&[a]), add(&[b]), add(&[c])]),
        ] {
            let reply = vendor.patch(&path, operations).await;
            assert_eq!((reply.status, reply.scim_type().as_str()), (status, kind));
        }
        assert_eq!(vendor.patch(&path, json!([add(&[a, b])])).await.status, 200);
    }
}

#[tokio::test]
async fn an_unknown_member_is_taken_or_refused() {
    for (unknown_member, status) in
        [(UnknownMember::Accepted, 200), (UnknownMember::InvalidValue, 400), (UnknownMember::NotFound, 404)]
    {
        let vendor = with_rules(GroupRules { unknown_member, ..GroupRules::default() }).await;
        let path = format!("/Groups/{}", vendor.group("g", &[]).await);
        assert_eq!(vendor.patch(&path, json!([add(&["nobody"])])).await.status, status);
        let created = vendor.post("/Groups", &group("h", &["nobody"])).await;
        assert_eq!(created.status, if status == 200 { 201 } else { status });
    }
}

#[tokio::test]
async fn a_poison_member_is_refused_without_being_named() {
    let poison_members = ["bad", "hr-9", "raw-id"].map(str::to_owned).into();
    let rules =
        GroupRules { poison_members, unknown_member: UnknownMember::Accepted, ..GroupRules::default() };
    let vendor = with_rules(rules).await;
    let (good, bad) = (vendor.user("good").await, vendor.user("bad").await);
    let by_external_id = vendor
        .post("/Users", &json!({"schemas": [schema::USER], "userName": "x", "externalId": "hr-9"}))
        .await
        .id();
    let id = vendor.group("g", &[]).await;
    let path = format!("/Groups/{id}");
    for poison in [&bad, &by_external_id, "raw-id"] {
        let reply = vendor.patch(&path, json!([add(&[&good, poison])])).await;
        assert_eq!(reply.status, 400);
        assert!(!reply.text.contains(poison));
    }
    assert_eq!(vendor.patch(&path, json!([add(&[&good])])).await.status, 200);
    assert_eq!(vendor.members(&id).await, [good]);
}

#[tokio::test]
async fn removing_someone_who_is_not_there_has_four_answers() {
    for (absent_member, status) in [
        (AbsentMember::Accepted, 200),
        (AbsentMember::NoTarget, 400),
        (AbsentMember::NotFound, 404),
        (AbsentMember::Unprocessable, 422),
    ] {
        let vendor = with_rules(GroupRules { absent_member, ..GroupRules::default() }).await;
        let jane = vendor.user("jane").await;
        let path = format!("/Groups/{}", vendor.group("g", &[&jane]).await);
        assert_eq!(vendor.patch(&path, json!([remove("nobody")])).await.status, status);
        let picked = json!([{"op": "remove", "path": "members[type eq \"Group\"]"}]);
        assert_eq!(vendor.patch(&path, picked).await.status, status);
        let twice = json!([remove(&jane), remove(&jane)]);
        assert_eq!(vendor.patch(&path, twice).await.status, status);
    }
}

#[tokio::test]
async fn a_remove_with_a_value_has_three_meanings() {
    for (remove_with_value, status, left) in [
        (RemoveWithValue::Refused, 400, 2),
        (RemoveWithValue::RemovesThose, 200, 1),
        (RemoveWithValue::EmptiesGroup, 200, 0),
    ] {
        let vendor = with_rules(GroupRules { remove_with_value, ..GroupRules::default() }).await;
        let (jane, bo) = (vendor.user("jane").await, vendor.user("bo").await);
        let id = vendor.group("g", &[&jane, &bo]).await;
        let operations = json!([{"op": "remove", "path": "members", "value": values(&[&jane])}]);
        let reply = vendor.patch(&format!("/Groups/{id}"), operations).await;
        assert_eq!((reply.status, vendor.members(&id).await.len()), (status, left), "{remove_with_value:?}");
    }
}

#[tokio::test]
async fn a_vendor_may_refuse_to_replace_all_members() {
    let vendor = with_rules(GroupRules { members_replace: false, ..GroupRules::default() }).await;
    let path = format!("/Groups/{}", vendor.group("g", &[]).await);
    let operations = json!([{"op": "replace", "path": "members", "value": []}]);
    assert_eq!(vendor.patch(&path, operations).await.status, 400);
}

#[tokio::test]
async fn members_show_where_the_profile_says_and_nowhere_else() {
    for (profile, seen) in [("rfc7644", [2, 0, 0]), ("webex", [0, 2, 0]), ("aws-identity-center", [0, 0, 1])]
    {
        let profile = Profile::builtin(profile).unwrap();
        let vendor = Vendor::with(Behaviour { rate: None, ..Behaviour::from(&profile) }, &[]).await;
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let named = json!({"givenName": name, "familyName": name});
            let user =
                json!({"schemas": [schema::USER], "userName": name, "displayName": name, "name": named});
            ids.push(vendor.post("/Users", &user).await.json()["id"].as_str().unwrap().to_owned());
        }
        let id = vendor.group("g", &[&ids[0], &ids[1]]).await;
        let shown =
            vendor.get(&format!("/Groups/{id}")).await.json()["members"].as_array().map_or(0, Vec::len);
        let mut paged = 0;
        for start in 1..=2 {
            let page = vendor.get(&format!("/Groups/{id}/members?startIndex={start}&count=1")).await;
            paged += if page.status == 200 { page.json()["Resources"].as_array().unwrap().len() } else { 0 };
        }
        let mut told = 0;
        for member in &ids {
            let filter = format!("/Groups?filter=id%20eq%20%22{id}%22%20and%20members%20eq%20%22{member}%22");
            let answer = vendor.get(&filter).await;
            told += if answer.status == 200 && seen[2] > 0 {
                answer.json()["totalResults"].as_u64().unwrap()
            } else {
                0
            };
        }
        let expected = [seen[0], seen[1], seen[2] * 2];
        assert_eq!([shown, paged, usize::try_from(told).unwrap()], expected, "{}", profile.name);
    }
}

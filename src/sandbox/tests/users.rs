use super::*;
use crate::sandbox::settings::{Cap, DeleteUser, HolderTold, OverCap, PatchAnswer, UserRules};

#[tokio::test]
async fn a_user_is_created_read_replaced_changed_and_deleted() {
    let vendor = Vendor::strict().await;
    let mut body = user("jane");
    body["externalId"] = json!("hr-1");
    body["PASSWORD"] = json!("secret");
    body["id"] = json!("mine");
    body[schema::ENTERPRISE_USER] =
        json!({"department": "Support", "manager": {"value": "1", "displayName": "me"}});
    let created = vendor.post("/Users", &body).await;
    let (id, location) = (created.id(), created.header("location").to_owned());
    assert_eq!((created.status, created.header("etag")), (201, "W/\"1\""));
    assert_eq!(location, vendor.url(&format!("/Users/{id}")));
    let resource = created.json();
    assert_eq!(resource["schemas"], json!([schema::USER, schema::ENTERPRISE_USER]));
    assert_eq!(resource["meta"]["version"], "W/\"1\"");
    assert_eq!(resource["password"], Value::Null, "a password is never returned");
    assert_eq!(
        resource[schema::ENTERPRISE_USER]["manager"],
        json!({"value": "1"}),
        "displayName is read-only"
    );
    assert_ne!(id, "mine");

    let path = format!("/Users/{id}");
    let changed = vendor.patch(&path, json!([{"op": "Replace", "path": "title", "value": "Boss"}])).await;
    assert_eq!(
        (changed.status, changed.json()["title"].as_str(), changed.header("etag")),
        (200, Some("Boss"), "W/\"2\"")
    );
    let same = vendor.patch(&path, json!([{"op": "add", "path": "title", "value": "Boss"}])).await;
    assert_eq!(same.header("etag"), "W/\"2\"", "no change, no new version");
    let replaced = vendor.put(&path, &user("jane2")).await;
    assert_eq!(
        (replaced.status, &replaced.json()["title"], &replaced.json()["externalId"]),
        (200, &Value::Null, &Value::Null)
    );
    assert_eq!(vendor.get(&path).await.json(), replaced.json());
    let deleted = vendor.delete(&path).await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    for gone in [vendor.get(&path).await, vendor.delete(&path).await, vendor.put(&path, &user("x")).await] {
        assert_eq!((gone.status, gone.json()["status"].as_str()), (404, Some("404")));
    }
    vendor.user("jane2").await;
}

#[tokio::test]
async fn what_is_not_a_user_is_refused_with_its_kind() {
    let vendor = Vendor::strict().await;
    for (body, kind) in [
        (json!([]), "invalidSyntax"),
        (json!({"userName": "a"}), "invalidSyntax"),
        (json!({"schemas": [schema::GROUP], "userName": "a"}), "invalidSyntax"),
        (json!({"schemas": [schema::USER]}), "invalidValue"),
        (json!({"schemas": [schema::USER], "userName": " "}), "invalidValue"),
        (json!({"schemas": [schema::USER], "userName": "a", "active": "True"}), "invalidValue"),
    ] {
        let reply = vendor.post("/Users", &body).await;
        assert_eq!((reply.status, reply.scim_type().as_str()), (400, kind), "{body}");
    }
    let broken = vendor.request(Method::POST, "/Users").header("content-type", "application/json").body("{");
    assert_eq!(send(broken).await.unwrap().scim_type(), "invalidSyntax");
    let form = vendor.request(Method::POST, "/Users").header("content-type", "text/plain").body("{}");
    assert_eq!(send(form).await.unwrap().status, 415);
}

#[tokio::test]
async fn a_user_name_is_unique_in_any_case_and_an_external_id_where_the_vendor_says_so() {
    let mut behaviour = Behaviour::default();
    let clash = |name: &str| json!({"schemas": [schema::USER], "userName": name, "externalId": "hr-1"});
    let strict = Vendor::with(behaviour.clone(), &[]).await;
    assert_eq!(strict.post("/Users", &clash("jane")).await.status, 201);
    let twice = strict.post("/Users", &clash("JANE")).await;
    assert_eq!((twice.status, twice.scim_type().as_str()), (409, "uniqueness"));
    let other = strict.post("/Users", &clash("bo")).await;
    assert_eq!(other.status, 201);
    let path = format!("/Users/{}", other.id());
    assert_eq!(
        strict.patch(&path, json!([{"op": "replace", "path": "userName", "value": "jane"}])).await.status,
        409
    );
    assert_eq!(strict.put(&path, &clash("Bo")).await.status, 200, "a user does not clash with itself");

    behaviour.users.external_id_unique = true;
    let picky = Vendor::with(behaviour, &[]).await;
    assert_eq!(picky.post("/Users", &clash("jane")).await.status, 201);
    assert_eq!(picky.post("/Users", &clash("bo")).await.status, 409);
}

#[tokio::test]
async fn a_refused_creation_says_who_holds_the_name_where_the_vendor_does_and_filters_may_not() {
    for holder in [HolderTold::Nowhere, HolderTold::Header, HolderTold::Body] {
        let users = UserRules { filters_pass_inactive: true, ..UserRules::default() };
        let vendor = Vendor::with(Behaviour { users, holder, ..Behaviour::default() }, &[]).await;
        let mut gone = user("gone");
        gone["active"] = json!(false);
        let location = vendor.post("/Users", &gone).await.json()["meta"]["location"].clone();
        let filtered = "/Users?filter=userName+eq+%22gone%22";
        assert_eq!(vendor.get(filtered).await.json()["totalResults"], 0);
        let refused = vendor.post("/Users", &user("GONE")).await;
        assert_eq!((refused.status, refused.scim_type().as_str()), (409, "uniqueness"));
        let header = refused.headers.get("location").map(|location| json!(location.to_str().unwrap()));
        let told = (header, refused.json()["meta"]["location"].clone());
        let expected = match holder {
            HolderTold::Nowhere => (None, Value::Null),
            HolderTold::Header => (Some(location), Value::Null),
            HolderTold::Body => (None, location),
        };
        assert_eq!(told, expected, "{holder:?}");
    }
}

#[tokio::test]
async fn inactive_users_are_hidden_from_lists_without_a_filter() {
    let users = UserRules { hide_inactive: true, ..UserRules::default() };
    let vendor = Vendor::with(Behaviour { users, ..Behaviour::default() }, &[]).await;
    let mut gone = user("gone");
    gone["active"] = json!(false);
    vendor.post("/Users", &gone).await;
    vendor.user("here").await;
    assert_eq!(vendor.get("/Users").await.json()["totalResults"], 1);
    assert_eq!(vendor.get("/Users?filter=active+eq+false").await.json()["totalResults"], 1);
}

#[tokio::test]
async fn a_delete_removes_deactivates_or_is_refused() {
    for (delete, status, left) in [
        (DeleteUser::Remove, 204, None),
        (DeleteUser::Deactivate, 204, Some(json!(false))),
        (DeleteUser::Refused, 405, Some(Value::Null)),
    ] {
        let users = UserRules { delete, ..UserRules::default() };
        let vendor = Vendor::with(Behaviour { users, ..Behaviour::default() }, &[]).await;
        let path = format!("/Users/{}", vendor.user("jane").await);
        assert_eq!(vendor.delete(&path).await.status, status, "{delete:?}");
        let reply = vendor.get(&path).await;
        let active = (reply.status == 200).then(|| reply.json()["active"].clone());
        assert_eq!(active, left, "{delete:?}");
    }
}

#[tokio::test]
async fn a_patch_answers_with_a_body_or_without_and_has_a_cap() {
    let behaviour = Behaviour {
        patch_answer: PatchAnswer::NoContent,
        patch_operations_max: Some(Cap { most: 1, over: OverCap::TooMany }),
        ..Behaviour::default()
    };
    let vendor = Vendor::with(behaviour, &[]).await;
    let path = format!("/Users/{}", vendor.user("jane").await);
    let rename = |name: &str| json!({"op": "replace", "path": "title", "value": name});
    let reply = vendor.patch(&path, json!([rename("a")])).await;
    assert_eq!((reply.status, reply.header("etag"), reply.text.as_str()), (204, "W/\"2\"", ""));
    let asked = vendor.patch(&format!("{path}?attributes=title"), json!([rename("b")])).await;
    assert_eq!((asked.status, asked.json()["title"].as_str()), (200, Some("b")));
    let over = vendor.patch(&path, json!([rename("c"), rename("d")])).await;
    assert_eq!((over.status, over.scim_type().as_str()), (400, "tooMany"));
}

#[tokio::test]
async fn paths_are_the_vendors() {
    let behaviour = Behaviour {
        base_path: "/api/v2/scim/v2".to_owned(),
        users_path: "users".to_owned(),
        groups_path: "groups".to_owned(),
        ..Behaviour::default()
    };
    let vendor = Vendor::with(behaviour, &[]).await;
    let reply = vendor.post("/users", &user("jane")).await;
    assert_eq!(reply.header("location"), vendor.url(&format!("/users/{}", reply.id())));
    assert_eq!(vendor.get("/Users").await.status, 404);
    assert_eq!(vendor.get("/ResourceTypes/Group").await.json()["endpoint"], "/groups");
}

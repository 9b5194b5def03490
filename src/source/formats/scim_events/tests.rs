use serde_json::{Value, json};

use super::*;
use crate::source::formats::tests::tell;
use crate::source::jws::Token;

fn set(subject: &Value, uri: &str, payload: &Value) -> Value {
    json!({"iss": "https://idp.example", "jti": "1", "iat": 1_786_000_000, "aud": "relay",
           "sub_id": subject, "events": {uri: payload}})
}

fn scim(path: &str, event: &str, payload: &Value) -> String {
    let subject = json!({"format": "scim", "uri": path});
    told(&set(&subject, &format!("urn:ietf:params:scim:event:{event}"), payload))
}

fn told(claims: &Value) -> String {
    match claims::read(claims) {
        Ok(reading) => tell(&reading),
        Err(error) => error.to_string(),
    }
}

const AT: &str = "2026-08-06T07:06:40Z";

#[test]
fn scim_events_say_what_became_of_a_resource() {
    let user = json!({"data": {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ada",
        "name": {"givenName": "Ada"}, "active": true, "meta": {}, "emails": [{"value": "a@b"}]}});
    let attributes =
        r#"{"active":true,"emails":[{"value":"a@b"}],"name":{"givenName":"Ada"},"userName":"ada"}"#;
    let group = json!({"data": {"displayName": "Eng", "members": [
        {"value": "u-1"}, {"value": "u-2", "type": "User"}, {"value": "g-9", "type": "Group"}]}});
    let notice = json!({"attributes": ["userName"]});
    for (path, event, payload, expected) in [
        ("/Users/u-1", "prov:create:full", &user, format!("user.upsert u-1 at {AT} {attributes}\n")),
        ("/Users/u-1", "prov:put:full", &user, format!("user.upsert u-1 at {AT} {attributes}\n")),
        ("/Users/u-1", "prov:patch:full", &user, format!("user.upsert u-1 at {AT} {attributes}\n")),
        (
            "https://idp.example/scim/Users/u%2F1",
            "prov:delete",
            &json!({}),
            format!("user.delete u/1 at {AT}\n"),
        ),
        ("/Users/u-1", "prov:deactivate", &json!({}), format!("user.deactivate u-1 at {AT}\n")),
        ("/Users/u-1", "prov:activate", &json!({}), format!("user.upsert u-1 at {AT} {{\"active\":true}}\n")),
        (
            "/Groups/g-1",
            "prov:create:full",
            &group,
            format!(
                "group.upsert g-1 at {AT} {{\"displayName\":\"Eng\"}}\ngroup.members g-1 at {AT} =u-1 =u-2\n"
            ),
        ),
        ("/Groups/g-1", "prov:delete", &json!({}), format!("group.delete g-1 at {AT}\n")),
        ("/Users/u-1", "prov:create:notice", &notice, "needs_read user u-1\n".to_owned()),
        ("/Groups/g-1", "prov:patch:notice", &notice, "needs_read group g-1\n".to_owned()),
        ("/Users/u-1", "feed:add", &json!({}), "needs_read user u-1\n".to_owned()),
        ("/Users/u-1", "feed:remove", &json!({}), "ignored 1\n".to_owned()),
        ("/Users/u-1", "misc:asyncresp", &json!({"status": "200"}), "ignored 1\n".to_owned()),
    ] {
        assert_eq!(scim(path, event, payload), expected, "{path} {event}");
    }
}

#[test]
fn the_operations_of_a_patch_are_taken_where_they_stand_alone() {
    let patch = |operations: Value| json!({"version": "a330", "data": {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}});
    for (path, operations, expected) in [
        (
            "/Groups/g-1",
            json!([{"op": "add", "path": "members", "value": [{"value": "u-1", "display": "Babs"}]}]),
            format!("group.members g-1 at {AT} +u-1\n"),
        ),
        (
            "/Groups/g-1",
            json!([{"op": "Remove", "path": "members[value eq \"u-1\"]"}, {"op": "remove", "path": "members", "value": [{"value": "u-2"}]}]),
            format!("group.members g-1 at {AT} -u-1\ngroup.members g-1 at {AT} -u-2\n"),
        ),
        (
            "/Groups/g-1",
            json!([{"op": "replace", "path": "members", "value": [{"value": "u-3"}]}, {"op": "replace", "value": {"displayName": "New"}}]),
            format!("group.upsert g-1 at {AT} {{\"displayName\":\"New\"}}\ngroup.members g-1 at {AT} =u-3\n"),
        ),
        ("/Groups/g-1", json!([{"op": "remove", "path": "members"}]), format!("group.members g-1 at {AT}\n")),
        (
            "/Groups/g-1",
            json!([{"op": "remove", "path": "members[display sw \"A\"]"}]),
            "needs_read group g-1\n".to_owned(),
        ),
        (
            "/Users/u-1",
            json!([{"op": "replace", "path": "name.familyName", "value": "L"}, {"op": "replace", "path": "active", "value": false},
                   {"op": "remove", "path": "title"}]),
            format!(
                "user.upsert u-1 at {AT} {{\"active\":false,\"name\":{{\"familyName\":\"L\"}},\"title\":null}}\n"
            ),
        ),
        (
            "/Users/u-1",
            json!([{"op": "replace", "path": "emails[type eq \"work\"].value", "value": "x@y"}, {"op": "replace", "path": "title", "value": "T"}]),
            format!("user.upsert u-1 at {AT} {{\"title\":\"T\"}}\nneeds_read user u-1\n"),
        ),
        (
            "/Users/u-1",
            json!([{"op": "add", "path": "emails", "value": [{"value": "x@y"}]}]),
            "needs_read user u-1\n".to_owned(),
        ),
    ] {
        assert_eq!(scim(path, "prov:patch:full", &patch(operations.clone())), expected, "{operations}");
    }
}

#[test]
fn drafts_in_capitals_are_understood() {
    let subject = json!({"format": "scim", "uri": "/users/u-1"});
    let claims = set(&subject, "urn:ietf:params:SCIM:event:prov:delete", &json!({}));
    assert_eq!(told(&claims), format!("user.delete u-1 at {AT}\n"));
}

#[test]
fn accounts_that_end_end_here() {
    let iss_sub = json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "99beb27c"});
    let email = json!({"format": "email", "email": "a@b"});
    let complex = json!({"format": "complex", "user": {"format": "opaque", "id": "7"}, "session": {"format": "opaque", "id": "s"}});
    let risc = |name: &str| format!("https://schemas.openid.net/secevent/risc/event-type/{name}");
    let caep = |name: &str| format!("https://schemas.openid.net/secevent/caep/event-type/{name}");
    for (subject, uri, payload, expected) in [
        (
            &iss_sub,
            risc("account-disabled"),
            json!({"reason": "hijacking"}),
            format!("user.deactivate 99beb27c at {AT}\n"),
        ),
        (
            &iss_sub,
            risc("account-enabled"),
            json!({}),
            format!("user.upsert 99beb27c at {AT} {{\"active\":true}}\n"),
        ),
        (&iss_sub, risc("account-purged"), json!({}), format!("user.delete 99beb27c at {AT}\n")),
        (&complex, risc("account-purged"), json!({}), format!("user.delete 7 at {AT}\n")),
        (
            &iss_sub,
            risc("account-disabled"),
            json!({"event_timestamp": 1_786_000_001_000_u64}),
            "user.deactivate 99beb27c at 2026-08-06T07:06:41Z\n".to_owned(),
        ),
        (&email, risc("account-disabled"), json!({}), "needs_read user a@b\n".to_owned()),
        (
            &iss_sub,
            risc("identifier-changed"),
            json!({"new-value": "x"}),
            "needs_read user 99beb27c\n".to_owned(),
        ),
        (&iss_sub, caep("session-revoked"), json!({}), "ignored 1\n".to_owned()),
        (
            &iss_sub,
            "https://schemas.openid.net/secevent/ssf/event-type/verification".to_owned(),
            json!({"state": "x"}),
            "notice Verification(None)\nignored 1\n".to_owned(),
        ),
    ] {
        assert_eq!(told(&set(subject, &uri, &payload)), expected, "{uri} {subject}");
    }
    let inside = json!({"iat": 1_786_000_000, "events": {risc("account-disabled"): {"subject": {"subject_type": "iss-sub", "sub": "1"}}}});
    assert_eq!(told(&inside), format!("user.deactivate 1 at {AT}\n"));
}

#[test]
fn a_verification_bears_what_it_was_asked_for_with_or_nothing() {
    let stream = json!({"format": "opaque", "id": "stream-1"});
    let uri = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let id = "5b0c1d6e-8a0f-4c51-9b7e-2f6f3f0f4a11";
    for (payload, expected) in [
        (json!({"state": id}), format!("Some({id})")),
        (json!({}), "None".to_owned()),
        (json!({"state": null}), "None".to_owned()),
        (json!({"state": 7}), "None".to_owned()),
        (json!({"state": ""}), "None".to_owned()),
        (json!({"state": id.to_uppercase()}), "None".to_owned()),
        (json!({"state": id.replace('-', "")}), "None".to_owned()),
    ] {
        let expected = format!("notice Verification({expected})\nignored 1\n");
        assert_eq!(told(&set(&stream, uri, &payload)), expected, "{payload}");
    }
}

#[test]
fn a_token_that_says_nothing_useful_says_where() {
    let known = json!({"format": "scim", "uri": "/Devices/1"});
    let delete = "urn:ietf:params:scim:event:prov:delete";
    for (claims, expected) in [
        (json!({}), "/events: is missing"),
        (json!({"events": []}), "/events: an object is expected"),
        (json!({"events": {delete: {}}}), "/sub_id: is missing"),
        (set(&known, delete, &json!({})), "/sub_id: `uri` is not that of a user or group"),
        (set(&json!({"format": "did"}), delete, &json!({})), "/sub_id: is not a subject"),
    ] {
        let error = told(&claims);
        assert!(error.starts_with(expected), "{claims}: {error}");
    }
}

#[test]
fn a_token_for_signing_in_is_no_event() {
    let events = json!({"events": {}});
    for (kind, claims, expected) in [
        (Some("secevent+jwt"), events.clone(), true),
        (Some("application/SecEvent+JWT"), events.clone(), true),
        (Some("JWT"), events.clone(), true),
        (None, events, true),
        (Some("at+jwt"), json!({"events": {}}), false),
        (Some("JWT"), json!({"events": {}, "exp": 1}), false),
        (Some("secevent+jwt"), json!({}), false),
    ] {
        let token = Token { claims: claims.clone(), kind: kind.map(str::to_owned) };
        assert_eq!(claims::check(&token).is_ok(), expected, "{kind:?} {claims}");
    }
}

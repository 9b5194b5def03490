use http::HeaderName;
use serde_json::json;

use super::*;
use crate::target::call::TimedOut;

fn rfc() -> Profile {
    Profile::builtin("rfc7644").unwrap()
}

fn genesys() -> Profile {
    Profile::builtin("genesys-cloud").unwrap()
}

fn call(method: Method, endpoint: &'static str, if_match: bool) -> CallFacts {
    let class = if endpoint == "ServiceProviderConfig" { CallClass::Probe } else { CallClass::Single };
    CallFacts { method, endpoint, class, if_match }
}

fn answer(status: u16, body: &str) -> Answer {
    Answer { body: body.to_owned().into(), ..Answer::new(StatusCode::from_u16(status).unwrap()) }
}

fn with(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    answer.headers.insert(name, value.parse().unwrap());
    answer
}

fn scim_error(scim_type: &str) -> String {
    json!({ "schemas": [schema::ERROR], "scimType": scim_type, "detail": "why" }).to_string()
}

/// The case's name, so that the table below reads as one.
fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Done { .. } => "done",
        Verdict::Stale => "stale",
        Verdict::Taken { .. } => "taken",
        Verdict::Missing => "missing",
        Verdict::TooLarge { .. } => "too large",
        Verdict::Refused { .. } => "refused",
        Verdict::Throttled { .. } => "throttled",
        Verdict::Transient { unknown: true, .. } => "transient, perhaps done",
        Verdict::Transient { unknown: false, .. } => "transient",
        Verdict::Unknown => "unknown",
        Verdict::NotSent => "not sent",
        Verdict::TargetFault { .. } => "target",
    }
}

#[test]
fn each_status_alone_means_one_thing() {
    let (get, post, put, patch, delete) =
        (Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE);
    let (users, user, spc) = ("Users", "Users/{id}", "ServiceProviderConfig");
    for (method, endpoint, if_match, status, meaning) in [
        (&post, users, false, 201, "done"),
        (&patch, user, true, 200, "done"),
        (&patch, user, true, 204, "done"),
        (&delete, user, false, 204, "done"),
        (&get, user, false, 200, "target"), // no body, where one must be
        (&get, user, false, 301, "target"),
        (&post, users, false, 308, "target"),
        (&post, users, false, 400, "refused"),
        (&patch, user, true, 400, "refused"),
        (&get, users, false, 401, "target"),
        (&patch, user, true, 402, "target"),
        (&patch, user, false, 403, "target"),
        (&get, users, false, 403, "target"),
        (&get, user, false, 404, "missing"),
        (&patch, user, true, 404, "missing"),
        (&delete, user, false, 410, "missing"),
        (&get, users, false, 404, "target"),
        (&post, users, false, 404, "target"),
        (&get, spc, false, 404, "missing"),
        (&post, "Groups", false, 405, "refused"),
        (&post, users, false, 406, "target"),
        (&post, users, false, 415, "target"),
        (&get, user, false, 408, "transient"),
        (&post, users, false, 408, "transient, perhaps done"),
        (&post, users, false, 409, "taken"),
        (&put, user, false, 409, "taken"),
        (&patch, user, false, 409, "taken"),
        (&delete, user, false, 409, "refused"),
        (&put, user, true, 409, "stale"),
        (&patch, user, true, 409, "stale"),
        (&delete, user, true, 409, "stale"),
        (&patch, user, true, 412, "stale"),
        (&patch, user, false, 428, "stale"),
        (&patch, user, true, 413, "too large"),
        (&patch, user, true, 422, "refused"),
        (&post, users, false, 425, "transient"),
        (&get, users, false, 429, "throttled"),
        (&post, users, false, 500, "transient, perhaps done"),
        (&get, users, false, 500, "transient"),
        (&post, "Groups", false, 501, "refused"),
        (&patch, user, true, 502, "transient, perhaps done"),
        (&patch, user, true, 503, "transient, perhaps done"),
        (&patch, user, true, 504, "transient, perhaps done"),
        (&get, user, false, 520, "transient"),
    ] {
        let facts = call(method.clone(), endpoint, if_match);
        for body in ["", "<html>", r#"{"code":1}"#] {
            // A success with a body must carry JSON, which is another table's matter.
            if status < 300 && !body.is_empty() {
                continue;
            }
            let verdict = judge(&rfc(), &facts, Ok(&answer(status, body)));
            assert_eq!(name(&verdict), meaning, "{method} {endpoint} {if_match} {status} {body}");
        }
    }
}

#[test]
fn a_scim_body_refines_the_status() {
    let (post, patch) = (Method::POST, Method::PATCH);
    for (method, if_match, status, scim_type, meaning) in [
        (&post, false, 409, "uniqueness", "taken"),
        (&patch, true, 409, "uniqueness", "taken"),
        (&post, false, 400, "uniqueness", "taken"),
        (&patch, true, 400, "tooMany", "too large"),
        (&patch, true, 400, "mutability", "refused"),
        (&patch, true, 400, "invalidVers", "refused"),
        (&patch, true, 409, "somethingElse", "stale"),
    ] {
        let facts = call(method.clone(), "Users/{id}", if_match);
        let verdict = judge(&rfc(), &facts, Ok(&answer(status, &scim_error(scim_type))));
        assert_eq!(name(&verdict), meaning, "{method} {status} {scim_type}");
    }
}

#[test]
fn genesys_says_stale_with_400_and_only_to_a_request_with_if_match() {
    let stale = answer(400, &scim_error("invalidVers"));
    let with_version = call(Method::PATCH, "Groups/{id}", true);
    let without = call(Method::PATCH, "Groups/{id}", false);
    assert_eq!(judge(&genesys(), &with_version, Ok(&stale)), Verdict::Stale);
    assert_eq!(name(&judge(&genesys(), &without, Ok(&stale))), "refused");
    assert_eq!(name(&judge(&genesys(), &with_version, Ok(&answer(400, "")))), "refused");
}

#[test]
fn a_profile_can_teach_another_way_to_say_taken() {
    let mut profile = rfc();
    profile.conflict.taken.push(crate::target::profile::Dialect { status: 422, scim_type: None });
    let facts = call(Method::POST, "Users", false);
    assert_eq!(name(&judge(&profile, &facts, Ok(&answer(422, "")))), "taken");
}

#[test]
fn a_503_that_says_when_to_come_back_is_throttling() {
    let facts = call(Method::PATCH, "Users/{id}", false);
    let busy = with(answer(503, ""), http::header::RETRY_AFTER, "7");
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(judge(&rfc(), &facts, Ok(&busy)), Verdict::Throttled { retry_after });
    let slow = with(answer(429, ""), http::header::RETRY_AFTER, "soon");
    assert_eq!(judge(&rfc(), &facts, Ok(&slow)), Verdict::Throttled { retry_after: None });
}

#[test]
fn a_call_without_an_answer_is_judged_by_what_may_have_happened() {
    let facts = call(Method::POST, "Users", false);
    let source = || "reset".into();
    for (error, meaning) in [
        (CallError::NotSent { source: source() }, "not sent"),
        (CallError::Unknown { source: source() }, "unknown"),
        (CallError::Unknown { source: Box::new(TimedOut(Duration::from_secs(1))) }, "unknown"),
        (CallError::Credentials { reason: "invalid_client".to_owned() }, "target"),
        (CallError::Unusable { reason: "TLS".to_owned() }, "target"),
        (CallError::TooLarge { status: StatusCode::OK, limit: 1 }, "refused"),
    ] {
        assert_eq!(name(&judge(&rfc(), &facts, Err(&error))), meaning, "{error:?}");
    }
}

#[test]
fn id_and_version_come_from_the_body_else_from_the_headers() {
    let facts = call(Method::POST, "Users", false);
    let body = json!({"id": "42", "meta": {"version": "W/\"1\""}}).to_string();
    let mut created = answer(201, &body);
    let verdict = judge(&rfc(), &facts, Ok(&created));
    let Verdict::Done { id, etag, resource, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!((id.as_deref(), etag), (Some("42"), ETag::parse("W/\"1\"")));
    assert!(resource.is_some());

    created.body = bytes::Bytes::new();
    created.etag = ETag::parse("\"2\"");
    created.location = Some("https://v.example/scim/Users/a%2Fb?x=1".to_owned());
    let verdict = judge(&rfc(), &facts, Ok(&created));
    let Verdict::Done { id, etag, resource, .. } = verdict else { panic!("{verdict:?}") };
    assert_eq!((id.as_deref(), etag, resource), (Some("a/b"), ETag::parse("\"2\""), None));

    let patched = call(Method::PATCH, "Groups/{id}", false);
    let verdict = judge(&rfc(), &patched, Ok(&created));
    assert!(matches!(verdict, Verdict::Done { id: None, .. }), "a PATCH creates nothing: {verdict:?}");

    created.location = Some("https://v.example/scim/Users/a%00b".to_owned());
    let verdict = judge(&rfc(), &facts, Ok(&created));
    assert!(matches!(verdict, Verdict::Done { id: None, .. }), "no store could keep it: {verdict:?}");
}

#[test]
fn html_where_json_must_be_is_the_targets_fault() {
    let page = "<html>Sign in</html>";
    for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
        let verdict = judge(&rfc(), &call(method.clone(), "Users/{id}", false), Ok(&answer(200, page)));
        assert_eq!(name(&verdict), "target", "{method}");
    }
    let deleted = judge(&rfc(), &call(Method::DELETE, "Users/{id}", false), Ok(&answer(200, "OK")));
    assert_eq!(name(&deleted), "done");
    let number = judge(&rfc(), &call(Method::GET, "Users/{id}", false), Ok(&answer(200, "[1]")));
    assert_eq!(name(&number), "target");
}

#[test]
fn an_error_in_a_success_is_an_error() {
    let body = json!({"schemas": [schema::ERROR], "status": "409", "scimType": "uniqueness"}).to_string();
    let facts = call(Method::POST, "Users", false);
    assert_eq!(name(&judge(&rfc(), &facts, Ok(&answer(200, &body)))), "taken");
    let body = json!({"schemas": [schema::ERROR], "detail": "no"}).to_string();
    assert_eq!(name(&judge(&rfc(), &facts, Ok(&answer(200, &body)))), "refused");
}

#[test]
fn a_403_names_the_scopes_granted_and_wanted() {
    let facts = call(Method::PATCH, "Users/{id}", false);
    let mut refused = answer(403, "");
    refused.granted_scopes = Some("scim:read".into());
    let refused = with(
        refused,
        http::header::WWW_AUTHENTICATE,
        "Bearer error=\"insufficient_scope\", scope=\"scim:write\"",
    );
    let Verdict::TargetFault { reason, .. } = judge(&rfc(), &facts, Ok(&refused)) else { panic!() };
    assert_eq!(
        reason,
        "PATCH Users/{id} answered 403: the token was granted the scopes `scim:read`, the vendor wants `scim:write`"
    );
    let Verdict::TargetFault { reason, .. } = judge(&genesys(), &facts, Ok(&answer(403, ""))) else {
        panic!()
    };
    assert!(reason.contains("the profile wants `directory:user:add "), "{reason}");
    let Verdict::TargetFault { reason, .. } = judge(&rfc(), &facts, Ok(&answer(403, ""))) else { panic!() };
    assert_eq!(reason, "PATCH Users/{id} answered 403");
}

#[test]
fn a_redirect_is_told_by_its_host_alone() {
    let mut moved = answer(302, "");
    moved.location = Some("https://login.example/u/jane@example.com?token=x".to_owned());
    let facts = call(Method::GET, "Users", false);
    let Verdict::TargetFault { reason, .. } = judge(&rfc(), &facts, Ok(&moved)) else { panic!() };
    assert_eq!(reason, "GET Users answered 302, a redirect to login.example");
}

#[test]
fn the_reason_is_found_in_other_vendors_bodies_too() {
    let facts = call(Method::POST, "Users", false);
    for (body, words) in [
        (r#"{"code":300,"message":"Validation failed"}"#, Some("Validation failed")),
        (r#"{"error":"bad"}"#, Some("bad")),
        (r#"{"error":{"code":1}}"#, None),
        ("<html>", None),
    ] {
        let verdict = judge(&rfc(), &facts, Ok(&answer(400, body)));
        let Verdict::Refused { detail, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!(detail.as_deref(), words, "{body}");
    }
}

#[test]
fn where_the_holder_of_a_value_is_comes_from_the_header_and_the_body() {
    let facts = call(Method::POST, "Users", false);
    let at = |header: Option<&str>, body: Value| {
        let mut refused = answer(409, &body.to_string());
        refused.location = header.map(str::to_owned);
        let verdict = judge(&rfc(), &facts, Ok(&refused));
        let Verdict::Taken { locations, .. } = verdict else { panic!("{verdict:?}") };
        locations
    };
    let error = || json!({ "schemas": [schema::ERROR], "scimType": "uniqueness", "status": "409" });
    let mut named = error();
    named["location"] = json!("Users/3");
    assert_eq!(at(None, error()), Vec::<String>::new());
    assert_eq!(at(Some("Users/1"), error()), ["Users/1"]);
    assert_eq!(at(None, named.clone()), ["Users/3"]);
    named["meta"] = json!({ "location": "Users/2" });
    assert_eq!(at(Some("Users/1"), named), ["Users/1", "Users/2", "Users/3"]);
    assert_eq!(at(None, json!({ "location": 7, "meta": "none" })), Vec::<String>::new());
}

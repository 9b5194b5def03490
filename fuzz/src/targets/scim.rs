//! The words of SCIM: filters, paths, PATCH, bulk answers, and the other messages.

use http::Method;
use scim_relay::scim::bulk::request::Operation;
use scim_relay::scim::bulk::{answer, support};
use scim_relay::scim::definition::{GROUP_RULES, USER_RULES};
use scim_relay::scim::error::ErrorBody;
use scim_relay::scim::etag::ETag;
use scim_relay::scim::filter::{self, Comparison, Filter};
use scim_relay::scim::list::ListResponse;
use scim_relay::scim::patch::{Changed, PatchRequest, apply};
use scim_relay::scim::path::{AttributePath, PatchPath};
use scim_relay::scim::resource;
use serde_json::{Value, json};

use super::texts;
use crate::input::Input;

/// A line with a filter, and a resource to match it against.
pub fn filter(input: &[u8]) {
    let mut input = Input::of(input);
    let text = input.text_line();
    let read = filter::parse(text);
    assert_eq!(read, filter::parse(text), "a filter reads the same each time");
    // A value is written so that it is read as it was, whatever stands in it.
    let written = filter::eq("userName", text);
    let path = AttributePath::parse("userName").expect("it is a path");
    if written.len() <= filter::BYTES_MAX {
        assert_eq!(filter::parse(&written), Ok(Filter::Compare(path, Comparison::Equal, text.into())));
    }
    if let (Ok(filter), Some(resource)) = (read, input.json()) {
        let _ = filter::matches(&filter, &resource);
        let _ = filter::matches(&Filter::Not(Box::new(filter)), &resource);
    }
}

pub fn filter_seeds() -> Vec<Vec<u8>> {
    let resource = r#"{"userName":"ann","name":{"givenName":"A"},"active":true,"age":7,"emails":[{"type":"work","value":"a@b"}],"meta":{"created":"2026-01-01T00:00:00Z"}}"#;
    let filters = [
        r#"userName eq "ann""#,
        r#"not (name.givenName co "a") and (active eq true or age ge 7.5)"#,
        r#"emails[type eq "work" and value co "@"] or title pr"#,
        r#"meta.created gt "2025-01-01T00:00:00Z" and urn:ietf:params:scim:schemas:core:2.0:User:userName sw "a""#,
        r#"externalId eq null or nickName ne "\u00e9""#,
    ];
    filters.iter().map(|filter| format!("{filter}\n{resource}").into_bytes()).collect()
}

/// The name of an attribute, or the path of a PATCH operation.
pub fn path(input: &[u8]) {
    let Some(text) = Input::of(input).text() else { return };
    if let Some(path) = AttributePath::parse(text) {
        assert_eq!(path.to_string(), text, "a path is written as it was");
        let _ = (USER_RULES.resolve(&path), GROUP_RULES.resolve(&path), path.whole());
    }
    let _ = PatchPath::parse(text);
}

pub fn path_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "userName",
        "name.givenName",
        "emails[type eq \"work\"].value",
        "members[value eq \"1\"]",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.displayName",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
    ])
}

/// A kind by number, a line with a resource, and a request.
pub fn patch(input: &[u8]) {
    let mut input = Input::of(input);
    let rules = *input.pick(&[&USER_RULES, &GROUP_RULES]);
    let Some(before) = Input::of(input.line()).json() else { return };
    let Some(body) = input.json() else { return };
    let Ok(request) = PatchRequest::parse(&body) else { return };
    let written = serde_json::to_value(&request).expect("a request is written");
    assert_eq!(PatchRequest::parse(&written), Ok(request.clone()), "a request is read as it was written");
    let mut after = before.clone();
    match apply(&mut after, &request, rules) {
        Ok(Changed::Yes) => assert_ne!(before, after, "what changed is another"),
        Ok(Changed::No) | Err(_) => assert_eq!(before, after, "all of a request is applied, or nothing"),
    }
}

pub fn patch_seeds() -> Vec<Vec<u8>> {
    let user = r#"{"userName":"a","name":{"givenName":"A"},"emails":[{"type":"work","value":"a@b","primary":true}],"active":true}"#;
    let group = r#"{"displayName":"G","members":[{"value":"1"},{"value":"2"}]}"#;
    let requests = [
        json!([{"op": "add", "path": "emails", "value": [{"type": "home", "value": "c@d", "primary": true}]}]),
        json!([{"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "x@y"}, {"op": "remove", "path": "name.givenName"}]),
        json!([{"op": "replace", "value": {"active": "False", "name": {"familyName": "F"}, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "D"}}}]),
        json!([{"op": "remove", "path": "members[value eq \"1\"]"}, {"op": "add", "path": "members", "value": [{"value": "3"}]}]),
        json!([{"op": "replace", "path": "members", "value": []}]),
    ];
    let mut seeds = Vec::new();
    for (number, resource) in [(0, user), (1, group)] {
        for operations in &requests {
            let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
            seeds.push([&[number], format!("{resource}\n{body}").as_bytes()].concat());
        }
    }
    seeds
}

/// The answer to a bulk request.
pub fn bulk(input: &[u8]) {
    if let Ok(entries) = answer::parse(input) {
        let sent = sent();
        let found = answer::correlate(&sent, entries.clone());
        assert_eq!(found, answer::correlate(&sent, entries), "an answer reads the same each time");
        assert_eq!(found.len(), sent.len(), "each operation has its place");
    }
    if let Some(configuration) = Input::of(input).json() {
        let _ = support::read(&configuration);
    }
}

fn sent() -> Vec<Operation> {
    let operation = |method, path: &str, bulk_id: &str| Operation {
        method,
        path: path.to_owned(),
        bulk_id: bulk_id.to_owned(),
        version: ETag::parse("W/\"1\""),
        data: None,
    };
    vec![
        operation(Method::POST, "Users", "a"),
        operation(Method::PATCH, "Users/7", "b"),
        operation(Method::DELETE, "Groups/%C3%BC", "c"),
    ]
}

pub fn bulk_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkResponse"],"Operations":[{"method":"POST","bulkId":"a","status":"201","location":"https://x/Users/9","version":"W/\"1\""},{"method":"PATCH","location":"https://x/Users/7","status":{"code":"200"}},{"method":"DELETE","status":204,"location":"https://x/Groups/%C3%BC?y#z"}]}"#,
        r#"{"responses":[{"status":"409 Conflict","response":{"detail":"d"}},{"status":200},{"status":"x"}]}"#,
        r#"{"bulk":{"supported":"true","maxOperations":"100","maxPayloadSize":1e6}}"#,
    ])
}

/// A list, an error, a resource, or a version.
pub fn message(input: &[u8]) {
    if let Ok(list) = ListResponse::parse(input) {
        let written = serde_json::to_vec(&list).expect("a list is written");
        assert_eq!(ListResponse::parse(&written).ok(), Some(list), "a list is read as it was written");
    }
    if let Some(error) = ErrorBody::parse(input) {
        let written = serde_json::to_vec(&error).expect("an error is written");
        assert_eq!(ErrorBody::parse(&written), Some(error), "an error is read as it was written");
    }
    if let Ok(resource) = serde_json::from_slice::<Value>(input) {
        let id = resource::id(&resource);
        assert!(id.is_none_or(|id| resource::is_id(&id)), "an id can be kept");
        let _ = (resource::external_id(&resource), resource::member_ids(&resource));
        if let Some(version) = resource::version(&resource) {
            assert_eq!(ETag::parse(version.as_str()), Some(version), "a version goes back as it came");
        }
    }
    if let Some(tag) = std::str::from_utf8(input).ok().and_then(ETag::parse) {
        let header = http::HeaderValue::from_str(tag.as_str()).expect("a version can stand in a header");
        assert_eq!(header.as_bytes(), input, "a version goes back as it came");
        let kept: ETag = serde_json::from_value(json!(tag)).expect("a version is kept");
        assert!(kept.weak_eq(&tag), "{tag} equals itself");
    }
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":"2","itemsPerPage":1,"startIndex":1,"nextCursor":"c","Resources":[{"id":7,"externalId":"u","meta":{"version":"W/\"1\""},"members":[{"value":"1"},{"Value":2}]}]}"#,
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","scimType":"uniqueness","detail":"taken"}"#,
        r#"{"id":"7","externalId":"u","meta":{"version":"W/\"1\""},"members":{"value":"1"}}"#,
        r#"{"totalResults":1,"Resources":[{"id":"7","share":4.4444444444444455e+91,"count":44444444444444444444444442}]}"#,
        "W/\"abc\"",
    ])
}

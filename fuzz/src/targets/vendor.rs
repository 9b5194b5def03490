//! What vendors answer: to calls, about their limits, and of themselves.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, Method};
use scim_relay::scim::etag::ETag;
use scim_relay::scim::resource;
use scim_relay::target::discovery::pages::{self, Told};
use scim_relay::target::discovery::{Discovered, Features, InForce, ResourceType, Schema, differences};
use scim_relay::target::rate_headers::told;
use scim_relay::target::retry_after::retry_after;
use scim_relay::target::{Answer, CallClass, CallFacts, Profile, Verdict, judge};

use super::texts;
use crate::configured::NOW;
use crate::input::Input;

static PROFILES: LazyLock<Vec<Profile>> =
    LazyLock::new(|| Profile::names().filter_map(Profile::builtin).collect());

const SHAPES: [(Method, &str, CallClass); 6] = [
    (Method::GET, "Users/{id}", CallClass::Single),
    (Method::GET, "Users", CallClass::List),
    (Method::POST, "Users", CallClass::Single),
    (Method::PATCH, "Groups/{id}", CallClass::Single),
    (Method::DELETE, "Users/{id}", CallClass::Single),
    (Method::POST, "Bulk", CallClass::Bulk),
];

/// A profile and a call by number, a status, a line for the location and for each header, and a body.
pub fn answer(input: &[u8]) {
    let mut input = Input::of(input);
    let profile = input.pick(&PROFILES);
    let (method, endpoint, class) = input.pick(&SHAPES).clone();
    let if_match = input.byte() % 2 == 1;
    let status = input.status();
    let headers = input.values_of(&[LOCATION, CONTENT_TYPE, WWW_AUTHENTICATE, RETRY_AFTER, DATE]);
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let etag = ETag::parse(input.text_line());
    let body = Bytes::copy_from_slice(input.rest());
    let answer = Answer { etag, location, headers, body, ..Answer::new(status) };
    let verdict = judge(profile, &CallFacts { method, endpoint, class, if_match }, Ok(&answer));
    if let Verdict::Done { id: Some(id), .. } = &verdict {
        assert!(resource::is_id(id), "an id can be kept");
    }
}

pub fn answer_seeds() -> Vec<Vec<u8>> {
    let lines = "https://x.example/Users/9?a#b\napplication/scim+json\nBearer scope=\"a b\"\n120\nSun, 06 Nov 1994 08:49:37 GMT\nW/\"1\"\n";
    let bodies = [
        r#"{"id":"9","meta":{"version":"W/\"2\""}}"#,
        r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:Error"],"status":"409","scimType":"uniqueness","detail":"d"}"#,
        r#"{"message":"Too many"}"#,
        "<html>",
    ];
    let mut seeds = Vec::new();
    for (call, status) in (0..).zip([200_u16, 200, 201, 412, 204, 413]) {
        for body in bodies {
            let status = (status - 100).to_be_bytes();
            seeds.push([&[0, call, 1], &status[..], lines.as_bytes(), body.as_bytes()].concat());
        }
    }
    seeds
}

/// A profile by number, and headers.
pub fn limit(input: &[u8]) {
    let mut input = Input::of(input);
    let profile = input.pick(&PROFILES);
    let mut headers = input.values_of(&LIMIT_HEADERS.map(HeaderName::from_static));
    headers.extend(input.headers());
    for now in [None, Some(NOW)] {
        let _ = retry_after(&headers, now);
    }
    for named in [None, profile.limits.headers.as_ref()] {
        let found = told(&headers, named, NOW);
        assert_eq!(found, told(&headers, named, NOW), "headers read the same each time");
    }
}

const LIMIT_HEADERS: [&str; 8] = [
    "retry-after",
    "date",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

pub fn limit_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "\x00120\n\n\n\n4\n10\n4\n1786000010\n",
        "\0Sun, 06 Nov 1994 08:49:47 GMT\nSun, 06 Nov 1994 08:49:37 GMT\n\"default\";r=50;t=30\n\"default\";q=100;w=60\n\n\n\n\n",
        "\x001.5\n\nlimit=100, remaining=50, reset=5\n100;w=60\n\n\n\n\ninin-ratelimit-count: 120\ninin-ratelimit-allowed: 300\ninin-ratelimit-reset: 61\n",
    ])
}

/// A profile by number, a status, and a document.
pub fn discovery(input: &[u8]) {
    let mut input = Input::of(input);
    let profile = input.pick(&PROFILES);
    let status = input.status();
    let document = input.rest();
    let features = match Features::read(status, document) {
        Ok(Told::Is(features)) => Some(features),
        Ok(Told::NotOffered) | Err(_) => None,
    };
    let page = match pages::body(status, document, "a document") {
        Ok(Told::Is(body)) => pages::page(body, "a list").ok(),
        Ok(Told::NotOffered) | Err(_) => None,
    };
    let resources = page.map(|page| page.resources);
    let resource_types = resources.as_deref().map(ResourceType::read_all);
    let schemas = resources.as_deref().map(Schema::read_all);
    let discovered = Discovered { features, resource_types, schemas };
    let kept = serde_json::to_string(&discovered).expect("what was discovered is kept");
    assert_eq!(serde_json::from_str::<Discovered>(&kept).ok().as_ref(), Some(&discovered), "{kept}");
    let _ = (differences(profile, &discovered), InForce::of(profile, &discovered));
}

pub fn discovery_seeds() -> Vec<Vec<u8>> {
    let documents = [
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],"patch":{"supported":true},"bulk":{"supported":"true","maxOperations":1000,"maxPayloadSize":1048576},"filter":{"supported":true,"maxResults":200},"changePassword":{"supported":false},"sort":{"supported":false},"etag":{"supported":true},"pagination":{"cursor":true,"index":true,"defaultPaginationMethod":"cursor","defaultPageSize":10,"maxPageSize":100,"cursorTimeout":3600},"authenticationSchemes":[{"type":"oauthbearertoken","name":"n"}]}"#,
        r#"{"totalResults":1,"Resources":[{"id":"User","name":"User","endpoint":"/Users","schema":"urn:ietf:params:scim:schemas:core:2.0:User","schemaExtensions":[{"schema":"urn:x","required":true}]}]}"#,
        r#"[{"id":"urn:ietf:params:scim:schemas:core:2.0:User","attributes":[{"name":"userName","type":"string","multiValued":false,"required":true,"mutability":"readWrite","uniqueness":"server"},{"name":"name","subAttributes":[{"name":"givenName","mutability":"readOnly"}]}]}]"#,
    ];
    let status = 100_u16.to_be_bytes();
    documents.iter().map(|document| [&[0], &status[..], document.as_bytes()].concat()).collect()
}

use std::num::NonZeroU32;

use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::pages::{DOCUMENT_BYTES_MAX, RESOURCES_MAX, Told, Unreadable};
use super::*;
use crate::scim::schema;
use crate::target::profile::Profile;
use crate::target::requests::Kind;

fn features(document: &Value) -> Features {
    match Features::read(StatusCode::OK, document.to_string().as_bytes()).unwrap() {
        Told::Is(features) => features,
        Told::NotOffered => panic!("it is offered"),
    }
}

fn profile(text: &str) -> Profile {
    let head = "name = \"mine\"\nevidence = \"partial\"\nsources = [\"d\"]\nas_of = \"2026-11-20\"\n";
    Profile::parse(&format!("{head}{text}")).unwrap()
}

fn saying(document: &Value) -> Discovered {
    Discovered { features: Some(features(document)), ..Discovered::default() }
}

/// In the manner of the RFC's own example, of a cloud vendor, of a framework, of a hand-written one.
fn documents() -> [Value; 4] {
    [
        json!({
            "schemas": [schema::SERVICE_PROVIDER_CONFIG],
            "patch": {"supported": true},
            "bulk": {"supported": true, "maxOperations": 1000, "maxPayloadSize": 1_048_576},
            "filter": {"supported": true, "maxResults": 200},
            "changePassword": {"supported": false},
            "sort": {"supported": true},
            "etag": {"supported": true},
            "authenticationSchemes": [
                {"name": "OAuth Bearer Token", "type": "oauthbearertoken", "primary": true},
                {"name": "HTTP Basic", "type": "httpbasic"}
            ]
        }),
        json!({
            "Schemas": [schema::SERVICE_PROVIDER_CONFIG.to_lowercase()],
            "Patch": {"Supported": "True"},
            "Bulk": {"Supported": "False", "maxOperations": 0, "maxPayloadSize": 0},
            "Filter": {"Supported": "true", "MaxResults": "200"},
            "authenticationSchemes": {"type": "OAuthBearerToken"},
            "pagination": {"cursor": true, "index": "true", "defaultPaginationMethod": "cursor",
                "defaultPageSize": 50, "maxPageSize": 100, "cursorTimeout": 3600}
        }),
        json!({"totalResults": 1, "Resources": [
            {"patch": {"supported": true}, "filter": {"supported": true, "maxResults": 200}}
        ]}),
        json!([{"patch": true, "bulk": false, "filter": {"maxResults": 200.0}, "etag": 0}]),
    ]
}

#[test]
fn a_configuration_is_read_in_every_dialect() {
    let [rfc, cloud, listed, bare] = documents().map(|document| features(&document));
    for told in [&rfc, &cloud, &listed, &bare] {
        assert_eq!((told.patch, told.filter.max_results), (Some(true), Some(200)));
    }
    assert_eq!((rfc.bulk.max_operations, rfc.bulk.max_payload_size), (Some(1_000), Some(1_048_576)));
    assert_eq!((rfc.etag, rfc.sort, rfc.change_password), (Some(true), Some(true), Some(false)));
    assert_eq!(rfc.authentication_schemes, ["httpbasic", "oauthbearertoken"].map(str::to_owned).into());
    assert_eq!((cloud.bulk.supported, cloud.bulk.max_operations), (Some(false), None));
    assert_eq!((cloud.etag, cloud.sort), (None, None), "what is not said is not known");
    assert_eq!(cloud.authentication_schemes, ["oauthbearertoken".to_owned()].into());
    let pages = cloud.pagination.unwrap();
    assert_eq!(
        (pages.cursor, pages.max_page_size, pages.cursor_timeout_seconds),
        (Some(true), Some(100), Some(3_600))
    );
    assert_eq!((bare.bulk.supported, bare.etag), (Some(false), Some(false)));
}

#[test]
fn an_endpoint_that_is_not_there_says_nothing_and_a_failure_is_no_answer() {
    for status in [404, 405, 410, 501] {
        let told = Features::read(StatusCode::from_u16(status).unwrap(), b"<html>").unwrap();
        assert_eq!(told, Told::NotOffered, "{status}");
    }
    for status in [302, 400, 401, 403, 429, 500, 503] {
        let error = Features::read(StatusCode::from_u16(status).unwrap(), b"{}").unwrap_err();
        assert_eq!(error, Unreadable::Status(status));
    }
}

#[test]
fn what_is_no_configuration_supports_nothing_and_denies_nothing() {
    let large = format!("{{\"patch\":true,\"pad\":\"{}\"}}", "x".repeat(DOCUMENT_BYTES_MAX));
    let deep = "[".repeat(100_000);
    for body in ["", "null", "[]", "{}", "7", "<html>Sign in</html>", r#"{"error":"x"}"#, &large, &deep] {
        let read = Features::read(StatusCode::OK, body.as_bytes());
        let shown: String = body.chars().take(40).collect();
        assert!(matches!(read, Err(Unreadable::NotThat(_) | Unreadable::TooLarge)), "{shown}");
    }
}

#[test]
fn numbers_that_no_service_means_are_clamped_or_left_out() {
    let told = features(&json!({
        "bulk": {"supported": true, "maxOperations": 1e18, "maxPayloadSize": u64::MAX},
        "filter": {"supported": true, "maxResults": -1},
        "pagination": {"maxPageSize": 0, "cursorTimeout": 1e30}
    }));
    assert_eq!(told.bulk.max_operations, Some(100_000));
    assert_eq!(told.bulk.max_payload_size, Some(u32::MAX));
    assert_eq!(told.filter.max_results, None);
    let pages = told.pagination.unwrap();
    assert_eq!((pages.max_page_size, pages.cursor_timeout_seconds), (None, Some(2_592_000)));
}

#[test]
fn kinds_of_resource_are_known_by_their_schema_whatever_they_are_called() {
    let kinds = ResourceType::read_all(&[
        json!({"id": "User", "name": "Person", "endpoint": "/Users", "schema": schema::USER,
            "schemaExtensions": [{"schema": schema::ENTERPRISE_USER, "required": "true"}, {"schema": 7}]}),
        json!({"Name": "Group", "Endpoint": "https://x.example/scim/v2/Groups/"}),
        json!({"name": "Group", "schema": "urn:other", "endpoint": "/Others"}),
        json!({"endpoint": "/Nameless"}),
        json!("Text"),
    ]);
    let names: Vec<_> = kinds.iter().map(|kind| kind.name.as_str()).collect();
    assert_eq!(names, ["Group", "Person"], "each name once, and only what has one");
    assert!(kinds[1].is(Kind::User) && kinds[1].is_at("Users") && !kinds[1].is_at("users"));
    assert_eq!(kinds[1].extensions, [(schema::ENTERPRISE_USER.to_owned(), true)].into());
    let bare =
        ResourceType::read_all(&[json!({"name": "Group", "endpoint": "https://x.example/v2/Groups/"})]);
    assert!(bare[0].is(Kind::Group) && bare[0].is_at("Groups") && !bare[0].is_at("roups"));
}

#[test]
fn attributes_are_sorted_by_their_traits() {
    let schemas = Schema::read_all(&[
        json!({"id": schema::USER, "attributes": [
            {"name": "userName", "required": true, "uniqueness": "server", "mutability": "readWrite"},
            {"name": "emails", "multiValued": "true", "subAttributes": [{"name": "value", "required": 1}]},
            {"name": "groups", "mutability": "ReadOnly", "multiValued": true},
            {"name": "employeeId", "mutability": "immutable"},
            {"nameless": true}, 7
        ]}),
        json!({"attributes": [{"name": "lost"}]}),
    ]);
    let [user] = schemas.as_slice() else { panic!("one schema has a URN") };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(user.writable, set(&["emails", "emails.value", "employeeId", "userName"]));
    assert_eq!(user.read_only, set(&["groups"]));
    assert_eq!(user.immutable, set(&["employeeId"]));
    assert_eq!(user.required, set(&["emails.value", "userName"]));
    assert_eq!((&user.unique, &user.multi_valued), (&set(&["userName"]), &set(&["emails", "groups"])));
    assert!(user.has("USERNAME") && !user.has("members"));
}

#[test]
fn a_flood_of_names_is_cut() {
    let attributes: Vec<_> = (0..5_000).map(|n| json!({"name": format!("a{n}")})).collect();
    let flood: Vec<_> =
        (0..500).map(|n| json!({"id": format!("urn:{n}"), "attributes": attributes})).collect();
    let schemas = Schema::read_all(&flood);
    assert_eq!(schemas.len(), RESOURCES_MAX);
    assert_eq!(schemas.iter().map(|schema| schema.writable.len()).sum::<usize>(), 1_000);
    let kinds: Vec<_> = (0..500).map(|n| json!({"name": format!("k{n}")})).collect();
    assert_eq!(ResourceType::read_all(&kinds).len(), RESOURCES_MAX);
}

#[test]
fn a_list_is_a_response_an_array_or_one_resource() {
    let resource = json!({"id": "User", "name": "User"});
    for (body, total) in [
        (json!({"totalResults": 3, "Resources": [resource]}), Some(3)),
        (json!({"resources": [resource]}), None),
        (json!([resource]), None),
        (resource.clone(), None),
    ] {
        let page = pages::page(body.clone(), "a list").unwrap();
        assert_eq!((page.resources.as_slice(), page.total), ([resource.clone()].as_slice(), total), "{body}");
    }
    assert_eq!(pages::page(json!({"totalResults": 0}), "a list").unwrap().resources, Vec::<Value>::new());
    for body in [json!({"detail": "no"}), json!({"Resources": "none"}), json!("x"), Value::Null] {
        assert!(pages::page(body.clone(), "a list").is_err(), "{body}");
    }
}

#[test]
fn a_vendor_that_says_what_its_profile_says_differs_in_nothing() {
    let rfc = Profile::builtin("rfc7644").unwrap();
    let told = saying(&json!({
        "patch": {"supported": true}, "etag": {"supported": true}, "filter": {"supported": true, "maxResults": 100}
    }));
    assert_eq!(differences(&rfc, &told), []);
    assert_eq!(differences(&rfc, &Discovered::default()), [], "silence is no objection");
}

#[test]
fn each_disagreement_is_named_with_what_the_relay_does() {
    let told = Discovered {
        resource_types: Some(ResourceType::read_all(&[
            json!({"name": "User", "schema": schema::USER, "endpoint": "/people"}),
        ])),
        schemas: Some(Schema::read_all(&[
            json!({"id": schema::USER, "attributes": [
                {"name": "userName"}, {"name": "title", "required": true}
            ]}),
            json!({"id": schema::GROUP, "attributes": [
                {"name": "name"}, {"name": "members", "mutability": "readOnly"}
            ]}),
        ])),
        ..saying(&json!({
            "patch": {"supported": false}, "etag": {"supported": false}, "filter": {"supported": "false"},
            "pagination": {"cursor": true, "index": false, "maxPageSize": 10}
        }))
    };
    let stripping = profile("[users]\nstrip = [\"title\"]");
    let found = differences(&stripping, &told);
    let about: Vec<_> = found.iter().map(|found| (found.about.as_str(), found.relay.as_str())).collect();
    assert_eq!(
        about,
        [
            ("patch.supported", "changes by PATCH"),
            ("etag.trust", "sends If-Match"),
            ("filter.attributes", "looks up by filters all the same"),
            ("list.max_count", "asks for pages of 10"),
            ("list", "pages by index"),
            ("http.users_path", "calls Users"),
            ("users.strip", "never sends title"),
            ("http.groups_path", "calls Groups all the same"),
            ("groups.match_attribute", "looks up by displayName"),
            ("members", "adds and removes members all the same"),
        ]
    );
}

#[test]
fn the_vendors_limit_counts_only_where_the_profile_knows_none() {
    let told = saying(&json!({
        "filter": {"supported": true, "maxResults": 20},
        "bulk": {"supported": true, "maxOperations": 50, "maxPayloadSize": 9_000}
    }));
    let stated = profile("[list]\nmax_count = 500\ndefault_count = 200");
    let guessed = "name = \"m\"\nevidence = \"unverified\"\nsources = []\nas_of = \"2026-11-20\"\n[list]\nmax_count = 500";
    for (profile, page) in [
        (Profile::builtin("rfc7644").unwrap(), 20),
        (stated, 200),
        (Profile::parse(guessed).unwrap(), 20),
        (profile("[list]\ndefault_count = 10"), 10),
    ] {
        let limits = InForce::of(&profile, &told);
        assert_eq!(limits.page_size.get(), page);
        assert_eq!((limits.bulk_max_operations, limits.bulk_max_payload_size), (Some(50), Some(9_000)));
    }
    let huge = saying(&json!({"filter": {"supported": true, "maxResults": 1_000_000}}));
    let rfc = Profile::builtin("rfc7644").unwrap();
    assert_eq!(InForce::of(&rfc, &huge).page_size.get(), 1_000, "a page fits into memory");
    assert_eq!(InForce::of(&rfc, &Discovered::default()).page_size, NonZeroU32::new(100).unwrap());
    let without = saying(&json!({"bulk": {"supported": false, "maxOperations": 50}}));
    assert_eq!(InForce::of(&rfc, &without).bulk_max_operations, None);
}

#[test]
fn what_was_discovered_survives_being_kept() {
    let told = Discovered {
        resource_types: Some(vec![]),
        schemas: Some(Schema::read_all(&[json!({"id": "urn:x", "attributes": [{"name": "a"}]})])),
        ..saying(&documents()[1])
    };
    let kept = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Discovered>(&kept).unwrap(), told);
    assert!(!told.is_empty() && Discovered::default().is_empty());
    assert_eq!(serde_json::from_str::<Discovered>("{}").unwrap(), Discovered::default());
}

proptest! {
    #[test]
    fn no_answer_breaks_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..400), status in 100u16..600) {
        let status = StatusCode::from_u16(status).unwrap();
        let _ = Features::read(status, &bytes);
        if let Ok(Told::Is(body)) = pages::body(status, &bytes, "x") {
            let _ = pages::page(body, "x");
        }
    }

    #[test]
    fn a_mangled_document_never_claims_more_than_it_says(
        place in 0usize..8,
        value in prop_oneof![Just(json!(null)), Just(json!([])), Just(json!({"supported": {}})), Just(json!("¿")), Just(json!(-1e99))],
    ) {
        let mut document = documents()[0].clone();
        let keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
        document[&keys[place % keys.len()]] = value;
        let (whole, told) = (features(&documents()[0]), features(&document));
        for (told, whole) in [(told.patch, whole.patch), (told.etag, whole.etag), (told.bulk.supported, whole.bulk.supported)] {
            prop_assert!(told.is_none() || told == whole);
        }
    }
}

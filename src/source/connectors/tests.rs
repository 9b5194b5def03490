//! What each provider is asked, and what its answers mean, in the shapes that its documents give.

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::{Connector, Members, Next, Page, Provider, RESERVED};
use crate::clock::Timestamp;
use crate::directory::{ExternalId, ResourceKey};
use crate::source::View;
use crate::source::told;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

fn user(text: &str) -> ResourceKey {
    ResourceKey::user(id(text))
}

fn group(text: &str) -> ResourceKey {
    ResourceKey::group(id(text))
}

/// What a record says, in the relay's own format.
fn said(provider: &Provider, key: &ResourceKey, record: &Value) -> Value {
    let changes = provider.open().understand(key, &View::root(record)).unwrap();
    let body = told::write(&changes);
    let mut said: Value = serde_json::from_slice(&body[1..]).unwrap();
    said["changes"].take()
}

fn members(provider: &Provider, path: &str, body: &Value) -> Members {
    provider.open().member_page(&Page { headers: &HeaderMap::new(), body, path }).unwrap()
}

fn asked(connector: &dyn Connector, key: &ResourceKey) -> String {
    connector.record(key).unwrap().path
}

#[test]
fn ids_are_one_segment_of_the_path_whatever_they_hold() {
    let all = [
        Provider::Auth0,
        Provider::Google,
        Provider::Graph,
        Provider::Keycloak,
        Provider::Okta,
        Provider::Scim,
        Provider::WorkOs,
    ];
    for provider in all {
        let connector = provider.open();
        for key in [user, group] {
            for (raw, encoded) in
                [("auth0|1/../2?x=1&y#z", "auth0%7C1%2F..%2F2%3Fx%3D1%26y%23z"), ("..", "%2E%2E")]
            {
                let path = asked(&*connector, &key(raw));
                assert!(path.contains(encoded) && !path.contains("/../"), "{provider:?}: {path}");
            }
        }
    }
    assert_eq!(percent_encoding::utf8_percent_encode("a b", RESERVED).to_string(), "a%20b");
}

#[test]
fn an_okta_user_is_dated_by_its_last_change_and_active_by_its_status() {
    let record = |status: &str| {
        json!({
            "id": "00u1", "status": status, "created": "2026-01-01T00:00:00.000Z",
            "lastUpdated": "2026-08-20T10:00:00.000Z", "statusChanged": "2026-08-20T10:00:07.000Z",
            "profile": {
                "login": "ann@acme.example", "email": "ann@acme.example", "firstName": "Ann", "lastName": "Lee",
                "mobilePhone": null, "primaryPhone": "+49 1", "department": "Sales", "title": ""
            },
            "credentials": {"provider": {"type": "OKTA"}}
        })
    };
    let change = &said(&Provider::Okta, &user("00u1"), &record("ACTIVE"))[0];
    assert_eq!(change["occurred_at"], "2026-08-20T10:00:07Z");
    let attributes = &change["attributes"];
    assert_eq!(attributes["userName"], "ann@acme.example");
    assert_eq!(attributes["name"], json!({"givenName": "Ann", "familyName": "Lee"}));
    assert_eq!(attributes["phoneNumbers"], json!([{"value": "+49 1", "type": "work"}]));
    assert_eq!((&attributes["title"], &attributes["active"]), (&Value::Null, &json!(true)));
    for (status, active) in [
        ("STAGED", false),
        ("PROVISIONED", true),
        ("LOCKED_OUT", true),
        ("SUSPENDED", false),
        ("DEPROVISIONED", false),
        ("SOMETHING_NEW", false),
    ] {
        let change = &said(&Provider::Okta, &user("00u1"), &record(status))[0];
        assert_eq!(change["attributes"]["active"], active, "{status}");
    }
}

#[test]
fn okta_lists_members_by_the_links_header() {
    let connector = Provider::Okta.open();
    assert_eq!(connector.members(&id("g")).unwrap().path, "api/v1/groups/g/users?limit=1000");
    let mut headers = HeaderMap::new();
    headers.append(
        "link",
        "<https://acme.okta.com/api/v1/groups/g/users?limit=1000>; rel=\"self\"".parse().unwrap(),
    );
    let next = "https://acme.okta.com/api/v1/groups/g/users?after=00u9&limit=1000";
    headers.append("link", format!("<{next}>; rel=\"next\"").parse().unwrap());
    let body = json!([{"id": "00u1"}, {"id": "00u2"}]);
    let page = connector.member_page(&Page { headers: &headers, body: &body, path: "" }).unwrap();
    assert_eq!(
        page,
        Members { users: vec![id("00u1"), id("00u2")], next: Some(Next::Link(next.to_owned())) }
    );
    let record =
        json!({"id": "g", "lastMembershipUpdated": "2026-08-20T10:00:00.000Z", "profile": {"name": "Staff"}});
    let at = connector.members_changed_at(&View::root(&record)).unwrap();
    assert_eq!(at, Timestamp::parse_rfc3339("2026-08-20T10:00:00Z"));
}

#[test]
fn a_scim_group_has_its_users_and_no_groups_as_members() {
    let record = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "id": "g", "displayName": "Staff",
        "meta": {"resourceType": "Group", "lastModified": "2026-08-20T10:00:00Z"},
        "members": [
            {"value": "u-1", "type": "User"}, {"value": "g-2", "type": "Group"}, {"value": "u-3"},
            {"value": "g-4", "$ref": "https://idp.example/scim/v2/Groups/g-4"}
        ]
    });
    let changes = said(&Provider::Scim, &group("g"), &record);
    assert_eq!(changes[0]["attributes"], json!({"displayName": "Staff"}));
    assert_eq!((&changes[1]["op"], &changes[1]["set"]), (&json!("group.members"), &json!(["u-1", "u-3"])));
    assert_eq!(changes[1]["occurred_at"], "2026-08-20T10:00:00Z");
    let without = said(&Provider::Scim, &group("g"), &json!({"displayName": "Staff"}));
    assert_eq!(without.as_array().unwrap().len(), 1, "a list that is absent says nothing");
}

#[test]
fn a_graph_user_that_leaves_out_accounts_state_keeps_it() {
    let record = json!({
        "id": "u", "userPrincipalName": "ann@acme.example", "accountEnabled": false, "displayName": "Ann",
        "mail": null, "businessPhones": ["+49 1"], "mobilePhone": null
    });
    let attributes = said(&Provider::Graph, &user("u"), &record)[0]["attributes"].clone();
    assert_eq!((&attributes["active"], attributes.get("emails")), (&json!(false), None));
    assert_eq!(attributes["phoneNumbers"], json!([{"value": "+49 1", "type": "work"}]));
    let part = said(&Provider::Graph, &user("u"), &json!({"id": "u", "jobTitle": "Lead"}));
    assert_eq!(part[0]["attributes"], json!({"title": "Lead"}));
    let body = json!({
        "value": [
            {"@odata.type": "#microsoft.graph.user", "id": "u"}, {"@odata.type": "#microsoft.graph.device", "id": "d"}
        ],
        "@odata.nextLink": "https://graph.microsoft.com/v1.0/groups/g/members?$skiptoken=x"
    });
    let page = members(&Provider::Graph, "", &body);
    assert_eq!(page.users, [id("u")]);
    assert!(page.next.is_some());
}

#[test]
fn a_google_user_is_inactive_while_suspended_or_archived() {
    for (suspended, archived, active) in [(false, false, true), (true, false, false), (false, true, false)] {
        let record = json!({
            "id": "1", "primaryEmail": "ann@acme.example", "suspended": suspended, "archived": archived,
            "name": {"givenName": "Ann", "familyName": "Lee", "fullName": "Ann Lee"},
            "organizations": [{"title": "Old"}, {"title": "Lead", "department": "Sales", "primary": true}]
        });
        let attributes = said(&Provider::Google, &user("1"), &record)[0]["attributes"].clone();
        assert_eq!(attributes["active"], active);
        assert_eq!(
            (&attributes["title"], &attributes[format!("{ENTERPRISE}:department")]),
            (&json!("Lead"), &json!("Sales"))
        );
    }
    let first = Provider::Google.open().members(&id("g")).unwrap().path;
    let body = json!({
        "kind": "admin#directory#members", "nextPageToken": "a+b",
        "members": [{"id": "1", "type": "USER"}, {"id": "2", "type": "GROUP"}]
    });
    let page = members(&Provider::Google, &first, &body);
    assert_eq!(page.users, [id("1")]);
    let next = Next::Path("admin/directory/v1/groups/g/members?maxResults=200&pageToken=a%2Bb".to_owned());
    assert_eq!(page.next, Some(next));
    let Some(Next::Path(second)) = page.next else { unreachable!("it was just compared") };
    assert_eq!(
        members(&Provider::Google, &second, &body).next,
        Some(Next::Path(second)),
        "one token, not two"
    );
    assert_eq!(members(&Provider::Google, "", &json!({"kind": "admin#directory#members"})).users, []);
    let something_else = Page { headers: &HeaderMap::new(), body: &json!({}), path: "" };
    assert!(Provider::Google.open().member_page(&something_else).is_err(), "no list is not an empty list");
}

#[test]
fn auth0_workos_and_keycloak_speak_as_their_webhooks_do() {
    let auth0 = json!({
        "user_id": "auth0|1", "email": "ann@acme.example", "name": "Ann", "blocked": true,
        "updated_at": "2026-08-20T10:00:00.000Z"
    });
    let change = &said(&Provider::Auth0, &user("auth0|1"), &auth0)[0];
    assert_eq!(
        (&change["occurred_at"], &change["attributes"]["active"]),
        (&json!("2026-08-20T10:00:00Z"), &json!(false))
    );
    let workos = json!({
        "id": "directory_user_1", "state": "inactive", "username": "ann", "first_name": "Ann",
        "updated_at": "2026-08-20T10:00:00.000Z"
    });
    let change = &said(&Provider::WorkOs, &user("directory_user_1"), &workos)[0];
    assert_eq!(
        (&change["occurred_at"], &change["attributes"]["active"]),
        (&json!("2026-08-20T10:00:00Z"), &json!(false))
    );
    let keycloak = json!({"id": "k", "username": "ann", "enabled": false, "firstName": "Ann"});
    let change = &said(&Provider::Keycloak, &user("k"), &keycloak)[0];
    assert_eq!((change.get("occurred_at"), &change["attributes"]["active"]), (None, &json!(false)));

    let body =
        json!({"data": [{"id": "directory_user_1"}], "list_metadata": {"before": null, "after": "x y"}});
    let page = members(&Provider::WorkOs, "directory_users?group=g&limit=100", &body);
    assert_eq!(page.next, Some(Next::Path("directory_users?group=g&limit=100&after=x%20y".to_owned())));
    let body = json!({"members": [{"id": "auth0|1", "member_type": "user"}, {"id": "con_1", "member_type": "connection"}]});
    assert_eq!(members(&Provider::Auth0, "", &body), Members { users: vec![id("auth0|1")], next: None });
    assert_eq!(members(&Provider::Keycloak, "", &json!([{"id": "k"}])).users, [id("k")]);
}

#[test]
fn only_a_providers_own_words_say_that_a_record_is_absent() {
    let words = [
        (
            Provider::Okta,
            json!({"errorCode": "E0000007", "errorSummary": "Not found: Resource not found: 00u1 (User)"}),
        ),
        (
            Provider::Graph,
            json!({"error": {"code": "Request_ResourceNotFound", "message": "Resource 'x' does not exist"}}),
        ),
        (
            Provider::Google,
            json!({"error": {"code": 404, "message": "Resource Not Found: userKey", "errors":
                [{"domain": "global", "message": "Resource Not Found: userKey", "reason": "notFound"}]}}),
        ),
        (
            Provider::Auth0,
            json!({"statusCode": 404, "error": "Not Found", "message": "The user does not exist.", "errorCode": "inexistent_user"}),
        ),
        (Provider::WorkOs, json!({"message": "User not found", "code": "entity_not_found"})),
        (Provider::Keycloak, json!({"error": "User not found"})),
        (Provider::Keycloak, json!({"error": "Could not find group by id"})),
        (
            Provider::Scim,
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "404"}),
        ),
    ];
    for (provider, body) in words {
        let connector = provider.open();
        assert!(connector.is_absent(StatusCode::NOT_FOUND, &body), "{provider:?}");
        assert!(!connector.is_absent(StatusCode::FORBIDDEN, &body), "{provider:?}");
        assert!(!connector.is_absent(StatusCode::INTERNAL_SERVER_ERROR, &body), "{provider:?}");
        for elsewhere in
            [Value::Null, json!({}), json!({"error": "Not Found"}), json!({"message": "no route"}), json!([])]
        {
            assert!(!connector.is_absent(StatusCode::NOT_FOUND, &elsewhere), "{provider:?}: {elsewhere}");
        }
    }
}

mod rest {
    use super::*;
    use crate::source::connectors::{MemberList, Record, Rest, Template};
    use crate::source::mapped::{Field, Pointer};
    use crate::source::signature::time::Format;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    fn field(attribute: &str, from: &str) -> Field {
        Field { attribute: attribute.to_owned(), from: pointer(from), true_when: None }
    }

    fn record(path: &str, at: Option<&str>, fields: Vec<Field>) -> Record {
        Record { path: Template::parse(path).unwrap(), at: at.map(pointer), fields }
    }

    fn rest() -> Rest {
        Rest {
            user: Some(record("/people/{id}?full=1", Some("/person"), vec![field("userName", "/login")])),
            group: Some(record("/teams/{id}", None, vec![field("displayName", "/name")])),
            members: Some(MemberList {
                path: Template::parse("teams/{id}/people").unwrap(),
                ids: pointer("/items/*/id"),
                next: Some(pointer("/next")),
            }),
            inline_members: None,
            changed_at: Some((pointer("/updated"), Format::Auto)),
            absent: Some((pointer("/code"), "unknown_person".to_owned())),
        }
    }

    #[test]
    fn an_api_is_asked_and_read_as_configured() {
        let provider = Provider::Rest(Box::new(rest()));
        assert_eq!(asked(&*provider.open(), &user("a/b")), "people/a%2Fb?full=1");
        let answer = json!({"person": {"login": "ann", "updated": 1_790_000_000}});
        let change = &said(&provider, &user("a"), &answer)[0];
        assert_eq!(change["attributes"], json!({"userName": "ann"}));
        assert_eq!(change["occurred_at"], Timestamp::from_seconds(1_790_000_000).to_string());
        let page = members(&provider, "", &json!({"items": [{"id": 7}], "next": "/teams/t/people?page=2"}));
        let next = Some(Next::Link("/teams/t/people?page=2".to_owned()));
        assert_eq!(page, Members { users: vec![id("7")], next });
        assert_eq!(members(&provider, "", &json!({"items": [], "next": null})).next, None);
        let connector = provider.open();
        let no_list = Page { headers: &HeaderMap::new(), body: &json!({"error": "x"}), path: "" };
        assert!(connector.member_page(&no_list).is_err(), "a missing list is no empty list");
        assert!(connector.is_absent(StatusCode::NOT_FOUND, &json!({"code": "unknown_person"})));
        assert!(!connector.is_absent(StatusCode::NOT_FOUND, &json!({"code": "no_route"})));
        assert!(connector.is_absent(StatusCode::GONE, &Value::Null));
    }

    #[test]
    fn members_that_stand_in_the_record_are_the_whole_list() {
        let rest = Rest { members: None, inline_members: Some(pointer("/people/*")), ..rest() };
        let provider = Provider::Rest(Box::new(rest));
        let changes = said(&provider, &group("t"), &json!({"name": "T", "people": ["a", "b"]}));
        assert_eq!(changes[1]["set"], json!(["a", "b"]));
        assert!(provider.open().members(&id("t")).is_none());
        assert!(provider.open().understand(&group("t"), &View::root(&json!({"name": "T"}))).is_err());
    }

    #[test]
    fn a_template_names_the_id_once_and_stays_below_the_base() {
        for (text, good) in [
            ("/users/{id}", true),
            ("users?id={id}", true),
            ("/users", false),
            ("/users/{id}/{id}", false),
            ("https://evil.example/{id}", false),
            ("/users/{id}#x", false),
            ("/us ers/{id}", false),
        ] {
            assert_eq!(Template::parse(text).is_ok(), good, "{text}");
        }
    }
}

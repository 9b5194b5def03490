//! What every provider that can be asked is held to: its pages, its wish for quiet, whom it no longer has, and
//! positions that it forgets. One that is added has to say here what it answers.

use super::*;
use crate::source::connectors::{Base, MemberList, Page as Answer, Record, Rest, Ssf, Template};
use crate::source::mapped::{Field, Pointer};

/// What one provider answers.
struct Row {
    /// The kind of source that it goes with.
    kind: &'static str,
    /// A user, and the record of it.
    user: (&'static str, Value),
    /// A group, and the record of it.
    group: (&'static str, Value),
    /// The pages of the group's members; none where its record has them.
    pages: Vec<Value>,
    /// The header `Link` of the first page.
    link: Option<&'static str>,
    /// What it says beside a 404 of a user whom it does not have.
    absent: Value,
}

fn everyone() -> [Provider; 9] {
    let ssf = Ssf { description: "ssf".to_owned() };
    [
        Provider::Auth0,
        Provider::Google,
        Provider::Graph,
        Provider::Keycloak,
        Provider::Okta,
        Provider::WorkOs,
        Provider::Scim,
        Provider::Ssf(ssf),
        Provider::Rest(Box::new(rest())),
    ]
}

fn rest() -> Rest {
    let pointer = |text| Pointer::parse(text).unwrap();
    let record = |path, attribute: &str, from| Record {
        path: Template::parse(path).unwrap(),
        at: None,
        fields: vec![Field { attribute: attribute.to_owned(), from: pointer(from), true_when: None }],
    };
    Rest {
        user: Some(record("/people/{id}", "userName", "/login")),
        group: Some(record("/teams/{id}", "displayName", "/name")),
        members: Some(MemberList {
            path: Template::parse("/teams/{id}/people").unwrap(),
            ids: pointer("/items/*/id"),
            next: Some(pointer("/next")),
        }),
        inline_members: None,
        changed_at: None,
        absent: Some((pointer("/code"), "unknown_person".to_owned())),
    }
}

/// `None` for a provider that has no records.
fn row(provider: &Provider) -> Option<Row> {
    const AT: &str = "2026-08-20T10:00:00.000Z";
    let usual = |kind, user, group, pages: [Value; 2], absent| Row {
        kind,
        user: ("u", user),
        group: ("g", group),
        pages: pages.to_vec(),
        link: None,
        absent,
    };
    Some(match provider {
        Provider::Auth0 => usual(
            "auth0",
            json!({"user_id": "u", "email": "a@acme.example", "updated_at": AT}),
            json!({"id": "g", "name": "G"}),
            [
                json!({"members": [{"id": "u", "member_type": "user"}], "next": "n"}),
                json!({"members": [{"id": "v", "member_type": "user"}]}),
            ],
            json!({"statusCode": 404, "errorCode": "inexistent_user"}),
        ),
        Provider::Google => usual(
            "google",
            json!({"id": "u", "primaryEmail": "a@acme.example", "suspended": false}),
            json!({"id": "g", "name": "G"}),
            [
                json!({"kind": "admin#directory#members", "members": [{"id": "u", "type": "USER"}], "nextPageToken": "t"}),
                json!({"kind": "admin#directory#members", "members": [{"id": "v", "type": "USER"}]}),
            ],
            json!({"error": {"code": 404, "errors": [{"reason": "notFound"}]}}),
        ),
        Provider::Graph => usual(
            "entra",
            json!({"id": "u", "userPrincipalName": "a@acme.example", "accountEnabled": true}),
            json!({"id": "g", "displayName": "G"}),
            [
                json!({"value": [{"@odata.type": "#microsoft.graph.user", "id": "u"}],
                       "@odata.nextLink": format!("{BASE}groups/g/members?$skiptoken=2")}),
                json!({"value": [{"@odata.type": "#microsoft.graph.user", "id": "v"}]}),
            ],
            json!({"error": {"code": "Request_ResourceNotFound"}}),
        ),
        Provider::Keycloak => Row {
            kind: "keycloak",
            user: ("u", json!({"id": "u", "username": "a", "enabled": true})),
            group: ("g", json!({"id": "g", "name": "G"})),
            pages: vec![json!([{"id": "u"}, {"id": "v"}])],
            link: None,
            absent: json!({"error": "User not found"}),
        },
        Provider::Okta => Row {
            link: Some("<https://idp.example/api/v1/groups/g/users?after=x>; rel=\"next\""),
            ..usual(
                "okta",
                okta_user("ACTIVE", AT),
                json!({"id": "g", "lastUpdated": AT, "profile": {"name": "G"}}),
                [json!([{"id": "u"}]), json!([{"id": "v"}])],
                okta_gone(),
            )
        },
        Provider::WorkOs => Row {
            kind: "workos",
            user: (
                "directory_user_1",
                json!({"id": "directory_user_1", "username": "a", "state": "active", "updated_at": AT}),
            ),
            group: ("directory_group_1", json!({"id": "directory_group_1", "name": "G", "updated_at": AT})),
            pages: vec![
                json!({"data": [{"id": "directory_user_1"}], "list_metadata": {"after": "x"}}),
                json!({"data": [{"id": "directory_user_2"}], "list_metadata": {"after": null}}),
            ],
            link: None,
            absent: json!({"code": "entity_not_found"}),
        },
        Provider::Scim => Row {
            kind: "okta",
            user: ("u", json!({"id": "u", "userName": "a", "meta": {"lastModified": AT}})),
            group: ("g", json!({"id": "g", "displayName": "G", "members": [{"value": "u"}, {"value": "v"}]})),
            pages: Vec::new(),
            link: None,
            absent: json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "404"}),
        },
        Provider::Rest(_) => usual(
            "okta",
            json!({"login": "a"}),
            json!({"name": "G"}),
            [
                json!({"items": [{"id": "u"}], "next": "/teams/g/people?page=2"}),
                json!({"items": [{"id": "v"}]}),
            ],
            json!({"code": "unknown_person"}),
        ),
        Provider::Ssf(_) => return None,
    })
}

/// Everybody who has records, with what is answered.
fn rows() -> Vec<(Provider, Row)> {
    let rows: Vec<_> =
        everyone().into_iter().filter_map(|provider| row(&provider).map(|row| (provider, row))).collect();
    assert_eq!(rows.len(), 8);
    rows
}

fn path_of(provider: &Provider, key: &ResourceKey) -> String {
    provider.open().record(key).unwrap().path
}

fn key(kind: fn(ExternalId) -> ResourceKey, id: &str) -> ResourceKey {
    kind(ExternalId::parse(id).unwrap())
}

/// Has the pages answered, each where the one before it leads to.
fn answer_pages(desk: &Desk, provider: &Provider, row: &Row) {
    let connector = provider.open();
    let mut path = connector.members(&ExternalId::parse(row.group.0).unwrap()).map(|ask| ask.path);
    for (number, body) in row.pages.iter().enumerate() {
        let asked = path.expect("the page before says where this one is");
        let link = row.link.filter(|_| number == 0);
        let headers: Vec<_> = link.map(|link| ("link", link)).into_iter().collect();
        desk.idp.answer_with(&asked, 200, &headers, body.clone());
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = headers.collect();
        let page = Answer { headers: &headers, body, path: &asked };
        let next = connector.member_page(&page).unwrap().next;
        path = next.map(|next| Base::new(BASE.parse().unwrap()).below(next).unwrap());
    }
    assert!(row.pages.is_empty() || path.is_none(), "the last page is the last");
}

#[tokio::test(start_paused = true)]
async fn a_group_of_any_provider_comes_with_the_members_of_every_page() {
    for (provider, row) in rows() {
        let desk = Desk::open(row.kind, provider.clone());
        let group = key(ResourceKey::group, row.group.0);
        desk.idp.answer(&path_of(&provider, &group), 200, row.group.1.clone());
        answer_pages(&desk, &provider, &row);
        desk.want(&Topic::Record(group)).await;
        desk.wait(2).await;
        let id = row.group.0;
        let expected = [format!("group.upsert {id} merged"), format!("group.members {id} merged")];
        assert_eq!(desk.merged().await, expected, "{provider:?}: {:?}", desk.counts().await);
        assert_eq!(desk.idp.asked().len(), 1 + row.pages.len(), "{provider:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_provider_that_wants_quiet_gets_it() {
    for (provider, row) in rows() {
        let desk = Desk::open(row.kind, provider.clone());
        let user = key(ResourceKey::user, row.user.0);
        let path = path_of(&provider, &user);
        desk.idp.answer_with(&path, 429, &[("retry-after", "120")], json!({}));
        desk.idp.answer(&path, 200, row.user.1.clone());
        desk.want(&Topic::Record(user)).await;
        desk.wait(110).await;
        assert_eq!(desk.idp.asked(), [path.as_str()], "{provider:?}");
        desk.wait(60).await;
        assert_eq!(desk.merged().await, [format!("user.upsert {} merged", row.user.0)], "{provider:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn whom_any_provider_does_not_have_is_deleted_by_its_own_words_alone() {
    for (provider, row) in rows() {
        for (absent, ends) in [(&row.absent, true), (&json!({"error": "Not Found"}), false)] {
            let desk = Desk::open(row.kind, provider.clone());
            let user = key(ResourceKey::user, row.user.0);
            desk.idp.answer(&path_of(&provider, &user), 404, absent.clone());
            desk.want(&Topic::Record(user)).await;
            desk.wait(2).await;
            assert_eq!(desk.merged().await, Vec::<String>::new(), "{provider:?}: once is not enough");
            desk.wait(120).await;
            let ended = desk.merged().await == [format!("user.delete {} merged", row.user.0)];
            assert_eq!(ended, ends, "{provider:?}: {absent}");
            assert_eq!(desk.counts().await.failing == 0, ends, "{provider:?}: what is no word stays visible");
        }
    }
}

/// Keycloak's is a time, which is never forgotten; its events may be.
#[test]
fn a_position_that_any_provider_forgets_is_told_or_is_kept_for_a_known_time() {
    for provider in everyone() {
        let connector = provider.open();
        let Some(feed) = connector.feed() else { continue };
        for stream in feed.streams() {
            let begins_again = feed.again(stream).is_some();
            let is_known = feed.kept_for().is_some();
            let by_time = provider == Provider::Keycloak;
            assert_eq!(u8::from(begins_again) + u8::from(is_known) + u8::from(by_time), 1, "{provider:?}");
            assert!(feed.is_forgotten(StatusCode::GONE, &Value::Null), "{provider:?}");
            for passing in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS] {
                assert!(!feed.is_forgotten(passing, &Value::Null), "{provider:?}: {passing}");
            }
        }
    }
}

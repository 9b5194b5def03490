//! What identity providers answer when they are asked.

use http::header::LINK;
use scim_relay::directory::{Change, ExternalId, Kind, ResourceKey};
use scim_relay::source::connectors::{Base, Connector, Next, Page};
use scim_relay::source::{View, told};
use serde_json::Value;
use url::Url;

use super::texts;
use crate::configured::CONNECTORS;
use crate::input::Input;

/// A provider by number, a question by number, a status, a line for the header `Link`, and a body.
pub fn answer(input: &[u8]) {
    let mut input = Input::of(input);
    let connector = input.pick(&CONNECTORS).as_ref();
    let question = input.byte() % 4;
    let status = input.status();
    let headers = input.values_of(&[LINK]);
    let Some(body) = input.json() else { return };
    let page = Page { headers: &headers, body: &body, path: "users?limit=2&page=1" };
    match question {
        0 => understand(connector, Kind::User, &body),
        1 => understand(connector, Kind::Group, &body),
        2 => {
            if let Ok(members) = connector.member_page(&page) {
                follow(members.next);
            }
        }
        _ => feed(connector, &page),
    }
    let _ = connector.is_absent(status, &body);
    if let Some(feed) = connector.feed() {
        let _ = feed.is_forgotten(status, &body);
    }
}

fn understand(connector: &dyn Connector, kind: Kind, body: &Value) {
    let id = ExternalId::parse("u-1").expect("it is an id");
    let key = ResourceKey { kind, id };
    let record = View::root(body);
    let _ = connector.members_changed_at(&record);
    let changes = connector.understand(&key, &record);
    assert_eq!(changes, connector.understand(&key, &record), "a record reads the same each time");
    assert_told(&changes.unwrap_or_default());
}

fn feed(connector: &dyn Connector, page: &Page<'_>) {
    let Some(feed) = connector.feed() else { return };
    for stream in feed.streams() {
        if let Ok(told) = feed.page(stream, page) {
            assert_told(&told.reading.changes);
            follow(Some(told.next));
        }
    }
}

/// What was read goes into the inbox in the relay's own format, and is merged from there.
fn assert_told(changes: &[Change]) {
    let body = told::write(changes);
    let said = told::read(&body).expect("it bears the mark");
    let said = said.unwrap_or_else(|error| panic!("{error}: {changes:#?}"));
    assert!(told::write(&said) == body, "what is written is read: {changes:#?}");
}

/// Wherever a list goes on: the provider's credentials go nowhere else.
pub fn follow(next: Option<Next>) {
    let Some(next @ Next::Link(_)) = next else { return };
    let url: Url = "https://provider.example/api/v1".parse().expect("it is a URL");
    if let Ok(path) = Base::new(url.clone()).below(next) {
        let joined = Url::parse(&format!("{url}/{path}")).expect("a path below the base is a URL");
        assert_eq!(joined.origin(), url.origin(), "{path}");
        assert!(joined.path().starts_with("/api/v1/"), "{joined}");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    const BODIES: &[&str] = &[
        r##"{"id":"u","userPrincipalName":"a@b","accountEnabled":false,"displayName":"A","mail":"a@b","@odata.nextLink":"https://provider.example/api/v1/x?$skiptoken=1","value":[{"@odata.type":"#microsoft.graph.user","id":"u","@removed":{"reason":"deleted"},"members@delta":[{"id":"u"}]}],"expirationDateTime":"2026-09-01T00:00:00Z"}"##,
        r#"{"id":"u","status":"ACTIVE","lastUpdated":"2026-01-01T00:00:00.000Z","profile":{"login":"a@b","email":"a@b","firstName":"A","lastName":"B","name":"G"}}"#,
        r#"[{"id":"u","status":"ACTIVE","uuid":"e","eventType":"user.lifecycle.suspend","published":"2026-01-01T00:00:00.000Z","outcome":{"result":"SUCCESS"},"target":[{"id":"u","type":"User","alternateId":"a@b"}]}]"#,
        r#"{"id":"u","primaryEmail":"a@b","name":{"givenName":"A","familyName":"B"},"suspended":false,"archived":true,"members":[{"type":"USER","id":"u"}],"nextPageToken":"t","resourceId":"r","expiration":"1786000000000","error":{"code":404,"errors":[{"reason":"notFound"}]}}"#,
        r#"{"user_id":"auth0|1","email":"a@b","name":"A","blocked":true,"updated_at":"2026-01-01T00:00:00.000Z","id":"g","members":[{"id":"auth0|1","type":"user"}],"next":"n","errorCode":"inexistent_user"}"#,
        r#"{"object":"directory_user","id":"u","email":"a@b","first_name":"A","state":"active","updated_at":"2026-01-01T00:00:00.000Z","data":[{"id":"u","event":"dsync.user.created","created_at":"2026-01-01T00:00:00.000Z","data":{"object":"directory_user","id":"u","emails":[],"state":"active"}}],"list_metadata":{"after":"a"}}"#,
        r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"u","userName":"a","active":true,"emails":[{"value":"a@b","type":"work"}],"members":[{"value":"u","type":"User"}],"displayName":"G","meta":{"lastModified":"2026-01-01T00:00:00Z"}}"#,
        r#"{"id":"u","username":"a","enabled":true,"email":"a@b","firstName":"A","attributes":{"department":["x"]},"name":"G","error":"User not found"}"#,
        r#"{"data":{"login":"a","state":"on","mail":"a@b"},"title":"T","items":[{"id":"u"}],"next":"/api/v1/x","changed":1786000000,"error":"no such person"}"#,
    ];
    let link = "<https://provider.example/api/v1/users?after=1>; rel=\"next\"";
    let providers = u8::try_from(CONNECTORS.len()).expect("there are few");
    let mut seeds = texts(&[]);
    for provider in 0..providers {
        for question in 0..4 {
            for body in BODIES {
                let status = 404_u16 - 100;
                let head = [&[provider, question], &status.to_be_bytes()[..]].concat();
                seeds.push([&head, format!("{link}\n{body}").as_bytes()].concat());
            }
        }
    }
    seeds
}

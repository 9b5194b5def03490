//! Requests to the relay itself: paths, queries, cursors and bodies of the admin API, and webhooks from their
//! first byte on, through the whole server.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use scim_relay::clock::{Clock, Timestamp};
use scim_relay::directory::ResourceKey;
use scim_relay::http::admin::{AdminKey, Keys, Role};
use scim_relay::http::intake::IntakeLimits;
use scim_relay::http::rhythm::Rhythms;
use scim_relay::http::targets::{TargetControl, TargetSnapshot};
use scim_relay::http::{Relay, router_on_one_listener};
use scim_relay::store::sqlite::SqliteStore;
use scim_relay::store::{NewEvent, Store, StoreError, TargetState};
use scim_relay::sync::foresee::Foresight;
use scim_relay::telemetry::metrics::Metrics;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

use crate::configured::{NOW, SOURCES};
use crate::input::Input;

const KEY: &str = "key";
const DIRECTORY: &str = "corp";
/// Longest answer: the console's files are the largest.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::DELETE, Method::PUT, Method::HEAD];
const HEADERS: [HeaderName; 3] =
    [http::header::ACCEPT, http::header::CONTENT_TYPE, http::header::CONTENT_ENCODING];

static SERVER: LazyLock<(Runtime, Router)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let router = runtime.block_on(serve());
    (runtime, router)
});

/// A method by number, a line for the path and the query, a line for each of some headers, and a body.
pub fn answer(input: &[u8]) {
    let mut input = Input::of(input);
    let method = input.pick(&METHODS).clone();
    let path = input.text_line();
    let headers = input.values_of(&HEADERS);
    let Ok(mut request) = Request::builder().method(method).uri(path).body(Body::from(input.rest().to_vec()))
    else {
        return;
    };
    *request.headers_mut() = headers;
    if path.starts_with("/admin/") {
        let key = HeaderValue::from_str(&format!("Bearer {KEY}")).expect("it can stand in a header");
        request.headers_mut().insert(http::header::AUTHORIZATION, key);
    }
    let (runtime, router) = &*SERVER;
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.expect("the server answers");
        let status = response.status();
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "something panics for {path:?}");
        let read = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        assert!(read.is_ok(), "the answer to {path:?} has no end");
    });
}

/// A relay with every source, one target, and a user and a group.
async fn serve() -> Router {
    let store = SqliteStore::open_temporary().expect("a store can be made");
    store.enrol("t", &DIRECTORY.to_owned(), NOW).await.expect("a target can be noted");
    let body = br#"{"changes":[{"op":"user.upsert","id":"u","attributes":{"userName":"a"}},{"op":"group.upsert","id":"g","attributes":{"displayName":"G"}},{"op":"group.members","id":"g","add":["u"]}]}"#;
    let event = NewEvent {
        source: "native".to_owned(),
        directory: DIRECTORY.to_owned(),
        event_id: "e".to_owned(),
        received_at: NOW,
        urgent: false,
        body: body.to_vec(),
    };
    store.append(event).await.expect("an event can be stored");
    store.project(&**SOURCES, 10).await.expect("it can be merged");
    let key = AdminKey { name: "k".into(), secret: KEY.into(), role: Role::Admin };
    let target: Arc<dyn TargetControl> = Arc::new(Still);
    router_on_one_listener(&Relay {
        sources: Arc::clone(&SOURCES),
        limits: Arc::new(IntakeLimits::new(&SOURCES)),
        store: Arc::new(store),
        clock: Arc::new(Stopped),
        metrics: Metrics::new(),
        targets: Arc::new(BTreeMap::from([("t".to_owned(), target)])),
        appended: Arc::default(),
        keys: Arc::new(Keys::new(vec![key])),
        alarms: Arc::default(),
        rhythms: Arc::new(Rhythms::new(&SOURCES, &BTreeMap::new(), NOW)),
        audit: None,
    })
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A target that does nothing.
struct Still;

#[async_trait]
impl TargetControl for Still {
    async fn snapshot(&self) -> Result<TargetSnapshot, StoreError> {
        Ok(TargetSnapshot {
            state: TargetState::Running,
            held: true,
            holder: None,
            in_flight: 0,
            limits: Value::Null,
            breaker: Value::Null,
            bulk: Value::Null,
            capabilities: Value::Null,
        })
    }

    async fn pause(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn resume(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn foresee(&self, _: &ResourceKey) -> Result<Option<Foresight>, StoreError> {
        Ok(None)
    }

    fn wake(&self) {}

    fn discover(&self) -> bool {
        false
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    const GET: u8 = 0;
    const POST: u8 = 1;
    const DELETE: u8 = 2;
    let calls = [
        (GET, "me", ""),
        (GET, "status", ""),
        (GET, "targets?limit=1&cursor=t", ""),
        (GET, "targets/t", ""),
        (POST, "targets/t/pause", ""),
        (GET, "targets/t/parked?limit=2", ""),
        (POST, "targets/t/parked/user:1:u/retry", ""),
        (GET, "targets/t/holds?state=open", ""),
        (POST, "targets/t/holds/1/approve", r#"{"items":["user:1:u"]}"#),
        (GET, "events?limit=3&cursor=1", ""),
        (GET, "events/e", ""),
        (GET, "ledger?resource=user%3Au&from=2026-01-01T00:00:00Z&until=2026-12-01T00:00:00Z&cursor=9", ""),
        (GET, "ledger?kind=user&id=u&outcome=applied&operation=create", ""),
        (POST, "targets/t/resyncs", r#"{"mode":"report","scope":{"user":"u"}}"#),
        (GET, "targets/t/resyncs", ""),
        (GET, "resyncs/1", ""),
        (DELETE, "resyncs/1", ""),
        (GET, "resyncs/1/entries?class=missing&kind=user&attribute=title&limit=5", ""),
        (POST, "targets/t/users/u/sync", r#"{"dry_run":true,"wait_seconds":1}"#),
        (POST, "targets/t/groups/g/sync", r#"{"dry_run":true}"#),
        (GET, "people?q=a&directory=corp&cursor=%5B%22corp%22%2C%22u%22%5D", ""),
        (GET, "directories/corp/users/u/timeline?order=newest&cursor=1.2.3&limit=4", ""),
        (GET, "directories/corp/groups/g/timeline?target=t", ""),
        (POST, "sources/native/resynced", ""),
        (POST, "feeds/people/consent", r#"{"snapshot":"1"}"#),
    ];
    let seed = |(method, path, body): (u8, &str, &str)| {
        let text = format!("/admin/v1/{path}\napplication/json;q=0.5, text/csv\napplication/json\n\n{body}");
        [&[method], text.as_bytes()].concat()
    };
    let webhook = |source: &str| {
        let text = format!("/webhooks/{source}?key=x\n\napplication/json\nidentity\n{{}}");
        [&[POST], text.as_bytes()].concat()
    };
    let sources = SOURCES.iter().map(|registered| webhook(&registered.settings.name));
    calls.into_iter().map(seed).chain(sources).collect()
}

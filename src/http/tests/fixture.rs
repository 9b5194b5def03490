//! A relay on a port of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::client::{self, Answer};
use super::faulty::{FaultyStore, Mood};
use crate::clock::{Clock, Timestamp};
use crate::directory::ResourceKey;
use crate::http::admin::{AdminKey, Keys, Role};
use crate::http::intake::IntakeLimits;
use crate::http::rhythm::Rhythms;
use crate::http::targets::{TargetControl, TargetSnapshot};
use crate::http::{Relay, router_on_one_listener, serve};
use crate::source::signature::standard_webhooks::{self, sign};
use crate::source::{IntakeLimit, Kind, Settings, Sources};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError, TargetState};
use crate::sync::foresee::{Foreseen, Foresight};
use crate::telemetry::metrics::Metrics;

pub const NOW: Timestamp = Timestamp::from_seconds(1_795_168_800);
pub const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSBzZW5kZXI=";
pub const OLD_SECRET: &str = "the secret that is being replaced";
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// Keys of the three roles.
pub const VIEWER: &str = "key-of-a-screen";
pub const OPERATOR: &str = "key-of-operations";
pub const ADMIN: &str = "key-of-the-boss";

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A target that only remembers what it was told.
pub struct FakeTarget {
    pub state: Mutex<TargetState>,
    pub in_flight: AtomicU64,
    pub woken: AtomicU64,
    pub broken: AtomicBool,
    /// Whether another replica dispatches it.
    pub elsewhere: AtomicBool,
}

#[async_trait]
impl TargetControl for FakeTarget {
    async fn snapshot(&self) -> Result<TargetSnapshot, StoreError> {
        assert!(!self.broken.load(Ordering::SeqCst), "the target is broken");
        Ok(TargetSnapshot {
            state: self.state.lock().unwrap().clone(),
            held: true,
            holder: Some("relay-0".to_owned()),
            in_flight: self.in_flight.load(Ordering::SeqCst),
            limits: json!({"rate_per_second": 20}),
            breaker: json!({"state": "closed"}),
            bulk: json!({"state": "off", "reason": "the configuration says so"}),
            capabilities: json!({"patch": true}),
        })
    }

    async fn pause(&self, by: &str) -> Result<(), StoreError> {
        *self.state.lock().unwrap() = TargetState::Paused { by: by.to_owned(), since: NOW };
        Ok(())
    }

    async fn resume(&self, _: &str) -> Result<(), StoreError> {
        *self.state.lock().unwrap() = TargetState::Running;
        Ok(())
    }

    async fn foresee(&self, _: &ResourceKey) -> Result<Option<Foresight>, StoreError> {
        let step = Foreseen {
            operation: "update",
            call: "PATCH Users/{id}".to_owned(),
            attributes: vec!["title".to_owned()],
            joining: 0,
            leaving: 0,
            words: "",
        };
        Ok(Some(Foresight { steps: vec![step], end: "in place".to_owned() }))
    }

    fn wake(&self) {
        self.woken.fetch_add(1, Ordering::SeqCst);
    }

    fn discover(&self) -> bool {
        !self.elsewhere.load(Ordering::SeqCst)
    }
}

/// What the endpoints know, and what stands behind it.
pub struct Parts {
    pub relay: Relay,
    pub store: Arc<FaultyStore>,
    pub target: Arc<FakeTarget>,
}

/// A relay with the sources `hr` and `limited`, the target `genesys`, and one key per role.
pub async fn parts() -> Parts {
    let limit = IntakeLimit { rate_per_second: NonZeroU32::MIN, burst: NonZeroU32::new(2).unwrap() };
    parts_with([source("hr", None), source("limited", Some(limit))]).await
}

/// A relay with these sources, the target `genesys`, and one key per role.
pub async fn parts_with(sources: impl IntoIterator<Item = Settings>) -> Parts {
    let store =
        Arc::new(FaultyStore { inner: SqliteStore::open_temporary().unwrap(), mood: Mutex::new(Mood::Well) });
    store.enrol("genesys", &"corp".to_owned(), NOW).await.unwrap();
    let target = Arc::new(FakeTarget {
        state: Mutex::new(TargetState::Running),
        in_flight: AtomicU64::new(0),
        woken: AtomicU64::new(0),
        broken: AtomicBool::new(false),
        elsewhere: AtomicBool::new(false),
    });
    let sources = Arc::new(Sources::open(sources).unwrap());
    let control: Arc<dyn TargetControl> = target.clone();
    let key = |name: &str, secret: &str, role| AdminKey { name: name.into(), secret: secret.into(), role };
    let rhythms = Rhythms::new(&sources, &BTreeMap::new(), NOW);
    let relay = Relay {
        limits: Arc::new(IntakeLimits::new(&sources)),
        sources,
        store: store.clone(),
        clock: Arc::new(FixedClock),
        metrics: Metrics::new(),
        targets: Arc::new(BTreeMap::from([("genesys".to_owned(), control)])),
        appended: Arc::new(Notify::new()),
        alarms: Arc::default(),
        rhythms: Arc::new(rhythms),
        audit: None,
        keys: Arc::new(Keys::new(vec![
            key("screen", VIEWER, Role::Viewer),
            key("ops", OPERATOR, Role::Operator),
            key("boss", ADMIN, Role::Admin),
        ])),
    };
    Parts { relay, store, target }
}

pub fn source(name: &str, intake_limit: Option<IntakeLimit>) -> Settings {
    Settings {
        name: name.to_owned(),
        kind: Kind::Native,
        directory: "corp".to_owned(),
        secrets: vec![OLD_SECRET.into(), SECRET.into()],
        intake_limit,
        body_bytes_max: BODY_BYTES_MAX,
        provider: None,
    }
}

/// A relay that is being served; it stops with the test.
pub struct Served {
    pub address: SocketAddr,
    pub parts: Parts,
    pub stop: Arc<Notify>,
    pub serving: JoinHandle<()>,
}

pub async fn served() -> Served {
    serve_parts(parts().await).await
}

/// The relay on a port of its own.
pub async fn serve_parts(parts: Parts) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let router = router_on_one_listener(&parts.relay);
    let serving = tokio::spawn(async move { serve(listener, router, stopped.notified()).await });
    Served { address, parts, stop, serving }
}

impl Served {
    /// Posts a body as the source `hr` would, signed just now.
    pub async fn hook(&self, event_id: &str, body: &[u8]) -> Answer {
        let signed = signed(event_id, NOW, SECRET, body);
        client::send(self.address, "POST", "/webhooks/hr", &headers(&signed), body).await
    }

    /// Calls the admin API.
    pub async fn admin(&self, method: &str, path: &str, key: &str) -> Answer {
        self.admin_with(method, path, key, &[]).await
    }

    /// Calls the admin API with further headers.
    pub async fn admin_with(&self, method: &str, path: &str, key: &str, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [&[("authorization", bearer.as_str())], more].concat();
        client::send(self.address, method, &format!("/admin/v1{path}"), &headers, b"").await
    }

    /// How many events the store holds.
    pub async fn events(&self) -> usize {
        self.parts.store.inner.events(None, 1000).await.unwrap().items.len()
    }

    /// How many webhooks had this outcome.
    pub fn counted(&self, outcome: &'static str) -> u64 {
        let labels = crate::telemetry::metrics::EventLabels { source: "hr".to_owned(), outcome };
        self.parts.relay.metrics.events.get_or_create(&labels).get()
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.parts.store.mood.lock().unwrap() = mood;
    }
}

/// The headers of a signed webhook.
pub fn signed(event_id: &str, at: Timestamp, secret: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", "application/json".to_owned()),
        (standard_webhooks::ID_HEADER, event_id.to_owned()),
        (standard_webhooks::TIMESTAMP_HEADER, at.as_seconds().to_string()),
        (standard_webhooks::SIGNATURE_HEADER, sign(&secret.into(), event_id, at, body)),
    ]
}

pub fn headers(rows: &[(&'static str, String)]) -> Vec<(&'static str, &'static str)> {
    // Tests are short-lived, and so is what they leak.
    rows.iter().map(|(name, value)| (*name, &*value.clone().leak())).collect()
}

/// A body that deletes this user.
pub fn deletion(user: &str) -> Vec<u8> {
    json!({"changes": [{"op": "user.delete", "id": user}]}).to_string().into_bytes()
}

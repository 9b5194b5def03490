//! What the tests of feeds share: a store, a clock that they set, and what came out of the inbox.

use std::sync::Arc;
use std::sync::Mutex;

use tokio::sync::Notify;

use crate::clock::{Clock, Timestamp};
use crate::directory::Change;
use crate::feed::Context;
use crate::feed::take::Taker;
use crate::source::fed::{self, Records};
use crate::source::mapped::{Effect, Field, Kind, Pointer, Rule};
use crate::source::signature::time::Format;
use crate::store::sqlite::SqliteStore;
use crate::store::{Consent, EventReader, Store as _};
use crate::telemetry::metrics::Metrics;

pub const SOURCE: &str = "hr";

/// A store with feeds' memory, and what feeds need.
pub struct Stage {
    pub store: Arc<SqliteStore>,
    pub clock: Arc<SetClock>,
    pub metrics: Metrics,
}

/// A clock that a test sets.
pub struct SetClock(Mutex<Timestamp>);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl SetClock {
    pub fn set(&self, text: &str) {
        *self.0.lock().unwrap() = at(text);
    }

    pub fn advance(&self, seconds: u64) {
        let mut now = self.0.lock().unwrap();
        *now = now.after(std::time::Duration::from_secs(seconds));
    }
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

impl Stage {
    pub fn new() -> Self {
        Self {
            store: Arc::new(SqliteStore::open_temporary().unwrap()),
            clock: Arc::new(SetClock(Mutex::new(at("2026-11-20T10:00:00Z")))),
            metrics: Metrics::new(),
        }
    }

    pub fn taker(&self, replica: &str) -> Taker {
        let context = Context {
            store: Arc::clone(&self.store) as _,
            accepted: Arc::new(Notify::new()),
            clock: Arc::clone(&self.clock) as _,
            replica: replica.to_owned(),
            metrics: self.metrics.clone(),
        };
        Taker { context, source: SOURCE.to_owned(), directory: "default".to_owned() }
    }

    /// What has come since the last time, as `operation id`, sorted.
    pub async fn news(&self) -> Vec<String> {
        let reader = Reader::default();
        while self.store.project(&reader, 1_000).await.unwrap().more {}
        let mut said: Vec<String> = reader.0.into_inner().unwrap();
        said.sort();
        said
    }

    pub async fn memory(&self) -> serde_json::Value {
        self.store.feeds().feed(SOURCE).await.unwrap().unwrap().memory
    }

    pub async fn consent_to(&self, removals: u64) {
        let until = self.clock.now().after(std::time::Duration::from_hours(1));
        let consent = Consent { removals, until, by: "ann".to_owned() };
        assert!(self.store.feeds().consent(SOURCE, &consent).await.unwrap());
    }
}

#[derive(Default)]
struct Reader(Mutex<Vec<String>>);

impl EventReader for Reader {
    fn read(&self, _: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        let changes = fed::read(body).map_err(|error| error.to_string())?;
        let names =
            changes.iter().map(|change| format!("{} {}", change.operation.name(), change.operation.key().id));
        self.0.lock().unwrap().extend(names);
        Ok(changes)
    }
}

/// People with an id, a name, and perhaps the state `left`; groups have the state `team`.
pub fn people() -> Records {
    let pointer = |text| Pointer::parse(text).unwrap();
    let field = |attribute: &str, from| Field {
        attribute: attribute.to_owned(),
        from: pointer(from),
        true_when: (attribute == "active").then(|| vec!["yes".to_owned()]),
    };
    let rule = |kind: &str, effect| Rule { types: vec![kind.to_owned()], id: pointer("/id"), effect };
    Records {
        record_type: Some(pointer("/state")),
        changed_at: Some((pointer("/updated"), Format::Rfc3339)),
        rules: vec![
            rule("left", Effect::Delete(Kind::User)),
            rule("team", Effect::Upsert(Kind::Group, vec![field("displayName", "/name")])),
            rule(
                "*",
                Effect::Upsert(Kind::User, vec![field("userName", "/name"), field("active", "/active")]),
            ),
        ],
    }
}

//! Several relays on one PostgreSQL, which are killed, paused and started again while others post to
//! them.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::postgres::Postgres;
use super::relay::{Home, Metrics, Relay, TargetSetup};
use super::{eventually_each, signal};

/// What the replicas log; a test that fails shows the end of it.
const LOG: &str = "info";
/// How much of each log is shown.
const LOG_LINES_SHOWN: usize = 25;

/// The backlog is counted for each answer, which is work for the database as well.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How one replica differs from the others.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where it finds the database.
    pub store: String,
    /// Further variables of its environment.
    pub environment: Vec<(&'static str, String)>,
}

impl Setup {
    pub fn on(postgres: &Postgres) -> Self {
        Self { store: postgres.url(), environment: Vec::new() }
    }

    /// Whose wall clock is off by so many seconds. Its monotonic clock is right.
    pub fn with_clock_off_by(mut self, seconds: i64) -> Self {
        let library = faketime().to_str().expect("a plain path").to_owned();
        self.environment.extend([
            ("LD_PRELOAD", library),
            ("FAKETIME", format!("{seconds:+}s")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]);
        self
    }
}

/// Replicas of one configuration, numbered from 0.
pub struct Replicas {
    home: Home,
    slots: Vec<Slot>,
}

struct Slot {
    setup: Setup,
    log: PathBuf,
    relay: Mutex<Option<Relay>>,
    /// Where it takes webhooks; known while it is busy with something else.
    url: RwLock<Option<String>>,
}

impl Replicas {
    /// Starts so many alike.
    pub async fn start(postgres: &Postgres, count: usize, targets: &[TargetSetup]) -> Arc<Self> {
        Self::start_each(vec![Setup::on(postgres); count], targets).await
    }

    /// Starts one of each setup, all at the same moment.
    pub async fn start_each(setups: Vec<Setup>, targets: &[TargetSetup]) -> Arc<Self> {
        let home = Home::on(&setups[0].store, targets);
        let slot = |(number, setup)| Slot {
            setup,
            log: home.path().join(format!("replica-{number}.log")),
            relay: Mutex::new(None),
            url: RwLock::new(None),
        };
        let slots = setups.into_iter().enumerate().map(slot).collect();
        let replicas = Arc::new(Self { home, slots });
        futures_util::future::join_all((0..replicas.count()).map(|number| replicas.start_one(number))).await;
        replicas
    }

    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Starts a replica that does not run, on a port of its own.
    pub async fn start_one(&self, number: usize) {
        let slot = &self.slots[number];
        let mut relay = slot.relay.lock().await;
        assert!(relay.is_none(), "replica {number} runs");
        let log =
            std::fs::File::options().create(true).append(true).open(&slot.log).expect("a writable folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
        command.env("SCIM_RELAY_LOG", LOG).env("SCIM_RELAY__STORE__URL", &slot.setup.store).stderr(log);
        command.envs(slot.setup.environment.iter().map(|(name, value)| (name, value)));
        let started = self.home.start_as(command).await;
        slot.listens_at(Some(started.url.clone()));
        *relay = Some(started);
    }

    /// SIGKILL: no goodbye.
    pub async fn kill(&self, number: usize) {
        self.take(number).await.kill().await;
    }

    /// SIGTERM: it must end well.
    pub async fn terminate(&self, number: usize) {
        assert_eq!(self.take(number).await.terminate().await, Some(0), "replica {number}");
    }

    /// SIGSTOP: it stands still, its connections stay open.
    pub async fn pause(&self, number: usize) {
        signal(self.pid(number).await, "STOP");
    }

    /// SIGCONT: it goes on as if no time had passed.
    pub async fn wake(&self, number: usize) {
        signal(self.pid(number).await, "CONT");
    }

    /// Where a replica takes webhooks; `None` while it does not run.
    pub fn url(&self, number: usize) -> Option<String> {
        self.slots[number].url.read().expect("not poisoned").clone()
    }

    /// GET below `/admin/v1` of a replica.
    pub async fn admin(&self, number: usize, path: &str) -> Value {
        self.relay(number).await.as_ref().expect("it runs").admin(path).await
    }

    /// POST below `/admin/v1` of a replica, which must work.
    pub async fn act(&self, number: usize, path: &str) {
        self.relay(number).await.as_ref().expect("it runs").act(path).await;
    }

    /// What a replica's `/metrics` says.
    pub async fn metrics(&self, number: usize) -> Metrics {
        self.relay(number).await.as_ref().expect("it runs").metrics().await
    }

    /// Everything that a replica has logged over its lives.
    pub fn log(&self, number: usize) -> String {
        std::fs::read_to_string(&self.slots[number].log).unwrap_or_default()
    }

    /// The replica that holds a target, of those named.
    pub async fn holder_among(&self, numbers: &[usize], target: &str) -> Option<usize> {
        for number in numbers {
            if self.metrics(*number).await.value("scim_relay_target_held", &[("target", target)]) > 0.5 {
                return Some(*number);
            }
        }
        None
    }

    /// Waits until every target is held by one of these replicas.
    pub async fn all_held_among(&self, numbers: &[usize], targets: &[&str], limit: Duration) -> Vec<usize> {
        eventually_each(ASK_EVERY, "every target is held", limit, async || {
            let mut holders = Vec::new();
            for target in targets {
                holders.push(self.holder_among(numbers, target).await?);
            }
            Some(holders)
        })
        .await
    }

    /// Waits until everything accepted is applied or accounted for, as a replica sees it.
    pub async fn quiet(&self, number: usize, limit: Duration) -> Value {
        eventually_each(ASK_EVERY, "the backlog is empty", limit, async || {
            let status = self.admin(number, "/status").await;
            let targets = status["targets"].as_object().expect("targets");
            let is_quiet = |counts: &Value| counts["pending"] == 0 && counts["in_flight"] == 0;
            (status["inbox"]["unprojected"] == 0 && targets.values().all(is_quiet)).then_some(status)
        })
        .await
    }

    /// The ids of all events that are stored, with what became of each.
    pub async fn events(&self, number: usize) -> Vec<(String, String)> {
        let mut events = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.admin(number, &format!("/events?limit=1000{cursor}")).await;
            let text = |event: &Value, key: &str| event[key].as_str().expect("a text").to_owned();
            let items = page["items"].as_array().expect("a list");
            events.extend(items.iter().map(|event| (text(event, "event_id"), text(event, "state"))));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return events,
            }
        }
    }

    async fn relay(&self, number: usize) -> tokio::sync::MutexGuard<'_, Option<Relay>> {
        self.slots[number].relay.lock().await
    }

    async fn take(&self, number: usize) -> Relay {
        self.slots[number].listens_at(None);
        self.relay(number).await.take().expect("it runs")
    }

    async fn pid(&self, number: usize) -> u32 {
        self.relay(number).await.as_ref().expect("it runs").pid()
    }
}

impl Slot {
    fn listens_at(&self, url: Option<String>) {
        *self.url.write().expect("not poisoned") = url;
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for number in 0..self.count() {
            let log = self.log(number);
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            println!("replica {number} said at last:\n{}", shown.join("\n"));
        }
    }
}

/// The library that shifts a program's clock, where Debian puts it.
fn faketime() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    libraries.into_iter().find(|library| library.exists()).expect("libfaketime: run ./scripts/test once")
}

//! Replicas, a store between them and vendors, all in one process on paused time: for tests.

mod resyncs;
mod store;
mod vendor;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(super) use store::{Mood, View, World};
pub(super) use vendor::{Vendor, throttled};

use crate::clock::{SharedClock, Timestamp, TokioClock};
use crate::directory::Operation;
use crate::mapping::Mapping;
use crate::store::conformance::script::{DIRECTORY, Script, deactivate, now, user};
use crate::store::{Store, TargetState};
use crate::sync::handle::{Handle, Handles};
use crate::sync::leases::keeper::{self, Keeper};
use crate::sync::leases::{self, hints};
use crate::sync::policy::Policy;
use crate::sync::scopes::Scoped;
use crate::sync::{BulkMode, Settings, leases::Settings as LeaseSettings};
use crate::target::profile::{BulkSupport, Limits};
use crate::target::{Auth, Profile, Target};
use crate::telemetry::metrics::Metrics;

/// The first target, and the only one unless a test asks for more.
pub(super) const ACME: &str = "acme";
/// The times of leases that the tests reckon with.
pub(super) const LEASE: LeaseSettings = LeaseSettings {
    term: Duration::from_secs(15),
    margin: Duration::from_secs(2),
    last_term: Duration::from_secs(35),
    retry: Duration::from_secs(1),
};

/// The store, the vendors, and what feeds them.
pub(super) struct Stage {
    pub(super) world: Arc<World>,
    pub(super) vendors: Vec<(&'static str, Vendor)>,
    pub(super) clock: SharedClock,
    script: Script,
    events: AtomicU32,
    limits: Limits,
    /// Whether replicas read what the vendors say of themselves.
    pub(super) discovers: bool,
    /// Whether the vendors take several operations in one request.
    pub(super) bulk: BulkMode,
    /// Whom the vendors are to know, and what of them.
    pub(super) mapping: Arc<Mapping>,
    /// Failures after which a resource is given up.
    pub(super) attempts_max: u32,
}

/// One replica: what it holds of each target, and its tasks.
pub(super) struct Replica {
    pub(super) view: Arc<View>,
    pub(super) targets: Handles,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Stage {
    pub(super) async fn new(targets: &[&'static str], calls_per_second: f64) -> Self {
        let limits = Limits {
            rate_per_second: Some(calls_per_second),
            concurrency: NonZeroU32::new(4).unwrap(),
            ..Limits::default()
        };
        let clock: SharedClock = Arc::new(TokioClock::starting_at(Timestamp::from_seconds(10_000)));
        let stage = Self {
            world: World::open(),
            vendors: targets.iter().map(|name| (*name, Vendor::default())).collect(),
            clock,
            script: Script::default(),
            events: AtomicU32::new(0),
            limits,
            discovers: false,
            bulk: BulkMode::Off,
            mapping: Arc::default(),
            attempts_max: 20,
        };
        let store = stage.world.view();
        for target in targets {
            store.enrol(target, &DIRECTORY.to_owned(), stage.clock.now()).await.unwrap();
        }
        stage
    }

    pub(super) fn vendor(&self, target: &str) -> &Vendor {
        &self.vendors.iter().find(|(name, _)| *name == target).unwrap().1
    }

    /// Users come into the directory; whoever dispatches a target is told.
    pub(super) async fn hire(&self, users: std::ops::Range<usize>) {
        self.promote(users, "Newcomer").await;
    }

    /// Users, new or not, get a title.
    pub(super) async fn promote(&self, users: std::ops::Range<usize>, title: &str) {
        let promoted = |number: usize| {
            let name = format!("u{number}");
            let attributes =
                json!({"userName": format!("{name}@example.com"), "active": true, "title": title});
            user(&name, &attributes)
        };
        self.say(users.map(promoted).collect()).await;
    }

    /// A user's access ends.
    pub(super) async fn deactivate(&self, number: usize) {
        self.say(vec![deactivate(&format!("u{number}"))]).await;
    }

    async fn say(&self, operations: Vec<Operation>) {
        let store = self.world.view();
        let number = self.events.fetch_add(1, Ordering::Relaxed);
        let changes = operations.into_iter().map(now).collect();
        store.append(self.script.event(number, changes)).await.unwrap();
        let metrics = Metrics::new();
        let targets = self.vendors.iter();
        let targets: Vec<Handle> = targets
            .map(|(target, _)| {
                self.handle(target, "projector", Arc::clone(&store) as Arc<dyn Store>, &metrics)
            })
            .collect();
        let reader = Scoped::new(&self.script, targets.iter());
        while store.project(&reader, 1_000).await.unwrap().more {}
    }

    /// A configured target of one replica.
    pub(super) fn handle(
        &self,
        name: &str,
        replica: &str,
        store: Arc<dyn Store>,
        metrics: &Metrics,
    ) -> Handle {
        let mut profile = Profile::builtin("rfc7644").unwrap();
        profile.bulk.supported = BulkSupport::Yes;
        let auth = Auth::Bearer { token: "secret".into() };
        let url = "http://127.0.0.1:9/".parse().unwrap();
        let connection = crate::target::Settings {
            limits: self.limits.clone(),
            ..crate::target::Settings::new(name, url, auth, profile.clone())
        };
        let target = Target::connect(connection, Arc::clone(&self.clock), metrics).unwrap();
        let target = target.played_by(self.vendor(name).called_by(replica));
        let settings = Settings {
            target: name.to_owned(),
            policy: Policy {
                mapping: Arc::clone(&self.mapping),
                ..Policy::new(&profile, crate::sync::policy::OnDelete::Deactivate, true)
            },
            attempts_max: self.attempts_max,
            poll_interval: Duration::from_secs(1),
            recheck_after: Duration::from_mins(10),
            bulk: self.bulk,
            discover: self.discovers,
            guard: None,
            resync: None,
        };
        Handle::new(settings, store, target, Arc::clone(&self.clock), metrics.clone())
    }

    /// A replica that keeps leases and dispatches.
    pub(super) fn replica(&self, name: &str) -> Replica {
        self.replica_without(&[], name)
    }

    /// One whose configuration lacks some targets.
    pub(super) fn replica_without(&self, missing: &[&str], name: &str) -> Replica {
        let view = self.world.view();
        self.start(missing, name, Arc::clone(&view) as Arc<dyn Store>, view)
    }

    /// One on another store than the world's.
    pub(super) fn replica_on(&self, store: Arc<dyn Store>, name: &str) -> Replica {
        self.start(&[], name, store, self.world.view())
    }

    fn start(&self, missing: &[&str], name: &str, store: Arc<dyn Store>, view: Arc<View>) -> Replica {
        let metrics = Metrics::new();
        let targets: Handles = self
            .vendors
            .iter()
            .filter(|(target, _)| !missing.contains(target))
            .map(|(target, _)| {
                ((*target).to_owned(), self.handle(target, name, Arc::clone(&store), &metrics))
            })
            .collect();
        let (stop, leases_changed) = (CancellationToken::new(), Arc::new(Notify::new()));
        let mut tasks = JoinSet::new();
        let listening = (Arc::clone(&store), targets.clone(), Arc::clone(&leases_changed), stop.clone());
        tasks.spawn(hints::listen(listening.0, listening.1, listening.2, listening.3));
        let keeper = Keeper {
            store,
            replica: name.to_owned(),
            targets: targets.clone(),
            leases_changed,
            settings: leases::Settings { ..LEASE },
            metrics,
        };
        tasks.spawn(keeper::run(keeper, stop.clone()));
        Replica { view, targets, stop, tasks }
    }

    /// Rows that are pending for a target.
    pub(super) async fn pending(&self, target: &str) -> u64 {
        let status = self.world.view().status().await.unwrap();
        status.targets[target].pending.iter().map(|count| count.rows).sum()
    }

    /// Waits until a target has everything.
    pub(super) async fn quiet(&self, target: &str) {
        until("the backlog is empty", async || self.pending(target).await == 0).await;
    }

    pub(super) async fn stored_state(&self, target: &str) -> TargetState {
        self.world.view().target(target).await.unwrap().unwrap().state
    }
}

impl Replica {
    /// As at SIGTERM.
    pub(super) async fn shut_down(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// As at SIGKILL.
    pub(super) async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    pub(super) fn target(&self, name: &str) -> &Handle {
        &self.targets[name]
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.target(name).is_held()
    }
}

/// Waits for a condition, on the paused clock; what does not come within ten minutes never comes.
pub(super) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Instant {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
    Instant::now()
}

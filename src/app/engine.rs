//! The relay without its HTTP server: store, sources, projector, and the dispatchers of the targets
//! that this replica holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::settings;
use crate::audit::{self, Auditor};
use crate::clock::{Clock, CommonClock, SharedClock};
use crate::config::{Config, ConnectorConfig, StoreConfig};
use crate::errands::vigil::{self, Vigil};
use crate::errands::{self, Client, Runner};
use crate::feed::{self, Feed};
use crate::source::{SettingsError, Sources};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{Retention, Store, StoreError};
use crate::sync;
use crate::sync::handle::{Handle, Handles};
use crate::sync::leases::keeper::{self, Keeper};
use crate::sync::leases::{self, hints};
use crate::sync::projector::{self, Projector};
use crate::sync::pruning::{self, Pruner};
use crate::target::{ConnectError, Target};
use crate::telemetry::metrics::Metrics;

/// Characters of the machine's name that are shown.
const MACHINE_NAME_MAX: usize = 64;

/// Everything that works behind the HTTP server.
pub struct Engine {
    /// Durable memory.
    pub store: Arc<dyn Store>,
    /// The configured sources.
    pub sources: Arc<Sources>,
    /// The configured targets; each is dispatched here while this replica holds it.
    pub targets: Handles,
    /// Told after each accepted event.
    pub accepted: Arc<Notify>,
    /// The wall time by which replicas agree.
    pub clock: SharedClock,
    /// Whether the audit file is written; absent where none is wanted.
    pub audit: Option<audit::Health>,
    /// Every metric.
    pub metrics: Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why the relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The store.
    #[error("open the store")]
    Store(#[from] StoreError),
    /// A source.
    #[error("set up the sources")]
    Source(#[from] SettingsError),
    /// A target.
    #[error("set up the target")]
    Target(#[from] ConnectError),
}

impl Engine {
    /// Opens the store, sets everything up, and starts working on what is stored.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>, metrics: Metrics) -> Result<Self, StartError> {
        let store = open_store(&config.store).await?;
        let common_clock = Arc::new(CommonClock::new(clock));
        // Before anything is dated by it.
        sync::clock::put_right(&common_clock, &*store, &metrics.clock_offset_seconds).await;
        let clock: SharedClock = Arc::clone(&common_clock) as SharedClock;
        let sources = Arc::new(Sources::open(config.sources.values().cloned())?);
        let names: Vec<String> = config.targets.keys().cloned().collect();
        store.retire_all_but(&names).await?;
        let mut targets = Handles::new();
        for (name, target) in &config.targets {
            store.enrol(name, &target.directory, clock.now()).await?;
            let sync = settings::sync(target);
            let connected = Target::connect(target.connection.clone(), Arc::clone(&clock), &metrics)?;
            let handle =
                Handle::new(sync, Arc::clone(&store), connected, Arc::clone(&clock), metrics.clone());
            targets.insert(name.clone(), handle);
        }
        let mut clients = BTreeMap::new();
        for (name, connector) in &config.connectors {
            let client = Client::connect(connector.connection.clone(), Arc::clone(&clock), &metrics)?;
            clients.insert(name.clone(), (client, connector.clone()));
        }
        let engine = Self {
            store,
            sources,
            targets,
            accepted: Arc::new(Notify::new()),
            clock,
            audit: config.audit.as_ref().map(|_| audit::Health::default()),
            metrics,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let replica = replica_name();
        let feeds = engine.connect_feeds(config, &replica)?;
        engine.spawn_auditor(config);
        engine.watch(&config.patience);
        engine.spawn(common_clock, config.retention, replica, feeds, clients);
        Ok(engine)
    }

    fn spawn(
        &self,
        clock: Arc<CommonClock>,
        retention: Retention,
        replica: String,
        feeds: Vec<Feed>,
        clients: BTreeMap<String, (Client, ConnectorConfig)>,
    ) {
        let offset = self.metrics.clock_offset_seconds.clone();
        self.tasks.spawn(sync::clock::keep(clock, Arc::clone(&self.store), offset, self.stop.clone()));
        let reader: Arc<Sources> = Arc::clone(&self.sources);
        let wanted = Arc::new(Notify::new());
        let projector = Projector {
            wanted: Arc::clone(&wanted),
            store: Arc::clone(&self.store),
            reader,
            accepted: Arc::clone(&self.accepted),
            targets: self.targets.clone(),
            poll_interval: settings::POLL_INTERVAL,
        };
        self.tasks.spawn(projector::run(projector, self.stop.clone()));
        let leases_changed = Arc::new(Notify::new());
        let (store, targets) = (Arc::clone(&self.store), self.targets.clone());
        self.tasks.spawn(hints::listen(store, targets, Arc::clone(&leases_changed), self.stop.clone()));
        for feed in feeds {
            self.tasks.spawn(feed.run(self.stop.clone()));
        }
        let keeper = Keeper {
            store: Arc::clone(&self.store),
            replica,
            targets: self.targets.clone(),
            leases_changed,
            settings: leases::Settings::default(),
            metrics: self.metrics.clone(),
        };
        self.tasks.spawn(keeper::run(keeper, self.stop.clone()));
        let pruner = Pruner {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            retention,
            metrics: self.metrics.clone(),
        };
        self.tasks.spawn(pruning::run(pruner, self.stop.clone()));
        for (source, (client, connector)) in clients {
            let runner = Runner {
                source,
                sources: Arc::clone(&self.sources),
                store: Arc::clone(&self.store),
                client,
                clock: Arc::clone(&self.clock),
                accepted: Arc::clone(&self.accepted),
                wanted: Arc::clone(&wanted),
                catch_up: connector.catch_up,
                subscription: connector.subscription,
                metrics: self.metrics.clone(),
            };
            self.tasks.spawn(errands::run(runner, self.stop.clone()));
        }
        self.tasks.close();
    }

    fn spawn_auditor(&self, config: &Config) {
        let (Some(settings), Some(health)) = (&config.audit, &self.audit) else { return };
        let auditor = Auditor {
            store: Arc::clone(&self.store),
            settings: settings.clone(),
            health: health.clone(),
            clock: Arc::clone(&self.clock),
            metrics: self.metrics.clone(),
        };
        self.tasks.spawn(audit::run(auditor, self.stop.clone()));
    }

    /// Notices a silence in which events were lost.
    fn watch(&self, patience: &BTreeMap<String, Duration>) {
        let vigil = Vigil {
            sources: patience.iter().map(|(source, patience)| (source.clone(), *patience)).collect(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        };
        self.tasks.spawn(vigil::keep(vigil, self.stop.clone()));
    }

    fn connect_feeds(&self, config: &Config, replica: &str) -> Result<Vec<Feed>, ConnectError> {
        let context = feed::Context {
            store: Arc::clone(&self.store),
            accepted: Arc::clone(&self.accepted),
            clock: Arc::clone(&self.clock),
            replica: replica.to_owned(),
            metrics: self.metrics.clone(),
        };
        let feeds = config.feeds.values();
        feeds.map(|settings| Feed::connect(settings.clone(), context.clone())).collect()
    }

    /// Ends what is in flight, records it, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

async fn open_store(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    match config {
        StoreConfig::Sqlite { path } => Ok(Arc::new(SqliteStore::open(path, Options::default())?)),
        StoreConfig::Postgres { address, options } => {
            Ok(Arc::new(PostgresStore::open(address, options).await?))
        }
    }
}

/// Names this process among all that ever held a target; the machine's name is for people.
fn replica_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine: String = machine.trim().chars().take(MACHINE_NAME_MAX).collect();
    format!("{}/{}", if machine.is_empty() { "relay" } else { &machine }, uuid::Uuid::now_v7())
}

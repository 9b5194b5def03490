//! The relay without its HTTP server: store, sources, projector, and one dispatcher per target.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::settings;
use crate::clock::{Clock, SharedClock};
use crate::config::{Config, StoreConfig};
use crate::source::{SettingsError, Sources};
use crate::store::sqlite::{Options, SqliteStore};
use crate::store::{Store, StoreError};
use crate::sync::handle::{Handle, Handles};
use crate::sync::projector::{self, Projector};
use crate::target::{ConnectError, Target};
use crate::telemetry::metrics::Metrics;

/// Everything that works behind the HTTP server.
pub struct Engine {
    /// Durable memory.
    pub store: Arc<dyn Store>,
    /// The configured sources.
    pub sources: Arc<Sources>,
    /// The dispatchers, by target.
    pub targets: Handles,
    /// Told after each accepted event.
    pub accepted: Arc<Notify>,
    /// The wall time.
    pub clock: SharedClock,
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
        let store = open_store(&config.store)?;
        let sources = Arc::new(Sources::open(config.sources.values().cloned())?);
        let names: Vec<String> = config.targets.keys().cloned().collect();
        store.retire_all_but(&names).await?;
        let mut targets = Handles::new();
        let holder = holder();
        for (name, target) in &config.targets {
            store.enrol(name, &target.directory, clock.now()).await?;
            let sync = settings::sync(target);
            let connected = Target::connect(target.connection.clone(), Arc::clone(&clock), &metrics)?;
            let handle = Handle::prepare(
                sync,
                Arc::clone(&store),
                connected,
                &holder,
                Arc::clone(&clock),
                metrics.clone(),
            );
            targets.insert(name.clone(), handle.await?);
        }
        let engine = Self {
            store,
            sources,
            targets,
            accepted: Arc::new(Notify::new()),
            clock,
            metrics,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        engine.spawn();
        Ok(engine)
    }

    fn spawn(&self) {
        let reader: Arc<Sources> = Arc::clone(&self.sources);
        let projector = Projector {
            store: Arc::clone(&self.store),
            reader,
            accepted: Arc::clone(&self.accepted),
            targets: self.targets.clone(),
            poll_interval: settings::POLL_INTERVAL,
        };
        self.tasks.spawn(projector::run(projector, self.stop.clone()));
        for handle in self.targets.values() {
            self.tasks.spawn(handle.clone().run(self.stop.clone()));
        }
        self.tasks.close();
    }

    /// Ends what is in flight, records it, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

fn open_store(config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    match config {
        StoreConfig::Sqlite { path } => Ok(Arc::new(SqliteStore::open(path, Options::default())?)),
    }
}

/// Names this process among those that ever held a target.
fn holder() -> String {
    format!("{}-{}", std::process::id(), uuid::Uuid::now_v7())
}

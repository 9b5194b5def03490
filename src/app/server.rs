//! The whole relay: the engine, and the HTTP server in front of it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::engine::{Engine, StartError};
use crate::clock::Clock;
use crate::config::Config;
use crate::http::admin::Keys;
use crate::http::expiry;
use crate::http::intake::IntakeLimits;
use crate::http::rhythm::Rhythms;
use crate::http::targets::TargetControl;
use crate::http::{Relay, router, router_on_one_listener, serve};
use crate::telemetry::metrics::Metrics;

/// Events that are looked at when the relay starts.
const RECALLED_MAX: usize = 1000;

/// A relay that runs until it is shut down.
pub struct Running {
    engine: Engine,
    public: SocketAddr,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    servers: JoinSet<()>,
}

/// Starts everything; it listens when this returns.
pub async fn start(config: &Config, clock: Arc<dyn Clock>, metrics: Metrics) -> Result<Running, StartError> {
    // Ports first: one that is taken is the commonest mistake, and nothing has begun yet.
    let public = bind(config.server.listen).await?;
    let admin = match config.server.admin_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let engine = Engine::start(config, clock, metrics).await?;
    let relay = relay(config, &engine);
    recall(&relay).await;
    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    let (expiries, notice) = (config.alarms.expiries.clone(), config.alarms.secret_notice);
    servers.spawn(expiry::remind(expiries, notice, Arc::clone(&engine.clock), stop.clone()));
    let public_address = local_address(&public)?;
    let admin_address = admin.as_ref().map(local_address).transpose()?;
    match admin {
        Some(admin) => {
            let (for_senders, for_administrators) = router(&relay);
            servers.spawn(serve(public, for_senders, stop.clone().cancelled_owned()));
            servers.spawn(serve(admin, for_administrators, stop.clone().cancelled_owned()));
        }
        None => {
            servers.spawn(serve(public, router_on_one_listener(&relay), stop.clone().cancelled_owned()));
        }
    }
    Ok(Running { engine, public: public_address, admin: admin_address, stop, servers })
}

impl Running {
    /// Where webhooks are taken.
    pub const fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where the admin API is, when it has an address of its own.
    pub const fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// What works behind the server.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Stops taking, ends what is in flight, records it, and closes the store.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
        self.engine.stop().await;
    }
}

fn relay(config: &Config, engine: &Engine) -> Relay {
    let targets = engine.targets.iter().map(|(name, handle)| {
        let control: Arc<dyn TargetControl> = Arc::new(handle.clone());
        (name.clone(), control)
    });
    Relay {
        sources: Arc::clone(&engine.sources),
        limits: Arc::new(IntakeLimits::new(&engine.sources)),
        store: Arc::clone(&engine.store),
        clock: Arc::clone(&engine.clock),
        metrics: engine.metrics.clone(),
        targets: Arc::new(targets.collect()),
        appended: Arc::clone(&engine.accepted),
        keys: Arc::new(Keys::new(config.admin.keys.clone())),
        alarms: Arc::new(config.alarms.clone()),
        rhythms: Arc::new(Rhythms::new(&engine.sources, &config.alarms.silent_after, engine.clock.now())),
        audit: engine.audit.clone(),
    }
}

/// Takes what came before this process began into account for what is usual. Without it the relay
/// learns anew.
async fn recall(relay: &Relay) {
    match relay.store.events(None, RECALLED_MAX).await {
        Ok(page) => {
            for event in page.items.iter().rev() {
                relay.rhythms.heard(&event.source, event.received_at);
            }
        }
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "failed to read when sources were heard");
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|source| StartError::Listen { address: SocketAddr::from(([0, 0, 0, 0], 0)), source })
}

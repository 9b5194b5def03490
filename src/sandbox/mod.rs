//! A SCIM 2.0 vendor in a box, for demo, development and tests.
//!
//! It speaks real HTTP and keeps its directory in memory; nobody but its own handlers touches that
//! directory. By default it is strict by RFC 7643 and RFC 7644. [`Behaviour`] gives it a vendor's
//! habits, [`Fault`]s let it fail as vendors fail, and [`/_sandbox/`](introspection) shows what it saw.
//!
//! A request goes through `exchange` (log, limit, faults, authorisation) to `service`, which finds
//! its handler in `resources`, `query`, `bulk` or `discovery`.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use scim_relay::sandbox::{self, Fault, Settings};
//!
//! let faults = vec![Fault::parse("503:every=10").expect("a known fault")];
//! let vendor = sandbox::start(Settings { faults, ..Settings::default() }).await?;
//! println!("{}", vendor.base_url());
//! vendor.shutdown().await;
//! # Ok(())
//! # }
//! ```

pub mod endpoint;
pub mod fault;
pub mod settings;

mod answer;
mod body;
mod bulk;
mod conditions;
mod connection;
mod discovery;
mod edit;
mod exchange;
mod faults;
mod habits;
pub mod introspection;
mod limit;
mod log;
mod member_patch;
mod members;
mod query;
pub mod quirks;
mod record;
mod resources;
mod selection;
mod service;
mod state;
mod table;
mod token;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use edit::CONSOLE_USER;
pub use fault::{Fault, FaultError};
pub use settings::{Behaviour, Settings};

use connection::{CuttableListener, Switch};
use faults::FaultDesk;
use limit::Bucket;
use log::RequestLog;
use state::State;
use token::Tokens;

/// How long requests under way may take to end once the sandbox is told to stop.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

/// Starts a sandbox. It listens when this returns.
pub async fn start(settings: Settings) -> io::Result<Running> {
    let listener = TcpListener::bind(settings.listen).await?;
    let addr = listener.local_addr()?;
    let base_url = format!("http://{addr}{}", settings.behaviour.base_path);
    let stop = CancellationToken::new();
    let sandbox = Arc::new(Sandbox::new(settings, base_url.clone(), stop.clone()));
    let app = Router::new()
        .nest("/_sandbox", introspection::routes())
        .fallback(exchange::exchange)
        .with_state(sandbox)
        .into_make_service_with_connect_info::<Switch>();
    let server =
        axum::serve(CuttableListener(listener), app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let task = tokio::spawn(async move { server.await });
    Ok(Running { addr, base_url, stop: stop.drop_guard(), task })
}

/// A sandbox that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    base_url: String,
    stop: DropGuard,
    task: JoinHandle<io::Result<()>>,
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the SCIM service is: `http://ADDR` and the base path, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Stops: takes no more connections, ends what is under way, hanging requests included.
    pub async fn shutdown(self) {
        let Self { stop, mut task, .. } = self;
        drop(stop);
        if tokio::time::timeout(SHUTDOWN_MAX, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Everything that requests share.
#[derive(Debug)]
struct Sandbox {
    behaviour: Behaviour,
    body_bytes_max: usize,
    log: Arc<RequestLog>,
    state: Mutex<State>,
    faults: Mutex<FaultDesk>,
    bucket: Mutex<Option<Bucket>>,
    tokens: Mutex<Tokens>,
    latency: Mutex<Duration>,
    stop: CancellationToken,
}

impl Sandbox {
    fn new(settings: Settings, base_url: String, stop: CancellationToken) -> Self {
        let mut state = State::new(settings.seed, base_url);
        for name in settings.groups {
            let attributes = serde_json::Map::from_iter([("displayName".to_owned(), name.into())]);
            state.insert(&settings.behaviour, endpoint::Kind::Group, attributes);
        }
        Self {
            body_bytes_max: settings.body_bytes_max,
            log: RequestLog::new(settings.log_entries_max),
            state: Mutex::new(state),
            faults: Mutex::new(FaultDesk::new(settings.faults, settings.seed)),
            bucket: Mutex::new(settings.behaviour.rate.clone().map(Bucket::new)),
            tokens: Mutex::default(),
            latency: Mutex::new(settings.latency),
            behaviour: settings.behaviour,
            stop,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn faults(&self) -> MutexGuard<'_, FaultDesk> {
        lock(&self.faults)
    }

    fn bucket(&self) -> MutexGuard<'_, Option<Bucket>> {
        lock(&self.bucket)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        lock(&self.tokens)
    }

    fn latency(&self) -> Duration {
        *lock(&self.latency)
    }

    fn set_latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
    }

    /// Waits, but not past the end of the sandbox.
    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// A handler that panicked has left whole values behind: state changes last, after all checks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The server: webhooks in, health and metrics out, what administrators ask and do, and the page for it.
//!
//! [`router`](router::router) holds every route on one screen; each endpoint is a file with its
//! answer, its description for the OpenAPI document, and its handler. Every error is a
//! [`Problem`]. [`serve`] runs a router on a listener, with limits on what a connection may cost.

pub mod admin;
pub mod alarms;
mod body;
pub mod console;
pub mod expiry;
mod health;
pub mod intake;
mod metrics;
pub mod openapi;
mod problem;
pub mod rhythm;
mod router;
mod server;
pub mod targets;
mod webhooks;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::Notify;

pub use problem::Problem;
pub use router::{router, router_on_one_listener};
pub use server::serve;

use crate::clock::SharedClock;
use crate::source::Sources;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use admin::Keys;
use alarms::Alarms;
use intake::IntakeLimits;
use rhythm::Rhythms;
use targets::Targets;

/// What the endpoints know of the relay. Cheap to clone.
#[derive(Clone)]
pub struct Relay {
    /// Who may send webhooks.
    pub sources: Arc<Sources>,
    /// How often.
    pub limits: Arc<IntakeLimits>,
    /// Where events go, and where questions are answered.
    pub store: Arc<dyn Store>,
    /// The time of receipt, and what signatures are held against.
    pub clock: SharedClock,
    /// What is counted and exposed.
    pub metrics: Metrics,
    /// The targets that run in this process.
    pub targets: Targets,
    /// Told after each event that was appended; who merges events waits for it.
    pub appended: Arc<Notify>,
    /// Who may use the admin API.
    pub keys: Arc<Keys>,
    /// What somebody should know of.
    pub alarms: Arc<Alarms>,
    /// When each source was heard.
    pub rhythms: Arc<Rhythms>,
    /// Whether the audit file is written; absent where none is wanted.
    pub audit: Option<crate::audit::Health>,
}

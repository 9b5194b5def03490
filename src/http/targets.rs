//! The configured targets, as the admin API reaches them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::directory::ResourceKey;
use crate::store::{StoreError, TargetState};
use crate::sync::foresee::Foresight;

/// The configured targets, by name.
pub type Targets = Arc<BTreeMap<String, Arc<dyn TargetControl>>>;

/// One configured target. Each replica answers for it, whichever dispatches it.
#[async_trait]
pub trait TargetControl: Send + Sync {
    /// How it is: now where it is dispatched, elsewhere as the store knows it.
    async fn snapshot(&self) -> Result<TargetSnapshot, StoreError>;

    /// Stops sending until it is resumed, across restarts. `by` names the administrator's key.
    async fn pause(&self, by: &str) -> Result<(), StoreError>;

    /// Sends again, after a pause or a suspension.
    async fn resume(&self, by: &str) -> Result<(), StoreError>;

    /// What would be sent for a resource now, told and not sent; `None` where the target follows no directory
    /// yet.
    async fn foresee(&self, key: &ResourceKey) -> Result<Option<Foresight>, StoreError>;

    /// Makes it look for work at once.
    fn wake(&self);

    /// Has it ask the vendor what it says of itself; `false` where another replica dispatches it.
    fn discover(&self) -> bool;
}

/// How a target is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSnapshot {
    /// Running, paused or suspended, and why.
    pub state: TargetState,
    /// Whether the replica that answers dispatches it.
    pub held: bool,
    /// The replica that dispatches it, as far as is known.
    pub holder: Option<String>,
    /// Rows of work that are claimed here and not yet committed.
    pub in_flight: u64,
    /// The limits in force.
    pub limits: Value,
    /// The circuit breaker.
    pub breaker: Value,
    /// Whether several operations go in one request, and how many; else why not, and until when.
    pub bulk: Value,
    /// What the vendor's server says that it can do (`discovered`, null before it was read), where that
    /// differs from its profile, and what the relay does then (`differences`).
    pub capabilities: Value,
}

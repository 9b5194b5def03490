//! The running targets, as the admin API reaches them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::store::{StoreError, TargetState};

/// The targets that run in this process, by name.
pub type Targets = Arc<BTreeMap<String, Arc<dyn TargetControl>>>;

/// One running target.
#[async_trait]
pub trait TargetControl: Send + Sync {
    /// How it is, now.
    fn snapshot(&self) -> TargetSnapshot;

    /// Stops sending until it is resumed, across restarts. `by` names the administrator's key.
    async fn pause(&self, by: &str) -> Result<(), StoreError>;

    /// Sends again, after a pause or a suspension.
    async fn resume(&self, by: &str) -> Result<(), StoreError>;

    /// Makes it look for work at once.
    fn wake(&self);
}

/// How a target is at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetSnapshot {
    /// Running, paused or suspended, and why.
    pub state: TargetState,
    /// Rows of work that are claimed and not yet committed.
    pub in_flight: u64,
    /// The limits in force.
    pub limits: Value,
    /// The circuit breaker.
    pub breaker: Value,
    /// What the vendor's server says that it can do.
    pub capabilities: Value,
}

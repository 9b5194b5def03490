//! What is shared about one running target: by its steps, its dispatcher, and whoever asks from outside.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize as _;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::store::{Store, StoreError, TargetState, Tenure};
use crate::sync::policy::Policy;
use crate::sync::{Settings, dispatcher};
use crate::target::Target;
use crate::target::layers::breaker::BreakerSnapshot;
use crate::telemetry::chain;
use crate::telemetry::metrics::{Metrics, TargetLabels};

/// What is kept of a target over a restart, by name.
pub(super) const BREAKER: &str = "breaker";
pub(super) const MEMBERS_PER_REQUEST: &str = "members_per_request";

/// What the steps of one target share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Arc<dyn Store>,
    pub(super) target: Target,
    pub(super) tenure: Tenure,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) wake: Notify,
    state: Mutex<TargetState>,
    pub(super) in_flight: AtomicU64,
    /// Smaller than the configured number once the vendor has refused it.
    pub(super) members_per_request: AtomicUsize,
    /// What is kept of the target over a restart, as stored.
    memory: Mutex<Map<String, Value>>,
}

/// Reaches a running dispatcher from outside.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Shared {
    /// The configured policy, with what was learned since.
    pub(super) fn policy(&self) -> Policy {
        let learned = self.members_per_request.load(Ordering::Relaxed);
        Policy { members_per_request: learned, ..self.settings.policy.clone() }
    }

    pub(super) fn count_conflict(&self) {
        self.metrics.conflicts.get_or_create(&TargetLabels { target: self.settings.target.clone() }).inc();
    }

    pub(super) fn state(&self) -> TargetState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps something of the target over a restart.
    pub(super) async fn remember(&self, what: &str, value: Value) {
        let memory = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.insert(what.to_owned(), value);
            Value::Object(memory.clone())
        };
        if let Err(error) = self.store.set_target_memory(&self.settings.target, &memory).await {
            tracing::error!(target_name = self.settings.target, what, error = %chain(&error), "failed to keep what was learned");
        }
    }

    pub(super) async fn set_state(&self, state: TargetState) -> Result<(), StoreError> {
        self.store.set_target_state(&self.settings.target, &state).await?;
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.wake.notify_one();
        Ok(())
    }
}

impl Handle {
    /// Prepares a target: becomes its one dispatcher and reads what was stored of it.
    pub async fn prepare(
        settings: Settings,
        store: Arc<dyn Store>,
        target: Target,
        holder: &str,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let taken = store.take(&settings.target, holder, std::time::Duration::from_hours(1)).await?;
        let tenure = taken.ok_or_else(|| StoreError::Deposed { target: settings.target.clone() })?;
        let record = store.target(&settings.target).await?;
        let memory =
            record.as_ref().and_then(|record| record.memory.as_object()).cloned().unwrap_or_default();
        if let Some(known) = memory.get(BREAKER).and_then(|known| BreakerSnapshot::deserialize(known).ok()) {
            target.health().breaker.restore(known);
        }
        let learned = memory.get(MEMBERS_PER_REQUEST).and_then(|learned| learned.get("value")?.as_u64());
        let members_max = settings.policy.members_per_request.max(1);
        let learned = learned
            .and_then(|learned| usize::try_from(learned).ok())
            .map_or(members_max, |l| l.min(members_max));
        Ok(Self(Arc::new(Shared {
            state: Mutex::new(record.map_or(TargetState::Running, |record| record.state)),
            members_per_request: AtomicUsize::new(learned.max(1)),
            memory: Mutex::new(memory),
            settings,
            store,
            target,
            tenure,
            clock,
            metrics,
            wake: Notify::new(),
            in_flight: AtomicU64::new(0),
        })))
    }

    /// Name of the target.
    pub fn name(&self) -> &str {
        &self.0.settings.target
    }

    /// Says that there may be work.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Whether the target is worked on, and why not.
    pub fn state(&self) -> TargetState {
        self.0.state()
    }

    /// Resources being worked on, from the first step until their outcome is recorded. Their rows
    /// still count as pending in the store.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// The vendor's API, for its health and limits.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// Most members in one PATCH, as configured or learned.
    pub fn members_per_request(&self) -> usize {
        self.0.members_per_request.load(Ordering::Relaxed)
    }

    /// Stops sending until [`resume`](Self::resume); what is in flight ends.
    pub async fn pause(&self, by: &str) -> Result<(), StoreError> {
        self.0.set_state(TargetState::Paused { by: by.to_owned(), since: self.0.clock.now() }).await
    }

    /// Ends a pause or a suspension.
    pub async fn resume(&self, _by: &str) -> Result<(), StoreError> {
        self.0.set_state(TargetState::Running).await
    }

    /// Dispatches until `stop`, then ends what is in flight and records it.
    pub async fn run(self, stop: CancellationToken) {
        dispatcher::run(self.0, stop).await;
    }
}

/// Dispatchers by target.
pub type Handles = BTreeMap<String, Handle>;

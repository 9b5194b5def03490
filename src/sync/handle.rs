//! A configured target, as the rest of the relay reaches it on every replica.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::directory::ResourceKey;
use crate::store::{Store, StoreError, TargetRecord, TargetState, Tenure};
use crate::sync::Settings;
use crate::sync::bulk::standing::{BulkReport, BulkState};
use crate::sync::discovery::{self, DISCOVERY, Discovery};
use crate::sync::foresee::{Foresight, foresee};
use crate::sync::leases::lease::Lease;
use crate::sync::memory::{self, Recollection};
use crate::sync::run::{self, End};
use crate::sync::shared::Shared;
use crate::target::Target;
use crate::telemetry::metrics::Metrics;

/// One configured target. It lives as long as the process, and is dispatched while this replica
/// holds it.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

/// Configured targets by name.
pub type Handles = BTreeMap<String, Handle>;

impl Handle {
    /// A target that nobody dispatches yet.
    pub fn new(
        settings: Settings,
        store: Arc<dyn Store>,
        target: Target,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        let shared = Shared::new(settings, store, target, clock, metrics);
        shared.metrics.target_held.get_or_create(&shared.labels()).set(0);
        Self(Arc::new(shared))
    }

    /// Name of the target.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// What would be sent for a resource now; `None` where the target follows no directory yet. Nothing is.
    pub async fn foresee(&self, key: &ResourceKey) -> Result<Option<Foresight>, StoreError> {
        let policy = self.0.policy();
        let rows = policy.members_per_request;
        let dossier = self.0.store.dossier(self.name(), key, rows).await?;
        Ok(dossier.map(|dossier| foresee(dossier, &policy, self.0.target.profile())))
    }

    /// Says that there may be work.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Says that another replica has set the target's state.
    pub fn state_set(&self) {
        self.0.state_set.notify_one();
    }

    /// Whether this replica dispatches the target.
    pub fn is_held(&self) -> bool {
        self.0.is_held()
    }

    /// The replica that dispatches the target, as far as is known here.
    pub fn holder(&self) -> Option<String> {
        self.0.holding().holder.clone()
    }

    /// Notes who dispatches the target.
    pub fn note_holder(&self, holder: Option<String>) {
        self.0.holding().holder = holder;
    }

    /// Whether the target is worked on, and why not; true only where it is held.
    pub fn state(&self) -> TargetState {
        self.0.state()
    }

    /// The target as stored; of use where it is not held.
    pub async fn record(&self) -> Result<Option<TargetRecord>, StoreError> {
        self.0.store.target(self.name()).await
    }

    /// What a stored target's holder has kept of it.
    pub fn recollection(&self, record: &TargetRecord) -> Recollection {
        memory::recollect(&self.0.settings, &record.memory)
    }

    /// Whether several operations go in one request, as known here; true where the target is held.
    pub fn bulk(&self) -> BulkReport {
        self.0.bulk.report(self.0.clock.now())
    }

    /// The same by what a stored target's holder has kept of it.
    pub fn recollected_bulk(&self, record: &TargetRecord) -> BulkReport {
        let kept = BulkState::new(self.0.settings.bulk, &self.0.target.profile().bulk);
        kept.take_up(&record.memory);
        kept.report(self.0.clock.now())
    }

    /// Resources being worked on here, from the first step until their outcome is recorded. Their
    /// rows still count as pending in the store.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// The vendor's API, for its health and limits; both are true only where the target is held.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// What the vendor said of itself, as far as this replica knows; true where the target is held.
    pub async fn discovery(&self) -> Option<Discovery> {
        discovery::recollect(&self.0.recall(DISCOVERY).await)
    }

    /// Has the vendor asked again what it says of itself, as soon as it may be called. Only who
    /// dispatches the target may call it: `false` where that is not here.
    pub fn discover(&self) -> bool {
        let held = self.is_held();
        if held {
            self.0.discover.notify_one();
        }
        held
    }

    /// Most members in one PATCH, as configured or learned.
    pub fn members_per_request(&self) -> usize {
        self.0.members_per_request.load(Ordering::Relaxed)
    }

    /// Stops sending until [`resume`](Self::resume); what is in flight ends. Whichever replica
    /// dispatches the target learns of it in a moment.
    pub async fn pause(&self, by: &str) -> Result<(), StoreError> {
        let state = TargetState::Paused { by: by.to_owned(), since: self.0.clock.now() };
        self.0.order_state(state, by).await
    }

    /// Ends a pause or a suspension; the next call goes out whatever failed before.
    pub async fn resume(&self, by: &str) -> Result<(), StoreError> {
        self.0.reset_breaker();
        self.0.order_state(TargetState::Running, by).await
    }

    /// Dispatches while the lease lasts. At `stop`, ends what is in flight, records it, and hands the
    /// target back.
    pub async fn run(self, tenure: Tenure, lease: Lease, stop: CancellationToken) -> End {
        run::run(self.0, tenure, lease, stop).await
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

//! What is shared about one configured target: by whoever dispatches it, and whoever asks from outside.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::clock::SharedClock;
use crate::store::{Store, StoreError, TargetState};
use crate::sync::Settings;
use crate::sync::bulk::standing::{BulkState, Standing};
use crate::sync::large_groups::LargeGroups;
use crate::sync::leases::lease::Lease;
use crate::sync::policy::Policy;
use crate::target::Target;
use crate::target::layers::breaker::BreakerState;
use crate::telemetry::metrics::{Metrics, TargetLabels};

/// A configured target, whether it is dispatched here or not.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) store: Arc<dyn Store>,
    pub(super) target: Target,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    /// There may be work.
    pub(super) wake: Notify,
    /// Somebody wants to know what the vendor says of itself.
    pub(super) discover: Notify,
    /// Somebody else has set the target's state.
    pub(super) state_set: Notify,
    /// Resources being worked on here.
    pub(super) in_flight: AtomicU64,
    /// Smaller than the configured number once the vendor has refused it.
    pub(super) members_per_request: AtomicUsize,
    pub(super) bulk: BulkState,
    pub(super) large_groups: LargeGroups,
    state: Mutex<TargetState>,
    /// Held while the stored state is read or written, so that what is known here never goes back to
    /// what was read before a write.
    state_turn: tokio::sync::Mutex<()>,
    /// What is kept of the target over a restart, as stored; held while it is written.
    memory: tokio::sync::Mutex<Map<String, Value>>,
    holding: Mutex<Holding>,
}

/// Who dispatches the target.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    /// The replica, as the last roster said.
    pub(super) holder: Option<String>,
    /// This replica's lease.
    pub(super) lease: Option<Lease>,
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        store: Arc<dyn Store>,
        target: Target,
        clock: SharedClock,
        metrics: Metrics,
    ) -> Self {
        Self {
            members_per_request: AtomicUsize::new(settings.policy.members_per_request.max(1)),
            bulk: BulkState::new(settings.bulk, &target.profile().bulk),
            large_groups: LargeGroups::default(),
            settings,
            store,
            target,
            clock,
            metrics,
            wake: Notify::new(),
            discover: Notify::new(),
            state_set: Notify::new(),
            in_flight: AtomicU64::new(0),
            state: Mutex::new(TargetState::Running),
            state_turn: tokio::sync::Mutex::default(),
            memory: tokio::sync::Mutex::default(),
            holding: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.settings.target
    }

    pub(super) fn labels(&self) -> TargetLabels {
        TargetLabels { target: self.settings.target.clone() }
    }

    /// The configured policy, with what was learned since.
    pub(super) fn policy(&self) -> Policy {
        let learned = self.members_per_request.load(Ordering::Relaxed);
        Policy {
            members_per_request: learned,
            member_references: self.takes_references(),
            ..self.settings.policy.clone()
        }
    }

    /// Whether members can be named by the operations that create them, at present.
    pub(super) fn takes_references(&self) -> bool {
        self.settings.policy.member_references
            && matches!(self.bulk.standing(self.clock.now()), Standing::On(_))
    }

    pub(super) fn count_conflict(&self) {
        self.metrics.conflicts.get_or_create(&self.labels()).inc();
    }

    pub(super) fn holding(&self) -> MutexGuard<'_, Holding> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the target is dispatched here.
    pub(super) fn is_held(&self) -> bool {
        self.holding().lease.as_ref().is_some_and(Lease::lasts)
    }

    /// The state as last read or written here; true of the target only while it is held.
    pub(super) fn state(&self) -> TargetState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn note_state(&self, state: TargetState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.wake.notify_one();
    }

    /// Stores what a person wants.
    pub(super) async fn order_state(&self, state: TargetState, by: &str) -> Result<(), StoreError> {
        let _turn = self.state_turn.lock().await;
        self.store.order_target_state(self.name(), &state, by, self.clock.now()).await?;
        self.note_state(state);
        Ok(())
    }

    /// Stores what the dispatcher has found out, unless a person has paused the target meanwhile, by
    /// way of another replica perhaps.
    pub(super) async fn report_state(&self, state: TargetState) -> Result<(), StoreError> {
        let _turn = self.state_turn.lock().await;
        if let Some(record) = self.store.target(self.name()).await?
            && matches!(record.state, TargetState::Paused { .. })
        {
            self.note_state(record.state);
            return Ok(());
        }
        self.store.set_target_state(self.name(), &state).await?;
        self.note_state(state);
        Ok(())
    }

    /// Takes in the state that another replica may have stored; `told` when one is said to have. A
    /// target that was resumed gets its chance at once.
    pub(super) async fn reread_state(&self, told: bool) -> Result<(), StoreError> {
        let _turn = self.state_turn.lock().await;
        let Some(record) = self.store.target(self.name()).await? else { return Ok(()) };
        let changed = record.state != self.state();
        if record.state == TargetState::Running && (changed || told) {
            self.reset_breaker();
        }
        if changed {
            tracing::info!(target_name = self.name(), state = ?record.state, "the target's state was set elsewhere");
            self.note_state(record.state);
        }
        Ok(())
    }

    /// Lets the next call through, however the last ones ended.
    pub(super) fn reset_breaker(&self) {
        let breaker = &self.target.health().breaker;
        if breaker.snapshot().state != BreakerState::Closed {
            breaker.reset();
        }
    }

    /// Takes up what was kept of the target.
    pub(super) async fn take_up_memory(&self, memory: Map<String, Value>) {
        *self.memory.lock().await = memory;
    }

    /// What is kept under this name; null where there is nothing.
    pub(super) async fn recall(&self, what: &str) -> Value {
        self.memory.lock().await.get(what).cloned().unwrap_or_default()
    }

    /// Keeps something of the target over a restart.
    pub(super) async fn remember<const N: usize>(
        &self,
        news: [(&'static str, Value); N],
    ) -> Result<(), StoreError> {
        let mut memory = self.memory.lock().await;
        memory.extend(news.map(|(what, value)| (what.to_owned(), value)));
        self.store.set_target_memory(self.name(), &Value::Object(memory.clone())).await
    }
}

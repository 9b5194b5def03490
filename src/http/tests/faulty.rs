//! The real store behind a switch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::broadcast;

use crate::clock::Timestamp;
use crate::directory::{DirectoryName, ExternalId, Kind, ResourceKey, User};
use crate::store::guard::{Admission, Decided, Decision, Destruction, Guard, Hold, HoldFilter, HoldItem};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Appended, Committed, Cursor, Dossier, Errand, EventReader, EventRecord, EventSummary, Happening, Hint,
    Intent, ItemId, Lane, LedgerFilter, LedgerRecord, NewEvent, Order, Outcome, Page, ParkedItem, Present,
    Projection, Pruned, Retention, Roster, Settled, Status, Store, StoreError, TargetRecord, TargetState,
    Tenure, Topic, WaitingItem, WorkItem,
};

/// What the store does with what the server asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    Busy,
    Down,
    Silent,
}

pub struct FaultyStore {
    pub inner: SqliteStore,
    pub mood: Mutex<Mood>,
}

impl FaultyStore {
    async fn check(&self) -> Result<(), StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(()),
            Mood::Busy => Err(StoreError::Busy),
            Mood::Down => Err(StoreError::Unavailable { source: "disk on fire at /secret/path".into() }),
            Mood::Silent => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn feeds(&self) -> &dyn crate::store::Feeds {
        self.inner.feeds()
    }
    async fn append(&self, event: NewEvent) -> Result<Appended, StoreError> {
        self.check().await?;
        self.inner.append(event).await
    }
    async fn status(&self) -> Result<Status, StoreError> {
        self.check().await?;
        self.inner.status().await
    }
    async fn parked(
        &self,
        t: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ParkedItem>, StoreError> {
        self.check().await?;
        self.inner.parked(t, after, limit).await
    }
    async fn waiting(
        &self,
        t: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<WaitingItem>, StoreError> {
        self.check().await?;
        self.inner.waiting(t, after, limit).await
    }
    async fn admit(
        &self,
        tenure: &Tenure,
        changes: &[Destruction],
        guard: &Guard,
        now: Timestamp,
    ) -> Result<Vec<Admission>, StoreError> {
        self.inner.admit(tenure, changes, guard, now).await
    }
    async fn users(
        &self,
        target: &str,
        ids: &BTreeSet<ExternalId>,
    ) -> Result<BTreeMap<ExternalId, User>, StoreError> {
        self.inner.users(target, ids).await
    }
    async fn holds(
        &self,
        filter: &HoldFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Hold>, StoreError> {
        self.check().await?;
        self.inner.holds(filter, now, after, limit).await
    }
    async fn hold(&self, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError> {
        self.check().await?;
        self.inner.hold(id, now).await
    }
    async fn hold_items(
        &self,
        hold: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<HoldItem>, StoreError> {
        self.check().await?;
        self.inner.hold_items(hold, after, limit).await
    }
    async fn decide(&self, decision: &Decision, now: Timestamp) -> Result<Option<Decided>, StoreError> {
        self.check().await?;
        self.inner.decide(decision, now).await
    }
    async fn retry_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.check().await?;
        self.inner.retry_parked(target, id, actor, now).await
    }
    async fn discard_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.check().await?;
        self.inner.discard_parked(target, id, actor, now).await
    }
    async fn events(&self, after: Option<&str>, limit: usize) -> Result<Page<EventSummary>, StoreError> {
        self.check().await?;
        self.inner.events(after, limit).await
    }
    async fn event(&self, id: &str) -> Result<Option<EventRecord>, StoreError> {
        self.check().await?;
        self.inner.event(id).await
    }
    async fn ledger(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<LedgerRecord>, StoreError> {
        self.check().await?;
        self.inner.ledger(filter, after, limit).await
    }
    async fn dossier(&self, t: &str, key: &ResourceKey, n: usize) -> Result<Option<Dossier>, StoreError> {
        self.check().await?;
        self.inner.dossier(t, key, n).await
    }
    async fn ledger_past(
        &self,
        told: &BTreeMap<String, u64>,
        limit: usize,
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        self.check().await?;
        self.inner.ledger_past(told, limit).await
    }
    async fn timeline(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
        order: Order,
        after: Cursor,
        limit: usize,
    ) -> Result<Page<Happening>, StoreError> {
        self.check().await?;
        self.inner.timeline(directory, key, order, after, limit).await
    }
    async fn present(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
    ) -> Result<Option<Present>, StoreError> {
        self.check().await?;
        self.inner.present(directory, key).await
    }
    async fn expedite(
        &self,
        target: &str,
        key: &ResourceKey,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.check().await?;
        self.inner.expedite(target, key, actor, now).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.ping().await
    }

    // What the server never asks.

    async fn project(&self, reader: &dyn EventReader, limit: usize) -> Result<Projection, StoreError> {
        self.inner.project(reader, limit).await
    }
    async fn want(&self, source: &str, topic: &Topic, due: Timestamp) -> Result<(), StoreError> {
        self.inner.want(source, topic, due).await
    }
    async fn want_known(
        &self,
        source: &str,
        directory: &str,
        kind: Kind,
        prefix: &str,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.want_known(source, directory, kind, prefix, due).await
    }
    async fn take_errands(
        &self,
        source: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        self.inner.take_errands(source, now, until, limit).await
    }
    async fn settle_errand(&self, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
        self.inner.settle_errand(errand, settled).await
    }
    async fn source_memory(&self, source: &str, part: &str) -> Result<Option<serde_json::Value>, StoreError> {
        self.check().await?;
        self.inner.source_memory(source, part).await
    }
    async fn set_source_memory(
        &self,
        source: &str,
        part: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.check().await?;
        self.inner.set_source_memory(source, part, value).await
    }
    async fn enrol(&self, t: &str, directory: &DirectoryName, now: Timestamp) -> Result<(), StoreError> {
        self.inner.enrol(t, directory, now).await
    }
    async fn backfill(&self, target: &str, now: Timestamp) -> Result<(), StoreError> {
        self.inner.backfill(target, now).await
    }
    async fn retire_all_but(&self, targets: &[String]) -> Result<(), StoreError> {
        self.inner.retire_all_but(targets).await
    }
    async fn attend(&self, replica: &str, term: Duration) -> Result<Roster, StoreError> {
        self.inner.attend(replica, term).await
    }
    async fn take(&self, target: &str, replica: &str, term: Duration) -> Result<Option<Tenure>, StoreError> {
        self.inner.take(target, replica, term).await
    }
    async fn release(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.inner.release(tenure).await
    }
    async fn leave(&self, replica: &str) -> Result<(), StoreError> {
        self.inner.leave(replica).await
    }
    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.inner.hints()
    }
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.inner.time().await
    }
    fn resyncs(&self) -> &dyn crate::store::Resyncs {
        self.inner.resyncs()
    }
    async fn prune(&self, keep: &Retention, now: Timestamp, limit: usize) -> Result<Pruned, StoreError> {
        self.inner.prune(keep, now, limit).await
    }
    async fn holder_of(&self, t: &str, kind: Kind, id: &str) -> Result<Option<ExternalId>, StoreError> {
        self.inner.holder_of(t, kind, id).await
    }
    async fn strangers(
        &self,
        t: &str,
        group: &ExternalId,
        ids: &[String],
    ) -> Result<Option<Vec<String>>, StoreError> {
        self.inner.strangers(t, group, ids).await
    }
    async fn target(&self, target: &str) -> Result<Option<TargetRecord>, StoreError> {
        self.inner.target(target).await
    }
    async fn set_target_state(&self, target: &str, state: &TargetState) -> Result<(), StoreError> {
        self.inner.set_target_state(target, state).await
    }
    async fn order_target_state(
        &self,
        target: &str,
        state: &TargetState,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.order_target_state(target, state, actor, now).await
    }
    async fn set_target_memory(&self, target: &str, memory: &Value) -> Result<(), StoreError> {
        self.inner.set_target_memory(target, memory).await
    }
    async fn due(&self, t: &str, lane: Lane, now: Timestamp, n: usize) -> Result<Vec<WorkItem>, StoreError> {
        self.inner.due(t, lane, now, n).await
    }
    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.inner.next_due(target, now).await
    }
    async fn load(&self, t: &str, key: &ResourceKey, members: usize) -> Result<Option<Dossier>, StoreError> {
        self.inner.load(t, key, members).await
    }
    async fn intend(&self, tenure: &Tenure, key: &ResourceKey, intent: &Intent) -> Result<(), StoreError> {
        self.inner.intend(tenure, key, intent).await
    }
    async fn commit(
        &self,
        tenure: &Tenure,
        outcomes: Vec<Outcome>,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.inner.commit(tenure, outcomes, now).await
    }
}

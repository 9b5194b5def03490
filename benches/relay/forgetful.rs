//! A store that takes every event and keeps none: what accepting costs without durability.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use scim_relay::clock::Timestamp;
use scim_relay::directory::{DirectoryName, ExternalId, Kind, ResourceKey, User};
use scim_relay::store::guard::{
    Admission, Decided, Decision, Destruction, Guard, Hold, HoldFilter, HoldItem,
};
use scim_relay::store::{
    Appended, Committed, Cursor, Dossier, Errand, EventReader, EventRecord, EventSummary, Feeds, Happening,
    Hint, Intent, ItemId, Lane, LedgerFilter, LedgerRecord, NewEvent, Order, Outcome, Page, ParkedItem,
    Present, Projection, Pruned, Resyncs, Retention, Roster, Settled, Status, Store, StoreError,
    TargetRecord, TargetState, Tenure, Topic, WaitingItem, WorkItem,
};
use tokio::sync::broadcast;

const UNASKED: &str = "accepting asks the store for nothing else";

/// Answers every append at once.
pub struct Forgetful;

#[async_trait]
impl Store for Forgetful {
    async fn append(&self, _: NewEvent) -> Result<Appended, StoreError> {
        Ok(Appended::New)
    }

    fn feeds(&self) -> &dyn Feeds {
        unreachable!("{UNASKED}")
    }

    fn resyncs(&self) -> &dyn Resyncs {
        unreachable!("{UNASKED}")
    }

    async fn project(&self, _: &dyn EventReader, _: usize) -> Result<Projection, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn enrol(&self, _: &str, _: &DirectoryName, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn backfill(&self, _: &str, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn retire_all_but(&self, _: &[String]) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn attend(&self, _: &str, _: Duration) -> Result<Roster, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn take(&self, _: &str, _: &str, _: Duration) -> Result<Option<Tenure>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn release(&self, _: &Tenure) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn leave(&self, _: &str) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    fn hints(&self) -> broadcast::Receiver<Hint> {
        unreachable!("{UNASKED}")
    }
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn prune(&self, _: &Retention, _: Timestamp, _: usize) -> Result<Pruned, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn target(&self, _: &str) -> Result<Option<TargetRecord>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn set_target_state(&self, _: &str, _: &TargetState) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn order_target_state(
        &self,
        _: &str,
        _: &TargetState,
        _: &str,
        _: Timestamp,
    ) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn set_target_memory(&self, _: &str, _: &serde_json::Value) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn due(&self, _: &str, _: Lane, _: Timestamp, _: usize) -> Result<Vec<WorkItem>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn next_due(&self, _: &str, _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn load(&self, _: &str, _: &ResourceKey, _: usize) -> Result<Option<Dossier>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn holder_of(&self, _: &str, _: Kind, _: &str) -> Result<Option<ExternalId>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn strangers(
        &self,
        _: &str,
        _: &ExternalId,
        _: &[String],
    ) -> Result<Option<Vec<String>>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn intend(&self, _: &Tenure, _: &ResourceKey, _: &Intent) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn commit(&self, _: &Tenure, _: Vec<Outcome>, _: Timestamp) -> Result<Committed, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn status(&self) -> Result<Status, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn parked(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page<ParkedItem>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn waiting(&self, _: &str, _: Option<&str>, _: usize) -> Result<Page<WaitingItem>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn admit(
        &self,
        _: &Tenure,
        _: &[Destruction],
        _: &Guard,
        _: Timestamp,
    ) -> Result<Vec<Admission>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn users(
        &self,
        _: &str,
        _: &BTreeSet<ExternalId>,
    ) -> Result<BTreeMap<ExternalId, User>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn holds(
        &self,
        _: &HoldFilter,
        _: Timestamp,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<Hold>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn hold(&self, _: u64, _: Timestamp) -> Result<Option<Hold>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn hold_items(&self, _: u64, _: Option<&str>, _: usize) -> Result<Page<HoldItem>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn decide(&self, _: &Decision, _: Timestamp) -> Result<Option<Decided>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn retry_parked(&self, _: &str, _: &ItemId, _: &str, _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn discard_parked(&self, _: &str, _: &ItemId, _: &str, _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn events(&self, _: Option<&str>, _: usize) -> Result<Page<EventSummary>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn event(&self, _: &str) -> Result<Option<EventRecord>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn ledger(
        &self,
        _: &LedgerFilter,
        _: Option<&str>,
        _: usize,
    ) -> Result<Page<LedgerRecord>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn dossier(&self, _: &str, _: &ResourceKey, _: usize) -> Result<Option<Dossier>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn ledger_past(
        &self,
        _: &BTreeMap<String, u64>,
        _: usize,
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn want(&self, _: &str, _: &Topic, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn want_known(&self, _: &str, _: &str, _: Kind, _: &str, _: Timestamp) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn take_errands(
        &self,
        _: &str,
        _: Timestamp,
        _: Timestamp,
        _: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn settle_errand(&self, _: &Errand, _: &Settled) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn source_memory(&self, _: &str, _: &str) -> Result<Option<serde_json::Value>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn set_source_memory(&self, _: &str, _: &str, _: &serde_json::Value) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn timeline(
        &self,
        _: &DirectoryName,
        _: &ResourceKey,
        _: Order,
        _: Cursor,
        _: usize,
    ) -> Result<Page<Happening>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn present(&self, _: &DirectoryName, _: &ResourceKey) -> Result<Option<Present>, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn expedite(&self, _: &str, _: &ResourceKey, _: &str, _: Timestamp) -> Result<bool, StoreError> {
        unreachable!("{UNASKED}")
    }
    async fn ping(&self) -> Result<(), StoreError> {
        unreachable!("{UNASKED}")
    }
}

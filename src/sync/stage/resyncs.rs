//! What resyncs ask of the store, which may take its time.

use async_trait::async_trait;
use serde_json::Value;
use tokio::time::sleep;

use super::store::View;
use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind};
use crate::store::{
    DriftMark, Expected, ExpectedMember, Kept, NewResync, Page, Part, Probe, ResyncRecord, ResyncRow,
    Resyncs, Step, StoreError, Tenure,
};

impl View {
    fn inner(&self) -> &dyn Resyncs {
        &self.world.inner
    }
}

#[async_trait]
impl Resyncs for View {
    async fn begin_resync(&self, new: &NewResync) -> Result<bool, StoreError> {
        self.inner().begin_resync(new).await
    }
    async fn resync(&self, id: &str) -> Result<Option<ResyncRecord>, StoreError> {
        self.inner().resync(id).await
    }
    async fn resyncs(&self, target: &str, limit: usize) -> Result<Vec<ResyncRecord>, StoreError> {
        self.inner().resyncs(target, limit).await
    }
    async fn cancel_resync(&self, id: &str, actor: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.inner().cancel_resync(id, actor, now).await
    }
    async fn keep_resync(&self, id: &str, step: Step, body: &Value) -> Result<Kept, StoreError> {
        let takes = self.world.habits.lock().unwrap().keep_takes;
        sleep(takes).await;
        self.inner().keep_resync(id, step, body).await
    }
    async fn end_resync(&self, id: &str, body: &Value) -> Result<(), StoreError> {
        self.inner().end_resync(id, body).await
    }
    async fn forget_resyncs(&self, target: &str, keep: usize) -> Result<(), StoreError> {
        let takes = self.world.habits.lock().unwrap().forget_takes;
        sleep(takes).await;
        self.inner().forget_resyncs(target, keep).await
    }
    async fn resync_rows(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ResyncRow>, StoreError> {
        self.inner().resync_rows(id, part, after, limit).await
    }
    async fn resync_unclaimed(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, StoreError> {
        self.inner().resync_unclaimed(id, part, after, limit).await
    }
    async fn resync_like(
        &self,
        id: &str,
        part: Part,
        probes: &[Probe],
    ) -> Result<Vec<Vec<ResyncRow>>, StoreError> {
        self.inner().resync_like(id, part, probes).await
    }
    async fn expected(
        &self,
        target: &str,
        kind: Kind,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<Expected>, StoreError> {
        self.inner().expected(target, kind, after, limit).await
    }
    async fn expected_among(
        &self,
        target: &str,
        kind: Kind,
        ids: &[ExternalId],
    ) -> Result<Vec<Expected>, StoreError> {
        self.inner().expected_among(target, kind, ids).await
    }
    async fn expected_members(
        &self,
        target: &str,
        group: &ExternalId,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<ExpectedMember>, StoreError> {
        self.inner().expected_members(target, group, after, limit).await
    }
    async fn expected_counts(&self, target: &str, kind: Kind) -> Result<(u64, u64), StoreError> {
        self.inner().expected_counts(target, kind).await
    }
    async fn mark_drifted(&self, t: &Tenure, marks: &[DriftMark], now: Timestamp) -> Result<(), StoreError> {
        self.inner().mark_drifted(t, marks, now).await
    }
}

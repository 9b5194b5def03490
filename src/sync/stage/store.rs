//! A store that several replicas share: the real one for what is kept, leases and hints by Tokio's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep};

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

/// What the replicas share.
pub(crate) struct World {
    pub(crate) inner: SqliteStore,
    leases: Mutex<Leases>,
    hints: broadcast::Sender<Hint>,
    /// What can go wrong, or take long.
    pub(crate) habits: Mutex<Habits>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    /// Hints are lost.
    pub(crate) mute: bool,
    /// How long it takes to note an intent.
    pub(crate) intend_takes: Duration,
    /// How long it takes to keep a step of a resync.
    pub(crate) keep_takes: Duration,
    /// How long it takes to forget what a resync has seen.
    pub(crate) forget_takes: Duration,
    /// The store's own time, as far as it is from Tokio's: microseconds since the epoch at the start.
    pub(crate) time: Option<(Timestamp, Instant)>,
}

#[derive(Default)]
struct Leases {
    replicas: BTreeMap<String, Instant>,
    targets: BTreeMap<String, Option<(Tenure, Instant)>>,
}

/// How a replica reaches the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Down,
    Silent,
}

/// The store as one replica sees it.
pub(crate) struct View {
    pub(super) world: Arc<World>,
    pub(crate) mood: Mutex<Mood>,
}

impl World {
    pub(crate) fn open() -> Arc<Self> {
        Arc::new(Self {
            inner: SqliteStore::open_temporary().unwrap(),
            leases: Mutex::default(),
            hints: broadcast::channel(64).0,
            habits: Mutex::default(),
        })
    }

    pub(crate) fn view(self: &Arc<Self>) -> Arc<View> {
        Arc::new(View { world: Arc::clone(self), mood: Mutex::new(Mood::Well) })
    }

    /// Gives a target to a replica for an hour, whatever leases say, as if another's had run out.
    pub(crate) async fn depose(&self, target: &str, replica: &str) -> Tenure {
        let tenure = self.inner.take(target, replica, Duration::ZERO).await.unwrap().unwrap();
        let lease = (tenure.clone(), Instant::now() + Duration::from_hours(1));
        self.leases.lock().unwrap().targets.insert(target.to_owned(), Some(lease));
        tenure
    }

    /// Who holds a target, and until when.
    pub(crate) fn holder(&self, target: &str) -> Option<(String, Instant)> {
        let leases = self.leases.lock().unwrap();
        let (tenure, ends) = leases.targets.get(target)?.as_ref()?;
        Some((tenure.holder.clone(), *ends))
    }

    fn tell(&self, hint: Hint) {
        if !self.habits.lock().unwrap().mute {
            // Nobody may listen.
            let _ = self.hints.send(hint);
        }
    }
}

impl View {
    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn reach(&self) -> Result<&SqliteStore, StoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(&self.world.inner),
            Mood::Down => Err(StoreError::Unavailable { source: "the network is gone".into() }),
            Mood::Silent => std::future::pending().await,
        }
    }
}

impl Leases {
    fn roster(&mut self) -> Roster {
        let now = Instant::now();
        self.replicas.retain(|_, ends| *ends > now);
        let lasting = |lease: &Option<(Tenure, Instant)>| {
            lease.as_ref().filter(|(_, ends)| *ends > now).map(|(tenure, _)| tenure.clone())
        };
        Roster {
            replicas: self.replicas.keys().cloned().collect(),
            targets: self.targets.iter().map(|(name, lease)| (name.clone(), lasting(lease))).collect(),
        }
    }
}

#[async_trait]
impl Store for View {
    fn feeds(&self) -> &dyn crate::store::Feeds {
        &self.world.inner
    }

    async fn want(&self, source: &str, topic: &Topic, due: Timestamp) -> Result<(), StoreError> {
        self.reach().await?.want(source, topic, due).await
    }
    async fn want_known(
        &self,
        source: &str,
        directory: &str,
        kind: Kind,
        prefix: &str,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        self.reach().await?.want_known(source, directory, kind, prefix, due).await
    }
    async fn take_errands(
        &self,
        source: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        self.reach().await?.take_errands(source, now, until, limit).await
    }
    async fn settle_errand(&self, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
        self.reach().await?.settle_errand(errand, settled).await
    }
    async fn source_memory(&self, source: &str, part: &str) -> Result<Option<serde_json::Value>, StoreError> {
        self.reach().await?.source_memory(source, part).await
    }
    async fn set_source_memory(
        &self,
        source: &str,
        part: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.reach().await?.set_source_memory(source, part, value).await
    }
    async fn enrol(&self, target: &str, directory: &DirectoryName, now: Timestamp) -> Result<(), StoreError> {
        self.reach().await?.enrol(target, directory, now).await?;
        self.world.leases.lock().unwrap().targets.entry(target.to_owned()).or_default();
        Ok(())
    }
    async fn backfill(&self, target: &str, now: Timestamp) -> Result<(), StoreError> {
        self.reach().await?.backfill(target, now).await
    }
    async fn retire_all_but(&self, targets: &[String]) -> Result<(), StoreError> {
        self.reach().await?.retire_all_but(targets).await?;
        let kept: BTreeSet<&String> = targets.iter().collect();
        self.world.leases.lock().unwrap().targets.retain(|name, _| kept.contains(name));
        Ok(())
    }
    async fn attend(&self, replica: &str, term: Duration) -> Result<Roster, StoreError> {
        self.reach().await?;
        let (roster, new) = {
            let mut leases = self.world.leases.lock().unwrap();
            let ends = Instant::now() + term;
            leases.roster();
            let new = leases.replicas.insert(replica.to_owned(), ends).is_none();
            for (tenure, until) in leases.targets.values_mut().flatten() {
                if tenure.holder == replica {
                    *until = ends;
                }
            }
            (leases.roster(), new)
        };
        if new {
            self.world.tell(Hint::Leases);
        }
        Ok(roster)
    }
    async fn take(&self, target: &str, replica: &str, term: Duration) -> Result<Option<Tenure>, StoreError> {
        let inner = self.reach().await?;
        let holder = self.world.leases.lock().unwrap().roster().targets.remove(target).flatten();
        if holder.is_some_and(|tenure| tenure.holder != replica) {
            return Ok(None);
        }
        // The inner lease runs out at once; its epochs are the real ones.
        let Some(tenure) = inner.take(target, replica, Duration::ZERO).await? else { return Ok(None) };
        let lease = (tenure.clone(), Instant::now() + term);
        self.world.leases.lock().unwrap().targets.insert(target.to_owned(), Some(lease));
        Ok(Some(tenure))
    }
    async fn release(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.reach().await?.release(tenure).await?;
        if let Some(lease) = self.world.leases.lock().unwrap().targets.get_mut(&tenure.target)
            && lease.as_ref().is_some_and(|(held, _)| held == tenure)
        {
            *lease = None;
        }
        self.world.tell(Hint::Leases);
        Ok(())
    }
    async fn leave(&self, replica: &str) -> Result<(), StoreError> {
        self.reach().await?;
        self.world.leases.lock().unwrap().replicas.remove(replica);
        self.world.tell(Hint::Leases);
        Ok(())
    }
    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.world.hints.subscribe()
    }
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.reach().await?;
        let time = self.world.habits.lock().unwrap().time;
        Ok(time.map(|(start, since)| start.after(since.elapsed())))
    }
    async fn set_target_state(&self, target: &str, state: &TargetState) -> Result<(), StoreError> {
        self.reach().await?.set_target_state(target, state).await?;
        self.world.tell(Hint::State { target: target.to_owned() });
        Ok(())
    }
    async fn order_target_state(
        &self,
        t: &str,
        state: &TargetState,
        by: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.reach().await?.order_target_state(t, state, by, now).await?;
        self.world.tell(Hint::State { target: t.to_owned() });
        Ok(())
    }
    async fn project(&self, reader: &dyn EventReader, limit: usize) -> Result<Projection, StoreError> {
        let projection = self.reach().await?.project(reader, limit).await?;
        for target in &projection.woken {
            self.world.tell(Hint::Work { target: target.clone() });
        }
        Ok(projection)
    }
    async fn intend(&self, tenure: &Tenure, key: &ResourceKey, intent: &Intent) -> Result<(), StoreError> {
        let takes = self.world.habits.lock().unwrap().intend_takes;
        sleep(takes).await;
        self.reach().await?.intend(tenure, key, intent).await
    }

    // As the real store does it.

    async fn append(&self, event: NewEvent) -> Result<Appended, StoreError> {
        self.reach().await?.append(event).await
    }
    async fn target(&self, target: &str) -> Result<Option<TargetRecord>, StoreError> {
        self.reach().await?.target(target).await
    }
    async fn set_target_memory(&self, target: &str, memory: &Value) -> Result<(), StoreError> {
        self.reach().await?.set_target_memory(target, memory).await
    }
    async fn due(&self, t: &str, lane: Lane, now: Timestamp, n: usize) -> Result<Vec<WorkItem>, StoreError> {
        self.reach().await?.due(t, lane, now, n).await
    }
    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.reach().await?.next_due(target, now).await
    }
    async fn load(&self, t: &str, key: &ResourceKey, members: usize) -> Result<Option<Dossier>, StoreError> {
        self.reach().await?.load(t, key, members).await
    }
    async fn holder_of(&self, t: &str, kind: Kind, id: &str) -> Result<Option<ExternalId>, StoreError> {
        self.reach().await?.holder_of(t, kind, id).await
    }
    async fn strangers(
        &self,
        t: &str,
        group: &ExternalId,
        ids: &[String],
    ) -> Result<Option<Vec<String>>, StoreError> {
        self.reach().await?.strangers(t, group, ids).await
    }
    async fn commit(
        &self,
        tenure: &Tenure,
        outcomes: Vec<Outcome>,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.reach().await?.commit(tenure, outcomes, now).await
    }
    async fn status(&self) -> Result<Status, StoreError> {
        self.reach().await?.status().await
    }
    async fn parked(&self, t: &str, after: Option<&str>, n: usize) -> Result<Page<ParkedItem>, StoreError> {
        self.reach().await?.parked(t, after, n).await
    }
    async fn waiting(&self, t: &str, after: Option<&str>, n: usize) -> Result<Page<WaitingItem>, StoreError> {
        self.reach().await?.waiting(t, after, n).await
    }
    async fn admit(
        &self,
        tenure: &Tenure,
        changes: &[Destruction],
        guard: &Guard,
        now: Timestamp,
    ) -> Result<Vec<Admission>, StoreError> {
        self.reach().await?.admit(tenure, changes, guard, now).await
    }
    async fn users(
        &self,
        target: &str,
        ids: &BTreeSet<ExternalId>,
    ) -> Result<BTreeMap<ExternalId, User>, StoreError> {
        self.reach().await?.users(target, ids).await
    }
    async fn holds(
        &self,
        filter: &HoldFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Hold>, StoreError> {
        self.reach().await?.holds(filter, now, after, limit).await
    }
    async fn hold(&self, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError> {
        self.reach().await?.hold(id, now).await
    }
    async fn hold_items(
        &self,
        hold: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<HoldItem>, StoreError> {
        self.reach().await?.hold_items(hold, after, limit).await
    }
    async fn decide(&self, decision: &Decision, now: Timestamp) -> Result<Option<Decided>, StoreError> {
        self.reach().await?.decide(decision, now).await
    }
    async fn retry_parked(&self, t: &str, id: &ItemId, by: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.reach().await?.retry_parked(t, id, by, now).await
    }
    async fn discard_parked(
        &self,
        t: &str,
        id: &ItemId,
        by: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.reach().await?.discard_parked(t, id, by, now).await
    }
    async fn events(&self, after: Option<&str>, n: usize) -> Result<Page<EventSummary>, StoreError> {
        self.reach().await?.events(after, n).await
    }
    async fn event(&self, id: &str) -> Result<Option<EventRecord>, StoreError> {
        self.reach().await?.event(id).await
    }
    async fn ledger(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        n: usize,
    ) -> Result<Page<LedgerRecord>, StoreError> {
        self.reach().await?.ledger(filter, after, n).await
    }
    async fn dossier(&self, t: &str, key: &ResourceKey, n: usize) -> Result<Option<Dossier>, StoreError> {
        self.reach().await?.dossier(t, key, n).await
    }
    async fn ledger_past(
        &self,
        told: &BTreeMap<String, u64>,
        n: usize,
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        self.reach().await?.ledger_past(told, n).await
    }
    fn resyncs(&self) -> &dyn crate::store::Resyncs {
        self
    }

    async fn timeline(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
        order: Order,
        after: Cursor,
        limit: usize,
    ) -> Result<Page<Happening>, StoreError> {
        self.reach().await?.timeline(directory, key, order, after, limit).await
    }
    async fn present(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
    ) -> Result<Option<Present>, StoreError> {
        self.reach().await?.present(directory, key).await
    }
    async fn expedite(
        &self,
        target: &str,
        key: &ResourceKey,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.reach().await?.expedite(target, key, actor, now).await
    }
    async fn prune(&self, keep: &Retention, now: Timestamp, n: usize) -> Result<Pruned, StoreError> {
        self.reach().await?.prune(keep, now, n).await
    }
    async fn ping(&self) -> Result<(), StoreError> {
        self.reach().await?.ping().await
    }
}

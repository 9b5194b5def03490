//! A store with one target that follows one directory: what most rules start from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::directory::{Change, ExternalId, Operation, ResourceKey};
use crate::store::conformance::script::{DIRECTORY, Script, now};
use crate::store::conformance::{Home, must};
use crate::store::{
    Committed, Desired, Dossier, Lane, LedgerEntry, Link, LinkChange, MemberDelta, MembersOutcome, NewEvent,
    Outcome, ParkedMember, Row, Store, TargetCounts, Tenure, WorkChange, WorkItem,
};

/// The target.
pub const TARGET: &str = "acme";
/// A time after every event of a scene.
pub const NOW: Timestamp = Timestamp::from_seconds(5_000);

/// The store, and what feeds it.
pub struct Scene {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its reader.
    pub script: Script,
    appended: AtomicU32,
}

impl Scene {
    /// Opens a store and enrols the target.
    pub async fn new(home: &dyn Home) -> Self {
        let scene = Self::without_target(home).await;
        must(scene.store.enrol(TARGET, &DIRECTORY.to_owned(), NOW).await);
        scene
    }

    /// Opens a store.
    pub async fn without_target(home: &dyn Home) -> Self {
        Self { store: home.open().await, script: Script::default(), appended: AtomicU32::new(0) }
    }

    /// Closes the store and opens it again.
    pub async fn restarted(self, home: &dyn Home) -> Self {
        drop(self.store);
        Self { store: home.open().await, ..self }
    }

    /// Appends one event without merging it.
    pub async fn append(&self, changes: Vec<Change>) -> NewEvent {
        let number = self.appended.fetch_add(1, Ordering::Relaxed);
        let event = self.script.event(number, changes);
        must(self.store.append(event.clone()).await);
        event
    }

    /// Appends one event and merges all that waits.
    pub async fn feed(&self, operations: impl IntoIterator<Item = Operation>) -> NewEvent {
        let event = self.append(operations.into_iter().map(now).collect()).await;
        self.project_all().await;
        event
    }

    /// Merges all that waits.
    pub async fn project_all(&self) {
        while must(self.store.project(&self.script, 100).await).more {}
    }

    /// Takes the target.
    pub async fn tenure(&self) -> Tenure {
        self.tenure_of("replica-1").await
    }

    /// Takes the target for a replica. The lease runs out at once, so that any other may take it next.
    pub async fn tenure_of(&self, replica: &str) -> Tenure {
        must(self.store.take(TARGET, replica, Duration::ZERO).await).expect("no lease lasts")
    }

    /// Every row that is due, most urgent lane first.
    pub async fn due(&self) -> Vec<WorkItem> {
        self.due_at(NOW).await
    }

    /// Every row that is due at a time.
    pub async fn due_at(&self, moment: Timestamp) -> Vec<WorkItem> {
        let mut items = Vec::new();
        for lane in Lane::ALL {
            items.extend(must(self.store.due(TARGET, lane, moment, 1_000).await));
        }
        items
    }

    /// Every row that is due, as text: lane, kind and id.
    pub async fn due_names(&self) -> Vec<String> {
        let name = |item: &WorkItem| format!("{} {} {}", item.lane.as_str(), item.key.kind, item.key.id);
        self.due().await.iter().map(name).collect()
    }

    /// The dossier of a resource that is work.
    pub async fn dossier(&self, key: &ResourceKey) -> Dossier {
        let dossier = must(self.store.load(TARGET, key, 100).await);
        dossier.unwrap_or_else(|| panic!("{key:?} is not work"))
    }

    /// The memberships that a group has to send.
    pub async fn deltas(&self, group: &ResourceKey) -> Vec<MemberDelta> {
        match self.dossier(group).await.desired {
            Desired::Group { deltas, .. } => deltas,
            Desired::User { .. } => panic!("{group:?} is no group"),
        }
    }

    /// Commits one outcome under a new tenure.
    pub async fn commit(&self, outcome: Outcome) -> Committed {
        let tenure = self.tenure().await;
        must(self.store.commit(&tenure, vec![outcome], NOW).await)
    }

    /// Finishes a user or group, linked to `vendor_id`, with everything sent.
    pub async fn finish(&self, key: &ResourceKey, vendor_id: &str) -> Committed {
        let dossier = self.dossier(key).await;
        let synced_members = match &dossier.desired {
            Desired::Group { group, .. } => group.member_sequence,
            Desired::User { .. } => 0,
        };
        let generation = dossier.item.generation;
        self.commit(outcome(key, generation).linked(vendor_id, generation, synced_members)).await
    }

    /// The target's counts.
    pub async fn counts(&self) -> TargetCounts {
        must(self.store.status().await).targets.remove(TARGET).expect("the target is enrolled")
    }

    /// How many rows are pending, over all lanes.
    pub async fn pending(&self) -> u64 {
        pending(&self.counts().await)
    }
}

/// How many rows are pending, over all lanes.
pub fn pending(counts: &TargetCounts) -> u64 {
    counts.pending.iter().map(|count| count.rows).sum()
}

/// An outcome that finishes, and says nothing else.
pub fn outcome(key: &ResourceKey, generation: u64) -> Outcome {
    Outcome {
        key: key.clone(),
        generation,
        link: LinkChange::Keep,
        members: MembersOutcome::default(),
        waits_for: BTreeSet::new(),
        memberships: BTreeMap::new(),
        work: WorkChange::Finish,
        ledger: Vec::new(),
    }
}

impl Outcome {
    /// With a link.
    #[must_use]
    pub fn linked(self, vendor_id: &str, synced_generation: u64, synced_members: u64) -> Self {
        let row =
            Row { vendor_id: vendor_id.to_owned(), synced_generation, synced_members, ..Row::default() };
        Self { link: LinkChange::Set(Link::Known(row)), ..self }
    }

    /// With another fate of the row.
    #[must_use]
    pub fn ending(self, work: WorkChange) -> Self {
        Self { work, ..self }
    }

    /// Waiting for users.
    #[must_use]
    pub fn waiting_for(self, users: &[ExternalId]) -> Self {
        Self { waits_for: users.iter().cloned().collect(), ..self }
    }

    /// With a judgement of which derived groups the user belongs to.
    #[must_use]
    pub fn judging(self, memberships: &[(&str, bool)]) -> Self {
        let judged = memberships.iter().filter_map(|(name, present)| {
            let group = ExternalId::derived(name).ok()?;
            Some((group, *present))
        });
        Self { memberships: judged.collect(), ..self }
    }

    /// With waits that are over.
    #[must_use]
    pub fn settling(self, users: &[ExternalId]) -> Self {
        let settled = users.iter().cloned().collect();
        Self { members: MembersOutcome { settled, ..self.members }, ..self }
    }

    /// With a member that the vendor refused.
    #[must_use]
    pub fn parking(self, user: &ExternalId, reason: &str) -> Self {
        let parked = vec![ParkedMember { user: user.clone(), reason: reason.to_owned() }];
        Self { members: MembersOutcome { parked, ..self.members }, ..self }
    }

    /// With an entry in the ledger.
    #[must_use]
    pub fn noting(mut self, operation: &'static str, result: &'static str) -> Self {
        self.ledger.push(LedgerEntry::without_call(NOW, operation, result, None));
        self
    }
}

/// A retry at a time.
pub fn retry(due: Timestamp) -> WorkChange {
    WorkChange::Retry { due, attempts: 3, reason: "busy".to_owned(), failed_at: Some(NOW) }
}

/// A wait until a time.
pub fn wait(due: Timestamp) -> WorkChange {
    WorkChange::Wait { due, reason: "not known".to_owned() }
}

/// A parking.
pub fn park() -> WorkChange {
    WorkChange::Park { reason: "refused".to_owned() }
}

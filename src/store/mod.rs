//! Durable memory: what came in, what should be, what is still to do, and what was done.
//!
//! [`Store`] is the whole interface; its words are the relay's, not a database's. SQLite implements
//! it embedded; one conformance suite (`store::conformance`) says what every implementation must do.
//!
//! A store folds changes into the directory with [`directory::merge`](crate::directory::merge), and
//! marks what changed as work for each target that follows the directory, in the same transaction.
//! Work is one row per (target, resource), never one per event.

mod admin;
pub mod advice;
#[doc(hidden)]
pub mod conformance;
mod derived;
mod errand;
mod feed;
pub mod guard;
mod intake;
mod lease;
pub mod postgres;
mod resync;
mod retention;
pub mod sqlite;
pub mod timeline;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use admin::{
    ChangeRecord, EventRecord, EventSummary, ItemId, LaneCount, LedgerFilter, LedgerRecord, Page, ParkedItem,
    Status, TargetCounts, WaitingItem,
};
pub use errand::{Errand, ErrandCounts, Settled, Topic};
pub use feed::{Aspect, Consent, Feed, Feeds, Known, RecordKey, SettledRecord, Tally};
pub use intake::{Appended, EventReader, NewEvent, Projection, Scopes};
pub use lease::{Hint, Roster, Tenure};
pub use resync::{
    DriftMark, Expected, ExpectedMember, Kept, NewResync, Part, Probe, ResyncRecord, ResyncRow, Resyncs, Step,
};
pub use retention::{Pruned, Retention};
pub use timeline::{Cursor, Happening, Order, Present};
pub use work::{
    Committed, Desired, Dossier, Intent, Lane, LedgerEntry, Link, LinkChange, MemberDelta, MemberStanding,
    MembersOutcome, Outcome, ParkedMember, Quarantine, Row, TargetRecord, TargetState, WorkChange, WorkItem,
};

use crate::clock::Timestamp;
use crate::directory::{DirectoryName, ExternalId, Kind, ResourceKey, User};
use crate::store::guard::{Admission, Decided, Decision, Destruction, Guard, Hold, HoldFilter, HoldItem};

/// Durable memory. Every method is one transaction; what it has answered survives power loss.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // --- what came in ---

    /// Appends a verified event, unless its (source, event id) is remembered. Answers once the event
    /// is durable. Never waits for room: a full queue is [`StoreError::Busy`].
    async fn append(&self, event: NewEvent) -> Result<Appended, StoreError>;

    /// Merges up to `limit` events that are not yet merged into their directories, those that end
    /// somebody's access first, and marks what changed as work for every enrolled target. Who has an
    /// account at a target and is outside of its scope by now ([`EventReader::scopes`]) is work in
    /// [`Lane::Deprovision`].
    async fn project(&self, reader: &dyn EventReader, limit: usize) -> Result<Projection, StoreError>;

    /// What is remembered of feeds: of what is fetched, or dropped, rather than posted.
    fn feeds(&self) -> &dyn Feeds;

    // --- targets ---

    /// Makes a target follow a directory. Where the target is new, was retired meanwhile, or followed
    /// another directory before, all that the directory holds becomes work in [`Lane::Backfill`]
    /// (deactivations and deletions in their own lane). What was known of the target's resources
    /// under another directory is forgotten: the same ids may name others there.
    async fn enrol(&self, target: &str, directory: &DirectoryName, now: Timestamp) -> Result<(), StoreError>;

    /// Stops marking work for every enrolled target that is not named. Nothing is deleted.
    async fn retire_all_but(&self, targets: &[String]) -> Result<(), StoreError>;

    /// Marks all that the directory holds as work of a target that follows it, in the lane of a target
    /// that catches up; what is parked or waiting is due again, and what is more urgent stays so.
    async fn backfill(&self, target: &str, now: Timestamp) -> Result<(), StoreError>;

    /// A target's stored state.
    async fn target(&self, target: &str) -> Result<Option<TargetRecord>, StoreError>;

    /// Replaces a target's state: running, paused or suspended, and why.
    async fn set_target_state(&self, target: &str, state: &TargetState) -> Result<(), StoreError>;

    /// The same on a person's word; the ledger says whose.
    async fn order_target_state(
        &self,
        target: &str,
        state: &TargetState,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Replaces what was learned of the target's limits and its breaker's state: opaque JSON.
    async fn set_target_memory(&self, target: &str, memory: &serde_json::Value) -> Result<(), StoreError>;

    // --- replicas ---

    /// Says that a replica lives for another `term`, and renews the leases that it holds for as long.
    /// Terms run by the store's own clock. Answers who else lives, and who holds what.
    async fn attend(&self, replica: &str, term: Duration) -> Result<Roster, StoreError>;

    /// Becomes the one dispatcher of a target for `term`. Whoever held it before is deposed: its
    /// commits fail. `None` while another replica's lease on it lasts; one's own is taken anew.
    /// [`StoreError::Deposed`] where the target was never enrolled.
    async fn take(&self, target: &str, replica: &str, term: Duration) -> Result<Option<Tenure>, StoreError>;

    /// Hands a target back, so that another replica may take it at once. Nothing where the tenure is
    /// over anyway.
    async fn release(&self, tenure: &Tenure) -> Result<(), StoreError>;

    /// Says that a replica will take no target any more. Its leases last until they are handed back or
    /// run out.
    async fn leave(&self, replica: &str) -> Result<(), StoreError>;

    /// What other replicas do. A store that only one process can open has nothing to tell.
    fn hints(&self) -> broadcast::Receiver<Hint>;

    /// The wall time by which replicas agree; `None` where the machine's own is all there is.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError>;

    // --- work ---

    /// The most urgent due rows of one lane: pending, or waiting for another look, with `due ≤ now`;
    /// oldest first.
    async fn due(
        &self,
        target: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WorkItem>, StoreError>;

    /// When the first of the rows is due that are pending, or wait for another look, and are due after `now`.
    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// All that planning one resource needs, as of now: what is desired and what is known of the
    /// vendor's side. At most `members` membership deltas. `None` when the row is not work any more.
    async fn load(
        &self,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError>;

    /// The same of any resource, whether it is work or not. `None` where there is no such target.
    async fn dossier(
        &self,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError>;

    /// These users as the directory has them that the target follows; whoever it does not know is left
    /// out.
    async fn users(
        &self,
        target: &str,
        ids: &BTreeSet<ExternalId>,
    ) -> Result<BTreeMap<ExternalId, User>, StoreError>;

    /// Which resource of ours is linked to a vendor's id.
    async fn holder_of(
        &self,
        target: &str,
        kind: Kind,
        vendor_id: &str,
    ) -> Result<Option<ExternalId>, StoreError>;

    /// Which of these vendor ids are no members of a group, by the directory. `None` while a member is
    /// there of whom it is not known whether the target has an account: anybody may be that one.
    async fn strangers(
        &self,
        target: &str,
        group: &ExternalId,
        vendor_ids: &[String],
    ) -> Result<Option<Vec<String>>, StoreError>;

    /// Makes durable that a call which must not be repeated blindly is about to be sent.
    async fn intend(&self, tenure: &Tenure, key: &ResourceKey, intent: &Intent) -> Result<(), StoreError>;

    /// Judges destructive changes that are about to be sent: counts and notes those that go through, and
    /// adds the others to a hold, in one transaction. One that has gone through within the window, or
    /// was approved, may be sent again.
    async fn admit(
        &self,
        tenure: &Tenure,
        changes: &[Destruction],
        guard: &Guard,
        now: Timestamp,
    ) -> Result<Vec<Admission>, StoreError>;

    /// Records what became of calls, in one transaction: links, watermarks, waits, parked members,
    /// the work rows and the ledger. A row that has moved past the planned generation is pending
    /// afterwards, whatever became of the call; so is a finished group that has memberships left to
    /// send. Linking a user wakes whoever waits for that user. An intent is over, unless an entry of
    /// the ledger says that the call's result is `unknown`.
    async fn commit(
        &self,
        tenure: &Tenure,
        outcomes: Vec<Outcome>,
        now: Timestamp,
    ) -> Result<Committed, StoreError>;

    // --- sources that are asked ---

    /// Notes that something is wanted of a source, not before `due`. Merging notes by itself what events
    /// leave to be read ([`EventReader::wanted`]).
    async fn want(&self, source: &str, topic: &Topic, due: Timestamp) -> Result<(), StoreError>;

    /// Notes that the record of everybody whom a directory has, and whose id begins so, is wanted of a
    /// source, not before `due`.
    async fn want_known(
        &self,
        source: &str,
        directory: &str,
        kind: Kind,
        prefix: &str,
        due: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes errands of a source that are due and that nobody runs. Nobody else takes them before
    /// `until`, unless they are settled earlier.
    async fn take_errands(
        &self,
        source: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Errand>, StoreError>;

    /// Records what became of an errand.
    async fn settle_errand(&self, errand: &Errand, settled: &Settled) -> Result<(), StoreError>;

    /// What is remembered of a source under a name: opaque JSON.
    async fn source_memory(&self, source: &str, part: &str) -> Result<Option<serde_json::Value>, StoreError>;

    /// Replaces what is remembered of a source under a name.
    async fn set_source_memory(
        &self,
        source: &str,
        part: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError>;

    // --- what people ask ---

    /// One consistent picture of the backlog.
    async fn status(&self) -> Result<Status, StoreError>;

    /// Parked work of a target, oldest first.
    async fn parked(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ParkedItem>, StoreError>;

    /// Work of a target that waits for something to be told or to appear: users, groups, then members of
    /// groups, each in the order of their ids. A place that no page answered ends the list.
    async fn waiting(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<WaitingItem>, StoreError>;

    /// Makes a parked item pending again, attempts forgotten. The ledger says who wanted it. False when
    /// there is no such item.
    async fn retry_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Makes one resource work at once, ahead of what waits in [`Lane::Revoke`] unless it is more urgent
    /// already; also one that is done, or parked, its attempts forgotten. The vendor is asked how the
    /// resource is before anything is concluded from what was known. The ledger says who
    /// wanted it. False where the target was never enrolled.
    async fn expedite(
        &self,
        target: &str,
        key: &ResourceKey,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Drops a parked item: it is not tried again until the resource changes. False when there is no such item.
    async fn discard_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Holds, newest first.
    async fn holds(
        &self,
        filter: &HoldFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Hold>, StoreError>;

    /// One hold.
    async fn hold(&self, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError>;

    /// A hold's items, in the order in which they were held.
    async fn hold_items(
        &self,
        hold: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<HoldItem>, StoreError>;

    /// Decides about a hold, or some of its items; a bounded number of them in one call. What waits of a
    /// user brings along what waits of its memberships. `None` when there is no such hold.
    async fn decide(&self, decision: &Decision, now: Timestamp) -> Result<Option<Decided>, StoreError>;

    /// Events, newest first.
    async fn events(&self, after: Option<&str>, limit: usize) -> Result<Page<EventSummary>, StoreError>;

    /// One event with its changes and what became of each, per target. By sequence number or by the
    /// sender's id (the newest, where several sources used it).
    async fn event(&self, id: &str) -> Result<Option<EventRecord>, StoreError>;

    /// Ledger entries, newest first.
    async fn ledger(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<LedgerRecord>, StoreError>;

    /// Entries of the ledger past those that were told of each target: oldest first, at most `limit`. Once
    /// an entry was answered, no earlier one of the same target follows, whoever commits meanwhile: a
    /// target's numbers are taken while its row is locked. A number past all that a target has is of
    /// another database, and counts for nothing.
    async fn ledger_past(
        &self,
        told: &BTreeMap<String, u64>,
        limit: usize,
    ) -> Result<Vec<LedgerRecord>, StoreError>;

    /// What came in about one resource and what was done for it, over all targets. A cursor goes on
    /// in the order that it was answered in.
    async fn timeline(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
        order: Order,
        after: Cursor,
        limit: usize,
    ) -> Result<Page<Happening>, StoreError>;

    /// How a resource stands now at every target that follows the directory. `None` where neither the
    /// directory nor an event that is still kept knows it.
    async fn present(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
    ) -> Result<Option<Present>, StoreError>;

    // --- resyncs ---

    /// What resyncs keep, and what they ask.
    fn resyncs(&self) -> &dyn Resyncs;

    // --- upkeep ---

    /// Deletes what is past its retention: at most `limit` rows of each sort, so that nobody waits long.
    /// An event that is not merged, and a tombstone that a target still has to follow, are kept however
    /// old they are.
    async fn prune(&self, retention: &Retention, now: Timestamp, limit: usize) -> Result<Pruned, StoreError>;

    /// Succeeds when the store can write.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Why the store did not do it; cases are remedies.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The queue is full; the same call may succeed shortly.
    #[error("the store is over its queue limit")]
    Busy,
    /// The disk, the file or the database refused; nothing was stored.
    #[error("the store cannot be written or read")]
    Unavailable {
        /// The driver's error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A stored row is not what it must be: a bug, or a hand in the database.
    #[error("{table} holds a row that cannot be read, at {place}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row's key, as far as known.
        place: String,
    },
    /// Somebody else dispatches the target now.
    #[error("the target {target} was taken over")]
    Deposed {
        /// The target.
        target: String,
    },
}

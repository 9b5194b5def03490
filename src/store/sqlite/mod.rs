//! The embedded store: one SQLite file, one process, no set-up.
//!
//! One thread owns the connection that writes ([`writer`]) and lets all that waits share its next
//! commit; reads run beside it on committed states ([`readers`]). A commit returns once it is on the
//! disk. Each other file is one part of [`Store`] as plain functions over a connection.
//!
//! Events carry no unique index, since that would double the cost of taking one: known ids are held
//! in memory ([`seen`]) and rebuilt at start from a narrow table.

mod checkpoint;
mod commit;
mod connection;
mod derived;
mod directory;
mod errands;
mod events;
mod feeds;
mod guard;
mod holds;
mod inbox;
mod leases;
mod ledger;
mod links;
mod load;
mod members;
mod migrate;
mod parked;
mod project;
mod prune;
mod readers;
mod resync;
mod rows;
mod seen;
mod status;
mod strangers;
mod targets;
mod timeline;
mod waiting;
mod work;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::{Mutex, broadcast};

use crate::clock::Timestamp;
use crate::directory::{DirectoryName, ExternalId, Kind, ResourceKey, User};
use crate::store::guard::{Admission, Decided, Decision, Destruction, Guard, Hold, HoldFilter, HoldItem};
use crate::store::{
    Appended, Committed, Cursor, Dossier, Errand, EventReader, EventRecord, EventSummary, Feeds, Happening,
    Hint, Intent, ItemId, Lane, LedgerFilter, LedgerRecord, NewEvent, Order, Outcome, Page, ParkedItem,
    Present, Projection, Pruned, Resyncs, Retention, Roster, Settled, Status, Store, StoreError,
    TargetRecord, TargetState, Tenure, Topic, WaitingItem, WorkItem,
};
use connection::WriteConnection;
use readers::Readers;
use writer::Writer;

/// Longest page of a list.
const PAGE_MAX: usize = 1_000;
/// Most rows that one call about work answers.
const ROWS_MAX: usize = 100_000;

/// How a SQLite store behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long after its receipt an event's id is remembered. Senders retry for three days at most.
    pub ids_remembered_for: Duration,
    /// Connections that read at the same time.
    pub readers_max: usize,
    /// Pages of 4 KiB past which the file does not grow; `None` leaves it to the disk.
    pub pages_max: Option<u32>,
    /// Lets Tokio's paused clock stand still while the writer works. For tests and demonstrations:
    /// it costs each write a hop to another thread.
    pub hold_paused_clock: bool,
    /// Commits that are to fail.
    #[cfg(test)]
    faults: tests::Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ids_remembered_for: Duration::from_hours(8 * 24),
            readers_max: 4,
            pages_max: None,
            hold_paused_clock: false,
            #[cfg(test)]
            faults: tests::Faults::default(),
        }
    }
}

/// A store in one SQLite file. Dropping it finishes what was asked for, and waits for that.
pub struct SqliteStore {
    // Fields are dropped in this order: the lock goes when nothing is open any more.
    readers: Readers,
    writer: Writer,
    /// Held while a batch is picked and merged: a second one would only find the same events.
    projecting: Mutex<()>,
    _lock: File,
    _temporary: Option<TempDir>,
}

impl SqliteStore {
    /// Opens or creates the file at `path`, brings it up to date, and keeps other relays out.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        Self::open_in(path.as_ref(), options, None)
    }

    /// Opens a new store that is deleted with its last holder. Usable on Tokio's paused clock.
    pub fn open_temporary() -> Result<Self, StoreError> {
        let directory = tempfile::Builder::new()
            .prefix("scim-relay-")
            .tempdir()
            .map_err(|source| StoreError::Unavailable { source: Box::new(source) })?;
        let options = Options { hold_paused_clock: true, ..Options::default() };
        let path = directory.path().join("relay.db");
        Self::open_in(&path, options, Some(directory))
    }

    /// Finishes what was asked for and closes the file, off the runtime's own threads.
    pub async fn close(self) {
        // A panic while closing has been reported where it happened.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    fn open_in(path: &Path, options: Options, temporary: Option<TempDir>) -> Result<Self, StoreError> {
        let lock = connection::lock(path)?;
        connection::create(path)?;
        let connection = WriteConnection::open(path, &options)?;
        migrate::migrate(&connection.conn)?;
        project::retry_unreadable(&connection.conn)?;
        leases::clear(&connection.conn)?;
        errands::clear(&connection.conn)?;
        let readers = Readers::new(path.to_owned(), options.readers_max);
        let writer = Writer::start(path.to_owned(), options, connection)?;
        Ok(Self { readers, writer, projecting: Mutex::new(()), _lock: lock, _temporary: temporary })
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The last connection to close tidies the log away, and only the writer's can.
        self.readers.close();
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, event: NewEvent) -> Result<Appended, StoreError> {
        self.writer.append(event).await
    }

    async fn project(&self, reader: &dyn EventReader, limit: usize) -> Result<Projection, StoreError> {
        let limit = limit.min(ROWS_MAX);
        let _projecting = self.projecting.lock().await;
        loop {
            let picked = self.readers.read(move |conn| project::pick(conn, limit)).await?;
            if picked.is_empty() {
                return Ok(Projection::default());
            }
            let batch = picked.read(reader).await;
            // Stale only where an earlier call was given up while the writer had its batch.
            if let Some(done) = self.writer.write(move |conn| project::apply(conn, &batch)).await? {
                return Ok(done);
            }
        }
    }

    fn feeds(&self) -> &dyn Feeds {
        self
    }

    async fn enrol(&self, target: &str, directory: &DirectoryName, now: Timestamp) -> Result<(), StoreError> {
        let (target, directory) = (target.to_owned(), directory.clone());
        self.writer.write(move |conn| targets::enrol(conn, &target, &directory, now)).await
    }

    async fn backfill(&self, target: &str, now: Timestamp) -> Result<(), StoreError> {
        let target = target.to_owned();
        self.writer.write(move |conn| targets::backfill_again(conn, &target, now)).await
    }

    async fn retire_all_but(&self, targets: &[String]) -> Result<(), StoreError> {
        let targets = targets.to_vec();
        self.writer.write(move |conn| targets::retire_all_but(conn, &targets)).await
    }

    async fn target(&self, target: &str) -> Result<Option<TargetRecord>, StoreError> {
        let target = target.to_owned();
        self.readers.read(move |conn| targets::record(conn, &target)).await
    }

    async fn set_target_state(&self, target: &str, state: &TargetState) -> Result<(), StoreError> {
        let (target, state) = (target.to_owned(), state.clone());
        self.writer.write(move |conn| targets::set_state(conn, &target, &state)).await
    }

    async fn order_target_state(
        &self,
        target: &str,
        state: &TargetState,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (target, state, actor) = (target.to_owned(), state.clone(), actor.to_owned());
        self.writer.write(move |conn| targets::order_state(conn, &target, &state, &actor, now)).await
    }

    async fn set_target_memory(&self, target: &str, memory: &serde_json::Value) -> Result<(), StoreError> {
        let (target, memory) = (target.to_owned(), memory.clone());
        self.writer.write(move |conn| targets::set_memory(conn, &target, &memory)).await
    }

    async fn attend(&self, replica: &str, term: Duration) -> Result<Roster, StoreError> {
        let replica = replica.to_owned();
        self.writer.write(move |conn| leases::attend(conn, &replica, term)).await
    }

    async fn take(&self, target: &str, replica: &str, term: Duration) -> Result<Option<Tenure>, StoreError> {
        let (target, replica) = (target.to_owned(), replica.to_owned());
        self.writer.write(move |conn| leases::take(conn, &target, &replica, term)).await
    }

    async fn release(&self, tenure: &Tenure) -> Result<(), StoreError> {
        let tenure = tenure.clone();
        self.writer.write(move |conn| leases::release(conn, &tenure)).await
    }

    async fn leave(&self, replica: &str) -> Result<(), StoreError> {
        let replica = replica.to_owned();
        self.writer.write(move |conn| leases::leave(conn, &replica)).await
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        // Nobody else can do anything, so there is nobody to send.
        broadcast::channel(1).1
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn due(
        &self,
        target: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WorkItem>, StoreError> {
        let (target, limit) = (target.to_owned(), limit.min(ROWS_MAX));
        self.readers.read(move |conn| work::due(conn, &target, lane, now, limit)).await
    }

    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let target = target.to_owned();
        self.readers.read(move |conn| work::next_due(conn, &target, now)).await
    }

    async fn load(
        &self,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError> {
        let (target, key, members) = (target.to_owned(), key.clone(), members.min(ROWS_MAX));
        self.readers.read(move |conn| load::load(conn, &target, &key, members)).await
    }

    async fn dossier(
        &self,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError> {
        let (target, key, members) = (target.to_owned(), key.clone(), members.min(ROWS_MAX));
        self.readers.read(move |conn| load::of_any(conn, &target, &key, members)).await
    }

    async fn users(
        &self,
        target: &str,
        ids: &BTreeSet<ExternalId>,
    ) -> Result<BTreeMap<ExternalId, User>, StoreError> {
        let (target, ids) = (target.to_owned(), ids.clone());
        self.readers.read(move |conn| directory::users_of_target(conn, &target, &ids)).await
    }

    async fn holder_of(
        &self,
        target: &str,
        kind: Kind,
        vendor_id: &str,
    ) -> Result<Option<ExternalId>, StoreError> {
        let (target, vendor_id) = (target.to_owned(), vendor_id.to_owned());
        self.readers.read(move |conn| links::holder_of(conn, &target, kind, &vendor_id)).await
    }

    async fn strangers(
        &self,
        target: &str,
        group: &ExternalId,
        vendor_ids: &[String],
    ) -> Result<Option<Vec<String>>, StoreError> {
        let (target, group, vendor_ids) = (target.to_owned(), group.clone(), vendor_ids.to_owned());
        self.readers.read(move |conn| strangers::strangers(conn, &target, &group, &vendor_ids)).await
    }

    async fn intend(&self, tenure: &Tenure, key: &ResourceKey, intent: &Intent) -> Result<(), StoreError> {
        let (tenure, key, intent) = (tenure.clone(), key.clone(), intent.clone());
        self.writer.write(move |conn| targets::intend(conn, &tenure, &key, &intent)).await
    }

    async fn admit(
        &self,
        tenure: &Tenure,
        changes: &[Destruction],
        guard: &Guard,
        now: Timestamp,
    ) -> Result<Vec<Admission>, StoreError> {
        let (tenure, changes, guard) = (tenure.clone(), changes.to_vec(), guard.clone());
        self.writer.write(move |conn| guard::admit(conn, &tenure, &changes, &guard, now)).await
    }

    async fn commit(
        &self,
        tenure: &Tenure,
        outcomes: Vec<Outcome>,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        let tenure = tenure.clone();
        self.writer.write(move |conn| commit::commit(conn, &tenure, &outcomes, now)).await
    }

    async fn want(&self, source: &str, topic: &Topic, due: Timestamp) -> Result<(), StoreError> {
        let (source, topic) = (source.to_owned(), topic.clone());
        self.writer.write(move |conn| errands::want(conn, &source, &topic, due)).await
    }

    async fn want_known(
        &self,
        source: &str,
        directory: &str,
        kind: Kind,
        prefix: &str,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        let (source, directory, prefix) = (source.to_owned(), directory.to_owned(), prefix.to_owned());
        self.writer
            .write(move |conn| errands::want_known(conn, &source, &directory, kind, &prefix, due))
            .await
    }

    async fn take_errands(
        &self,
        source: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        let (source, limit) = (source.to_owned(), limit.min(PAGE_MAX));
        // Asked again and again, mostly in vain, which should cost no write.
        let asked = source.clone();
        if !self.readers.read(move |conn| errands::any_due(conn, &asked, now)).await? {
            return Ok(Vec::new());
        }
        self.writer.write(move |conn| errands::take(conn, &source, now, until, limit)).await
    }

    async fn settle_errand(&self, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
        let (errand, settled) = (errand.clone(), settled.clone());
        self.writer.write(move |conn| errands::settle(conn, &errand, &settled)).await
    }

    async fn source_memory(&self, source: &str, part: &str) -> Result<Option<serde_json::Value>, StoreError> {
        let (source, part) = (source.to_owned(), part.to_owned());
        self.readers.read(move |conn| errands::memory(conn, &source, &part)).await
    }

    async fn set_source_memory(
        &self,
        source: &str,
        part: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let (source, part, value) = (source.to_owned(), part.to_owned(), value.clone());
        self.writer.write(move |conn| errands::remember(conn, &source, &part, &value)).await
    }

    async fn status(&self) -> Result<Status, StoreError> {
        self.readers.read(status::status).await
    }

    async fn parked(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ParkedItem>, StoreError> {
        let (target, after, limit) = (target.to_owned(), after.map(str::to_owned), limit.min(PAGE_MAX));
        self.readers.read(move |conn| parked::page(conn, &target, after.as_deref(), limit)).await
    }

    async fn waiting(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<WaitingItem>, StoreError> {
        let (target, after, limit) = (target.to_owned(), after.map(str::to_owned), limit.min(PAGE_MAX));
        self.readers.read(move |conn| waiting::page(conn, &target, after.as_deref(), limit)).await
    }

    async fn retry_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (target, id, actor) = (target.to_owned(), id.clone(), actor.to_owned());
        self.writer.write(move |conn| parked::retry(conn, &target, &id, &actor, now)).await
    }

    async fn expedite(
        &self,
        target: &str,
        key: &ResourceKey,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (target, key, actor) = (target.to_owned(), key.clone(), actor.to_owned());
        self.writer.write(move |conn| parked::expedite(conn, &target, &key, &actor, now)).await
    }

    async fn discard_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (target, id, actor) = (target.to_owned(), id.clone(), actor.to_owned());
        self.writer.write(move |conn| parked::discard(conn, &target, &id, &actor, now)).await
    }

    async fn holds(
        &self,
        filter: &HoldFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Hold>, StoreError> {
        let Some(before) = before(after) else { return Ok(Page { items: Vec::new(), next: None }) };
        let (filter, limit) = (filter.clone(), limit.min(PAGE_MAX));
        self.readers.read(move |conn| holds::page(conn, &filter, now, before, limit)).await
    }

    async fn hold(&self, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError> {
        self.readers.read(move |conn| holds::one(conn, id, now)).await
    }

    async fn hold_items(
        &self,
        hold: u64,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<HoldItem>, StoreError> {
        let Ok(after) = after.unwrap_or("0").parse() else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let limit = limit.min(PAGE_MAX);
        self.readers.read(move |conn| holds::items(conn, hold, after, limit)).await
    }

    async fn decide(&self, decision: &Decision, now: Timestamp) -> Result<Option<Decided>, StoreError> {
        let decision = decision.clone();
        self.writer.write(move |conn| holds::decide(conn, &decision, now, PAGE_MAX)).await
    }

    async fn events(&self, after: Option<&str>, limit: usize) -> Result<Page<EventSummary>, StoreError> {
        let Some(before) = before(after) else { return Ok(Page { items: Vec::new(), next: None }) };
        let limit = limit.min(PAGE_MAX);
        self.readers.read(move |conn| events::page(conn, before, limit)).await
    }

    async fn event(&self, id: &str) -> Result<Option<EventRecord>, StoreError> {
        let id = id.to_owned();
        self.readers.read(move |conn| events::event(conn, &id)).await
    }

    async fn ledger(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<LedgerRecord>, StoreError> {
        let Some(before) = before(after) else { return Ok(Page { items: Vec::new(), next: None }) };
        let (filter, limit) = (filter.clone(), limit.min(PAGE_MAX));
        self.readers.read(move |conn| ledger::page(conn, &filter, before, limit)).await
    }

    async fn ledger_past(
        &self,
        told: &BTreeMap<String, u64>,
        limit: usize,
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        let (told, limit) = (told.clone(), limit.min(PAGE_MAX));
        self.readers.read(move |conn| ledger::past(conn, &told, limit)).await
    }

    fn resyncs(&self) -> &dyn Resyncs {
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
        let (directory, key, limit) = (directory.clone(), key.clone(), limit.min(PAGE_MAX));
        self.readers.read(move |conn| timeline::page(conn, &directory, &key, order, after, limit)).await
    }

    async fn present(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
    ) -> Result<Option<Present>, StoreError> {
        let (directory, key) = (directory.clone(), key.clone());
        self.readers.read(move |conn| timeline::present(conn, &directory, &key)).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp, limit: usize) -> Result<Pruned, StoreError> {
        let retention = *retention;
        self.writer.write(move |conn| prune::prune(conn, &retention, now, limit)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.writer
            .write(|conn| {
                conn.execute("UPDATE counters SET value = value + 1 WHERE name = 'ping'", [])?;
                Ok(())
            })
            .await
    }
}

/// Where a list ordered by falling sequence goes on: below this number. `None` for a cursor that no
/// page has answered.
fn before(after: Option<&str>) -> Option<u64> {
    match after {
        None => Some(i64::MAX.unsigned_abs()),
        Some(cursor) => cursor.parse().ok().filter(|sequence| i64::try_from(*sequence).is_ok()),
    }
}

/// A page from one item more than it may hold.
fn page<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

/// Why a store was not opened, or has stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Two relays on one file would each think that it is alone.
    #[error("{} is in use by another relay; stop that one, or give this one a file of its own", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
    },
    /// Reading it would lose what the newer relay has written.
    #[error(
        "the database was written by a newer relay (schema {found}, this one knows {known}); run that version"
    )]
    Newer {
        /// The file's schema.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The database or its lock file could not be opened.
    #[error("{} cannot be opened", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The writer thread has ended.
    #[error("the store was closed")]
    Stopped,
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::Unavailable { source: Box::new(error) }
    }
}

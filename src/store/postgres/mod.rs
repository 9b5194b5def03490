//! The store of many replicas: one PostgreSQL database, any number of relays.
//!
//! Every replica takes events ([`append`], in batches on connections of its own) and merges them
//! ([`project`], any batch, passing over what others have in hand). Each other file is one part of
//! [`Store`] as plain functions over a transaction ([`database`]), in the words of the SQLite store.
//!
//! Locks are taken in one order everywhere: events that wait, directories, targets, leases, the rest;
//! each by name or key. A directory's lock is held while events are merged into it, so that generations
//! and sequences grow in the order of commits; a target's lock is held by whoever changes its work.
//! What one writer gives SQLite holds here per directory and per target.

mod address;
mod append;
mod commit;
mod connection;
mod database;
mod derived;
mod directory;
mod errands;
mod events;
mod fault;
mod feeds;
mod guard;
mod hints;
mod holds;
mod leases;
mod ledger;
mod links;
mod load;
mod mark;
mod members;
mod migrate;
mod next_state;
mod page;
mod parked;
mod project;
mod prune;
mod resync;
mod rounds;
mod rows;
mod status;
mod strangers;
mod targets;
mod timeline;
mod tls;
mod waiting;
mod work;

#[cfg(test)]
mod equality;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::broadcast;

use crate::clock::Timestamp;
use crate::directory::{DirectoryName, ExternalId, Kind, ResourceKey, User};
use crate::store::guard::{Admission, Decided, Decision, Destruction, Guard, Hold, HoldFilter, HoldItem};
use crate::store::{
    Appended, Committed, Cursor, Dossier, Errand, EventReader, EventRecord, EventSummary, Feeds, Happening,
    Hint, Intent, ItemId, Lane, LedgerFilter, LedgerRecord, NewEvent, Order, Outcome, Page, ParkedItem,
    Present, Projection, Pruned, Resyncs, Retention, Roster, Settled, Status, Store, StoreError,
    TargetRecord, TargetState, Tenure, Topic, WaitingItem, WorkItem,
};
pub use address::{Address, AddressError};
use append::{Appender, BATCHES_AT_ONCE};
use connection::Connector;
use database::Database;
use hints::{Hints, Told};

/// Longest page of a list.
const PAGE_MAX: usize = 1_000;
/// Most rows that one call about work answers.
const ROWS_MAX: usize = 100_000;

/// How a PostgreSQL store behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections that are open at most, beside one that listens; at least
    /// [`CONNECTIONS_MIN`](Self::CONNECTIONS_MIN).
    pub connections_max: usize,
}

impl Options {
    /// Two append events, and others must not wait for one that takes long.
    pub const CONNECTIONS_MIN: usize = 4;
}

impl Default for Options {
    fn default() -> Self {
        Self { connections_max: 10 }
    }
}

/// A store in one PostgreSQL database, which any number of relays share.
pub struct PostgresStore {
    database: Database,
    appender: Appender,
    hints: Hints,
}

impl PostgresStore {
    /// Connects, and brings the database up to date. Any number of relays may do so at once.
    pub async fn open(address: &Address, options: &Options) -> Result<Self, StoreError> {
        Self::open_at(address, options).await.map_err(|error| OpenError::at(address, error).into())
    }

    async fn open_at(address: &Address, options: &Options) -> Result<Self, StoreError> {
        let connector = Connector::new(address)?;
        let connections_max = options.connections_max.max(Options::CONNECTIONS_MIN);
        let pool = connector.pool(connections_max - BATCHES_AT_ONCE);
        connector.warn(&*pool.get().await.map_err(connection::not_lent)?).await?;
        let database = Database::new(pool);
        migrate::migrate(&database).await?;
        database.write_long(|tx, _| project::retry_unreadable(tx).boxed()).await?;
        let appender = Appender::start(&connector.pool(BATCHES_AT_ONCE));
        let hints = Hints::listen(connector);
        Ok(Self { database, appender, hints })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn append(&self, event: NewEvent) -> Result<Appended, StoreError> {
        self.appender.append(event).await
    }

    async fn project(&self, reader: &dyn EventReader, limit: usize) -> Result<Projection, StoreError> {
        project::project(&self.database, &self.hints, reader, limit.min(ROWS_MAX)).await
    }

    fn feeds(&self) -> &dyn Feeds {
        self
    }

    async fn enrol(&self, target: &str, directory: &DirectoryName, now: Timestamp) -> Result<(), StoreError> {
        self.database
            .write_long(|tx, _| {
                async move {
                    targets::enrol(tx, target, directory, now).await?;
                    self.hints.tell(tx, Told::work_of(target)).await
                }
                .boxed()
            })
            .await
    }

    async fn backfill(&self, target: &str, now: Timestamp) -> Result<(), StoreError> {
        self.database
            .write_long(|tx, _| {
                async move {
                    targets::backfill_again(tx, target, now).await?;
                    self.hints.tell(tx, Told::work_of(target)).await
                }
                .boxed()
            })
            .await
    }

    async fn retire_all_but(&self, targets: &[String]) -> Result<(), StoreError> {
        self.database.write(|tx, _| targets::retire_all_but(tx, targets).boxed()).await
    }

    async fn target(&self, target: &str) -> Result<Option<TargetRecord>, StoreError> {
        self.database.read(|tx, _| targets::record(tx, target).boxed()).await
    }

    async fn set_target_state(&self, target: &str, state: &TargetState) -> Result<(), StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    targets::set_state(tx, target, state).await?;
                    self.hints.tell(tx, Told::State(target.to_owned())).await
                }
                .boxed()
            })
            .await
    }

    async fn order_target_state(
        &self,
        target: &str,
        state: &TargetState,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    targets::order_state(tx, target, state, actor, now).await?;
                    self.hints.tell(tx, Told::State(target.to_owned())).await
                }
                .boxed()
            })
            .await
    }

    async fn set_target_memory(&self, target: &str, memory: &serde_json::Value) -> Result<(), StoreError> {
        self.database.write(|tx, _| targets::set_memory(tx, target, memory).boxed()).await
    }

    async fn attend(&self, replica: &str, term: Duration) -> Result<Roster, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let known = hints::attends(tx, replica).await?;
                    let roster = leases::attend(tx, replica, term).await?;
                    if !known {
                        self.hints.tell(tx, Told::Leases).await?;
                    }
                    Ok(roster)
                }
                .boxed()
            })
            .await
    }

    async fn take(&self, target: &str, replica: &str, term: Duration) -> Result<Option<Tenure>, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let tenure = leases::take(tx, target, replica, term).await?;
                    if tenure.is_some() {
                        self.hints.tell(tx, Told::Leases).await?;
                    }
                    Ok(tenure)
                }
                .boxed()
            })
            .await
    }

    async fn release(&self, tenure: &Tenure) -> Result<(), StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    leases::release(tx, tenure).await?;
                    self.hints.tell(tx, Told::Leases).await
                }
                .boxed()
            })
            .await
    }

    async fn leave(&self, replica: &str) -> Result<(), StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    leases::leave(tx, replica).await?;
                    self.hints.tell(tx, Told::Leases).await
                }
                .boxed()
            })
            .await
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        self.database
            .read(|tx, _| {
                async move {
                    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
                    Ok(Some(rows::query_one(tx, now, &[]).await?.try_get(0)?))
                }
                .boxed()
            })
            .await
    }

    async fn due(
        &self,
        target: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WorkItem>, StoreError> {
        let limit = limit.min(ROWS_MAX);
        self.database.read(|tx, _| work::due(tx, target, lane, now, limit).boxed()).await
    }

    async fn next_due(&self, target: &str, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.database.read(|tx, _| work::next_due(tx, target, now).boxed()).await
    }

    async fn load(
        &self,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError> {
        let members = members.min(ROWS_MAX);
        self.database.read(|tx, _| load::load(tx, target, key, members).boxed()).await
    }

    async fn dossier(
        &self,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError> {
        let members = members.min(ROWS_MAX);
        self.database.read(|tx, _| load::of_any(tx, target, key, members).boxed()).await
    }

    async fn users(
        &self,
        target: &str,
        ids: &BTreeSet<ExternalId>,
    ) -> Result<BTreeMap<ExternalId, User>, StoreError> {
        self.database.read(|tx, _| directory::users_of_target(tx, target, ids).boxed()).await
    }

    async fn holder_of(
        &self,
        target: &str,
        kind: Kind,
        vendor_id: &str,
    ) -> Result<Option<ExternalId>, StoreError> {
        self.database.read(|tx, _| links::holder_of(tx, target, kind, vendor_id).boxed()).await
    }

    async fn strangers(
        &self,
        target: &str,
        group: &ExternalId,
        vendor_ids: &[String],
    ) -> Result<Option<Vec<String>>, StoreError> {
        self.database.read(|tx, _| strangers::strangers(tx, target, group, vendor_ids).boxed()).await
    }

    async fn intend(&self, tenure: &Tenure, key: &ResourceKey, intent: &Intent) -> Result<(), StoreError> {
        self.database.write(|tx, _| targets::intend(tx, tenure, key, intent).boxed()).await
    }

    async fn admit(
        &self,
        tenure: &Tenure,
        changes: &[Destruction],
        guard: &Guard,
        now: Timestamp,
    ) -> Result<Vec<Admission>, StoreError> {
        self.database.write(|tx, _| guard::admit(tx, tenure, changes, guard, now).boxed()).await
    }

    async fn commit(
        &self,
        tenure: &Tenure,
        outcomes: Vec<Outcome>,
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        self.database.write(|tx, _| commit::commit(tx, tenure, &outcomes, now).boxed()).await
    }

    async fn want(&self, source: &str, topic: &Topic, due: Timestamp) -> Result<(), StoreError> {
        let want = (source.to_owned(), topic.clone(), due);
        self.database.write(|tx, _| errands::want(tx, vec![want.clone()]).boxed()).await
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
        self.database
            .write(|tx, _| errands::want_known(tx, &source, &directory, kind, &prefix, due).boxed())
            .await
    }

    async fn take_errands(
        &self,
        source: &str,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Errand>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.database.write(|tx, _| errands::take(tx, source, now, until, limit).boxed()).await
    }

    async fn settle_errand(&self, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
        self.database.write(|tx, _| errands::settle(tx, errand, settled).boxed()).await
    }

    async fn source_memory(&self, source: &str, part: &str) -> Result<Option<serde_json::Value>, StoreError> {
        self.database.read(|tx, _| errands::memory(tx, source, part).boxed()).await
    }

    async fn set_source_memory(
        &self,
        source: &str,
        part: &str,
        value: &serde_json::Value,
    ) -> Result<(), StoreError> {
        self.database.write(|tx, _| errands::remember(tx, source, part, value).boxed()).await
    }

    async fn status(&self) -> Result<Status, StoreError> {
        self.database.read(|tx, _| status::status(tx).boxed()).await
    }

    async fn parked(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ParkedItem>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| parked::page(tx, target, after, limit).boxed()).await
    }

    async fn waiting(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<WaitingItem>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| waiting::page(tx, target, after, limit).boxed()).await
    }

    async fn retry_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let found = parked::retry(tx, target, id, actor, now).await?;
                    if found {
                        self.hints.tell(tx, Told::work_of(target)).await?;
                    }
                    Ok(found)
                }
                .boxed()
            })
            .await
    }

    async fn expedite(
        &self,
        target: &str,
        key: &ResourceKey,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let follows = parked::expedite(tx, target, key, actor, now).await?;
                    if follows {
                        self.hints.tell(tx, Told::work_of(target)).await?;
                    }
                    Ok(follows)
                }
                .boxed()
            })
            .await
    }

    async fn discard_parked(
        &self,
        target: &str,
        id: &ItemId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let found = parked::discard(tx, target, id, actor, now).await?;
                    if found {
                        self.hints.tell(tx, Told::work_of(target)).await?;
                    }
                    Ok(found)
                }
                .boxed()
            })
            .await
    }

    async fn holds(
        &self,
        filter: &HoldFilter,
        now: Timestamp,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Hold>, StoreError> {
        let Some(before) = before(after) else { return Ok(Page { items: Vec::new(), next: None }) };
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| holds::page(tx, filter, now, before, limit).boxed()).await
    }

    async fn hold(&self, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError> {
        self.database.read(|tx, _| holds::one(tx, id, now).boxed()).await
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
        self.database.read(|tx, _| holds::items(tx, hold, after, limit).boxed()).await
    }

    async fn decide(&self, decision: &Decision, now: Timestamp) -> Result<Option<Decided>, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let Some((target, decided)) = holds::decide(tx, decision, now, PAGE_MAX).await? else {
                        return Ok(None);
                    };
                    self.hints.tell(tx, Told::work_of(&target)).await?;
                    Ok(Some(decided))
                }
                .boxed()
            })
            .await
    }

    async fn events(&self, after: Option<&str>, limit: usize) -> Result<Page<EventSummary>, StoreError> {
        let Some(before) = before(after) else { return Ok(Page { items: Vec::new(), next: None }) };
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| events::page(tx, before, limit).boxed()).await
    }

    async fn event(&self, id: &str) -> Result<Option<EventRecord>, StoreError> {
        self.database.read(|tx, _| events::event(tx, id).boxed()).await
    }

    async fn ledger(
        &self,
        filter: &LedgerFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<LedgerRecord>, StoreError> {
        let Some(before) = before(after) else { return Ok(Page { items: Vec::new(), next: None }) };
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| ledger::page(tx, filter, before, limit).boxed()).await
    }

    async fn ledger_past(
        &self,
        told: &BTreeMap<String, u64>,
        limit: usize,
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| ledger::past(tx, told, limit).boxed()).await
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
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| timeline::page(tx, directory, key, order, after, limit).boxed()).await
    }

    async fn present(
        &self,
        directory: &DirectoryName,
        key: &ResourceKey,
    ) -> Result<Option<Present>, StoreError> {
        self.database.read(|tx, _| timeline::present(tx, directory, key).boxed()).await
    }

    async fn prune(&self, retention: &Retention, now: Timestamp, limit: usize) -> Result<Pruned, StoreError> {
        self.database.write(|tx, _| prune::prune(tx, retention, now, limit).boxed()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Written under the transaction's own lock, so that replicas do not wait for each other.
        self.database.write(|tx, _| ping(tx).boxed()).await
    }
}

/// Fails where the server has become read-only, is gone, or has no room for a log record.
async fn ping(tx: &rows::Tx<'_>) -> Result<(), StoreError> {
    rows::execute(tx, "SELECT pg_logical_emit_message(true, 'scim_relay', 'ping')", &[]).await?;
    Ok(())
}

/// Where a list ordered by falling sequence goes on: below this number. `None` for a cursor that no
/// page has answered.
fn before(after: Option<&str>) -> Option<u64> {
    match after {
        None => Some(i64::MAX.unsigned_abs()),
        Some(cursor) => cursor.parse().ok().filter(|sequence| i64::try_from(*sequence).is_ok()),
    }
}

/// Why a store was not opened, or has stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// Something between here and a database that is up to date.
    #[error("{place} cannot be used")]
    Unusable {
        /// User, host and database.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No certificate could be verified.
    #[error("{place} cannot be used for TLS")]
    Roots {
        /// The file, or what else was asked.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Reading it would lose what the newer relay has written.
    #[error(
        "the database was written by a newer relay (schema {found}, this one knows {known}); run that version"
    )]
    Newer {
        /// The database's schema.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The tasks that append have ended.
    #[error("the store was closed")]
    Stopped,
}

impl OpenError {
    fn at(address: &Address, error: StoreError) -> Self {
        let place = address.to_string();
        match error {
            StoreError::Unavailable { source } => Self::Unusable { place, source },
            StoreError::Busy => Self::Unusable { place, source: "it takes no more connections".into() },
            StoreError::Corrupt { .. } | StoreError::Deposed { .. } => {
                Self::Unusable { place, source: Box::new(error) }
            }
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::Unavailable { source: Box::new(error) }
    }
}

//! Runs one source's errands as they fall due.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::{SharedClock, Timestamp};
use crate::directory::{Change, Kind, Operation, ResourceKey};
use crate::errands::client::{AskError, Client};
use crate::errands::record::{self, Found};
use crate::source::{Registered, Sources, told};
use crate::store::{Appended, Errand, NewEvent, Settled, Store, StoreError, Topic};
use crate::telemetry::chain;
use crate::telemetry::metrics::{Metrics, ReadLabels};

/// Errands that run at the same time.
const AT_ONCE: usize = 8;
/// The longest that one errand may take.
const RUN_MAX: Duration = Duration::from_mins(8);
/// How long nobody else takes an errand that was taken: longer than it may take.
const TERM: Duration = Duration::from_mins(10);
/// Longest wait for a notification before the store is asked.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long errands that are under way may go on when the relay stops.
const GRACE: Duration = Duration::from_secs(5);
/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How far the provider's clock may be behind ours: what it dates by its own clock after a record was
/// read must not lose to what was read.
const CLOCK_MARGIN: Duration = Duration::from_secs(5);
/// How long after a provider first said that there is no such record it is asked again. A record that
/// was just made may not be everywhere yet, and its end would outlast it.
const SECOND_LOOK: Duration = Duration::from_secs(30);
/// How long an errand that failed is left alone: a provider that is back is asked again within a quarter
/// of an hour.
const BACKOFF: Backoff =
    Backoff { base: Duration::from_secs(2), cap: Duration::from_mins(15), floor: Duration::from_millis(500) };

/// How long a provider may take to remove everybody of a directory that was deleted: whoever is read
/// before that would be found there.
const GONE_BY_THEN: Duration = Duration::from_mins(15);

/// What runs the errands of one source.
pub struct Runner {
    /// The source's name.
    pub source: String,
    /// Every source.
    pub sources: Arc<Sources>,
    /// Where errands come from and answers go.
    pub store: Arc<dyn Store>,
    /// Asks the provider.
    pub client: Client,
    /// Dates what is read.
    pub clock: SharedClock,
    /// To be told after each append.
    pub accepted: Arc<Notify>,
    /// Told when something is wanted; losing it costs a poll interval.
    pub wanted: Arc<Notify>,
    /// How often what was missed is read; `None`: never.
    pub catch_up: Option<Duration>,
    /// Where the provider is to send webhooks; `None`: that is arranged elsewhere.
    pub subscription: Option<String>,
    /// Every metric.
    pub metrics: Metrics,
}

/// Runs errands until `stop`.
pub async fn run(runner: Runner, stop: CancellationToken) {
    runner.begin().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Nothing is taken while the provider wants quiet: it would be nobody else's meanwhile.
            ready = runner.client.ready() => if let Err(error) = ready {
                tracing::error!(source = runner.source, error = %chain(&error), "failed to get ready to ask");
            }
        }
        let ran = tokio::select! {
            ran = runner.step() => ran,
            // What is cut off stays taken until its term is over.
            () = over(&stop) => return,
        };
        let pause = match ran {
            Ok(0) => POLL_INTERVAL,
            Ok(_) => continue,
            Err(error) => {
                tracing::error!(source = runner.source, error = %chain(&error), "failed to run errands; will try again");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = runner.wanted.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Some time after `stop`, in which calls that are under way may end.
async fn over(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

impl Runner {
    /// Notes what is to be looked after from now on.
    async fn begin(&self) {
        let topics =
            [(Topic::Missed, self.catch_up.is_some()), (Topic::Subscription, self.subscription.is_some())];
        for (topic, _) in topics.iter().filter(|(_, is_wanted)| *is_wanted) {
            if let Err(error) = self.store.want(&self.source, topic, self.clock.now()).await {
                tracing::error!(source = self.source, error = %chain(&error), "failed to note what is to be looked after");
            }
        }
    }

    /// Runs what is due now; answers how many errands that were.
    pub(super) async fn step(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let errands = self.store.take_errands(&self.source, now, now.after(TERM), AT_ONCE).await?;
        let count = errands.len();
        for settled in join_all(errands.into_iter().map(|errand| self.run_one(errand))).await {
            settled?;
        }
        Ok(count)
    }

    async fn run_one(&self, errand: Errand) -> Result<(), StoreError> {
        let Some(registered) = self.sources.get(&self.source) else { return Ok(()) };
        let ran = tokio::time::timeout(RUN_MAX, self.perform(registered, &errand)).await;
        let settled = match ran.unwrap_or(Err(RunError::Ask(AskError::Slow { limit: RUN_MAX }))) {
            Ok(settled) => settled,
            Err(RunError::Store(error)) => return Err(error),
            Err(RunError::Ask(error)) => self.failed(&errand, &error),
        };
        self.store.settle_errand(&errand, &settled).await
    }

    async fn perform(&self, registered: &Registered, errand: &Errand) -> Result<Settled, RunError> {
        match &errand.topic {
            Topic::Record(key) => self.read(registered, errand, key).await,
            Topic::Missed => self.missed(registered).await,
            Topic::Subscription => self.keep(registered).await,
            Topic::Everyone => self.everyone(registered).await,
            Topic::Renewal => self.hurry(registered).await,
            Topic::Verification { state } => self.verified(registered, state).await,
        }
    }

    /// Wants the record of everybody who came of the provider. Each is asked for by itself, so that who is
    /// still there stays, and an end goes the way of all ends.
    async fn everyone(&self, registered: &Registered) -> Result<Settled, RunError> {
        let Some(ids) = registered.connector.as_ref().and_then(|connector| connector.ids()) else {
            return Ok(Settled::Done);
        };
        let due = self.clock.now().after(GONE_BY_THEN);
        for (kind, prefix) in [(Kind::User, ids.users), (Kind::Group, ids.groups)] {
            self.store.want_known(&self.source, &registered.settings.directory, kind, prefix, due).await?;
        }
        self.count("everyone");
        Ok(Settled::Done)
    }

    async fn read(
        &self,
        registered: &Registered,
        errand: &Errand,
        key: &ResourceKey,
    ) -> Result<Settled, RunError> {
        let Some(connector) = &registered.connector else { return Ok(Settled::Done) };
        let now = self.clock.now();
        let as_of = earlier(now, CLOCK_MARGIN);
        let found = record::read(&self.client, &**connector, key, as_of, now).await?;
        let (outcome, settled) = match (found, errand.absent_since) {
            (Found::Changes(changes), _) => {
                self.append(registered, &changes, now).await?;
                ("read", Settled::Done)
            }
            (Found::Absent, None) => {
                let due = now.after(SECOND_LOOK);
                ("absent", Settled::Again { due, absent_since: Some(as_of), failure: None })
            }
            (Found::Absent, Some(since)) => {
                self.append(registered, &[deletion(key, since)], now).await?;
                ("deleted", Settled::Done)
            }
            (Found::Unasked, _) => ("unasked", Settled::Done),
        };
        self.count(outcome);
        Ok(settled)
    }

    /// Appends what was read, as an event of the source.
    pub(super) async fn append(
        &self,
        registered: &Registered,
        changes: &[Change],
        now: Timestamp,
    ) -> Result<Appended, StoreError> {
        let body = told::write(changes);
        let event = NewEvent {
            source: self.source.clone(),
            directory: registered.settings.directory.clone(),
            event_id: event_id(now, &body),
            received_at: now,
            urgent: changes.iter().any(|change| change.operation.ends_access()),
            body,
        };
        let appended = self.store.append(event).await?;
        self.accepted.notify_one();
        Ok(appended)
    }

    fn failed(&self, errand: &Errand, error: &AskError) -> Settled {
        let wait = BACKOFF.wait(errand.attempts, &mut rand::rng());
        let failure = chain(error);
        tracing::warn!(
            source = self.source,
            failure,
            attempts = errand.attempts + 1,
            "failed to run an errand"
        );
        self.count("failed");
        let due = self.clock.now().after(wait);
        Settled::Again { due, absent_since: errand.absent_since, failure: Some(failure) }
    }

    pub(super) fn count(&self, outcome: &'static str) {
        self.metrics.reads.get_or_create(&ReadLabels { source: self.source.clone(), outcome }).inc();
    }
}

/// Why an errand was not run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A time that lies before another.
pub(super) fn earlier(now: Timestamp, by: Duration) -> Timestamp {
    let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(micros))
}

fn deletion(key: &ResourceKey, at: Timestamp) -> Change {
    let id = key.id.clone();
    let operation = match key.kind {
        Kind::User => Operation::UserDelete { id },
        Kind::Group => Operation::GroupDelete { id },
    };
    Change { occurred_at: Some(at), operation }
}

/// Ids grow with time: of two readings of a record whose time of change is too coarse to tell them
/// apart, the later must win.
fn event_id(now: Timestamp, body: &[u8]) -> String {
    let mut id = format!("read:{:017}:", now.as_micros());
    for byte in &Sha256::digest(body)[..16] {
        write!(id, "{byte:02x}").expect("a String takes all that is written");
    }
    id
}

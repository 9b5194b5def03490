//! One source's polls, one after the other: the replica that holds the feed asks, when it is time.

use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::directory::Change;
use crate::feed::guard::Limits;
use crate::feed::poll::Settings;
use crate::feed::poll::fetch::{Fetched, Fetcher, PollError};
use crate::feed::poll::memory::Memory;
use crate::feed::poll::page::{Page, Place, with};
use crate::feed::said::Said;
use crate::feed::snapshot::{self, Snapshot, SnapshotError};
use crate::feed::spool::SpoolWriter;
use crate::feed::take::Taker;
use crate::source::Malformed;
use crate::store::{Consent, StoreError};
use crate::target::ConnectError;
use crate::telemetry::chain;
use crate::telemetry::metrics::{FeedLabels, PollLabels};

/// Longest wait before the memory of a feed is looked at again: another replica may have polled.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Most pages of one list.
const PAGES_MAX: u64 = 100_000;

/// Polls one source.
pub struct Poller {
    settings: Settings,
    limits: Limits,
    fetcher: Fetcher,
    taker: Taker,
}

/// What one poll read.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    records: u64,
    /// The source's own time when it began to answer.
    position: Option<Timestamp>,
}

impl Poller {
    /// Sets a poll up.
    pub fn connect(settings: Settings, limits: Limits, taker: Taker) -> Result<Self, ConnectError> {
        let fetcher = Fetcher::connect(&taker.source, &settings, &taker.context.clock)?;
        Ok(Self { settings, limits, fetcher, taker })
    }

    /// Polls until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let round = tokio::select! {
                biased;
                // Wherever it is cut off, the next poll goes on as after a crash.
                () = stop.cancelled() => break,
                round = self.round() => round,
            };
            let wait = match round {
                Ok(wait) => wait,
                Err(error) => {
                    let source = self.taker.source.as_str();
                    tracing::warn!(source, error = %chain(&error), "failed to remember a poll; will try again");
                    LOOK_EVERY
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait.min(LOOK_EVERY)) => {}
            }
        }
        self.taker.let_go().await;
    }

    /// Polls where it is time and nobody else does. Answers how long there is nothing to do.
    pub async fn round(&self) -> Result<Duration, StoreError> {
        let now = self.taker.now();
        let stored = self.taker.store().feeds().feed(&self.taker.source).await?.unwrap_or_default();
        let memory = Memory::read(&stored.memory);
        self.show(&memory);
        if memory.next_at > now {
            return Ok(memory.next_at.since(now));
        }
        let Some(held) = self.taker.hold().await? else { return Ok(LOOK_EVERY) };
        let mut memory = Memory::read(&held.memory);
        if memory.next_at > now {
            self.taker.release().await?;
            return Ok(memory.next_at.since(now));
        }
        let spent = self.poll(&mut memory, held.consent).await?;
        self.taker.remember(&memory.to_json(), spent).await?;
        self.show(&memory);
        self.taker.release().await?;
        Ok(memory.next_at.since(self.taker.now()))
    }

    /// Asks once, and notes what became of that. Answers whether a consent was spent.
    async fn poll(&self, memory: &mut Memory, consent: Option<Consent>) -> Result<bool, StoreError> {
        let began = self.taker.now();
        let whole = memory.is_snapshot_due(&self.settings, began);
        memory.attempt += 1;
        memory.snapshot += u64::from(whole);
        // A number is never used for two snapshots, whatever happens from here on.
        self.taker.remember(&memory.to_json(), false).await?;
        let done = self.ask(memory, whole, consent, began).await;
        let now = self.taker.now();
        let jitter = rand::random();
        match done {
            Ok(spent) => {
                memory.succeed(now);
                memory.schedule(self.settings.every, jitter, now);
                self.count("ok");
                Ok(spent)
            }
            Err(PollError::Store(error)) => Err(error),
            Err(error) => {
                let source = self.taker.source.as_str();
                tracing::warn!(source, error = %chain(&error), "failed to poll a source; will try again");
                let asked = if let PollError::Throttled { wait, .. } = &error { *wait } else { None };
                memory.fail(chain(&error), asked, jitter, now);
                self.count(if asked.is_some() { "throttled" } else { "failed" });
                Ok(false)
            }
        }
    }

    /// Takes in what is to be read this time. Answers whether a consent was spent.
    ///
    /// A snapshot that is held, or cannot be read, must not keep back what has changed; so that comes
    /// first, but for the first time and for sources that always answer everything.
    async fn ask(
        &self,
        memory: &mut Memory,
        whole: bool,
        consent: Option<Consent>,
        began: Timestamp,
    ) -> Result<bool, PollError> {
        let is_cheap = self.settings.updated_after.is_some() && memory.position.is_some();
        if !whole || is_cheap || memory.failures > 0 {
            // The snapshot that is about to be read has named nobody yet.
            let read = self.take_changes(memory, memory.snapshot - u64::from(whole)).await?;
            memory.advance(read.position.unwrap_or(began), read.records);
            self.count_records(read.records);
        }
        if !whole {
            return Ok(false);
        }
        let (read, consented) = self.take_whole(memory, consent, began).await?;
        memory.advance(read.position.unwrap_or(began), read.records);
        self.count_records(read.records);
        Ok(consented)
    }

    /// Takes in what has changed, page by page.
    async fn take_changes(&self, memory: &Memory, snapshot: u64) -> Result<Read, PollError> {
        let asked = self.settings.updated_after.as_ref().and_then(|parameter| {
            let from = memory.asked_from(parameter.format, parameter.overlap)?;
            Some((parameter.parameter.as_str(), from))
        });
        let mut pages = self.pages(asked);
        while let Some(changes) = pages.next().await? {
            let said = changes.into_iter().map(Said::new).collect();
            self.taker.take(said, memory.attempt, snapshot).await?;
        }
        Ok(pages.read)
    }

    /// Reads everything, and takes it as a snapshot once it is whole.
    async fn take_whole(
        &self,
        memory: &mut Memory,
        consent: Option<Consent>,
        began: Timestamp,
    ) -> Result<(Read, bool), PollError> {
        let mut spool = SpoolWriter::new()?;
        let mut pages = self.pages(None);
        while let Some(changes) = pages.next().await? {
            for change in &changes {
                spool.push(change)?;
            }
        }
        let is_vouched_for = consent.as_ref().is_some_and(|consent| began < consent.until);
        let snapshot = Snapshot {
            spool: spool.finish()?,
            number: memory.snapshot,
            at: began,
            // Somebody may move between pages while they are read; nobody is missed twice for that. Who
            // consents has looked.
            absent_since: if is_vouched_for { memory.snapshot } else { memory.snapshot_taken },
            limits: &self.limits,
            consent,
        };
        let done = snapshot::take(&self.taker, snapshot).await.map_err(|error| match error {
            SnapshotError::Store(error) => PollError::Store(error),
            error @ (SnapshotError::Held(_) | SnapshotError::Twice { .. } | SnapshotError::Spool(_)) => {
                PollError::Snapshot(error)
            }
        })?;
        memory.snapshot_taken = memory.snapshot;
        memory.snapshot_at = Some(began);
        memory.snapshot_done = Some(done);
        tracing::info!(source = self.taker.source, ?done, "took everything that a source lists");
        Ok((pages.read, done.consented))
    }

    fn pages(&self, asked: Option<(&str, String)>) -> Pages<'_> {
        let mut url = self.settings.url.clone();
        for (name, value) in &self.settings.query {
            url = with(&url, name, value);
        }
        if let Some((name, value)) = asked {
            url = with(&url, name, &value);
        }
        let place = Some(Place::first(url, &self.settings.paging));
        Pages { poller: self, place, read: Read::default() }
    }

    fn count(&self, outcome: &'static str) {
        let labels = PollLabels { source: self.taker.source.clone(), outcome };
        self.taker.context.metrics.polls.get_or_create(&labels).inc();
    }

    fn count_records(&self, records: u64) {
        let labels = FeedLabels { source: self.taker.source.clone() };
        self.taker.context.metrics.poll_records.get_or_create(&labels).inc_by(records);
    }

    /// What every replica shows, whoever polls.
    fn show(&self, memory: &Memory) {
        let labels = FeedLabels { source: self.taker.source.clone() };
        let seconds = memory.succeeded_at.map_or(0, Timestamp::as_seconds);
        self.taker.context.metrics.poll_last_success.get_or_create(&labels).set(seconds);
    }
}

/// The pages of one list.
struct Pages<'a> {
    poller: &'a Poller,
    place: Option<Place>,
    read: Read,
}

impl Pages<'_> {
    /// What the next page says; `None` behind the last.
    async fn next(&mut self) -> Result<Option<Vec<Change>>, PollError> {
        let Some(place) = self.place.take() else { return Ok(None) };
        if place.pages >= PAGES_MAX {
            return Err(PollError::Endless { most: PAGES_MAX });
        }
        self.poller.taker.renew().await?;
        let number = place.pages + 1;
        let fetched = self.poller.fetcher.fetch(&place.url, number).await?;
        self.read.position = self.read.position.or(fetched.date);
        let unreadable = |source| PollError::Unreadable { page: number, source };
        let (changes, records) = self.poller.understand(&fetched).map_err(unreadable)?;
        self.read.records += records;
        let page = Page { body: &fetched.body, link: fetched.link.as_deref(), records };
        self.place = place.next(&self.poller.settings.paging, page)?;
        Ok(Some(changes))
    }
}

impl Poller {
    /// A page is understood as a whole or not at all.
    fn understand(&self, page: &Fetched) -> Result<(Vec<Change>, u64), Malformed> {
        let list = &self.settings.list;
        let place = list.as_str();
        let found = list.value(&page.body).ok_or_else(|| Malformed::new(place, "is missing"))?;
        let Value::Array(records) = found else { return Err(Malformed::new(place, "a list is expected")) };
        let mut changes = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let read = self.settings.records.read(record);
            let read = read
                .map_err(|error| Malformed::new(format!("{place}/{index}{}", error.pointer), error.reason))?;
            changes.extend(read);
        }
        Ok((changes, records.len() as u64))
    }
}

//! Taking in what a source says of its records: only what it has not said before becomes an event.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest, Sha256};

use crate::clock::Timestamp;
use crate::directory::{Change, DirectoryName};
use crate::feed::said::{Said, settled};
use crate::feed::{Context, TERM};
use crate::source::fed;
use crate::store::{Feed, NewEvent, RecordKey, Store, StoreError};
use crate::telemetry::chain;

/// Events that are appended at once; they share commits.
const APPENDS_MAX: usize = 32;

/// Takes in what one source says.
#[derive(Clone)]
pub struct Taker {
    /// What every feed works with.
    pub context: Context,
    /// Name of the source.
    pub source: String,
    /// The directory that it feeds.
    pub directory: DirectoryName,
}

impl Taker {
    /// Becomes, or stays, the replica that takes this feed in; `None` where another is.
    pub async fn hold(&self) -> Result<Option<Feed>, StoreError> {
        self.store().feeds().hold(&self.source, &self.context.replica, TERM).await
    }

    /// Goes on holding the feed; fails where another has taken it.
    pub async fn renew(&self) -> Result<(), StoreError> {
        match self.hold().await? {
            Some(_) => Ok(()),
            None => Err(StoreError::Deposed { target: self.source.clone() }),
        }
    }

    /// Lets go of the feed.
    pub async fn release(&self) -> Result<(), StoreError> {
        self.store().feeds().release(&self.source, &self.context.replica).await
    }

    /// Lets go of the feed where it is held, at the end; else its term lets go of it.
    pub async fn let_go(&self) {
        if let Err(error) = self.release().await {
            let source = self.source.as_str();
            tracing::warn!(source, error = %chain(&error), "failed to let go of a feed; another replica waits for its term");
        }
    }

    /// Replaces the feed's memory.
    pub async fn remember(&self, memory: &serde_json::Value, spend: bool) -> Result<(), StoreError> {
        self.store().feeds().remember(&self.source, &self.context.replica, memory, spend).await
    }

    /// Takes in what is said of some records: one event for each that was not said before. Of a record
    /// that is named twice the last word counts. Answers how many events that took.
    ///
    /// `attempt` tells what is said now from the same words at another time. It grows, and event ids with
    /// it, so that the later word wins where a record's own time has not moved. `snapshot` is the last
    /// snapshot that was begun.
    pub async fn take(&self, said: Vec<Said>, attempt: u64, snapshot: u64) -> Result<usize, StoreError> {
        let said = last_words(said);
        let keys: Vec<RecordKey> = said.iter().map(|said| said.key.clone()).collect();
        let known = self.store().feeds().look_up(&self.source, 0, &keys).await?;
        let news: Vec<&Said> = said
            .iter()
            .zip(&known)
            .filter(|(said, known)| said.fingerprint != known.fingerprint)
            .map(|(said, _)| said)
            .collect();
        let occasion = format!("poll:{attempt:012}");
        let events = news.iter().map(|said| self.event(&occasion, std::slice::from_ref(&said.change)));
        self.append(events.collect()).await?;
        // What was seen again is not absent, whether or not it is news.
        self.store().feeds().settle(&self.source, snapshot, &settled(&said)).await?;
        Ok(news.len())
    }

    /// Makes events durable; the projector hears of them.
    pub async fn append(&self, events: Vec<NewEvent>) -> Result<(), StoreError> {
        let appends = events.into_iter().map(|event| self.store().append(event));
        let mut appends = stream::iter(appends).buffer_unordered(APPENDS_MAX);
        while appends.try_next().await?.is_some() {
            self.context.accepted.notify_one();
        }
        Ok(())
    }

    /// An event whose id is made of `occasion` and what is said.
    pub fn event(&self, occasion: &str, changes: &[Change]) -> NewEvent {
        let body = fed::body(changes);
        NewEvent {
            source: self.source.clone(),
            directory: self.directory.clone(),
            event_id: format!("{occasion}:{}", hex(&Sha256::digest(&body)[..16])),
            received_at: self.now(),
            urgent: changes.iter().any(|change| change.operation.ends_access()),
            body,
        }
    }

    /// The wall time.
    pub fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    /// Where events go.
    pub fn store(&self) -> &dyn Store {
        &*self.context.store
    }
}

fn last_words(said: Vec<Said>) -> Vec<Said> {
    let mut last = std::collections::BTreeMap::new();
    for said in said {
        last.insert(said.key.clone(), said);
    }
    last.into_values().collect()
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
    }
    text
}

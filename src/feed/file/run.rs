//! Looks at one folder, and takes each file that is complete: as a whole, or not at all.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::feed::file::Settings;
use crate::feed::file::folder::{Folder, Ready, Stamp};
use crate::feed::file::rows::{self, RowError};
use crate::feed::guard::Limits;
use crate::feed::snapshot::{self, Done, Snapshot, SnapshotError};
use crate::feed::spool::Spool;
use crate::feed::take::Taker;
use crate::store::{Consent, StoreError};
use crate::telemetry::chain;
use crate::telemetry::metrics::PollLabels;

/// Wait after the store or the disk has failed.
const PAUSE: Duration = Duration::from_secs(10);

/// Takes one source's files.
pub struct Watcher {
    settings: Arc<Settings>,
    limits: Limits,
    taker: Taker,
    folder: Arc<Mutex<Folder>>,
}

/// What is remembered from one file to the next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// How many files were begun.
    pub snapshot: u64,
    /// The moment that the last file spoke of that was taken.
    pub taken_at: Option<Timestamp>,
    /// What it did.
    pub done: Option<Done>,
    /// Why the last file was not taken; `None` where it was.
    pub error: Option<String>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
enum FileError {
    /// It goes to those that were refused.
    #[error("{0}")]
    Refused(String),
    /// It goes there as well, until somebody consents.
    #[error("{0}")]
    Held(String),
    /// It stays where it is, and is tried again.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// It stays where it is, and is tried again.
    #[error("the disk failed")]
    Disk(#[from] io::Error),
    /// It is looked at again.
    #[error("the file is still being written")]
    Unfinished,
}

impl Watcher {
    /// Sets a watcher up.
    pub fn new(settings: Settings, limits: Limits, taker: Taker) -> Self {
        let folder = Folder::new(settings.folder.clone(), settings.format);
        Self { settings: Arc::new(settings), limits, taker, folder: Arc::new(Mutex::new(folder)) }
    }

    /// Takes files until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let round = tokio::select! {
                biased;
                // Wherever it is cut off, the file is there, and is taken again.
                () = stop.cancelled() => break,
                round = self.round() => round,
            };
            let wait = match round {
                Ok(()) => self.settings.every,
                Err(error) => {
                    let source = self.taker.source.as_str();
                    tracing::warn!(source, error = %chain(&*error), "failed to take files; will try again");
                    self.settings.every.max(PAUSE)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(wait) => {}
            }
        }
        self.taker.let_go().await;
    }

    /// Takes every file that is complete now.
    pub async fn round(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let now = self.taker.now();
        let swept = self.on_disk(move |folder| folder.sweep(now)).await?;
        if swept > 0 {
            tracing::warn!(
                source = self.taker.source,
                files = swept,
                "removed what was left of files that were being posted"
            );
        }
        let ready = self.on_disk(Folder::look).await?;
        for file in ready {
            // Another replica that looks at the same folder takes them.
            let Some(held) = self.taker.hold().await? else { return Ok(()) };
            let mut memory: Memory = serde_json::from_value(held.memory).unwrap_or_default();
            memory.snapshot += 1;
            self.taker.remember(&serde_json::to_value(&memory)?, false).await?;
            let taken = self.take(&file, &memory, held.consent).await;
            let settled = self.settle(&file, &mut memory, taken).await;
            self.taker.release().await?;
            settled?;
        }
        Ok(())
    }

    async fn take(&self, file: &Ready, memory: &Memory, consent: Option<Consent>) -> Result<Done, FileError> {
        let at = file.stamp.moment(self.taker.now());
        if memory.taken_at.is_some_and(|last| at < last) {
            let reason = "it was written before the one that was taken last; touch it to have it taken";
            return Err(FileError::Refused(reason.to_owned()));
        }
        if file.stamp.length > self.settings.bytes_max {
            let reason = format!("it is over {} bytes", self.settings.bytes_max);
            return Err(FileError::Refused(reason));
        }
        let spool = self.spool(file).await?;
        let snapshot = Snapshot {
            spool,
            number: memory.snapshot,
            at,
            absent_since: memory.snapshot,
            limits: &self.limits,
            consent,
        };
        snapshot::take(&self.taker, snapshot).await.map_err(|error| match error {
            SnapshotError::Held(held) => FileError::Held(held.to_string()),
            SnapshotError::Twice { .. } => FileError::Refused(error.to_string()),
            SnapshotError::Store(error) => FileError::Store(error),
            SnapshotError::Spool(error) => FileError::Disk(error),
        })
    }

    /// Reads a file as a whole, before anything comes of it.
    async fn spool(&self, file: &Ready) -> Result<Spool, FileError> {
        let (settings, ready) = (Arc::clone(&self.settings), file.clone());
        let spool = self.on_disk(move |folder| {
            let Ok(file) = folder.open(&ready) else { return Ok(Err(FileError::Unfinished)) };
            let spool = match rows::spool(&file, settings.format, &settings.records) {
                Ok(spool) => spool,
                Err(RowError::Read(error)) => return Err(error),
                Err(error @ (RowError::Malformed { .. } | RowError::Broken { .. })) => {
                    return Ok(Err(FileError::Refused(error.to_string())));
                }
            };
            // What was written meanwhile may be a half of something.
            let unchanged = Stamp::of(&file)? == ready.stamp;
            Ok(if unchanged { Ok(spool) } else { Err(FileError::Unfinished) })
        });
        spool.await?
    }

    /// Notes what became of a file, and puts it away.
    async fn settle(
        &self,
        file: &Ready,
        memory: &mut Memory,
        taken: Result<Done, FileError>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (source, name, number) = (self.taker.source.as_str(), file.name.as_str(), memory.snapshot);
        let file = file.clone();
        match taken {
            Ok(done) => {
                tracing::info!(source, file = name, ?done, "took a file");
                memory.taken_at = Some(file.stamp.moment(self.taker.now()));
                (memory.done, memory.error) = (Some(done), None);
                self.taker.remember(&serde_json::to_value(&*memory)?, done.consented).await?;
                self.count("taken");
                self.on_disk(move |folder| folder.put_away(&file, number)).await?;
                Ok(())
            }
            Err(FileError::Refused(reason)) => self.refuse(file, memory, reason, "refused").await,
            Err(FileError::Held(reason)) => self.refuse(file, memory, reason, "held").await,
            Err(FileError::Unfinished) => Ok(()),
            Err(error @ (FileError::Store(_) | FileError::Disk(_))) => Err(Box::new(error)),
        }
    }

    async fn refuse(
        &self,
        file: Ready,
        memory: &mut Memory,
        reason: String,
        outcome: &'static str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (source, number) = (self.taker.source.as_str(), memory.snapshot);
        tracing::warn!(source, file = file.name, reason, "refused a file; nothing of it was taken");
        memory.error = Some(format!("{}: {reason}", file.name));
        self.taker.remember(&serde_json::to_value(&*memory)?, false).await?;
        self.count(outcome);
        self.on_disk(move |folder| folder.refuse(&file, number, &reason)).await?;
        Ok(())
    }

    fn count(&self, outcome: &'static str) {
        let labels = PollLabels { source: self.taker.source.clone(), outcome };
        self.taker.context.metrics.files.get_or_create(&labels).inc();
    }

    /// Works on the folder where waiting for a disk holds nobody up.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Folder) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let folder = Arc::clone(&self.folder);
        let worked = tokio::task::spawn_blocking(move || {
            work(&mut folder.lock().expect("nothing panics while it works on the folder"))
        });
        worked.await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
    }
}

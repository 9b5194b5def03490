//! The audit file: what the ledger holds, one JSON line each, in files that rotate.
//!
//! The file follows the ledger and is never waited for: work goes on whatever becomes of it. For each
//! target it is noted how far its entries were written, beside the file and after the lines are on disk,
//! so that a line may be written twice after a crash and none is left out; the lines of a target are in
//! the order in which its entries were committed. That is so although numbers of different targets are
//! not committed in their order: a target's are taken under its lock ([`Store::ledger_past`]).
//!
//! Each replica writes all of it to a file of its own, what other replicas did included.

mod journal;
mod line;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::audit::journal::Journal;
use crate::clock::{SharedClock, Timestamp};
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::telemetry::metrics::Metrics;

/// Entries that are read, and made durable, together.
const BATCH: usize = 500;
/// Wait for further entries.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Wait after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Where the audit is written, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file that is being written. Older ones have `.1`, `.2` and so on behind their name, the newest
    /// first; beside it stand the note of how far it goes (`.position`) and a lock (`.lock`).
    pub path: PathBuf,
    /// Most bytes of one file.
    pub bytes_max: u64,
    /// Most files, the one that is being written included; at least 2.
    pub files_max: u32,
}

/// Whether the audit is written: what people are told.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Option<Failure>>>);

/// Why the audit is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong, for people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

impl Health {
    /// What keeps the audit from being written now.
    pub fn failure(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True where it failed before.
    fn mended(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// True where the same was not known before.
    fn failed(&self, reason: String, now: Timestamp) -> bool {
        let mut failure = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failure.as_ref().map_or(now, |failure| failure.since);
        let news = failure.as_ref().is_none_or(|failure| failure.reason != reason);
        *failure = Some(Failure { reason, since });
        news
    }
}

/// What writing the audit needs.
pub struct Auditor {
    /// Whose ledger is written.
    pub store: Arc<dyn Store>,
    /// Where to.
    pub settings: Settings,
    /// Told whether it is written.
    pub health: Health,
    /// By which failures are dated.
    pub clock: SharedClock,
    /// Told how much was written.
    pub metrics: Metrics,
}

/// Writes what the ledger holds and comes to hold, until `stop`.
pub async fn run(auditor: Auditor, stop: CancellationToken) {
    let mut journal = None;
    while !stop.is_cancelled() {
        let pause = match batch(&auditor, &mut journal).await {
            Ok(written) => {
                auditor.note_success(written);
                if written < BATCH { LOOK_EVERY } else { Duration::ZERO }
            }
            Err(fault) => {
                auditor.note_failure(&fault);
                RETRY_EVERY
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("write the audit")]
    File(#[from] std::io::Error),
    #[error("read the ledger")]
    Store(#[from] StoreError),
}

/// Writes the next entries; answers how many there were. Whatever fails begins with a file opened anew.
async fn batch(auditor: &Auditor, journal: &mut Option<Journal>) -> Result<usize, Fault> {
    let open = if let Some(open) = journal.take() {
        open
    } else {
        let settings = auditor.settings.clone();
        on_disk(move || Journal::open(settings)).await?
    };
    let entries = auditor.store.ledger_past(open.told(), BATCH).await?;
    let written = entries.len();
    let kept = if entries.is_empty() {
        open
    } else {
        on_disk(move || {
            let mut open = open;
            open.append(&entries)?;
            Ok(open)
        })
        .await?
    };
    *journal = Some(kept);
    Ok(written)
}

/// Off the runtime's own threads: a disk may take its time.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(std::io::Error::other(error)),
    }
}

impl Auditor {
    fn note_success(&self, written: usize) {
        self.metrics.audit_lines.inc_by(written as u64);
        self.metrics.audit_failing.set(0);
        if self.health.mended() {
            tracing::info!("the audit is written again; what it lacked was caught up");
        }
    }

    fn note_failure(&self, fault: &Fault) {
        self.metrics.audit_failing.set(1);
        let reason = format!("failed to {}", chain(fault));
        let known = reason.clone();
        if self.health.failed(reason, self.clock.now()) {
            let path = self.settings.path.display();
            tracing::error!(%path, reason = known, "the audit is not written; nothing else waits for it");
        }
    }
}

#[cfg(test)]
mod tests;

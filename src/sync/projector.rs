//! Moves accepted events into their directories, and wakes the targets that follow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{EventReader, Store};
use crate::sync::handle::Handle;
use crate::sync::scopes::Scoped;

/// Most events merged in one transaction: large enough that a burst's changes to one user meet in
/// memory, small enough that accepting goes on meanwhile.
const BATCH: usize = 512;
/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// What the projector needs.
pub struct Projector {
    /// Where events come from and changes go.
    pub store: Arc<dyn Store>,
    /// Reads bodies again.
    pub reader: Arc<dyn EventReader>,
    /// Told after each accepted event; losing one costs a poll interval.
    pub accepted: Arc<Notify>,
    /// To be told when records are left to be read.
    pub wanted: Arc<Notify>,
    /// The configured targets.
    pub targets: BTreeMap<String, Handle>,
    /// Longest wait for a notification.
    pub poll_interval: Duration,
}

/// Projects until `stop`.
pub async fn run(projector: Projector, stop: CancellationToken) {
    let reader = Scoped::new(&*projector.reader, projector.targets.values());
    loop {
        let pause = match projector.store.project(&reader, BATCH).await {
            Ok(projection) => {
                for target in &projection.woken {
                    if let Some(handle) = projector.targets.get(target) {
                        handle.wake();
                    }
                }
                if projection.wanted > 0 {
                    projector.wanted.notify_waiters();
                }
                if projection.more {
                    if stop.is_cancelled() {
                        return;
                    }
                    continue;
                }
                projector.poll_interval
            }
            Err(error) => {
                tracing::error!(error = %crate::telemetry::chain(&error), "failed to merge events; will try again");
                STORE_PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = projector.accepted.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

//! One tenure: from taking a target up to handing it back, or to losing it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::store::Tenure;
use crate::sync::catch_up::catch_up;
use crate::sync::discovery;
use crate::sync::dispatcher::{Dispatcher, Ended};
use crate::sync::leases::lease::Lease;
use crate::sync::memory::Memory;
use crate::sync::resync;
use crate::sync::shared::Shared;
use crate::telemetry::chain;

/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);
/// How often a target is handed back to a store that fails.
const RELEASES_MAX: usize = 3;

/// Why a tenure has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was handed back; the store was told, if it could be.
    HandedBack,
    /// It was not renewed in time, or the roster says that it is another's.
    RanOut,
    /// The store refuses what comes under it.
    TakenOver,
}

/// What everything that is done under one tenure shares.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) tenure: Tenure,
    pub(super) lease: Lease,
    /// When it began. Calls about what waits since before may have been sent under an earlier tenure.
    pub(super) began_at: Timestamp,
    /// Told when the target is to be handed back.
    pub(super) stop: CancellationToken,
}

/// Dispatches while the lease lasts; at `stop` hands the target back.
pub(super) async fn run(shared: Arc<Shared>, tenure: Tenure, lease: Lease, stop: CancellationToken) -> End {
    let _present = Present::begin(Arc::clone(&shared), &tenure, lease.clone());
    let began_at = shared.clock.now();
    let run = Arc::new(Run { shared, tenure, lease, began_at, stop });
    // On the heap: it is large, and moved about.
    let end = run.lease.within(Box::pin(work(&run))).await.unwrap_or(End::RanOut);
    // Steps that are still there see it before they do anything further.
    run.lease.end();
    end
}

async fn work(run: &Arc<Run>) -> End {
    let ended = match take_up(run).await {
        Some(mut memory) => {
            let ended = tokio::select! {
                ended = Dispatcher::new(Arc::clone(run)).run() => ended,
                never = memory.keep() => match never {},
                never = follow_state(&run.shared) => match never {},
                never = discovery::keep(&run.shared) => match never {},
                never = resync::keep(run) => match never {},
            };
            memory.keep_the_last().await;
            ended
        }
        None => Ended::Stopped,
    };
    match ended {
        Ended::Stopped => {
            hand_back(run).await;
            End::HandedBack
        }
        Ended::Deposed => End::TakenOver,
        Ended::Over => End::RanOut,
    }
}

/// Nothing is sent any more. Others wait for the target until its lease has ended, if the store
/// cannot be told.
async fn hand_back(run: &Run) {
    for _ in 0..RELEASES_MAX {
        let Err(error) = run.shared.store.release(&run.tenure).await else { return };
        tracing::warn!(target_name = run.shared.name(), error = %chain(&error), "failed to hand a target back");
        tokio::time::sleep(STORE_PAUSE).await;
    }
}

/// Goes on from where the holder before has left off; `None` when it is to stop before that.
async fn take_up(run: &Run) -> Option<Memory> {
    let shared = &run.shared;
    loop {
        match shared.store.target(shared.name()).await {
            Ok(record) => {
                let memory = match record {
                    Some(record) => {
                        shared.note_state(record.state);
                        record.memory
                    }
                    None => serde_json::Value::Null,
                };
                let taken_up = Memory::take_up(Arc::clone(shared), memory.clone()).await;
                match catch_up(shared, &memory).await {
                    Ok(()) => return Some(taken_up),
                    Err(error) => {
                        tracing::error!(target_name = shared.name(), error = %chain(&error), "failed to mark all users under a changed mapping");
                    }
                }
            }
            Err(error) => {
                tracing::error!(target_name = shared.name(), error = %chain(&error), "failed to read what is known of a target");
            }
        }
        tokio::select! {
            () = run.stop.cancelled() => return None,
            () = tokio::time::sleep(STORE_PAUSE) => {}
        }
    }
}

/// Takes in what other replicas were told to do with the target.
async fn follow_state(shared: &Shared) -> Infallible {
    loop {
        let told = tokio::select! {
            () = shared.state_set.notified() => true,
            () = tokio::time::sleep(shared.settings.poll_interval) => false,
        };
        if let Err(error) = shared.reread_state(told).await {
            tracing::warn!(target_name = shared.name(), error = %chain(&error), "failed to read the target's state");
        }
    }
}

/// Shows that the target is dispatched here, until it is dropped.
struct Present(Arc<Shared>);

impl Present {
    fn begin(shared: Arc<Shared>, tenure: &Tenure, lease: Lease) -> Self {
        {
            let mut holding = shared.holding();
            holding.holder = Some(tenure.holder.clone());
            holding.lease = Some(lease);
        }
        shared.metrics.target_held.get_or_create(&shared.labels()).set(1);
        Self(shared)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let Self(shared) = self;
        {
            let mut holding = shared.holding();
            holding.holder = None;
            holding.lease = None;
        }
        shared.in_flight.store(0, Ordering::SeqCst);
        shared.metrics.target_held.get_or_create(&shared.labels()).set(0);
    }
}

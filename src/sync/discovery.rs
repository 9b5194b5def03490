//! What the vendor says of itself: read when a replica begins to dispatch the target, once a day, and
//! when somebody asks.
//!
//! It waits for a lull, since no change should stand in line behind a document. A failure changes
//! nothing, charges nothing, and suspends nobody.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Timestamp;
use crate::store::TargetState;
use crate::sync::shared::Shared;
use crate::target::CallClass;
use crate::target::discovery::{self, Difference, Reading};
use crate::telemetry::chain;

/// Its name in the memory.
pub(super) const DISCOVERY: &str = "discovery";

/// How often it is looked whether nothing is under way.
const LOOK: Duration = Duration::from_secs(1);
/// After this a target is read in the midst of work: a backlog may last for days.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest that one round of reading takes, the vendor's pauses included.
const ROUND_MAX: Duration = Duration::from_mins(10);
/// From one round to the next: after one in which all was read, and after another.
const AGAIN: Duration = Duration::from_hours(24);
const AGAIN_AFTER_FAILURE: Duration = Duration::from_hours(1);

/// What was last read, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub reading: Reading,
}

/// Reads what was kept; what cannot be read is as if it had never been kept.
pub(super) fn recollect(memory: &Value) -> Option<Discovery> {
    Discovery::deserialize(memory).ok()
}

/// Reads, waits, and reads again, for ever.
pub(super) async fn keep(shared: &Shared) -> Infallible {
    if !shared.settings.discover {
        shared.discover.notified().await;
    }
    loop {
        lull(shared).await;
        let again = round(shared).await;
        tokio::select! {
            () = sleep(again), if shared.settings.discover => {}
            () = shared.discover.notified() => {}
        }
    }
}

/// Waits until the target may be called and nothing is under way, though not for ever.
async fn lull(shared: &Shared) {
    let patience = Instant::now() + PATIENCE;
    loop {
        sleep(LOOK).await;
        let may_be_called = shared.state() == TargetState::Running;
        if may_be_called && (Instant::now() >= patience || is_idle(shared).await) {
            return;
        }
    }
}

/// Whether nothing is under way, and nothing waits for a permit.
pub(super) async fn is_idle(shared: &Shared) -> bool {
    if shared.in_flight.load(Ordering::SeqCst) > 0 {
        return false;
    }
    // One question for all lanes, and it does not grow with what is due.
    let first = shared.store.next_due(shared.name(), Timestamp::from_micros(i64::MIN)).await;
    first.is_ok_and(|first| first.is_none_or(|first| first > shared.clock.now()))
}

/// Reads once, and keeps it. Answers when to read again.
async fn round(shared: &Shared) -> Duration {
    let before = recollect(&shared.recall(DISCOVERY).await);
    let known = before.as_ref().map(|before| before.reading.discovered.clone()).unwrap_or_default();
    let stack = shared.target.stack_for(CallClass::List);
    let profile = shared.target.profile();
    let Ok(reading) = timeout(ROUND_MAX, discovery::read(stack, profile, known)).await else {
        tracing::debug!(target_name = shared.name(), "had no chance to read what the vendor says of itself");
        return AGAIN_AFTER_FAILURE;
    };
    if before.as_ref().is_none_or(|before| before.reading.discovered != reading.discovered) {
        tell(shared, &discovery::differences(profile, &reading.discovered));
    }
    let again = if reading.unread.is_empty() { AGAIN } else { AGAIN_AFTER_FAILURE };
    let discovery = Discovery { at: shared.clock.now(), reading };
    if let Err(error) = shared.remember([(DISCOVERY, json!(discovery))]).await {
        tracing::error!(target_name = shared.name(), error = %chain(&error), "failed to keep what the vendor says of itself");
    }
    again
}

fn tell(shared: &Shared, differences: &[Difference]) {
    tracing::info!(
        target_name = shared.name(),
        differences = differences.len(),
        "the vendor has described itself"
    );
    for Difference { about, profile, vendor, relay } in differences {
        tracing::info!(
            target_name = shared.name(),
            about,
            profile,
            vendor,
            relay,
            "the vendor and its profile differ"
        );
    }
}

#[cfg(test)]
mod tests;

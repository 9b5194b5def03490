//! Notices when no relay has listened for longer than a source's sender repeats what was not taken: what
//! happened meanwhile is lost, and nobody else would say so.
//!
//! Every replica notes now and then that somebody listens, so that one that is restarted while others run is
//! no silence.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::{SharedClock, Timestamp};
use crate::store::advice::advise;
use crate::store::{Store, StoreError};
use crate::telemetry::chain;

/// How often it is noted that somebody listens.
const BEAT: Duration = Duration::from_mins(1);
/// A shorter silence is none: it may be as long after a crash for the last note alone.
const SILENCE_MIN: Duration = Duration::from_mins(3);
/// Where it is noted, in the memory of a source.
const PART: &str = "listened";

/// What is watched.
pub struct Vigil {
    /// Each source, and for how long a silence loses nothing of it: its sender repeats what was not taken,
    /// or keeps a record that is read afterwards.
    pub sources: Vec<(String, Duration)>,
    /// Where it is noted.
    pub store: Arc<dyn Store>,
    /// By which silence is measured.
    pub clock: SharedClock,
}

/// Watches until `stop`.
pub async fn keep(vigil: Vigil, stop: CancellationToken) {
    loop {
        for (source, patience) in &vigil.sources {
            if let Err(error) = vigil.look(source, *patience).await {
                tracing::warn!(source, error = %chain(&error), "failed to note that somebody listens");
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(BEAT) => {}
        }
    }
}

impl Vigil {
    /// Notes that somebody listens now, and advises a resync where nobody did for too long.
    async fn look(&self, source: &str, patience: Duration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let noted = self.store.source_memory(source, PART).await?;
        let listened = noted.and_then(|value| value["at_us"].as_i64()).map(Timestamp::from_micros);
        let silence = listened.map(|at| now.since(at)).unwrap_or_default();
        if let Some(at) = listened.filter(|_| silence > patience.max(SILENCE_MIN)) {
            let reason =
                format!("nobody listened from {at} to {now}, and the sender may have given events up");
            if advise(&*self.store, source, reason, now).await? {
                let silence_seconds = silence.as_secs();
                tracing::warn!(
                    source,
                    silence_seconds,
                    "nobody listened for longer than the sender repeats; a resync of the source is advised"
                );
            }
        }
        self.store.set_source_memory(source, PART, &json!({"at_us": now.as_micros()})).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;
    use crate::store::advice::{advice, withdraw};
    use crate::store::sqlite::SqliteStore;

    const HOUR: Duration = Duration::from_hours(1);

    fn vigil(store: &Arc<dyn Store>, clock: &SharedClock) -> Vigil {
        let sources = vec![("patient".to_owned(), 10 * HOUR), ("hasty".to_owned(), Duration::ZERO)];
        Vigil { sources, store: Arc::clone(store), clock: Arc::clone(clock) }
    }

    async fn listen(vigil: Vigil, time: Duration) {
        let stop = CancellationToken::new();
        let watching = tokio::spawn(keep(vigil, stop.clone()));
        tokio::time::sleep(time).await;
        stop.cancel();
        watching.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silence_longer_than_the_sender_repeats_is_told_until_the_source_was_read_as_a_whole() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_temporary().unwrap());
        let clock: SharedClock = Arc::new(TokioClock::starting_at(Timestamp::from_seconds(1_790_000_000)));
        let advised = async |source: &str| advice(&*store, source).await.unwrap().is_some();
        listen(vigil(&store, &clock), HOUR).await;
        tokio::time::sleep(Duration::from_mins(2)).await;
        listen(vigil(&store, &clock), HOUR).await;
        assert!(!advised("hasty").await, "neither the first start nor a restart is a silence");

        tokio::time::sleep(9 * HOUR).await;
        listen(vigil(&store, &clock), HOUR).await;
        assert_eq!((advised("hasty").await, advised("patient").await), (true, false));
        let first = advice(&*store, "hasty").await.unwrap();

        tokio::time::sleep(11 * HOUR).await;
        listen(vigil(&store, &clock), HOUR).await;
        assert!(advised("patient").await);
        assert_eq!(advice(&*store, "hasty").await.unwrap(), first, "the first reason stays");

        assert_eq!(withdraw(&*store, "hasty").await.unwrap(), first);
        listen(vigil(&store, &clock), HOUR).await;
        assert_eq!((advised("hasty").await, advised("patient").await), (false, true));
    }
}

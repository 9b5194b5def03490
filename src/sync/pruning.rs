//! Deletes what is past its retention, in small batches, so that nobody else waits for long.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::store::{Pruned, Retention, Store};
use crate::telemetry::chain;
use crate::telemetry::metrics::{Metrics, PrunedLabels};

/// Rows of each sort in one transaction: a few milliseconds of the store's time.
const BATCH: usize = 500;
/// Pause between two batches, in which others have the store to themselves.
const BREATH: Duration = Duration::from_millis(50);
/// Time between two rounds; replicas keep apart by chance.
const ROUND: Duration = Duration::from_hours(1);
/// Wait before the first round, while the relay catches up with what came before it started.
const FIRST: Duration = Duration::from_mins(1);

/// What the pruner needs.
pub struct Pruner {
    /// What is pruned.
    pub store: Arc<dyn Store>,
    /// By which things are old.
    pub clock: SharedClock,
    /// For how long things are kept.
    pub retention: Retention,
    /// Told what was deleted.
    pub metrics: Metrics,
}

/// Prunes every hour, until `stop`.
pub async fn run(pruner: Pruner, stop: CancellationToken) {
    let mut pause = jittered(FIRST);
    while stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let round = async {
            while batch(&pruner).await {
                tokio::time::sleep(BREATH).await;
            }
        };
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
        pause = jittered(ROUND);
    }
}

/// Whether there is more. What the store cannot do now is done in the next round.
async fn batch(pruner: &Pruner) -> bool {
    match pruner.store.prune(&pruner.retention, pruner.clock.now(), BATCH).await {
        Ok(done) => {
            count(&pruner.metrics, done);
            done.more
        }
        Err(error) => {
            tracing::warn!(error = %chain(&error), "failed to delete what is past its retention; will try again");
            false
        }
    }
}

fn count(metrics: &Metrics, pruned: Pruned) {
    let Pruned { events, ledger, tombstones, guard, more: _ } = pruned;
    let sorts = [("events", events), ("ledger", ledger), ("tombstones", tombstones), ("guard", guard)];
    for (sort, rows) in sorts {
        metrics.pruned.get_or_create(&PrunedLabels { sort }).inc_by(rows);
    }
}

/// Between three and five quarters of it.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;
    use crate::store::conformance::script::{Script, now, received_at, titled};
    use crate::store::sqlite::SqliteStore;
    use tokio::time::Instant;

    const KEPT: Duration = Duration::from_hours(8 * 24);

    #[tokio::test(start_paused = true)]
    async fn what_is_old_goes_within_an_hour_or_so_and_is_counted() {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_temporary().unwrap());
        let script = Script::default();
        let events = BATCH * 2 + 1;
        for number in 0..events {
            let event = script.event(u32::try_from(number).unwrap(), vec![now(titled("u1", "Clerk"))]);
            store.append(event).await.unwrap();
        }
        while store.project(&script, 512).await.unwrap().more {}

        let metrics = Metrics::new();
        let pruner = Pruner {
            store: Arc::clone(&store),
            clock: Arc::new(TokioClock::starting_at(received_at(0))),
            retention: Retention { events: KEPT, ..Retention::default() },
            metrics: metrics.clone(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(pruner, stop.clone()));
        let started = Instant::now();
        let gone = metrics.pruned.get_or_create_owned(&PrunedLabels { sort: "events" });
        while gone.get() < events as u64 {
            assert!(started.elapsed() < KEPT + ROUND * 2, "{} are gone", gone.get());
            if started.elapsed() < KEPT {
                assert_eq!(gone.get(), 0, "after {:?}", started.elapsed());
            }
            tokio::time::sleep(Duration::from_mins(1)).await;
        }
        assert!(store.events(None, 1).await.unwrap().items.is_empty());
        stop.cancel();
        task.await.unwrap();
    }
}

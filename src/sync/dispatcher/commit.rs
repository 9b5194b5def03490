//! Recording outcomes: many in one commit, one commit at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Dispatcher, Ended, STORE_PAUSE, carry_on_the_panic};
use crate::directory::ResourceKey;
use crate::store::{Committed, Outcome, StoreError};
use crate::sync::run::Run;
use crate::telemetry::chain;
use crate::telemetry::metrics::LaneLabels;

/// Most outcomes in one commit.
const COMMIT_MAX: usize = 256;

impl Dispatcher {
    pub(super) fn begin_commit(&mut self) {
        if self.commit.is_some() || self.outcomes.is_empty() {
            return;
        }
        let rest = self.outcomes.split_off(self.outcomes.len().min(COMMIT_MAX));
        let outcomes = std::mem::replace(&mut self.outcomes, rest);
        let run = Arc::clone(&self.run);
        self.commit = Some(tokio::spawn(async move { commit(&run, outcomes).await }));
    }

    pub(super) async fn absorb_commit(
        &mut self,
        keys: Vec<ResourceKey>,
        result: Result<Committed, StoreError>,
    ) -> Result<(), Ended> {
        self.shared().in_flight.fetch_sub(keys.len() as u64, Ordering::SeqCst);
        for key in &keys {
            self.lanes.release(key);
        }
        match result {
            Ok(committed) => {
                self.count(&committed);
                if committed.woken {
                    self.lanes.expect_more();
                }
            }
            Err(StoreError::Deposed { .. }) => return Err(self.deposed()),
            Err(error) => {
                // Rows stay pending: what was sent is found by looking, and planned anew.
                tracing::error!(target_name = self.name(), error = %chain(&error), "failed to record outcomes");
                tokio::time::sleep(STORE_PAUSE).await;
                self.lanes.expect_more();
            }
        }
        Ok(())
    }

    /// Records all that is left.
    pub(super) async fn record_the_rest(&mut self) -> Result<(), Ended> {
        loop {
            if let Some(commit) = self.commit.take() {
                let (keys, result) = commit.await.unwrap_or_else(|error| carry_on_the_panic(error));
                self.absorb_commit(keys, result).await?;
            }
            self.begin_commit();
            if self.commit.is_none() {
                return Ok(());
            }
        }
    }

    pub(super) fn deposed(&self) -> Ended {
        tracing::warn!(target_name = self.name(), "somebody else dispatches the target now");
        Ended::Deposed
    }

    fn count(&self, committed: &Committed) {
        let seconds = &self.shared().metrics.convergence_seconds;
        for (lane, elapsed) in &committed.converged {
            let labels = LaneLabels { target: self.name().to_owned(), lane: lane.as_str() };
            seconds.get_or_create(&labels).observe(elapsed.as_secs_f64());
        }
    }
}

async fn commit(run: &Run, outcomes: Vec<Outcome>) -> (Vec<ResourceKey>, Result<Committed, StoreError>) {
    let keys = outcomes.iter().map(|outcome| outcome.key.clone()).collect();
    let result = run.shared.store.commit(&run.tenure, outcomes, run.shared.clock.now()).await;
    (keys, result)
}

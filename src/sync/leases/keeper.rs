//! Keeps this replica's leases: says that it lives, takes its part of the targets, gives up the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::store::{Roster, Store, StoreError, Tenure};
use crate::sync::End;
use crate::sync::handle::Handles;
use crate::sync::leases::Settings;
use crate::sync::leases::balance::{Own, balance};
use crate::sync::leases::lease::Lease;
use crate::telemetry::chain;
use crate::telemetry::metrics::{Metrics, TakeoverLabels};

/// Two rounds are never closer than this, however many hints come.
const ROUND_GAP: Duration = Duration::from_millis(100);
/// How long the store may take to hear a goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// What keeping leases takes.
pub struct Keeper {
    /// Where the leases are.
    pub store: Arc<dyn Store>,
    /// This replica's name; no other process has ever had it.
    pub replica: String,
    /// The configured targets.
    pub targets: Handles,
    /// Told when another replica is said to have come, gone, or handed a target back.
    pub leases_changed: Arc<Notify>,
    /// The times of leases.
    pub settings: Settings,
    /// Where take-overs are counted.
    pub metrics: Metrics,
}

/// Keeps leases, and dispatches the targets that are held, until `stop`; then says goodbye, ends what
/// is in flight, and hands every target back as soon as it is idle.
pub async fn run(keeper: Keeper, stop: CancellationToken) {
    let mut keeping = Keeping {
        keeper,
        held: BTreeMap::new(),
        runs: JoinSet::new(),
        free_since: BTreeMap::new(),
        ran_out: BTreeSet::new(),
    };
    let (mut last, mut next) = (None, Instant::now());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = keeping.runs.join_next_with_id(), if !keeping.runs.is_empty() => {
                if keeping.note_end(ended) {
                    next = next.min(Instant::now() + keeping.keeper.settings.retry);
                }
            }
            () = keeping.keeper.leases_changed.notified() => {
                let earliest = last.map_or_else(Instant::now, |last| last + ROUND_GAP);
                next = next.min(earliest);
            }
            () = sleep_until(next) => {
                last = Some(Instant::now());
                next = keeping.round().await;
            }
        }
    }
    keeping.say_goodbye().await;
}

struct Keeping {
    keeper: Keeper,
    held: BTreeMap<String, Held>,
    runs: JoinSet<(String, End)>,
    /// Since when this replica has seen a target that nobody holds.
    free_since: BTreeMap<String, Instant>,
    /// Targets whose lease this replica could not renew in time.
    ran_out: BTreeSet<String>,
}

/// A target that is dispatched here.
struct Held {
    tenure: Tenure,
    lease: Lease,
    /// Tells the dispatcher to hand the target back.
    stop: CancellationToken,
    task: Id,
}

impl Keeping {
    /// Says that this replica lives, and does its part. Answers when the next round is due.
    async fn round(&mut self) -> Instant {
        let settings = self.keeper.settings;
        // The store reckons the term from when it hears; reckoned from before that, it is over sooner.
        let sent = Instant::now();
        let attended = self.ask(self.keeper.store.attend(&self.keeper.replica, settings.term));
        let roster = match attended.await {
            Ok(roster) => roster,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "failed to renew the leases on targets; will try again");
                return Instant::now() + settings.retry;
            }
        };
        self.renew(&roster, sent + settings.term - settings.margin);
        self.note_holders(&roster);
        self.note_free(&roster);
        let due = sent + settings.every();
        self.act(&roster, due).await;
        due
    }

    /// Waits for the store no longer than leases can wait for their renewal.
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = timeout(self.keeper.settings.every(), answer).await;
        answer.unwrap_or_else(|elapsed| Err(StoreError::Unavailable { source: Box::new(elapsed) }))
    }

    /// Lengthens the leases that the roster confirms, and ends those that it denies.
    fn renew(&self, roster: &Roster, until: Instant) {
        for (target, held) in &self.held {
            match roster.targets.get(target) {
                Some(Some(tenure)) if *tenure == held.tenure => held.lease.renew(until),
                // It is being handed back, and the store has heard of it before we have.
                Some(None) if held.stop.is_cancelled() => {}
                Some(Some(_) | None) => held.lease.end(),
                // Not followed any more: nobody else will take it, and nothing is to be sent.
                None => held.stop.cancel(),
            }
        }
    }

    fn note_holders(&self, roster: &Roster) {
        for (name, target) in &self.keeper.targets {
            let tenure = roster.targets.get(name).and_then(Option::as_ref);
            target.note_holder(tenure.map(|tenure| tenure.holder.clone()));
        }
    }

    fn note_free(&mut self, roster: &Roster) {
        let now = Instant::now();
        let free = |name: &String| roster.targets.get(name).is_some_and(Option::is_none);
        self.free_since.retain(|name, _| free(name));
        for name in roster.targets.keys().filter(|name| free(name)) {
            self.free_since.entry(name.clone()).or_insert(now);
        }
    }

    /// Takes and hands back what the balance asks for, as far as it gets until `due`.
    async fn act(&mut self, roster: &Roster, due: Instant) {
        let ending = self.held.iter().filter(|(_, held)| held.stop.is_cancelled());
        let ending: BTreeSet<String> = ending.map(|(name, _)| name.clone()).collect();
        let patience = self.keeper.settings.term;
        let overdue = self.free_since.iter().filter(|(_, since)| since.elapsed() >= patience);
        let overdue: BTreeSet<String> = overdue.map(|(name, _)| name.clone()).collect();
        let own = Own { name: &self.keeper.replica, ending: &ending, overdue: &overdue };
        let moves = balance(own, roster);
        for name in &moves.hand_back {
            self.hand_back(name, roster).await;
        }
        // A lease that this process could not renew in time, and nobody has taken: its work has ended.
        let lapsed = roster.targets.values().flatten().filter(|tenure| {
            tenure.holder == self.keeper.replica
                && !self.held.contains_key(&tenure.target)
                && !moves.hand_back.contains(&tenure.target)
        });
        let lapsed: Vec<String> = lapsed.map(|tenure| tenure.target.clone()).collect();
        for name in lapsed.iter().chain(&moves.take) {
            if Instant::now() < due {
                self.take(name).await;
            }
        }
    }

    async fn hand_back(&self, name: &str, roster: &Roster) {
        if let Some(held) = self.held.get(name) {
            tracing::info!(target_name = name, "handing a target to another replica");
            held.stop.cancel();
            return;
        }
        let Some(Some(tenure)) = roster.targets.get(name) else { return };
        if let Err(error) = self.ask(self.keeper.store.release(tenure)).await {
            tracing::warn!(target_name = name, error = %chain(&error), "failed to hand a target back");
        }
    }

    async fn take(&mut self, name: &str) {
        // One whose work is about to end is taken when it has; one that is not configured, never.
        if self.held.contains_key(name) || !self.keeper.targets.contains_key(name) {
            return;
        }
        let settings = self.keeper.settings;
        let sent = Instant::now();
        match self.ask(self.keeper.store.take(name, &self.keeper.replica, settings.term)).await {
            Ok(Some(tenure)) => self.begin(tenure, sent + settings.term - settings.margin),
            // Another was faster, or the target is followed no more.
            Ok(None) | Err(StoreError::Deposed { .. }) => {}
            Err(error) => {
                tracing::warn!(target_name = name, error = %chain(&error), "failed to take a target");
            }
        }
    }

    fn begin(&mut self, tenure: Tenure, until: Instant) {
        let Some(handle) = self.keeper.targets.get(&tenure.target).cloned() else { return };
        let name = tenure.target.clone();
        let reason = if self.ran_out.remove(&name) { "regained" } else { "free" };
        let labels = TakeoverLabels { target: name.clone(), reason };
        self.keeper.metrics.takeovers.get_or_create(&labels).inc();
        tracing::info!(target_name = name, epoch = tenure.epoch, reason, "dispatching a target");
        let (lease, stop) = (Lease::until(until), CancellationToken::new());
        let run = handle.run(tenure.clone(), lease.clone(), stop.clone());
        let task = self.runs.spawn({
            let name = name.clone();
            async move { (name, run.await) }
        });
        self.held.insert(name, Held { tenure, lease, stop, task: task.id() });
    }

    /// Whether a round should come soon.
    fn note_end(&mut self, ended: Result<(Id, (String, End)), JoinError>) -> bool {
        match ended {
            Ok((_, (name, End::HandedBack))) => {
                self.held.remove(&name);
                false
            }
            Ok((_, (name, end @ (End::RanOut | End::TakenOver)))) => {
                tracing::warn!(target_name = name, reason = ?end, "lost a target");
                self.held.remove(&name);
                self.ran_out.insert(name);
                true
            }
            // The panic itself was reported where it happened.
            Err(error) => {
                self.held.retain(|_, held| held.task != error.id());
                tracing::error!("a dispatcher has failed; its target is taken up anew");
                true
            }
        }
    }

    /// Others may take each target as soon as it is idle.
    async fn say_goodbye(mut self) {
        let Keeper { store, replica, settings, .. } = &self.keeper;
        let sent = Instant::now();
        if let Ok(Ok(roster)) = timeout(GOODBYE_MAX, store.attend(replica, settings.last_term)).await {
            self.renew(&roster, sent + settings.last_term - settings.margin);
        }
        match timeout(GOODBYE_MAX, store.leave(replica)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "failed to say goodbye to other replicas");
            }
            Err(_) => tracing::warn!("failed to say goodbye to other replicas: the store did not answer"),
        }
        for held in self.held.values() {
            held.stop.cancel();
        }
        while self.runs.join_next().await.is_some() {}
    }
}

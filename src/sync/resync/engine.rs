//! Runs what was asked for, phase by phase, page by page.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::directory::{ExternalId, Kind};
use crate::store::{
    Expected, Kept, NewResync, Part, Probe, ResyncRecord, ResyncRow, Resyncs, Step, StoreError, TargetState,
};
use crate::sync::drift::{Class, Finding};
use crate::sync::resync::REPORTS_KEPT;
use crate::sync::resync::marks::marks;
use crate::sync::resync::progress::{Mode, Phase, Progress, Scope, State};
use crate::sync::run::Run;
use crate::sync::shared::Shared;
use crate::telemetry::chain;
use crate::telemetry::metrics::DriftLabels;

/// Findings marked at a time.
const MARKED: usize = 200;
/// How often it is looked whether a resync is wanted, or ended by somebody.
const LOOK: Duration = Duration::from_secs(1);
/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Runs resyncs of the target for as long as it is held; one at a time.
pub async fn keep(run: &Run) -> Infallible {
    let shared = &run.shared;
    // One that has ended may have left what it had seen, when the process ended right after it.
    let mut untidy = true;
    loop {
        if let Err(error) = next(run, &mut untidy).await {
            tracing::warn!(target_name = shared.name(), error = %chain(&error), "failed to keep a resync");
            sleep(STORE_PAUSE).await;
        }
        sleep(LOOK).await;
    }
}

async fn next(run: &Run, untidy: &mut bool) -> Result<(), StoreError> {
    let shared = &run.shared;
    let store = shared.store.resyncs();
    // After the end, since nobody who waits for a report waits for that.
    if *untidy {
        store.forget_resyncs(shared.name(), REPORTS_KEPT).await?;
        *untidy = false;
    }
    let newest = store.resyncs(shared.name(), 1).await?.pop();
    if let Some(newest) = &newest {
        let age = shared.clock.now().since(newest.at).as_secs_f64();
        shared.metrics.resync_age_seconds.get_or_create(&shared.labels()).set(age);
    }
    match newest {
        Some(record) if !record.ended => {
            *untidy = true;
            go_on(run, record).await
        }
        newest => schedule(shared, newest.as_ref()).await,
    }
}

/// Begins the resync that the configuration wants every so often, unless the target is stopped.
async fn schedule(shared: &Shared, newest: Option<&ResyncRecord>) -> Result<(), StoreError> {
    let Some(schedule) = &shared.settings.resync else { return Ok(()) };
    let now = shared.clock.now();
    let is_due = newest.is_none_or(|newest| now.since(newest.at) >= schedule.every);
    if is_due && shared.state() == TargetState::Running {
        let progress = Progress::new(schedule.mode, Scope::All, "schedule".to_owned());
        let id = uuid::Uuid::now_v7().to_string();
        let new =
            NewResync { id, target: shared.name().to_owned(), at: now, by: None, body: json!(progress) };
        shared.store.resyncs().begin_resync(&new).await?;
    }
    Ok(())
}

/// Goes on with a resync from where it was left, until it ends or somebody ends it.
async fn go_on(run: &Run, record: ResyncRecord) -> Result<(), StoreError> {
    let shared = &run.shared;
    let store = shared.store.resyncs();
    let Some(progress) = Progress::read(&record.body) else {
        return store.end_resync(&record.id, &record.body).await;
    };
    let scope = progress.scope.clone();
    let place = Place { run, store, id: &record.id, scope: &scope };
    let mut resync = Resync { place, progress };
    if record.cancelled {
        return resync.end(State::Cancelled).await;
    }
    let outcome = tokio::select! {
        outcome = resync.work() => outcome,
        cancelled = cancelled(shared, &record.id) => cancelled.map(|()| State::Cancelled),
    };
    resync.end(outcome?).await
}

async fn cancelled(shared: &Shared, id: &str) -> Result<(), StoreError> {
    loop {
        if shared.store.resyncs().resync(id).await?.is_none_or(|record| record.cancelled) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Which resync it is, and what it works with.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) run: &'a Run,
    pub(super) store: &'a dyn Resyncs,
    pub(super) id: &'a str,
    pub(super) scope: &'a Scope,
}

impl Place<'_> {
    /// The directory's resources that come next, and where to go on; `None` after the last.
    pub(super) async fn expected(
        self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Option<(Vec<Expected>, String)>, StoreError> {
        let target = self.run.shared.name();
        if let Some(named) = self.scope.named_after(after, limit) {
            let Some(last) = named.last() else { return Ok(None) };
            let page = self.store.expected_among(target, kind, &named).await?;
            return Ok(Some((page, last.to_string())));
        }
        let after = after.and_then(|after| ExternalId::parse(after).ok());
        let page = self.store.expected(target, kind, after.as_ref(), limit).await?;
        let last = page.last().map(|last| last.dossier.item.key.id.to_string());
        Ok(last.map(|last| (page, last)))
    }
}

/// A resync under way.
pub(super) struct Resync<'a> {
    pub(super) place: Place<'a>,
    pub(super) progress: Progress,
}

impl Resync<'_> {
    async fn work(&mut self) -> Result<State, StoreError> {
        if self.progress.started_at.is_none() {
            self.begin().await?;
        }
        while self.progress.phase != Phase::Done {
            match self.progress.phase {
                Phase::ListUsers => self.list(Kind::User, false).await?,
                Phase::ListInactive => self.list(Kind::User, true).await?,
                Phase::ListGroups => self.list(Kind::Group, false).await?,
                Phase::CompareUsers => self.compare(Kind::User).await?,
                Phase::CompareGroups => self.compare(Kind::Group).await?,
                Phase::UnmanagedUsers => self.unmanaged(Kind::User).await?,
                Phase::UnmanagedGroups => self.unmanaged(Kind::Group).await?,
                Phase::Mark => self.mark().await?,
                Phase::Done => {}
            }
        }
        Ok(if self.progress.gaps.is_empty() { State::Complete } else { State::Incomplete })
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        let shared = &self.place.run.shared;
        let before = self.place.store.resyncs(shared.name(), 2).await?;
        self.progress.previous = before.into_iter().find(|other| other.ended).map(|other| other.id);
        self.progress.expected = 2 * self.progress.scope.named().unwrap_or(0);
        for kind in [Kind::User, Kind::Group] {
            if self.progress.scope == Scope::All {
                let (linked, held) = self.place.store.expected_counts(shared.name(), kind).await?;
                self.progress.expected += linked.max(held) + held;
            }
        }
        self.progress.started_at = Some(shared.clock.now());
        self.progress.state = State::Running;
        self.keep(Step::default()).await.map(drop)
    }

    async fn end(&mut self, state: State) -> Result<(), StoreError> {
        let shared = &self.place.run.shared;
        self.progress.state = state;
        self.progress.phase = Phase::Done;
        self.progress.ended_at = Some(shared.clock.now());
        if let Some(previous) = &self.progress.previous
            && let Some(before) = self.place.store.resync(previous).await?
        {
            let before = Progress::read(&before.body).map_or(0, |before| before.findings());
            self.progress.gone = before.saturating_sub(self.progress.same);
        }
        self.place.store.end_resync(self.place.id, &json!(self.progress)).await?;
        for class in Class::ALL {
            let count = self.progress.drift.get(&class).copied().unwrap_or(0);
            let labels = DriftLabels { target: shared.name().to_owned(), class: class.as_str() };
            shared.metrics.drift.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        tracing::info!(
            target_name = shared.name(),
            resync = self.place.id,
            findings = self.progress.findings(),
            marked = self.progress.marked,
            ?state,
            "a resync has ended"
        );
        Ok(())
    }

    pub(super) async fn keep(&self, step: Step) -> Result<Kept, StoreError> {
        self.place.store.keep_resync(self.place.id, step, &json!(self.progress)).await
    }

    /// Goes on to the phase that follows.
    pub(super) async fn advance(&mut self) -> Result<(), StoreError> {
        self.progress.advance();
        self.keep(Step::default()).await.map(drop)
    }

    /// Counts findings, and makes rows of them.
    pub(super) async fn note(&mut self, found: Vec<Finding>) -> Result<Vec<ResyncRow>, StoreError> {
        if let Some(previous) = &self.progress.previous {
            let probe = |finding: &Finding| Probe { name: Some(finding.name()), ..Probe::default() };
            let probes: Vec<_> = found.iter().map(probe).collect();
            let before = self.place.store.resync_like(previous, Part::Finding, &probes).await?;
            let same = before.iter().filter(|met| !met.is_empty()).count() as u64;
            self.progress.same += same;
            self.progress.new += found.len() as u64 - same;
        } else {
            self.progress.new += found.len() as u64;
        }
        for finding in &found {
            *self.progress.drift.entry(finding.class).or_default() += 1;
            for attribute in &finding.attributes {
                *self.progress.attributes.entry(attribute.clone()).or_default() += 1;
            }
        }
        let row = |finding: Finding| ResyncRow {
            part: Part::Finding,
            name: finding.name(),
            external_id: None,
            match_value: None,
            claimed: false,
            holder: None,
            body: json!(finding),
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// Marks one page of findings as work, if that is wanted and everything was read.
    async fn mark(&mut self) -> Result<(), StoreError> {
        if self.progress.mode != Mode::Apply || !self.progress.gaps.is_empty() {
            return self.advance().await;
        }
        let shared = &self.place.run.shared;
        let after = self.progress.after.clone();
        let page =
            self.place.store.resync_rows(self.place.id, Part::Finding, after.as_deref(), MARKED).await?;
        let findings: Vec<Finding> =
            page.items.into_iter().filter_map(|row| serde_json::from_value(row.body).ok()).collect();
        let marks = marks(&findings);
        if !marks.is_empty() {
            self.place.store.mark_drifted(&self.place.run.tenure, &marks, shared.clock.now()).await?;
            shared.wake.notify_one();
        }
        self.progress.marked += marks.iter().map(|mark| (mark.members.len() as u64).max(1)).sum::<u64>();
        match page.next {
            Some(next) => self.progress.after = Some(next),
            None => self.progress.advance(),
        }
        self.keep(Step::default()).await.map(drop)
    }
}

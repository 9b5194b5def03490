//! Runs what was asked for, phase by phase, page by page.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::directory::{ExternalId, Kind};
use crate::store::{
    Expected, Kept, NewResync, Part, Probe, ResyncRecord, ResyncRow, Resyncs, StoreError, TargetState,
};
use crate::sync::drift::{self, Candidate, Class, Compared, Finding, Member, Ours};
use crate::sync::plan::members_at;
use crate::sync::resync::known::{Known, candidate};
use crate::sync::resync::marks::marks;
use crate::sync::resync::paging::{After, Gap, plausible};
use crate::sync::resync::progress::{Mode, Phase, Progress, Scope, State};
use crate::sync::resync::{REPORTS_KEPT, reading};
use crate::sync::run::Run;
use crate::sync::shared::Shared;
use crate::telemetry::chain;
use crate::telemetry::metrics::DriftLabels;

/// Resources compared, or findings marked, at a time.
const PAGE: usize = 200;
/// Resources of a narrow scope looked up between two notes of how far it is.
const LOOKUPS: usize = 10;
/// Members compared at a time.
const MEMBERS_PAGE: usize = 1_000;
/// Memberships of one group that nobody knows and that are told one by one.
const STRANGERS_MAX: usize = 1_000;
/// How often it is looked whether a resync is wanted, or ended by somebody.
const LOOK: Duration = Duration::from_secs(1);
/// Wait after the store has failed.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Runs resyncs of the target for as long as it is held; one at a time.
pub async fn keep(run: &Run) -> Infallible {
    let shared = &run.shared;
    loop {
        if let Err(error) = next(run).await {
            tracing::warn!(target_name = shared.name(), error = %chain(&error), "failed to keep a resync");
            sleep(STORE_PAUSE).await;
        }
        sleep(LOOK).await;
    }
}

async fn next(run: &Run) -> Result<(), StoreError> {
    let shared = &run.shared;
    let store = shared.store.resyncs();
    let newest = store.resyncs(shared.name(), 1).await?.pop();
    if let Some(newest) = &newest {
        let age = shared.clock.now().since(newest.at).as_secs_f64();
        shared.metrics.resync_age_seconds.get_or_create(&shared.labels()).set(age);
    }
    match newest {
        Some(record) if !record.ended => go_on(run, record).await,
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
    let Some(progress) = Progress::read(&record.body) else {
        return shared.store.resyncs().end_resync(&record.id, &record.body, REPORTS_KEPT).await;
    };
    let mut resync = Resync { run, store: shared.store.resyncs(), id: record.id.clone(), progress };
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

struct Resync<'a> {
    run: &'a Run,
    store: &'a dyn Resyncs,
    id: String,
    progress: Progress,
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
        let shared = &self.run.shared;
        let before = self.store.resyncs(shared.name(), 2).await?;
        self.progress.previous = before.into_iter().find(|other| other.ended).map(|other| other.id);
        self.progress.expected = 2 * self.progress.scope.named().unwrap_or(0);
        for kind in [Kind::User, Kind::Group] {
            if self.progress.scope == Scope::All {
                let (linked, held) = self.store.expected_counts(shared.name(), kind).await?;
                self.progress.expected += linked.max(held) + held;
            }
        }
        self.progress.started_at = Some(shared.clock.now());
        self.progress.state = State::Running;
        self.keep(&[]).await.map(drop)
    }

    async fn end(&mut self, state: State) -> Result<(), StoreError> {
        let shared = &self.run.shared;
        self.progress.state = state;
        self.progress.phase = Phase::Done;
        self.progress.ended_at = Some(shared.clock.now());
        if let Some(previous) = &self.progress.previous
            && let Some(before) = self.store.resync(previous).await?
        {
            let before = Progress::read(&before.body).map_or(0, |before| before.findings());
            self.progress.gone = before.saturating_sub(self.progress.same);
        }
        self.store.end_resync(&self.id, &json!(self.progress), REPORTS_KEPT).await?;
        for class in Class::ALL {
            let count = self.progress.drift.get(&class).copied().unwrap_or(0);
            let labels = DriftLabels { target: shared.name().to_owned(), class: class.as_str() };
            shared.metrics.drift.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        tracing::info!(
            target_name = shared.name(),
            resync = self.id,
            findings = self.progress.findings(),
            marked = self.progress.marked,
            ?state,
            "a resync has ended"
        );
        Ok(())
    }

    async fn keep(&self, rows: &[ResyncRow]) -> Result<Kept, StoreError> {
        self.store.keep_resync(&self.id, rows, &json!(self.progress)).await
    }

    /// Reads one page of a list, or passes over a list that need not be read.
    async fn list(&mut self, kind: Kind, inactive_only: bool) -> Result<(), StoreError> {
        let shared = &self.run.shared;
        let profile = shared.target.profile();
        let hidden = !profile.list.includes_inactive;
        let groups_left_out = kind == Kind::Group && !profile.groups.supported;
        let is_narrow = self.progress.scope != Scope::All;
        let skip_inactive = inactive_only && (!hidden || is_narrow);
        if !self.progress.scope.has(kind) || groups_left_out || skip_inactive {
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        }
        if is_narrow {
            return self.look_up(kind).await;
        }
        if inactive_only && !profile.can_filter_users_by("active") {
            self.progress.note_gap(kind, Gap::Unread);
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        }
        let read = self.read_page(kind, inactive_only).await;
        let (rows, after) = match read {
            Ok((rows, after)) => (rows, Ok(after)),
            Err(gap) => (Vec::new(), Err(gap)),
        };
        let came = rows.len() as u64;
        let fresh = self.note_read(&rows).await?.fresh;
        match after {
            _ if fresh < came => self.progress.note_gap(kind, Gap::Repeated),
            Ok(After::More) => return Ok(()),
            Ok(After::End) if inactive_only || hidden => {}
            Ok(After::End) => {
                let (linked, _) = self.store.expected_counts(shared.name(), kind).await?;
                if let Err(gap) = plausible(self.progress.paging.received, linked) {
                    self.progress.note_gap(kind, gap);
                }
            }
            Err(gap) => self.progress.note_gap(kind, gap),
        }
        self.progress.advance();
        self.keep(&[]).await.map(drop)
    }

    async fn note_read(&mut self, rows: &[ResyncRow]) -> Result<Kept, StoreError> {
        self.progress.read += rows.len() as u64;
        self.progress.members_shown |=
            rows.iter().any(|row| row.body.as_object().is_some_and(|body| members_at(body).is_some()));
        self.keep(rows).await
    }

    /// Looks up some of the resources that a narrow scope names; no list is read for them.
    async fn look_up(&mut self, kind: Kind) -> Result<(), StoreError> {
        let shared = &self.run.shared;
        let Some(page) = self.next_expected(kind, LOOKUPS).await? else {
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        };
        let policy = shared.policy();
        let mut rows = Vec::new();
        for one in page {
            let known = Known::of(one, &policy);
            let matchers = known.matchers(kind, &policy);
            match reading::one(shared, kind, known.linked.as_deref(), &matchers).await {
                Ok(found) => rows.extend(found),
                Err(gap) => {
                    self.progress.note_gap(kind, gap);
                    self.progress.advance();
                    break;
                }
            }
        }
        self.note_read(&rows).await.map(drop)
    }

    /// The directory's resources that come next, and where to go on; `None` after the last.
    async fn next_expected(&mut self, kind: Kind, limit: usize) -> Result<Option<Vec<Expected>>, StoreError> {
        let target = self.run.shared.name();
        let after = self.progress.after.as_deref();
        if let Some(named) = self.progress.scope.named_after(after, limit) {
            let Some(last) = named.last() else { return Ok(None) };
            let page = self.store.expected_among(target, kind, &named).await?;
            self.progress.after = Some(last.to_string());
            return Ok(Some(page));
        }
        let after = after.and_then(|after| ExternalId::parse(after).ok());
        let page = self.store.expected(target, kind, after.as_ref(), limit).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.progress.after = Some(last.dossier.item.key.id.to_string());
        Ok(Some(page))
    }

    async fn read_page(&mut self, kind: Kind, inactive_only: bool) -> Result<(Vec<ResyncRow>, After), Gap> {
        let shared = &self.run.shared;
        let page = reading::page(shared, kind, &self.progress.paging, inactive_only).await?;
        let mut paging = self.progress.paging.clone();
        let after = paging.absorb(&page)?;
        let mut rows = Vec::with_capacity(page.resources.len());
        for resource in page.resources {
            rows.push(reading::listed(shared, kind, resource).await?);
        }
        self.progress.paging = paging;
        Ok((rows, after))
    }

    /// Compares one page of the directory's resources.
    async fn compare(&mut self, kind: Kind) -> Result<(), StoreError> {
        let shared = &self.run.shared;
        let groups_left_out = kind == Kind::Group && !shared.target.profile().groups.supported;
        if !self.progress.scope.has(kind) || groups_left_out {
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        }
        let Some(page) = self.next_expected(kind, PAGE).await? else {
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        };
        self.progress.compared += page.len() as u64;
        let (found, claimed) = self.compare_page(kind, page).await?;
        let mut rows = self.note(found).await?;
        rows.extend(claimed);
        self.keep(&rows).await.map(drop)
    }

    async fn compare_page(
        &mut self,
        kind: Kind,
        page: Vec<Expected>,
    ) -> Result<(Vec<Finding>, Vec<ResyncRow>), StoreError> {
        let policy = self.run.shared.policy();
        let match_attribute = match kind {
            Kind::User => policy.user_match.clone(),
            Kind::Group => policy.group_match.clone(),
        };
        let ours: Vec<_> = page.into_iter().map(|one| Known::of(one, &policy)).collect();
        let probes: Vec<_> = ours.iter().map(Known::probe).collect();
        let met = self.store.resync_like(&self.id, Part::of(kind), &probes).await?;
        let (mut found, mut claimed) = (Vec::new(), Vec::new());
        for (known, met) in ours.iter().zip(met) {
            let candidates: Vec<_> = met.iter().filter_map(candidate).collect();
            let ours = Ours {
                kind,
                id: &known.id,
                should_be: &known.should_be,
                linked: known.linked.as_deref(),
                match_attribute: &match_attribute,
            };
            let compared = drift::resource(ours, &policy, &candidates, self.progress.is_whole(kind));
            let Compared { findings, matched, claimed: taken } = compared;
            found.extend(findings.into_iter().map(|finding| known.told(finding)));
            if let Some(matched) = matched
                && kind == Kind::Group
                && policy.members_readable
                && let Some(group) = candidates.iter().find(|group| group.vendor_id == matched)
            {
                found.extend(self.compare_members(known, group, policy.members_read_cap).await?);
            }
            claimed.extend(
                met.into_iter()
                    .filter(|row| taken.contains(&row.name))
                    .map(|row| ResyncRow { claimed: true, ..row }),
            );
        }
        Ok((found, claimed))
    }

    async fn compare_members(
        &mut self,
        known: &Known,
        group: &Candidate,
        read_cap: usize,
    ) -> Result<Vec<Finding>, StoreError> {
        let shown = members_at(&group.resource);
        let told = shown.is_some() || self.progress.members_shown;
        let mut vendor: BTreeSet<String> = shown.unwrap_or_default().into_iter().collect();
        let shows_all = vendor.len() < read_cap && self.progress.is_whole(Kind::Group);
        let template = known.told(Finding::new(
            Class::Differs,
            Kind::Group,
            Some(known.id.clone()),
            Some(group.vendor_id.clone()),
        ));
        let mut found = Vec::new();
        let mut after: Option<ExternalId> = None;
        loop {
            let target = self.run.shared.name();
            let rows = self.store.expected_members(target, &known.id, after.as_ref(), MEMBERS_PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.user.clone());
            if !told && rows.iter().any(|row| row.present && row.vendor_id.is_some()) {
                self.progress.note_gap(Kind::Group, Gap::MembersLeftOut);
                return Ok(Vec::new());
            }
            found.extend(drift::members(&template, &rows, &mut vendor, shows_all));
        }
        found.extend(vendor.into_iter().take(STRANGERS_MAX).map(|stranger| Finding {
            class: Class::Unmanaged,
            member: Some(Member { id: None, vendor_id: Some(stranger) }),
            ..template.clone()
        }));
        Ok(found)
    }

    /// Notes one page of the vendor's resources of which the directory knows nothing.
    async fn unmanaged(&mut self, kind: Kind) -> Result<(), StoreError> {
        if self.progress.scope != Scope::All {
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        }
        let after = self.progress.after.clone();
        let page = self.store.resync_rows(&self.id, Part::of(kind), after.as_deref(), PAGE).await?;
        let unknown = page.items.iter().filter(|row| !row.claimed);
        let found = unknown.map(|row| Finding::new(Class::Unmanaged, kind, None, Some(row.name.clone())));
        let rows = self.note(found.collect()).await?;
        match page.next {
            Some(next) => self.progress.after = Some(next),
            None => self.progress.advance(),
        }
        self.keep(&rows).await.map(drop)
    }

    /// Counts findings, and makes rows of them.
    async fn note(&mut self, found: Vec<Finding>) -> Result<Vec<ResyncRow>, StoreError> {
        if let Some(previous) = &self.progress.previous {
            let probe = |finding: &Finding| Probe { name: Some(finding.name()), ..Probe::default() };
            let probes: Vec<_> = found.iter().map(probe).collect();
            let before = self.store.resync_like(previous, Part::Finding, &probes).await?;
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
            self.progress.advance();
            return self.keep(&[]).await.map(drop);
        }
        let shared = &self.run.shared;
        let after = self.progress.after.clone();
        let page = self.store.resync_rows(&self.id, Part::Finding, after.as_deref(), PAGE).await?;
        let findings: Vec<Finding> =
            page.items.into_iter().filter_map(|row| serde_json::from_value(row.body).ok()).collect();
        let marks = marks(&findings);
        if !marks.is_empty() {
            self.store.mark_drifted(&self.run.tenure, &marks, shared.clock.now()).await?;
            shared.wake.notify_one();
        }
        self.progress.marked += marks.iter().map(|mark| (mark.members.len() as u64).max(1)).sum::<u64>();
        match page.next {
            Some(next) => self.progress.after = Some(next),
            None => self.progress.advance(),
        }
        self.keep(&[]).await.map(drop)
    }
}

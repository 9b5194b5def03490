//! `GET /status`: whether everything that was accepted is applied or accounted for.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::CommonProblems;
use crate::audit;
use crate::clock::Timestamp;
use crate::http::alarms::Alarms;
use crate::http::expiry::Expiry;
use crate::http::rhythm::Quiet;
use crate::http::targets::TargetSnapshot;
use crate::http::{Problem, Relay};
use crate::store::advice::{Advice, advice};
use crate::store::{ErrandCounts, LaneCount, StoreError, TargetCounts, TargetState};

/// The backlog. All zeros mean quiet: everything accepted so far is applied or accounted for.
#[derive(Serialize, ToSchema)]
pub struct StatusReport {
    /// What came in.
    pub inbox: InboxReport,
    /// What providers are still to be asked, per source that has anything of the kind.
    pub reads: BTreeMap<String, ReadsReport>,
    /// How the sources stand that post webhooks.
    #[schema(example = json!({"okta": {
        "last_heard": "2026-11-20T10:00:00Z", "quiet_seconds": 40.0, "silent_after_seconds": 3600.0, "silent": false
    }}))]
    pub sources: BTreeMap<String, SourceReport>,
    /// The secrets whose end the configuration tells, by the table that tells it.
    #[schema(example = json!({"sources.okta": {
        "expires": "2026-12-01T00:00:00Z", "seconds_left": 864_000, "near": true
    }}))]
    pub secrets: BTreeMap<String, SecretReport>,
    /// Whether the audit file is written; null where the configuration names none.
    pub audit: Option<AuditReport>,
    /// Sources that should be read, or send everything, as a whole, since something of them is lost.
    pub resync_advised: BTreeMap<String, AdviceReport>,
    /// What is still to do, per target.
    #[schema(example = json!({"genesys": {
        "state": "running", "reason": null, "since": null, "by": null,
        "pending": 0, "in_flight": 0, "parked": 0, "held": 0, "waiting": 0, "waiting_members": 0,
        "oldest_pending_seconds": null,
        "lanes": {"deprovision": 0, "revoke": 0, "change": 0, "membership": 0, "backfill": 0},
        "ages": {"deprovision": {"oldest_seconds": null, "objective_seconds": 300.0, "breached": false}},
        "breached": false
    }}))]
    pub targets: BTreeMap<String, TargetReport>,
}

/// Whether the replica that answers writes its audit file. Nothing waits for it.
#[derive(Serialize, ToSchema)]
pub struct AuditReport {
    /// `written` or `failing`.
    #[schema(example = "written")]
    pub state: &'static str,
    /// What keeps it from being written.
    pub reason: Option<String>,
    /// Since when (RFC 3339). What it lacks is written once it can be.
    pub since: Option<String>,
}

/// What came in and is not merged.
#[derive(Serialize, ToSchema)]
pub struct InboxReport {
    /// Events that are accepted and not merged yet.
    pub unprojected: u64,
    /// Events that cannot be read any more and were not merged.
    pub unreadable: u64,
}

/// What one provider is still to be asked.
#[derive(Serialize, ToSchema)]
pub struct ReadsReport {
    /// Users and groups whose records are to be read.
    pub pending: u64,
    /// Readings that have failed and are to be tried again; what else is to be asked of the provider is
    /// counted, too.
    pub failing: u64,
    /// Why one of them failed.
    pub failure: Option<String>,
    /// Age of the oldest event that waits for a record.
    pub oldest_seconds: Option<f64>,
}

/// Whether a source is silent.
#[derive(Serialize, ToSchema)]
pub struct SourceReport {
    /// When the replica that answers heard it last (RFC 3339); null where it has not yet.
    pub last_heard: Option<String>,
    /// For how long nothing has come.
    pub quiet_seconds: f64,
    /// For how long that may be: configured, or learned; null while too little is known.
    pub silent_after_seconds: Option<f64>,
    /// Whether it is longer; null while too little is known.
    pub silent: Option<bool>,
}

/// A secret whose end is known.
#[derive(Serialize, ToSchema)]
pub struct SecretReport {
    /// Its end (RFC 3339).
    pub expires: String,
    /// Seconds until then; negative once it has ended.
    pub seconds_left: i64,
    /// Whether it is time to replace it.
    pub near: bool,
}

/// Why a source should be read, or send everything, as a whole.
#[derive(Serialize, ToSchema)]
pub struct AdviceReport {
    /// Since when (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub since: String,
    /// What happened.
    pub reason: String,
}

/// One target's state and backlog.
#[derive(Serialize, ToSchema)]
pub struct TargetReport {
    /// `running`, `paused` or `suspended`.
    #[schema(example = "running")]
    pub state: &'static str,
    /// Why it is suspended.
    pub reason: Option<String>,
    /// Since when it is paused or suspended (RFC 3339).
    pub since: Option<String>,
    /// What is done about a suspension, and what a person can do.
    pub quarantine: Option<QuarantineReport>,
    /// The name of the key that paused it.
    pub by: Option<String>,
    /// Users and groups to be sent; those in flight are not counted.
    pub pending: u64,
    /// Users and groups that are being sent by the replica that answers.
    pub in_flight: u64,
    /// Users, groups and members that wait for a person.
    pub parked: u64,
    /// Destructive changes that wait for a person's decision.
    pub held: u64,
    /// Users and groups that wait for something the vendor does not know yet.
    pub waiting: u64,
    /// Members that wait for their user.
    pub waiting_members: u64,
    /// Age of the oldest change that is still to be sent.
    pub oldest_pending_seconds: Option<f64>,
    /// Users and groups to be sent, per lane; those in flight are counted.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub lanes: BTreeMap<&'static str, u64>,
    /// How old the oldest work of each lane is, and how old it may be (`[alarms]`).
    #[schema(value_type = BTreeMap<String, LaneAge>)]
    pub ages: BTreeMap<&'static str, LaneAge>,
    /// Whether a lane is later than it may be.
    pub breached: bool,
}

/// What is done about a suspended target. It resumes by itself with the first call that works.
#[derive(Serialize, ToSchema)]
pub struct QuarantineReport {
    /// All of it in words.
    #[schema(
        example = "suspended since 2026-11-20T10:00:00Z: GET Users answered 401: the credentials were \
        refused; tried 3 times; to be tried again from 2026-11-20T10:00:20Z on"
    )]
    pub words: String,
    /// What would mend it.
    pub mend: String,
    /// Calls that have ended the same way, the one that led to the suspension included.
    pub tried: u32,
    /// From when on it is tried again, with work that is due (RFC 3339); null while it is being tried.
    pub next_probe: Option<String>,
}

/// How old the oldest work of a lane is.
#[derive(Serialize, ToSchema)]
pub struct LaneAge {
    /// Its age; null where nothing is to be sent.
    pub oldest_seconds: Option<f64>,
    /// How old it may be; null for a target that catches up.
    pub objective_seconds: Option<f64>,
    /// Whether it is older.
    pub breached: bool,
}

/// What is still to do.
#[utoipa::path(
    get, path = "/status", tag = "admin", operation_id = "read_status",
    responses((status = 200, description = "The backlog", body = StatusReport), CommonProblems),
)]
pub async fn read(State(relay): State<Relay>) -> Result<Json<StatusReport>, Problem> {
    Ok(Json(report(&relay).await?))
}

/// Reads the backlog.
///
/// The store's counts are one picture in which each row that is still to be sent is pending, in
/// flight or not. Whatever the number in flight is a moment later, pending and in flight are not both
/// zero unless that picture has no such row.
pub async fn report(relay: &Relay) -> Result<StatusReport, StoreError> {
    let mut status = relay.store.status().await?;
    let now = relay.clock.now();
    let mut targets = BTreeMap::new();
    for (name, control) in relay.targets.iter() {
        let counts = status.targets.remove(name).unwrap_or_default();
        let snapshot = control.snapshot().await?;
        targets.insert(name.clone(), target_report(&counts, Some(&snapshot), now, &relay.alarms));
    }
    // Targets that the store still marks work for, though nothing here sends it.
    for (name, counts) in status.targets {
        targets.insert(name, target_report(&counts, None, now, &relay.alarms));
    }
    let mut resync_advised = BTreeMap::new();
    for source in relay.sources.iter() {
        let name = &source.settings.name;
        if let Some(Advice { since, reason }) = advice(&*relay.store, name).await? {
            resync_advised.insert(name.clone(), AdviceReport { since: since.to_string(), reason });
        }
    }
    Ok(StatusReport {
        resync_advised,
        reads: status
            .errands
            .iter()
            .map(|(name, counts)| (name.clone(), reads_report(counts, now)))
            .collect(),
        sources: relay
            .rhythms
            .quiet(now)
            .map(|(name, quiet)| (name.to_owned(), source_report(&quiet)))
            .collect(),
        secrets: secret_reports(&relay.alarms, now),
        audit: relay.audit.as_ref().map(audit_report),
        inbox: InboxReport { unprojected: status.unprojected, unreadable: status.unreadable },
        targets,
    })
}

fn audit_report(health: &audit::Health) -> AuditReport {
    let failure = health.failure();
    AuditReport {
        state: if failure.is_some() { "failing" } else { "written" },
        since: failure.as_ref().map(|failure| failure.since.to_string()),
        reason: failure.map(|failure| failure.reason),
    }
}

fn reads_report(counts: &ErrandCounts, now: Timestamp) -> ReadsReport {
    ReadsReport {
        pending: counts.records,
        failing: counts.failing,
        failure: counts.failure.clone(),
        oldest_seconds: counts.oldest_since.map(|since| now.since(since).as_secs_f64()),
    }
}

fn source_report(quiet: &Quiet) -> SourceReport {
    SourceReport {
        last_heard: quiet.last.map(|last| last.to_string()),
        quiet_seconds: quiet.lasting.as_secs_f64(),
        silent_after_seconds: quiet.limit.map(|limit| limit.as_secs_f64()),
        silent: quiet.is_silence(),
    }
}

fn secret_reports(alarms: &Alarms, now: Timestamp) -> BTreeMap<String, SecretReport> {
    let report = |expiry: &Expiry| SecretReport {
        expires: expiry.at.to_string(),
        seconds_left: expiry.seconds_left(now),
        near: expiry.is_near(alarms.secret_notice, now),
    };
    alarms.expiries.iter().map(|expiry| (expiry.secret.clone(), report(expiry))).collect()
}

fn target_report(
    counts: &TargetCounts,
    snapshot: Option<&TargetSnapshot>,
    now: Timestamp,
    alarms: &Alarms,
) -> TargetReport {
    let in_flight = snapshot.map_or(0, |snapshot| snapshot.in_flight);
    let state = snapshot.map(|snapshot| snapshot.state.clone()).or_else(|| counts.state.clone());
    let state = state.unwrap_or(TargetState::Running);
    let quarantine = quarantine(&state);
    let (state, reason, since, by) = match state {
        TargetState::Running => ("running", None, None, None),
        TargetState::Paused { by, since } => ("paused", None, Some(since), Some(by)),
        TargetState::Suspended { reason, since, .. } => ("suspended", Some(reason), Some(since), None),
    };
    let rows: u64 = counts.pending.iter().map(|count| count.rows).sum();
    let ages: BTreeMap<_, _> =
        counts.pending.iter().map(|count| (count.lane.as_str(), lane_age(count, now, alarms))).collect();
    TargetReport {
        state,
        reason,
        since: since.map(|since| since.to_string()),
        quarantine,
        by,
        pending: rows.saturating_sub(in_flight),
        in_flight,
        parked: counts.parked,
        held: counts.held,
        waiting: counts.waiting,
        waiting_members: counts.waiting_members,
        oldest_pending_seconds: counts.oldest_pending_since.map(|since| now.since(since).as_secs_f64()),
        lanes: counts.pending.iter().map(|count| (count.lane.as_str(), count.rows)).collect(),
        breached: ages.values().any(|age| age.breached),
        ages,
    }
}

fn quarantine(state: &TargetState) -> Option<QuarantineReport> {
    let TargetState::Suspended { reason, since, quarantine } = state else { return None };
    let again = match quarantine.next_probe {
        Some(at) => format!("to be tried again from {at} on"),
        None => "being tried now".to_owned(),
    };
    let times = match quarantine.tried {
        1 => "once".to_owned(),
        tried => format!("{tried} times"),
    };
    Some(QuarantineReport {
        words: format!("suspended since {since}: {reason}; tried {times}; {again}"),
        mend: quarantine.mend.clone(),
        tried: quarantine.tried,
        next_probe: quarantine.next_probe.map(|at| at.to_string()),
    })
}

fn lane_age(count: &LaneCount, now: Timestamp, alarms: &Alarms) -> LaneAge {
    let age = count.since.map(|since| now.since(since));
    LaneAge {
        oldest_seconds: age.map(|age| age.as_secs_f64()),
        objective_seconds: alarms.objective(count.lane).map(|objective| objective.as_secs_f64()),
        breached: alarms.is_breached(count.lane, age),
    }
}

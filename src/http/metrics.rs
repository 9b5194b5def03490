//! `GET /metrics`: what is counted, and the backlog as it is now.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::Relay;
use super::admin::status::{StatusReport, report};
use crate::telemetry::metrics::{
    LaneLabels, Metrics, SecretLabels, SourceLabels, TargetLabels, TargetStateLabels,
};

/// Prometheus metrics.
///
/// The backlog's gauges are read from the store for each answer; where the store does not answer,
/// they stay as they were.
#[utoipa::path(
    get, path = "/metrics", tag = "health", security(()),
    responses((status = 200, description = "Prometheus text", body = String,
               content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(relay): State<Relay>) -> impl IntoResponse {
    match report(&relay).await {
        Ok(report) => {
            let asked = relay.sources.iter().filter(|source| source.connector.is_some());
            refresh(&relay.metrics, &report, asked.map(|source| source.settings.name.as_str()));
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "failed to read the backlog for metrics"
            );
        }
    }
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], relay.metrics.exposition())
}

fn refresh<'a>(metrics: &Metrics, report: &StatusReport, sources: impl Iterator<Item = &'a str>) {
    metrics.unprojected.set(gauge(report.inbox.unprojected));
    // A source that has nothing left to be asked is in no report.
    for name in sources {
        let labels = SourceLabels { source: name.to_owned() };
        let reads = report.reads.get(name);
        let (pending, failing) = reads.map_or((0, 0), |reads| (reads.pending, reads.failing));
        metrics.reads_pending.get_or_create(&labels).set(gauge(pending));
        metrics.reads_failing.get_or_create(&labels).set(gauge(failing));
        let oldest = reads.and_then(|reads| reads.oldest_seconds).unwrap_or(0.0);
        metrics.reads_oldest_seconds.get_or_create(&labels).set(oldest);
        let is_advised = report.resync_advised.contains_key(name);
        metrics.resync_advised.get_or_create(&labels).set(i64::from(is_advised));
    }
    refresh_sources(metrics, report);
    for (name, target) in &report.targets {
        for (lane, rows) in &target.lanes {
            metrics.pending.get_or_create(&LaneLabels { target: name.clone(), lane }).set(gauge(*rows));
        }
        for (lane, age) in &target.ages {
            let labels = LaneLabels { target: name.clone(), lane };
            metrics.lane_age_seconds.get_or_create(&labels).set(age.oldest_seconds.unwrap_or(0.0));
            metrics.lane_breached.get_or_create(&labels).set(i64::from(age.breached));
            if let Some(objective) = age.objective_seconds {
                metrics.lane_objective_seconds.get_or_create(&labels).set(objective);
            }
        }
        let labels = TargetLabels { target: name.clone() };
        metrics.parked.get_or_create(&labels).set(gauge(target.parked));
        metrics.held.get_or_create(&labels).set(gauge(target.held));
        metrics
            .oldest_pending_seconds
            .get_or_create(&labels)
            .set(target.oldest_pending_seconds.unwrap_or(0.0));
        for state in ["running", "paused", "suspended"] {
            let labels = TargetStateLabels { target: name.clone(), state };
            metrics.target_state.get_or_create(&labels).set(i64::from(target.state == state));
        }
    }
}

fn refresh_sources(metrics: &Metrics, report: &StatusReport) {
    for (name, source) in &report.sources {
        let labels = SourceLabels { source: name.clone() };
        metrics.source_quiet_seconds.get_or_create(&labels).set(source.quiet_seconds);
        // Nothing is said of a source whose rhythm is not known.
        if let Some((limit, silent)) = source.silent_after_seconds.zip(source.silent) {
            metrics.source_silent_after_seconds.get_or_create(&labels).set(limit);
            metrics.source_silent.get_or_create(&labels).set(i64::from(silent));
        }
    }
    for (name, secret) in &report.secrets {
        let labels = SecretLabels { secret: name.clone() };
        metrics.secret_left_seconds.get_or_create(&labels).set(secret.seconds_left);
    }
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

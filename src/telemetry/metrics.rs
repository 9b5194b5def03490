//! The Prometheus metrics, all in one place. Names and labels are part of the outer contract.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use std::sync::atomic::AtomicU64;

/// A gauge that holds fractions.
pub type FloatGauge = Gauge<f64, AtomicU64>;
/// A counter that adds up fractions.
pub type FloatCounter = Counter<f64, AtomicU64>;
type HistogramFamily<L> = Family<L, Histogram, fn() -> Histogram>;

/// Labels of `scim_relay_events_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EventLabels {
    /// Name of the source in the configuration.
    pub source: String,
    /// `accepted`, `duplicate`, `malformed`, `unauthorized`, `limited` or `unavailable`.
    pub outcome: &'static str,
}

/// Labels of `scim_relay_reads_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReadLabels {
    /// Name of the source in the configuration.
    pub source: String,
    /// `read`, `absent`, `deleted`, `unasked` or `failed`; `everyone` where all were wanted; of streams and subscriptions `begun_again` and
    /// `subscribed`.
    pub outcome: &'static str,
}

/// Labels of `scim_relay_subscription_end_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SubscriptionLabels {
    /// Name of the source in the configuration.
    pub source: String,
    /// What is subscribed to: `users` or `groups`.
    pub subscription: String,
}

/// Labels of one source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabels {
    /// Name of the source in the configuration.
    pub source: String,
}

/// Labels of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SecretLabels {
    /// The table of the configuration that tells its end.
    pub secret: String,
}

/// Labels of one lane of one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabels {
    /// Name of the target in the configuration.
    pub target: String,
    /// Name of the lane.
    pub lane: &'static str,
}

/// Labels of one target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetLabels {
    /// Name of the target in the configuration.
    pub target: String,
}

/// Labels of `scim_relay_target_state`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TargetStateLabels {
    /// Name of the target in the configuration.
    pub target: String,
    /// `running`, `paused` or `suspended`; the present one is 1, the others 0.
    pub state: &'static str,
}

/// Labels of `scim_relay_takeovers_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TakeoverLabels {
    /// Name of the target in the configuration.
    pub target: String,
    /// `free`: nobody held it; `regained`: this replica had held it last, and could not renew in time.
    pub reason: &'static str,
}

/// Labels of `scim_relay_pruned_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PrunedLabels {
    /// `events`, `ledger`, `tombstones` or `guard`.
    pub sort: &'static str,
}

/// Labels of one source that is polled or drops files.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FeedLabels {
    /// Name of the source in the configuration.
    pub source: String,
}

/// Labels of what became of a poll, or of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PollLabels {
    /// Name of the source in the configuration.
    pub source: String,
    /// Of a poll: `ok`, `throttled` or `failed`. Of a file: `taken`, `refused` or `held`.
    pub outcome: &'static str,
}

/// Labels of `scim_relay_drift`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftLabels {
    /// Name of the target in the configuration.
    pub target: String,
    /// `missing`, `extra`, `differs`, `unmanaged`, `duplicate` or `unlinked`.
    pub class: &'static str,
}

/// Labels of one call to a vendor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// Name of the target in the configuration.
    pub target: String,
    /// The HTTP method.
    pub method: String,
    /// The path's shape, never an id: `Users`, `Users/{id}`, `Groups`, …
    pub endpoint: &'static str,
    /// The HTTP status, or `timeout` or `transport`.
    pub status: String,
}

/// Every metric of the process; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Webhooks received, by what became of them.
    pub events: Family<EventLabels, Counter>,
    /// `scim_relay_event_items_total`: what accepted webhooks hold besides changes; the outcome is
    /// `needs_read` or `ignored`.
    pub event_items: Family<EventLabels, Counter>,
    /// Records that were asked of providers, by what became of that.
    pub reads: Family<ReadLabels, Counter>,
    /// Records that are to be asked of providers.
    pub reads_pending: Family<SourceLabels, Gauge>,
    /// Errands that have failed and are to be tried again.
    pub reads_failing: Family<SourceLabels, Gauge>,
    /// Age in seconds of the oldest record that is to be asked of a provider; 0 when none is.
    pub reads_oldest_seconds: Family<SourceLabels, FloatGauge>,
    /// For how long nothing has come of a source, in seconds.
    pub source_quiet_seconds: Family<SourceLabels, FloatGauge>,
    /// For how long that may be; without a value while too little is known.
    pub source_silent_after_seconds: Family<SourceLabels, FloatGauge>,
    /// 1 where it is longer; without a value while too little is known.
    pub source_silent: Family<SourceLabels, Gauge>,
    /// Seconds until a secret ends, where the configuration tells its end; negative afterwards.
    pub secret_left_seconds: Family<SecretLabels, Gauge>,
    /// 1 where a source should be read, or send everything, as a whole.
    pub resync_advised: Family<SourceLabels, Gauge>,
    /// When a subscription at a provider ends, in seconds since the Unix epoch.
    pub subscription_end_seconds: Family<SubscriptionLabels, Gauge>,
    /// Work rows that wait for a call.
    pub pending: Family<LaneLabels, Gauge>,
    /// Age in seconds of the oldest work row that waits; 0 when none does.
    pub oldest_pending_seconds: Family<TargetLabels, FloatGauge>,
    /// Age in seconds of the oldest waiting work of a lane; 0 when none waits.
    pub lane_age_seconds: Family<LaneLabels, FloatGauge>,
    /// How old it may be.
    pub lane_objective_seconds: Family<LaneLabels, FloatGauge>,
    /// 1 where it is older.
    pub lane_breached: Family<LaneLabels, Gauge>,
    /// Calls to vendors.
    pub requests: Family<RequestLabels, Counter>,
    /// Duration in seconds of calls to vendors, token waits and limits left out.
    pub request_seconds: HistogramFamily<TargetLabels>,
    /// Seconds from the event's acceptance to the vendor's answer.
    pub convergence_seconds: HistogramFamily<LaneLabels>,
    /// Stale versions and uniqueness conflicts met.
    pub conflicts: Family<TargetLabels, Counter>,
    /// Seconds for which a vendor asked us to stay away.
    pub throttled_seconds: Family<TargetLabels, FloatCounter>,
    /// 1 for the state the target is in.
    pub target_state: Family<TargetStateLabels, Gauge>,
    /// Work that waits for a person.
    pub parked: Family<TargetLabels, Gauge>,
    /// Destructive changes that wait for a decision.
    pub held: Family<TargetLabels, Gauge>,
    /// Events accepted and not yet merged into the directory.
    pub unprojected: Gauge,
    /// 1 where this replica dispatches the target.
    pub target_held: Family<TargetLabels, Gauge>,
    /// Targets that this replica began to dispatch, by why.
    pub takeovers: Family<TakeoverLabels, Counter>,
    /// Seconds by which the replicas' common clock is ahead of this machine's.
    pub clock_offset_seconds: FloatGauge,
    /// What the last resync found to differ, by class.
    pub drift: Family<DriftLabels, Gauge>,
    /// Seconds since the last resync was asked for.
    pub resync_age_seconds: Family<TargetLabels, FloatGauge>,
    /// Rows deleted because they were past their retention.
    pub pruned: Family<PrunedLabels, Counter>,
    /// Polls of sources, by what became of them.
    pub polls: Family<PollLabels, Counter>,
    /// Records that polls have read, said before or not.
    pub poll_records: Family<FeedLabels, Counter>,
    /// When a source last answered a poll in full, in Unix seconds; 0 when it never did.
    pub poll_last_success: Family<FeedLabels, Gauge>,
    /// Files of sources, by what became of them.
    pub files: Family<PollLabels, Counter>,
    /// Lines of the audit file that are durable.
    pub audit_lines: Counter,
    /// 1 while the audit file cannot be written.
    pub audit_failing: Gauge,
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("scim_relay");
        let metrics = Self {
            registry: Arc::new(Registry::default()),
            events: Family::default(),
            event_items: Family::default(),
            reads: Family::default(),
            reads_pending: Family::default(),
            reads_failing: Family::default(),
            reads_oldest_seconds: Family::default(),
            source_quiet_seconds: Family::default(),
            source_silent_after_seconds: Family::default(),
            source_silent: Family::default(),
            secret_left_seconds: Family::default(),
            resync_advised: Family::default(),
            subscription_end_seconds: Family::default(),
            pending: Family::default(),
            oldest_pending_seconds: Family::default(),
            lane_age_seconds: Family::default(),
            lane_objective_seconds: Family::default(),
            lane_breached: Family::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(request_buckets),
            convergence_seconds: Family::new_with_constructor(convergence_buckets),
            conflicts: Family::default(),
            throttled_seconds: Family::default(),
            target_state: Family::default(),
            parked: Family::default(),
            held: Family::default(),
            unprojected: Gauge::default(),
            target_held: Family::default(),
            takeovers: Family::default(),
            clock_offset_seconds: FloatGauge::default(),
            drift: Family::default(),
            resync_age_seconds: Family::default(),
            pruned: Family::default(),
            polls: Family::default(),
            poll_records: Family::default(),
            poll_last_success: Family::default(),
            files: Family::default(),
            audit_lines: Counter::default(),
            audit_failing: Gauge::default(),
        };
        metrics.register_intake(&mut registry);
        metrics.register_silence(&mut registry);
        metrics.register_work(&mut registry);
        metrics.register_calls(&mut registry);
        metrics.register_standing(&mut registry);
        metrics.register_feeds(&mut registry);
        Self { registry: Arc::new(registry), ..metrics }
    }

    fn register_intake(&self, registry: &mut Registry) {
        registry.register("events", "Webhooks received, by outcome", self.events.clone());
        registry.register(
            "event_items",
            "Parts of accepted webhooks that change nothing by themselves",
            self.event_items.clone(),
        );
        registry.register("reads", "Records asked of providers, by outcome", self.reads.clone());
        registry.register(
            "reads_pending",
            "Records that are to be asked of providers",
            self.reads_pending.clone(),
        );
        registry.register(
            "reads_failing",
            "Errands at providers that have failed and are to be tried again",
            self.reads_failing.clone(),
        );
        registry.register(
            "reads_oldest_seconds",
            "Age of the oldest record that is to be asked of a provider",
            self.reads_oldest_seconds.clone(),
        );
        registry.register(
            "resync_advised",
            "1 where something of a source is lost, and it should be read as a whole",
            self.resync_advised.clone(),
        );
        registry.register(
            "subscription_end_seconds",
            "When a subscription at a provider ends, as Unix time",
            self.subscription_end_seconds.clone(),
        );
    }

    fn register_silence(&self, registry: &mut Registry) {
        registry.register(
            "source_quiet_seconds",
            "For how long nothing has come of a source",
            self.source_quiet_seconds.clone(),
        );
        registry.register(
            "source_silent_after_seconds",
            "For how long nothing may come of a source",
            self.source_silent_after_seconds.clone(),
        );
        registry.register(
            "source_silent",
            "1 where nothing has come of a source for too long",
            self.source_silent.clone(),
        );
        registry.register(
            "secret_left_seconds",
            "Time until a secret ends whose end is configured",
            self.secret_left_seconds.clone(),
        );
    }

    fn register_work(&self, registry: &mut Registry) {
        registry.register("pending", "Work that waits for a call", self.pending.clone());
        registry.register(
            "oldest_pending_seconds",
            "Age of the oldest waiting work",
            self.oldest_pending_seconds.clone(),
        );
        registry.register(
            "lane_age_seconds",
            "Age of the oldest waiting work of a lane",
            self.lane_age_seconds.clone(),
        );
        registry.register(
            "lane_objective_seconds",
            "How old the oldest work of a lane may be",
            self.lane_objective_seconds.clone(),
        );
        registry.register("lane_breached", "1 where work of a lane is late", self.lane_breached.clone());
    }

    fn register_calls(&self, registry: &mut Registry) {
        registry.register("requests", "Calls to vendors", self.requests.clone());
        registry.register("request_seconds", "Duration of calls to vendors", self.request_seconds.clone());
        registry.register(
            "convergence_seconds",
            "Time from acceptance to the vendor's answer",
            self.convergence_seconds.clone(),
        );
        registry.register("conflicts", "Stale versions and uniqueness conflicts", self.conflicts.clone());
        registry.register(
            "throttled_seconds",
            "Time for which vendors asked us to stay away",
            self.throttled_seconds.clone(),
        );
        registry.register("target_state", "1 for the state a target is in", self.target_state.clone());
    }

    fn register_standing(&self, registry: &mut Registry) {
        registry.register("parked", "Work that waits for a person", self.parked.clone());
        registry.register("held", "Destructive changes that wait for a decision", self.held.clone());
        registry.register("unprojected", "Events accepted and not yet merged", self.unprojected.clone());
        registry.register(
            "target_held",
            "1 where this replica dispatches the target",
            self.target_held.clone(),
        );
        registry.register("takeovers", "Targets that this replica began to dispatch", self.takeovers.clone());
        registry.register(
            "clock_offset_seconds",
            "By how much the replicas' common clock is ahead of this machine's",
            self.clock_offset_seconds.clone(),
        );
        registry.register("drift", "What the last resync found to differ", self.drift.clone());
        registry.register(
            "resync_age_seconds",
            "Time since the last resync was asked for",
            self.resync_age_seconds.clone(),
        );
        registry.register("pruned", "Rows deleted past their retention", self.pruned.clone());
        registry.register("audit_lines", "Lines written to the audit file", self.audit_lines.clone());
        registry.register(
            "audit_failing",
            "1 while the audit file cannot be written",
            self.audit_failing.clone(),
        );
    }

    fn register_feeds(&self, registry: &mut Registry) {
        registry.register("polls", "Polls of sources, by outcome", self.polls.clone());
        registry.register("poll_records", "Records that polls have read", self.poll_records.clone());
        registry.register(
            "poll_last_success_timestamp_seconds",
            "When a source last answered a poll in full",
            self.poll_last_success.clone(),
        );
        registry.register("files", "Files of sources, by outcome", self.files.clone());
    }

    /// The text exposition for `GET /metrics`.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// 1 ms to 65 s.
fn request_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// 5 ms to about 6 hours.
fn convergence_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 3.0, 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_names_are_exposed() {
        let metrics = Metrics::new();
        let target = || "genesys".to_owned();
        metrics.events.get_or_create(&EventLabels { source: "hr".into(), outcome: "accepted" }).inc();
        metrics.pending.get_or_create(&LaneLabels { target: target(), lane: "change" }).set(2);
        metrics.parked.get_or_create(&TargetLabels { target: target() }).set(1);
        metrics.throttled_seconds.get_or_create(&TargetLabels { target: target() }).inc_by(0.5);
        metrics.target_held.get_or_create(&TargetLabels { target: target() }).set(1);
        metrics.takeovers.get_or_create(&TakeoverLabels { target: target(), reason: "free" }).inc();
        metrics.pruned.get_or_create(&PrunedLabels { sort: "ledger" }).inc_by(3);
        let text = metrics.exposition();
        for line in [
            "scim_relay_events_total{source=\"hr\",outcome=\"accepted\"} 1",
            "scim_relay_pending{target=\"genesys\",lane=\"change\"} 2",
            "scim_relay_parked{target=\"genesys\"} 1",
            "scim_relay_throttled_seconds_total{target=\"genesys\"} 0.5",
            "scim_relay_target_held{target=\"genesys\"} 1",
            "scim_relay_takeovers_total{target=\"genesys\",reason=\"free\"} 1",
            "scim_relay_clock_offset_seconds 0.0",
            "scim_relay_pruned_total{sort=\"ledger\"} 3",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }
}

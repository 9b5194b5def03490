//! Whether the target works: its suspension, and the probes that end it.

use std::time::Duration;

use tokio::time::Instant;

use super::Dispatcher;
use crate::store::{Quarantine, TargetState};
use crate::target::verdict::Mend;
use crate::telemetry::chain;

/// First and last wait between two probes of a suspended target.
const PROBE_FIRST: Duration = Duration::from_secs(5);
const PROBE_LAST: Duration = Duration::from_mins(5);

/// When to try a suspended target again.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// When, and how long to wait after that; `None` while the target works.
    next: Option<(Instant, Duration)>,
    /// Whether one is under way. Calls that were sent before the suspension are none.
    under_way: bool,
}

impl Probe {
    /// Whether the target may be tried now.
    pub(super) fn is_due(&self) -> bool {
        self.next.is_none_or(|(at, _)| at <= Instant::now())
    }

    /// How long until it may be; `None` while it works.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.next.map(|(at, _)| at.saturating_duration_since(Instant::now()))
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        if let Some((at, wait)) = &mut self.next {
            *at = Instant::now() + *wait;
            self.under_way = true;
        }
    }

    /// The target is at fault. Answers how long it is left alone; `None` for a call that was under way
    /// when the first of them failed.
    fn failed(&mut self) -> Option<Duration> {
        let under_way = std::mem::take(&mut self.under_way);
        let wait = match self.next {
            None => PROBE_FIRST,
            Some((_, wait)) if under_way => (wait * 2).min(PROBE_LAST),
            Some(_) => return None,
        };
        self.next = Some((Instant::now() + wait, wait));
        Some(wait)
    }
}

impl Dispatcher {
    /// A call has shown the vendor to be working.
    pub(super) async fn vendor_works(&mut self) {
        self.worked_at = Some(self.shared().clock.now());
        self.probe = Probe::default();
        if matches!(self.shared().state(), TargetState::Suspended { .. }) {
            tracing::info!(target_name = self.name(), "the target works again");
            self.report_state(TargetState::Running).await;
        }
    }

    /// A call, or the stack itself, has shown the target to be at fault.
    pub(super) async fn suspend(&mut self, reason: String, mend: Mend) {
        let Some(wait) = self.probe.failed() else { return };
        let now = self.shared().clock.now();
        let (since, tried) = match self.shared().state() {
            TargetState::Suspended { since, quarantine, .. } => (since, quarantine.tried),
            TargetState::Running => (now, 0),
            // A person's pause stands.
            TargetState::Paused { .. } => return,
        };
        tracing::warn!(target_name = self.name(), reason, probe_in = ?wait, "the target is suspended");
        let quarantine = Quarantine {
            mend: mend.words().to_owned(),
            tried: tried.saturating_add(1),
            next_probe: Some(now.after(wait)),
        };
        self.report_state(TargetState::Suspended { reason, since, quarantine }).await;
    }

    async fn report_state(&self, state: TargetState) {
        if let Err(error) = self.shared().report_state(state).await {
            tracing::error!(target_name = self.name(), error = %chain(&error), "failed to record the target's state");
        }
    }
}

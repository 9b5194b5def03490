//! A target as the admin API reaches it, on whichever replica it is asked.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::http::targets::{TargetControl, TargetSnapshot};
use crate::store::{Quarantine, StoreError, TargetState};
use crate::sync::Discovery;
use crate::sync::foresee::Foresight;
use crate::sync::handle::Handle;
use crate::target::Profile;
use crate::target::discovery::{self, InForce};
use crate::target::layers::breaker::{BreakerSnapshot, BreakerState};
use crate::target::verdict::Mend;

#[async_trait]
impl TargetControl for Handle {
    async fn snapshot(&self) -> Result<TargetSnapshot, StoreError> {
        if self.is_held() { Ok(of_the_holder(self).await) } else { of_another(self).await }
    }

    async fn pause(&self, by: &str) -> Result<(), StoreError> {
        Self::pause(self, by).await
    }

    async fn resume(&self, by: &str) -> Result<(), StoreError> {
        Self::resume(self, by).await
    }

    async fn foresee(&self, key: &ResourceKey) -> Result<Option<Foresight>, StoreError> {
        Self::foresee(self, key).await
    }

    fn wake(&self) {
        Self::wake(self);
    }

    fn discover(&self) -> bool {
        Self::discover(self)
    }
}

/// As it is here, at this moment.
async fn of_the_holder(target: &Handle) -> TargetSnapshot {
    let health = target.target().health().snapshot();
    TargetSnapshot {
        state: shown(target.state(), Some(&health.breaker)),
        held: true,
        holder: target.holder(),
        in_flight: target.in_flight(),
        limits: limits(health.limiter.rate_per_second, target.members_per_request()),
        breaker: json!(health.breaker),
        bulk: json!(target.bulk()),
        capabilities: capabilities(target.target().profile(), target.discovery().await.as_ref()),
    }
}

/// As its holder has stored it last.
async fn of_another(target: &Handle) -> Result<TargetSnapshot, StoreError> {
    let record = target.record().await?;
    let known = record.as_ref().map(|record| target.recollection(record));
    let bulk = record.as_ref().map_or_else(|| target.bulk(), |record| target.recollected_bulk(record));
    let breaker = known.as_ref().and_then(|known| known.breaker.clone());
    let configured = target.target().health().limiter.snapshot().configured_rate_per_second;
    let rate = known.as_ref().and_then(|known| Some(configured? * known.rate_factor));
    let members =
        known.as_ref().map_or_else(|| target.members_per_request(), |known| known.members_per_request);
    let state = record.map_or(TargetState::Running, |record| record.state);
    Ok(TargetSnapshot {
        state: shown(state, breaker.as_ref()),
        held: false,
        holder: target.holder(),
        in_flight: 0,
        limits: limits(rate, members),
        breaker: json!(breaker),
        bulk: json!(bulk),
        capabilities: capabilities(
            target.target().profile(),
            known.and_then(|known| known.discovery).as_ref(),
        ),
    })
}

fn limits(rate_per_second: Option<f64>, members_per_request: usize) -> Value {
    json!({ "rate_per_second": rate_per_second, "members_per_request": members_per_request })
}

/// What the vendor says of itself beside what is believed of it; null before it was read.
fn capabilities(profile: &Profile, known: Option<&Discovery>) -> Value {
    let Some(Discovery { at, reading }) = known else {
        return json!({ "profile": profile.name, "discovered": null });
    };
    json!({
        "profile": profile.name,
        "discovered": reading.discovered,
        "read_at": at.to_string(),
        "unread": reading.unread,
        "differences": discovery::differences(profile, &reading.discovered),
        "in_force": InForce::of(profile, &reading.discovered),
    })
}

/// To whom looks, a target that is kept from being called by its own failures is suspended, too.
fn shown(state: TargetState, breaker: Option<&BreakerSnapshot>) -> TargetState {
    let openings = breaker.map_or(0, |breaker| breaker.openings);
    match (state, breaker.map(|breaker| &breaker.state)) {
        (TargetState::Running, Some(BreakerState::Open { since, until, last_error })) => {
            failing(*since, last_error, openings, Some(*until))
        }
        (TargetState::Running, Some(BreakerState::HalfOpen { since, last_error })) => {
            failing(*since, last_error, openings, None)
        }
        (state, _) => state,
    }
}

fn failing(since: Timestamp, last_error: &str, tried: u32, next_probe: Option<Timestamp>) -> TargetState {
    let mend = Mend::Vendor.words().to_owned();
    TargetState::Suspended {
        reason: format!("the vendor fails: {last_error}"),
        since,
        quarantine: Quarantine { mend, tried, next_probe },
    }
}

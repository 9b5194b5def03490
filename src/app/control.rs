//! A dispatcher as the admin API reaches it.

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::http::targets::{TargetControl, TargetSnapshot};
use crate::store::{StoreError, TargetState};
use crate::sync::handle::Handle;
use crate::target::layers::breaker::BreakerState;

#[async_trait]
impl TargetControl for Handle {
    fn snapshot(&self) -> TargetSnapshot {
        let health = self.target().health().snapshot();
        TargetSnapshot {
            state: shown(self.state(), &health.breaker.state),
            in_flight: self.in_flight(),
            limits: json!({
                "rate_per_second": health.limiter.rate_per_second,
                "members_per_request": self.members_per_request(),
            }),
            breaker: serde_json::to_value(health.breaker).unwrap_or(Value::Null),
            capabilities: json!({ "profile": self.target().profile().name }),
        }
    }

    async fn pause(&self, by: &str) -> Result<(), StoreError> {
        Self::pause(self, by).await
    }

    async fn resume(&self, by: &str) -> Result<(), StoreError> {
        self.target().health().breaker.reset();
        Self::resume(self, by).await
    }

    fn wake(&self) {
        Self::wake(self);
    }
}

/// To whom looks, a target that is kept from being called by its own failures is suspended, too.
fn shown(state: TargetState, breaker: &BreakerState) -> TargetState {
    match (state, breaker) {
        (
            TargetState::Running,
            BreakerState::Open { since, last_error, .. } | BreakerState::HalfOpen { since, last_error },
        ) => TargetState::Suspended { reason: format!("the vendor fails: {last_error}"), since: *since },
        (state, _) => state,
    }
}

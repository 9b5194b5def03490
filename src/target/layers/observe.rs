//! A span and two metrics for each call.
//!
//! Outermost, so that the span covers everything below. It names the endpoint's shape and never a
//! path, an id or a body.

use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Method;
use tokio::time::Instant;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, debug, field};

use crate::target::call::{Answer, Call, CallError};
use crate::telemetry::chain;
use crate::telemetry::metrics::{Metrics, RequestLabels, TargetLabels};

/// Watches over the calls to one target.
#[derive(Clone)]
pub struct ObserveLayer {
    target: String,
    metrics: Metrics,
}

impl ObserveLayer {
    /// For the target of this name.
    pub fn new(target: String, metrics: Metrics) -> Self {
        Self { target, metrics }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, watch: self.clone() }
    }
}

/// A service that is watched.
#[derive(Clone)]
pub struct Observed<S> {
    inner: S,
    watch: ObserveLayer,
}

impl<S> Service<Call> for Observed<S>
where
    S: Service<Call, Response = Answer, Error = CallError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let watch = self.watch.clone();
        let (method, endpoint) = (call.method.clone(), call.endpoint);
        let span = tracing::info_span!(
            "scim call",
            target_name = %watch.target,
            %method,
            endpoint,
            status = field::Empty,
        );
        let began = Instant::now();
        let answer = span.in_scope(|| self.inner.call(call));
        let recorded = span.clone();
        async move {
            let outcome = answer.await;
            watch.record(&method, endpoint, &outcome, began, &recorded);
            outcome
        }
        .instrument(span)
        .boxed()
    }
}

impl ObserveLayer {
    fn record(
        &self,
        method: &Method,
        endpoint: &'static str,
        outcome: &Result<Answer, CallError>,
        began: Instant,
        span: &Span,
    ) {
        let (status, elapsed) = match outcome {
            Ok(answer) => (answer.status.as_u16().to_string(), answer.elapsed),
            Err(error) => (error.label().to_owned(), began.elapsed()),
        };
        span.record("status", status.as_str());
        match outcome {
            Ok(_) => debug!(elapsed_ms = elapsed.as_millis(), "vendor answered {status}"),
            Err(error) => debug!(elapsed_ms = elapsed.as_millis(), "failed to {}", chain(error)),
        }
        let (target, method) = (self.target.clone(), method.to_string());
        self.metrics
            .request_seconds
            .get_or_create(&TargetLabels { target: target.clone() })
            .observe(elapsed.as_secs_f64());
        self.metrics.requests.get_or_create(&RequestLabels { target, method, endpoint, status }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::target::call::TimedOut;
    use crate::target::layers::testing::{Scripted, answer, go, reset};

    #[tokio::test(start_paused = true)]
    async fn calls_are_counted_by_endpoint_and_outcome_and_never_by_id() {
        let metrics = Metrics::new();
        let timed_out = CallError::Unknown { source: Box::new(TimedOut(Duration::from_secs(1))) };
        let script = Scripted::new([Ok(answer(204)), Ok(answer(429)), Err(reset()), Err(timed_out)]);
        let mut service = ObserveLayer::new("genesys".to_owned(), metrics.clone()).layer(script);
        for _ in 0..4 {
            let _ = go(&mut service).await.1;
        }
        let text = metrics.exposition();
        for status in ["204", "429", "transport", "timeout"] {
            let line = format!(
                "scim_relay_requests_total{{target=\"genesys\",method=\"GET\",endpoint=\"Users/{{id}}\",status=\"{status}\"}} 1"
            );
            assert!(text.contains(&line), "{line} is missing in:\n{text}");
        }
        assert!(text.contains("scim_relay_request_seconds_count{target=\"genesys\"} 4"), "{text}");
    }
}

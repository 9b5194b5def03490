//! The time that one attempt may take, connection and body included.
//!
//! Innermost but the transport, so that waits for permits and tokens do not count. It differs from
//! tower's `Timeout` in its error: time that runs out after sending means that the outcome is not
//! known, which decides what may be done next.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use crate::target::call::{CallError, TimedOut};

/// Gives each attempt of a service so much time.
#[derive(Clone, Copy)]
pub struct TimeoutLayer {
    limit: Duration,
}

impl TimeoutLayer {
    /// So much time for each attempt.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner, limit: self.limit }
    }
}

/// A service whose attempts end in time.
#[derive(Clone)]
pub struct Timed<S> {
    inner: S,
    limit: Duration,
}

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R, Error = CallError>,
    S::Response: 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<S::Response, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let limit = self.limit;
        let attempt = tokio::time::timeout(limit, self.inner.call(request));
        async move {
            attempt.await.unwrap_or_else(|_| Err(CallError::Unknown { source: Box::new(TimedOut(limit)) }))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_that_runs_out_leaves_the_outcome_unknown() {
        let vendor = service_fn(|wait: Duration| async move {
            tokio::time::sleep(wait).await;
            Ok::<_, CallError>("done")
        });
        let service = TimeoutLayer::new(Duration::from_secs(30)).layer(vendor);
        assert_eq!(service.clone().oneshot(Duration::from_secs(29)).await.unwrap(), "done");
        let error = service.oneshot(Duration::from_secs(31)).await.unwrap_err();
        assert!(matches!(error, CallError::Unknown { .. }));
        assert_eq!(error.label(), "timeout");
    }
}

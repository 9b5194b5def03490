//! The rate limit: leave to call, taken in `poll_ready`.
//!
//! Inside the [breaker](super::breaker), so that a target that is left alone spends nothing; outside
//! the concurrency limit and [auth](super::auth). It differs from tower's `RateLimit` in that all
//! clones share one [`Limiter`], several windows apply at once, and the rate follows the vendor's 429s.

use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::ReusableBoxFuture;
use tower::{Layer, Service};

use crate::target::call::{Answer, Call, CallClass, CallError, Turn};
use crate::target::layers::gate::Gate;
use crate::target::layers::limiter::{Demand, Limiter, Permit};
use crate::target::layers::transit::Kind;

/// The gate and the limiter together: what a request must pass that was not waited for in
/// `poll_ready`, such as the repetition after a 401.
#[derive(Clone)]
pub struct Admission {
    /// The target's gate.
    pub gate: Gate,
    /// The target's limiter.
    pub limiter: Limiter,
}

impl Admission {
    /// Waits until one more such request may go out, and accounts it. Answers when it was to go.
    pub async fn again(&self, demand: &Demand) -> Instant {
        loop {
            self.gate.opened().await;
            let at = self.limiter.account(demand);
            sleep_until(at).await;
            if self.gate.is_open() {
                return at;
            }
        }
    }
}

/// Puts a [`Limiter`] before a service.
#[derive(Clone)]
pub struct RateLayer {
    admission: Admission,
    class: Option<CallClass>,
    turn: Turn,
}

impl RateLayer {
    /// Readiness is for calls of `class`; `None` means that of any class. It waits for the buckets that
    /// count each of them; for a narrower one the call itself waits.
    pub fn new(admission: Admission, class: Option<CallClass>) -> Self {
        Self { admission, class, turn: Turn::Usual }
    }

    /// Readiness comes in this turn.
    #[must_use]
    pub fn in_turn(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }
}

impl<S> Layer<S> for RateLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited {
            inner,
            admission: self.admission.clone(),
            class: self.class,
            turn: self.turn,
            state: State::Idle,
        }
    }
}

/// A service behind a limiter.
pub struct RateLimited<S> {
    inner: S,
    admission: Admission,
    class: Option<CallClass>,
    turn: Turn,
    state: State,
}

enum State {
    Idle,
    Waiting(ReusableBoxFuture<'static, Permit>),
    Granted(Permit),
}

impl<S: Clone> Clone for RateLimited<S> {
    /// Shares the limiter, never the permit.
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            admission: self.admission.clone(),
            class: self.class,
            turn: self.turn,
            state: State::Idle,
        }
    }
}

impl<S> Service<Call> for RateLimited<S>
where
    S: Service<Call, Response = Answer, Error = CallError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            self.state = match &mut self.state {
                State::Idle => {
                    let limiter = self.admission.limiter.clone();
                    let least = limiter.at_least(self.class).in_turn(self.turn);
                    State::Waiting(ReusableBoxFuture::new(limiter.admitted(least)))
                }
                State::Waiting(wait) => State::Granted(ready!(wait.poll(cx))),
                // Somebody else went while the permit was held, or the rate fell.
                State::Granted(permit) if !permit.is_valid() => State::Idle,
                State::Granted(_) => return self.inner.poll_ready(cx),
            };
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let State::Granted(permit) = std::mem::replace(&mut self.state, State::Idle) else {
            panic!("call without poll_ready");
        };
        let (demand, operations) = (self.admission.limiter.demand(&call), call.operations);
        let kind = Kind::of(&call);
        let clone = self.inner.clone();
        // The one that was polled ready is the one to be called.
        let inner = std::mem::replace(&mut self.inner, clone.clone());
        let admission = self.admission.clone();
        let granted = permit.spend(&demand);
        async move {
            let (mut at, mut inner) = if let Some(at) = granted {
                (at, inner)
            } else {
                // What waits here keeps no place among the calls in flight.
                drop(inner);
                admission.apart(&demand, clone).await?
            };
            if at > Instant::now() {
                sleep_until(at).await;
            }
            // It may have closed since `poll_ready`.
            if !admission.gate.is_open() {
                at = admission.again(&demand).await;
            }
            let sent = Instant::now();
            let under_way = admission.limiter.begin(operations);
            let answer = inner.call(call).await?;
            drop(under_way);
            admission.limiter.answered(kind, &demand, at, sent);
            if let Some(told) = admission.gate.told(&answer) {
                admission.limiter.hear(told, sent);
            }
            match answer.status {
                StatusCode::TOO_MANY_REQUESTS => admission.limiter.slow_down(sent),
                status if status.is_success() => admission.limiter.speed_up(),
                _ => {}
            }
            Ok(answer)
        }
        .boxed()
    }
}

impl Admission {
    /// Waits until a call may go that was not let in with its permit, and accounts it. Answers when it
    /// may go, and a service that is ready for it.
    async fn apart<S>(&self, demand: &Demand, inner: S) -> Result<(Instant, S), CallError>
    where
        S: Service<Call, Error = CallError> + Clone,
    {
        let apart = self.limiter.wait_apart();
        loop {
            self.gate.opened().await;
            let permit = self.limiter.clone().admitted_apart(demand.clone(), &apart).await;
            let mut inner = inner.clone();
            std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
            if let Some(at) =
                Some(permit).filter(|_| self.gate.is_open()).and_then(|permit| permit.spend(demand))
            {
                return Ok((at, inner));
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;

//! Auth: each request carries a token that should still be good, and a 401 gets one second chance.
//!
//! Inside all limits, outside the timeout. A token is fetched in `poll_ready`, ahead of its end, so
//! that calls do not pile up behind a refresh and then leave all at once. After a 401 the token
//! is renewed (once for all calls that met it) and the call is made once more: the vendor refused
//! the first, so nothing can have been done twice. The repetition passes the gate and is accounted
//! by the limiter like any request. A second 401 is final.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio_util::sync::ReusableBoxFuture;
use tower::{Layer, Service, ServiceExt as _};

use crate::target::call::{Answer, Call, CallError};
use crate::target::layers::rate::Admission;
use crate::target::token::{Pass, TokenError, Tokens};

/// A call with its `Authorization` header.
#[derive(Clone, Debug)]
pub struct Authorized {
    /// The call.
    pub call: Call,
    /// The header that lets it in.
    pub header: HeaderName,
    /// What stands there, marked as sensitive, so that it does not print.
    pub authorization: HeaderValue,
}

/// Lets calls carry the tokens of one target.
#[derive(Clone)]
pub struct AuthLayer {
    tokens: Arc<Tokens>,
    admission: Admission,
}

impl AuthLayer {
    /// With these tokens; `admission` is what a repeated call must pass.
    pub fn new(tokens: Arc<Tokens>, admission: Admission) -> Self {
        Self { tokens, admission }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Authorizing<S>;

    fn layer(&self, inner: S) -> Authorizing<S> {
        Authorizing { inner, auth: self.clone(), state: State::Idle }
    }
}

/// A service whose calls carry tokens.
pub struct Authorizing<S> {
    inner: S,
    auth: AuthLayer,
    state: State,
}

enum State {
    Idle,
    Fetching(ReusableBoxFuture<'static, Result<Pass, TokenError>>),
    Ready(Pass),
    /// No token is to be had. The next call says so, since an error in `poll_ready` would end the service.
    Failed(TokenError),
}

impl<S: Clone> Clone for Authorizing<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), auth: self.auth.clone(), state: State::Idle }
    }
}

impl<S> Service<Call> for Authorizing<S>
where
    S: Service<Authorized, Response = Answer, Error = CallError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            self.state = match &mut self.state {
                State::Idle => self.auth.tokens.at_hand().map_or_else(
                    || {
                        let tokens = Arc::clone(&self.auth.tokens);
                        State::Fetching(ReusableBoxFuture::new(async move { tokens.fresh().await }))
                    },
                    State::Ready,
                ),
                State::Fetching(fetch) => match ready!(fetch.poll(cx)) {
                    Ok(pass) => State::Ready(pass),
                    Err(error) => State::Failed(error),
                },
                State::Ready(pass) if !pass.is_fresh() => State::Idle,
                State::Ready(_) | State::Failed(_) => return self.inner.poll_ready(cx),
            };
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let pass = match std::mem::replace(&mut self.state, State::Idle) {
            State::Ready(pass) => pass,
            State::Failed(error) => return std::future::ready(Err(error.into())).boxed(),
            State::Idle | State::Fetching(_) => panic!("call without poll_ready"),
        };
        let (auth, again) = (self.auth.clone(), self.inner.clone());
        let first = self.inner.call(pass.authorize(call.clone()));
        async move {
            let answer = first.await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(pass.sign(answer));
            }
            let pass = auth.tokens.renewed(&pass).await?;
            auth.admission.again(&auth.admission.limiter.demand(&call)).await;
            let answer = again.oneshot(pass.authorize(call)).await?;
            if answer.status == StatusCode::UNAUTHORIZED {
                let reason = "the vendor answered 401 to a fresh token".to_owned();
                return Err(CallError::Credentials { reason });
            }
            Ok(pass.sign(answer))
        }
        .boxed()
    }
}

impl Pass {
    fn authorize(&self, call: Call) -> Authorized {
        Authorized { call, header: self.header.clone(), authorization: self.authorization.clone() }
    }

    fn sign(&self, answer: Answer) -> Answer {
        Answer { granted_scopes: self.scopes.clone(), ..answer }
    }
}

impl From<TokenError> for CallError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Refused { reason } => Self::Credentials { reason },
            TokenError::Unavailable { reason } => Self::NotSent { source: reason.into() },
        }
    }
}

#[cfg(test)]
mod tests;

//! Vendors for the tests of the layers.

use std::collections::VecDeque;
use std::future::Ready;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;
use tower::{BoxError, Service, ServiceExt as _, util::MapErr};
use tower_test::mock::{self, Handle, Mock};

use crate::target::call::{Answer, Call, CallClass, CallError, Turn};

/// A call of no interest.
pub fn call() -> Call {
    call_of(CallClass::Single)
}

/// A call of a class.
pub fn call_of(class: CallClass) -> Call {
    let path = "Users/1".to_owned();
    Call {
        method: Method::GET,
        path,
        endpoint: "Users/{id}",
        class,
        body: None,
        if_match: None,
        operations: 1,
        turn: Turn::Usual,
    }
}

pub fn answer(status: u16) -> Answer {
    Answer::new(StatusCode::from_u16(status).unwrap())
}

pub fn answer_with(status: u16, headers: &[(&'static str, &str)]) -> Answer {
    let mut answer = answer(status);
    for (name, value) in headers {
        answer.headers.insert(*name, value.parse().unwrap());
    }
    answer
}

pub fn reset() -> CallError {
    CallError::Unknown { source: "connection reset".into() }
}

/// A vendor whose readiness and answers the test plays by hand.
pub type ByHand = MapErr<Mock<Call, Answer>, fn(BoxError) -> CallError>;

pub fn by_hand() -> (ByHand, Handle<Call, Answer>) {
    let (service, handle) = mock::pair();
    (service.map_err(|source| CallError::Unknown { source }), handle)
}

/// A vendor that gives its answers one after the other, then 200 for ever, and notes when it was called.
#[derive(Clone, Default)]
pub struct Scripted {
    answers: Arc<Mutex<VecDeque<Result<Answer, CallError>>>>,
    pub calls: Arc<Mutex<Vec<Instant>>>,
}

impl Scripted {
    pub fn new(answers: impl IntoIterator<Item = Result<Answer, CallError>>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), calls: Arc::default() }
    }
}

impl<R> Service<R> for Scripted {
    type Response = Answer;
    type Error = CallError;
    type Future = Ready<Result<Answer, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        self.calls.lock().unwrap().push(Instant::now());
        std::future::ready(self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(answer(200))))
    }
}

/// Waits until the service is ready, calls it, and tells how long the wait was.
pub async fn go<S>(service: &mut S) -> (Duration, Result<Answer, CallError>)
where
    S: Service<Call, Response = Answer, Error = CallError>,
{
    let began = Instant::now();
    let ready = service.ready().await.unwrap_or_else(|error| panic!("no layer fails to get ready: {error}"));
    let waited = began.elapsed();
    (waited, ready.call(call()).await)
}

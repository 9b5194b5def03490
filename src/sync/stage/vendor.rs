//! A vendor that knows users and nothing else, and notes who called it when.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::Service;

use crate::target::layers::auth::Authorized;
use crate::target::{Answer, Call, CallError};

/// Clones are the same vendor.
#[derive(Clone, Default)]
pub(crate) struct Vendor(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    users: BTreeMap<String, Value>,
    calls: Vec<Seen>,
    in_flight: Vec<String>,
    latency: Duration,
    /// Answers so many of five calls with 503.
    failing: usize,
    script: VecDeque<Answer>,
    documents: BTreeMap<&'static str, Value>,
}

/// A call, when it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) by: String,
    pub(crate) method: Method,
    /// The user's name, as the vendor knows them.
    pub(crate) user: String,
    /// Whether it is answered with an error of the vendor's own.
    pub(crate) fails: bool,
}

/// A vendor as one replica calls it.
#[derive(Clone)]
pub(crate) struct CalledBy {
    vendor: Vendor,
    replica: String,
}

/// A 429 that says when to come back.
pub(crate) fn throttled(seconds: u32) -> Answer {
    let mut answer = Answer::new(StatusCode::TOO_MANY_REQUESTS);
    answer.headers.insert("retry-after", HeaderValue::from(seconds));
    answer
}

impl Vendor {
    pub(crate) fn called_by(&self, replica: &str) -> CalledBy {
        CalledBy { vendor: self.clone(), replica: replica.to_owned() }
    }

    /// How long each answer takes.
    pub(crate) fn set_latency(&self, latency: Duration) {
        self.0.lock().unwrap().latency = latency;
    }

    /// Fails so many of five calls from now on: one after the other, then the rest works.
    pub(crate) fn set_failing(&self, of_five: usize) {
        self.0.lock().unwrap().failing = of_five;
    }

    /// Answers the next call so.
    pub(crate) fn answer_next(&self, answer: Answer) {
        self.0.lock().unwrap().script.push_back(answer);
    }

    /// What it says of itself at this endpoint.
    pub(crate) fn describe(&self, endpoint: &'static str, document: Value) {
        self.0.lock().unwrap().documents.insert(endpoint, document);
    }

    pub(crate) fn calls(&self) -> Vec<Seen> {
        self.0.lock().unwrap().calls.clone()
    }

    /// The calls of one replica.
    pub(crate) fn calls_by(&self, replica: &str) -> Vec<Seen> {
        self.calls().into_iter().filter(|seen| seen.by == replica).collect()
    }

    pub(crate) fn users(&self) -> usize {
        self.0.lock().unwrap().users.len()
    }

    fn begin(&self, replica: &str, call: &Call) -> InFlight {
        let mut inner = self.0.lock().unwrap();
        assert!(inner.in_flight.iter().all(|by| by == replica), "two replicas call at once");
        inner.in_flight.push(replica.to_owned());
        let fails = inner.calls.len() % 5 < inner.failing;
        let seen = Seen {
            at: Instant::now(),
            by: replica.to_owned(),
            method: call.method.clone(),
            user: user(call),
            fails,
        };
        inner.calls.push(seen);
        InFlight(self.clone(), fails)
    }

    fn answer(&self, call: &Call) -> Answer {
        let mut inner = self.0.lock().unwrap();
        if let Some(answer) = inner.script.pop_front() {
            return answer;
        }
        if !call.endpoint.starts_with("Users") {
            let document = inner.documents.get(call.endpoint);
            return document.map_or_else(
                || Answer::new(StatusCode::NOT_FOUND),
                |document| told(StatusCode::OK, document),
            );
        }
        if call.method == Method::GET {
            let filter = percent_decode_str(&call.path).decode_utf8().unwrap();
            let named = |user: &&Value| {
                ["userName", "externalId"].iter().any(|name| {
                    user[*name].as_str().is_some_and(|value| filter.contains(&format!("\"{value}\"")))
                })
            };
            let hits: Vec<&Value> = inner.users.values().filter(named).collect();
            return told(StatusCode::OK, &json!({"totalResults": hits.len(), "Resources": hits}));
        }
        assert_eq!(call.method, Method::POST, "users are only created here");
        let mut user: Value = serde_json::from_slice(call.body.as_ref().unwrap()).unwrap();
        let id = user["userName"].as_str().unwrap().to_owned();
        if inner.users.contains_key(&id) {
            return told(StatusCode::CONFLICT, &json!({"scimType": "uniqueness"}));
        }
        user["id"] = json!(id);
        inner.users.insert(id, user.clone());
        told(StatusCode::CREATED, &user)
    }
}

/// The user whom a call looks for or creates.
fn user(call: &Call) -> String {
    if let Some(body) = &call.body {
        let user: Value = serde_json::from_slice(body).unwrap();
        return user["userName"].as_str().unwrap().to_owned();
    }
    let filter = percent_decode_str(&call.path).decode_utf8().unwrap();
    let mut words = filter.split('"').skip(1).step_by(2);
    words.find(|word| word.contains('@')).unwrap_or_default().to_owned()
}

fn told(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Answer { body: Bytes::from(body.to_string()), ..Answer::new(status) };
    answer.headers.insert("content-type", HeaderValue::from_static("application/scim+json"));
    answer
}

/// A call that the vendor works on, until it is answered or given up.
struct InFlight(Vendor, bool);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().in_flight.pop();
    }
}

impl Service<Authorized> for CalledBy {
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Authorized) -> Self::Future {
        let CalledBy { vendor, replica } = self.clone();
        async move {
            let in_flight = vendor.begin(&replica, &request.call);
            let latency = vendor.0.lock().unwrap().latency;
            sleep(latency).await;
            if in_flight.1 {
                return Ok(Answer::new(StatusCode::SERVICE_UNAVAILABLE));
            }
            Ok(vendor.answer(&request.call))
        }
        .boxed()
    }
}

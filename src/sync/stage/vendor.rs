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
use crate::target::{Answer, Call, CallClass, CallError};

/// Clones are the same vendor.
#[derive(Clone, Default)]
pub(crate) struct Vendor(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    users: BTreeMap<String, Value>,
    calls: Vec<Seen>,
    pages: Vec<(Instant, usize)>,
    in_flight: Vec<String>,
    latency: Duration,
    /// Answers so many of five calls with 503.
    failing: usize,
    /// Answers every change of a user with 503.
    failing_changes: bool,
    script: VecDeque<Answer>,
    documents: BTreeMap<&'static str, Value>,
}

/// Most users on a page of the list.
const PAGE: usize = 20;

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

    /// Fails every change of a user, alone or in a pack, or none.
    pub(crate) fn set_failing_changes(&self, failing: bool) {
        self.0.lock().unwrap().failing_changes = failing;
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

    /// Pages of the list of users that were asked for: when, and the index at which each was to begin.
    pub(crate) fn pages(&self) -> Vec<(Instant, usize)> {
        self.0.lock().unwrap().pages.clone()
    }

    pub(crate) fn users(&self) -> usize {
        self.0.lock().unwrap().users.len()
    }

    fn begin(&self, replica: &str, call: &Call) -> InFlight {
        let mut inner = self.0.lock().unwrap();
        assert!(inner.in_flight.iter().all(|by| by == replica), "two replicas call at once");
        inner.in_flight.push(replica.to_owned());
        inner.pages.extend(page_start(call).map(|start| (Instant::now(), start)));
        let parts = parts(call);
        let mut fails = Vec::with_capacity(parts.len());
        for (method, user) in parts {
            let failing =
                inner.calls.len() % 5 < inner.failing || (method == Method::PATCH && inner.failing_changes);
            let (at, by) = (Instant::now(), replica.to_owned());
            inner.calls.push(Seen { at, by, method, user, fails: failing });
            fails.push(failing);
        }
        InFlight(self.clone(), fails)
    }

    /// The answer to several operations, each of which fails or not.
    fn answer_each(&self, operations: &[Value], fails: &[bool]) -> Answer {
        let entry = |(operation, fails): (&Value, &bool)| {
            let mut entry = json!({"bulkId": operation["bulkId"], "method": operation["method"]});
            let status = if *fails {
                StatusCode::SERVICE_UNAVAILABLE
            } else if operation["method"] == "POST" {
                let (status, user) = self.0.lock().unwrap().create(&operation["data"]);
                let id = user["id"].as_str().unwrap_or_default();
                entry["location"] = json!(format!("https://vendor.example/Users/{id}"));
                status
            } else {
                StatusCode::OK
            };
            entry["status"] = json!(status.as_str());
            entry
        };
        let entries: Vec<Value> = operations.iter().zip(fails).map(entry).collect();
        told(StatusCode::OK, &json!({ "Operations": entries }))
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
        if let Some(start) = page_start(call) {
            let page: Vec<&Value> = inner.users.values().skip(start - 1).take(PAGE).collect();
            let (total, came) = (inner.users.len(), page.len());
            let page =
                json!({"totalResults": total, "startIndex": start, "itemsPerPage": came, "Resources": page});
            return told(StatusCode::OK, &page);
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
        if call.method == Method::PATCH {
            return told(StatusCode::OK, &inner.users[&named_by(&call.path)]);
        }
        assert_eq!(call.method, Method::POST, "users are created and changed here, and nothing else");
        let (status, body) = inner.create(&body(call).unwrap());
        told(status, &body)
    }
}

impl Inner {
    fn create(&mut self, user: &Value) -> (StatusCode, Value) {
        let (mut user, id) = (user.clone(), user["userName"].as_str().unwrap().to_owned());
        if self.users.contains_key(&id) {
            return (StatusCode::CONFLICT, json!({"scimType": "uniqueness"}));
        }
        user["id"] = json!(id);
        self.users.insert(id, user.clone());
        (StatusCode::CREATED, user)
    }
}

fn body(call: &Call) -> Option<Value> {
    call.body.as_ref().map(|body| serde_json::from_slice(body).unwrap())
}

/// The index at which the page begins that is asked for.
fn page_start(call: &Call) -> Option<usize> {
    call.path.strip_prefix("Users?startIndex=")?.split('&').next()?.parse().ok()
}

/// The user whose path this is: the vendor's ids are names.
fn named_by(path: &str) -> String {
    let id = path.trim_start_matches('/').trim_start_matches("Users/").split('?').next().unwrap();
    percent_decode_str(id).decode_utf8().unwrap().into_owned()
}

/// Of each operation of a call the method, and the user whom it looks for, creates or changes.
fn parts(call: &Call) -> Vec<(Method, String)> {
    let name = |user: &Value| user["userName"].as_str().unwrap().to_owned();
    if call.method == Method::PATCH {
        return vec![(Method::PATCH, named_by(&call.path))];
    }
    let Some(body) = body(call) else {
        let filter = percent_decode_str(&call.path).decode_utf8().unwrap();
        let mut words = filter.split('"').skip(1).step_by(2);
        let user = words.find(|word| word.contains('@')).unwrap_or_default().to_owned();
        return vec![(call.method.clone(), user)];
    };
    let Some(operations) = body["Operations"].as_array() else {
        return vec![(call.method.clone(), name(&body))];
    };
    let part = |operation: &Value| {
        let method: Method = operation["method"].as_str().unwrap().parse().unwrap();
        let user = if method == Method::POST {
            name(&operation["data"])
        } else {
            named_by(operation["path"].as_str().unwrap())
        };
        (method, user)
    };
    operations.iter().map(part).collect()
}

fn told(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Answer { body: Bytes::from(body.to_string()), ..Answer::new(status) };
    answer.headers.insert("content-type", HeaderValue::from_static("application/scim+json"));
    answer
}

/// A call that the vendor works on, until it is answered or given up, and which of its operations fail.
struct InFlight(Vendor, Vec<bool>);

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
            let is_scripted = !vendor.0.lock().unwrap().script.is_empty();
            if request.call.class == CallClass::Bulk
                && !is_scripted
                && let Some(operations) = body(&request.call).unwrap()["Operations"].as_array()
            {
                return Ok(vendor.answer_each(operations, &in_flight.1));
            }
            if in_flight.1.contains(&true) {
                return Ok(Answer::new(StatusCode::SERVICE_UNAVAILABLE));
            }
            Ok(vendor.answer(&request.call))
        }
        .boxed()
    }
}

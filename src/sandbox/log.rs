//! What was asked and what was answered: a bounded log, and totals that count everything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Method;
use serde::Serialize;
use tokio::time::Instant;

use crate::sandbox::endpoint::Call;

/// The log of one sandbox.
#[derive(Debug)]
pub struct RequestLog {
    start: Instant,
    entries_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<Entry>,
    total: u64,
    totals: BTreeMap<(String, &'static str, Sent), u64>,
    second: VecDeque<Instant>,
    per_second_max: usize,
    running: usize,
    running_max: usize,
}

/// One request, as it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Counts from 1 in the order in which requests ended.
    pub number: u64,
    /// When it came, in microseconds since the sandbox started.
    pub time_us: u64,
    /// How long it took, in microseconds.
    pub elapsed_us: u64,
    /// Its method.
    pub method: String,
    /// Its path with the query.
    pub path: String,
    /// The kind of endpoint.
    pub endpoint: &'static str,
    /// The status that was sent, or `"lost"`.
    pub status: Sent,
    /// Whether it was a write that took effect, whatever the answer said.
    pub applied: bool,
    /// Whether it carried `If-Match`.
    pub if_match: bool,
    /// Bytes of its body.
    pub body_bytes: usize,
    /// How many operations it stood for: 1, unless it was a bulk request that was carried out.
    pub operations: usize,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// The fault that met it, in short form.
    pub fault: Option<String>,
}

/// What was sent back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Sent {
    /// A status.
    Status(u16),
    /// Nothing: the connection was closed, or the client went away.
    Nothing(Lost),
}

/// The word for no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lost {
    /// `"lost"`
    Lost,
}

/// Totals since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Counts {
    /// Requests that ended.
    pub total: u64,
    /// How many of each method, endpoint and status.
    pub requests: Vec<Total>,
    /// The most requests that came in any one second. Requests for tokens are not among them.
    pub requests_in_one_second_max: usize,
    /// The most requests that were under way at once. Requests for tokens are not among them.
    pub concurrency_max: usize,
}

/// How many of one method, endpoint and status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// Method.
    pub method: String,
    /// Kind of endpoint.
    pub endpoint: &'static str,
    /// Status, or `"lost"`.
    pub status: Sent,
    /// How many.
    pub count: u64,
}

/// A request under way. It is logged when this is dropped: as lost, unless an answer was noted.
#[derive(Debug)]
pub struct Ticket {
    log: Arc<RequestLog>,
    came: Instant,
    counted: bool,
    /// Filled in while the request is handled; number and times are set at its end.
    pub entry: Entry,
}

impl RequestLog {
    /// An empty log that keeps this many entries.
    pub fn new(entries_max: usize) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), entries_max, inner: Mutex::default() })
    }

    /// Notes that a request has come.
    pub fn begin(self: &Arc<Self>, call: &Call, path: &str) -> Ticket {
        let came = Instant::now();
        let counted = !call.is_token();
        if counted {
            self.lock().arrive(came);
        }
        let entry = Entry {
            number: 0,
            time_us: micros(came - self.start),
            elapsed_us: 0,
            method: known_method(&call.method),
            path: path.to_owned(),
            endpoint: call.endpoint.label(),
            status: Sent::Nothing(Lost::Lost),
            applied: false,
            if_match: false,
            body_bytes: 0,
            operations: 1,
            user_agent: None,
            fault: None,
        };
        Ticket { log: Arc::clone(self), came, counted, entry }
    }

    /// Up to `limit` entries numbered above `after`, and how many there have been in all.
    pub fn after(&self, after: u64, limit: usize) -> (u64, Vec<Entry>) {
        let inner = self.lock();
        let newer = inner.entries.iter().filter(|entry| entry.number > after);
        (inner.total, newer.take(limit).cloned().collect())
    }

    /// Totals since the start.
    pub fn counts(&self) -> Counts {
        let inner = self.lock();
        let requests = inner.totals.iter().map(|((method, endpoint, status), count)| Total {
            method: method.clone(),
            endpoint,
            status: *status,
            count: *count,
        });
        Counts {
            total: inner.total,
            requests: requests.collect(),
            requests_in_one_second_max: inner.per_second_max,
            concurrency_max: inner.running_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn arrive(&mut self, now: Instant) {
        self.running += 1;
        self.running_max = self.running_max.max(self.running);
        self.second.push_back(now);
        while self.second.front().is_some_and(|first| now - *first >= Duration::from_secs(1)) {
            self.second.pop_front();
        }
        self.per_second_max = self.per_second_max.max(self.second.len());
    }

    fn end(&mut self, mut entry: Entry, entries_max: usize) {
        self.total += 1;
        entry.number = self.total;
        *self.totals.entry((entry.method.clone(), entry.endpoint, entry.status)).or_default() += 1;
        if self.entries.len() >= entries_max {
            self.entries.pop_front();
        }
        if entries_max > 0 {
            self.entries.push_back(entry);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.entry.elapsed_us = micros(self.came.elapsed());
        let mut inner = self.log.lock();
        if self.counted {
            inner.running -= 1;
        }
        inner.end(self.entry.clone(), self.log.entries_max);
    }
}

/// Methods of a client's own making all count as one, so that the totals stay bounded.
fn known_method(method: &Method) -> String {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "OTHER".to_owned(),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::endpoint::{Endpoint, Kind};

    fn read() -> Call {
        Call { method: Method::GET, endpoint: Endpoint::Collection(Kind::User) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_dropped_without_an_answer_is_lost() {
        let log = RequestLog::new(10);
        let mut answered = log.begin(&read(), "/scim/v2/Users");
        answered.entry.status = Sent::Status(200);
        tokio::time::advance(Duration::from_micros(7)).await;
        drop(answered);
        drop(log.begin(&read(), "/scim/v2/Users"));
        let (total, entries) = log.after(0, 10);
        assert_eq!((total, entries.len()), (2, 2));
        assert_eq!((entries[0].elapsed_us, entries[0].time_us, entries[1].time_us), (7, 0, 7));
        let statuses: Vec<_> =
            entries.iter().map(|entry| serde_json::to_value(entry.status).unwrap()).collect();
        assert_eq!(statuses, [serde_json::json!(200), serde_json::json!("lost")]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_forgets_and_the_totals_do_not() {
        let log = RequestLog::new(3);
        for _ in 0..5 {
            drop(log.begin(&read(), "/"));
        }
        let numbers = |after| log.after(after, 2).1.iter().map(|entry| entry.number).collect::<Vec<_>>();
        assert_eq!((numbers(0), numbers(4), numbers(5)), (vec![3, 4], vec![5], vec![]));
        let counts = log.counts();
        assert_eq!((counts.total, counts.requests[0].count), (5, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn the_busiest_second_slides() {
        let log = RequestLog::new(10);
        for wait_ms in [0, 600, 300, 300, 2_000] {
            tokio::time::advance(Duration::from_millis(wait_ms)).await;
            drop(log.begin(&read(), "/"));
        }
        // At 0, 600, 900, 1200 and 3200 ms: the last three of the first four lie within one second.
        assert_eq!(log.counts().requests_in_one_second_max, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_gauge_counts_what_is_under_way_and_no_requests_for_tokens() {
        let log = RequestLog::new(10);
        let token = Call { method: Method::POST, endpoint: Endpoint::Token };
        let open = [log.begin(&read(), "/"), log.begin(&read(), "/"), log.begin(&token, "/oauth/token")];
        drop(open);
        drop(log.begin(&read(), "/"));
        assert_eq!(log.counts().concurrency_max, 2);
    }
}

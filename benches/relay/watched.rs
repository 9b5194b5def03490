//! A sandbox vendor whose log is read: what came when, and how many bytes it took.

use std::time::Duration;

use scim_relay::sandbox::settings::{Auth, Behaviour};
use scim_relay::sandbox::{self, Running, Settings};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::program::{TOKEN, http_client, read_json};

/// Calls that the vendor takes at once, for those that the machine delayed. What it sees over its
/// rate is counted from its log all the same.
const VENDOR_BURST: u32 = 10;

/// A vendor, and a client to ask it what it saw.
pub struct Watched {
    running: Running,
    client: reqwest::Client,
    began: Instant,
}

/// One call as the vendor saw it.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it came, in microseconds.
    pub at_us: u64,
    /// Its path.
    pub path: String,
    /// Whether it was answered 2xx.
    pub done: bool,
    /// Bytes of both bodies.
    pub bytes: u64,
    /// Operations in it.
    pub operations: u64,
}

impl Watched {
    /// Starts one without a limit.
    pub async fn start(behaviour: Behaviour) -> Self {
        let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..behaviour };
        let settings = Settings { behaviour, log_entries_max: 1_000_000, ..Settings::default() };
        let (client, began) = (http_client(), Instant::now());
        Self { running: sandbox::start(settings).await.expect("a free port"), client, began }
    }

    /// Where its SCIM service is.
    pub fn base_url(&self) -> &str {
        self.running.base_url()
    }

    /// Limits it from now on to so many calls a second.
    pub async fn limit(&self, rate: f64) {
        self.put("rate", &json!({"per_second": rate, "burst": VENDOR_BURST})).await;
    }

    /// Replaces what goes wrong.
    pub async fn fail(&self, faults: &[&str]) {
        self.put("faults", &json!(faults)).await;
    }

    /// This moment as its log would have it, to a few milliseconds.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).expect("a run of some minutes")
    }

    /// How many calls it has seen.
    pub async fn seen(&self) -> u64 {
        self.look("counts").await["total"].as_u64().expect("a number")
    }

    /// The calls after so many, in the order in which they came.
    pub async fn calls_after(&self, mut number: u64) -> Vec<Call> {
        let mut seen = Vec::new();
        loop {
            let page = self.look(&format!("requests?after={number}&limit=10000")).await;
            let calls = page["requests"].as_array().expect("a list");
            let Some(last) = calls.last() else { break };
            number = last["number"].as_u64().expect("a number");
            seen.extend(calls.iter().map(call));
        }
        seen.sort_by_key(|call| call.at_us);
        seen
    }

    /// What it says of itself.
    pub async fn look(&self, what: &str) -> Value {
        read_json(self.client.get(self.url(what)).send().await.expect("an answer")).await
    }

    /// Ends it.
    pub async fn shutdown(self) {
        self.running.shutdown().await;
    }

    async fn put(&self, what: &str, value: &Value) {
        let request = self.client.put(self.url(what)).header("content-type", "application/json");
        let status = request.body(value.to_string()).send().await.expect("an answer").status();
        assert!(status.is_success(), "the vendor takes its {what}: {status}");
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/_sandbox/{what}", self.running.addr())
    }
}

/// From the first call to the last.
pub fn took(calls: &[Call]) -> Duration {
    let (first, last) = (calls.first(), calls.last());
    Duration::from_micros(last.zip(first).map_or(0, |(last, first)| last.at_us - first.at_us))
}

/// Calls with more than the limit in the second that ends with them; one more than the rate is
/// what a bucket that holds one call allows.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole rate")]
pub fn over(calls: &[Call], rate: f64) -> usize {
    let allowed = rate as usize + 1;
    calls.windows(allowed + 1).filter(|calls| calls[allowed].at_us - calls[0].at_us < 1_000_000).count()
}

fn call(entry: &Value) -> Call {
    let number = |name: &str| entry[name].as_u64().expect("a number");
    Call {
        at_us: number("time_us"),
        path: entry["path"].as_str().expect("a text").to_owned(),
        done: entry["status"].as_u64().is_some_and(|status| (200..300).contains(&status)),
        bytes: number("body_bytes") + number("answer_bytes"),
        operations: number("operations"),
    }
}

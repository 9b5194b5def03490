//! A sandbox vendor in this process, seen over HTTP alone.

use std::net::SocketAddr;
use std::time::Duration;

use scim_relay::demo::proof::Holdings;
use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{self, Behaviour, Fault, Running, Settings};
use serde_json::Value;

use super::http_client;
use super::relay::JsonValue as _;

/// The token that the sandboxes of the tests want.
pub const TOKEN: &str = "a-token-of-the-sandbox";

/// One call in the sandbox's log.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it came.
    pub time_us: u64,
    /// How long it took.
    pub elapsed_us: u64,
    pub method: String,
    /// Below the base path, with the query.
    pub path: String,
    /// As text; `lost` where nothing was answered.
    pub status: String,
    /// Length of what was sent.
    pub body_bytes: u64,
    /// How many operations it stood for.
    pub operations: u64,
}

impl Call {
    fn read(entry: &Value) -> Self {
        let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
        let number = |key: &str| entry[key].as_u64().expect("a number");
        let path = text("path");
        Self {
            time_us: number("time_us"),
            elapsed_us: number("elapsed_us"),
            body_bytes: number("body_bytes"),
            operations: number("operations"),
            method: text("method"),
            path: path.strip_prefix("/scim/v2/").unwrap_or(&path).to_owned(),
            status: entry["status"].as_str().map_or_else(|| entry["status"].to_string(), str::to_owned),
        }
    }

    /// When its answer was sent.
    pub fn ended_us(&self) -> u64 {
        self.time_us + self.elapsed_us
    }

    /// `METHOD kind status`: what it was, without ids.
    pub fn shape(&self) -> String {
        let kind = self.path.split(['/', '?']).next().unwrap_or_default();
        let kind = if self.path.contains('?') { format!("{kind}?") } else { kind.to_owned() };
        format!("{} {kind} {}", self.method, self.status)
    }
}

/// The shapes of calls.
pub fn shapes(calls: &[Call]) -> Vec<String> {
    calls.iter().map(Call::shape).collect()
}

/// The most calls that came in any stretch of one second.
pub fn busiest_second(calls: &[Call]) -> usize {
    busiest(calls, Duration::from_secs(1))
}

/// The most calls that came in any stretch of that length. The calls are in the order in which they came.
pub fn busiest(calls: &[Call], stretch: Duration) -> usize {
    let within = |(before, first): (usize, &Call)| {
        let end_us = u128::from(first.time_us) + stretch.as_micros();
        calls.partition_point(|call| u128::from(call.time_us) < end_us) - before
    };
    calls.iter().enumerate().map(within).max().unwrap_or(0)
}

/// The longest time between two calls of which the later came in this stretch of the log's time.
pub fn longest_gap(calls: &[Call], stretch_us: std::ops::Range<u64>) -> Duration {
    let pairs = calls.windows(2).filter(|pair| stretch_us.contains(&pair[1].time_us));
    let gaps_us = pairs.map(|pair| pair[1].time_us - pair[0].time_us);
    Duration::from_micros(gaps_us.max().expect("calls came in that stretch"))
}

/// A running sandbox.
pub struct Sandbox {
    running: Running,
    client: reqwest::Client,
}

impl Sandbox {
    pub async fn start(behaviour: Behaviour, faults: &[&str]) -> Self {
        let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..behaviour };
        Self::start_with(Settings { behaviour, ..Settings::default() }, faults).await
    }

    pub async fn start_with(settings: Settings, faults: &[&str]) -> Self {
        let faults = faults.iter().map(|fault| Fault::parse(fault).expect("a known fault")).collect();
        let running = sandbox::start(Settings { faults, ..settings }).await.expect("a free port");
        Self { running, client: http_client() }
    }

    pub fn base_url(&self) -> &str {
        self.running.base_url()
    }

    /// Where the vendor gives tokens.
    pub fn token_url(&self) -> String {
        format!("http://{}/oauth/token", self.running.addr())
    }

    /// Stops; answers where it listened.
    pub async fn stop(self) -> SocketAddr {
        let addr = self.running.addr();
        self.running.shutdown().await;
        addr
    }

    /// Tokens that were given stop working.
    pub async fn revoke_tokens(&self) {
        let url = format!("http://{}/_sandbox/tokens/revoke", self.running.addr());
        assert_eq!(self.client.post(url).send().await.expect("an answer").status(), 200);
    }

    /// `GET /_sandbox/{what}`.
    pub async fn look(&self, what: &str) -> Value {
        let url = format!("http://{}/_sandbox/{what}", self.running.addr());
        self.client.get(url).send().await.expect("an answer").json_value().await
    }

    /// Every request so far, oldest first.
    pub async fn requests(&self) -> Vec<Value> {
        let mut requests: Vec<Value> = Vec::new();
        loop {
            let after = requests.last().map_or(0, |request| request["number"].as_u64().expect("a number"));
            let page = self.look(&format!("requests?after={after}")).await;
            let entries = page["requests"].as_array().expect("a list");
            if entries.is_empty() {
                return requests;
            }
            requests.extend(entries.iter().cloned());
        }
    }

    /// How many requests have ended so far.
    pub async fn total(&self) -> u64 {
        self.look("counts").await["total"].as_u64().expect("a number")
    }

    /// The relay's own calls so far, tokens left out, in the order in which they came.
    pub async fn calls(&self) -> Vec<Call> {
        let requests = self.requests().await;
        let relays = requests.iter().filter(|request| {
            request["user_agent"].as_str().is_some_and(|agent| agent.starts_with("scim-relay/"))
                && request["endpoint"] != "token"
        });
        let mut calls: Vec<Call> = relays.map(Call::read).collect();
        calls.sort_by_key(|call| call.time_us);
        calls
    }

    /// A call of somebody who is not the relay, such as an administrator at the vendor's console.
    pub async fn console(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("{}/{path}", self.base_url())).bearer_auth(TOKEN);
        let request = request.header("content-type", "application/scim+json").body(body.to_string());
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes a user or group of which the relay knows nothing; answers the vendor's id.
    pub async fn make(&self, collection: &str, attributes: &Value) -> String {
        let kind = if collection.eq_ignore_ascii_case("users") { "User" } else { "Group" };
        let mut resource = attributes.clone();
        resource["schemas"] = serde_json::json!([format!("urn:ietf:params:scim:schemas:core:2.0:{kind}")]);
        let made = self.console(reqwest::Method::POST, collection, &resource).await;
        made["id"].as_str().expect("an id").to_owned()
    }

    /// When a call that is made now comes, on the clock of the log.
    pub async fn moment(&self) -> u64 {
        self.console(reqwest::Method::GET, "ServiceProviderConfig", &Value::Null).await;
        let own = |request: &&Value| request["user_agent"].is_null();
        let requests = self.requests().await;
        let last = requests.iter().rev().find(own).expect("the call above");
        last["time_us"].as_u64().expect("a number")
    }

    /// Everybody at the vendor, none of them twice.
    pub async fn users(&self) -> Vec<Value> {
        let state = self.look("state").await;
        let users = state["users"].as_array().expect("a list").clone();
        for name in ["userName", "externalId"] {
            let mut values: Vec<_> = users.iter().filter_map(|user| user[name].as_str()).collect();
            values.sort_unstable();
            let all = values.len();
            values.dedup();
            assert_eq!(values.len(), all, "somebody is there twice: {values:?}");
        }
        users
    }

    /// Everything at the vendor, read behind the back of its limits and its log.
    pub async fn holdings(&self) -> Holdings {
        let state = self.look("state").await;
        let all = |kind: &str| {
            let resources = state[kind].as_array().expect("a list").iter();
            resources.map(|resource| resource.as_object().expect("an object").clone()).collect()
        };
        Holdings { users: all("users"), groups: all("groups") }
    }

    /// The one user of that `externalId`.
    pub async fn user(&self, external_id: &str) -> Value {
        let users = self.users().await;
        let found = users.into_iter().find(|user| user["externalId"] == external_id);
        found.unwrap_or_else(|| panic!("{external_id} is not at the vendor"))
    }

    /// The members of the one group of that `displayName`, as vendor ids, sorted.
    pub async fn members(&self, display_name: &str) -> Vec<String> {
        let state = self.look("state").await;
        let groups = state["groups"].as_array().expect("a list");
        let mut named = groups.iter().filter(|group| group["displayName"] == display_name);
        let group = named.next().unwrap_or_else(|| panic!("{display_name} is not at the vendor"));
        assert!(named.next().is_none(), "{display_name} is there twice");
        let members = group["members"].as_array().map_or(&[][..], Vec::as_slice);
        let mut ids: Vec<_> =
            members.iter().map(|member| member["value"].as_str().expect("an id").to_owned()).collect();
        ids.sort_unstable();
        ids
    }

    /// Replaces the faults.
    pub async fn set_faults(&self, faults: &[&str]) {
        let url = format!("http://{}/_sandbox/faults", self.running.addr());
        let body = serde_json::json!(faults).to_string();
        let answer = self.client.put(url).header("content-type", "application/json").body(body).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    }
}

//! A sandbox vendor in this process, seen over HTTP alone.

use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{self, Behaviour, Fault, Running, Settings};
use serde_json::Value;

use super::http_client;
use super::relay::JsonValue as _;

/// The token that the sandboxes of the tests want.
pub const TOKEN: &str = "a-token-of-the-sandbox";

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

    /// Replaces the faults.
    pub async fn set_faults(&self, faults: &[&str]) {
        let url = format!("http://{}/_sandbox/faults", self.running.addr());
        let body = serde_json::json!(faults).to_string();
        let answer = self.client.put(url).header("content-type", "application/json").body(body).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    }
}

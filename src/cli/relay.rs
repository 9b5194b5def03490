//! A running relay's admin API, as commands ask it.

use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Which relay, and as whom.
#[derive(Debug, Args)]
pub struct Connection {
    /// Where the relay's admin API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "SCIM_RELAY_URL")]
    url: Url,
    /// The administrator's key
    #[arg(long, value_name = "KEY", env = "SCIM_RELAY_ADMIN_KEY", hide_env_values = true)]
    key: SecretString,
}

/// A relay that can be asked.
pub struct Relay {
    client: Client,
    base: Url,
    key: SecretString,
}

/// One request to it.
pub struct Ask<'a> {
    /// The method.
    pub method: Method,
    /// What stands behind `/admin/v1`, segment by segment.
    pub path: &'a [&'a str],
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Option<Value>,
    /// The media type that is wanted.
    pub accept: &'a str,
}

impl<'a> Ask<'a> {
    /// Reads what is there, as JSON.
    pub const fn reading(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], body: None, accept: "application/json" }
    }
}

impl Relay {
    /// Asks nothing yet.
    pub fn new(connection: &Connection) -> Result<Self, String> {
        // Another part of the process may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| format!("failed to make an HTTP client: {error}"))?;
        Ok(Self { client, base: connection.url.clone(), key: connection.key.clone() })
    }

    /// The answer's body, if it is a success.
    pub async fn call(&self, ask: Ask<'_>) -> Result<String, String> {
        let Ask { method, path, query, body, accept } = ask;
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| format!("{} is no address of a relay", self.base))?
            .pop_if_empty()
            .extend(["admin", "v1"])
            .extend(path);
        url.query_pairs_mut().extend_pairs(query);
        let mut request = self
            .client
            .request(method, url)
            .bearer_auth(self.key.expose_secret())
            .header(reqwest::header::ACCEPT, accept);
        if let Some(body) = body {
            request =
                request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await.map_err(|error| format!("failed to reach the relay: {error}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("failed to read the answer: {error}"))?;
        if status.is_success() {
            return Ok(text);
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or_else(|| reason(status));
        Err(format!("the relay answered {status}: {detail}"))
    }

    /// The same as JSON.
    pub async fn json(&self, ask: Ask<'_>) -> Result<Value, String> {
        let answer = self.call(ask).await?;
        serde_json::from_str(&answer).map_err(|_| "the relay's answer is no JSON".to_owned())
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("no reason")
}

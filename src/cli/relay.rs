//! A running relay's admin API, as commands ask it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::configuration::{ConfigArgument, own_address};
use crate::config::Problem;
use crate::http::admin::Role;
use crate::target::transport::install_crypto;

/// Where a relay without a configuration of its own is.
const NOT_TOLD: &str = "http://127.0.0.1:8080";
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Which relay, and as whom. The configuration says both, for who is on the relay's machine.
#[derive(Debug, Args)]
pub struct Connection {
    /// The configuration file of a relay on this machine: its address, and its first key that may do all this
    #[arg(long = "config", value_name = "FILE", env = "SCIM_RELAY_CONFIG")]
    config: Option<PathBuf>,
    /// Where the relay's admin API is, instead; without both, port 8080 of this machine
    #[arg(long, value_name = "URL", env = "SCIM_RELAY_URL")]
    url: Option<Url>,
    /// The administrator's key, instead
    #[arg(long, value_name = "KEY", env = "SCIM_RELAY_ADMIN_KEY", hide_env_values = true)]
    key: Option<SecretString>,
}

impl Connection {
    /// What was typed goes before what the configuration says.
    fn resolve(&self) -> Result<(Url, SecretString), String> {
        let config = match (&self.config, &self.url, &self.key) {
            // A variable may name a configuration that is not of this relay.
            (Some(_), Some(_), Some(_)) | (None, _, _) => None,
            (Some(path), _, _) => {
                Some(ConfigArgument { path: path.clone() }.load().map_err(|problems| told(&problems))?.0)
            }
        };
        let url = match (&self.url, &config) {
            (Some(url), _) => url.clone(),
            (None, Some(config)) => own_address(config.server.admin_listen.unwrap_or(config.server.listen))?,
            (None, None) => Url::parse(NOT_TOLD).expect("it is one"),
        };
        let configured = || {
            let keys = &config.as_ref()?.admin.keys;
            keys.iter().find(|key| key.role >= Role::Operator).map(|key| key.secret.clone())
        };
        let key = self.key.clone().or_else(configured).ok_or(
            "no key is known: give --key, or --config with the file of a relay that has a key with the role operator",
        )?;
        Ok((url, key))
    }
}

fn told(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("failed to read the configuration:\n{}", problems.join("\n"))
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
        install_crypto();
        let client = Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| format!("failed to make an HTTP client: {error}"))?;
        let (base, key) = connection.resolve()?;
        Ok(Self { client, base, key })
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

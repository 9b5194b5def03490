//! `scim-relay resync`: asks a running relay for a resync, shows how far it is, prints what differs.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::fail;

/// How often it is asked how far the resync is.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Arguments of `resync`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the target in the relay's configuration
    target: String,
    /// Have what drifted put right, and not only told
    #[arg(long)]
    apply: bool,
    /// Where the relay's admin API is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "SCIM_RELAY_URL")]
    url: Url,
    /// The administrator's key
    #[arg(long, value_name = "KEY", env = "SCIM_RELAY_ADMIN_KEY", hide_env_values = true)]
    key: SecretString,
}

/// Exits with 0 when all was compared, whatever differs, and with 1 otherwise.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("failed to start the runtime: {error}"), 1),
    };
    match runtime.block_on(resync(arguments)) {
        Ok(state) if state == "complete" => ExitCode::SUCCESS,
        Ok(state) => fail(&format!("the resync has ended {state}"), 1),
        Err(message) => fail(&message, 1),
    }
}

async fn resync(arguments: &Arguments) -> Result<String, String> {
    let relay = Relay::new(arguments)?;
    let mode = if arguments.apply { "apply" } else { "report" };
    let path = ["targets", &arguments.target, "resyncs"];
    let begun = relay.call(Method::POST, &path, Some(json!({ "mode": mode })), "application/json").await?;
    let begun: Value =
        serde_json::from_str(&begun).map_err(|_| "the relay's answer is no JSON".to_owned())?;
    let id = begun["id"].as_str().ok_or("the relay's answer names no resync")?.to_owned();
    let ended = follow(&relay, &id).await?;
    let report = relay.call(Method::GET, &["resyncs", &id, "report"], None, "text/csv").await?;
    let printed = io::stdout().lock().write_all(report.as_bytes());
    if let Err(error) = printed
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(format!("failed to write the output: {error}"));
    }
    tell(&format!("{}\n", ended["summary"]));
    for reason in ended["incomplete"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        tell(&format!("incomplete: {reason}\n"));
    }
    Ok(ended["state"].as_str().unwrap_or("unknown").to_owned())
}

/// Waits for the end, and says on standard error how far it is.
async fn follow(relay: &Relay, id: &str) -> Result<Value, String> {
    let mut said = String::new();
    loop {
        let view = relay.call(Method::GET, &["resyncs", id], None, "application/json").await?;
        let view: Value =
            serde_json::from_str(&view).map_err(|_| "the relay's answer is no JSON".to_owned())?;
        let (state, progress) = (&view["state"], &view["progress"]);
        if !matches!(state.as_str(), Some("waiting" | "running")) {
            return Ok(view);
        }
        let share = progress["share"].as_f64().unwrap_or(0.0) * 100.0;
        let left =
            progress["seconds_left"].as_f64().map_or(String::new(), |left| format!(", {left:.0} s left"));
        let word = progress["phase"].as_str().unwrap_or_default();
        let now = format!(
            "{word}: {} read, {} compared, {share:.0} %{left}\n",
            progress["read"], progress["compared"]
        );
        if now != said {
            tell(&now);
            said = now;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Nobody is left to tell when standard error is closed.
fn tell(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

struct Relay {
    client: Client,
    base: Url,
    key: SecretString,
}

impl Relay {
    fn new(arguments: &Arguments) -> Result<Self, String> {
        // Another part of the process may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| format!("failed to make an HTTP client: {error}"))?;
        Ok(Self { client, base: arguments.url.clone(), key: arguments.key.clone() })
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        body: Option<Value>,
        accept: &str,
    ) -> Result<String, String> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| format!("{} is no address of a relay", self.base))?
            .pop_if_empty()
            .extend(["admin", "v1"])
            .extend(path);
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
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("no reason")
}

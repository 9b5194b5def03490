//! `scim-relay resync`: asks a running relay for a resync, shows how far it is, prints what differs.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::relay::{Ask, Connection, Relay};
use super::{fail, runtime};

/// How often it is asked how far the resync is.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// Arguments of `resync`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the target in the relay's configuration
    target: String,
    /// Have what drifted put right, and not only told
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Exits with 0 when all was compared, whatever differs, and with 1 otherwise.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match runtime.block_on(resync(arguments)) {
        Ok(state) if state == "complete" => ExitCode::SUCCESS,
        Ok(state) => fail(&format!("the resync has ended {state}"), 1),
        Err(message) => fail(&message, 1),
    }
}

async fn resync(arguments: &Arguments) -> Result<String, String> {
    let relay = Relay::new(&arguments.connection)?;
    let mode = if arguments.apply { "apply" } else { "report" };
    let path = ["targets", &arguments.target, "resyncs"];
    let order = Ask { method: Method::POST, body: Some(json!({ "mode": mode })), ..Ask::reading(&path) };
    let begun = relay.json(order).await?;
    let id = begun["id"].as_str().ok_or("the relay's answer names no resync")?.to_owned();
    let ended = follow(&relay, &id).await?;
    let report = relay.call(Ask { accept: "text/csv", ..Ask::reading(&["resyncs", &id, "report"]) }).await?;
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
        let view = relay.json(Ask::reading(&["resyncs", id])).await?;
        let (state, progress) = (&view["state"], &view["progress"]);
        if !matches!(state.as_str(), Some("waiting" | "running")) {
            return Ok(view);
        }
        let share = progress["share"].as_f64().unwrap_or(0.0) * 100.0;
        let left =
            progress["seconds_left"].as_f64().map_or(String::new(), |left| format!(", {left:.0} s left"));
        let word = progress["phase"].as_str().unwrap_or_default();
        let again = match progress["read_again"].as_u64() {
            Some(times @ 1..) => format!(", lists read again: {times}"),
            Some(0) | None => String::new(),
        };
        let now = format!(
            "{word}: {} read, {} compared, {share:.0} %{left}{again}\n",
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

//! `serve`: runs the relay until it is told to stop.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use reqwest::blocking::Client;
use url::Url;

use super::configuration::ConfigArgument;
use super::{fail, stop_signal};
use crate::app;
use crate::clock::SystemClock;
use crate::config::Environment;
use crate::target::transport::{install_crypto, is_loopback};
use crate::telemetry::chain;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{Traces, TracesError};

/// Longest that a batch of spans may take.
const SPANS_TIME_MAX: Duration = Duration::from_secs(10);

/// What `serve` is started with.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

/// Where the spans of the service go, if anywhere.
pub fn traces() -> Result<Option<Traces>, TracesError> {
    let environment = Environment::of_process();
    Traces::start(|name| environment.get(name), client_of_collector)
}

fn client_of_collector(collector: &Url) -> Result<Client, reqwest::Error> {
    install_crypto();
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(SPANS_TIME_MAX);
    // A proxy cannot lead back to this machine.
    let builder = if is_loopback(collector) { builder.no_proxy() } else { builder };
    builder.build()
}

/// Runs the relay. SIGTERM or Ctrl-C: stops taking, finishes what is in flight, exits 0.
pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match arguments.config.load_or_report() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("failed to start: {error}"), 1),
    };
    runtime.block_on(async {
        // Before anybody can know the address, so that a stop is never answered by dying at once.
        let stop = match stop_signal() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("failed to catch signals: {error}"), 1),
        };
        let running = match app::start(&config, Arc::new(SystemClock), Metrics::new()).await {
            Ok(running) => running,
            Err(error) => return fail(&format!("failed to {}", chain(&error)), 1),
        };
        if let Err(error) = announce(&running) {
            tracing::warn!(%error, "failed to say on standard output where the relay listens");
        }
        stop.await;
        tracing::info!("stopping: finishing what is in flight");
        running.shutdown().await;
        ExitCode::SUCCESS
    })
}

fn announce(running: &app::Running) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{}", running.public())?;
    if let Some(admin) = running.admin() {
        writeln!(out, "listening on http://{admin}")?;
    }
    out.flush()
}

//! `demo`: shows the relay at work with nothing configured.

use std::io;
use std::process::ExitCode;

use clap::Args;

use super::fail;
use crate::demo::{self, Options};
use crate::telemetry::chain;

/// What `demo` is started with.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Leave relay and vendors running at the end, and print their addresses
    #[arg(long)]
    keep: bool,
    /// Seed of the company's changes and the vendors' faults
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the demonstration; fails when a vendor does not end equal to the directory.
pub fn run(arguments: &Arguments) -> ExitCode {
    let options = Options { keep: arguments.keep, seed: arguments.seed };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("failed to start: {error}"), 1),
    };
    // Standard output is not locked for the whole run: the bars draw meanwhile.
    match runtime.block_on(demo::run(options, &mut io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("failed to {}", chain(&error)), 1),
    }
}

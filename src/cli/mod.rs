//! The command line: parses it, starts the log, and hands over to one file a command.

mod check;
mod configuration;
mod demo;
mod openapi;
mod probe;
mod profiles;
mod relay;
mod resync;
mod sandbox;
mod send;
mod serve;
mod why;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::telemetry;
use crate::telemetry::logs::{self, DEFAULT_FILTER, Format};

/// What a command exits with when what it was given is wrong.
const EXIT_USAGE: u8 = 2;

/// Turns identity providers' signed change webhooks into converged SCIM 2.0 directories.
#[derive(Debug, Parser)]
#[command(name = "scim-relay", version)]
pub struct Cli {
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value = "human", env = "SCIM_RELAY_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged: a level, overall or by module
    #[arg(long, global = true, value_name = "FILTER", default_value = DEFAULT_FILTER, env = "SCIM_RELAY_LOG")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(serve::Arguments),
    /// Show the relay at work: sandbox vendors, a company's changes, and a proof; nothing to configure
    Demo(demo::Arguments),
    /// Validate a configuration and print every problem at once
    Check(check::Arguments),
    /// Find out what a vendor really does, with throw-away users and a group, and write a profile of it
    Probe(probe::Arguments),
    /// Ask a running relay to compare a vendor with the directory, and print what differs
    Resync(resync::Arguments),
    /// Tell why somebody has access at a vendor, or has not: what was said, what was done, how it stands
    Why(why::Arguments),
    /// Run a SCIM vendor in a box, with the habits of a profile and faults on demand
    Sandbox(Box<sandbox::Arguments>),
    /// Sign events from a file and post them to a running relay
    Send(send::Arguments),
    /// List the vendors' profiles, or show one whole
    Profiles(profiles::Arguments),
    /// Print the `OpenAPI` document of the HTTP API
    Openapi,
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let format = match cli.log_format {
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
    };
    // Of what ends by itself in a moment there is no trace to follow.
    let traces = if matches!(cli.command, Command::Serve(_)) { serve::traces() } else { Ok(None) };
    let traces = match traces {
        Ok(traces) => traces,
        Err(error) => return fail(&format!("failed to {}", telemetry::chain(&error)), EXIT_USAGE),
    };
    if let Err(error) = logs::install(format, &cli.log, traces.as_ref()) {
        return fail(&format!("failed to {}", telemetry::chain(&error)), EXIT_USAGE);
    }
    let code = run_command(cli.command);
    if let Some(traces) = traces {
        traces.finish();
    }
    code
}

fn run_command(command: Command) -> ExitCode {
    match command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Probe(arguments) => probe::run(&arguments),
        Command::Resync(arguments) => resync::run(&arguments),
        Command::Sandbox(arguments) => sandbox::run(*arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Why(arguments) => why::run(&arguments),
        Command::Profiles(arguments) => profiles::run(&arguments),
        Command::Openapi => openapi::run(),
    }
}

/// Says on standard error why the command ends, and ends it.
fn fail(message: &str, code: u8) -> ExitCode {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr().lock(), "scim-relay: {message}");
    ExitCode::from(code)
}

/// What commands wait on that do one thing after the other; or how the command ends.
fn runtime() -> Result<Runtime, ExitCode> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| fail(&format!("failed to start the runtime: {error}"), 1))
}

/// Catches Ctrl-C and the request to terminate from this call on; what it returns waits for either.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    })
}

/// A reader that closed the pipe has seen enough; that is no failure.
fn printed(result: io::Result<()>, code: ExitCode) -> ExitCode {
    match result {
        Ok(()) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => fail(&format!("failed to write the output: {error}"), 1),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

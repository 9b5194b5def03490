//! `scim-relay probe`: finds out what a vendor really does, and writes it down as a profile.

use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::configuration::ConfigArgument;
use super::{EXIT_USAGE, fail, stop_signal};
use crate::clock::SystemClock;
use crate::target::Target;
use crate::target::probe::{self, Report};
use crate::telemetry::chain;
use crate::telemetry::metrics::Metrics;

/// Arguments of `probe`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Name of the target in the configuration
    target: String,
    #[command(flatten)]
    config: ConfigArgument,
    /// Agree to two users and a group being made at the vendor, and removed again
    #[arg(long)]
    yes: bool,
    /// Write what is found as a profile to this file
    #[arg(long, value_name = "PROFILE.toml")]
    write: Option<PathBuf>,
}

/// Exits with 0 when all was asked and nothing is left behind, with 1 otherwise.
pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match arguments.config.load_or_report() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let name = &arguments.target;
    let Some(configured) = config.targets.get(name) else {
        let known: Vec<_> = config.targets.keys().map(String::as_str).collect();
        let known = known.join(", ");
        return fail(&format!("there is no target {name}; the configuration has: {known}"), EXIT_USAGE);
    };
    let connection = configured.connection.clone();
    if !arguments.yes && !agreed(name, connection.base_url.as_str()) {
        return fail("nothing was done: answer `yes`, or give --yes", EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("failed to start: {error}"), 1),
    };
    runtime.block_on(async {
        let stop = match stop_signal() {
            Ok(stop) => stop,
            Err(error) => return fail(&format!("failed to catch signals: {error}"), 1),
        };
        let target = match Target::connect(connection, Arc::new(SystemClock), &Metrics::new()) {
            Ok(target) => target,
            Err(error) => return fail(&format!("failed to {}", chain(&error)), 1),
        };
        let unique = format!("scim-relay-probe-{}", uuid::Uuid::new_v4().simple());
        let report = probe::probe(&target, &unique, stop).await;
        finish(arguments, &target, &report)
    })
}

/// Asks on the terminal; without one nobody agrees.
fn agreed(target: &str, base_url: &str) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    let question = format!(
        "This makes two users and a group at target {target} ({base_url}), changes them, and removes them \
         again.\nGo on? Type yes: "
    );
    let mut error = io::stderr().lock();
    let asked = error.write_all(question.as_bytes()).and_then(|()| error.flush());
    let mut answer = String::new();
    asked.is_ok() && io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("yes")
}

fn finish(arguments: &Arguments, target: &Target, report: &Report) -> ExitCode {
    let printed = print(&mut io::stdout().lock(), report);
    let mut code = super::printed(printed, ExitCode::SUCCESS);
    if let Err(error) = &report.ended {
        code = fail(&format!("failed to {}", chain(error)), 1);
    }
    if !report.leftovers.is_empty() {
        let left: Vec<_> = report.leftovers.iter().map(ToString::to_string).collect();
        code = fail(&format!("failed to remove what the probe has made:\n  {}", left.join("\n  ")), 1);
    }
    // Half an answer is no profile: what was not asked would look like the RFC's way.
    if let (Some(path), Ok(())) = (&arguments.write, &report.ended) {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
        let text = report.findings.to_profile(target.profile(), target.name(), &today);
        if let Err(error) = std::fs::write(path, text) {
            code = fail(&format!("failed to write {}: {error}", path.display()), 1);
        }
    }
    code
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let width = report.findings.iter().map(|finding| finding.question.chars().count()).max().unwrap_or(0);
    for finding in report.findings.iter() {
        let values: Vec<_> = finding.values.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        let values = if values.is_empty() { String::new() } else { format!("  [{}]", values.join(", ")) };
        writeln!(out, "{:width$}  {}{values}", finding.question, finding.answer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! `scim-relay send`: signs events from a file and posts them, as a sender would.

mod delivery;
mod documents;

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::process::ExitCode;

use clap::Args;
use url::Url;

use self::delivery::{Answer, Sender};
use self::documents::bodies;
use super::configuration::{ConfigArgument, own_address};
use super::{EXIT_USAGE, fail, runtime};
use crate::config::Config;
use crate::source::Kind;
use crate::telemetry::chain;

/// Arguments of `send`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// The source to send as, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    source: String,
    /// The relay's address, where it is not the configuration's `server.listen`
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// JSON events or changes, one or many, one a line or not; `-` is standard input
    file: String,
}

/// Posts every event, in the order of the file. Exits with 1 when one was refused.
pub fn run(arguments: &Arguments) -> ExitCode {
    let config = match arguments.config.load_or_report() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let sender = match sender(arguments, &config) {
        Ok(sender) => sender,
        Err(message) => return fail(&message, EXIT_USAGE),
    };
    let input: Box<dyn Read> = match open(&arguments.file) {
        Ok(input) => input,
        Err(error) => return fail(&format!("failed to read {}: {error}", arguments.file), EXIT_USAGE),
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    match send_all(&runtime, &sender, input) {
        Ok(tally) if tally.refused == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => fail(&message, 1),
    }
}

fn sender(arguments: &Arguments, config: &Config) -> Result<Sender, String> {
    let name = &arguments.source;
    let Some(source) = config.sources.get(name) else {
        let known: Vec<&str> = config.sources.keys().map(String::as_str).collect();
        return Err(format!("no source is named `{name}`; the configuration has: {}", known.join(", ")));
    };
    let (Kind::Native, Some(secret)) = (&source.kind, source.secrets.first()) else {
        return Err(format!("`{name}` is not of the kind native, and events are sent in that format alone"));
    };
    let (base, direct) = match &arguments.url {
        Some(url) => (url.clone(), false),
        None => (own_address(config.server.listen)?, true),
    };
    Sender::new(&base, name, secret.clone(), direct).map_err(|error| format!("failed to {}", chain(&error)))
}

fn open(file: &str) -> io::Result<Box<dyn Read>> {
    if file == "-" { Ok(Box::new(io::stdin().lock())) } else { Ok(Box::new(File::open(file)?)) }
}

#[derive(Default)]
struct Tally {
    accepted: usize,
    duplicate: usize,
    refused: usize,
}

fn send_all(runtime: &tokio::runtime::Runtime, sender: &Sender, input: impl Read) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let mut out = io::stdout().lock();
    for (number, body) in bodies(BufReader::new(input)).enumerate() {
        let body = body.map_err(|error| format!("failed to read event {}: {error}", number + 1))?;
        let id = format!("evt_{}", uuid::Uuid::now_v7().simple());
        let answer = runtime
            .block_on(sender.deliver(&id, body))
            .map_err(|error| format!("failed to {}", chain(&error)))?;
        // Sending goes on when nobody reads along any more.
        let _ = writeln!(out, "{id}  {answer}");
        match answer {
            Answer::Accepted { .. } => tally.accepted += 1,
            Answer::Duplicate => tally.duplicate += 1,
            Answer::Refused { .. } => tally.refused += 1,
        }
    }
    let Tally { accepted, duplicate, refused } = &tally;
    let _ = writeln!(out, "{accepted} accepted, {duplicate} duplicate, {refused} refused");
    Ok(tally)
}

//! `scim-relay check`: says everything that is wrong with a configuration, and starts nothing.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::configuration::{ConfigArgument, print_problems};
use super::{EXIT_USAGE, printed};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Config, Problem, Severity};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
}

/// Exits with 0 when the relay would start, with 2 when it would not.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut loaded = arguments.config.load();
    if let Ok((config, warnings)) = &mut loaded {
        warnings.extend(expiring(config, SystemClock.now()));
    }
    let code = if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) };
    let name = arguments.config.path.display().to_string();
    printed(print(&mut io::stdout().lock(), &name, &loaded), code)
}

/// The secrets that end soon: a fault of no file, and yet the relay will fail by them.
fn expiring(config: &Config, now: Timestamp) -> impl Iterator<Item = Problem> {
    let near = config.alarms.expiries.iter();
    let near = near.filter(move |expiry| expiry.is_near(config.alarms.secret_notice, now));
    near.map(move |expiry| {
        let key = format!("{}.expires", expiry.secret);
        Problem::warning(key, expiry.words(now), "replace the secret, and write the end of the new one")
    })
}

fn print(
    out: &mut impl Write,
    name: &str,
    loaded: &Result<(Config, Vec<Problem>), Vec<Problem>>,
) -> io::Result<()> {
    let (verdict, problems) = match loaded {
        Ok((_, warnings)) => ("is valid", warnings),
        Err(problems) => ("is not valid", problems),
    };
    print_problems(out, problems)?;
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let errors = counted(of(Severity::Error), "error");
    let warnings = counted(of(Severity::Warning), "warning");
    match loaded {
        Ok((config, _)) => {
            let sources = counted(config.sources.len(), "source");
            let targets = counted(config.targets.len(), "target");
            writeln!(out, "{name} {verdict}: {sources}, {targets}, {warnings}")
        }
        Err(_) => writeln!(out, "{name} {verdict}: {errors}, {warnings}"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Environment;

    fn checked(text: &str) -> String {
        let loaded = Config::parse(text, "relay.toml", Path::new(""), &Environment::default());
        let mut out = Vec::new();
        print(&mut out, "relay.toml", &loaded).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_valid_file_is_summed_up_after_its_warnings() {
        let out = checked("");
        assert!(out.starts_with("warning: relay.toml\n  reason  has no sources"), "{out}");
        assert!(out.ends_with("relay.toml is valid: 0 sources, 0 targets, 2 warnings\n"), "{out}");
    }

    #[test]
    fn a_secret_that_ends_soon_is_told() {
        let text = "[sources.hr]\nkind = 'native'\nsecrets = ['s3cret']\nexpires = '2026-12-01'\n";
        let config = Config::parse(text, "relay.toml", Path::new(""), &Environment::default()).unwrap().0;
        let told = |now: &str| -> Vec<String> {
            let now = Timestamp::parse_rfc3339(now).unwrap();
            expiring(&config, now).map(|problem| format!("{} {}", problem.key, problem.reason)).collect()
        };
        assert_eq!(told("2026-11-16T23:59:59Z"), [""; 0]);
        assert_eq!(
            told("2026-11-17T00:00:00Z"),
            ["sources.hr.expires ends in 14 days, at 2026-12-01T00:00:00Z"]
        );
        assert!(told("2027-01-01T00:00:00Z")[0].contains("has ended"));
    }

    #[test]
    fn a_faulty_file_is_summed_up_after_its_problems() {
        let out = checked("[server]\nlisten = 'x'\n");
        assert!(out.starts_with("error: server.listen\n  value   x\n"), "{out}");
        assert!(out.ends_with("relay.toml is not valid: 1 error, 2 warnings\n"), "{out}");
    }
}

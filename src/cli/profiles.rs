//! `scim-relay profiles`: which vendors the relay knows, and what it knows of one.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::{EXIT_USAGE, fail, printed};
use crate::target::Profile;
use crate::target::profile::Evidence;
use crate::telemetry::chain;

/// Arguments of `profiles`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A built-in profile, or a profile's file, to show with all of its values
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Lists the profiles, or shows one.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut out = io::stdout().lock();
    let Some(name) = &arguments.name else {
        return printed(list(&mut out), ExitCode::SUCCESS);
    };
    match shown(name) {
        Ok(text) => printed(out.write_all(text.as_bytes()), ExitCode::SUCCESS),
        Err(message) => fail(&message, EXIT_USAGE),
    }
}

/// The text of a built-in profile, or of a profile's file.
pub fn text_of(name: &str) -> Result<Cow<'static, str>, String> {
    if let Some(text) = Profile::builtin_text(name) {
        return Ok(text.into());
    }
    let known: Vec<&str> = Profile::names().collect();
    std::fs::read_to_string(name)
        .map(Cow::from)
        .map_err(|_| format!("neither a built-in profile ({}) nor a file", known.join(", ")))
}

fn shown(name: &str) -> Result<String, String> {
    let text = text_of(name).map_err(|reason| format!("`{name}` is {reason}"))?;
    Profile::effective(&text).map_err(|error| format!("failed to {}", chain(&error)))
}

fn list(out: &mut impl Write) -> io::Result<()> {
    let profiles: Vec<Profile> = Profile::names().filter_map(Profile::builtin).collect();
    let width = profiles.iter().map(|profile| profile.name.len()).max().unwrap_or(0);
    for Profile { name, evidence, as_of, summary, .. } in &profiles {
        let evidence = match evidence {
            Evidence::Verified => "verified",
            Evidence::Documented => "documented",
            Evidence::Partial => "partial",
            Evidence::Probed => "probed",
            Evidence::Unverified => "unverified",
        };
        writeln!(out, "{name:width$}  {evidence:10}  {as_of}  {summary}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_its_line() {
        let mut out = Vec::new();
        list(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), Profile::names().count());
        let slack = text.lines().find(|line| line.starts_with("slack ")).unwrap();
        assert!(
            slack.contains("documented") && slack.contains("2026-") && slack.contains("DELETE"),
            "{slack}"
        );
    }

    #[test]
    fn a_profile_is_shown_by_name_or_by_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), Profile::builtin_text("slack").unwrap()).unwrap();
        let by_name = shown("slack").unwrap();
        assert_eq!(by_name, shown(file.path().to_str().unwrap()).unwrap());
        assert!(by_name.contains("mode = \"deactivate\"   # departs"));
        std::fs::write(file.path(), "name = 1").unwrap();
        assert!(shown(file.path().to_str().unwrap()).unwrap_err().starts_with("failed to read the profile"));
        assert!(shown("no-such-vendor").unwrap_err().contains("aws-identity-center"));
    }
}

//! `--config`, for every command that needs a configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::EXIT_USAGE;
use crate::config::{Config, Environment, Problem};

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArgument {
    /// The configuration file
    #[arg(long = "config", value_name = "FILE", env = "SCIM_RELAY_CONFIG")]
    pub path: PathBuf,
}

impl ConfigArgument {
    /// Reads the configuration, without a word about it.
    pub fn load(&self) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
        Config::load(&self.path, &Environment::of_process())
    }

    /// Reads the configuration, problems to standard error. Not usable: with what the command exits.
    pub fn load_or_report(&self) -> Result<Config, ExitCode> {
        let (loaded, problems) = match self.load() {
            Ok((config, warnings)) => (Ok(config), warnings),
            Err(problems) => (Err(ExitCode::from(EXIT_USAGE)), problems),
        };
        // Nobody is left to tell when standard error is closed.
        let _ = print_problems(&mut io::stderr().lock(), &problems);
        loaded
    }
}

/// One paragraph a problem.
pub fn print_problems(out: &mut impl Write, problems: &[Problem]) -> io::Result<()> {
    problems.iter().try_for_each(|problem| writeln!(out, "{problem}\n"))
}

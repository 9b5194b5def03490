//! The configuration: one TOML file, overridden by `SCIM_RELAY__SECTION__KEY`, secrets resolved.
//!
//! [`Config::load`] reports every problem at once, each with key, value, reason and remedy. What it
//! hands out is complete and consistent: nothing behind it checks a setting again, reads the
//! environment, or opens a secret's file.

mod admin;
mod environment;
mod problem;
mod reader;
mod secret;
mod server;
mod source;
mod store;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Table;

pub use admin::{AdminConfig, AdminKey, Role};
pub use environment::{Environment, OVERRIDE_PREFIX};
pub use problem::{Problem, Severity};
pub use server::ServerConfig;
pub use source::{IntakeLimit, SourceConfig, SourceKind};
pub use store::StoreConfig;
pub use target::{Auth, ClientAuth, Limits, MemberPolicy, OnDelete, ProfileRef, TargetConfig, Window};

use environment::apply_overrides;
use problem::Problems;
use reader::{Context, Section};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Everything that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the relay listens.
    pub server: ServerConfig,
    /// Where it keeps what it must not forget.
    pub store: StoreConfig,
    /// Who may use the admin API.
    pub admin: AdminConfig,
    /// Who sends changes, by name.
    pub sources: BTreeMap<String, SourceConfig>,
    /// Which vendors' directories follow, by name.
    pub targets: BTreeMap<String, TargetConfig>,
}

impl Config {
    /// Reads a configuration file. With what comes out come warnings; an error comes with all that
    /// was found, errors first.
    pub fn load(path: &Path, environment: &Environment) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let text = read_file(path).map_err(|problem| vec![problem])?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &path.display().to_string(), folder, environment)
    }

    /// Reads a configuration from its text. `name` is what problems of the file as a whole are
    /// filed under; relative paths of secrets and profiles start at `folder`.
    pub fn parse(
        text: &str,
        name: &str,
        folder: &Path,
        environment: &Environment,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut table: Table = text.parse().map_err(|error| vec![syntax_problem(text, name, &error)])?;
        let problems = Problems::default();
        let overridden = apply_overrides(&mut table, environment, &problems);
        let context = Context { environment, folder, overridden, problems };
        let config = read(Section::root(&context, &table), name);

        let problems = context.problems.into_sorted();
        match problems.first() {
            Some(first) if first.severity == Severity::Error => Err(problems),
            Some(_) | None => Ok((config, problems)),
        }
    }
}

/// Reads every section. What could not be read is left out; the problems say so.
fn read(mut root: Section<'_>, name: &str) -> Config {
    let sources = root.named("sources");
    if sources.is_empty() {
        root.add(Problem::warning(name, "has no sources: no changes can come in", "add [sources.NAME]"));
    }
    let targets = root.named("targets");
    if targets.is_empty() {
        root.add(Problem::warning(name, "has no targets: changes lead nowhere", "add [targets.NAME]"));
    }
    let sources_written = sources.len();
    let config = Config {
        server: root.section("server").map(server::read).unwrap_or_default(),
        store: root.section("store").map(store::read).unwrap_or_default(),
        admin: root.section("admin").map(admin::read).unwrap_or_default(),
        sources: read_named(sources, source::read),
        targets: read_named(targets, target::read),
    };
    // A source that could not be read may be the one that feeds the directory.
    if sources_written > 0 && config.sources.len() == sources_written {
        warn_of_unfed_directories(&root, &config);
    }
    root.finish();
    config
}

fn read_named<'a, T>(
    named: Vec<(String, Section<'a>)>,
    read: impl Fn(Section<'a>) -> Option<T>,
) -> BTreeMap<String, T> {
    named.into_iter().filter_map(|(name, section)| Some((name, read(section)?))).collect()
}

fn warn_of_unfed_directories(root: &Section<'_>, config: &Config) {
    let fed: BTreeSet<&str> = config.sources.values().map(|source| source.directory.as_str()).collect();
    for (name, target) in config.targets.iter().filter(|(_, target)| !fed.contains(target.directory.as_str()))
    {
        let fed: Vec<&str> = fed.iter().copied().collect();
        root.add(
            Problem::warning(
                format!("targets.{name}.directory"),
                "is a directory that no source feeds",
                format!("follow {}, or add a source for it", reader::one_of(&fed)),
            )
            .with_value(&target.directory),
        );
    }
}

fn read_file(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(
        |error| {
            Problem::error(
                &name,
                format!("cannot be read: {error}"),
                "name a TOML file that the relay may read",
            )
        },
    )?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problem::error(
            &name,
            format!("is over {FILE_BYTES_MAX} bytes"),
            "name a configuration file",
        ));
    }
    String::from_utf8(bytes).map_err(|_| Problem::error(&name, "is not UTF-8", "save the file as UTF-8"))
}

/// Says where the syntax breaks without repeating the line, which may hold a secret.
fn syntax_problem(text: &str, name: &str, error: &toml::de::Error) -> Problem {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Problem::error(
        format!("{name}:{line}:{column}"),
        format!("is not TOML: {}", error.message()),
        "mend the syntax there; nothing else could be checked",
    )
}

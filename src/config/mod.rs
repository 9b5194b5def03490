//! The configuration: one TOML file, overridden by `SCIM_RELAY__SECTION__KEY`, secrets resolved.
//!
//! [`Config::load`] reports every problem at once, each with key, value, reason and remedy. What it
//! hands out is complete and consistent: nothing behind it checks a setting again, reads the
//! environment, or opens a secret's file.

mod admin;
mod alarms;
mod audit;
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
mod values;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use toml::Table;

pub use admin::AdminConfig;
pub use environment::{Environment, OVERRIDE_PREFIX};
pub use problem::{Problem, Severity};
pub use server::ServerConfig;
pub use source::ConnectorConfig;
pub use store::StoreConfig;
pub use target::{BulkMode, DiscoveryMode, MemberPolicy, OnDelete, TargetConfig};

use crate::http::alarms::Alarms;
use crate::store::Retention;
use environment::apply_overrides;
use problem::Problems;
use reader::{Context, Section, read_text};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Everything that an operator decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the relay listens.
    pub server: ServerConfig,
    /// Where it keeps what it must not forget.
    pub store: StoreConfig,
    /// How long it keeps what is over.
    pub retention: Retention,
    /// Who may use the admin API.
    pub admin: AdminConfig,
    /// What somebody should know of before it hurts.
    pub alarms: Alarms,
    /// The file that the ledger is written to; absent: none.
    pub audit: Option<crate::audit::Settings>,
    /// Who sends changes, by name.
    pub sources: BTreeMap<String, crate::source::Settings>,
    /// How those who send thin events are asked, by the name of the source.
    pub connectors: BTreeMap<String, ConnectorConfig>,
    /// For how long nothing of a source is lost while nobody listens, by name; those that lose nothing ever
    /// are not among them.
    pub patience: BTreeMap<String, Duration>,
    /// How those sources are taken in that post no webhooks, by name.
    pub feeds: BTreeMap<String, crate::feed::Settings>,
    /// Which vendors' directories follow, by name.
    pub targets: BTreeMap<String, TargetConfig>,
}

impl Config {
    /// Reads a configuration file. With what comes out come warnings; an error comes with all that
    /// was found, errors first.
    pub fn load(path: &Path, environment: &Environment) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let name = path.display().to_string();
        let text = read_text(path, FILE_BYTES_MAX).map_err(|reason| {
            vec![Problem::error(&name, reason, "name a TOML file that the relay may read")]
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &name, folder, environment)
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
        let context = Context { environment, folder, overridden, problems, expiries: RefCell::default() };
        let mut config = read(Section::root(&context, &table), name);
        config.alarms.expiries = context.expiries.take();

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
    let server = root.section("server").map(server::read).unwrap_or_default();
    let read_source = |name: &str, section: Section<'_>| source::read(name, section, server.body_limit);
    let (store, retention) = root.section("store").map(store::read).unwrap_or_default();
    let sources: BTreeMap<_, _> = read_named(sources, read_source);
    let feeds = sources.iter().filter_map(|(name, source)| Some((name.clone(), source.feed.clone()?)));
    let connectors =
        sources.iter().filter_map(|(name, source)| Some((name.clone(), source.connector.clone()?)));
    let silent_after =
        sources.iter().filter_map(|(name, source)| Some((name.clone(), source.silent_after?))).collect();
    let alarms = root.section("alarms").map(alarms::read).unwrap_or_default();
    let patience = sources.iter().filter_map(|(name, source)| Some((name.clone(), source.patience?)));
    let config = Config {
        patience: patience.collect(),
        feeds: feeds.collect(),
        connectors: connectors.collect(),
        sources: sources.into_iter().map(|(name, source)| (name, source.settings)).collect(),
        store,
        retention,
        admin: root.section("admin").map(admin::read).unwrap_or_default(),
        alarms: Alarms { silent_after, ..alarms },
        audit: root.section("audit").and_then(audit::read),
        targets: read_named(targets, target::read),
        server,
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
    read: impl Fn(&str, Section<'a>) -> Option<T>,
) -> BTreeMap<String, T> {
    named.into_iter().filter_map(|(name, section)| Some((name.clone(), read(&name, section)?))).collect()
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

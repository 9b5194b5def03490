//! `[store]`: where the relay keeps what it must not forget.

use std::path::PathBuf;

use std::time::Duration;

use crate::store::Retention;
use crate::store::postgres::{Address, Options};

use super::problem::Problem;
use super::reader::Section;
use super::values::without_user_info;

const REMEDY: &str = "write \"sqlite://relay.db\", \"sqlite:///var/lib/scim-relay/relay.db\" or \"postgres://user@host/database\"";

/// Most connections that one relay may be told to open.
const CONNECTIONS_MAX: u32 = 100;

/// Shortest time for which the ledger is kept: a day's questions can be answered.
const LEDGER_MIN: Duration = Duration::from_hours(24);
/// Longest time for which anything is kept: a hundred years.
const KEPT_MAX: Duration = Duration::from_hours(100 * 365 * 24);

/// Which durable memory the relay uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// Embedded SQLite. A relative path starts at the working directory.
    Sqlite {
        /// The database file.
        path: PathBuf,
    },
    /// A PostgreSQL database, shared by any number of relays.
    Postgres {
        /// The database, and how to get in.
        address: Box<Address>,
        /// How it is used.
        options: Options,
    },
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::Sqlite { path: PathBuf::from("scim-relay.db") }
    }
}

/// Reads `[store]`; every key has a default.
pub fn read(mut section: Section<'_>) -> (StoreConfig, Retention) {
    let retention = section.section("retention").map(retention).unwrap_or_default();
    let connections = connections(&mut section);
    let store = location(&mut section).unwrap_or_default();
    let store = match (store, connections) {
        (StoreConfig::Postgres { address, .. }, Some(connections_max)) => {
            StoreConfig::Postgres { address, options: Options { connections_max } }
        }
        (store, _) => store,
    };
    section.finish();
    (store, retention)
}

/// Reads `[store.retention]`.
fn retention(mut section: Section<'_>) -> Retention {
    let kept = Retention::default();
    let kept = Retention {
        events: section.duration("events", Retention::EVENTS_MIN..=KEPT_MAX).unwrap_or(kept.events),
        ledger: section.duration("ledger", LEDGER_MIN..=KEPT_MAX).unwrap_or(kept.ledger),
        tombstones: section
            .duration("tombstones", Retention::EVENTS_MIN..=KEPT_MAX)
            .unwrap_or(kept.tombstones),
    };
    if kept.tombstones < kept.events {
        // What became of an event's changes is told by generations, which begin anew with a resource.
        section.add(Problem::error(
            section.path_of("tombstones"),
            "is shorter than what events are kept for",
            format!("keep tombstones for at least {}", humantime::format_duration(kept.events)),
        ));
    }
    section.finish();
    kept
}

fn connections(section: &mut Section<'_>) -> Option<usize> {
    let least = u32::try_from(Options::CONNECTIONS_MIN).unwrap_or(CONNECTIONS_MAX);
    usize::try_from(section.integer("connections", least..=CONNECTIONS_MAX)?).ok()
}

fn location(section: &mut Section<'_>) -> Option<StoreConfig> {
    let written = section.hidden_text("url")?;
    let url = section.reference("url")?;
    // What a reference leads to is as secret as what else lives there.
    let shown = if written == url { showable(&url) } else { Some(written.clone()) };
    let fault = match url.split_once("://") {
        Some(("sqlite", path)) if path.contains(['?', '#', '\0']) => {
            "holds parameters, which SQLite URLs do not take here".to_owned()
        }
        Some(("sqlite", path)) if path.is_empty() || path.starts_with(':') || path.ends_with('/') => {
            "names no file".to_owned()
        }
        Some(("sqlite", path)) => return Some(StoreConfig::Sqlite { path: PathBuf::from(path) }),
        Some(("postgres" | "postgresql", _)) => match Address::parse(&url) {
            Ok(address) => {
                if written == url && address.has_password() {
                    let reason = "holds a password written in the open";
                    let remedy = "write \"env:NAME\" or \"file:PATH\" in place of the whole URL";
                    section.add(Problem::warning(section.path_of("url"), reason, remedy));
                }
                return Some(StoreConfig::Postgres {
                    address: Box::new(address),
                    options: Options::default(),
                });
            }
            Err(error) => error.to_string(),
        },
        Some(_) | None => "is not a store's URL".to_owned(),
    };
    let problem = Problem::error(section.path_of("url"), fault, REMEDY);
    section.add(match shown {
        Some(shown) => problem.with_value(shown),
        None => problem,
    });
    None
}

/// As much of a URL as holds no secret; `None` where that is not known. Parameters may hold a password.
fn showable(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once("://")?;
    let place = if scheme == "sqlite" { url } else { url.split('?').next().unwrap_or_default() };
    Some(without_user_info(place))
}

//! `[store]`: where the relay keeps what it must not forget.

use std::path::PathBuf;

use super::reader::Section;
use super::values::without_user_info;

const REMEDY: &str = "write \"sqlite://relay.db\" or \"sqlite:///var/lib/scim-relay/relay.db\"";

/// Which durable memory the relay uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// Embedded SQLite. A relative path starts at the working directory.
    Sqlite {
        /// The database file.
        path: PathBuf,
    },
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self::Sqlite { path: PathBuf::from("scim-relay.db") }
    }
}

/// Reads `[store]`; every key has a default.
pub fn read(mut section: Section<'_>) -> StoreConfig {
    let store = location(&mut section).unwrap_or_default();
    section.finish();
    store
}

fn location(section: &mut Section<'_>) -> Option<StoreConfig> {
    let url = section.text("url")?;
    let fault = match url.split_once("://") {
        Some(("sqlite", path)) if path.contains(['?', '#', '\0']) => {
            "holds parameters, which SQLite URLs do not take here"
        }
        Some(("sqlite", path)) if path.is_empty() || path.starts_with(':') || path.ends_with('/') => {
            "names no file"
        }
        Some(("sqlite", path)) => return Some(StoreConfig::Sqlite { path: PathBuf::from(path) }),
        Some(("postgres" | "postgresql", _)) => "names PostgreSQL, which this version does not support",
        Some(_) | None => "is not a store's URL",
    };
    section.reject("url", without_user_info(&url), fault, REMEDY);
    None
}

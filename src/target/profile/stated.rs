//! Which values a profile states, apart from those that it leaves to the defaults.

use toml::Table;

/// What a profile's text holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stated(Table);

impl Stated {
    /// Of a text that has been read as a profile before.
    pub(super) fn of(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }

    /// Whether a key, written `table.key`, is among it.
    pub fn has(&self, key: &str) -> bool {
        let value = key.split_once('.').and_then(|(table, key)| self.0.get(table)?.get(key));
        value.is_some()
    }

    /// The text's tables.
    pub fn tables(&self) -> &Table {
        &self.0
    }
}

//! Which values a profile states, apart from those that it leaves to the defaults.

use std::collections::BTreeSet;

/// The keys that a profile's text holds, as `table.key`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated(BTreeSet<String>);

impl Stated {
    /// Of a text that has been read as a profile before.
    pub(super) fn of(text: &str) -> Self {
        let tables = text.parse::<toml::Table>().unwrap_or_default();
        let keys = tables.iter().filter_map(|(table, value)| Some((table, value.as_table()?)));
        Self(keys.flat_map(|(table, keys)| keys.keys().map(move |key| format!("{table}.{key}"))).collect())
    }

    /// Whether this key is among them.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }
}

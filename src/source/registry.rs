//! The configured sources, by name.

use std::collections::BTreeMap;

use super::connectors::{Connector, Provider};
use super::signature::SecretError;
use super::{Notice, Settings, Source, formats, told};
use crate::directory::Change;
use crate::store::{EventReader, Topic};

/// Every configured source.
pub struct Sources(BTreeMap<String, Registered>);

/// A source, and how it is configured.
pub struct Registered {
    /// As configured.
    pub settings: Settings,
    /// What understands its sender.
    pub source: Box<dyn Source>,
    /// How it is asked, where it can be.
    pub connector: Option<Box<dyn Connector>>,
}

/// Why sources cannot be set up as configured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Two have one name.
    #[error("two sources are named {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The secrets of one verify nothing.
    #[error("source {name} cannot verify anything")]
    Secret {
        /// The source's name.
        name: String,
        /// What is wrong with them.
        #[source]
        source: SecretError,
    },
}

impl Sources {
    /// Sets up each source.
    pub fn open(settings: impl IntoIterator<Item = Settings>) -> Result<Self, SettingsError> {
        let mut sources = BTreeMap::new();
        for settings in settings {
            let name = settings.name.clone();
            let source = formats::open(&settings)
                .map_err(|source| SettingsError::Secret { name: name.clone(), source })?;
            let connector = settings.provider.as_ref().map(Provider::open);
            if sources.insert(name.clone(), Registered { settings, source, connector }).is_some() {
                return Err(SettingsError::NameTaken { name });
            }
        }
        Ok(Self(sources))
    }

    /// The source of that name.
    pub fn get(&self, name: &str) -> Option<&Registered> {
        self.0.get(name)
    }

    /// Every source, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.0.values()
    }
}

impl EventReader for Sources {
    fn read(&self, source: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        let registered = self.get(source).ok_or_else(|| format!("no source {source} is configured"))?;
        if let Some(changes) = told::read(body) {
            return changes.map_err(|malformed| malformed.to_string());
        }
        let reading = registered.source.read(body).map_err(|malformed| malformed.to_string())?;
        Ok(reading.changes)
    }

    fn wanted(&self, source: &str, body: &[u8]) -> Vec<Topic> {
        let Some(registered) = self.get(source).filter(|registered| registered.connector.is_some()) else {
            return Vec::new();
        };
        // A body that cannot be read is said so by `read`.
        let Ok(reading) = registered.source.read(body) else { return Vec::new() };
        let everyone = reading.everyone_needs_read.then_some(Topic::Everyone);
        let notices = reading.notices.into_iter().map(|notice| match notice {
            Notice::Renew => Topic::Renewal,
            Notice::Missed => Topic::Missed,
            Notice::Verification(state) => {
                Topic::Verification { state: state.map(|state| state.to_string()).unwrap_or_default() }
            }
        });
        reading.needs_read.into_iter().map(Topic::Record).chain(everyone).chain(notices).collect()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::super::Kind;
    use super::*;

    fn settings(name: &str, secrets: &[&str]) -> Settings {
        Settings {
            name: name.to_owned(),
            kind: Kind::Native,
            directory: "corp".to_owned(),
            secrets: secrets.iter().copied().map(SecretString::from).collect(),
            intake_limit: None,
            body_bytes_max: 1024,
            provider: None,
        }
    }

    #[test]
    fn a_stored_body_is_read_by_the_source_that_took_it() {
        let sources = Sources::open([settings("hr", &["secret"])]).unwrap();
        let body = br#"{"changes":[{"op":"user.delete","id":"u-1"}]}"#;
        assert_eq!(sources.read("hr", body).unwrap().len(), 1);
        assert!(sources.read("hr", b"{}").unwrap_err().contains("/changes"));
        assert!(sources.read("gone", body).unwrap_err().contains("gone"));
    }

    #[test]
    fn a_source_that_could_verify_nothing_or_everything_is_refused() {
        for (secrets, expected) in [
            (&[][..], SecretError::None),
            (&["secret", ""], SecretError::Empty),
            (&["whsec_"], SecretError::Empty),
        ] {
            let error = Sources::open([settings("hr", secrets)]).err();
            assert_eq!(
                error,
                Some(SettingsError::Secret { name: "hr".to_owned(), source: expected }),
                "{secrets:?}"
            );
        }
    }

    #[test]
    fn two_sources_of_one_name_are_refused() {
        let error = Sources::open([settings("hr", &["a"]), settings("hr", &["b"])]).err();
        assert_eq!(error, Some(SettingsError::NameTaken { name: "hr".to_owned() }));
    }
}

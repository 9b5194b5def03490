//! Secrets that may be replaced while the relay runs.

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

/// Reads a secret again; the error is for people and holds no part of the secret. May block.
pub type Reread = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

/// A secret as it was at the start, and the way to it where it may change.
#[derive(Clone)]
pub struct Secret {
    at_start: SecretString,
    reread: Option<Reread>,
}

impl Secret {
    /// One that lives where it can be read again.
    pub fn reread_by(at_start: SecretString, reread: Reread) -> Self {
        Self { at_start, reread: Some(reread) }
    }

    /// What is made of it, whenever it is read.
    #[must_use]
    pub fn map(self, make: impl Fn(&SecretString) -> SecretString + Send + Sync + 'static) -> Self {
        let at_start = make(&self.at_start);
        let again = |reread: Reread| -> Reread { Arc::new(move || reread().map(|secret| make(&secret))) };
        Self { at_start, reread: self.reread.map(again) }
    }

    /// As it was when the configuration was read.
    pub fn at_start(&self) -> &SecretString {
        &self.at_start
    }

    /// Whether it can be another one later.
    pub fn may_change(&self) -> bool {
        self.reread.is_some()
    }

    /// As it is now.
    pub async fn now(&self) -> Result<SecretString, String> {
        let Some(reread) = self.reread.clone() else { return Ok(self.at_start.clone()) };
        let read = tokio::task::spawn_blocking(move || reread()).await;
        read.unwrap_or_else(|_| Err("it could not be read".to_owned()))
    }
}

impl From<SecretString> for Secret {
    fn from(secret: SecretString) -> Self {
        Self { at_start: secret, reread: None }
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        SecretString::from(secret).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Secret").field("may_change", &self.may_change()).finish_non_exhaustive()
    }
}

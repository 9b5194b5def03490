//! What each sender's webhooks look like: one file a sender.

mod native;

use super::signature::SecretError;
use super::{Kind, Settings, Source};

/// Sets up what understands the sender; one line a sender.
pub fn open(settings: &Settings) -> Result<Box<dyn Source>, SecretError> {
    Ok(match settings.kind {
        Kind::Native => Box::new(native::Native::open(&settings.secrets)?),
    })
}

//! What each sender's webhooks look like: one file a sender.

mod draft;
mod native;
mod preset;
#[cfg(test)]
mod tests;
mod view;
mod workos;

pub use preset::{Options, Preset};

use super::signature::SecretError;
use super::{Kind, Settings, Source};
use preset::Hook;

/// The senders that are built in, besides the relay's own format; one line a sender.
pub static PRESETS: &[&Preset] = &[&workos::PRESET];

/// Sets up what understands the sender.
pub fn open(settings: &Settings) -> Result<Box<dyn Source>, SecretError> {
    Ok(match &settings.kind {
        Kind::Native => Box::new(native::Native::open(&settings.secrets)?),
        Kind::Preset(preset, options) => Box::new(Hook::open(preset, options, &settings.secrets)?),
    })
}

//! What each sender's webhooks look like: one file a sender.

pub(super) mod auth0;
mod bamboohr;
mod clerk;
pub(super) mod draft;
mod entra;
mod fed;
mod google;
mod hibob;
pub mod issued;
mod jumpcloud;
pub(super) mod keycloak;
mod logto;
pub mod mapped;
pub mod native;
pub(super) mod okta;
mod onelogin;
mod polis;
mod preset;
pub mod scim_events;
#[cfg(test)]
mod tests;
pub(super) mod view;
pub(super) mod workos;
mod zitadel;

pub use preset::{Options, Preset};

use super::signature::SecretError;
use super::signature::standard_webhooks::{HeaderNames, StandardWebhooks};
use super::{Kind, Settings, Source};
use preset::Hook;

/// The senders that are built in, besides the relay's own format; one line a sender.
pub static PRESETS: &[&Preset] = &[
    &auth0::PRESET,
    &bamboohr::PRESET,
    &clerk::PRESET,
    &entra::PRESET,
    &google::PRESET,
    &hibob::PRESET,
    &jumpcloud::PRESET,
    &keycloak::PRESET,
    &logto::PRESET,
    &okta::PRESET,
    &onelogin::PRESET,
    &polis::PRESET,
    &workos::PRESET,
    &zitadel::PRESET,
];

/// Sets up what understands the sender.
pub fn open(settings: &Settings) -> Result<Box<dyn Source>, SecretError> {
    Ok(match &settings.kind {
        Kind::File(_) if !settings.secrets.is_empty() => {
            StandardWebhooks::for_parts(HeaderNames::STANDARD, &settings.secrets)?;
            Box::new(fed::Fed)
        }
        Kind::Fed | Kind::File(_) => Box::new(fed::Fed),
        Kind::Native => Box::new(native::Native::open(&settings.secrets)?),
        Kind::Mapped(mapping) => Box::new(mapped::Mapped::open(mapping, &settings.secrets)?),
        Kind::ScimEvents(transmitter) => {
            Box::new(scim_events::ScimEvents::open(transmitter, &settings.secrets)?)
        }
        Kind::Preset(preset, options) => Box::new(Hook::open(preset, options, &settings.secrets)?),
    })
}

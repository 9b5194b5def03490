//! How senders prove who they are: one file a scheme, and each scheme with any number of live
//! secrets, so that one can be replaced by the next without a gap.

mod header;
pub mod keyed;
pub mod shared;
pub mod standard_webhooks;
#[cfg(test)]
pub mod testing;
pub mod time;

use secrecy::SecretString;

use self::keyed::Keyed;
use self::shared::Shared;
use self::standard_webhooks::{HeaderNames, StandardWebhooks};
use super::{Delivery, Proof, Refusal};
use crate::clock::Timestamp;

/// How a sender proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// A signature by Standard Webhooks, under these headers.
    StandardWebhooks(HeaderNames),
    /// A keyed hash of what is sent.
    Keyed(keyed::Settings),
    /// The secret itself, sent along.
    Shared(shared::Place),
}

/// Verifies what comes by one [`Scheme`] with any of several secrets.
pub enum Verifier {
    /// A signature by Standard Webhooks.
    StandardWebhooks(StandardWebhooks),
    /// A keyed hash of what is sent.
    Keyed(Keyed),
    /// The secret itself, sent along.
    Shared(Shared),
}

impl Verifier {
    /// For the scheme, with these secrets.
    pub fn new(scheme: Scheme, secrets: &[SecretString]) -> Result<Self, SecretError> {
        Ok(match scheme {
            Scheme::StandardWebhooks(names) => Self::StandardWebhooks(StandardWebhooks::new(names, secrets)?),
            Scheme::Keyed(settings) => Self::Keyed(Keyed::new(settings, secrets)?),
            Scheme::Shared(place) => Self::Shared(Shared::new(place, secrets)?),
        })
    }

    /// Whether one of the secrets vouches for the webhook, now.
    pub fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        match self {
            Self::StandardWebhooks(scheme) => scheme.verify(delivery.headers, delivery.body, now),
            Self::Keyed(scheme) => scheme.verify(delivery, now),
            Self::Shared(scheme) => scheme.verify(delivery),
        }
    }
}

/// Why secrets cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing could be verified.
    #[error("there is no secret")]
    None,
    /// Anybody could sign.
    #[error("a secret is empty")]
    Empty,
    /// The bytes of a key cannot be had from the text.
    #[error("a secret is not of its encoding")]
    Encoding,
    /// It wants the whole body at once, and this is verified while it arrives.
    #[error("a public key cannot verify a file, which is verified while it arrives; use a shared secret")]
    Whole,
}

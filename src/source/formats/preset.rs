//! A sender as data: its signature, its format and its manners.

use std::time::Duration;

use http::{HeaderName, Request, Response};
use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::source::json::Malformed;
use crate::source::signature::keyed::Algorithm;
use crate::source::signature::{Scheme, SecretError, Verifier};
use crate::source::{Delivery, Manners, Proof, Reading, Refusal, Source};

/// A sender that is built in.
#[derive(Debug)]
pub struct Preset {
    /// The word for it in the configuration.
    pub name: &'static str,
    /// How it proves who it is.
    pub scheme: fn(&Options) -> Scheme,
    /// What its bodies say, or what [`record`](Self::record) made of them.
    pub read: fn(&[u8]) -> Result<Reading, Malformed>,
    /// What to store in place of a body, where headers say a part of it.
    pub record: Option<fn(&Delivery<'_>) -> Vec<u8>>,
    /// How it is answered when it asks whether this address is willing.
    pub handshake: fn(&Request<()>) -> Option<Response<String>>,
    /// Whether a body is a trial.
    pub is_trial: fn(&[u8]) -> bool,
    /// What it wants to hear.
    pub manners: Manners,
    /// How long it repeats what was not taken; zero for some seconds, or where nobody says.
    pub repeats_for: Duration,
    /// Which of the [`Options`] it knows.
    pub options: &'static [&'static str],
}

/// What an operator chooses where a sender leaves a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The header that bears the secret.
    pub header: Option<HeaderName>,
    /// The hash that signs.
    pub algorithm: Option<Algorithm>,
}

impl Options {
    /// The name of [`header`](Self::header) in the configuration.
    pub const HEADER: &str = "header";
    /// The name of [`algorithm`](Self::algorithm) in the configuration.
    pub const ALGORITHM: &str = "algorithm";
}

impl Preset {
    /// A sender that asks nothing, tries nothing, leaves no choice and understands every answer.
    pub const fn new(
        name: &'static str,
        scheme: fn(&Options) -> Scheme,
        read: fn(&[u8]) -> Result<Reading, Malformed>,
    ) -> Self {
        Self {
            name,
            scheme,
            read,
            record: None,
            handshake: |_| None,
            is_trial: |_| false,
            manners: Manners::USUAL,
            repeats_for: Duration::ZERO,
            options: &[],
        }
    }
}

/// A source of a built-in sender.
pub struct Hook {
    preset: &'static Preset,
    verifier: Verifier,
}

impl Hook {
    /// With any of these secrets.
    pub fn open(
        preset: &'static Preset,
        options: &Options,
        secrets: &[SecretString],
    ) -> Result<Self, SecretError> {
        Ok(Self { preset, verifier: Verifier::new((preset.scheme)(options), secrets)? })
    }
}

impl Source for Hook {
    fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        self.verifier.verify(delivery, now)
    }

    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        (self.preset.read)(body)
    }

    fn record(&self, delivery: &Delivery<'_>) -> Option<Vec<u8>> {
        self.preset.record.map(|record| record(delivery))
    }

    fn handshake(&self, request: &Request<()>) -> Option<Response<String>> {
        (self.preset.handshake)(request)
    }

    fn is_trial(&self, body: &[u8]) -> bool {
        (self.preset.is_trial)(body)
    }

    fn manners(&self) -> Manners {
        self.preset.manners
    }
}

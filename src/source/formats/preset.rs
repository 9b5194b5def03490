//! A sender as data: its signature, its format and its manners.

use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, Request, Response};
use secrecy::SecretString;

use super::issued::{Issued, Issuer, TokenPlace, Tokens};
use crate::clock::Timestamp;
use crate::source::json::Malformed;
use crate::source::jws::Unready;
use crate::source::signature::keyed::Algorithm;
use crate::source::signature::{Scheme, SecretError, Verifier};
use crate::source::{Delivery, Manners, Media, Proof, Reading, Refusal, Source};

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
    /// How it signs with a key of its own, where it can.
    pub tokens: Option<&'static Tokens>,
}

/// What an operator chooses where a sender leaves a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The header that bears the secret.
    pub header: Option<HeaderName>,
    /// The hash that signs.
    pub algorithm: Option<Algorithm>,
    /// Who signs, where the sender signs with a key of its own; then there are no secrets.
    pub issued: Option<Issued>,
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
            tokens: None,
        }
    }
}

/// A source of a built-in sender.
pub struct Hook {
    preset: &'static Preset,
    means: Means,
}

/// How a webhook is verified.
enum Means {
    /// With a secret that both sides know.
    Secret(Verifier),
    /// With the sender's public key.
    Token(Issuer),
}

impl Hook {
    /// With any of these secrets, or with the keys that the sender publishes.
    pub fn open(
        preset: &'static Preset,
        options: &Options,
        secrets: &[SecretString],
    ) -> Result<Self, SecretError> {
        let means = match preset.tokens.zip(options.issued.as_ref()) {
            Some((tokens, issued)) => Means::Token(Issuer::new(tokens.place, issued)),
            None => Means::Secret(Verifier::new((preset.scheme)(options), secrets)?),
        };
        Ok(Self { preset, means })
    }
}

impl Source for Hook {
    fn prepare<'a>(
        &'a self,
        headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> Option<BoxFuture<'a, Result<(), Unready>>> {
        match &self.means {
            Means::Secret(_) => None,
            Means::Token(issuer) => issuer.prepare(headers, body),
        }
    }

    fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        match &self.means {
            Means::Secret(verifier) => verifier.verify(delivery, now),
            Means::Token(issuer) => issuer.verify(delivery, now),
        }
    }

    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        (self.preset.read)(body)
    }

    fn record(&self, delivery: &Delivery<'_>) -> Option<Vec<u8>> {
        match &self.means {
            Means::Secret(_) => self.preset.record.map(|record| record(delivery)),
            Means::Token(issuer) => issuer.record(delivery),
        }
    }

    fn handshake(&self, request: &Request<()>) -> Option<Response<String>> {
        (self.preset.handshake)(request)
    }

    fn is_trial(&self, body: &[u8]) -> bool {
        (self.preset.is_trial)(body)
    }

    fn manners(&self) -> Manners {
        match &self.means {
            Means::Token(issuer) if issuer.place() == TokenPlace::Body => {
                Manners { media: Media::Any, ..self.preset.manners }
            }
            Means::Secret(_) | Means::Token(_) => self.preset.manners,
        }
    }
}

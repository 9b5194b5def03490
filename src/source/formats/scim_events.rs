//! Security Event Tokens (RFC 8417) by push (RFC 8935): the SCIM events of RFC 9967, and the events
//! of CAEP and RISC about accounts.
//!
//! A token is signed by the transmitter; where a secret is configured, it must stand in
//! `Authorization` besides. The transmitter hears 202 without a body, for a repetition as well, or 400
//! with a code.

mod account;
mod claims;
mod provisioning;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use url::Url;

use crate::clock::Timestamp;
use crate::source::json::Malformed;
use crate::source::jws::{self, Expected, Keys, Unready};
use crate::source::signature::SecretError;
use crate::source::signature::shared::{Place, Shared};
use crate::source::{Delivery, Errors, Manners, Media, Proof, Reading, Refusal, Source};

/// How far the transmitter's clock may be ahead, in seconds.
const AHEAD_SECONDS_MAX: i64 = 300;

/// What the configuration says of a transmitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmitter {
    /// Who signs, and for whom.
    pub expected: Expected,
    /// Where its keys are published.
    pub keys: Url,
}

/// A source of Security Event Tokens.
pub struct ScimEvents {
    expected: Expected,
    keys: Arc<Keys>,
    authorization: Option<Shared>,
}

impl ScimEvents {
    /// With any of these secrets in `Authorization`; none: the signature is all.
    pub fn open(transmitter: &Transmitter, secrets: &[SecretString]) -> Result<Self, SecretError> {
        let place = Place::Header { name: AUTHORIZATION, prefix: String::new() };
        let authorization = if secrets.is_empty() { None } else { Some(Shared::new(place, secrets)?) };
        let keys = Arc::new(Keys::new(transmitter.keys.clone()));
        Ok(Self { expected: transmitter.expected.clone(), keys, authorization })
    }
}

impl Source for ScimEvents {
    fn prepare<'a>(
        &'a self,
        _headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> Option<BoxFuture<'a, Result<(), Unready>>> {
        Some(self.keys.prepare(body.trim_ascii()).boxed())
    }

    fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        if let Some(authorization) = &self.authorization {
            authorization.verify(delivery)?;
        }
        let token = jws::verify(delivery.body.trim_ascii(), &self.keys, &self.expected)?;
        claims::check(&token)?;
        let issued_at = token.claims.get("iat").and_then(serde_json::Value::as_i64);
        let seconds = issued_at.map_or(0, |issued_at| now.as_seconds().saturating_sub(issued_at));
        if seconds < -AHEAD_SECONDS_MAX {
            return Err(Refusal::Untimely { seconds });
        }
        let id = token.claims.get("jti").and_then(serde_json::Value::as_str);
        id.map(Proof::of_event).ok_or_else(|| Refusal::unreadable("jti"))
    }

    fn read(&self, body: &[u8]) -> Result<Reading, Malformed> {
        claims::read(&jws::claims(body)?)
    }

    fn manners(&self) -> Manners {
        Manners {
            accepted: StatusCode::ACCEPTED,
            duplicate: StatusCode::ACCEPTED,
            media: Media::SecurityEvent,
            errors: Errors::SecurityEvent,
            ..Manners::USUAL
        }
    }
}

//! Senders that may sign with a private key of theirs instead of a secret that both sides know.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use crate::clock::Timestamp;
use crate::source::jws::{self, Expected, Keys, Unready};
use crate::source::{Delivery, Proof, Refusal};

/// How far the sender's clock may be ahead or behind, in seconds.
const LEEWAY_SECONDS: i64 = 60;

/// How a sender offers it.
#[derive(Debug)]
pub struct Tokens {
    /// The key of the configuration that chooses, in the sender's own words.
    pub key: &'static str,
    /// Its word for a shared secret, which counts where nothing is said.
    pub shared: &'static str,
    /// Its word for tokens.
    pub signed: &'static str,
    /// Its word for tokens that are encrypted besides, which are not understood.
    pub encrypted: Option<&'static str>,
    /// Where the token stands.
    pub place: TokenPlace,
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    /// In `Authorization`, as a bearer token that ends soon, and beside the body.
    Beside {
        /// The claim with the SHA-256 of the body, in hexadecimal.
        digest: &'static str,
    },
    /// It is the body, and its claims are the event.
    Body,
}

/// What the configuration says of who signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Where the keys are published.
    pub keys: Url,
    /// Who signs, and for whom; `None` for senders whose tokens do not say.
    pub expected: Option<Expected>,
}

/// Verifies tokens of one sender.
pub struct Issuer {
    place: TokenPlace,
    expected: Option<Expected>,
    keys: Arc<Keys>,
}

impl Issuer {
    /// Nothing is fetched yet.
    pub fn new(place: TokenPlace, issued: &Issued) -> Self {
        Self { place, expected: issued.expected.clone(), keys: Arc::new(Keys::new(issued.keys.clone())) }
    }

    /// Fetches the key of this token, where it is not there yet.
    pub fn prepare<'a>(
        &'a self,
        headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> Option<BoxFuture<'a, Result<(), Unready>>> {
        let token = self.token(headers, body)?;
        Some(self.keys.prepare(token).boxed())
    }

    /// Whether the sender signed this, now. The event's id is left to the body: a token is made anew for
    /// each attempt.
    pub fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal> {
        let unreadable = || Refusal::unreadable("an unencrypted token");
        let token = self.token(delivery.headers, delivery.body).ok_or_else(unreadable)?;
        if token.split(|byte| *byte == b'.').count() != 3 {
            return Err(unreadable());
        }
        let claims = match &self.expected {
            Some(expected) => jws::verify(token, &self.keys, expected)?.claims,
            None => jws::verify_signature(token, &self.keys)?.claims,
        };
        match self.place {
            TokenPlace::Beside { digest } => {
                if !ends(&claims, now)? {
                    return Err(Refusal::unreadable("exp"));
                }
                check_digest(&claims, digest, delivery.body)?;
            }
            TokenPlace::Body => {
                ends(&claims, now)?;
                // The same keys sign what people sign in with, and that is no event.
                if claims.get("sub").is_some() {
                    return Err(Refusal::Audience);
                }
            }
        }
        Ok(Proof::default())
    }

    /// What to read in place of the body.
    pub fn record(&self, delivery: &Delivery<'_>) -> Option<Vec<u8>> {
        match self.place {
            TokenPlace::Beside { .. } => None,
            TokenPlace::Body => jws::claims(delivery.body).ok().map(|claims| claims.to_string().into_bytes()),
        }
    }

    /// Where the token stands.
    pub const fn place(&self) -> TokenPlace {
        self.place
    }

    fn token<'a>(&self, headers: &'a HeaderMap, body: &'a [u8]) -> Option<&'a [u8]> {
        match self.place {
            TokenPlace::Beside { .. } => {
                let mut values = headers.get_all(AUTHORIZATION).iter();
                let (Some(value), None) = (values.next(), values.next()) else { return None };
                value.as_bytes().strip_prefix(b"Bearer ").map(<[u8]>::trim_ascii)
            }
            TokenPlace::Body => Some(body.trim_ascii()),
        }
    }
}

/// Whether the token says when it ends; an error where it has ended.
fn ends(claims: &Value, now: Timestamp) -> Result<bool, Refusal> {
    let Some(end) = claims.get("exp") else { return Ok(false) };
    let end = end.as_i64().ok_or_else(|| Refusal::unreadable("exp"))?;
    let late = now.as_seconds().saturating_sub(end);
    if late > LEEWAY_SECONDS { Err(Refusal::Untimely { seconds: late }) } else { Ok(true) }
}

fn check_digest(claims: &Value, name: &'static str, body: &[u8]) -> Result<(), Refusal> {
    let told = claims.get(name).and_then(Value::as_str).ok_or_else(|| Refusal::unreadable(name))?;
    if told.eq_ignore_ascii_case(&digest_of(body)) { Ok(()) } else { Err(Refusal::Mismatch) }
}

fn digest_of(body: &[u8]) -> String {
    Sha256::digest(body).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
        text
    })
}

#[cfg(test)]
mod tests;

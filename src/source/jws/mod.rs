//! Tokens that a sender signs with its private key (JWS, RFC 7515): verified with the keys that it
//! publishes (JWKS, RFC 7517).

mod keys;
mod provider;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::Value;

use super::Refusal;
use super::json::{self, Malformed};

pub use keys::{Keys, Unready};
pub use provider::install;

/// The signatures that are taken. None of them is made with a key that the verifier has as well, and
/// "none" is not among them.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// What the tokens of a sender must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Who signed.
    pub issuer: String,
    /// For whom; any of them.
    pub audiences: Vec<String>,
}

/// A token that was verified.
pub struct Token {
    /// What it says besides.
    pub claims: Value,
    /// The type that its header gives.
    pub kind: Option<String>,
}

/// Verifies a token in compact form with the keys that are known now.
pub fn verify(text: &[u8], keys: &Keys, expected: &Expected) -> Result<Token, Refusal> {
    let token = verify_signature(text, keys)?;
    if token.claims.get("iss").and_then(Value::as_str) != Some(&expected.issuer) {
        return Err(Refusal::Issuer);
    }
    if !is_for(&token.claims, &expected.audiences) {
        return Err(Refusal::Audience);
    }
    Ok(token)
}

/// Verifies that one of the keys signed a token, whatever it says.
pub fn verify_signature(text: &[u8], keys: &Keys) -> Result<Token, Refusal> {
    let header = header(text).ok_or_else(|| Refusal::unreadable("the token"))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Refusal::Mismatch);
    }
    let candidates = keys.candidates(header.kid.as_deref(), header.alg);
    if candidates.is_empty() {
        return Err(Refusal::Key);
    }
    let verified = candidates.iter().find_map(|key| {
        let mut validation = Validation::new(header.alg);
        validation.algorithms = vec![header.alg];
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        decode::<Value>(text, key, &validation).ok()
    });
    let claims = verified.ok_or(Refusal::Mismatch)?.claims;
    Ok(Token { claims, kind: header.typ })
}

/// The claims of a token that was verified before.
pub fn claims(text: &[u8]) -> Result<Value, Malformed> {
    let malformed = || Malformed::new("", "the body is not a token in compact form");
    let mut parts = text.trim_ascii().split(|byte| *byte == b'.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    json::parse(&URL_SAFE_NO_PAD.decode(claims).map_err(|_| malformed())?)
}

/// The header of a token in compact form.
fn header(text: &[u8]) -> Option<Header> {
    decode_header(text).ok()
}

fn is_for(claims: &Value, audiences: &[String]) -> bool {
    let known =
        |audience: &Value| audience.as_str().is_some_and(|text| audiences.iter().any(|own| own == text));
    match claims.get("aud") {
        Some(Value::Array(several)) => several.iter().any(known),
        Some(one) => known(one),
        None => false,
    }
}

impl Keys {
    /// Whether the key of this token must be fetched first.
    pub async fn prepare(self: &Arc<Self>, text: &[u8]) -> Result<(), Unready> {
        match header(text) {
            Some(header) if ALGORITHMS.contains(&header.alg) => self.find(header.kid.as_deref()).await,
            // Whoever reads it next refuses it.
            Some(_) | None => Ok(()),
        }
    }
}

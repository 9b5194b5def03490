//! A way in for inputs made by chance: to what is verified with keys that are fetched elsewhere.

use serde_json::Value;

use super::jws::{self, Keys};
use super::{Expected, Malformed, Refusal};

/// Reads a set of keys as a sender publishes it, and verifies a token with them.
pub fn verify_token(published: &[u8], token: &[u8], expected: &Expected) -> Result<Value, Refusal> {
    let keys = Keys::of_set(published).ok_or(Refusal::Key)?;
    jws::verify(token, &keys, expected).map(|token| token.claims)
}

/// The claims of a token, whoever signed it.
pub fn claims(token: &[u8]) -> Result<Value, Malformed> {
    jws::claims(token)
}

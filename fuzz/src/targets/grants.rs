//! What token endpoints answer, and the key files that tokens are asked for with.

use std::time::Duration;

use scim_relay::target::ServiceAccount;
use scim_relay::target::oauth;
use scim_relay::target::token::TokenError;
use secrecy::{ExposeSecret as _, SecretString};

use super::texts;
use crate::input::Input;

/// A secret that an endpoint may repeat.
const SECRET: &str = "hunter2";
/// Longest reason: what the endpoint says is cut, and some words of the relay's own stand before it.
const REASON_CHARACTERS_MAX: usize = 400;

/// A status, and the body of an answer.
pub fn answer(input: &[u8]) {
    let mut input = Input::of(input);
    let status = input.status();
    match oauth::read(status, input.rest(), &SECRET.into()) {
        Ok(grant) => {
            let fits = Duration::from_secs(10)..=Duration::from_hours(24);
            assert!(fits.contains(&grant.lifetime), "{:?} is no life of a token", grant.lifetime);
            let _ = grant.token.expose_secret();
        }
        Err(TokenError::Refused { reason } | TokenError::Unavailable { reason }) => {
            assert!(!reason.contains(SECRET), "{reason:?} tells the secret");
            assert!(!reason.contains(char::is_control), "{reason:?} writes to a terminal");
            assert!(reason.chars().count() <= REASON_CHARACTERS_MAX, "{reason:?} is long");
        }
    }
}

pub fn answer_seeds() -> Vec<Vec<u8>> {
    let bodies = [
        (200_u16, r#"{"access_token":"t","token_type":"Bearer","expires_in":3599,"scope":"a b"}"#),
        (200, r#"{"access_token":"t","expires_in":"1e3"}"#),
        (401, r#"{"error":"invalid_client","error_description":"hunter2 is wrong"}"#),
        (400, r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#),
        (503, "<html>"),
    ];
    let seed = |(status, body): (u16, &str)| [&(status - 100).to_be_bytes()[..], body.as_bytes()].concat();
    bodies.into_iter().map(seed).collect()
}

/// A key file of a service account.
pub fn key_file(input: &[u8]) {
    let Some(text) = Input::of(input).text() else { return };
    let key = SecretString::from(text);
    let url = ServiceAccount::token_url_of(&key);
    let checked = ServiceAccount::check(&key);
    assert!(checked.is_err() || url.is_ok() || text.contains("token_uri"), "both read one file");
}

pub fn key_file_seeds() -> Vec<Vec<u8>> {
    texts(&[
        include_str!("../../../tests/fixtures/keys/service-account.json"),
        r#"{"client_email":"a@b","private_key":"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n","token_uri":"https://a.example/token"}"#,
    ])
}

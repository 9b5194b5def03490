//! Who may call: static bearer tokens, or tokens for client credentials (RFC 6749 section 4.4).

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::sandbox::answer::Refusal;
use crate::sandbox::settings::Auth;

/// Tokens beyond this many push out the oldest, so that a client that never reuses one costs nothing.
const LIVE_MAX: usize = 1_000;

/// The tokens that the token endpoint gave.
#[derive(Debug, Default)]
pub struct Tokens {
    live: Vec<(SecretString, Instant)>,
    issued: u64,
}

impl Tokens {
    /// How many were given since the start.
    pub fn issued(&self) -> u64 {
        self.issued
    }

    /// Makes all of them worthless; how many there were.
    pub fn revoke(&mut self) -> usize {
        self.forget_expired();
        std::mem::take(&mut self.live).len()
    }

    fn issue(&mut self, life: Duration) -> String {
        self.forget_expired();
        if self.live.len() >= LIVE_MAX {
            self.live.remove(0);
        }
        let token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 24]>());
        self.live.push((token.clone().into(), Instant::now() + life));
        self.issued += 1;
        token
    }

    fn forget_expired(&mut self) {
        let now = Instant::now();
        self.live.retain(|(_, expires)| *expires > now);
    }
}

/// Refuses a request that may not be made.
pub fn authorise(auth: &Auth, tokens: &mut Tokens, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = credentials(headers, "Bearer").unwrap_or_default();
    let known = match auth {
        Auth::Open => true,
        Auth::Bearer(accepted) => any_equal(accepted.iter(), given),
        Auth::OAuth2 { .. } => {
            tokens.forget_expired();
            any_equal(tokens.live.iter().map(|(token, _)| token), given)
        }
    };
    if known { Ok(()) } else { Err(Refusal::new(401, "the bearer token is missing, unknown or expired")) }
}

/// Answers the token endpoint: status and body as RFC 6749 sections 5.1 and 5.2 have them.
pub fn issue(auth: &Auth, tokens: &mut Tokens, headers: &HeaderMap, form: &[u8]) -> (u16, Value) {
    let Auth::OAuth2 { client_id, client_secret, token_life } = auth else {
        return (404, json!({"error": "invalid_request"}));
    };
    let form: Vec<(String, String)> = url::form_urlencoded::parse(form).into_owned().collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    if field("grant_type").as_deref() != Some("client_credentials") {
        return (400, json!({"error": "unsupported_grant_type"}));
    }
    let (id, secret) =
        basic(headers).or_else(|| field("client_id").zip(field("client_secret"))).unwrap_or_default();
    let known = equal(&id, client_id) & equal(&secret, client_secret.expose_secret());
    if !known {
        return (401, json!({"error": "invalid_client"}));
    }
    let token = tokens.issue(*token_life);
    (200, json!({"access_token": token, "token_type": "Bearer", "expires_in": token_life.as_secs()}))
}

/// Name and secret of Basic authentication, each form-encoded (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let decoded = BASE64_STANDARD.decode(credentials(headers, "Basic")?).ok()?;
    let (id, secret) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    Some((plain(id), plain(secret)))
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (named, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    named.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}

/// Looks at all of them, so that the time taken does not tell which one was near.
fn any_equal<'a>(accepted: impl Iterator<Item = &'a SecretString>, given: &str) -> bool {
    accepted.fold(false, |found, secret| found | equal(given, secret.expose_secret()))
}

fn equal(given: &str, secret: &str) -> bool {
    !secret.is_empty() && bool::from(given.as_bytes().ct_eq(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn oauth() -> Auth {
        Auth::OAuth2 {
            client_id: "relay".to_owned(),
            client_secret: "s3:cr%t".into(),
            token_life: Duration::from_mins(1),
        }
    }

    fn authorization(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    fn with_basic(pair: &str) -> HeaderMap {
        authorization(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_good_until_it_expires_or_is_revoked() {
        let mut tokens = Tokens::default();
        let grant = b"grant_type=client_credentials";
        let (status, body) = issue(&oauth(), &mut tokens, &with_basic("relay:s3%3Acr%25t"), grant);
        assert_eq!((status, &body["expires_in"], tokens.issued()), (200, &json!(60), 1));
        let bearer = authorization(&format!("bearer {}", body["access_token"].as_str().unwrap()));
        assert!(authorise(&oauth(), &mut tokens, &bearer).is_ok());
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(authorise(&oauth(), &mut tokens, &bearer).unwrap_err().status, 401);

        let form = b"grant_type=client_credentials&client_id=relay&client_secret=s3%3Acr%25t";
        let (_, body) = issue(&oauth(), &mut tokens, &HeaderMap::new(), form);
        let bearer = authorization(&format!("Bearer {}", body["access_token"].as_str().unwrap()));
        assert!(authorise(&oauth(), &mut tokens, &bearer).is_ok());
        assert_eq!(tokens.revoke(), 1);
        assert!(authorise(&oauth(), &mut tokens, &bearer).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_credentials_get_no_token() {
        let mut tokens = Tokens::default();
        let grant: &[u8] = b"grant_type=client_credentials";
        for (headers, form, status) in [
            (HeaderMap::new(), grant, 401),
            (with_basic("relay:wrong"), grant, 401),
            (with_basic("other:s3%3Acr%25t"), grant, 401),
            (with_basic("relay"), grant, 401),
            (with_basic("relay:s3%3Acr%25t"), b"grant_type=password".as_slice(), 400),
        ] {
            assert_eq!(issue(&oauth(), &mut tokens, &headers, form).0, status);
        }
        assert_eq!(tokens.issued(), 0);
        assert_eq!(issue(&Auth::Open, &mut tokens, &HeaderMap::new(), grant).0, 404);
    }

    #[test]
    fn an_empty_token_is_never_right() {
        let auth = Auth::Bearer(vec![SecretString::from(""), SecretString::from("good")]);
        let mut tokens = Tokens::default();
        for (headers, right) in [
            (HeaderMap::new(), false),
            (authorization("Bearer "), false),
            (authorization("Bearer bad"), false),
            (authorization("Basic good"), false),
            (authorization("Bearer good"), true),
        ] {
            assert_eq!(authorise(&auth, &mut tokens, &headers).is_ok(), right, "{headers:?}");
        }
    }
}

//! Tokens for a service account: a grant that the account signs itself (RFC 7523), as Google wants it:
//! <https://developers.google.com/identity/protocols/oauth2/service-account>.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use url::{Url, form_urlencoded};

use crate::clock::{SharedClock, Timestamp};
use crate::target::oauth::TokenEndpoint;
use crate::target::secret::Secret;
use crate::target::token::{Grant, Issuer, TokenError};

/// A service account.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// Its key file: JSON with `client_email`, `private_key` (PKCS #8 in PEM), `private_key_id`, `token_uri`.
    pub key: Secret,
    /// The token endpoint; the key file must not name another one.
    pub token_url: Url,
    /// Who it acts for, such as an administrator whose data it may read; `None`: itself.
    pub subject: Option<String>,
    /// What to ask for.
    pub scopes: Vec<String>,
    /// How long before its end a token is replaced; never more than half its life.
    pub expiry_margin: Duration,
}

/// How long an assertion lasts: the most that Google takes.
const ASSERTION_LIFE_SECONDS: i64 = 3_600;
/// How far this clock may be ahead of the endpoint's.
const CLOCK_MARGIN_SECONDS: i64 = 30;

/// Asks a token endpoint with assertions.
pub struct SignedGrants {
    account: ServiceAccount,
    endpoint: TokenEndpoint,
    clock: SharedClock,
}

/// What of a key file is needed.
struct Key {
    email: String,
    id: Option<String>,
    pair: RsaKeyPair,
}

impl ServiceAccount {
    /// The token endpoint that a key file names. The error is for people and has nothing of the key in it.
    pub fn token_url_of(key: &SecretString) -> Result<Option<Url>, String> {
        let file = parse(key)?;
        let Some(url) = file.get("token_uri").and_then(Value::as_str) else { return Ok(None) };
        url.parse().map(Some).map_err(|_| "its token_uri is no URL".to_owned())
    }

    /// Whether the key can sign; else why not.
    pub fn check(key: &SecretString) -> Result<(), String> {
        Key::read(key).map(|_| ())
    }

    fn assertion(&self, key: &SecretString, now: Timestamp) -> Result<String, String> {
        let Key { email, id, pair } = Key::read(key)?;
        let mut header = json!({"alg": "RS256", "typ": "JWT"});
        if let Some(id) = id {
            header["kid"] = id.into();
        }
        let issued = now.as_seconds() - CLOCK_MARGIN_SECONDS;
        let mut claims = json!({
            "iss": email,
            "aud": self.token_url.as_str(),
            "scope": self.scopes.join(" "),
            "iat": issued,
            "exp": issued + ASSERTION_LIFE_SECONDS,
        });
        if let Some(subject) = &self.subject {
            claims["sub"] = subject.as_str().into();
        }
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "its private key cannot sign".to_owned())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl Key {
    fn read(key: &SecretString) -> Result<Self, String> {
        let file = parse(key)?;
        let text = |name: &str| file.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let missing = |name: &str| format!("it has no {name}");
        let email = text("client_email").ok_or_else(|| missing("client_email"))?;
        let pem = text("private_key").ok_or_else(|| missing("private_key"))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| "its private_key is no PKCS #8 key in PEM".to_owned())?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| "its private_key is no RSA key of 2048 bits or more".to_owned())?;
        Ok(Self { email: email.to_owned(), id: text("private_key_id").map(str::to_owned), pair })
    }
}

fn parse(key: &SecretString) -> Result<Map<String, Value>, String> {
    serde_json::from_str(key.expose_secret()).map_err(|_| "it is no JSON object".to_owned())
}

impl SignedGrants {
    /// With this HTTP client, which must not follow redirects.
    pub fn new(account: ServiceAccount, http: reqwest::Client, clock: SharedClock) -> Self {
        let endpoint = TokenEndpoint::new(account.token_url.clone(), http);
        Self { account, endpoint, clock }
    }
}

#[async_trait]
impl Issuer for SignedGrants {
    async fn issue(&self) -> Result<Grant, TokenError> {
        let refused = |reason| TokenError::Refused { reason: format!("the service account's key: {reason}") };
        let key = self.account.key.now().await.map_err(refused)?;
        let assertion = self.account.assertion(&key, self.clock.now()).map_err(refused)?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
            .append_pair("assertion", &assertion)
            .finish();
        self.endpoint.ask(form, None, &assertion.into()).await
    }
}

#[cfg(test)]
pub mod testing {
    //! A key that nobody uses.

    use secrecy::SecretString;

    /// A key file of a service account.
    pub fn key_file() -> SecretString {
        include_str!("../../tests/fixtures/keys/service-account.json").into()
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::testing::key_file;
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn account(subject: Option<&str>) -> ServiceAccount {
        ServiceAccount {
            key: key_file().into(),
            token_url: ServiceAccount::token_url_of(&key_file()).unwrap().unwrap(),
            subject: subject.map(str::to_owned),
            scopes: vec!["https://a.example/users".to_owned(), "https://a.example/groups".to_owned()],
            expiry_margin: Duration::from_mins(1),
        }
    }

    fn part(assertion: &str, number: usize) -> Value {
        let part = assertion.split('.').nth(number).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn an_assertion_says_who_asks_for_whom_and_is_signed_by_the_accounts_key() {
        let assertion = account(Some("admin@acme.example")).assertion(&key_file(), NOW).unwrap();
        assert_eq!(part(&assertion, 0), json!({"alg": "RS256", "typ": "JWT", "kid": "test-key-1"}));
        let claims = json!({
            "iss": "relay@tests.example", "sub": "admin@acme.example", "aud": "https://oauth2.example.com/token",
            "scope": "https://a.example/users https://a.example/groups",
            "iat": 1_789_999_970, "exp": 1_790_003_570,
        });
        assert_eq!(part(&assertion, 1), claims);
        let (signed, signature) = assertion.rsplit_once('.').unwrap();
        let key = Key::read(&key_file()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
            .unwrap();
        let own = account(None).assertion(&key_file(), NOW).unwrap();
        assert_eq!(part(&own, 1).get("sub"), None, "an account that acts for itself");
    }

    #[test]
    fn a_key_that_cannot_sign_is_told_without_any_of_it() {
        let without = |member: &str| {
            let mut file = parse(&key_file()).unwrap();
            file.remove(member);
            Value::Object(file).to_string()
        };
        for (file, reason) in [
            ("s3cret".to_owned(), "it is no JSON object"),
            (without("client_email"), "it has no client_email"),
            (without("private_key"), "it has no private_key"),
            (
                r#"{"client_email": "a", "private_key": "s3cret"}"#.to_owned(),
                "its private_key is no PKCS #8 key in PEM",
            ),
        ] {
            assert_eq!(ServiceAccount::check(&file.into()), Err(reason.to_owned()));
        }
    }
}

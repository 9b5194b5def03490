//! OAuth 2.0 client credentials, RFC 6749 section 4.4.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use crate::target::profile::CredentialStyle;
use crate::target::secret::Secret;
use crate::target::token::{Grant, Issuer, TokenError};
use crate::target::transport::{Received, read_capped, why};

/// How to ask for tokens.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// The token endpoint; often on another host than the API.
    pub token_url: Url,
    /// The client's name.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: Secret,
    /// What to ask for; the parameter is left out when empty.
    pub scopes: Vec<String>,
    /// Where the credentials go.
    pub style: CredentialStyle,
    /// How long before its end a token is replaced; never more than half its life.
    pub expiry_margin: Duration,
}

/// The most that is read of a token endpoint's answer.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The longest that a token endpoint may take.
const TIME_MAX: Duration = Duration::from_secs(10);
/// What is believed where the endpoint names no lifetime, or one that cannot be.
const LIFETIME_DEFAULT: Duration = Duration::from_mins(5);
/// A shorter life would mean a request for a token with each call.
const LIFETIME_MIN: Duration = Duration::from_secs(10);
const LIFETIME_MAX: Duration = Duration::from_hours(24);
const REASON_CHARACTERS_MAX: usize = 300;

/// Where tokens are issued.
pub struct TokenEndpoint {
    url: Url,
    http: reqwest::Client,
}

impl TokenEndpoint {
    /// With this HTTP client, which must not follow redirects: they would carry the secret along.
    pub fn new(url: Url, http: reqwest::Client) -> Self {
        Self { url, http }
    }

    /// Asks for a token by this form and, where there is one, this header. `secret` is what must not stand in
    /// a reason, should the endpoint repeat it.
    pub async fn ask(
        &self,
        form: String,
        authorization: Option<HeaderValue>,
        secret: &SecretString,
    ) -> Result<Grant, TokenError> {
        let (status, body) = self.answer(form, authorization).await?;
        read(status, &body, secret)
    }

    async fn answer(
        &self,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Vec<u8>), TokenError> {
        let unavailable = |error: reqwest::Error| TokenError::Unavailable { reason: why(error) };
        let mut request = self
            .http
            .post(self.url.clone())
            .timeout(TIME_MAX)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut response = request.send().await.map_err(unavailable)?;
        match read_capped(&mut response, BODY_BYTES_MAX).await.map_err(unavailable)? {
            Received::Whole(body) | Received::Cut(body) => Ok((response.status(), body)),
        }
    }
}

/// What a token endpoint's answer says (RFC 6749 section 5). `secret` is what must not stand in a reason.
pub fn read(status: StatusCode, body: &[u8], secret: &SecretString) -> Result<Grant, TokenError> {
    if status.is_success() {
        return grant(body).ok_or_else(|| TokenError::Refused {
            reason: format!(
                "the token endpoint answered {} without an access token; is `token_url` right?",
                status.as_u16()
            ),
        });
    }
    let passing = status.is_server_error()
        || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
    if passing {
        let reason = format!("it answered {}", status.as_u16());
        return Err(TokenError::Unavailable { reason });
    }
    Err(refused(status, body, secret))
}

/// Asks a token endpoint by a client's name and secret.
pub struct ClientCredentials {
    oauth: OAuth2,
    endpoint: TokenEndpoint,
}

impl ClientCredentials {
    /// With this HTTP client, which must not follow redirects.
    pub fn new(oauth: OAuth2, http: reqwest::Client) -> Self {
        let endpoint = TokenEndpoint::new(oauth.token_url.clone(), http);
        Self { oauth, endpoint }
    }

    fn form(&self, secret: &SecretString) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.oauth.scopes.is_empty() {
            form.append_pair("scope", &self.oauth.scopes.join(" "));
        }
        if self.oauth.style == CredentialStyle::Body {
            form.append_pair("client_id", &self.oauth.client_id);
            form.append_pair("client_secret", secret.expose_secret());
        }
        form.finish()
    }

    /// Both halves are form-encoded first, as RFC 6749 section 2.3.1 wants.
    fn basic(&self, secret: &SecretString) -> HeaderValue {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&self.oauth.client_id), encode(secret.expose_secret()));
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .expect("base64 can stand in a header");
        value.set_sensitive(true);
        value
    }
}

fn refused(status: StatusCode, body: &[u8], secret: &SecretString) -> TokenError {
    let said = serde_json::from_slice::<Map<String, Value>>(body).unwrap_or_default();
    let words = ["error", "error_description"].into_iter().filter_map(|key| said.get(key)?.as_str());
    let words = without_secret(&words.collect::<Vec<_>>().join(": "), secret);
    let words = if words.is_empty() { words } else { format!(": {words}") };
    let reason = format!("the token endpoint answered {}{words}", status.as_u16());
    TokenError::Refused { reason }
}

/// An endpoint may echo what it was sent.
fn without_secret(text: &str, secret: &SecretString) -> String {
    let secret = secret.expose_secret();
    let text = if secret.is_empty() { text.to_owned() } else { text.replace(secret, "***") };
    text.chars().filter(|c| !c.is_control()).take(REASON_CHARACTERS_MAX).collect()
}

#[async_trait]
impl Issuer for ClientCredentials {
    async fn issue(&self) -> Result<Grant, TokenError> {
        let secret = self.oauth.client_secret.now().await.map_err(|reason| TokenError::Refused {
            reason: format!("the client's secret cannot be read again: {reason}"),
        })?;
        let basic = (self.oauth.style == CredentialStyle::Basic).then(|| self.basic(&secret));
        self.endpoint.ask(self.form(&secret), basic, &secret).await
    }
}

fn grant(body: &[u8]) -> Option<Grant> {
    let mut said: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let Some(Value::String(token)) = said.remove("access_token") else { return None };
    let scopes = said.get("scope").and_then(Value::as_str).map(str::to_owned);
    Some(Grant { token: token.into(), lifetime: lifetime(said.get("expires_in")), scopes })
}

/// What `expires_in` can be believed to mean: endpoints send numbers, strings, zero and nonsense.
fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    };
    match seconds {
        Some(seconds) if seconds > 0.0 && seconds.is_finite() => {
            Duration::from_secs_f64(seconds.min(LIFETIME_MAX.as_secs_f64())).max(LIFETIME_MIN)
        }
        Some(_) | None => LIFETIME_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::target::transport::{Base, client as client_of};

    use super::*;

    #[test]
    fn a_lying_lifetime_is_survived() {
        for (said, meant) in [
            (json!(3600), Duration::from_hours(1)),
            (json!("3600"), Duration::from_hours(1)),
            (json!(59.5), Duration::from_millis(59_500)),
            (json!(0), LIFETIME_DEFAULT),
            (json!(-5), LIFETIME_DEFAULT),
            (json!("soon"), LIFETIME_DEFAULT),
            (json!("inf"), LIFETIME_DEFAULT),
            (json!({}), LIFETIME_DEFAULT),
            (json!(1), LIFETIME_MIN),
            (json!(1e300), LIFETIME_MAX),
        ] {
            assert_eq!(lifetime(Some(&said)), meant, "{said}");
        }
        assert_eq!(lifetime(None), LIFETIME_DEFAULT);
    }

    fn client(id: &str) -> ClientCredentials {
        let token_url: Url = "https://login.example.com/oauth/token".parse().unwrap();
        let http = client_of(&Base::new(&token_url).unwrap(), "test", TIME_MAX).unwrap();
        let oauth = OAuth2 {
            token_url,
            client_id: id.to_owned(),
            client_secret: "secret".into(),
            scopes: Vec::new(),
            style: CredentialStyle::Basic,
            expiry_margin: Duration::from_mins(1),
        };
        ClientCredentials::new(oauth, http)
    }

    #[test]
    fn both_halves_of_the_basic_credentials_are_form_encoded() {
        let basic = client("an id").basic(&"a:b+c".into());
        assert_eq!(basic.to_str().unwrap(), format!("Basic {}", STANDARD.encode("an+id:a%3Ab%2Bc")));
        assert!(basic.is_sensitive());
    }

    #[test]
    fn a_refusal_tells_the_endpoints_reason_and_not_the_secret() {
        let body = br#"{"error":"invalid_client","error_description":"hunter2 is wrong"}"#;
        let error = refused(StatusCode::UNAUTHORIZED, body, &"hunter2".into());
        let reason = "the token endpoint answered 401: invalid_client: *** is wrong".to_owned();
        assert_eq!(error, TokenError::Refused { reason });
        let error = refused(StatusCode::NOT_FOUND, b"<html>", &"".into());
        assert_eq!(error, TokenError::Refused { reason: "the token endpoint answered 404".to_owned() });
    }
}

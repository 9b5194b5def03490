//! Who may use the admin API: bearer keys with roles.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::http::{Problem, Relay};

const TOKEN_BYTES_MAX: usize = 4096;

/// One key, as configured.
#[derive(Clone, Debug)]
pub struct AdminKey {
    /// Who holds it, as records show it.
    pub name: String,
    /// What is sent as `Authorization: Bearer …`.
    pub secret: SecretString,
    /// What it may do.
    pub role: Role,
}

/// What a key may do; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and acts.
    Operator,
    /// Everything.
    Admin,
}

/// Every key. Only digests are held, so that comparing takes the same time whatever was sent.
pub struct Keys(Vec<([u8; 32], Actor)>);

/// Who makes a call. Handlers take it as an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Name of the key.
    pub name: String,
    /// Its role.
    pub role: Role,
}

impl Keys {
    /// The keys as configured. An empty secret opens nothing.
    pub fn new(keys: Vec<AdminKey>) -> Self {
        if keys.is_empty() {
            tracing::warn!("every admin call will be refused: no key is configured; add [[admin.keys]]");
        }
        let keys = keys
            .into_iter()
            .filter(|key| !key.secret.expose_secret().is_empty())
            .map(|key| (digest(key.secret.expose_secret()), Actor { name: key.name, role: key.role }));
        Self(keys.collect())
    }

    /// Compares with every key, so that the time taken does not tell which one matched.
    fn holder_of(&self, token: &str) -> Option<&Actor> {
        let offered = digest(token);
        let mut holder = None;
        for (known, actor) in &self.0 {
            if bool::from(known.ct_eq(&offered)) {
                holder = Some(actor);
            }
        }
        holder
    }
}

/// Lets a call through that bears a key whose role allows it: reading needs a viewer, everything else
/// an operator. What needs more checks the [`Actor`] itself.
pub async fn authorize(State(relay): State<Relay>, mut request: Request, next: Next) -> Response {
    let actor = bearer_token(request.headers()).and_then(|token| relay.keys.holder_of(token));
    let Some(actor) = actor else {
        return Problem::new(StatusCode::UNAUTHORIZED)
            .with_detail("a known key is expected, as Authorization: Bearer …")
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"scim-relay\""))
            .into_response();
    };
    let needed = if request.method().is_safe() { Role::Viewer } else { Role::Operator };
    if actor.role < needed {
        return Problem::new(StatusCode::FORBIDDEN)
            .with_detail("the key may read, and this call acts: it needs the role operator")
            .into_response();
    }
    let actor = actor.clone();
    request.extensions_mut().insert(actor);
    next.run(request).await
}

/// The token of the one `Authorization` header (RFC 6750 section 2.1).
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let fits = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    (fits && scheme.eq_ignore_ascii_case("bearer")).then_some(token)
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        let key =
            |name: &str, secret: &str, role| AdminKey { name: name.into(), secret: secret.into(), role };
        Keys::new(vec![
            key("screen", "see", Role::Viewer),
            key("nobody", "", Role::Admin),
            key("ops", "act", Role::Operator),
        ])
    }

    #[test]
    fn a_key_is_known_by_its_whole_secret_alone() {
        let keys = keys();
        let name = |token| keys.holder_of(token).map(|actor| actor.name.as_str());
        assert_eq!(name("see"), Some("screen"));
        assert_eq!(name("act"), Some("ops"));
        for unknown in ["", "se", "seee", "SEE", "see "] {
            assert_eq!(name(unknown), None, "{unknown:?}");
        }
    }

    #[test]
    fn a_token_is_read_from_one_bearer_header() {
        for (values, expected) in [
            (&["Bearer see"][..], Some("see")),
            (&["bEaReR see"], Some("see")),
            (&["Bearer a b"], Some("a b")),
            (&["Bearer "], None),
            (&["Bearer"], None),
            (&["Basic see"], None),
            (&["see"], None),
            (&["Bearer see", "Bearer see"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            assert_eq!(bearer_token(&headers), expected, "{values:?}");
        }
    }
}

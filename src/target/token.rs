//! The tokens of one target: cached, renewed ahead of their end, and by one request at a time.

use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::target::secret::Secret;

/// How long a token of the operator's is used before it is read again.
const REREAD_EVERY: Duration = Duration::from_secs(30);

/// Where tokens come from.
#[async_trait]
pub trait Issuer: Send + Sync + 'static {
    /// Asks for a token.
    async fn issue(&self) -> Result<Grant, TokenError>;
}

/// What a token endpoint granted.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The access token.
    pub token: SecretString,
    /// How long the endpoint says that it lives.
    pub lifetime: Duration,
    /// The scopes, where it names them.
    pub scopes: Option<String>,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The endpoint refused, or is none: a person must look.
    #[error("get a token: {reason}")]
    Refused {
        /// For people; no secret in it.
        reason: String,
    },
    /// The endpoint is down: asking again later may help.
    #[error("reach the token endpoint: {reason}")]
    Unavailable {
        /// For people; no secret in it.
        reason: String,
    },
}

/// A token ready for use.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The header that bears it.
    pub header: HeaderName,
    /// What stands there, marked as sensitive.
    pub authorization: HeaderValue,
    /// The scopes granted, where they were named.
    pub scopes: Option<Arc<str>>,
    /// When it is to be replaced; `None` when it cannot be.
    renew_at: Option<Instant>,
    /// Tells tokens of one target apart.
    number: u64,
}

impl Pass {
    /// Whether it need not be replaced yet.
    pub fn is_fresh(&self) -> bool {
        self.renew_at.is_none_or(|at| Instant::now() < at)
    }
}

/// How a token stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `Authorization: Bearer …`, RFC 6750.
    Bearer,
    /// As it is, in a header of the vendor's own.
    Header(HeaderName),
}

/// The tokens of one target.
pub struct Tokens {
    shape: Shape,
    current: SyncMutex<Option<Pass>>,
    source: Source,
}

enum Source {
    /// One token for good.
    Fixed,
    /// Asked for when needed.
    Issued {
        issuer: Box<dyn Issuer>,
        margin: Duration,
        /// Held by the one who asks; remembers how the last request ended.
        asking: Mutex<LastAsked>,
    },
}

#[derive(Default)]
struct LastAsked {
    number: u64,
    failure: Option<(Instant, TokenError)>,
}

impl Tokens {
    /// A token of the operator's; read again now and then, and after a 401, where it may change. `None`
    /// when it cannot stand in a header.
    pub fn configured(token: Secret, shape: Shape) -> Option<Self> {
        let (header, authorization) = shape.header(token.at_start())?;
        let renew_at = token.may_change().then(|| Instant::now() + REREAD_EVERY);
        let pass = Pass { header, authorization, scopes: None, renew_at, number: 0 };
        let current = SyncMutex::new(Some(pass));
        if !token.may_change() {
            return Some(Self { shape, current, source: Source::Fixed });
        }
        let issuer = Box::new(Reading { last: SyncMutex::new(token.at_start().clone()), token });
        let asking = Mutex::new(LastAsked::default());
        Some(Self { shape, current, source: Source::Issued { issuer, margin: Duration::ZERO, asking } })
    }

    /// Tokens that are asked for when needed, and replaced `margin` ahead of their end, or at half
    /// their life if that is later.
    pub fn issued(issuer: impl Issuer, margin: Duration) -> Self {
        let asking = Mutex::new(LastAsked::default());
        let source = Source::Issued { issuer: Box::new(issuer), margin, asking };
        Self { shape: Shape::Bearer, current: SyncMutex::new(None), source }
    }

    /// A fresh token, if one is there already.
    pub fn at_hand(&self) -> Option<Pass> {
        self.current().filter(Pass::is_fresh)
    }

    /// A fresh token.
    pub async fn fresh(&self) -> Result<Pass, TokenError> {
        self.other_than(None).await
    }

    /// A token other than `refused`, which the vendor no longer takes.
    pub async fn renewed(&self, refused: &Pass) -> Result<Pass, TokenError> {
        self.other_than(Some(refused.number)).await
    }

    async fn other_than(&self, refused: Option<u64>) -> Result<Pass, TokenError> {
        let good = |pass: &Pass| pass.is_fresh() && Some(pass.number) != refused;
        let (issuer, margin, asking) = match &self.source {
            Source::Fixed => {
                let reason = "the vendor answered 401 to the configured token".to_owned();
                return self.current().filter(good).ok_or(TokenError::Refused { reason });
            }
            Source::Issued { issuer, margin, asking } => (issuer, *margin, asking),
        };
        let asked_at = Instant::now();
        let mut last = asking.lock().await;
        if let Some(pass) = self.current().filter(good) {
            return Ok(pass);
        }
        // Whoever waited while a request failed takes its failure, rather than ask once more each.
        if let Some((_, error)) = last.failure.as_ref().filter(|(ended, _)| *ended > asked_at) {
            return Err(error.clone());
        }
        let outcome = issuer.issue().await.and_then(|grant| self.keep(&grant, margin, last.number + 1));
        match outcome {
            Ok(pass) => {
                last.number = pass.number;
                last.failure = None;
                Ok(pass)
            }
            Err(error) => {
                last.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn keep(&self, grant: &Grant, margin: Duration, number: u64) -> Result<Pass, TokenError> {
        let (header, authorization) = self.shape.header(&grant.token).ok_or_else(|| TokenError::Refused {
            reason: "there is a new token that cannot stand in a header".to_owned(),
        })?;
        let life = grant.lifetime.saturating_sub(margin.min(grant.lifetime / 2));
        let scopes = grant.scopes.as_deref().map(Arc::from);
        let pass = Pass { header, authorization, scopes, renew_at: Some(Instant::now() + life), number };
        *self.current.lock().expect("nothing panics while it holds the token") = Some(pass.clone());
        Ok(pass)
    }

    fn current(&self) -> Option<Pass> {
        self.current.lock().expect("nothing panics while it holds the token").clone()
    }
}

impl Shape {
    fn header(&self, token: &SecretString) -> Option<(HeaderName, HeaderValue)> {
        let token = token.expose_secret();
        let (name, value) = match self {
            Self::Bearer => (AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))),
            Self::Header(name) => (name.clone(), HeaderValue::try_from(token)),
        };
        let mut value = value.ok()?;
        value.set_sensitive(true);
        (!token.is_empty()).then_some((name, value))
    }
}

/// Reads the operator's token again. One that cannot be read for a while, as between the two steps of
/// a careless rotation, stays as it was.
struct Reading {
    token: Secret,
    last: SyncMutex<SecretString>,
}

#[async_trait]
impl Issuer for Reading {
    async fn issue(&self) -> Result<Grant, TokenError> {
        let read = self.token.now().await;
        let mut last = self.last.lock().expect("nothing panics while it holds the token");
        match read {
            Ok(token) => *last = token,
            Err(reason) => tracing::warn!(reason, "failed to read the token again; the last one stays"),
        }
        Ok(Grant { token: last.clone(), lifetime: REREAD_EVERY, scopes: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pass: &Pass) -> (&str, &str) {
        (pass.header.as_str(), pass.authorization.to_str().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_changed_where_it_lives_is_used_soon_and_at_once_after_a_401() {
        let file = Arc::new(SyncMutex::new(Ok(SecretString::from("one"))));
        let reread = Arc::clone(&file);
        let token = Secret::reread_by("one".into(), Arc::new(move || reread.lock().unwrap().clone()));
        let tokens = Tokens::configured(token, Shape::Header(HeaderName::from_static("x-key"))).unwrap();
        let first = tokens.fresh().await.unwrap();
        assert_eq!(shown(&first), ("x-key", "one"));

        *file.lock().unwrap() = Ok("two".into());
        assert_eq!(shown(&tokens.fresh().await.unwrap()), ("x-key", "one"), "not each call reads");
        let second = tokens.renewed(&first).await.unwrap();
        assert_eq!(shown(&second), ("x-key", "two"));

        *file.lock().unwrap() = Ok("three".into());
        tokio::time::advance(REREAD_EVERY).await;
        assert_eq!(shown(&tokens.fresh().await.unwrap()), ("x-key", "three"));

        *file.lock().unwrap() = Err("gone".to_owned());
        tokio::time::advance(REREAD_EVERY).await;
        assert_eq!(shown(&tokens.fresh().await.unwrap()), ("x-key", "three"), "the last one stays");
    }
}

//! The tokens of one target: cached, renewed ahead of their end, and by one request at a time.

use std::sync::{Arc, Mutex as SyncMutex};
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

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
    /// The `Authorization` header, marked as sensitive.
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

/// The tokens of one target.
pub struct Tokens {
    current: SyncMutex<Option<Pass>>,
    source: Source,
}

enum Source {
    /// One token for good.
    Fixed,
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
    /// A token that is never replaced. `None` when it cannot stand in a header.
    pub fn fixed(token: &SecretString) -> Option<Self> {
        let pass = Pass { authorization: header(token)?, scopes: None, renew_at: None, number: 0 };
        Some(Self { current: SyncMutex::new(Some(pass)), source: Source::Fixed })
    }

    /// Tokens that are asked for when needed, and replaced `margin` ahead of their end, or at half
    /// their life if that is later.
    pub fn issued(issuer: impl Issuer, margin: Duration) -> Self {
        let asking = Mutex::new(LastAsked::default());
        let source = Source::Issued { issuer: Box::new(issuer), margin, asking };
        Self { current: SyncMutex::new(None), source }
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
        let authorization = header(&grant.token).ok_or_else(|| TokenError::Refused {
            reason: "the token endpoint issued a token that cannot stand in a header".to_owned(),
        })?;
        let life = grant.lifetime.saturating_sub(margin.min(grant.lifetime / 2));
        let scopes = grant.scopes.as_deref().map(Arc::from);
        let pass = Pass { authorization, scopes, renew_at: Some(Instant::now() + life), number };
        *self.current.lock().expect("nothing panics while it holds the token") = Some(pass.clone());
        Ok(pass)
    }

    fn current(&self) -> Option<Pass> {
        self.current.lock().expect("nothing panics while it holds the token").clone()
    }
}

fn header(token: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).ok()?;
    value.set_sensitive(true);
    (!token.expose_secret().is_empty()).then_some(value)
}

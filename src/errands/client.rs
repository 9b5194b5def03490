//! One provider, asked behind the layers of a target: pauses, breaker, rate, concurrency, credentials,
//! time and size. Calls go below the base URL and nowhere else.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use tower::{Service as _, ServiceExt as _};

use crate::clock::SharedClock;
use crate::source::connectors::{Ask, Base, Elsewhere, Next, Write};
use crate::source::{Malformed, parse_json};
use crate::target::{Call, CallClass, CallError, ConnectError, Settings, Target, Turn};
use crate::telemetry::metrics::Metrics;

/// Asks one provider. Clones share limits and pauses.
#[derive(Clone)]
pub struct Client {
    target: Target,
    base: Base,
}

/// What a provider answered.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null where it was empty, or is no JSON though the call did not succeed.
    pub body: Value,
}

/// Why an errand failed. Each is tried again: what is wrong with the set-up is mended by a person, and
/// the errand must be there then.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An answer that says nothing of the record.
    #[error("read from the provider, which answered {}", .0.as_u16())]
    Status(StatusCode),
    /// An answer that is not of the shape that the provider documents.
    #[error("understand the provider's answer: {0}")]
    Malformed(#[from] Malformed),
    /// A list goes on elsewhere.
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
    /// A list is longer than is believed.
    #[error("read a list of over {limit} pages")]
    Endless {
        /// The most pages.
        limit: usize,
    },
    /// The provider does not say where one of its calls goes.
    #[error("find out where the provider's {endpoint} is")]
    NoAddress {
        /// The call, by the provider's word for it.
        endpoint: &'static str,
    },
    /// A subscription needs a secret to bear.
    #[error("subscribe without a secret of the source")]
    NoSecret,
    /// It takes too long.
    #[error("finish within {limit:?}")]
    Slow {
        /// The time that it may take.
        limit: std::time::Duration,
    },
}

impl Client {
    /// Sets a client up; nothing is called yet.
    pub fn connect(settings: Settings, clock: SharedClock, metrics: &Metrics) -> Result<Self, ConnectError> {
        let base = Base::new(settings.base_url.clone());
        Ok(Self { target: Target::connect(settings, clock, metrics)?, base })
    }

    /// The same client with a provider of the test's own behind its layers.
    #[cfg(test)]
    pub fn of(target: Target, base: url::Url) -> Self {
        Self { target, base: Base::new(base) }
    }

    /// Waits until a call may go.
    pub async fn ready(&self) -> Result<(), AskError> {
        self.target.stack().ready().await?;
        Ok(())
    }

    /// Reads, whatever the status.
    pub async fn get(&self, ask: Ask) -> Result<Answered, AskError> {
        let Ask { path, endpoint } = ask;
        let path = self.below(path, endpoint)?;
        let class = CallClass::Single;
        let call = Call {
            method: Method::GET,
            path,
            endpoint,
            class,
            body: None,
            if_match: None,
            operations: 1,
            turn: Turn::Usual,
        };
        self.send(call).await
    }

    /// Writes, whatever the status.
    pub async fn write(&self, write: Write) -> Result<Answered, AskError> {
        let Write { method, path, endpoint, body } = write;
        let path = self.below(path, endpoint)?;
        let body = (!body.is_null()).then(|| body.to_string().into());
        let class = CallClass::Single;
        self.send(Call {
            method,
            path,
            endpoint,
            class,
            body,
            if_match: None,
            operations: 1,
            turn: Turn::Usual,
        })
        .await
    }

    /// The path below the base URL of a call whose address the provider gave.
    fn below(&self, path: String, endpoint: &'static str) -> Result<String, AskError> {
        match path.as_str() {
            "" => Err(AskError::NoAddress { endpoint }),
            address if address.contains("://") => Ok(self.base.below(Next::Link(path))?),
            _ => Ok(path),
        }
    }

    /// The path below the base URL where a list goes on.
    pub fn follow(&self, next: Next) -> Result<String, Elsewhere> {
        self.base.below(next)
    }

    async fn send(&self, call: Call) -> Result<Answered, AskError> {
        let mut stack = self.target.stack();
        let answer = stack.ready().await?.call(call).await?;
        let body = match parse_json(&answer.body) {
            Ok(body) => body,
            Err(error) if answer.status.is_success() && !answer.body.is_empty() => return Err(error.into()),
            Err(_) => Value::Null,
        };
        Ok(Answered { status: answer.status, headers: answer.headers, body })
    }
}

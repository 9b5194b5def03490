//! How a provider is told to send webhooks, where that ends by itself and must be renewed.

use std::time::Duration;

use http::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Ask;
use crate::clock::Timestamp;
use crate::source::json::Malformed;

/// A provider whose subscriptions end.
pub trait Subscribe: Send + Sync {
    /// What is subscribed to, each by itself.
    fn topics(&self) -> &'static [&'static str];

    /// How long a subscription is asked to last.
    fn lifetime(&self) -> Duration;

    /// The call that makes one.
    fn make(&self, topic: &str, wish: &Wish<'_>) -> Write;

    /// The calls that make one last longer, the last of which says for how long; none where it is replaced
    /// by another.
    fn renew(&self, held: &Held, wish: &Wish<'_>) -> Vec<Write>;

    /// Whether a renewal asks for an event that bears the [wish's id](Wish::id), which shows that webhooks arrive.
    fn asks_for_an_event(&self) -> bool {
        false
    }

    /// The call that ends one that was replaced; `None` where it may end by itself.
    fn end(&self, held: &Held) -> Option<Write>;

    /// What was made, by the answer.
    fn made(&self, answer: &Value, wish: &Wish<'_>) -> Result<Held, Malformed>;

    /// What there is after a renewal, by its last answer.
    fn renewed(&self, _held: &Held, answer: &Value, wish: &Wish<'_>) -> Result<Held, Malformed> {
        self.made(answer, wish)
    }

    /// The call that reads where the other calls go, asked before each of them; `None` where that is known.
    fn directions(&self) -> Option<Ask> {
        None
    }

    /// The call that reads a subscription of ours that the provider has already, once it has refused to make
    /// another; `None` where it never refuses that.
    fn existing(&self, _wish: &Wish<'_>) -> Option<Ask> {
        None
    }

    /// The call that turns the one that there is into the one that is wished for.
    fn adopt(&self, _existing: &Value, _wish: &Wish<'_>) -> Option<Write> {
        None
    }
}

/// What a subscription is to be.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// Where webhooks are to be sent.
    pub address: &'a str,
    /// What each of them is to bear.
    pub secret: &'a SecretString,
    /// An id that was never used.
    pub id: &'a str,
    /// The time now.
    pub now: Timestamp,
    /// How long it is to last.
    pub ends_at: Timestamp,
    /// What the provider says of itself, where it is asked; else null.
    pub directions: &'a Value,
}

/// One call that writes.
#[derive(Clone, Debug)]
pub struct Write {
    /// The method.
    pub method: Method,
    /// Below the base URL, or an address of the provider's that leads there.
    pub path: String,
    /// The path's shape, for metrics.
    pub endpoint: &'static str,
    /// The body.
    pub body: Value,
}

/// A subscription that there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The provider's id, or ours where we choose it.
    pub id: String,
    /// What else its end wants to know.
    pub handle: Option<String>,
    /// Where webhooks are sent.
    pub address: String,
    /// When it was made or renewed, in microseconds since the Unix epoch.
    pub made_us: i64,
    /// When it ends, likewise. A provider may grant less than it was asked for.
    pub ends_us: i64,
    /// When it is to be renewed at the latest, likewise, where the provider wants that sooner than half of
    /// its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_us: Option<i64>,
}

impl Held {
    /// When it ends.
    pub fn ends_at(&self) -> Timestamp {
        Timestamp::from_micros(self.ends_us)
    }

    /// The same, to be renewed at `now` whatever its age.
    #[must_use]
    pub fn due_at(self, now: Timestamp) -> Self {
        Self { due_us: Some(now.as_micros()), ..self }
    }

    /// When it is to be renewed: at half of its life, which leaves time to mend what fails.
    pub fn renew_at(&self) -> Timestamp {
        let half_us = self.made_us.midpoint(self.ends_us);
        Timestamp::from_micros(self.due_us.map_or(half_us, |due_us| due_us.min(half_us)))
    }
}

//! Whether a provider's webhooks arrive, where it can be asked to send one that shows it (`OpenID` SSF 1.0
//! section 8.1.4). Only one that bears what it was asked for with is an answer: others may come from whoever
//! keeps the same stream, or from before.
//!
//! The standard would have an event with the wrong word refused. It is taken, since a transmitter may end a
//! stream for that, and the relay would lose what matters; it is counted apart instead.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::errands::runner::{RunError, Runner};
use crate::source::Registered;
use crate::store::Settled;

/// How long an event may take that was asked for. A transmitter may be slow, and repeats what was not taken.
const WAIT: Duration = Duration::from_mins(15);

/// What was asked for last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    /// What the event is to bear.
    state: String,
    /// Since when nothing has come that was asked for, in microseconds since the Unix epoch; `None`: it came.
    waiting_since_us: Option<i64>,
}

/// How it stands with an event that was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// When to look for it again; `None` where nothing is awaited.
    pub look_at: Option<Timestamp>,
    /// What is wrong, for people.
    pub failure: Option<String>,
}

impl Runner {
    /// Remembers what the next event is to bear. Whoever has waited goes on waiting.
    pub(super) async fn ask_for_an_event(&self, topic: &str, state: &str) -> Result<(), RunError> {
        let now_us = self.clock.now().as_micros();
        let before = self.asked(topic).await?.and_then(|asked| asked.waiting_since_us);
        let asked = Asked { state: state.to_owned(), waiting_since_us: Some(before.unwrap_or(now_us)) };
        Ok(self.store.set_source_memory(&self.source, &part(topic), &json!(asked)).await?)
    }

    /// Waits for nothing any more.
    pub(super) async fn forget_the_event(&self, topic: &str) -> Result<(), RunError> {
        if self.asked(topic).await?.is_some() {
            self.store.set_source_memory(&self.source, &part(topic), &Value::Null).await?;
        }
        Ok(())
    }

    /// Whether what was asked for has come.
    pub(super) async fn look_for_an_event(&self, topic: &str) -> Result<Heard, RunError> {
        let waiting = self.asked(topic).await?.and_then(|asked| asked.waiting_since_us);
        let Some(since) = waiting.map(Timestamp::from_micros) else { return Ok(Heard::default()) };
        let now = self.clock.now();
        let given_up_at = since.after(WAIT);
        if now < given_up_at {
            return Ok(Heard { look_at: Some(given_up_at), failure: None });
        }
        let failure = format!("hear the event that was asked for at {since} to show that webhooks arrive");
        tracing::warn!(source = self.source, failure, "failed to verify a subscription");
        Ok(Heard { look_at: Some(now.after(WAIT)), failure: Some(failure) })
    }

    /// Takes note of an event that was sent to show that webhooks arrive.
    pub(super) async fn verified(&self, registered: &Registered, state: &str) -> Result<Settled, RunError> {
        let subscribe = registered.connector.as_ref().and_then(|connector| connector.subscribe());
        let topics: &[&str] = match subscribe {
            Some(subscribe) => subscribe.topics(),
            None => &[],
        };
        for topic in topics {
            if let Some(asked) = self.asked(topic).await?.filter(|asked| asked.state == state) {
                let asked = Asked { waiting_since_us: None, ..asked };
                self.store.set_source_memory(&self.source, &part(topic), &json!(asked)).await?;
                self.count("verified");
                return Ok(Settled::Done);
            }
        }
        tracing::info!(source = self.source, "was sent a verification that nobody here has asked for");
        self.count("unasked_verification");
        Ok(Settled::Done)
    }

    async fn asked(&self, topic: &str) -> Result<Option<Asked>, RunError> {
        let known = self.store.source_memory(&self.source, &part(topic)).await?;
        Ok(known.and_then(|value| serde_json::from_value(value).ok()))
    }
}

/// Where it is remembered.
fn part(topic: &str) -> String {
    format!("verification.{topic}")
}

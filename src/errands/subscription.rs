//! Keeps a source's subscriptions alive: makes them, renews them at half of their life, makes them anew
//! where the provider has dropped them.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::errands::client::AskError;
use crate::errands::record::success;
use crate::errands::runner::{RunError, Runner};
use crate::source::Registered;
use crate::source::connectors::{Held, Subscribe, Wish, Write};
use crate::store::{Settled, Topic};
use crate::telemetry::metrics::SubscriptionLabels;

/// A shorter life than this is no matter of an alarm hours before its end: it is always near.
const ALARMED_LIFE_MIN: Duration = Duration::from_hours(3);
/// Longest time between two looks at a subscription.
const LOOK_MAX: Duration = Duration::from_hours(24);

impl Runner {
    /// Looks after every subscription, and says when to look again.
    pub(super) async fn keep(&self, registered: &Registered) -> Result<Settled, RunError> {
        let subscribe = registered.connector.as_ref().and_then(|connector| connector.subscribe());
        let (Some(subscribe), Some(address)) = (subscribe, &self.subscription) else {
            return Ok(Settled::Done);
        };
        let (mut due, mut failure) = (self.clock.now().after(LOOK_MAX), None);
        for topic in subscribe.topics() {
            due = due.min(self.keep_one(registered, subscribe, topic, address).await?);
            let heard = self.look_for_an_event(topic).await?;
            due = due.min(heard.look_at.unwrap_or(due));
            failure = failure.or(heard.failure);
        }
        Ok(Settled::Again { due, absent_since: None, failure })
    }

    /// Has every subscription renewed at the next look, which is now.
    pub(super) async fn hurry(&self, registered: &Registered) -> Result<Settled, RunError> {
        let subscribe = registered.connector.as_ref().and_then(|connector| connector.subscribe());
        let (Some(subscribe), true) = (subscribe, self.subscription.is_some()) else {
            return Ok(Settled::Done);
        };
        let now = self.clock.now();
        for topic in subscribe.topics() {
            if let Some(held) = self.held(topic).await? {
                self.store.set_source_memory(&self.source, &part(topic), &json!(held.due_at(now))).await?;
            }
        }
        self.store.want(&self.source, &Topic::Subscription, now).await?;
        Ok(Settled::Done)
    }

    async fn held(&self, topic: &str) -> Result<Option<Held>, RunError> {
        let known = self.store.source_memory(&self.source, &part(topic)).await?;
        Ok(known.and_then(|value| serde_json::from_value(value).ok()))
    }

    /// Looks after one subscription; answers when it is to be renewed.
    async fn keep_one(
        &self,
        registered: &Registered,
        subscribe: &dyn Subscribe,
        topic: &str,
        address: &str,
    ) -> Result<Timestamp, RunError> {
        let known = self.held(topic).await?;
        let now = self.clock.now();
        let held = match known {
            Some(held) if held.address == address && now < held.renew_at() => held,
            known => {
                let held = self.renewed(registered, subscribe, topic, address, known.as_ref()).await?;
                self.store.set_source_memory(&self.source, &part(topic), &json!(held)).await?;
                if let Some(write) =
                    known.filter(|known| known.id != held.id).and_then(|old| subscribe.end(&old))
                {
                    // It ends by itself, too.
                    drop(self.client.write(write).await);
                }
                self.count("subscribed");
                held
            }
        };
        if held.ends_at().since(Timestamp::from_micros(held.made_us)) >= ALARMED_LIFE_MIN {
            self.show_end(topic, &held);
        }
        // One that was granted for no time at all is not asked for again at once.
        Ok(held.renew_at().max(now.after(Duration::from_mins(1))))
    }

    fn show_end(&self, topic: &str, held: &Held) {
        let labels = SubscriptionLabels { source: self.source.clone(), subscription: topic.to_owned() };
        self.metrics.subscription_end_seconds.get_or_create(&labels).set(held.ends_at().as_seconds());
    }

    async fn renewed(
        &self,
        registered: &Registered,
        subscribe: &dyn Subscribe,
        topic: &str,
        address: &str,
        known: Option<&Held>,
    ) -> Result<Held, RunError> {
        let Some(secret) = registered.settings.secrets.first() else {
            return Err(AskError::NoSecret.into());
        };
        let directions = match subscribe.directions() {
            Some(ask) => success(self.client.get(ask).await?)?.body,
            None => Value::Null,
        };
        let (id, now) = (uuid::Uuid::new_v4().to_string(), self.clock.now());
        let ends_at = now.after(subscribe.lifetime());
        let wish = Wish { address, secret, id: &id, now, ends_at, directions: &directions };
        let known = known.filter(|held| held.address == address);
        let alive = known.filter(|held| held.ends_at() > now);
        let calls = alive.map(|held| subscribe.renew(held, &wish)).unwrap_or_default();
        let was_lost = known.is_some() && (alive.is_none() || !calls.is_empty());
        if let Some(held) = alive {
            if subscribe.asks_for_an_event() {
                // The event may be here before the call is answered.
                self.ask_for_an_event(topic, &id).await?;
            }
            if let Some(held) = self.prolonged(subscribe, held, calls, &wish).await? {
                return Ok(held);
            }
        }
        let mut answer = self.client.write(subscribe.make(topic, &wish)).await?;
        if answer.status == StatusCode::CONFLICT
            && let Some(ask) = subscribe.existing(&wish)
        {
            let existing = success(self.client.get(ask).await?)?.body;
            let adopt = subscribe.adopt(&existing, &wish).ok_or(AskError::Status(answer.status))?;
            answer = self.client.write(adopt).await?;
        }
        if !answer.status.is_success() {
            return Err(AskError::Status(answer.status).into());
        }
        let held = subscribe.made(&answer.body, &wish).map_err(AskError::from)?;
        // What another was asked for is not to come by this one.
        self.forget_the_event(topic).await?;
        if was_lost {
            // While there was none, nothing was sent.
            self.store.want(&self.source, &Topic::Missed, now).await?;
        }
        Ok(held)
    }

    /// The subscription, once it lasts longer; `None` where it is not there any more, or is replaced.
    async fn prolonged(
        &self,
        subscribe: &dyn Subscribe,
        held: &Held,
        calls: Vec<Write>,
        wish: &Wish<'_>,
    ) -> Result<Option<Held>, AskError> {
        let mut last = None;
        for write in calls {
            let answer = self.client.write(write).await?;
            if matches!(answer.status.as_u16(), 404 | 410) {
                return Ok(None);
            }
            if !answer.status.is_success() {
                return Err(AskError::Status(answer.status));
            }
            last = Some(answer.body);
        }
        Ok(last.map(|answer| subscribe.renewed(held, &answer, wish)).transpose()?)
    }
}

/// Where a subscription is remembered.
fn part(topic: &str) -> String {
    format!("subscription.{topic}")
}

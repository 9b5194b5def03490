//! Keeps a source's subscriptions alive: makes them, renews them at half of their life, makes them anew
//! where the provider has dropped them.

use std::time::Duration;

use serde_json::json;

use crate::clock::Timestamp;
use crate::errands::client::AskError;
use crate::errands::runner::{RunError, Runner};
use crate::source::Registered;
use crate::source::connectors::{Held, Subscribe, Wish};
use crate::store::Settled;
use crate::telemetry::metrics::SubscriptionLabels;

/// Longest time between two looks at a subscription.
const LOOK_MAX: Duration = Duration::from_hours(24);

impl Runner {
    /// Looks after every subscription, and says when to look again.
    pub(super) async fn keep(&self, registered: &Registered) -> Result<Settled, RunError> {
        let subscribe = registered.connector.as_ref().and_then(|connector| connector.subscribe());
        let (Some(subscribe), Some(address)) = (subscribe, &self.subscription) else {
            return Ok(Settled::Done);
        };
        let mut due = self.clock.now().after(LOOK_MAX);
        for topic in subscribe.topics() {
            due = due.min(self.keep_one(registered, subscribe, topic, address).await?);
        }
        Ok(Settled::Again { due, absent_since: None, failure: None })
    }

    /// Looks after one subscription; answers when it is to be renewed.
    async fn keep_one(
        &self,
        registered: &Registered,
        subscribe: &dyn Subscribe,
        topic: &str,
        address: &str,
    ) -> Result<Timestamp, RunError> {
        let part = format!("subscription.{topic}");
        let known = self.store.source_memory(&self.source, &part).await?;
        let known = known.and_then(|value| serde_json::from_value::<Held>(value).ok());
        let now = self.clock.now();
        let held = match known {
            Some(held) if held.address == address && now < held.renew_at() => held,
            known => {
                let held = self.renewed(registered, subscribe, topic, address, known.as_ref()).await?;
                self.store.set_source_memory(&self.source, &part, &json!(held)).await?;
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
        let labels = SubscriptionLabels { source: self.source.clone(), subscription: topic.to_owned() };
        self.metrics.subscription_end_seconds.get_or_create(&labels).set(held.ends_at().as_seconds());
        // One that was granted for no time at all is not asked for again at once.
        Ok(held.renew_at().max(now.after(Duration::from_mins(1))))
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
        let (id, now) = (uuid::Uuid::new_v4().to_string(), self.clock.now());
        let wish = Wish { address, secret, id: &id, now, ends_at: now.after(subscribe.lifetime()) };
        let alive = known.filter(|held| held.address == address && held.ends_at() > now);
        if let Some(write) = alive.and_then(|held| subscribe.renew(held, &wish)) {
            let answer = self.client.write(write).await?;
            if answer.status.is_success() {
                return Ok(subscribe.made(&answer.body, &wish).map_err(AskError::from)?);
            }
            // One that is not there any more is made anew.
            if !matches!(answer.status.as_u16(), 404 | 410) {
                return Err(AskError::Status(answer.status).into());
            }
        }
        let answer = self.client.write(subscribe.make(topic, &wish)).await?;
        if !answer.status.is_success() {
            return Err(AskError::Status(answer.status).into());
        }
        Ok(subscribe.made(&answer.body, &wish).map_err(AskError::from)?)
    }
}

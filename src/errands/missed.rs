//! Reads what happened while nobody listened, from the position that is remembered.
//!
//! Each page is appended before the position moves past it, so that an end in between repeats a page
//! and loses none.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::errands::client::AskError;
use crate::errands::record::success;
use crate::errands::runner::{RunError, Runner, earlier};
use crate::source::connectors::{Feed, Page, ask_feed};
use crate::source::{Reading, Registered};
use crate::store::advice::{advise, withdraw};
use crate::store::{Settled, Topic};

/// Pages that are read in one run; what is left is read in the next, so that records that are wanted
/// meanwhile do not wait for long.
const PAGES_PER_RUN: usize = 20;

impl Runner {
    /// Reads every stream to its end, and says when to read on.
    pub(super) async fn missed(&self, registered: &Registered) -> Result<Settled, RunError> {
        let feed = registered.connector.as_ref().and_then(|connector| connector.feed());
        let now = self.clock.now();
        let (Some(feed), Some(interval)) = (feed, self.catch_up) else {
            let reason = "the provider has not sent some of its webhooks, and no catch_up is configured";
            if advise(&*self.store, &self.source, reason.to_owned(), now).await? {
                tracing::warn!(source = self.source, reason, "a resync of the source is advised");
            }
            return Ok(Settled::Done);
        };
        let mut is_all = true;
        for stream in feed.streams() {
            is_all &= self.read_stream(registered, feed, stream).await?;
        }
        if is_all
            && feed.is_whole()
            && let Some(advice) = withdraw(&*self.store, &self.source).await?
        {
            let reason = advice.reason;
            tracing::info!(
                source = self.source,
                reason,
                "the source was read as a whole; no resync is advised any more"
            );
        }
        let now = self.clock.now();
        let due = if is_all { now.after(interval) } else { now };
        Ok(Settled::Again { due, absent_since: None, failure: None })
    }

    /// Whether the stream was read to its end.
    async fn read_stream(
        &self,
        registered: &Registered,
        feed: &dyn Feed,
        stream: &str,
    ) -> Result<bool, RunError> {
        let part = format!("feed.{stream}");
        let remembered = self.store.source_memory(&self.source, &part).await?;
        let remembered = remembered.as_ref().and_then(|value| value["path"].as_str().map(str::to_owned));
        let mut path = remembered.unwrap_or_else(|| feed.begin(stream, self.clock.now()));
        let mut has_begun_again = false;
        for _ in 0..PAGES_PER_RUN {
            let now = self.clock.now();
            let answer = self.client.get(ask_feed(path.clone())).await?;
            if feed.is_forgotten(answer.status, &answer.body)
                && !has_begun_again
                && let Some(everything) = feed.again(stream)
            {
                tracing::warn!(
                    source = self.source,
                    stream,
                    "the provider has forgotten the position; reading everything"
                );
                self.count("begun_again");
                has_begun_again = true;
                path = everything;
                continue;
            }
            let answer = success(answer)?;
            let page = Page { headers: &answer.headers, body: &answer.body, path: &path };
            let page = feed.page(stream, &page).map_err(AskError::from)?;
            self.take(registered, page.reading, now, earlier(now, feed.lag())).await?;
            let next = if page.is_last { feed.resume(stream, now, page.next) } else { page.next };
            path = self.client.follow(next).map_err(AskError::from)?;
            self.store.set_source_memory(&self.source, &part, &position(&path)).await?;
            if page.is_last {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Appends what a page tells, dated `as_of` where it has no time, and notes what it leaves to be read.
    async fn take(
        &self,
        registered: &Registered,
        reading: Reading,
        now: Timestamp,
        as_of: Timestamp,
    ) -> Result<(), RunError> {
        let mut changes = reading.changes;
        for change in &mut changes {
            change.occurred_at = Some(change.occurred_at.unwrap_or(as_of).min(now));
        }
        if !changes.is_empty() {
            self.append(registered, &changes, now).await?;
        }
        if reading.everyone_needs_read {
            self.store.want(&self.source, &Topic::Everyone, now).await?;
        }
        for key in reading.needs_read {
            self.store.want(&self.source, &Topic::Record(key), now).await?;
        }
        Ok(())
    }
}

fn position(path: &str) -> Value {
    json!({ "path": path })
}

//! How a provider tells what happened while nobody listened.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Ask, Next, Page};
use crate::clock::Timestamp;
use crate::source::Reading;
use crate::source::json::Malformed;

/// A provider's own record of changes, read page by page from a position on.
///
/// What it tells is dated by the provider, or as of the call; it may tell what webhooks told before.
pub trait Feed: Send + Sync {
    /// Its streams, each with a position of its own.
    fn streams(&self) -> &'static [&'static str];

    /// The call from which on nothing is missed, where no position is remembered.
    fn begin(&self, stream: &str, now: Timestamp) -> String;

    /// The call that tells everything, once the provider has forgotten the position. `None`: it forgets
    /// none within the time for which it keeps anything.
    fn again(&self, _stream: &str) -> Option<String> {
        None
    }

    /// Whether an answer says that the position is forgotten.
    fn is_forgotten(&self, status: StatusCode, _body: &Value) -> bool {
        status == StatusCode::GONE
    }

    /// How far behind the truth what it tells may be: what it does not date counts as that old, so that it
    /// loses to what was heard since.
    fn lag(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// How long the provider keeps what it tells, at the least; `None`: longer than any outage, or it says
    /// itself that a position is forgotten.
    fn kept_for(&self) -> Option<Duration> {
        None
    }

    /// Whether reading every stream to its end tells everything that there is.
    fn is_whole(&self) -> bool {
        false
    }

    /// Where a stream that was read to its end goes on next time. `asked_at` is when the last page was
    /// asked for, `next` what that page said.
    fn resume(&self, _stream: &str, _asked_at: Timestamp, next: Next) -> Next {
        next
    }

    /// What a page tells, and where the stream goes on.
    fn page(&self, stream: &str, page: &Page<'_>) -> Result<FeedPage, Malformed>;
}

/// A page of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedPage {
    /// What happened. What needs to be read is read by itself.
    pub reading: Reading,
    /// Where the stream goes on, now or next time.
    pub next: Next,
    /// Whether that is all for now.
    pub is_last: bool,
}

/// A call to a stream.
pub fn ask(path: String) -> Ask {
    Ask { path, endpoint: "feed" }
}

/// The next link of a page that must have one.
pub(super) fn need_next(headers: &HeaderMap) -> Result<Next, Malformed> {
    Next::of_header(headers)
        .ok_or_else(|| Malformed::new("", "the header Link says not where the list goes on"))
}

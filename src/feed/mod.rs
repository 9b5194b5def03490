//! Feeds: sources that post no webhooks. One is polled ([`poll`]), another drops files ([`mod@file`]); what
//! they say becomes events in the inbox, like anybody's.
//!
//! What a source has said of each record is remembered, so that saying it again costs nothing
//! ([`take`]), and so that a snapshot can tell who is not there any more ([`snapshot`]), within the
//! bounds of its [`guard`].

pub mod file;
pub mod guard;
pub mod poll;
pub mod said;
pub mod snapshot;
pub mod spool;
#[cfg(test)]
mod stage;
pub mod take;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::directory::DirectoryName;
use crate::store::Store;
use crate::target::ConnectError;
use crate::telemetry::metrics::Metrics;

/// How long a feed is held without a renewal.
pub const TERM: Duration = Duration::from_mins(1);

/// One feed, as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of its source.
    pub source: String,
    /// The directory that it feeds.
    pub directory: DirectoryName,
    /// How much one snapshot may take away.
    pub limits: guard::Limits,
    /// How it is taken in.
    pub way: Way,
}

/// How a feed is taken in.
#[derive(Clone, Debug)]
pub enum Way {
    /// It is asked.
    Poll(Box<poll::Settings>),
    /// It drops files.
    File(Box<file::Settings>),
}

/// What every feed works with.
#[derive(Clone)]
pub struct Context {
    /// Where events go, and what is remembered.
    pub store: Arc<dyn Store>,
    /// Told after each appended event.
    pub accepted: Arc<Notify>,
    /// The wall time.
    pub clock: SharedClock,
    /// This replica's name.
    pub replica: String,
    /// Where polls and snapshots are counted.
    pub metrics: Metrics,
}

/// A feed that is set up.
pub enum Feed {
    /// It is asked.
    Poll(Box<poll::run::Poller>),
    /// It drops files.
    File(Box<file::run::Watcher>),
}

impl Feed {
    /// Sets a feed up.
    pub fn connect(settings: Settings, context: Context) -> Result<Self, ConnectError> {
        let Settings { source, directory, limits, way } = settings;
        let taker = take::Taker { context, source, directory };
        Ok(match way {
            Way::Poll(settings) => {
                Self::Poll(Box::new(poll::run::Poller::connect(*settings, limits, taker)?))
            }
            Way::File(settings) => Self::File(Box::new(file::run::Watcher::new(*settings, limits, taker))),
        })
    }

    /// Takes it in until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        match self {
            Self::Poll(poller) => poller.run(stop).await,
            Self::File(watcher) => watcher.run(stop).await,
        }
    }
}

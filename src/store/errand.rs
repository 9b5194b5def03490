//! What a source is to be asked or told: one row for each thing, however often it is wanted.

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};

/// What an errand is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// The record of a user or group is to be read.
    Record(ResourceKey),
    /// What happened since the position that is remembered is to be read.
    Missed,
    /// The source's subscription is to be looked after.
    Subscription,
    /// The record of everybody who is known by the source's ids is to be read: many may be gone.
    Everyone,
    /// The source says that its subscription must be renewed now, however young it is.
    Renewal,
    /// The source has sent an event that shows that its webhooks arrive.
    Verification {
        /// What it bears of the question that it answers; empty where it answers none.
        state: String,
    },
}

impl Topic {
    /// The topic as two columns: its kind, and the id where it has one.
    pub(crate) fn columns(&self) -> (i16, &str) {
        match self {
            Self::Record(key) => {
                let kind = match key.kind {
                    Kind::User => 0,
                    Kind::Group => 1,
                };
                (kind, key.id.as_str())
            }
            Self::Missed => (2, ""),
            Self::Subscription => (3, ""),
            Self::Everyone => (4, ""),
            Self::Renewal => (5, ""),
            Self::Verification { state } => (6, state),
        }
    }

    /// The topic of two columns.
    pub(crate) fn from_columns(kind: i16, id: String) -> Option<Self> {
        match kind {
            0 => Some(Self::Record(ResourceKey::user(ExternalId::parse(id).ok()?))),
            1 => Some(Self::Record(ResourceKey::group(ExternalId::parse(id).ok()?))),
            2 => Some(Self::Missed),
            3 => Some(Self::Subscription),
            4 => Some(Self::Everyone),
            5 => Some(Self::Renewal),
            6 => Some(Self::Verification { state: id }),
            _ => None,
        }
    }
}

/// An errand that somebody has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// The source's name in the configuration.
    pub source: String,
    /// What it is about.
    pub topic: Topic,
    /// A number that grows whenever it is wanted again.
    pub wanted: u64,
    /// How often in a row it has failed.
    pub attempts: u32,
    /// Since when it waits.
    pub since: Timestamp,
    /// When the source first said that there is no such record.
    pub absent_since: Option<Timestamp>,
}

/// What became of an errand. One that was wanted again meanwhile stays in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is done.
    Done,
    /// It is to be run again.
    Again {
        /// Not before this time.
        due: Timestamp,
        /// When the source first said that there is no such record.
        absent_since: Option<Timestamp>,
        /// Why it failed, for people; `None` where it did not fail.
        failure: Option<String>,
    },
}

/// The errands of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrandCounts {
    /// Records that are to be read.
    pub records: u64,
    /// Errands that have failed and are to be tried again.
    pub failing: u64,
    /// Since when the oldest record waits.
    pub oldest_since: Option<Timestamp>,
    /// Why an errand failed, of the one that has failed most often.
    pub failure: Option<String>,
}

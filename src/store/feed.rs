//! Feeds: what is fetched from a source, or dropped by it, and what it has said of each record so far.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::ExternalId;
use crate::store::StoreError;

/// The memory of feeds. Every method is one transaction; what it has answered survives power loss.
#[async_trait]
pub trait Feeds: Send + Sync {
    /// Becomes, or stays, the one replica that takes a feed in, for `term` by the store's own clock.
    /// `None` while another's term lasts.
    async fn hold(&self, source: &str, replica: &str, term: Duration) -> Result<Option<Feed>, StoreError>;

    /// Lets go of a feed; nothing where another holds it.
    async fn release(&self, source: &str, replica: &str) -> Result<(), StoreError>;

    /// Replaces a feed's memory, and spends the consent where `spend` says so. Fails with
    /// [`StoreError::Deposed`] where another replica holds the feed.
    async fn remember(
        &self,
        source: &str,
        replica: &str,
        memory: &Value,
        spend: bool,
    ) -> Result<(), StoreError>;

    /// What is remembered of a feed; `None` where it was never held.
    async fn feed(&self, source: &str) -> Result<Option<Feed>, StoreError>;

    /// Replaces what an operator has consented to. False where the feed was never held.
    async fn consent(&self, source: &str, consent: &Consent) -> Result<bool, StoreError>;

    /// What was said of these records so far, in their order; no record twice. Notes that snapshot
    /// `snapshot` names them, unless that is 0.
    async fn look_up(
        &self,
        source: &str,
        snapshot: u64,
        records: &[RecordKey],
    ) -> Result<Vec<Known>, StoreError>;

    /// Notes what was taken in of these records, seen by `snapshot` at the earliest; no record twice.
    async fn settle(&self, source: &str, snapshot: u64, records: &[SettledRecord]) -> Result<(), StoreError>;

    /// Counts the users and groups that the source said to be there.
    async fn tally(&self, source: &str, seen_before: u64) -> Result<Tally, StoreError>;

    /// The users and groups that the source said to be there and no snapshot from `seen_before` on has
    /// named; in order, after `after`.
    async fn absent(
        &self,
        source: &str,
        seen_before: u64,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<RecordKey>, StoreError>;
}

/// What is remembered of one feed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feed {
    /// Of whoever takes it in: opaque JSON, null at first.
    pub memory: Value,
    /// Of an operator.
    pub consent: Option<Consent>,
}

/// What an operator has consented to, for the next snapshot alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// How many users and groups may be removed.
    pub removals: u64,
    /// Until when.
    pub until: Timestamp,
    /// Who.
    pub by: String,
}

/// What of a resource a record speaks of. Of each, the source's last word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aspect {
    /// A user.
    User,
    /// A group.
    Group,
    /// The members of a group.
    Members,
}

impl Aspect {
    /// The number that a store keeps.
    pub const fn number(self) -> u8 {
        match self {
            Self::User => 0,
            Self::Group => 1,
            Self::Members => 2,
        }
    }
}

/// Names a record of a source.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// What it speaks of.
    pub aspect: Aspect,
    /// The user or group.
    pub id: ExternalId,
}

/// What was said of a record so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Of what was said last; empty where nothing of it was taken in.
    pub fingerprint: Vec<u8>,
    /// Whether the same snapshot has named it before.
    pub named_before: bool,
}

/// What was taken in of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledRecord {
    /// The record.
    pub key: RecordKey,
    /// Of what was said.
    pub fingerprint: Vec<u8>,
    /// Whether it is there, going by that.
    pub is_there: bool,
}

/// How many users and groups a source said to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub there: u64,
    /// Those of them that were not seen since.
    pub absent: u64,
}

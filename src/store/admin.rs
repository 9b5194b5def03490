//! What people and monitoring ask of the store.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::{ErrandCounts, Lane, TargetState};

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// The backlog at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Events that are accepted and not merged yet.
    pub unprojected: u64,
    /// Events that cannot be read any more and were not merged.
    pub unreadable: u64,
    /// Per enrolled target.
    pub targets: BTreeMap<String, TargetCounts>,
    /// What is to be asked, per source that has anything of the kind.
    pub errands: BTreeMap<String, ErrandCounts>,
}

/// The backlog of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetCounts {
    /// Its stored state.
    pub state: Option<TargetState>,
    /// Rows to be sent, one count per lane, zeros too; those in flight included.
    pub pending: Vec<LaneCount>,
    /// Rows that wait for something outside, such as a member whom the vendor does not know.
    pub waiting: u64,
    /// Members that wait for their user, over all groups.
    pub waiting_members: u64,
    /// Parked rows and parked members.
    pub parked: u64,
    /// Rows, and members of groups, that wait for a person's decision about a destructive change.
    pub held: u64,
    /// When the oldest change that is still pending was received.
    pub oldest_pending_since: Option<Timestamp>,
}

/// Rows of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneCount {
    /// The lane.
    pub lane: Lane,
    /// How many rows.
    pub rows: u64,
    /// When the oldest of their changes was received.
    pub since: Option<Timestamp>,
}

/// Names what is sent, held or parked, or waits: `user:<id>`, `group:<id>`, or
/// `member:<length of group id>:<group id>:<user id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemId {
    /// A whole user or group.
    Resource(ResourceKey),
    /// One member of one group.
    Member {
        /// The group.
        group: ExternalId,
        /// The user.
        user: ExternalId,
    },
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource(key) => write!(f, "{}:{}", key.kind, key.id),
            Self::Member { group, user } => write!(f, "member:{}:{group}:{user}", group.as_str().len()),
        }
    }
}

impl FromStr for ItemId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (word, rest) = text.split_once(':').ok_or(())?;
        if let Some(kind) = Kind::parse(word) {
            return Ok(Self::Resource(ResourceKey { kind, id: ExternalId::parse(rest).map_err(|_| ())? }));
        }
        let ("member", Some((length, rest))) = (word, rest.split_once(':')) else { return Err(()) };
        let length: usize = length.parse().map_err(|_| ())?;
        let (group, user) = (rest.get(..length).ok_or(())?, rest.get(length..).ok_or(())?);
        Ok(Self::Member {
            group: ExternalId::parse(group).map_err(|_| ())?,
            user: ExternalId::parse(user.strip_prefix(':').ok_or(())?).map_err(|_| ())?,
        })
    }
}

/// Work that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedItem {
    /// Its name.
    pub id: ItemId,
    /// The vendor's reason or ours.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
    /// Failures charged to it.
    pub attempts: u32,
}

/// Work that waits for something to be told, or to appear at the vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingItem {
    /// Its name.
    pub id: ItemId,
    /// For what.
    pub reason: String,
    /// When the oldest change was received that is not applied; of a member that is not kept.
    pub since: Option<Timestamp>,
}

/// Where a list of what waits goes on: users and groups come first, then members.
pub(super) enum WaitingPlace {
    /// After this one, or from the beginning.
    Resources(Option<ResourceKey>),
    /// After this one.
    Members(ExternalId, ExternalId),
}

impl WaitingPlace {
    /// Behind the last item's name; `None` where no item has such a name.
    pub(super) fn after(name: Option<&str>) -> Option<Self> {
        Some(match name.map(str::parse).transpose().ok()? {
            None => Self::Resources(None),
            Some(ItemId::Resource(key)) => Self::Resources(Some(key)),
            Some(ItemId::Member { group, user }) => Self::Members(group, user),
        })
    }
}

/// Why a member waits.
pub(super) const WAITING_MEMBER: &str = "the vendor has no account for this member yet";

/// One event in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSummary {
    /// The relay's number.
    pub sequence: u64,
    /// The source.
    pub source: String,
    /// The sender's id.
    pub event_id: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Length of the body.
    pub body_bytes: u64,
    /// `accepted` (not merged yet), `projected`, or `unreadable`.
    pub state: &'static str,
}

/// One event, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// As in lists.
    pub summary: EventSummary,
    /// Its changes; empty while it is not merged.
    pub changes: Vec<ChangeRecord>,
}

/// One change of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeRecord {
    /// Position in the event.
    pub index: u32,
    /// `user.upsert` and so on.
    pub operation: String,
    /// The resource.
    pub key: ResourceKey,
    /// `merged`, `unchanged` or `superseded`.
    pub outcome: String,
    /// The resource's generation after the merge.
    pub generation: u64,
    /// Per target: `applied`, `pending`, `waiting`, `held`, `rejected`, `protected` or
    /// `parked`, and the reason where there is one.
    pub targets: BTreeMap<String, (String, Option<String>)>,
}

/// Which ledger entries to list; `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// The target.
    pub target: Option<String>,
    /// The resource.
    pub key: Option<ResourceKey>,
    /// The result.
    pub result: Option<String>,
    /// The operation.
    pub operation: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// One ledger entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRecord {
    /// The relay's number.
    pub sequence: u64,
    /// When it ended.
    pub at: Timestamp,
    /// The target.
    pub target: String,
    /// The resource; `None` where it is about the target itself.
    pub key: Option<ResourceKey>,
    /// The generation that was planned for.
    pub generation: u64,
    /// See [`LedgerEntry`](crate::store::LedgerEntry) for this and the following.
    pub operation: String,
    /// The call.
    pub call: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// What became of it.
    pub result: String,
    /// The version sent.
    pub etag_before: Option<String>,
    /// The version answered.
    pub etag_after: Option<String>,
    /// Duration in microseconds.
    pub elapsed_us: Option<u64>,
    /// The reason.
    pub detail: Option<String>,
    /// Who did it by hand.
    pub actor: Option<String>,
    /// The sender's ids of the events that led to it, at most 20.
    pub events: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parked_items_read_back_even_when_ids_hold_colons() {
        let id = |text: &str| ExternalId::parse(text).unwrap();
        for parked in [
            ItemId::Resource(ResourceKey::user(id("u:1"))),
            ItemId::Resource(ResourceKey::group(id("member:2"))),
            ItemId::Member { group: id("g:1:ü"), user: id("u:2") },
        ] {
            assert_eq!(parked.to_string().parse(), Ok(parked));
        }
        for text in ["", "user", "user:", "member:9:g:u", "member:1:gu", "member:-1:g:u", "role:x"] {
            assert_eq!(text.parse::<ItemId>(), Err(()), "{text}");
        }
    }
}

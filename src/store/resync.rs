//! What a resync keeps: its record, what it has seen at the vendor, and what it has found.

use async_trait::async_trait;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::{Dossier, Page, StoreError, Tenure};

/// The part of a store that resyncs use. Every method is one transaction.
#[async_trait]
pub trait Resyncs: Send + Sync {
    /// Keeps a new resync; false where one of the same target has not ended. The ledger says whose it is.
    async fn begin_resync(&self, new: &NewResync) -> Result<bool, StoreError>;

    /// One resync.
    async fn resync(&self, id: &str) -> Result<Option<ResyncRecord>, StoreError>;

    /// A target's resyncs, newest first.
    async fn resyncs(&self, target: &str, limit: usize) -> Result<Vec<ResyncRecord>, StoreError>;

    /// Asks a resync to end, and says in the ledger who did; false where it has ended, or never was.
    async fn cancel_resync(&self, id: &str, actor: &str, now: Timestamp) -> Result<bool, StoreError>;

    /// Keeps what one step has brought, and how far the resync is.
    async fn keep_resync(&self, id: &str, step: Step, body: &Value) -> Result<Kept, StoreError>;

    /// Ends a resync. What it has seen stays until [`forget_resyncs`](Self::forget_resyncs).
    async fn end_resync(&self, id: &str, body: &Value) -> Result<(), StoreError>;

    /// Deletes what the target's ended resyncs have seen, but not what they have found, and of these resyncs
    /// all but the newest `keep`. What was begun and not finished is finished by the next call.
    async fn forget_resyncs(&self, target: &str, keep: usize) -> Result<(), StoreError>;

    /// Rows of one part in the order of their names.
    async fn resync_rows(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ResyncRow>, StoreError>;

    /// Names of one part's rows that no resource of ours has, in order: of the next `limit` rows, so that a
    /// page may be empty and yet not the last.
    async fn resync_unclaimed(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, StoreError>;

    /// For each probe, the rows that it meets, and which of ours is linked to each.
    async fn resync_like(
        &self,
        id: &str,
        part: Part,
        probes: &[Probe],
    ) -> Result<Vec<Vec<ResyncRow>>, StoreError>;

    /// The directory's resources of one kind in the order of their ids, as planning knows them but for
    /// memberships; groups that the target derives are among them.
    async fn expected(
        &self,
        target: &str,
        kind: Kind,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<Expected>, StoreError>;

    /// Those of these resources that the directory knows, in the order of their ids, as [`Self::expected`]
    /// tells them.
    async fn expected_among(
        &self,
        target: &str,
        kind: Kind,
        ids: &[ExternalId],
    ) -> Result<Vec<Expected>, StoreError>;

    /// A group's membership rows in the order of their users.
    async fn expected_members(
        &self,
        target: &str,
        group: &ExternalId,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<ExpectedMember>, StoreError>;

    /// How many resources of a kind are linked, and how many the directory holds: tombstones left out.
    async fn expected_counts(&self, target: &str, kind: Kind) -> Result<(u64, u64), StoreError>;

    /// Makes drifted resources due: users without access in the lane of leavers, all else in that of a
    /// target that catches up; what is more urgent stays so.
    async fn mark_drifted(
        &self,
        tenure: &Tenure,
        marks: &[DriftMark],
        now: Timestamp,
    ) -> Result<(), StoreError>;
}

/// A resync that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub struct NewResync {
    /// Its name.
    pub id: String,
    /// The target.
    pub target: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked; `None` where the configuration did.
    pub by: Option<String>,
    /// What is wanted, and how far it is.
    pub body: Value,
}

/// A resync as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ResyncRecord {
    /// Its name.
    pub id: String,
    /// The target.
    pub target: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// Whether it is over.
    pub ended: bool,
    /// Whether somebody wants it to end.
    pub cancelled: bool,
    /// What is wanted, and how far it is.
    pub body: Value,
}

/// Sorts of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A user that was seen at the vendor, named by the vendor's id.
    User,
    /// A group, likewise.
    Group,
    /// What was found.
    Finding,
}

impl Part {
    /// As stored.
    pub const fn number(self) -> i16 {
        match self {
            Self::User => 0,
            Self::Group => 1,
            Self::Finding => 2,
        }
    }

    /// Where vendor's resources of this kind are kept.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Group => Self::Group,
        }
    }

    /// The kind of the vendor's resources in it.
    pub const fn kind(self) -> Option<Kind> {
        match self {
            Self::User => Some(Kind::User),
            Self::Group => Some(Kind::Group),
            Self::Finding => None,
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct ResyncRow {
    /// Its part.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// The `externalId` that a vendor's resource bears.
    pub external_id: Option<String>,
    /// The value by which it is known otherwise, lower-case.
    pub match_value: Option<String>,
    /// Whether some resource of ours has it.
    pub claimed: bool,
    /// Which resource of ours is linked to it: known in answers to probes alone.
    pub holder: Option<ExternalId>,
    /// All else.
    pub body: Value,
}

/// What one step of a resync brings. The default brings nothing but how far it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Parts whose rows are forgotten, before any are kept.
    pub forgotten: Vec<Part>,
    /// Rows, which replace those of the same part and name.
    pub rows: Vec<ResyncRow>,
    /// Rows kept before that some resource of ours turned out to have, by part and name.
    pub claimed: Vec<(Part, String)>,
}

impl Step {
    /// Rows alone.
    pub fn rows(rows: Vec<ResyncRow>) -> Self {
        Self { rows, ..Self::default() }
    }
}

/// Of rows as they were looked at, with whether they are claimed: names of those that are not.
pub(super) fn unclaimed(page: Page<(String, bool)>) -> Page<String> {
    let free = page.items.into_iter().filter(|(_, claimed)| !claimed);
    Page { items: free.map(|(name, _)| name).collect(), next: page.next }
}

/// What a row may be known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// Its name.
    pub name: Option<String>,
    /// The external id.
    pub external_id: Option<String>,
    /// The match value, lower-case.
    pub match_value: Option<String>,
}

/// What came of keeping rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Rows that were not there before.
    pub fresh: u64,
    /// Whether somebody wants the resync to end.
    pub cancelled: bool,
}

/// What should be of one resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// All that planning needs; a group comes without memberships.
    pub dossier: Dossier,
    /// Whether it is to be sent anyway.
    pub pending: bool,
}

/// One membership as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedMember {
    /// The user.
    pub user: ExternalId,
    /// Whether it belongs to the group.
    pub present: bool,
    /// The user at the vendor, where it is linked.
    pub vendor_id: Option<String>,
}

/// A drifted resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftMark {
    /// The resource.
    pub key: ResourceKey,
    /// The vendor's resource to which it is linked from now on.
    pub link: Option<String>,
    /// Whether the vendor's resource is read before anything is sent, since it is not what was applied.
    pub reread: bool,
    /// For a group: users whose membership is sent once more.
    pub members: Vec<ExternalId>,
}

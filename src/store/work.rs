//! What is to do: work rows, what planning one needs, and what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{AttributePath, DirectoryName, ExternalId, Group, ResourceKey, User};
use crate::scim::etag::ETag;

/// How urgent work is. The order is the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Somebody's access ends: a user is inactive or deleted. Strictly first.
    Deprovision,
    /// A group loses members.
    Revoke,
    /// Users are created or changed.
    Change,
    /// Groups change or gain members.
    Membership,
    /// A new target catches up, or a resync mends drift.
    Backfill,
}

impl Lane {
    /// Every lane, most urgent first.
    pub const ALL: [Self; 5] =
        [Self::Deprovision, Self::Revoke, Self::Change, Self::Membership, Self::Backfill];

    /// The lower-case word, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deprovision => "deprovision",
            Self::Revoke => "revoke",
            Self::Change => "change",
            Self::Membership => "membership",
            Self::Backfill => "backfill",
        }
    }

    /// The lane that [`as_str`](Self::as_str) names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == word)
    }

    /// Where a user's work belongs, from what is desired now: it replaces the lane it had, so that a
    /// user who came back does not stay in the leavers' lane.
    pub fn of_user(user: &User) -> Self {
        if user.has_access() { Self::Change } else { Self::Deprovision }
    }

    /// Where a group's work belongs; of this and the lane it has already, the more urgent holds.
    pub const fn of_group(removals: bool) -> Self {
        if removals { Self::Revoke } else { Self::Membership }
    }
}

/// A target as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetRecord {
    /// The directory it follows.
    pub directory: DirectoryName,
    /// Running, paused or suspended.
    pub state: TargetState,
    /// What was learned of its limits, and its breaker's state.
    pub memory: Value,
}

/// Whether a target is worked on, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum TargetState {
    /// Work is sent.
    Running,
    /// An administrator stopped it.
    Paused {
        /// Name of the key.
        by: String,
        /// Since when.
        since: Timestamp,
    },
    /// The vendor's fault: nothing is sent but probes, and no item is blamed.
    Suspended {
        /// What is wrong, for people; no secret and no attribute value.
        reason: String,
        /// Since when.
        since: Timestamp,
        /// What is done about it.
        #[serde(default)]
        quarantine: Quarantine,
    },
}

/// What is done about a target at fault, and what a person can do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// What would mend it, for people.
    pub mend: String,
    /// Calls since the suspension that have ended the same way, the one that led to it included.
    pub tried: u32,
    /// When the next may be made; it takes work that is due. `None` where it is not known, or under way.
    pub next_probe: Option<Timestamp>,
}

/// One row of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkItem {
    /// The resource.
    pub key: ResourceKey,
    /// Its lane.
    pub lane: Lane,
    /// The resource's generation when it was last marked.
    pub generation: u64,
    /// When the oldest change that is not applied yet was received.
    pub since: Timestamp,
    /// Failures that were charged to the item.
    pub attempts: u32,
    /// When it last failed.
    pub failed_at: Option<Timestamp>,
    /// A call whose outcome is not known.
    pub intent: Option<Intent>,
}

impl WorkItem {
    /// One that nobody has asked for: for those who plan without a row of work.
    pub fn unasked(key: ResourceKey, generation: u64) -> Self {
        let since = Timestamp::default();
        Self { key, lane: Lane::Backfill, generation, since, attempts: 0, failed_at: None, intent: None }
    }
}

/// A call that may have been sent, of which a later pass must know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What was about to be sent: `create`; [`LOOK`](Self::LOOK); or `doubt` where it was sent.
    pub operation: String,
    /// When.
    pub at: Timestamp,
}

impl Intent {
    /// Nothing was sent, but a person wants the vendor asked before anything is concluded.
    pub const LOOK: &'static str = "look";

    /// A change was sent, and nothing is known of what became of it.
    pub fn doubt(at: Timestamp) -> Self {
        Self { operation: Self::DOUBT.to_owned(), at }
    }

    const DOUBT: &'static str = "doubt";

    fn is_doubt(&self) -> bool {
        self.operation == Self::DOUBT
    }
}

/// All that planning one resource needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Dossier {
    /// The work row.
    pub item: WorkItem,
    /// What should be.
    pub desired: Desired,
    /// What is known of the vendor's side; `None` before the first look.
    pub link: Option<Link>,
}

impl Dossier {
    /// Whether a call of which no outcome was recorded may have left the vendor with something that has
    /// been taken back since, so that what was applied last says nothing of what is there now.
    ///
    /// Nothing is noted of a change before it is sent: repeated, it does no harm. But if somebody is
    /// deactivated, the replica dies with the call in flight, and they are activated again, then what is
    /// desired is what was applied, and only a look shows that the vendor has something else. That takes
    /// two generations since the last that was applied. Work that has failed, or waits since before
    /// `began_at`, when the tenure began, is work of which such a call may have been made.
    pub fn may_hide_a_call(&self, began_at: Timestamp) -> bool {
        let Some(Link::Known(row)) = &self.link else { return false };
        let item = &self.item;
        let doubted = item.intent.as_ref().is_some_and(Intent::is_doubt);
        let unrecorded = doubted || item.failed_at.is_some() || item.since < began_at;
        unrecorded && item.generation >= row.synced_generation.saturating_add(2)
    }
}

/// What should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Desired {
    /// A user.
    User {
        /// The directory's row; default where the directory knows only the id.
        user: User,
        /// Other users that its attributes refer to (the manager), as the vendor knows them.
        references: BTreeMap<ExternalId, MemberStanding>,
    },
    /// A group.
    Group {
        /// The directory's row; default where the directory knows only the id.
        group: Group,
        /// Membership rows that the vendor has not been told: those past the link's watermark in
        /// order of sequence, after those that waited for their user, who is linked now, and are not
        /// parked.
        deltas: Vec<MemberDelta>,
        /// Whether more deltas wait than were asked for.
        more: bool,
    },
}

/// One membership that the vendor has not been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDelta {
    /// The user.
    pub user: ExternalId,
    /// Whether it belongs to the group.
    pub present: bool,
    /// The row's sequence.
    pub sequence: u64,
    /// The user at the vendor.
    pub standing: MemberStanding,
    /// Whether the row lies before the watermark, and is due because it waited for its user or was
    /// parked and retried.
    pub waited: bool,
}

/// A user as the vendor knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberStanding {
    /// By this id.
    Linked(String),
    /// Looked for, and not there.
    Absent,
    /// Not looked for yet.
    Unknown {
        /// Whether the user's own work is pending, so that a link may come by itself soon.
        coming: bool,
    },
}

/// What a resource is at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// It was found or created.
    Known(Row),
    /// It was looked for, and not there.
    Absent {
        /// When it was looked for.
        checked_at: Timestamp,
    },
}

/// A resource at the vendor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The vendor's id.
    pub vendor_id: String,
    /// Its version as the vendor last told it, byte for byte.
    pub etag: Option<ETag>,
    /// The generation that was applied last; 0 when none was.
    pub synced_generation: u64,
    /// The sequence up to which membership rows were sent.
    pub synced_members: u64,
    /// The attributes as applied last; the base of a three-way merge.
    pub applied: BTreeMap<AttributePath, Value>,
}

/// What became of one resource's work.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The resource.
    pub key: ResourceKey,
    /// The generation that was planned for.
    pub generation: u64,
    /// What was learned of the vendor's side.
    pub link: LinkChange,
    /// For groups: how far the memberships are.
    pub members: MembersOutcome,
    /// Users that the resource waits for: its members, or its manager. Each that has neither a link
    /// nor work gets work, so that it is looked up; each that is linked already wakes the resource at once.
    pub waits_for: BTreeSet<ExternalId>,
    /// For users: whether they belong to each group that the target derives. What differs from before
    /// becomes a membership of the [derived](ExternalId::derived) group, and work for it; a group that
    /// is not named keeps its members.
    pub memberships: BTreeMap<ExternalId, bool>,
    /// What the work row becomes.
    pub work: WorkChange,
    /// One entry per call, and one for an end without a call.
    pub ledger: Vec<LedgerEntry>,
}

impl Outcome {
    /// Whether a call may have been done of which nothing is known.
    pub(in crate::store) fn leaves_doubt(&self) -> bool {
        self.ledger.iter().any(|entry| entry.result == "unknown")
    }
}

/// What was learned of the vendor's side.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkChange {
    /// Nothing.
    Keep,
    /// This.
    Set(Link),
    /// What was known is wrong; look again.
    Forget,
}

/// How far a group's memberships are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersOutcome {
    /// Waits that are over: the vendor has been told, or there is nothing to tell.
    pub settled: BTreeSet<ExternalId>,
    /// Members that the vendor refused.
    pub parked: Vec<ParkedMember>,
    /// Members whose removal waits for a person's decision.
    pub held: BTreeSet<ExternalId>,
}

/// A member that the vendor refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMember {
    /// The user.
    pub user: ExternalId,
    /// The vendor's reason, without attribute values.
    pub reason: String,
}

/// What a work row becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkChange {
    /// Done, unless the resource has moved past the planned generation.
    Finish,
    /// More of it is due now (further chunks).
    Continue,
    /// Due again later. Attempts are set to this.
    Retry {
        /// When.
        due: Timestamp,
        /// Failures charged so far.
        attempts: u32,
        /// Why, for people.
        reason: String,
        /// When it failed; `None` when it only waits (debounce) and did not fail.
        failed_at: Option<Timestamp>,
    },
    /// Not enough is known (or the vendor does not know it): looked at again at `due` and whenever
    /// the resource changes; not counted as pending.
    Wait {
        /// When to look again.
        due: Timestamp,
        /// For what, for people.
        reason: String,
    },
    /// A person must decide about a destructive change. Where that was done meanwhile, the row is due.
    Hold {
        /// What waits, for people.
        reason: String,
    },
    /// A person must look.
    Park {
        /// The vendor's reason or ours, without attribute values.
        reason: String,
    },
}

/// What one call, or one decision without a call, was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// When it ended.
    pub at: Timestamp,
    /// `lookup`, `fetch`, `create`, `update`, `deactivate`, `activate`, `delete`, `members`, `none`.
    pub operation: &'static str,
    /// The HTTP method and endpoint without ids, such as `PATCH Users/{id}`; `None` without a call.
    pub call: Option<String>,
    /// The HTTP status; `None` without an answer.
    pub status: Option<u16>,
    /// `applied`, `already_in_place`, `found`, `not_found`, `stale`, `conflict`, `refused`, `throttled`,
    /// `transient`, `not_sent`, `unknown`, `target_fault`, `out_of_scope`, `waiting`, `parked`, `discarded`,
    /// `held`, `approved`, `rejected`, `protected`, `ordered` (a person wants it done now), `retried`; of the
    /// target itself: `paused`, `resumed`, `resync_ordered`, `resync_cancelled`.
    pub result: &'static str,
    /// The version sent as If-Match.
    pub etag_before: Option<String>,
    /// The version that the vendor answered.
    pub etag_after: Option<String>,
    /// Duration of the call in microseconds.
    pub elapsed_us: Option<u64>,
    /// The vendor's reason, without attribute values; at most 500 characters.
    pub detail: Option<String>,
    /// Name of the key whose holder wanted it; `None` where the relay did it by itself.
    pub actor: Option<String>,
}

impl LedgerEntry {
    /// A decision that took no call.
    pub fn without_call(
        at: Timestamp,
        operation: &'static str,
        result: &'static str,
        detail: Option<String>,
    ) -> Self {
        Self {
            at,
            operation,
            call: None,
            status: None,
            result,
            etag_before: None,
            etag_after: None,
            elapsed_us: None,
            detail,
            actor: None,
        }
    }

    /// What a person did by hand.
    pub fn by_hand(at: Timestamp, result: &'static str, actor: &str, detail: String) -> Self {
        Self { actor: Some(actor.to_owned()), ..Self::without_call(at, "none", result, Some(detail)) }
    }

    /// What a person did to a target itself by setting its state.
    pub fn state_set(at: Timestamp, state: &TargetState, actor: &str) -> Self {
        let result = match state {
            TargetState::Running => "resumed",
            TargetState::Paused { .. } => "paused",
            TargetState::Suspended { .. } => "suspended",
        };
        Self::by_hand(at, result, actor, format!("by {actor}"))
    }
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// For each row finished: its lane, and the time from the oldest received change to now.
    pub converged: Vec<(Lane, Duration)>,
    /// Whether rows of this target have become due (waits ended, rows moved on).
    pub woken: bool,
}

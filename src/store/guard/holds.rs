//! Holds: what waits for a person, and what was decided.

use crate::clock::Timestamp;
use crate::store::ItemId;

/// Destructive changes of one target that wait for a person together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The relay's number.
    pub id: u64,
    /// The target.
    pub target: String,
    /// Whether it waits still.
    pub state: HoldState,
    /// Why it was opened, for people.
    pub reason: String,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it counts as expired.
    pub expires_at: Timestamp,
    /// When the last of its items was decided or came to nothing.
    pub closed_at: Option<Timestamp>,
    /// Items that wait.
    pub held: u64,
    /// Items that were approved.
    pub approved: u64,
    /// Items that were rejected.
    pub rejected: u64,
    /// Items that came to nothing, since something newer was said.
    pub withdrawn: u64,
    /// Sequence of the last item.
    pub last_item: u64,
}

/// Whether a hold waits for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// It does.
    Open,
    /// Nobody has decided in time. Nothing of it is done until somebody does.
    Expired,
    /// No item waits, and some were approved.
    Approved,
    /// No item waits, and none was approved.
    Rejected,
    /// Every item came to nothing.
    Withdrawn,
}

impl HoldState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Open, Self::Expired, Self::Approved, Self::Rejected, Self::Withdrawn];

    /// The lower-case word, as shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The state that [`as_str`](Self::as_str) names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What became of one item of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemState {
    /// It waits.
    Held,
    /// It was approved.
    Approved,
    /// It was rejected.
    Rejected,
    /// Something newer was said, which takes nothing away.
    Withdrawn,
}

impl ItemState {
    /// Every state, in the order of the numbers that stores keep.
    pub const ALL: [Self; 4] = [Self::Held, Self::Approved, Self::Rejected, Self::Withdrawn];

    /// The lower-case word, as shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// The number that stores keep.
    pub const fn number(self) -> i16 {
        match self {
            Self::Held => 0,
            Self::Approved => 1,
            Self::Rejected => 2,
            Self::Withdrawn => 3,
        }
    }
}

/// One change that waits, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldItem {
    /// The relay's number; items of a hold are listed by it.
    pub sequence: u64,
    /// The user, the group, or the member of a group.
    pub item: ItemId,
    /// `deactivate`, `delete` or `remove`.
    pub operation: String,
    /// What became of it.
    pub state: ItemState,
    /// Since when it waits, or waited.
    pub held_at: Timestamp,
    /// When it was decided, or came to nothing.
    pub decided_at: Option<Timestamp>,
    /// Who decided.
    pub decided_by: Option<String>,
}

/// Which holds to list; `None` is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldFilter {
    /// The target.
    pub target: Option<String>,
    /// The state.
    pub state: Option<HoldState>,
}

/// What a person says to held changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldVerdict {
    /// They are sent, and not counted.
    Approve,
    /// They are not sent, until something newer is said about the resource.
    Reject,
}

impl HoldVerdict {
    /// What an item becomes, and the ledger's word for it.
    pub const fn item_state(self) -> ItemState {
        match self {
            Self::Approve => ItemState::Approved,
            Self::Reject => ItemState::Rejected,
        }
    }
}

/// A person's decision about a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The hold.
    pub hold: u64,
    /// What is said.
    pub verdict: HoldVerdict,
    /// The items that it is about; `None`: all that wait, up to `through`.
    pub items: Option<Vec<ItemId>>,
    /// The last item that the decision is about: what joined the hold later was not seen.
    pub through: u64,
    /// Who decides.
    pub by: String,
    /// Why, for the ledger.
    pub reason: Option<String>,
}

impl Decision {
    /// What the ledger says of one item.
    pub fn detail(&self, item: &ItemId, operation: &str) -> String {
        let what = match item {
            ItemId::Resource(_) => operation.to_owned(),
            ItemId::Member { user, .. } => format!("{operation} member {user}"),
        };
        let said = format!("{what} of hold {}, by {}", self.hold, self.by);
        match &self.reason {
            Some(reason) => format!("{said}: {reason}"),
            None => said,
        }
    }
}

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Items that were decided by this call.
    pub items: u64,
    /// Whether the decision is about more items than one call takes.
    pub more: bool,
}

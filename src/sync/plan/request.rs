//! The words of planning: what to send, what to do next, how it ends.

use std::borrow::Cow;

use serde_json::Value;

use crate::scim::etag::ETag;
use crate::scim::patch::PatchOp;
use crate::target::verdict::Mend;

/// One call that planning wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Who is known by one of these (attribute, value) pairs?
    Lookup {
        /// The pairs; more than one only where the vendor supports `or`.
        matchers: Vec<(String, String)>,
    },
    /// What is there now?
    Fetch {
        /// The vendor's id.
        id: String,
    },
    /// Is this one ours, of which somebody else has said so?
    Inspect {
        /// The vendor's id.
        id: String,
        /// Who has said it.
        told_by: Teller,
    },
    /// Who is in the group, from this 1-based index on?
    MemberPage {
        /// The vendor's id of the group.
        id: String,
        /// Where the page begins.
        start: u64,
    },
    /// Is this user in the group?
    IsMember {
        /// The vendor's id of the group.
        id: String,
        /// The vendor's id of the user.
        member: String,
    },
    /// POST.
    Create {
        /// The whole resource.
        resource: Value,
    },
    /// PATCH of attributes.
    Update {
        /// The vendor's id.
        id: String,
        /// The least operations.
        ops: Vec<PatchOp>,
        /// The version that the operations were planned against.
        if_match: Option<ETag>,
        /// What the operations amount to.
        purpose: Purpose,
    },
    /// PUT of the merged whole, where PATCH is not supported.
    Put {
        /// The vendor's id.
        id: String,
        /// The resource as read, with ours merged in.
        resource: Value,
        /// The version that was read.
        if_match: Option<ETag>,
        /// What the difference amounts to.
        purpose: Purpose,
    },
    /// PATCH of a group's members.
    Members {
        /// The vendor's id of the group.
        id: String,
        /// Vendor ids of users who join.
        adds: Vec<String>,
        /// Vendor ids of users who leave.
        removes: Vec<String>,
        /// The version that the delta was planned against.
        if_match: Option<ETag>,
    },
    /// DELETE.
    Delete {
        /// The vendor's id.
        id: String,
        /// The version that was known.
        if_match: Option<ETag>,
    },
}

/// Who has said which of the vendor's resources is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The vendor, when it refused a creation: it is believed no more than a look-up.
    Vendor,
    /// The administrator, in the map of ids: it is believed without a value that matches.
    IdMap,
}

/// What an update amounts to, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Attributes change.
    Update,
    /// Access begins (again).
    Activate,
    /// Access ends.
    Deactivate,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this.
    Send(Request),
    /// Say, with [`Pass::holder_is`](super::Pass::holder_is), which of our resources is linked to this vendor id.
    AskHolder {
        /// The vendor's id of a resource that matches, but does not bear our external id.
        vendor_id: String,
    },
    /// Say, with [`Pass::strangers_are`](super::Pass::strangers_are), who of these is no member by the directory.
    AskStrangers {
        /// The vendor's ids of users who are in the group.
        vendor_ids: Vec<String>,
    },
    /// Nothing more; see [`Pass::findings`](super::Pass::findings).
    Settled,
}

/// What an answer means beyond this resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Ask [`Pass::next`](super::Pass::next).
    Continue,
    /// The vendor asked us to wait: ask again when the target is ready; nobody is to blame.
    Throttled,
    /// Leave the resource alone for a while.
    Later {
        /// Why, for people.
        reason: String,
        /// Whose turn it is to be patient.
        cause: LaterCause,
    },
    /// The target is at fault: suspend it, blame no resource.
    TargetFault {
        /// What is wrong, for people.
        reason: String,
        /// What would mend it.
        mend: Mend,
    },
}

impl Request {
    /// The ledger's word for it where it takes somebody's account or access away, or a group.
    pub const fn ends_access(&self) -> Option<&'static str> {
        match self {
            Self::Delete { .. } => Some("delete"),
            Self::Update { purpose: Purpose::Deactivate, .. }
            | Self::Put { purpose: Purpose::Deactivate, .. } => Some("deactivate"),
            Self::Update { purpose: Purpose::Update | Purpose::Activate, .. }
            | Self::Put { purpose: Purpose::Update | Purpose::Activate, .. }
            | Self::Members { .. }
            | Self::Create { .. }
            | Self::Lookup { .. }
            | Self::Fetch { .. }
            | Self::Inspect { .. }
            | Self::MemberPage { .. }
            | Self::IsMember { .. } => None,
        }
    }
}

/// Why a resource is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterCause {
    /// No answer, or a transient one.
    Transient,
    /// Another resource is in the way, perhaps not for long.
    Conflict,
}

/// How a pass has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The vendor is as desired, or there is nothing to say to it.
    Done,
    /// Something outside must happen first.
    Wait {
        /// What, for people.
        reason: Cow<'static, str>,
    },
    /// More users of this group are about to be linked; one call later saves many.
    Gather,
    /// A person must look.
    Park {
        /// Why, for people.
        reason: String,
    },
}

//! One (group, user) pair: whether the user belongs, and who said so last.

use crate::directory::Version;

/// The row of one (group, user) pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Whether the user belongs to the group.
    pub present: bool,
    /// The last writer: an explicit change, or the deletion or `set` that removed the user.
    pub version: Version,
    /// The group's [`member_sequence`](crate::directory::Group::member_sequence) when `present` last changed.
    pub sequence: u64,
}

//! What should be: users, groups and memberships as the identity providers last described them.
//!
//! Everything here is pure. A source turns a webhook into [`Change`]s; [`merge()`] folds changes into
//! a [`Snapshot`] of the rows they touch; the store loads that snapshot and writes it back. Merging
//! is last-writer-wins per attribute, per existence and per (group, user), so that any permutation,
//! repetition and batching of the same events leads to the same directory.

mod attributes;
mod change;
mod group;
mod membership;
mod merge;
mod register;
mod snapshot;
mod user;
mod version;

pub use attributes::{AttributeError, AttributePath, Attributes, assemble, parse_attributes};
pub use change::{Change, ExternalId, ExternalIdError, Kind, MembersEdit, Operation, ResourceKey};
pub use group::Group;
pub use membership::Membership;
pub use merge::{Effect, MergeOutcome, VersionedChange, merge};
pub use register::{Existence, Register, Registers};
pub use snapshot::{Needs, Snapshot, Touched, TouchedGroup};
pub use user::User;
pub use version::Version;

/// The name of a directory: what sources feed and targets follow.
pub type DirectoryName = String;

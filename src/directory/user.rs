//! One user as it should be.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::directory::register::Written;
use crate::directory::{AttributePath, Attributes, Existence, Register, Registers, Version};

/// One user of a directory, tombstones included.
///
/// A user may be known by its id alone: a membership or a deactivation may come before, or without,
/// the upsert that describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Counts the changes of what is desired; a target that has applied generation *g* is behind
    /// when this is greater.
    #[serde(skip)]
    pub generation: u64,
    /// Whether the source says that the user exists; `None` while only its id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existence: Option<Register<Existence>>,
    /// The latest deletion, kept when the user comes back: memberships from before it stay gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Version>,
    /// What the source says of the user.
    #[serde(default)]
    pub attributes: Registers,
}

impl User {
    /// The unit that holds whether a user may sign in.
    pub const ACTIVE: &str = "active";

    /// Whether the source says that the user is gone.
    pub fn is_deleted(&self) -> bool {
        self.existence.as_ref().is_some_and(|register| register.value == Existence::Deleted)
    }

    /// What deleted the user, if it is gone now.
    pub fn gone_since(&self) -> Option<&Version> {
        self.deleted_at.as_ref().filter(|_| self.is_deleted())
    }

    /// Whether an upsert has described the user, and no later deletion took that back.
    pub fn is_described(&self) -> bool {
        self.existence.as_ref().is_some_and(|register| register.value == Existence::Present)
    }

    /// Whether the user may have access: neither deleted nor said to be inactive.
    pub fn has_access(&self) -> bool {
        !self.is_deleted()
            && self.attributes.shown(&AttributePath::new(Self::ACTIVE)) != Some(&Value::Bool(false))
    }

    pub(super) fn upsert(&mut self, attributes: &Attributes, version: &Version) -> Written {
        let mut written = Register::write(&mut self.existence, Existence::Present, version);
        for (path, value) in attributes.iter() {
            written = strongest(written, self.attributes.write(path, value.clone(), version));
        }
        written
    }

    pub(super) fn deactivate(&mut self, version: &Version) -> Written {
        self.attributes.write(&AttributePath::new(Self::ACTIVE), Value::Bool(false), version)
    }

    pub(super) fn delete(&mut self, version: &Version) -> Written {
        delete(&mut self.existence, &mut self.deleted_at, version)
    }
}

/// Marks a resource as deleted and remembers the latest deletion.
pub(super) fn delete(
    existence: &mut Option<Register<Existence>>,
    deleted_at: &mut Option<Version>,
    version: &Version,
) -> Written {
    if deleted_at.as_ref().is_none_or(|held| held < version) {
        *deleted_at = Some(version.clone());
    }
    Register::write(existence, Existence::Deleted, version)
}

/// Of the effects of one change's parts, the one that says most.
pub(super) fn strongest(a: Written, b: Written) -> Written {
    match (a, b) {
        (Written::Changed, _) | (_, Written::Changed) => Written::Changed,
        (Written::Same, _) | (_, Written::Same) => Written::Same,
        (Written::Older, Written::Older) => Written::Older,
    }
}

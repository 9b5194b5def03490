//! One group as it should be, without its members.

use serde::{Deserialize, Serialize};

use crate::directory::register::Written;
use crate::directory::user::{delete, strongest};
use crate::directory::{AttributePath, Attributes, Existence, Register, Registers, Version};

/// One group of a directory, tombstones included. Its members are rows of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Counts the changes of what is desired, those of the members included.
    #[serde(skip)]
    pub generation: u64,
    /// Numbers the changes of membership rows, so that a target knows up to which it has sent them.
    #[serde(skip)]
    pub member_sequence: u64,
    /// Whether the source says that the group exists; `None` while only its id is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existence: Option<Register<Existence>>,
    /// The latest deletion, kept when the group comes back: memberships from before it stay gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Version>,
    /// The latest statement of the whole membership: rows written before it count as removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_set_at: Option<Version>,
    /// What the source says of the group.
    #[serde(default)]
    pub attributes: Registers,
}

impl Group {
    /// A group that exists and has this name: one that no source speaks of.
    pub fn named(name: &str, version: &Version) -> Self {
        let mut group = Self::default();
        Register::write(&mut group.existence, Existence::Present, version);
        group.attributes.write(&AttributePath::new("displayName"), name.into(), version);
        group
    }

    /// Whether the source says that the group is gone.
    pub fn is_deleted(&self) -> bool {
        self.existence.as_ref().is_some_and(|register| register.value == Existence::Deleted)
    }

    /// What deleted the group, if it is gone now.
    pub fn gone_since(&self) -> Option<&Version> {
        self.deleted_at.as_ref().filter(|_| self.is_deleted())
    }

    /// Whether an upsert has described the group, and no later deletion took that back.
    pub fn is_described(&self) -> bool {
        self.existence.as_ref().is_some_and(|register| register.value == Existence::Present)
    }

    /// Memberships written before this are gone, whatever they said.
    pub(super) fn members_floor(&self) -> Option<&Version> {
        self.deleted_at.as_ref().max(self.members_set_at.as_ref())
    }

    pub(super) fn upsert(&mut self, attributes: &Attributes, version: &Version) -> Written {
        let mut written = Register::write(&mut self.existence, Existence::Present, version);
        for (path, value) in attributes.iter() {
            written = strongest(written, self.attributes.write(path, value.clone(), version));
        }
        written
    }

    pub(super) fn delete(&mut self, version: &Version) -> Written {
        delete(&mut self.existence, &mut self.deleted_at, version)
    }
}

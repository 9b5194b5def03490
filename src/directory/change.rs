//! What a source says has changed, in the relay's own words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::directory::Attributes;

/// The two kinds of resource that a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person or service account (RFC 7643 section 4.1).
    User,
    /// A group (RFC 7643 section 4.2).
    Group,
}

impl Kind {
    /// The lower-case word, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    /// The kind that [`as_str`](Self::as_str) names.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Self::User),
            "group" => Some(Self::Group),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The source's immutable id of a user or group: compared byte for byte, never interpreted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExternalId(String);

impl ExternalId {
    /// Longest id that is accepted, in bytes.
    pub const MAX_BYTES: usize = 512;

    /// Accepts 1 to [`MAX_BYTES`](Self::MAX_BYTES) bytes without control characters.
    pub fn parse(raw: impl Into<String>) -> Result<Self, ExternalIdError> {
        let id = raw.into();
        if id.is_empty() {
            return Err(ExternalIdError::Empty);
        }
        if id.len() > Self::MAX_BYTES {
            return Err(ExternalIdError::TooLong { bytes: id.len() });
        }
        if id.chars().any(char::is_control) {
            return Err(ExternalIdError::ControlCharacter);
        }
        Ok(Self(id))
    }

    /// What the id of a group begins with that a target derives from attributes. No source may name a
    /// group so.
    const DERIVED: &str = "derived:";

    /// The id of the derived group of this name.
    pub fn derived(name: &str) -> Result<Self, ExternalIdError> {
        Self::parse(format!("{}{name}", Self::DERIVED))
    }

    /// The name of the derived group whose id this is; `None` for any other id.
    pub fn derived_name(&self) -> Option<&str> {
        self.0.strip_prefix(Self::DERIVED)
    }

    /// The id as the source sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ExternalId {
    type Error = ExternalIdError;

    fn try_from(raw: String) -> Result<Self, Self::Error> {
        Self::parse(raw)
    }
}

impl From<ExternalId> for String {
    fn from(id: ExternalId) -> Self {
        id.0
    }
}

/// Which rule an id broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalIdError {
    /// Nothing between the quotes.
    #[error("id is empty")]
    Empty,
    /// Over [`ExternalId::MAX_BYTES`].
    #[error("id is {bytes} bytes long, over {}", ExternalId::MAX_BYTES)]
    TooLong {
        /// Length that was sent.
        bytes: usize,
    },
    /// A line break, NUL or the like.
    #[error("id holds a control character")]
    ControlCharacter,
}

/// One resource of one directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceKey {
    /// User or group.
    pub kind: Kind,
    /// The source's id.
    pub id: ExternalId,
}

impl ResourceKey {
    /// The key of a user.
    pub const fn user(id: ExternalId) -> Self {
        Self { kind: Kind::User, id }
    }

    /// The key of a group.
    pub const fn group(id: ExternalId) -> Self {
        Self { kind: Kind::Group, id }
    }

    /// Whether this is a group that a target derives from attributes: no directory has it.
    pub fn is_derived(&self) -> bool {
        self.kind == Kind::Group && self.id.derived_name().is_some()
    }
}

/// One normalised change, as every source format yields it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The sender's time of the change; `None` means the time of receipt.
    pub occurred_at: Option<Timestamp>,
    /// What changed.
    pub operation: Operation,
}

/// What changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// The user exists and has these attributes; those not named stay as they are.
    UserUpsert {
        /// The user.
        id: ExternalId,
        /// Values to set, and attributes to remove.
        attributes: Attributes,
    },
    /// The user's access ends; the user stays known.
    UserDeactivate {
        /// The user.
        id: ExternalId,
    },
    /// The user is gone, and with it every membership it had until then.
    UserDelete {
        /// The user.
        id: ExternalId,
    },
    /// The group exists and has these attributes; those not named stay as they are.
    GroupUpsert {
        /// The group.
        id: ExternalId,
        /// Values to set, and attributes to remove.
        attributes: Attributes,
    },
    /// The group is gone, and with it every membership it had until then.
    GroupDelete {
        /// The group.
        id: ExternalId,
    },
    /// Who belongs to the group.
    GroupMembers {
        /// The group.
        id: ExternalId,
        /// The difference, or the whole.
        edit: MembersEdit,
    },
}

/// A change of a group's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembersEdit {
    /// Users who join and users who leave.
    Delta {
        /// Users who join.
        add: Vec<ExternalId>,
        /// Users who leave.
        remove: Vec<ExternalId>,
    },
    /// Exactly these users, and nobody else who was known until then.
    Set(Vec<ExternalId>),
}

impl Operation {
    /// The resource that the operation is about.
    pub fn key(&self) -> ResourceKey {
        match self {
            Self::UserUpsert { id, .. } | Self::UserDeactivate { id } | Self::UserDelete { id } => {
                ResourceKey::user(id.clone())
            }
            Self::GroupUpsert { id, .. } | Self::GroupDelete { id } | Self::GroupMembers { id, .. } => {
                ResourceKey::group(id.clone())
            }
        }
    }

    /// The operation's name in the native format, as shown in reports.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UserUpsert { .. } => "user.upsert",
            Self::UserDeactivate { .. } => "user.deactivate",
            Self::UserDelete { .. } => "user.delete",
            Self::GroupUpsert { .. } => "group.upsert",
            Self::GroupDelete { .. } => "group.delete",
            Self::GroupMembers { .. } => "group.members",
        }
    }

    /// Whether the operation ends somebody's access, so that it must not wait behind others.
    pub fn ends_access(&self) -> bool {
        match self {
            Self::UserDeactivate { .. } | Self::UserDelete { .. } => true,
            Self::UserUpsert { attributes, .. } => attributes.deactivates(),
            Self::GroupUpsert { .. } | Self::GroupDelete { .. } | Self::GroupMembers { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_printable() {
        for (raw, expected) in [
            ("", Err(ExternalIdError::Empty)),
            ("u\n1", Err(ExternalIdError::ControlCharacter)),
            ("u\u{0}1", Err(ExternalIdError::ControlCharacter)),
        ] {
            assert_eq!(ExternalId::parse(raw).map(|_| ()), expected, "{raw:?}");
        }
        assert_eq!(ExternalId::parse("x".repeat(513)), Err(ExternalIdError::TooLong { bytes: 513 }));
        assert_eq!(ExternalId::parse("Ünï/ç?&=\"'").unwrap().as_str(), "Ünï/ç?&=\"'");
    }
}

//! Where a vendor's directory is not what it should be. Pure: two sides in, findings out.

mod members;
mod resource;

use serde::{Deserialize, Serialize};

use crate::directory::{ExternalId, Kind};

pub use members::members;
pub use resource::{Candidate, Compared, Ours, resource};

/// What is wrong with a resource or a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// It should be at the vendor, and is not.
    Missing,
    /// It is at the vendor, and the directory says that it is gone.
    Extra,
    /// It is there, and some of what the relay owns differs.
    Differs,
    /// It is at the vendor, and the directory knows nothing of it. It stays.
    Unmanaged,
    /// Several at the vendor match one of the directory's.
    Duplicate,
    /// It is there, and would be linked.
    Unlinked,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 6] =
        [Self::Missing, Self::Extra, Self::Differs, Self::Unmanaged, Self::Duplicate, Self::Unlinked];

    /// The lower-case word, as stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Differs => "differs",
            Self::Unmanaged => "unmanaged",
            Self::Duplicate => "duplicate",
            Self::Unlinked => "unlinked",
        }
    }

    /// Whether the relay can put it right by itself.
    pub const fn can_be_mended(self) -> bool {
        match self {
            Self::Missing | Self::Extra | Self::Differs | Self::Unlinked => true,
            Self::Unmanaged | Self::Duplicate => false,
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub class: Class,
    /// Of which kind the resource is.
    pub kind: Kind,
    /// The directory's id of it; absent where the directory does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ExternalId>,
    /// The vendor's id of it; absent where the vendor does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_id: Option<String>,
    /// Where a membership of this group differs, and not the group: whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
    /// The attributes that differ, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// By which attribute an unlinked resource was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_by: Option<String>,
    /// Whether the relay has work to do on it anyway, so that the difference may go by itself.
    #[serde(default)]
    pub pending: bool,
    /// The mail address, for people who read the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The department, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<String>,
}

/// One side or both of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The directory's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ExternalId>,
    /// The vendor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_id: Option<String>,
}

impl Finding {
    /// With nothing but its class and the resource.
    pub const fn new(class: Class, kind: Kind, id: Option<ExternalId>, vendor_id: Option<String>) -> Self {
        Self {
            class,
            kind,
            id,
            vendor_id,
            member: None,
            attributes: Vec::new(),
            matched_by: None,
            pending: false,
            email: None,
            department: None,
        }
    }

    /// Names it within a report, and the same difference in the next one.
    pub fn name(&self) -> String {
        let own = |id: Option<&ExternalId>, vendor: Option<&String>| match (id, vendor) {
            (Some(id), _) => format!("{}:{id}", id.as_str().len()),
            (None, Some(vendor)) => format!("vendor:{vendor}"),
            (None, None) => String::new(),
        };
        let resource = own(self.id.as_ref(), self.vendor_id.as_ref());
        let kind = self.kind.as_str();
        let class = self.class.as_str();
        match &self.member {
            None if self.class == Class::Duplicate => {
                format!("{kind}/{resource}/{class}/{}", self.vendor_id.as_deref().unwrap_or_default())
            }
            None => format!("{kind}/{resource}/{class}"),
            Some(member) => {
                let member = own(member.id.as_ref(), member.vendor_id.as_ref());
                format!("member/{resource}/{member}/{class}")
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! What a vendor's server says of itself, RFC 7644 section 4: read with tolerance, trusted with none.
//!
//! | module | holds |
//! |---|---|
//! | [`features`] | `/ServiceProviderConfig` |
//! | [`resource_types`] | `/ResourceTypes` |
//! | [`schemas`] | `/Schemas` |
//! | [`pages`] | an answer taken apart: offered or not, and its resources |
//! | [`read`](mod@read) | the three documents, read through the target's stack |
//! | [`differences()`] | where the vendor and its profile disagree, and who is believed |
//!
//! A profile is believed before the vendor's own word, since servers announce what their framework
//! can do. The exception is limits that the profile does not state: there the vendor's number is the
//! only one that anybody gave. All but [`read`](mod@read) is pure.

pub mod differences;
pub mod features;
mod lenient;
pub mod pages;
mod read;
pub mod resource_types;
pub mod schemas;

use serde::{Deserialize, Serialize};

pub use differences::{Difference, InForce, differences};
pub use features::Features;
pub use read::{Reading, read};
pub use resource_types::ResourceType;
pub use schemas::Schema;

/// All that a vendor's server said of itself. What it did not say is absent, never guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Discovered {
    /// What it supports; `None` where it offers no such document.
    pub features: Option<Features>,
    /// Its kinds of resource, by name; `None` where it does not list them.
    pub resource_types: Option<Vec<ResourceType>>,
    /// Its schemas, by URN; `None` where it does not list them.
    pub schemas: Option<Vec<Schema>>,
}

impl Discovered {
    /// Whether the vendor said nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests;

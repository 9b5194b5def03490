//! What is peculiar to a vendor, as data: TOML files in `profiles/`, embedded in the binary.
//!
//! A profile says how the vendor departs from RFC 7644; what it leaves out is the RFC's way. A value
//! belongs here once a vendor's document or a measurement shows it, and `sources` says which.

mod builtin;
mod bulk;
mod defaults;
mod effective;
mod limits;
mod reads;
mod stated;
mod validate;
mod window;
mod writes;

use std::time::Duration;

use serde::Deserialize;

pub use bulk::{Bulk, BulkSupport};
pub use limits::{ClassLimits, Limits, QuotaHeaders, ResetUnit};
pub use reads::{ErrorForm, Errors, Filters, Lists};
pub use stated::Stated;
pub use window::{Cost, Resource, Scope, Shape, Unit, Verb, Window};
pub use writes::{
    AddForm, Deactivate, DeactivateEffect, Delete, DeleteMode, Groups, Members, MembersRead, OpCase, Patch,
    PatchAnswer, PathFilters, Pathless, RemoveAbsent, RemoveForm, Users,
};

use crate::scim::error::ScimType;

/// How one vendor does SCIM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its name in the configuration.
    pub name: String,
    /// How well its values are known.
    pub evidence: Evidence,
    /// Where they were read.
    pub sources: Vec<String>,
    /// When they were last checked, as YYYY-MM-DD.
    pub as_of: String,
    /// The vendor, and what is odd about it, in one line.
    #[serde(default)]
    pub summary: String,
    /// Whether it plays a text's claims and no vendor: for the sandbox, and for a target only on request.
    #[serde(default)]
    pub simulation: bool,
    /// What nothing is known of, so that the configuration must say it.
    #[serde(default)]
    pub unknown: Vec<Unknown>,
    /// Paths, media types, times.
    #[serde(default)]
    pub http: Http,
    /// What the vendor's tokens need.
    #[serde(default)]
    pub auth: AuthHints,
    /// How much it takes.
    #[serde(default)]
    pub limits: Limits,
    /// Versions.
    #[serde(default)]
    pub etag: Etags,
    /// How it says that a unique value is in use.
    #[serde(default)]
    pub conflict: Conflict,
    /// PATCH.
    #[serde(default)]
    pub patch: Patch,
    /// Members of groups.
    #[serde(default)]
    pub members: Members,
    /// Groups.
    #[serde(default)]
    pub groups: Groups,
    /// Users.
    #[serde(default)]
    pub users: Users,
    /// Deletion of users.
    #[serde(default)]
    pub delete: Delete,
    /// The end of access.
    #[serde(default)]
    pub deactivate: Deactivate,
    /// Filters.
    #[serde(default)]
    pub filter: Filters,
    /// Lists.
    #[serde(default)]
    pub list: Lists,
    /// Several operations in one request.
    #[serde(default)]
    pub bulk: Bulk,
    /// Errors.
    #[serde(default)]
    pub errors: Errors,
    /// Which of these values its text states.
    #[serde(skip)]
    pub stated: Stated,
}

/// What nothing is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// How much the vendor takes: a rate or windows must be configured.
    Limits,
}

/// How well a profile's values are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// All were seen to hold in a running service.
    Verified,
    /// All were read in the vendor's documents or source, and none was tried at the vendor.
    Documented,
    /// Some are from documents, the others are careful guesses.
    Partial,
    /// Some are from documents, the others were found by `scim-relay probe`.
    Probed,
    /// None is.
    Unverified,
}

/// Paths, media types, times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Path of the users below the base URL.
    pub users_path: String,
    /// Path of the groups below the base URL.
    pub groups_path: String,
    /// Path that answers cheaply while the service is up.
    pub probe_path: String,
    /// Media type of what is sent.
    pub content_type: String,
    /// Media types that are accepted.
    pub accept: String,
    /// Sent as `User-Agent`; absent: `scim-relay/` and the version.
    pub user_agent: Option<String>,
    /// The time one attempt may take.
    #[serde(with = "limits::duration")]
    pub timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub body_bytes_max: usize,
}

/// What the vendor's tokens need.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthHints {
    /// The token endpoint; `{…}` stands for what the configuration must fill in.
    pub token_url: Option<String>,
    /// Where client credentials go.
    pub style: CredentialStyle,
    /// The scopes or permissions without which calls are refused with 403.
    pub scopes: Vec<String>,
    /// How long before its end a token is replaced.
    #[serde(with = "limits::duration")]
    pub expiry_margin: Duration,
}

/// Where client credentials go, RFC 6749 section 2.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStyle {
    /// In the `Authorization` header.
    #[default]
    Basic,
    /// In the form.
    Body,
}

/// Versions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Etags {
    /// Whether the vendor honours `If-Match`.
    pub trust: EtagTrust,
    /// Answers besides 412 and 409 that mean "stale" to a request with `If-Match`.
    pub stale: Vec<Dialect>,
}

/// Whether the vendor honours `If-Match`. That it sends an `ETag` is no proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtagTrust {
    /// It does: a version that is known is sent.
    #[default]
    Enforced,
    /// It does not: no version is sent.
    Ignored,
}

/// An answer that means something of its own at this vendor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// The HTTP status.
    pub status: u16,
    /// The body's `scimType`; absent: any.
    pub scim_type: Option<String>,
}

impl Dialect {
    /// Whether an answer is this one.
    pub fn matches(&self, status: u16, scim_type: Option<&ScimType>) -> bool {
        let same_type = |wanted: &String| scim_type.is_some_and(|said| said == &ScimType::parse(wanted));
        self.status == status && self.scim_type.as_ref().is_none_or(same_type)
    }
}

/// How the vendor says that a unique value is in use.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conflict {
    /// Answers besides 409 and `uniqueness` that mean so.
    pub taken: Vec<Dialect>,
}

/// Why a text is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not TOML, a key that does not exist, a value of the wrong type.
    #[error("read the profile: {0}")]
    Syntax(String),
    /// A value that cannot be.
    #[error("take `{key} = {value}` from the profile: {remedy}")]
    Value {
        /// The dotted key.
        key: &'static str,
        /// What it said.
        value: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// More than one of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<Self>),
}

impl Profile {
    /// The built-in profile of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        Some(Self::parse(Self::builtin_text(name)?).expect("a test reads every built-in profile"))
    }

    /// The text of the built-in profile of this name.
    pub fn builtin_text(name: &str) -> Option<&'static str> {
        builtin::BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// The whole of a profile as TOML, with the values that it leaves to RFC 7644; what departs from
    /// those says so.
    pub fn effective(text: &str) -> Result<String, ProfileError> {
        Self::parse(text)?;
        effective::effective(text).map_err(|error| ProfileError::Syntax(error.to_string()))
    }

    /// The names of the built-in profiles, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        builtin::BUILTIN.iter().map(|(name, _)| *name)
    }

    /// Reads a profile. Unknown keys are errors, and each value is checked.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let mut profile: Self =
            toml::from_str(text).map_err(|error| ProfileError::Syntax(error.to_string()))?;
        profile.stated = Stated::of(text);
        validate::validate(&profile)?;
        Ok(profile)
    }

    /// Whether it states a value, as `table.key`, with evidence behind it.
    pub fn knows(&self, key: &str) -> bool {
        self.evidence != Evidence::Unverified && self.stated.has(key)
    }

    /// Whether a filter on users may compare this attribute.
    pub fn can_filter_users_by(&self, attribute: &str) -> bool {
        allows(&self.filter.attributes, attribute)
    }

    /// Whether a filter on groups may compare this attribute.
    pub fn can_filter_groups_by(&self, attribute: &str) -> bool {
        allows(self.filter.group_attributes.as_ref().unwrap_or(&self.filter.attributes), attribute)
    }

    /// Whether some way of ending access cannot be taken back: DELETE, or `active: false`.
    pub const fn destroys(&self, by_delete: bool) -> bool {
        let deletes = matches!(self.delete.mode, DeleteMode::Irreversible);
        self.deactivate.effect.ends_the_account() || (by_delete && deletes)
    }
}

/// Whether a list that is empty where all are meant holds an attribute.
fn allows(attributes: &[String], attribute: &str) -> bool {
    attributes.is_empty() || attributes.iter().any(|known| known.eq_ignore_ascii_case(attribute))
}

#[cfg(test)]
mod tests;

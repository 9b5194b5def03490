//! What is peculiar to a vendor, as data: TOML files in `profiles/`, embedded in the binary.
//!
//! A profile says how the vendor departs from RFC 7644; what it leaves out is the RFC's way. A value
//! belongs here once a vendor's document or a measurement shows it, and `sources` says which.

mod defaults;
mod limits;
mod stated;
mod validate;

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

pub use limits::{ClassLimits, Limits, QuotaHeaders, ResetUnit, Window};
pub use stated::Stated;

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
    /// Filters.
    #[serde(default)]
    pub filter: Filters,
    /// Lists.
    #[serde(default)]
    pub list: Lists,
    /// Which of these values its text states.
    #[serde(skip)]
    pub stated: Stated,
}

/// How well a profile's values are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// All read in the vendor's documents, or measured.
    Verified,
    /// Some of them are.
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

/// PATCH.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patch {
    /// Whether there is one; else PUT of the whole.
    pub supported: bool,
    /// Which paths may hold filters.
    pub path_filters: PathFilters,
}

/// Which paths of PATCH operations may hold filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathFilters {
    /// None.
    None,
    /// `members[…]` only.
    Members,
    /// All.
    #[default]
    Full,
}

/// Members of groups.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Members {
    /// How members are added.
    pub add_form: AddForm,
    /// How members are removed.
    pub remove_form: RemoveForm,
    /// Members that one PATCH may name.
    pub max_per_request: NonZeroU32,
    /// Members that a new group may be created with.
    pub max_per_create: u32,
    /// Whether a member carries `$ref`.
    pub send_ref: bool,
    /// Whether a member carries `type`.
    pub send_type: bool,
    /// Where members can be read.
    pub read: MembersRead,
    /// How the removal of somebody who is no member is answered.
    pub remove_absent: RemoveAbsent,
}

/// How members are added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddForm {
    /// One operation with all of them.
    #[default]
    Array,
    /// An operation for each.
    OnePerOperation,
}

/// How members are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoveForm {
    /// `members[value eq "…"]`, an operation for each: RFC 7644 section 3.5.2.2.
    #[default]
    PathFilter,
    /// `members[value eq "…" or value eq "…"]`, one operation for all.
    PathFilterOr,
    /// `members` with the members as value. Only where the vendor documents it: by the RFC's
    /// reading the same operation empties the group.
    ValueArray,
}

/// Where members can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembersRead {
    /// In the group itself.
    #[default]
    Get,
    /// Nowhere: an answer without members says nothing about the group.
    None,
}

/// How the removal of somebody who is no member is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoveAbsent {
    /// With success.
    #[default]
    Ok,
    /// With an error, so that a read must tell whether the member is gone.
    Error,
}

/// Groups.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Groups {
    /// Whether they can be created.
    pub create: bool,
    /// Whether they can be deleted.
    pub delete: bool,
    /// Whether a new one may hold members.
    pub create_with_members: bool,
    /// The attribute that finds a group that is not linked yet.
    pub match_attribute: String,
}

/// Users.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Whether they can be created.
    pub create: bool,
    /// Attributes that never go out, besides `id`, `meta` and `groups`.
    pub strip: Vec<String>,
    /// The attribute that finds a user that is not linked yet.
    pub match_attribute: String,
    /// Whether `userName` must be a mail address.
    pub username_is_email: bool,
}

/// Deletion of users.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Delete {
    /// What DELETE does.
    pub mode: DeleteMode,
}

/// What DELETE of a user does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeleteMode {
    /// The user is gone.
    #[default]
    Hard,
    /// The user is inactive.
    Deactivate,
    /// Nothing: it is refused.
    Unsupported,
}

/// Filters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// Whether `or` is understood.
    pub or: bool,
    /// Attributes that `eq` may compare, without regard to case; empty: any.
    pub attributes: Vec<String>,
}

/// Lists.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lists {
    /// The largest page.
    pub max_count: NonZeroU32,
    /// The page that is asked for.
    pub default_count: NonZeroU32,
    /// Whether a list without a filter holds inactive users.
    pub includes_inactive: bool,
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
}

const BUILTIN: [(&str, &str); 2] = [
    ("genesys-cloud", include_str!("../../profiles/genesys-cloud.toml")),
    ("rfc7644", include_str!("../../profiles/rfc7644.toml")),
];

impl Profile {
    /// The built-in profile of this name.
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = BUILTIN.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(text).expect("a test reads every built-in profile"))
    }

    /// The names of the built-in profiles, sorted.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
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

    /// Whether a filter may compare this attribute.
    pub fn can_filter_by(&self, attribute: &str) -> bool {
        let allowed = &self.filter.attributes;
        allowed.is_empty() || allowed.iter().any(|known| known.eq_ignore_ascii_case(attribute))
    }
}

#[cfg(test)]
mod tests;

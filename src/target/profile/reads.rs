//! What a vendor shows when it is asked: filters, lists, errors.

use std::num::NonZeroU32;

use serde::Deserialize;

/// Filters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filters {
    /// Whether `or` is understood.
    pub or: bool,
    /// Attributes that `eq` may compare, without regard to case; empty: any.
    pub attributes: Vec<String>,
    /// The same for groups; absent: `attributes` holds for groups too.
    pub group_attributes: Option<Vec<String>>,
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
    /// Whether the groups in a list carry their members. Where they do not, a group that a lookup finds
    /// is read once more before its members are compared.
    pub includes_members: bool,
}

/// Errors.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Errors {
    /// The form of their bodies. The relay reads either and relies on the status; the sandbox gives
    /// this one.
    pub body: ErrorForm,
}

/// The form of an error's body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorForm {
    /// RFC 7644 section 3.12.
    #[default]
    Scim,
    /// `code` and `message`, without a word of SCIM.
    Vendor,
}

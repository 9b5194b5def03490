//! What a vendor takes when something is written: PATCH, members, groups, users, the end of access.

use std::num::NonZeroU32;

use serde::Deserialize;

/// PATCH.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patch {
    /// Whether there is one; else PUT of the whole.
    pub supported: bool,
    /// Which paths may hold filters.
    pub path_filters: PathFilters,
    /// Which replacements go without a path, as an object of attributes: RFC 7644 section 3.5.2.3
    /// allows both forms, and some services read only one of them.
    pub pathless: Pathless,
    /// How the operations are spelled.
    pub op_case: OpCase,
    /// Whether `true` and `false` go out as strings.
    pub bool_as_string: bool,
    /// What a PATCH that went well is answered with. The relay takes either; the sandbox gives this one.
    pub answer: PatchAnswer,
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

/// Which replacements go without a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pathless {
    /// None: each names its attribute as the path.
    #[default]
    None,
    /// That of `active`, the form in which Okta switches accounts on and off.
    Active,
    /// All whose path holds no filter, in one operation.
    All,
}

/// How operations are spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpCase {
    /// `add`, `remove`, `replace`, as in RFC 7644.
    #[default]
    Lower,
    /// `Add`, `Remove`, `Replace`, as Microsoft Entra sends them.
    Capital,
}

/// What a PATCH that went well is answered with: RFC 7644 section 3.5.2 allows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchAnswer {
    /// 200 and the resource.
    #[default]
    Body,
    /// 204 and nothing.
    NoContent,
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
    /// Members that a new group may be created with; 0: none.
    pub max_per_create: u32,
    /// Bytes of the body of a request that names members; absent: as many as they take.
    pub max_bytes: Option<NonZeroU32>,
    /// Whether a member carries `$ref`.
    pub send_ref: bool,
    /// Whether a member carries `type`.
    pub send_type: bool,
    /// Where members can be read.
    pub read: MembersRead,
    /// Members that a read shows at most: of a group with so many, one who is not shown may be in all
    /// the same. Absent: a read shows all.
    pub read_cap: Option<NonZeroU32>,
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
    /// Page by page at `members` below the group.
    SubEndpoint,
    /// Nowhere, but the service tells of one user whether it is a member: it is asked for the group by
    /// its id and that member.
    FilterProbe,
    /// Nowhere: an answer without members says nothing about the group.
    None,
}

impl MembersRead {
    /// Whether it can be seen who is in a group, and not of one user alone.
    pub const fn shows_all(self) -> bool {
        match self {
            Self::Get | Self::SubEndpoint => true,
            Self::FilterProbe | Self::None => false,
        }
    }
}

/// How the removal of somebody who is no member is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoveAbsent {
    /// With success.
    #[default]
    Ok,
    /// With an error. Where members can be read, a read tells whether the member is gone; where they
    /// cannot, a refusal to remove one member says that there is nobody to remove.
    Error,
}

/// Groups.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a vendor can or cannot do")]
pub struct Groups {
    /// Whether the service has groups at all. Without, groups and memberships stay in the relay.
    pub supported: bool,
    /// Whether they can be created.
    pub create: bool,
    /// Whether they can be deleted.
    pub delete: bool,
    /// Whether a new one may hold members.
    pub create_with_members: bool,
    /// The attribute that finds a group that is not linked yet.
    pub match_attribute: String,
    /// Attributes that a group may have, besides `members`; empty: any.
    pub writable_attributes: Vec<String>,
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
    /// Whether `userName` must be a mail address. A user whose is not is parked.
    pub username_is_email: bool,
    /// Attributes besides `userName` without which no user is created, as PATCH paths. A user waits
    /// until the directory knows them.
    pub required: Vec<String>,
    /// Attributes that are set when a user is created, and never after.
    pub immutable: Vec<String>,
    /// Whether `emails`, `phoneNumbers` and their like may hold several values. Otherwise the primary
    /// one goes out, else the first.
    pub multi_valued: bool,
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
    /// The user is gone, and can be created again.
    #[default]
    Hard,
    /// The user is inactive.
    Deactivate,
    /// The user is gone with what it owned, and nothing brings it back: the configuration must allow it.
    Irreversible,
    /// Nothing: it is refused.
    Unsupported,
}

/// The end of access.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Deactivate {
    /// What `active: false` does.
    pub effect: DeactivateEffect,
}

/// What `active: false` does to a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeactivateEffect {
    /// The account rests, and `active: true` wakes it.
    #[default]
    Suspend,
    /// The account leaves the organisation, and its SCIM identity is gone: the configuration must allow it.
    IdentityRemoved,
    /// The account is deleted: the configuration must allow it.
    Deleted,
}

impl DeactivateEffect {
    /// Whether the vendor does not know the user afterwards.
    pub const fn ends_the_account(self) -> bool {
        match self {
            Self::Suspend => false,
            Self::IdentityRemoved | Self::Deleted => true,
        }
    }
}

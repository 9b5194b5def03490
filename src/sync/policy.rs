//! What a target allows and wants, in the words of planning: its profile, its configuration, and
//! what was learned of its limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mapping::{IdMap, Mapping, Protected};
use crate::target::profile::{BulkSupport, DeleteMode, MembersRead, PathFilters, RemoveAbsent};
use crate::target::{Addresses, Profile};

/// What happens at the vendor when a user is deleted or leaves the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The account is set inactive.
    Deactivate,
    /// The account is deleted.
    Delete,
}

/// How planning is to behave for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a vendor can or cannot do")]
pub struct Policy {
    /// What becomes of a deleted user.
    pub on_delete: OnDelete,
    /// Whether a user who is described but inactive gets an (inactive) account.
    pub create_inactive: bool,
    /// Whether the vendor lets users be created.
    pub users_create: bool,
    /// Whether the vendor lets groups be created.
    pub groups_create: bool,
    /// Whether the vendor lets groups be deleted.
    pub groups_delete: bool,
    /// Whether a new group may bring its members along.
    pub groups_create_with_members: bool,
    /// Whether PATCH is supported; otherwise the merged whole is PUT.
    pub patch: bool,
    /// Whether a PATCH path may hold a filter (`emails[type eq "work"].value`).
    pub path_filters: bool,
    /// Whether one filter may ask for either of two values.
    pub lookup_or: bool,
    /// Whether users may be looked up by `externalId`.
    pub lookup_external_id: bool,
    /// Whether groups may be looked up by `externalId`.
    pub group_lookup_external_id: bool,
    /// Attribute by which a user without a link is matched.
    pub user_match: String,
    /// Attribute by which a group without a link is matched.
    pub group_match: String,
    /// Whether reading a group tells its members.
    pub members_readable: bool,
    /// Whether they are read page by page below the group.
    pub members_paged: bool,
    /// Whether the vendor tells of one user whether it is a member, and no more.
    pub members_probed: bool,
    /// Whether a group has the directory's members and nobody else.
    pub members_authoritative: bool,
    /// Whether a group that a lookup found tells its members.
    pub members_listed: bool,
    /// Members that a read shows at most: of a group with so many it does not tell who is missing.
    pub members_read_cap: usize,
    /// Whether the removal of somebody who is no member is refused.
    pub remove_absent_is_refused: bool,
    /// Most members in one PATCH; at least 1.
    pub members_per_request: usize,
    /// Most members that a new group may bring along; at least 1.
    pub members_per_create: usize,
    /// Whether a member may be named by the operation that creates it, in one bulk request.
    pub member_references: bool,
    /// Whether the vendor has groups at all.
    pub groups_supported: bool,
    /// Whether a deactivated user is unknown to the vendor afterwards.
    pub deactivation_ends_the_account: bool,
    /// Where the target's resources are.
    pub addresses: Arc<Addresses>,
    /// What the vendor can hold of a resource.
    pub shape: Shape,
    /// Attributes that never go out, by path or by their first part.
    pub strip: BTreeSet<String>,
    /// Who is in scope, and what goes out of each user.
    pub mapping: Arc<Mapping>,
    /// Whom the target never loses.
    pub protected: Arc<Protected>,
    /// Which of the vendor's ids belong to which of ours, where an administrator says so.
    pub id_map: Arc<IdMap>,
}

/// What a vendor can hold of a user or a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Attributes that a new user must have.
    pub required: Vec<String>,
    /// Attributes that only a new user may have set.
    pub immutable: BTreeSet<String>,
    /// Whether an attribute may have several values.
    pub multi_valued: bool,
    /// Whether `userName` must be a mail address.
    pub username_is_email: bool,
    /// Attributes that a group may have; empty: any.
    pub group_attributes: BTreeSet<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            required: Vec::new(),
            immutable: BTreeSet::new(),
            multi_valued: true,
            username_is_email: false,
            group_attributes: BTreeSet::new(),
        }
    }
}

impl Default for Policy {
    /// The baseline of RFC 7644.
    fn default() -> Self {
        Self {
            on_delete: OnDelete::Deactivate,
            create_inactive: true,
            users_create: true,
            groups_create: true,
            groups_delete: true,
            groups_create_with_members: true,
            patch: true,
            path_filters: true,
            lookup_or: true,
            lookup_external_id: true,
            group_lookup_external_id: true,
            user_match: "userName".to_owned(),
            group_match: "displayName".to_owned(),
            members_readable: true,
            members_paged: false,
            members_probed: false,
            members_authoritative: false,
            members_listed: true,
            members_read_cap: usize::MAX,
            remove_absent_is_refused: false,
            members_per_request: 100,
            members_per_create: 100,
            member_references: false,
            groups_supported: true,
            deactivation_ends_the_account: false,
            addresses: Arc::default(),
            shape: Shape::default(),
            strip: BTreeSet::new(),
            mapping: Arc::default(),
            protected: Arc::default(),
            id_map: Arc::default(),
        }
    }
}

impl Policy {
    /// What a profile allows, under what the configuration wants.
    pub fn new(profile: &Profile, on_delete: OnDelete, create_inactive: bool) -> Self {
        let members = &profile.members;
        Self {
            on_delete: match profile.delete.mode {
                DeleteMode::Hard | DeleteMode::Irreversible => on_delete,
                // An account that stays, and its memberships with it, is not to be forgotten: whoever
                // comes back is in the groups that it is in then.
                DeleteMode::Deactivate | DeleteMode::Unsupported => OnDelete::Deactivate,
            },
            create_inactive: create_inactive && !profile.deactivate.effect.ends_the_account(),
            users_create: profile.users.create,
            groups_create: profile.groups.create,
            groups_delete: profile.groups.delete,
            groups_create_with_members: profile.groups.create_with_members && members.max_per_create > 0,
            patch: profile.patch.supported,
            // One value in the place of another: added first, it would be one too many for a moment.
            path_filters: profile.patch.path_filters == PathFilters::Full && profile.users.multi_valued,
            lookup_or: profile.filter.or,
            lookup_external_id: profile.can_filter_users_by("externalId"),
            group_lookup_external_id: profile.can_filter_groups_by("externalId"),
            user_match: profile.users.match_attribute.clone(),
            group_match: profile.groups.match_attribute.clone(),
            members_readable: members.read.shows_all(),
            members_paged: members.read == MembersRead::SubEndpoint,
            members_probed: members.read == MembersRead::FilterProbe,
            members_authoritative: false,
            members_listed: members.read == MembersRead::Get && profile.list.includes_members,
            members_read_cap: members.read_cap.map_or(usize::MAX, |cap| size(cap.get())),
            remove_absent_is_refused: members.remove_absent == RemoveAbsent::Error,
            members_per_request: size(members.max_per_request.get()),
            members_per_create: size(members.max_per_create).max(1),
            member_references: profile.bulk.references && profile.bulk.supported != BulkSupport::No,
            groups_supported: profile.groups.supported,
            deactivation_ends_the_account: profile.deactivate.effect.ends_the_account(),
            addresses: Arc::default(),
            shape: Shape {
                required: profile.users.required.clone(),
                immutable: profile.users.immutable.iter().cloned().collect(),
                multi_valued: profile.users.multi_valued,
                username_is_email: profile.users.username_is_email,
                group_attributes: profile.groups.writable_attributes.iter().cloned().collect(),
            },
            strip: profile.users.strip.iter().cloned().collect(),
            mapping: Arc::default(),
            protected: Arc::default(),
            id_map: Arc::default(),
        }
    }

    /// Whether an attribute never goes out.
    pub fn strips(&self, path: &str) -> bool {
        let first = path.split_once(['.', '[']).map(|(first, _)| first);
        self.strip.contains(path) || first.is_some_and(|first| self.strip.contains(first))
    }
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

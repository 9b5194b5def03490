//! What a target allows and wants, in the words of planning: its profile, its configuration, and
//! what was learned of its limits.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mapping::Mapping;
use crate::target::Profile;
use crate::target::profile::{DeleteMode, MembersRead, PathFilters};

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
    /// Whether resources may be looked up by `externalId`.
    pub lookup_external_id: bool,
    /// Attribute by which a user without a link is matched.
    pub user_match: String,
    /// Attribute by which a group without a link is matched.
    pub group_match: String,
    /// Whether reading a group tells its members.
    pub members_readable: bool,
    /// Most members in one PATCH; at least 1.
    pub members_per_request: usize,
    /// Attributes that never go out, by path or by their first part.
    pub strip: BTreeSet<String>,
    /// Who is in scope, and what goes out of each user.
    pub mapping: Arc<Mapping>,
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
            user_match: "userName".to_owned(),
            group_match: "displayName".to_owned(),
            members_readable: true,
            members_per_request: 100,
            strip: BTreeSet::new(),
            mapping: Arc::default(),
        }
    }
}

impl Policy {
    /// What a profile allows, under what the configuration wants.
    pub fn new(profile: &Profile, on_delete: OnDelete, create_inactive: bool) -> Self {
        let members_per_request =
            usize::try_from(profile.members.max_per_request.get()).unwrap_or(usize::MAX);
        Self {
            on_delete: match profile.delete.mode {
                DeleteMode::Hard | DeleteMode::Deactivate => on_delete,
                DeleteMode::Unsupported => OnDelete::Deactivate,
            },
            create_inactive,
            users_create: profile.users.create,
            groups_create: profile.groups.create,
            groups_delete: profile.groups.delete,
            groups_create_with_members: profile.groups.create_with_members
                && profile.members.max_per_create > 0,
            patch: profile.patch.supported,
            path_filters: profile.patch.path_filters == PathFilters::Full,
            lookup_or: profile.filter.or,
            lookup_external_id: profile.can_filter_by("externalId"),
            user_match: profile.users.match_attribute.clone(),
            group_match: profile.groups.match_attribute.clone(),
            members_readable: profile.members.read == MembersRead::Get,
            members_per_request,
            strip: profile.users.strip.iter().cloned().collect(),
            mapping: Arc::default(),
        }
    }

    /// Whether an attribute never goes out.
    pub fn strips(&self, path: &str) -> bool {
        let first = path.split_once(['.', '[']).map(|(first, _)| first);
        self.strip.contains(path) || first.is_some_and(|first| self.strip.contains(first))
    }
}

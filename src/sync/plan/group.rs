//! One group: found or created, named, deleted; its members are in [`members`](super::members).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::directory::{AttributePath, Group, ResourceKey};
use crate::scim::schema;
use crate::store::{Desired, Link};
use crate::sync::plan::user::whole;
use crate::sync::plan::{End, Next, Pass, Purpose, Request, Units};
use crate::sync::policy::Policy;

impl Pass {
    pub(super) fn next_for_group(&mut self, policy: &Policy) -> Next {
        let Desired::Group { group, .. } = &self.desired else { return Next::Settled };
        let (gone, described) = (group.is_deleted(), group.is_described());
        if !policy.groups_supported {
            self.members.settle_all();
            return self.finish(End::Done);
        }
        let Some(row) = self.row() else {
            if !described && !gone && !self.members.has_open() {
                // Only the id is known, and nobody who could be told to the vendor.
                return self.finish(End::Done);
            }
            return match self.next_lookup(policy) {
                Some(next) => next,
                None => self.group_is_absent(policy, described, gone),
            };
        };
        if let Some(paging) = &self.paging {
            let (id, start) = (row.vendor_id.clone(), paging.pages.next_start());
            return Next::Send(Request::MemberPage { id, start });
        }
        if let Some(member) = self.members.asked() {
            return Next::Send(Request::IsMember { id: row.vendor_id.clone(), member });
        }
        if self.must_read {
            return self.fetch();
        }
        if gone && policy.groups_delete {
            return Next::Send(Request::Delete { id: row.vendor_id.clone(), if_match: row.etag.clone() });
        }
        // A derived group is found by its name, and only its members are ours.
        if described && !self.key.is_derived() {
            let units = self.units(policy, false);
            if let Some(next) = self.update(policy, &units, |_| Purpose::Update) {
                return next;
            }
        }
        self.next_members(policy, gone)
    }

    fn next_members(&mut self, policy: &Policy, gone: bool) -> Next {
        let remote = self.remote.as_ref().filter(|_| policy.members_readable);
        let Some(chunk) =
            self.members.next_chunk(policy.members_per_request, remote, policy.members_read_cap)
        else {
            if !gone && let Some(next) = self.next_for_authority(policy) {
                return next;
            }
            return self.finish(if gone {
                End::Park {
                    reason: "the vendor does not let groups be deleted; its members were removed, delete it by hand"
                        .to_owned(),
                }
            } else {
                End::Done
            });
        };
        let Some(row) = self.row() else { return Next::Settled };
        let (adds, removes) = chunk;
        Next::Send(Request::Members { id: row.vendor_id.clone(), adds, removes, if_match: row.etag.clone() })
    }

    fn group_is_absent(&mut self, policy: &Policy, described: bool, gone: bool) -> Next {
        self.set_link(Some(Link::Absent { checked_at: crate::clock::Timestamp::default() }));
        if gone {
            self.members.settle_all();
            return self.finish(End::Done);
        }
        if !described {
            let reason = "neither the directory nor the vendor knows more than the id".into();
            return self.finish(End::Wait { reason });
        }
        let units = self.units(policy, true);
        if !units.get("displayName").is_some_and(Value::is_string) {
            return self
                .finish(End::Wait { reason: "the directory does not know the displayName yet".into() });
        }
        if !policy.groups_create {
            return self.finish(End::Park {
                reason: "the vendor does not let groups be created; create a group of the same displayName by hand and retry"
                    .to_owned(),
            });
        }
        let mut resource = whole(BTreeSet::from([schema::GROUP.to_owned()]), &units);
        if policy.groups_create_with_members && !self.create_bare {
            self.members.settle_removals();
            let size = policy.members_per_create.min(policy.members_per_request);
            if let Some((adds, _)) = self.members.next_chunk(size, None, usize::MAX) {
                resource["members"] = adds.into_iter().map(|id| json!({ "value": id })).collect();
            }
        }
        Next::Send(Request::Create { resource })
    }
}

/// The units that should be at the vendor. A derived group is known by its name alone.
pub(super) fn units(key: &ResourceKey, group: &Group) -> Units {
    let mut units: Units =
        group.attributes.iter().map(|(path, value)| (path.clone(), value.clone())).collect();
    if !key.is_derived() {
        units.insert(AttributePath::new("externalId"), Value::String(key.id.to_string()));
    }
    units
}

//! One user: found or created, kept equal, deactivated or deleted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::directory::{AttributePath, ExternalId, Registers, User, assemble};
use crate::scim::patch::PatchOp;
use crate::scim::schema;
use crate::store::{Desired, Link, MemberStanding};
use crate::sync::plan::{End, Next, Pass, Purpose, Request, Units, holdable};
use crate::sync::policy::{OnDelete, Policy};

impl Pass {
    pub(super) fn next_for_user(&mut self, policy: &Policy) -> Next {
        let Desired::User { user, .. } = &self.desired else { return Next::Settled };
        let (gone, described, access) = (user.is_deleted(), user.is_described(), user.has_access());
        let Some(row) = self.row() else {
            return match self.next_lookup(policy) {
                Some(next) => next,
                None => self.user_is_absent(policy, described, access),
            };
        };
        if gone && policy.on_delete == OnDelete::Delete {
            return Next::Send(Request::Delete { id: row.vendor_id.clone(), if_match: row.etag.clone() });
        }
        if self.must_read {
            return self.fetch();
        }
        let units = self.units(policy, false);
        match self.update(policy, &units, purpose) {
            Some(next) => next,
            None => self.finish(End::Done),
        }
    }

    fn user_is_absent(&mut self, policy: &Policy, described: bool, access: bool) -> Next {
        self.set_link(Some(Link::Absent { checked_at: crate::clock::Timestamp::default() }));
        let wanted = access || (described && policy.create_inactive);
        if !wanted {
            return self.finish(End::Done);
        }
        if !described {
            let reason = "neither the directory nor the vendor knows more than the id".into();
            return self.finish(End::Wait { reason });
        }
        let units = self.units(policy, true);
        let named = units.get("userName").is_some_and(|name| !name.is_null());
        if !named {
            return self.finish(End::Wait { reason: "the directory does not know the userName yet".into() });
        }
        if let Some(missing) = holdable::missing(&policy.shape, &units) {
            let reason = format!("the vendor requires {missing}, which the directory does not know yet");
            return self.finish(End::Wait { reason: reason.into() });
        }
        if holdable::is_no_address(&policy.shape, &units) {
            let reason = "the vendor wants a mail address as userName; map one to it and retry".to_owned();
            return self.finish(End::Park { reason });
        }
        if !policy.users_create {
            return self.finish(End::Park {
                reason: "the vendor does not let users be created; create the account by hand and retry"
                    .to_owned(),
            });
        }
        let extensions = units.keys().filter_map(|path| path.extension().map(|(urn, _)| urn.to_owned()));
        let schemas: BTreeSet<String> = extensions.chain([schema::USER.to_owned()]).collect();
        Next::Send(Request::Create { resource: whole(schemas, &units) })
    }

    pub(super) fn finish(&mut self, end: End) -> Next {
        self.end = Some(end);
        Next::Settled
    }

    pub(super) fn registers(&self) -> &Registers {
        match &self.desired {
            Desired::User { user, .. } => &user.attributes,
            Desired::Group { group, .. } => &group.attributes,
        }
    }
}

/// A resource's body, `schemas` complete, null units left out.
pub(super) fn whole(schemas: BTreeSet<String>, units: &Units) -> Value {
    let mut resource: Map<String, Value> = assemble(units);
    resource.insert("schemas".to_owned(), schemas.into_iter().collect());
    Value::Object(resource)
}

/// The units that should be at the vendor: of a deleted user, only that it is inactive.
///
/// `active` is ours when the source has spoken of it or has once deleted the user; otherwise an
/// account that an administrator has locked stays locked.
pub(super) fn units(
    id: &ExternalId,
    user: &User,
    references: &BTreeMap<ExternalId, MemberStanding>,
    creating: bool,
    waits_for: &mut BTreeSet<ExternalId>,
) -> Units {
    let active = AttributePath::new(User::ACTIVE);
    if user.is_deleted() {
        return Units::from([(active, Value::Bool(false))]);
    }
    let mut units = Units::new();
    let manager = AttributePath::enterprise("manager");
    for (path, value) in user.attributes.iter() {
        if *path == manager {
            if let Some(value) = resolved_manager(value, references, waits_for) {
                units.insert(path.clone(), value);
            }
        } else if path.as_str() == "name" {
            clear_name(&mut units, user);
        } else if !is_container(path, user) {
            units.insert(path.clone(), value.clone());
        }
    }
    if user.is_described() {
        units.insert(AttributePath::new("externalId"), Value::String(id.to_string()));
    }
    let spoken_of = user.attributes.shown(&active).is_some_and(|value| !value.is_null());
    if spoken_of || creating || user.deleted_at.is_some() {
        units.insert(active, Value::Bool(user.has_access()));
    } else {
        units.remove(&active);
    }
    units
}

/// The manager as the vendor knows it; `None` while the vendor does not, and the user waits for it.
fn resolved_manager(
    value: &Value,
    references: &BTreeMap<ExternalId, MemberStanding>,
    waits_for: &mut BTreeSet<ExternalId>,
) -> Option<Value> {
    let Value::String(text) = value else { return Some(Value::Null) };
    let manager = ExternalId::parse(text.clone()).ok()?;
    match references.get(&manager) {
        Some(MemberStanding::Linked(vendor_id)) => Some(json!({ "value": vendor_id })),
        Some(MemberStanding::Absent | MemberStanding::Unknown { .. }) | None => {
            waits_for.insert(manager);
            None
        }
    }
}

/// A null for the whole name is a null for each of its parts that was not written since.
fn clear_name(units: &mut Units, user: &User) {
    for part in schema::NAME_SUB_ATTRIBUTES {
        let path = AttributePath::new(format!("name.{part}"));
        let value = user.attributes.shown(&path).cloned().unwrap_or(Value::Null);
        units.insert(path, value);
    }
}

/// Whether the path is that of a whole extension, which holds no value of its own.
fn is_container(path: &AttributePath, user: &User) -> bool {
    let held = user.attributes.shown(path);
    held.is_some_and(Value::is_null)
        && user.attributes.iter().any(|(other, _)| other.container().as_ref() == Some(path))
}

fn purpose(ops: &[PatchOp]) -> Purpose {
    let active =
        ops.iter().find(|op| op.path.as_deref() == Some(User::ACTIVE)).and_then(|op| op.value.as_ref());
    match active {
        Some(Value::Bool(false)) => Purpose::Deactivate,
        Some(Value::Bool(true)) => Purpose::Activate,
        Some(_) | None => Purpose::Update,
    }
}

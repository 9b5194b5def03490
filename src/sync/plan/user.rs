//! One user: found or created, kept equal, deactivated or deleted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::directory::{AttributePath, ExternalId, Registers, User, assemble};
use crate::mapping::Mapped;
use crate::scim::patch::PatchOp;
use crate::scim::schema;
use crate::store::{Desired, Link, MemberStanding};
use crate::sync::plan::update::extensions;
use crate::sync::plan::{End, Next, Pass, Purpose, Request, Units, holdable, pick};
use crate::sync::policy::{OnDelete, Policy};

impl Pass {
    pub(super) fn next_for_user(&mut self, policy: &Policy) -> Next {
        let Desired::User { user, .. } = &self.desired else { return Next::Settled };
        let leaves = user.is_deleted() || self.is_out_of_scope();
        let (described, access) = (user.is_described(), user.has_access() && self.is_mapped_active());
        let fault = match &self.mapped {
            Mapped::Fault(reason) => Some(End::Park { reason: reason.clone() }),
            Mapped::AsItCame | Mapped::To(_) | Mapped::OutOfScope => None,
        };
        let Some(row) = self.row() else {
            if self.is_out_of_scope() {
                return self.never_was_in_scope();
            }
            return match (fault, self.next_lookup(policy)) {
                (Some(park), _) => self.finish(park),
                (None, Some(next)) => next,
                (None, None) => self.user_is_absent(policy, described, access),
            };
        };
        if access && let Some(park) = fault {
            return self.finish(park);
        }
        if self.must_read {
            return self.fetch();
        }
        if leaves && policy.on_delete == OnDelete::Delete {
            return Next::Send(Request::Delete { id: row.vendor_id.clone(), if_match: row.etag.clone() });
        }
        let units = self.units(policy, false);
        match self.update(policy, &units, purpose) {
            Some(next) => next,
            // That access has ended is told first, whatever else cannot be said.
            None => self.finish(fault.unwrap_or(End::Done)),
        }
    }

    /// Nobody asks the vendor about a user that the target is not to know.
    fn never_was_in_scope(&mut self) -> Next {
        if self.link.is_none() {
            self.set_link(Some(Link::Absent { checked_at: crate::clock::Timestamp::default() }));
        }
        self.finish(End::Done)
    }

    fn is_mapped_active(&self) -> bool {
        match &self.mapped {
            Mapped::To(units) => units.get(User::ACTIVE) != Some(&Value::Bool(false)),
            Mapped::AsItCame | Mapped::OutOfScope | Mapped::Fault(_) => true,
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
        let schemas = extensions(&units).chain([schema::USER]).map(str::to_owned).collect();
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
    let mut resource: Map<String, Value> = assemble(units.iter().filter(|(unit, _)| !pick::is_pick(unit)));
    pick::put_all(&mut resource, units);
    resource.insert("schemas".to_owned(), schemas.into_iter().collect());
    Value::Object(resource)
}

/// What the relay says of every account, whatever the mapping names.
pub(super) const IDENTITY: [&str; 3] = ["userName", "externalId", User::ACTIVE];

/// What the units of a user are made from.
pub(super) struct Facts<'a> {
    pub(super) id: &'a ExternalId,
    pub(super) user: &'a User,
    pub(super) references: &'a BTreeMap<ExternalId, MemberStanding>,
    pub(super) mapped: &'a Mapped,
    /// Whether the relay itself made the account inactive.
    pub(super) said_inactive: bool,
}

/// The units that should be at the vendor: of a user who is deleted or out of scope, only that it is
/// inactive; so too of one whose attributes cannot be told, which matters where access has ended.
///
/// `active` is ours when the source has spoken of it, has once deleted the user, or the relay itself
/// has taken the access away; otherwise an account that an administrator has locked stays locked. A
/// mapping may take access away, and never gives any that the directory does not.
pub(super) fn units(facts: &Facts<'_>, creating: bool, waits_for: &mut BTreeSet<ExternalId>) -> Units {
    let Facts { id, user, mapped, .. } = facts;
    let active = AttributePath::new(User::ACTIVE);
    let mut units = match mapped {
        Mapped::OutOfScope | Mapped::Fault(_) => return Units::from([(active, Value::Bool(false))]),
        Mapped::To(_) | Mapped::AsItCame if user.is_deleted() => {
            return Units::from([(active, Value::Bool(false))]);
        }
        Mapped::To(units) => mapped_units(facts, units, waits_for),
        Mapped::AsItCame => units_as_they_came(facts, waits_for),
    };
    if user.is_described() {
        units.insert(AttributePath::new("externalId"), Value::String(id.to_string()));
    }
    let mapped_active = units.remove(&active).filter(|value| !value.is_null());
    let spoken_of = user.attributes.shown(&active).is_some_and(|value| !value.is_null());
    if mapped_active.is_some() || spoken_of || creating || user.deleted_at.is_some() || facts.said_inactive {
        let access = user.has_access() && mapped_active != Some(Value::Bool(false));
        units.insert(active, Value::Bool(access));
    }
    units
}

fn mapped_units(facts: &Facts<'_>, mapped: &Units, waits_for: &mut BTreeSet<ExternalId>) -> Units {
    let mut units = Units::new();
    for (unit, value) in mapped {
        insert(&mut units, facts, unit, value, waits_for);
    }
    let name = AttributePath::new("userName");
    if let Some(value) = facts.user.attributes.shown(&name) {
        units.entry(name).or_insert_with(|| value.clone());
    }
    units
}

fn units_as_they_came(facts: &Facts<'_>, waits_for: &mut BTreeSet<ExternalId>) -> Units {
    let mut units = Units::new();
    for (path, value) in facts.user.attributes.iter() {
        if path.as_str() == "name" {
            clear_name(&mut units, facts.user);
        } else if !is_container(path, facts.user) {
            insert(&mut units, facts, path, value, waits_for);
        }
    }
    units
}

fn insert(
    units: &mut Units,
    facts: &Facts<'_>,
    unit: &AttributePath,
    value: &Value,
    waits_for: &mut BTreeSet<ExternalId>,
) {
    if *unit != AttributePath::enterprise("manager") {
        units.insert(unit.clone(), value.clone());
    } else if let Some(value) = resolved_manager(value, facts.references, waits_for) {
        units.insert(unit.clone(), value);
    }
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

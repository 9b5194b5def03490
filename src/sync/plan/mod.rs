//! What to send next for one resource, decided from state alone.
//!
//! A [`Pass`] holds what is desired and what is known, and answers [`Pass::next`] with the next call
//! or with the end. What the vendor said goes back in with [`Pass::absorb`], and the next step is
//! planned anew from what is known then: a stale version, a lost link or a half-applied chunk need
//! no code of their own. No clock, no I/O, no chance: all of it runs in table and property tests.

mod absorb;
mod authority;
mod diff;
mod group;
mod holdable;
mod lookup;
mod members;
mod pages;
mod pick;
mod references;
mod request;
mod should_be;
mod update;
mod user;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};

pub use diff::{Current, Units, diff};
pub use pages::{MemberPages, PageRead};
pub use request::{End, LaterCause, Next, Purpose, Reaction, Request, Teller};
pub use should_be::{ShouldBe, differing, members_at, should_be, text_at};

use crate::clock::Timestamp;
use crate::directory::{AttributePath, ExternalId, Kind, ResourceKey, User};
use crate::mapping::Mapped;
use crate::scim::etag::ETag;
use crate::store::{
    Desired, Dossier, Intent, Link, LinkChange, MemberStanding, MembersOutcome, ParkedMember, Row,
};
use crate::sync::policy::Policy;

use authority::Authority;
use lookup::Lookup;
use members::Members;
use references::References;

/// A group that was read but for its members.
#[derive(Clone, Debug)]
struct Paging {
    group: Map<String, Value>,
    etag: Option<ETag>,
    pages: MemberPages,
}

/// Planning of one resource, from the first look to the end.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was learned in the pass")]
pub struct Pass {
    key: ResourceKey,
    generation: u64,
    desired: Desired,
    /// What the target's mapping makes of a user.
    mapped: Mapped,
    /// Whether a user belongs to each group that the target derives.
    memberships: BTreeMap<ExternalId, bool>,
    link: Option<Link>,
    link_touched: bool,
    lookup: Lookup,
    remote: Option<Map<String, Value>>,
    /// The group as it was read, whose members are still being read.
    paging: Option<Paging>,
    must_read: bool,
    /// A refusal has led to a read already: what is refused after that is refused.
    doubted: bool,
    /// The member whose removal was refused last, by the vendor's id: it may have left by itself since
    /// the group was read.
    doubted_removal: Option<String>,
    /// A creation with members was refused: the group is made without, so that a member that the vendor
    /// will not take is found among them.
    create_bare: bool,
    /// A chunk that was answered 404: a read tells whether the group or a member is missing.
    missing_chunk: bool,
    members: Members,
    authority: Authority,
    /// The group is so large that it is asked for without its members, and answered so.
    slim: bool,
    /// It is too large to be read with them.
    unreadable: bool,
    more_members: bool,
    /// What the pass takes away from the resource may be sent.
    admitted: bool,
    /// So may the removals that are still in the plan.
    removals_ruled_on: bool,
    waits_for: BTreeSet<ExternalId>,
    /// That members are named by the operations that create them.
    references: Option<References>,
    stale_rounds: u32,
    relinks: u32,
    end: Option<End>,
}

impl Pass {
    /// Begins with what the store knows. `age` is how long the work has been waiting.
    pub fn begin(dossier: Dossier, policy: &Policy, age: Duration) -> Self {
        let (members, more_members) = match &dossier.desired {
            Desired::User { .. } => (Members::default(), false),
            Desired::Group { deltas, more, .. } => (Members::from_deltas(deltas), *more),
        };
        let (mapped, memberships) = judge(&dossier, policy);
        let asked = |intent: &Intent| intent.operation == Intent::LOOK;
        let must_read =
            dossier.item.intent.as_ref().is_some_and(asked) && matches!(dossier.link, Some(Link::Known(_)));
        let mut pass = Self {
            key: dossier.item.key,
            generation: dossier.item.generation,
            desired: dossier.desired,
            link: dossier.link.map(|link| without_what_is_not_ours(link, &mapped)),
            mapped,
            memberships,
            link_touched: false,
            lookup: Lookup::default(),
            remote: None,
            paging: None,
            must_read,
            doubted: false,
            doubted_removal: None,
            create_bare: false,
            missing_chunk: false,
            slim: false,
            unreadable: false,
            waits_for: members.waiting_users(),
            members,
            authority: Authority::default(),
            more_members,
            admitted: false,
            removals_ruled_on: false,
            references: None,
            stale_rounds: 0,
            relinks: 0,
            end: None,
        };
        // A group that is to be looked for may be made together with those who come.
        let is_made_with_them = policy.member_references && pass.link.is_none();
        if !is_made_with_them && pass.members.should_gather(policy.members_per_request, age) {
            pass.end = Some(End::Gather);
        }
        pass
    }

    /// The resource.
    pub const fn key(&self) -> &ResourceKey {
        &self.key
    }

    /// Plans the next step.
    pub fn next(&mut self, policy: &Policy) -> Next {
        if self.end.is_some() {
            return Next::Settled;
        }
        if let Some(vendor_id) = self.lookup.candidate() {
            return Next::AskHolder { vendor_id: vendor_id.to_owned() };
        }
        match self.key.kind {
            Kind::User => self.next_for_user(policy),
            Kind::Group => self.next_for_group(policy),
        }
    }

    /// Members whom the vendor refused, with the accounts by which it was asked: these may be gone by
    /// now, since users are worked on at the same time.
    pub fn refused_members(&self) -> Vec<(ExternalId, String)> {
        self.members.refused()
    }

    /// Takes in that a refused member's account is not that user's any more.
    pub fn account_is_gone(&mut self, user: &ExternalId) {
        if self.members.account_is_gone(user) {
            self.waits_for.insert(user.clone());
        }
    }

    /// How the pass has ended; `None` while it has not.
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether more of the same resource is due at once.
    pub const fn continues(&self) -> bool {
        self.more_members
    }

    /// The body of the call that was planned last would be larger than the vendor takes: plans for half
    /// of its members. False where it names one alone.
    pub fn halve(&mut self) -> bool {
        if self.authority.is_under_way() { self.authority.halve() } else { self.members.split() }
    }

    /// A number of members per PATCH that the vendor has refused as too many, halved.
    pub const fn learned_members_max(&self) -> Option<usize> {
        self.members.learned_max()
    }

    /// What is to be recorded of the vendor's side and of the members, whether or not the pass came
    /// to its end.
    pub fn findings(&mut self, now: Timestamp) -> Findings {
        let done = matches!(self.end, Some(End::Done));
        let watermark = self.members.watermark();
        if let Some(Link::Known(row)) = &mut self.link {
            if let Some(watermark) = watermark.filter(|watermark| *watermark > row.synced_members) {
                row.synced_members = watermark;
                self.link_touched = true;
            }
            if done && row.synced_generation != self.generation {
                row.synced_generation = self.generation;
                self.link_touched = true;
            }
        }
        let link = match (&self.link, self.link_touched) {
            (_, false) => LinkChange::Keep,
            (None, true) => LinkChange::Forget,
            (Some(Link::Absent { .. }), true) => LinkChange::Set(Link::Absent { checked_at: now }),
            (Some(Link::Known(row)), true) => LinkChange::Set(Link::Known(row.clone())),
        };
        Findings {
            link,
            members: MembersOutcome {
                settled: self.members.settled_users(),
                parked: self.members.parked(),
                held: self.members.held_users(),
            },
            waits_for: self.waits_for.clone(),
            memberships: self.memberships.clone(),
        }
    }

    /// The values that are desired, by attribute: personal data that no log or ledger may show.
    pub fn known_values(&self) -> impl Iterator<Item = (&str, &str)> {
        let mapped = match &self.mapped {
            Mapped::To(units) => Some(units.iter()),
            Mapped::AsItCame | Mapped::OutOfScope | Mapped::Fault(_) => None,
        };
        let units = self.registers().iter().chain(mapped.into_iter().flatten());
        units.flat_map(|(path, value)| texts(value).map(move |text| (path.as_str(), text)))
    }

    /// Whether the user is outside the target's scope.
    pub fn is_out_of_scope(&self) -> bool {
        self.mapped == Mapped::OutOfScope
    }

    /// Whether the group is asked for without its members.
    pub const fn is_slim(&self) -> bool {
        self.slim && !self.authority.reads_whole()
    }

    /// Asks for the group without its members from now on: a delta needs none of them.
    pub const fn slim_down(&mut self) {
        self.slim = true;
    }

    /// The vendor's id, where the resource is linked.
    pub fn vendor_id(&self) -> Option<&str> {
        self.row().map(|row| row.vendor_id.as_str())
    }

    /// The vendor's resource as far as the relay knows it without asking: what was applied last.
    pub fn presumed(&self) -> Map<String, Value> {
        let Some(row) = self.row() else { return Map::new() };
        let Value::Object(mut resource) = user::whole(BTreeSet::new(), &row.applied) else {
            return Map::new();
        };
        resource.insert("id".to_owned(), row.vendor_id.clone().into());
        resource
    }

    /// Whether the user is one whom the target never loses.
    pub fn is_protected(&self, policy: &Policy) -> bool {
        match &self.desired {
            Desired::User { user, .. } => policy.protected.covers(&self.key.id, user),
            Desired::Group { .. } => false,
        }
    }

    /// Whether the guard has let through what the pass takes away from the resource.
    pub const fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// The guard lets it through.
    pub const fn admit(&mut self) {
        self.admitted = true;
    }

    /// The resource stays at the vendor as it is: nothing of the group's memberships is sent either.
    pub fn leave_as_it_is(&mut self) {
        self.members.settle_all();
    }

    /// Removals of members that the guard has not seen yet, with the sequence of each.
    pub fn removals_to_rule_on(&self) -> Vec<(ExternalId, u64)> {
        if self.removals_ruled_on { Vec::new() } else { self.members.open_removals() }
    }

    /// What the guard says of them: these wait for a person, those are not sent, the others are.
    pub fn removals_ruled_on(&mut self, held: &BTreeSet<ExternalId>, dropped: &BTreeSet<ExternalId>) {
        self.members.leave_out(held, dropped);
        self.removals_ruled_on = true;
    }

    /// The generation that was planned for.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn set_link(&mut self, link: Option<Link>) {
        self.link = link;
        self.link_touched = true;
    }

    pub(super) fn row(&self) -> Option<&Row> {
        match &self.link {
            Some(Link::Known(row)) => Some(row),
            Some(Link::Absent { .. }) | None => None,
        }
    }

    /// The units that should be at the vendor now. `creating` asks for the whole resource.
    pub(super) fn units(&mut self, policy: &Policy, creating: bool) -> Units {
        let units = match &self.desired {
            Desired::User { user, references } => {
                let said_inactive =
                    self.row().is_some_and(|row| row.applied.get(User::ACTIVE) == Some(&Value::Bool(false)));
                let facts =
                    user::Facts { id: &self.key.id, user, references, mapped: &self.mapped, said_inactive };
                user::units(&facts, creating, &mut self.waits_for)
            }
            Desired::Group { group, .. } => group::units(&self.key, group),
        };
        holdable::holdable(policy, self.key.kind, units, creating)
    }
}

/// What the mapping makes of the user, and of its memberships in derived groups. Where one of them
/// cannot be said, the memberships stay as they are.
fn judge(dossier: &Dossier, policy: &Policy) -> (Mapped, BTreeMap<ExternalId, bool>) {
    let mapped = mapped(dossier, policy);
    let Desired::User { user, .. } = &dossier.desired else { return (mapped, BTreeMap::new()) };
    let in_scope = match &mapped {
        Mapped::AsItCame | Mapped::To(_) => true,
        Mapped::OutOfScope => false,
        Mapped::Fault(_) => return (mapped, BTreeMap::new()),
    };
    match policy.mapping.memberships(&dossier.item.key.id, user, in_scope) {
        Ok(memberships) => (mapped, memberships),
        Err(reason) => (Mapped::Fault(reason), BTreeMap::new()),
    }
}

/// What the mapping makes of the user. One of whom only the id is known, or who is gone, is not judged
/// by attributes that nobody has told.
fn mapped(dossier: &Dossier, policy: &Policy) -> Mapped {
    let Desired::User { user, references } = &dossier.desired else { return Mapped::AsItCame };
    if !user.is_described() {
        return Mapped::AsItCame;
    }
    let mapped = policy.mapping.map(&dossier.item.key.id, user);
    match &mapped {
        Mapped::To(units) if names_a_stranger(units, references) => Mapped::Fault(
            "the expression of the manager fails for this user: the result is not the id that user.manager holds"
                .to_owned(),
        ),
        Mapped::To(_) | Mapped::AsItCame | Mapped::OutOfScope | Mapped::Fault(_) => mapped,
    }
}

/// Whether the manager is somebody else than the directory says: only of that one is it known who it
/// is at the vendor.
fn names_a_stranger(units: &Units, references: &BTreeMap<ExternalId, MemberStanding>) -> bool {
    let manager = units.get(&AttributePath::enterprise("manager")).and_then(Value::as_str);
    manager.is_some_and(|manager| !references.keys().any(|known| known.as_str() == manager))
}

/// What was said under another mapping and is not said any more is the vendor's: it stays there, and
/// nothing is concluded from it.
fn without_what_is_not_ours(mut link: Link, mapped: &Mapped) -> Link {
    if let Link::Known(row) = &mut link {
        row.applied.retain(|unit, _| match mapped {
            Mapped::To(units) => units.contains_key(unit) || user::IDENTITY.contains(&unit.as_str()),
            Mapped::AsItCame => !pick::is_pick(unit),
            Mapped::OutOfScope | Mapped::Fault(_) => true,
        });
    }
    link
}

/// What a pass has found out, for the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Findings {
    /// What was learned of the vendor's side.
    pub link: LinkChange,
    /// How far the memberships are.
    pub members: MembersOutcome,
    /// Users that the resource waits for.
    pub waits_for: BTreeSet<ExternalId>,
    /// For users: whether they belong to each group that the target derives.
    pub memberships: BTreeMap<ExternalId, bool>,
}

impl Findings {
    /// Members that the vendor refused.
    pub fn parked(&self) -> &[ParkedMember] {
        &self.members.parked
    }
}

/// Every text inside a value.
fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(items) => Box::new(items.iter().flat_map(texts)),
        Value::Object(parts) => Box::new(parts.values().flat_map(texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vendor_tests;

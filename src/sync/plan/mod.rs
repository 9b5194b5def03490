//! What to send next for one resource, decided from state alone.
//!
//! A [`Pass`] holds what is desired and what is known, and answers [`Pass::next`] with the next call
//! or with the end. What the vendor said goes back in with [`Pass::absorb`], and the next step is
//! planned anew from what is known then: a stale version, a lost link or a half-applied chunk need
//! no code of their own. No clock, no I/O, no chance: all of it runs in table and property tests.

mod absorb;
mod diff;
mod group;
mod holdable;
mod lookup;
mod members;
mod request;
mod update;
mod user;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

pub use diff::{Current, Units, diff};
pub use request::{End, LaterCause, Next, Purpose, Reaction, Request};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::{Desired, Dossier, Link, LinkChange, MembersOutcome, ParkedMember, Row};
use crate::sync::policy::Policy;

use lookup::Lookup;
use members::Members;

/// Planning of one resource, from the first look to the end.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was learned in the pass")]
pub struct Pass {
    key: ResourceKey,
    generation: u64,
    desired: Desired,
    link: Option<Link>,
    link_touched: bool,
    lookup: Lookup,
    remote: Option<Map<String, Value>>,
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
    more_members: bool,
    waits_for: BTreeSet<ExternalId>,
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
        let mut pass = Self {
            key: dossier.item.key,
            generation: dossier.item.generation,
            desired: dossier.desired,
            link: dossier.link,
            link_touched: false,
            lookup: Lookup::default(),
            remote: None,
            must_read: false,
            doubted: false,
            doubted_removal: None,
            create_bare: false,
            missing_chunk: false,
            waits_for: members.waiting_users(),
            members,
            more_members,
            stale_rounds: 0,
            relinks: 0,
            end: None,
        };
        if pass.members.should_gather(policy.members_per_request, age) {
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

    /// How the pass has ended; `None` while it has not.
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Whether more of the same resource is due at once.
    pub const fn continues(&self) -> bool {
        self.more_members
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
            members: MembersOutcome { settled: self.members.settled_users(), parked: self.members.parked() },
            waits_for: self.waits_for.clone(),
        }
    }

    /// The values that are desired, by attribute: personal data that no log or ledger may show.
    pub fn known_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.registers().iter().flat_map(|(path, value)| texts(value).map(move |text| (path.as_str(), text)))
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
                user::units(&self.key.id, user, references, creating, &mut self.waits_for)
            }
            Desired::Group { group, .. } => group::units(&self.key.id, group),
        };
        holdable::holdable(policy, self.key.kind, units, creating)
    }
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

//! What to send next for one resource, decided from state alone.
//!
//! A [`Pass`] holds what is desired and what is known, and answers [`Pass::next`] with the next call
//! or with the end. What the vendor said goes back in with [`Pass::absorb`], and the next step is
//! planned anew from what is known then: a stale version, a lost link or a half-applied chunk need
//! no code of their own. No clock, no I/O, no chance: all of it runs in table and property tests.

mod diff;
mod group;
mod lookup;
mod members;
mod user;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value};

pub use diff::{Current, Units, diff};

use crate::clock::Timestamp;
use crate::directory::{AttributePath, ExternalId, Kind, ResourceKey};
use crate::scim::etag::ETag;
use crate::scim::patch::PatchOp;
use crate::store::{Desired, Dossier, Link, LinkChange, MembersOutcome, ParkedMember, Row};
use crate::sync::policy::Policy;
use crate::target::verdict::Verdict;

use lookup::Lookup;
use members::Members;

/// Most stale answers in one pass, before the resource is left alone for a while.
const STALE_ROUNDS_MAX: u32 = 5;
/// Most times that a link may turn out wrong in one pass.
const RELINKS_MAX: u32 = 2;

/// One call that planning wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Who is known by one of these (attribute, value) pairs?
    Lookup {
        /// The pairs; more than one only where the vendor supports `or`.
        matchers: Vec<(String, String)>,
    },
    /// What is there now?
    Fetch {
        /// The vendor's id.
        id: String,
    },
    /// POST.
    Create {
        /// The whole resource.
        resource: Value,
    },
    /// PATCH of attributes.
    Update {
        /// The vendor's id.
        id: String,
        /// The least operations.
        ops: Vec<PatchOp>,
        /// The version that the operations were planned against.
        if_match: Option<ETag>,
        /// What the operations amount to.
        purpose: Purpose,
    },
    /// PUT of the merged whole, where PATCH is not supported.
    Put {
        /// The vendor's id.
        id: String,
        /// The resource as read, with ours merged in.
        resource: Value,
        /// The version that was read.
        if_match: Option<ETag>,
        /// What the difference amounts to.
        purpose: Purpose,
    },
    /// PATCH of a group's members.
    Members {
        /// The vendor's id of the group.
        id: String,
        /// Vendor ids of users who join.
        adds: Vec<String>,
        /// Vendor ids of users who leave.
        removes: Vec<String>,
        /// The version that the delta was planned against.
        if_match: Option<ETag>,
    },
    /// DELETE.
    Delete {
        /// The vendor's id.
        id: String,
        /// The version that was known.
        if_match: Option<ETag>,
    },
}

/// What an update amounts to, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Attributes change.
    Update,
    /// Access begins (again).
    Activate,
    /// Access ends.
    Deactivate,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this.
    Send(Request),
    /// Say, with [`Pass::holder_is`], which of our resources is linked to this vendor id.
    AskHolder {
        /// The vendor's id of a resource that matches, but does not bear our external id.
        vendor_id: String,
    },
    /// Nothing more; see [`Pass::findings`].
    Settled,
}

/// What an answer means beyond this resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reaction {
    /// Ask [`Pass::next`].
    Continue,
    /// The vendor asked us to wait: ask again when the target is ready; nobody is to blame.
    Throttled,
    /// Leave the resource alone for a while.
    Later {
        /// Why, for people.
        reason: String,
        /// Whose turn it is to be patient.
        cause: LaterCause,
    },
    /// The target is at fault: suspend it, blame no resource.
    TargetFault {
        /// What is wrong, for people.
        reason: String,
    },
}

/// Why a resource is left alone for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaterCause {
    /// No answer, or a transient one.
    Transient,
    /// Another resource is in the way, perhaps not for long.
    Conflict,
}

/// How a pass has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The vendor is as desired, or there is nothing to say to it.
    Done,
    /// Something outside must happen first.
    Wait {
        /// What, for people.
        reason: &'static str,
    },
    /// More users of this group are about to be linked; one call later saves many.
    Gather,
    /// A person must look.
    Park {
        /// Why, for people.
        reason: String,
    },
}

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
    calls: u32,
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
            create_bare: false,
            missing_chunk: false,
            waits_for: members.waiting_users(),
            members,
            more_members,
            stale_rounds: 0,
            relinks: 0,
            calls: 0,
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

    /// Takes in what the vendor answered to `request`.
    pub fn absorb(&mut self, policy: &Policy, request: &Request, verdict: Verdict) -> Reaction {
        self.calls += 1;
        match verdict {
            Verdict::Done { resource, etag, id, .. } => self.absorb_done(policy, request, resource, etag, id),
            Verdict::Stale => self.absorb_stale(),
            Verdict::Taken { detail } => self.absorb_taken(request, detail.as_deref()),
            Verdict::Missing => self.absorb_missing(request),
            Verdict::TooLarge { detail } => self.absorb_too_large(request, detail.as_deref()),
            Verdict::Refused { status, detail, .. } => {
                self.absorb_refused(policy, request, &refusal(status.as_u16(), detail.as_deref()))
            }
            Verdict::Throttled { .. } => Reaction::Throttled,
            Verdict::Transient { status, .. } => Reaction::Later {
                reason: format!("the vendor answered {status}"),
                cause: LaterCause::Transient,
            },
            Verdict::Unknown => Reaction::Later {
                reason: "no answer from the vendor; the call may have been done".to_owned(),
                cause: LaterCause::Transient,
            },
            Verdict::NotSent => Reaction::Later {
                reason: "the vendor was not reached".to_owned(),
                cause: LaterCause::Transient,
            },
            Verdict::TargetFault { reason } => Reaction::TargetFault { reason },
        }
    }

    /// How the pass has ended; `None` while it has not.
    pub const fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Calls made.
    pub const fn calls(&self) -> u32 {
        self.calls
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

    fn absorb_done(
        &mut self,
        policy: &Policy,
        request: &Request,
        resource: Option<Value>,
        etag: Option<ETag>,
        id: Option<String>,
    ) -> Reaction {
        match request {
            Request::Lookup { matchers } => self.absorb_hits(policy, matchers, resource.as_ref()),
            Request::Fetch { .. } => self.absorb_read(resource, etag),
            Request::Create { resource: sent } => return self.absorb_created(policy, sent, etag, id),
            Request::Update { .. } | Request::Put { .. } => {
                let units = self.units(policy, false);
                self.written(etag);
                self.say_applied(&units);
            }
            Request::Members { .. } => {
                self.members.chunk_done();
                self.written(etag);
            }
            Request::Delete { .. } => {
                self.set_link(Some(Link::Absent { checked_at: Timestamp::default() }));
                self.members.settle_all();
                self.end = Some(End::Done);
            }
        }
        Reaction::Continue
    }

    fn absorb_read(&mut self, resource: Option<Value>, etag: Option<ETag>) {
        let Some(Value::Object(resource)) = resource else {
            self.end = Some(End::Park { reason: "the vendor answered a read without a resource".to_owned() });
            return;
        };
        self.must_read = false;
        if let Some(Link::Known(row)) = &mut self.link {
            row.etag = etag.or_else(|| version_of(&resource));
            self.link_touched = true;
        }
        self.remote = Some(resource);
        if std::mem::take(&mut self.missing_chunk) && !self.members.split() {
            self.members.park_chunk(&refusal(404, Some("the vendor does not know the member")));
        }
    }

    fn absorb_created(
        &mut self,
        policy: &Policy,
        sent: &Value,
        etag: Option<ETag>,
        id: Option<String>,
    ) -> Reaction {
        let Some(vendor_id) = id.filter(|id| !id.is_empty()) else {
            // Created, but under which id? The next pass looks it up.
            return Reaction::Later {
                reason: "the vendor created the resource without telling its id".to_owned(),
                cause: LaterCause::Transient,
            };
        };
        let applied = self.units(policy, true);
        self.set_link(Some(Link::Known(Row { vendor_id, etag, applied, ..Row::default() })));
        self.lookup = Lookup::default();
        if sent.get("members").is_some() {
            self.members.chunk_done();
        }
        self.members.settle_removals();
        Reaction::Continue
    }

    fn absorb_stale(&mut self) -> Reaction {
        self.stale_rounds += 1;
        if self.stale_rounds > STALE_ROUNDS_MAX {
            return Reaction::Later {
                reason: "the resource kept changing at the vendor".to_owned(),
                cause: LaterCause::Transient,
            };
        }
        self.must_read = true;
        Reaction::Continue
    }

    fn absorb_taken(&mut self, request: &Request, detail: Option<&str>) -> Reaction {
        let reason = refusal(409, detail);
        match request {
            Request::Create { .. } if !self.lookup.was_refuted() => {
                self.lookup = Lookup::refuted();
                Reaction::Continue
            }
            Request::Create { .. } => {
                self.end = Some(End::Park {
                    reason: format!(
                        "the vendor holds the same unique value, but no lookup finds it; {reason}"
                    ),
                });
                Reaction::Continue
            }
            // Another resource may be about to give the value up.
            Request::Update { .. } | Request::Put { .. } => {
                Reaction::Later { reason, cause: LaterCause::Conflict }
            }
            Request::Lookup { .. }
            | Request::Fetch { .. }
            | Request::Members { .. }
            | Request::Delete { .. } => {
                self.end = Some(End::Park { reason });
                Reaction::Continue
            }
        }
    }

    fn absorb_missing(&mut self, request: &Request) -> Reaction {
        match request {
            Request::Delete { .. } => {
                self.set_link(Some(Link::Absent { checked_at: Timestamp::default() }));
                self.members.settle_all();
                self.end = Some(End::Done);
                Reaction::Continue
            }
            // Some vendors say 404 of a member; only a read tells that from a missing group.
            Request::Members { .. } => {
                self.missing_chunk = true;
                self.must_read = true;
                Reaction::Continue
            }
            Request::Fetch { .. } | Request::Update { .. } | Request::Put { .. } => {
                self.forget_link();
                self.relinks += 1;
                if self.relinks > RELINKS_MAX {
                    return Reaction::Later {
                        reason: "the vendor lists the resource and then does not know it".to_owned(),
                        cause: LaterCause::Transient,
                    };
                }
                Reaction::Continue
            }
            Request::Lookup { .. } | Request::Create { .. } => Reaction::TargetFault {
                reason: "the vendor answered 404 for a whole collection; is the base URL right?".to_owned(),
            },
        }
    }

    fn absorb_too_large(&mut self, request: &Request, detail: Option<&str>) -> Reaction {
        let split = matches!(request, Request::Members { .. }) && self.members.split_too_large();
        if !split && !self.retreats_to_bare(request) {
            self.park_or_member(request, refusal(413, detail));
        }
        Reaction::Continue
    }

    /// Whether a refused request was a creation with members, and one without is to be tried.
    fn retreats_to_bare(&mut self, request: &Request) -> bool {
        let with_members =
            matches!(request, Request::Create { resource } if resource.get("members").is_some());
        self.create_bare |= with_members;
        with_members
    }

    fn absorb_refused(&mut self, policy: &Policy, request: &Request, reason: &str) -> Reaction {
        if self.retreats_to_bare(request) {
            return Reaction::Continue;
        }
        let doubted = std::mem::replace(&mut self.doubted, true);
        match request {
            // What was assumed of the vendor's side may be wrong: look once, then plan anew.
            Request::Update { .. } if !doubted => self.must_read = true,
            Request::Members { .. } if !doubted && policy.members_readable => self.must_read = true,
            Request::Members { .. } if self.members.split() => {}
            Request::Members { removes, .. } if !removes.is_empty() && !policy.members_readable => {
                // Nobody can say whether the member is still there; a refusal to remove says it is not.
                self.members.chunk_done();
            }
            Request::Members { .. }
            | Request::Update { .. }
            | Request::Lookup { .. }
            | Request::Fetch { .. }
            | Request::Create { .. }
            | Request::Put { .. }
            | Request::Delete { .. } => self.park_or_member(request, reason.to_owned()),
        }
        Reaction::Continue
    }

    fn park_or_member(&mut self, request: &Request, reason: String) {
        match request {
            Request::Members { .. } => self.members.park_chunk(&reason),
            Request::Lookup { .. }
            | Request::Fetch { .. }
            | Request::Create { .. }
            | Request::Update { .. }
            | Request::Put { .. }
            | Request::Delete { .. } => self.end = Some(End::Park { reason }),
        }
    }

    /// After a write: what was read is outdated, and the version is what the answer says.
    fn written(&mut self, etag: Option<ETag>) {
        self.remote = None;
        if let Some(Link::Known(row)) = &mut self.link {
            row.etag = etag;
            self.link_touched = true;
        }
    }

    fn set_link(&mut self, link: Option<Link>) {
        self.link = link;
        self.link_touched = true;
    }

    /// What was known is gone at the vendor. A group that is made again has no members: its rows are
    /// loaded anew, from the first.
    fn forget_link(&mut self) {
        self.set_link(None);
        self.lookup = Lookup::default();
        self.remote = None;
        self.must_read = false;
        self.missing_chunk = false;
        if self.key.kind == Kind::Group {
            self.members = Members::default();
            self.more_members = true;
        }
    }

    fn row(&self) -> Option<&Row> {
        match &self.link {
            Some(Link::Known(row)) => Some(row),
            Some(Link::Absent { .. }) | None => None,
        }
    }

    /// The units that should be at the vendor now. `creating` asks for the whole resource.
    fn units(&mut self, policy: &Policy, creating: bool) -> Units {
        let units = match &self.desired {
            Desired::User { user, references } => {
                user::units(&self.key.id, user, references, creating, &mut self.waits_for)
            }
            Desired::Group { group, .. } => group::units(&self.key.id, group),
        };
        units.into_iter().filter(|(path, _)| !policy.strips(path.as_str())).collect()
    }

    /// PATCH of what is left to say, or PUT of the merged whole; `None` when nothing is left.
    fn update(
        &mut self,
        policy: &Policy,
        units: &Units,
        purpose: impl Fn(&[PatchOp]) -> Purpose,
    ) -> Option<Next> {
        let row = self.row()?;
        let current = match &self.remote {
            Some(resource) => Current::Read(resource),
            None if row.applied.is_empty() => return Some(self.fetch()),
            None => Current::Assumed(&row.applied),
        };
        let ops = diff(units, &row.applied, current, policy.path_filters);
        if ops.is_empty() {
            self.say_applied(units);
            return None;
        }
        let (id, if_match, purpose) = (row.vendor_id.clone(), row.etag.clone(), purpose(&ops));
        if policy.patch {
            return Some(Next::Send(Request::Update { id, ops, if_match, purpose }));
        }
        let Some(remote) = &self.remote else { return Some(self.fetch()) };
        let resource = merged_whole(remote, units, policy);
        Some(Next::Send(Request::Put { id, resource, if_match, purpose }))
    }

    /// The vendor was seen to be as desired, or was made so.
    fn say_applied(&mut self, units: &Units) {
        if let Some(Link::Known(row)) = &mut self.link
            && units.iter().any(|(path, value)| row.applied.get(path) != Some(value))
        {
            row.applied.extend(units.iter().map(|(path, value)| (path.clone(), value.clone())));
            self.link_touched = true;
        }
    }

    fn fetch(&self) -> Next {
        match self.row() {
            Some(row) => Next::Send(Request::Fetch { id: row.vendor_id.clone() }),
            None => Next::Settled,
        }
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

/// The vendor's refusal in one line.
fn refusal(status: u16, detail: Option<&str>) -> String {
    match detail {
        Some(detail) if !detail.is_empty() => format!("{status}: {detail}"),
        Some(_) | None => format!("{status} without a reason"),
    }
}

/// `meta.version` of a resource, as an [`ETag`].
fn version_of(resource: &Map<String, Value>) -> Option<ETag> {
    let meta = diff::read(resource, &AttributePath::new("meta"))?.as_object()?;
    ETag::parse(diff::read(meta, &AttributePath::new("version"))?.as_str()?)
}

/// The vendor's resource with ours merged in, for `PUT`.
fn merged_whole(remote: &Map<String, Value>, units: &Units, policy: &Policy) -> Value {
    let mut whole = remote.clone();
    for protected in ["meta", "groups"] {
        whole.remove(protected);
    }
    whole.retain(|name, _| !policy.strips(name));
    for (path, value) in units {
        put(&mut whole, path, value);
    }
    Value::Object(whole)
}

fn put(whole: &mut Map<String, Value>, path: &AttributePath, value: &Value) {
    let (container, name) = match (path.extension(), path.as_str().split_once('.')) {
        (Some((urn, name)), _) => (Some(urn), name),
        (None, Some((container, name))) => (Some(container), name),
        (None, None) => (None, path.as_str()),
    };
    let object = match container {
        None => Some(whole),
        Some(container) => {
            whole.entry(container).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
        }
    };
    let Some(object) = object else { return };
    if value.is_null() {
        object.remove(name);
    } else {
        object.insert(name.to_owned(), value.clone());
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

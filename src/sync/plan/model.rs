//! A vendor in a few lines, and a driver that plans against it: for tests of planning alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::directory::{AttributePath, ResourceKey};
use crate::scim::definition::{GROUP_RULES, USER_RULES};
use crate::scim::etag::ETag;
use crate::scim::patch::{PatchOp, PatchRequest, apply};
use crate::store::{Desired, Dossier, Lane, Link, LinkChange, MemberDelta, Row, WorkItem};
use crate::sync::plan::{End, Next, Pass, Reaction, Request, diff};
use crate::sync::policy::Policy;
use crate::target::verdict::Verdict;

/// Calls of one pass at most: far more than any test needs.
const CALLS_MAX: usize = 1_000;

/// What goes wrong with one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    None,
    /// The call is not done, and the vendor says so.
    FailedBefore,
    /// The call is done, and the answer is lost.
    LostAfter,
    /// Somebody edits the resource just before.
    EditedBefore,
    /// The vendor forgets the resource just before (deleted and made anew by somebody).
    Recreated,
    /// Somebody makes a resource of the same name just before it is created.
    MadeBefore,
}

/// A vendor of one kind of resource.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one habit of a vendor")]
pub(super) struct Vendor {
    pub(super) resources: BTreeMap<String, Map<String, Value>>,
    pub(super) poison: BTreeSet<String>,
    pub(super) members_max: usize,
    pub(super) calls: Vec<Request>,
    pub(super) enforces_versions: bool,
    pub(super) lists_members: bool,
    /// Whoever asks for a group is not told its members.
    pub(super) hides_members: bool,
    /// Refuses to remove who is no member.
    pub(super) refuses_absent: bool,
    /// Where a refused creation says that the other resource is, its id in place of `{id}`.
    pub(super) names_holder: Option<&'static str>,
    /// Look-ups find nobody.
    pub(super) finds_nobody: bool,
    /// Members who leave by themselves, one before each PATCH.
    pub(super) leavers: Vec<String>,
    pub(super) version: u64,
}

impl Vendor {
    pub(super) fn strict() -> Self {
        Self { members_max: usize::MAX, enforces_versions: true, lists_members: true, ..Self::default() }
    }

    pub(super) fn insert(&mut self, resource: &Value) -> String {
        self.version += 1;
        let id = format!("v{}", self.version);
        let mut resource = resource.as_object().unwrap().clone();
        resource.insert("id".into(), json!(id));
        resource.insert("meta".into(), json!({ "version": format!("W/\"{}\"", self.version) }));
        self.resources.insert(id.clone(), resource);
        id
    }

    pub(super) fn serve(&mut self, request: &Request, mishap: Mishap) -> Verdict {
        self.calls.push(request.clone());
        match mishap {
            Mishap::None => self.perform(request),
            Mishap::FailedBefore => {
                Verdict::Transient { status: StatusCode::SERVICE_UNAVAILABLE, unknown: true }
            }
            Mishap::LostAfter => {
                self.perform(request);
                Verdict::Unknown
            }
            Mishap::EditedBefore => {
                for resource in self.resources.values_mut() {
                    self.version += 1;
                    resource.insert("nickName".into(), json!(format!("edit{}", self.version)));
                    resource.insert("meta".into(), json!({ "version": format!("W/\"{}\"", self.version) }));
                }
                self.perform(request)
            }
            Mishap::Recreated => {
                let all: Vec<_> = std::mem::take(&mut self.resources).into_values().collect();
                for resource in all {
                    self.insert(&Value::Object(resource));
                }
                self.perform(request)
            }
            Mishap::MadeBefore => {
                if let Request::Create { resource } = request {
                    self.insert(&json!({"userName": resource["userName"], "nickName": "theirs"}));
                }
                self.perform(request)
            }
        }
    }

    fn perform(&mut self, request: &Request) -> Verdict {
        match request {
            Request::Lookup { matchers } => {
                let hits = self
                    .resources
                    .values()
                    .filter(|resource| !self.finds_nobody && matches(resource, matchers));
                let mut hits: Vec<_> = hits.map(|resource| self.shown(resource)).collect();
                if !self.lists_members {
                    hits.iter_mut()
                        .filter_map(|hit| hit.get_mut("members"))
                        .for_each(|held| *held = json!([]));
                }
                done(Some(json!({ "totalResults": hits.len(), "Resources": hits })), None)
            }
            Request::Fetch { id } | Request::Inspect { id, .. } => match self.resources.get(id) {
                Some(resource) => done(Some(Value::Object(self.shown(resource))), version(resource)),
                None => Verdict::Missing,
            },
            // In pages of two.
            Request::MemberPage { id, start } => {
                let Some(group) = self.resources.get(id) else { return Verdict::Missing };
                let members = group.get("members").and_then(Value::as_array).cloned().unwrap_or_default();
                let from = usize::try_from(*start).unwrap() - 1;
                let page: Vec<_> = members.iter().skip(from).take(2).collect();
                done(Some(json!({ "totalResults": members.len(), "Resources": page })), None)
            }
            Request::IsMember { id, member } => {
                let held: Vec<_> = self.holds(id, member).then(|| json!({ "id": id })).into_iter().collect();
                done(Some(json!({ "totalResults": held.len(), "Resources": held })), None)
            }
            Request::Create { resource } => {
                let holder = |attribute: &str| {
                    let value = resource.get(attribute)?;
                    self.resources.iter().find(|(_, held)| held.get(attribute) == Some(value))
                };
                if let Some((id, _)) = holder("userName").or_else(|| holder("displayName")) {
                    let named = self.names_holder.map(|form| form.replace("{id}", id));
                    return Verdict::Taken { detail: None, locations: named.into_iter().collect() };
                }
                let members = resource["members"].as_array().map_or(&[][..], Vec::as_slice);
                if members.iter().any(|member| self.poison.contains(member["value"].as_str().unwrap())) {
                    return bad_member();
                }
                let id = self.insert(resource);
                let made = &self.resources[&id];
                done(Some(Value::Object(made.clone())), version(made))
            }
            Request::Update { id, ops, if_match, .. } => self.patch(id, ops.clone(), if_match.as_ref()),
            Request::Members { id, adds, removes, if_match } => {
                if adds.len() + removes.len() > self.members_max {
                    return Verdict::TooLarge { detail: None };
                }
                if adds.iter().any(|add| self.poison.contains(add)) {
                    return bad_member();
                }
                if let Some(leaver) = self.leavers.pop() {
                    self.leave(id, &leaver);
                }
                if self.refuses_absent && removes.iter().any(|remove| !self.holds(id, remove)) {
                    return bad_member();
                }
                let added: Vec<Value> = adds.iter().map(|id| json!({ "value": id })).collect();
                let mut ops = Vec::new();
                if !added.is_empty() {
                    ops.push(PatchOp::add("members", Value::Array(added)));
                }
                ops.extend(removes.iter().map(|id| PatchOp::remove(format!("members[value eq \"{id}\"]"))));
                self.patch(id, ops, if_match.as_ref())
            }
            Request::Put { id, resource, if_match, .. } => {
                let Some(held) = self.resources.get(id) else { return Verdict::Missing };
                if self.stale(held, if_match.as_ref()) {
                    return Verdict::Stale;
                }
                self.resources.remove(id);
                let made = self.insert(resource);
                let mut made = self.resources.remove(&made).unwrap();
                made.insert("id".into(), json!(id));
                let etag = version(&made);
                self.resources.insert(id.clone(), made);
                done(None, etag)
            }
            Request::Delete { id, if_match } => {
                let Some(held) = self.resources.get(id) else { return Verdict::Missing };
                if self.stale(held, if_match.as_ref()) {
                    return Verdict::Stale;
                }
                self.resources.remove(id);
                done(None, None)
            }
        }
    }

    fn shown(&self, resource: &Map<String, Value>) -> Map<String, Value> {
        let mut shown = resource.clone();
        shown.retain(|name, _| name != "members" || !self.hides_members);
        shown
    }

    fn patch(&mut self, id: &str, operations: Vec<PatchOp>, if_match: Option<&ETag>) -> Verdict {
        let Some(held) = self.resources.get(id) else { return Verdict::Missing };
        if self.stale(held, if_match) {
            return Verdict::Stale;
        }
        let rules = if held.contains_key("userName") { &USER_RULES } else { &GROUP_RULES };
        let mut changed = Value::Object(held.clone());
        match apply(&mut changed, &PatchRequest { operations }, rules) {
            Ok(_) => {
                self.version += 1;
                changed["meta"] = json!({ "version": format!("W/\"{}\"", self.version) });
                let changed = changed.as_object().unwrap().clone();
                let etag = version(&changed);
                self.resources.insert(id.to_owned(), changed);
                done(None, etag)
            }
            Err(error) => Verdict::Refused {
                status: StatusCode::BAD_REQUEST,
                scim_type: Some(error.scim_type()),
                detail: Some(error.to_string()),
            },
        }
    }

    fn holds(&self, group: &str, member: &str) -> bool {
        let members = self.resources.get(group).and_then(|group| group.get("members")?.as_array());
        members.is_some_and(|members| members.iter().any(|held| held["value"] == member))
    }

    fn leave(&mut self, group: &str, member: &str) {
        let members =
            self.resources.get_mut(group).and_then(|group| group.get_mut("members")?.as_array_mut());
        if let Some(members) = members {
            members.retain(|held| held["value"] != member);
        }
        // An attribute without values is not there: RFC 7643 section 2.5.
        if let Some(group) = self.resources.get_mut(group)
            && group.get("members").and_then(Value::as_array).is_some_and(Vec::is_empty)
        {
            group.remove("members");
        }
    }

    fn stale(&self, held: &Map<String, Value>, if_match: Option<&ETag>) -> bool {
        self.enforces_versions && if_match.is_some_and(|sent| version(held).as_ref() != Some(sent))
    }
}

fn matches(resource: &Map<String, Value>, matchers: &[(String, String)]) -> bool {
    matchers.iter().any(|(attribute, value)| {
        diff::read(resource, &AttributePath::new(attribute)).and_then(Value::as_str) == Some(value)
    })
}

fn version(resource: &Map<String, Value>) -> Option<ETag> {
    ETag::parse(resource["meta"]["version"].as_str()?)
}

fn bad_member() -> Verdict {
    Verdict::Refused { status: StatusCode::BAD_REQUEST, scim_type: None, detail: Some("bad member".into()) }
}

fn done(resource: Option<Value>, etag: Option<ETag>) -> Verdict {
    let id = resource.as_ref().and_then(|resource| resource.get("id")?.as_str().map(str::to_owned));
    Verdict::Done { status: StatusCode::OK, resource, etag, id }
}

/// The relay's memory of one resource.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) key: ResourceKey,
    pub(super) desired: Desired,
    pub(super) link: Option<Link>,
    pub(super) holder: Option<crate::directory::ExternalId>,
    /// The members by the directory, as the vendor calls them, where all are known.
    pub(super) ours: Option<BTreeSet<String>>,
}

impl Memory {
    pub(super) fn new(key: ResourceKey, desired: Desired) -> Self {
        Self { key, desired, link: None, holder: None, ours: None }
    }

    pub(super) fn row(&self) -> &Row {
        match &self.link {
            Some(Link::Known(row)) => row,
            other => panic!("{other:?}"),
        }
    }

    /// One pass; `None` when it was left for later.
    pub(super) fn pass(
        &mut self,
        policy: &Policy,
        vendor: &mut Vendor,
        mut mishap: impl FnMut() -> Mishap,
    ) -> Option<(End, Pass)> {
        let mut pass = Pass::begin(self.dossier(), policy, Duration::from_mins(1));
        let before = vendor.calls.len();
        let end = loop {
            let calls = &vendor.calls[before..];
            assert!(calls.len() < CALLS_MAX, "a pass without an end; its last call is {:?}", calls.last());
            let reaction = match pass.next(policy) {
                Next::Settled => break pass.end().cloned(),
                Next::AskHolder { .. } => pass.holder_is(self.holder.as_ref()),
                Next::AskStrangers { vendor_ids } => {
                    let is_stranger = |ours: &BTreeSet<String>, id: &String| !ours.contains(id);
                    pass.strangers_are(
                        self.ours
                            .as_ref()
                            .map(|ours| vendor_ids.into_iter().filter(|id| is_stranger(ours, id)).collect()),
                    );
                    Reaction::Continue
                }
                Next::Send(request) => {
                    let verdict = vendor.serve(&request, mishap());
                    pass.absorb(policy, &request, verdict)
                }
            };
            match reaction {
                Reaction::Continue | Reaction::Throttled => {}
                Reaction::Later { .. } => break None,
                Reaction::TargetFault { reason, .. } => panic!("{reason}"),
            }
        };
        let findings = pass.findings(Timestamp::default());
        match findings.link {
            LinkChange::Keep => {}
            LinkChange::Set(link) => self.link = Some(link),
            LinkChange::Forget => self.link = None,
        }
        self.forget_sent(&findings.members.settled);
        end.map(|end| (end, pass))
    }

    pub(super) fn dossier(&self) -> Dossier {
        let item = WorkItem {
            key: self.key.clone(),
            lane: Lane::Change,
            generation: 7,
            since: Timestamp::default(),
            attempts: 0,
            failed_at: None,
            intent: None,
        };
        let watermark = match &self.link {
            Some(Link::Known(row)) => row.synced_members,
            Some(Link::Absent { .. }) | None => 0,
        };
        let mut desired = self.desired.clone();
        if let Desired::Group { deltas, .. } = &mut desired {
            deltas.retain(|delta| delta.waited || delta.sequence > watermark);
        }
        Dossier { item, desired, link: self.link.clone() }
    }

    fn forget_sent(&mut self, settled: &BTreeSet<crate::directory::ExternalId>) {
        if let Desired::Group { deltas, .. } = &mut self.desired {
            deltas.retain(|delta: &MemberDelta| !(delta.waited && settled.contains(&delta.user)));
        }
    }
}

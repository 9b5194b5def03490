//! What a pass learns from each answer. Which step follows is planned anew from what is known then.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::directory::{AttributePath, Kind};
use crate::scim::etag::ETag;
use crate::store::{Link, Row};
use crate::sync::plan::authority::Authority;
use crate::sync::plan::lookup::{self, Lookup};
use crate::sync::plan::members::Members;
use crate::sync::plan::{
    End, LaterCause, MemberPages, PageRead, Paging, Pass, Purpose, Reaction, Request, Teller, diff,
};
use crate::sync::policy::Policy;
use crate::sync::record::target_kind;
use crate::target::verdict::{Mend, Verdict};

/// Most stale answers in one pass, before the resource is left alone for a while.
const STALE_ROUNDS_MAX: u32 = 5;
/// Most times that a link may turn out wrong in one pass.
const RELINKS_MAX: u32 = 2;

impl Pass {
    /// Takes in what the vendor answered to `request`.
    pub fn absorb(&mut self, policy: &Policy, request: &Request, verdict: Verdict) -> Reaction {
        let was_done = matches!(verdict, Verdict::Done { .. });
        if self.has_references() && !was_done {
            self.forget_references();
            // What was named may be what was refused: without it the vendor is asked again.
            if refused(&verdict).is_some() {
                return Reaction::Continue;
            }
        }
        let reaction = self.take_in(policy, request, verdict);
        self.forget_references();
        reaction
    }

    fn take_in(&mut self, policy: &Policy, request: &Request, verdict: Verdict) -> Reaction {
        if matches!(request, Request::Members { .. })
            && self.authority.is_under_way()
            && let Some(reason) = refused(&verdict)
        {
            self.absorb_refused_strangers(&reason);
            return Reaction::Continue;
        }
        match verdict {
            // What the read said was more than is taken in.
            Verdict::Refused { status, .. } if status.is_success() && self.slims_for_good(request) => {
                Reaction::Continue
            }
            verdict if names_nobody(request, &verdict) => {
                self.lookup.dismiss(Teller::Vendor);
                Reaction::Continue
            }
            Verdict::Done { resource, etag, id, .. } => self.absorb_done(policy, request, resource, etag, id),
            Verdict::Stale => self.absorb_stale(),
            Verdict::Taken { detail, locations } => {
                self.absorb_taken(policy, request, detail.as_deref(), &locations)
            }
            Verdict::Missing => self.absorb_missing(request),
            Verdict::TooLarge { detail } => self.absorb_too_large(policy, request, detail.as_deref()),
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
            Verdict::TargetFault { reason, mend } => Reaction::TargetFault { reason, mend },
        }
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
            Request::Inspect { id, told_by } => {
                self.absorb_inspected(policy, (id, *told_by), resource, etag);
            }
            Request::Fetch { .. } => self.absorb_read(policy, resource, etag),
            Request::MemberPage { .. } => self.absorb_page(policy, resource.as_ref()),
            Request::IsMember { id, .. } => {
                let is_member = holds(resource.as_ref(), id);
                self.members.answered(is_member);
            }
            Request::Create { resource: sent } => return self.absorb_created(policy, sent, etag, id),
            Request::Update { purpose: Purpose::Deactivate, .. }
            | Request::Put { purpose: Purpose::Deactivate, .. }
                if policy.deactivation_ends_the_account =>
            {
                self.set_link(Some(Link::Absent { checked_at: Timestamp::default() }));
                self.end = Some(End::Done);
            }
            Request::Update { .. } | Request::Put { .. } => {
                let units = self.units(policy, false);
                self.written(etag);
                self.say_applied(&units);
            }
            Request::Members { .. } if self.authority.is_under_way() => {
                self.authority.done();
                self.written(etag);
            }
            Request::Members { .. } => {
                self.members.chunk_done();
                self.written(etag);
                self.authority.forget_what_was_seen();
            }
            Request::Delete { .. } => {
                self.set_link(Some(Link::Absent { checked_at: Timestamp::default() }));
                self.members.settle_all();
                self.end = Some(End::Done);
            }
        }
        Reaction::Continue
    }

    fn absorb_read(&mut self, policy: &Policy, resource: Option<Value>, etag: Option<ETag>) {
        let Some(Value::Object(resource)) = resource else {
            self.end = Some(End::Park { reason: "the vendor answered a read without a resource".to_owned() });
            return;
        };
        if policy.members_paged && self.key.kind == Kind::Group && !self.is_slim() {
            self.paging = Some(Paging { group: resource, etag, pages: MemberPages::default() });
        } else {
            self.absorb_whole(policy, resource, etag);
        }
    }

    fn absorb_page(&mut self, policy: &Policy, page: Option<&Value>) {
        let Some(mut paging) = self.paging.take() else { return };
        let page = page.and_then(Value::as_object);
        match page.map_or(PageRead::Useless, |page| paging.pages.absorb(page)) {
            PageRead::More => self.paging = Some(paging),
            PageRead::Whole => {
                let Paging { mut group, etag, pages } = paging;
                pages.complete(&mut group);
                self.absorb_whole(policy, group, etag);
            }
            PageRead::Useless => self.absorb_without_members(policy, paging),
        }
    }

    /// The members cannot be read: nothing is concluded from the group but what else it shows.
    fn absorb_without_members(&mut self, policy: &Policy, paging: Paging) {
        let Paging { mut group, etag, .. } = paging;
        group.retain(|name, _| !name.eq_ignore_ascii_case("members"));
        self.authority.end();
        (self.slim, self.unreadable) = (true, true);
        self.absorb_whole(policy, group, etag);
    }

    fn absorb_whole(&mut self, policy: &Policy, resource: Map<String, Value>, etag: Option<ETag>) {
        self.must_read = false;
        if let Some(Link::Known(row)) = &mut self.link {
            row.etag = etag.or_else(|| version_of(&resource));
            self.link_touched = true;
        }
        if self.is_slim() {
            self.authority.forget_what_was_seen();
        } else {
            self.authority.see(&resource);
        }
        self.remote = Some(resource);
        if std::mem::take(&mut self.missing_chunk) && !self.members.split() {
            self.ask_or_park(policy, &refusal(404, Some("the vendor does not know the member")));
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
        // It is new: nobody but the relay has added anybody.
        self.authority.end();
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

    fn absorb_taken(
        &mut self,
        policy: &Policy,
        request: &Request,
        detail: Option<&str>,
        locations: &[String],
    ) -> Reaction {
        let reason = refusal(409, detail);
        match request {
            Request::Create { .. } => {
                let kind = target_kind(self.key.kind);
                let named = locations.iter().find_map(|at| policy.addresses.id_at(kind, at));
                if !self.lookup.refute(named) {
                    let words = if self.lookup.was_named() {
                        "no lookup finds it, and what it names does not match"
                    } else {
                        "no lookup finds it"
                    };
                    let reason = format!("the vendor holds the same unique value, but {words}; {reason}");
                    self.end = Some(End::Park { reason });
                }
                Reaction::Continue
            }
            // Another resource may be about to give the value up.
            Request::Update { .. } | Request::Put { .. } => {
                Reaction::Later { reason, cause: LaterCause::Conflict }
            }
            Request::MemberPage { .. } | Request::IsMember { .. } => {
                self.absorb_unread(policy, request);
                Reaction::Continue
            }
            Request::Lookup { .. }
            | Request::Inspect { .. }
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
            Request::Fetch { .. }
            | Request::MemberPage { .. }
            | Request::Update { .. }
            | Request::Put { .. } => {
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
            Request::Inspect { told_by, .. } => {
                self.lookup.dismiss(*told_by);
                Reaction::Continue
            }
            Request::Lookup { .. } | Request::IsMember { .. } | Request::Create { .. } => {
                Reaction::TargetFault {
                    reason: "the vendor answered 404 for a whole collection; is the base URL right?"
                        .to_owned(),
                    mend: Mend::Address,
                }
            }
        }
    }

    fn absorb_too_large(&mut self, policy: &Policy, request: &Request, detail: Option<&str>) -> Reaction {
        let split = matches!(request, Request::Members { .. }) && self.members.split_too_large();
        if !split && !self.retreats_to_bare(request) {
            self.park_or_member(policy, request, refusal(413, detail));
        }
        Reaction::Continue
    }

    /// Whether a read was that of a group with its members, and one without is to be tried.
    fn slims_for_good(&mut self, request: &Request) -> bool {
        let reads =
            matches!(request, Request::Lookup { .. } | Request::Fetch { .. } | Request::Inspect { .. });
        if reads && self.authority.reads_whole() {
            self.authority.end();
            self.unreadable = true;
            return true;
        }
        let helps = reads && self.key.kind == Kind::Group && !self.slim;
        if helps {
            (self.slim, self.unreadable) = (true, true);
        }
        helps
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
        if matches!(request, Request::MemberPage { .. } | Request::IsMember { .. }) {
            self.absorb_unread(policy, request);
            return Reaction::Continue;
        }
        let doubted = std::mem::replace(&mut self.doubted, true);
        match request {
            // What was assumed of the vendor's side may be wrong: look once, then plan anew.
            Request::Update { .. } if !doubted => self.must_read = true,
            Request::Members { .. } if !doubted && policy.members_readable => {
                // Who is a member decides now, where that can be read.
                self.slim = self.unreadable;
                self.must_read = true;
            }
            Request::Members { .. } if self.members.split() => {}
            Request::Members { .. } if policy.members_probed && self.members.ask(reason) => {}
            Request::Members { adds, removes, .. }
                if policy.members_readable
                    && adds.is_empty()
                    && removes.first() != self.doubted_removal.as_ref() =>
            {
                self.doubted_removal = removes.first().cloned();
                self.must_read = true;
            }
            Request::Members { removes, .. }
                if !removes.is_empty()
                    && policy.remove_absent_is_refused
                    && !(policy.members_readable && self.shows_members()) =>
            {
                // No read says whether the member is still there, be it that the vendor shows none or that
                // the group is empty; the refusal says it is not.
                self.members.chunk_done();
            }
            Request::Members { .. }
            | Request::Update { .. }
            | Request::Lookup { .. }
            | Request::Inspect { .. }
            | Request::Fetch { .. }
            | Request::MemberPage { .. }
            | Request::IsMember { .. }
            | Request::Create { .. }
            | Request::Put { .. }
            | Request::Delete { .. } => self.park_or_member(policy, request, reason.to_owned()),
        }
        Reaction::Continue
    }

    /// Whether the group was read, and told its members.
    fn shows_members(&self) -> bool {
        let members = AttributePath::new("members");
        self.remote.as_ref().is_some_and(|remote| diff::read(remote, &members).is_some())
    }

    /// The vendor will not tell who is in the group, or whether somebody is.
    fn absorb_unread(&mut self, policy: &Policy, request: &Request) {
        if matches!(request, Request::IsMember { .. }) {
            self.members.answered(None);
        } else if let Some(paging) = self.paging.take() {
            self.absorb_without_members(policy, paging);
        }
    }

    /// A refused member may be where it should be already, and where the vendor tells, it is asked.
    fn ask_or_park(&mut self, policy: &Policy, reason: &str) {
        if !(policy.members_probed && self.members.ask(reason)) {
            self.members.park_chunk(reason);
        }
    }

    fn park_or_member(&mut self, policy: &Policy, request: &Request, reason: String) {
        match request {
            Request::Members { .. } => self.ask_or_park(policy, &reason),
            Request::MemberPage { .. } | Request::IsMember { .. } => self.absorb_unread(policy, request),
            Request::Inspect { .. } => {
                let reason = format!("the vendor does not show the one that the id map names; {reason}");
                self.end = Some(End::Park { reason });
            }
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
    /// What was known is gone at the vendor. A group that is made again has no members: its rows are
    /// loaded anew, from the first.
    fn forget_link(&mut self) {
        self.set_link(None);
        self.lookup = Lookup::default();
        self.remote = None;
        self.paging = None;
        self.must_read = false;
        self.missing_chunk = false;
        self.authority = Authority::default();
        if self.key.kind == Kind::Group {
            self.members = Members::default();
            self.more_members = true;
        }
    }
}

/// Whether a list holds the group of this id; `None` where it is no list.
fn holds(list: Option<&Value>, id: &str) -> Option<bool> {
    let said = list?.as_object()?;
    let is_list = ["Resources", "totalResults"]
        .iter()
        .any(|name| diff::read(said, &AttributePath::new(*name)).is_some());
    is_list.then(|| lookup::hits(list).iter().any(|hit| lookup::text(hit, "id").as_deref() == Some(id)))
}

/// Whether a vendor has not shown the resource that it has named, for a reason that lies in that one: it
/// may be none that these credentials may see.
fn names_nobody(request: &Request, verdict: &Verdict) -> bool {
    let unseen = |mend: &Mend| matches!(mend, Mend::Permissions | Mend::Address);
    matches!(request, Request::Inspect { told_by: Teller::Vendor, .. })
        && (refused(verdict).is_some()
            || matches!(verdict, Verdict::TargetFault { mend, .. } if unseen(mend)))
}

/// What the vendor has against a call that it will not take as it is.
fn refused(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Taken { detail, .. } => Some(refusal(409, detail.as_deref())),
        Verdict::Missing => Some(refusal(404, None)),
        Verdict::TooLarge { detail } => Some(refusal(413, detail.as_deref())),
        Verdict::Refused { status, detail, .. } => Some(refusal(status.as_u16(), detail.as_deref())),
        Verdict::Done { .. }
        | Verdict::Stale
        | Verdict::Throttled { .. }
        | Verdict::Transient { .. }
        | Verdict::Unknown
        | Verdict::NotSent
        | Verdict::TargetFault { .. } => None,
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
pub(super) fn version_of(resource: &Map<String, Value>) -> Option<ETag> {
    let meta = diff::read(resource, &AttributePath::new("meta"))?.as_object()?;
    ETag::parse(diff::read(meta, &AttributePath::new("version"))?.as_str()?)
}

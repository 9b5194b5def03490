//! From a planned request to the call that is sent, and from its outcome to a verdict and a ledger entry.
//!
//! The vendor's words pass through here only after every value of the resource was taken out of them.

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::directory::Kind;
use crate::scim::patch::{PatchOp, PatchRequest};
use crate::store::LedgerEntry;
use crate::sync::foresee::names;
use crate::sync::plan::{Pass, Purpose, Request, Teller};
use crate::target::requests::{self, UnusableId};
use crate::target::{Answer, Call, CallError, CallFacts, MemberRef, Profile, Verdict, judge};
use crate::telemetry::redaction::redact;

/// Characters of the names that an entry of the ledger tells.
const NAMES_CHARACTERS_MAX: usize = 300;

/// The call that a request becomes under a profile.
pub(super) fn call(profile: &Profile, kind: Kind, request: &Request) -> Result<Call, UnusableId> {
    let kind = target_kind(kind);
    match request {
        Request::Lookup { matchers } => {
            let values: Vec<_> =
                matchers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            // Planning asks only what the policy allows, and the policy is made from the profile.
            requests::lookup(profile, kind, &values).ok_or(UnusableId)
        }
        Request::Fetch { id } | Request::Inspect { id, .. } => requests::fetch(profile, kind, id),
        Request::MemberPage { id, start } => requests::member_page(profile, id, *start),
        Request::IsMember { id, member } => Ok(requests::is_member(profile, id, member)),
        Request::Create { resource } => {
            Ok(requests::create(profile, kind, &with_member_forms(profile, resource)))
        }
        Request::Update { id, ops, if_match, .. } => {
            let patch = PatchRequest { operations: ops.clone() };
            requests::patch(profile, kind, id, &patch, if_match.as_ref())
        }
        Request::Put { id, resource, if_match, .. } => {
            requests::replace(profile, kind, id, resource, if_match.as_ref())
        }
        Request::Members { id, adds, removes, if_match } => {
            let adds: Vec<_> = adds.iter().map(|id| MemberRef { vendor_id: id.clone() }).collect();
            let patch = requests::member_patch(profile, &adds, removes);
            requests::patch(profile, kind, id, &patch, if_match.as_ref())
        }
        Request::Delete { id, if_match } => requests::delete(profile, kind, id, if_match.as_ref()),
    }
}

/// Whether a request names members in a body that is larger than the vendor takes.
pub(super) fn is_too_large(profile: &Profile, kind: Kind, request: &Request) -> bool {
    let Some(most) = profile.members.max_bytes else { return false };
    let names_members = match request {
        Request::Members { .. } => true,
        Request::Create { resource } => resource.get("members").is_some(),
        Request::Lookup { .. }
        | Request::Fetch { .. }
        | Request::Inspect { .. }
        | Request::MemberPage { .. }
        | Request::IsMember { .. }
        | Request::Update { .. }
        | Request::Put { .. }
        | Request::Delete { .. } => false,
    };
    let body = || call(profile, kind, request).ok()?.body;
    let fits = |bytes: usize| u32::try_from(bytes).is_ok_and(|bytes| bytes <= most.get());
    names_members && body().is_some_and(|body| !fits(body.len()))
}

/// What the outcome means, the vendor's words redacted.
pub(super) fn verdict(
    profile: &Profile,
    pass: &Pass,
    call: &Call,
    outcome: Result<&Answer, &CallError>,
) -> Verdict {
    let clean = |detail: Option<String>| detail.map(|detail| redact(&detail, pass.known_values()));
    match judge(profile, &CallFacts::from(call), outcome) {
        Verdict::Taken { detail, locations } => Verdict::Taken { detail: clean(detail), locations },
        Verdict::TooLarge { detail } => Verdict::TooLarge { detail: clean(detail) },
        Verdict::Refused { status, scim_type, detail } => {
            Verdict::Refused { status, scim_type, detail: clean(detail) }
        }
        other @ (Verdict::Done { .. }
        | Verdict::Stale
        | Verdict::Missing
        | Verdict::Throttled { .. }
        | Verdict::Transient { .. }
        | Verdict::Unknown
        | Verdict::NotSent
        | Verdict::TargetFault { .. }) => other,
    }
}

/// The ledger's line about one call.
pub(super) fn entry(
    at: Timestamp,
    request: &Request,
    call: &Call,
    outcome: Result<&Answer, &CallError>,
    verdict: &Verdict,
) -> LedgerEntry {
    let answer = outcome.ok();
    let (result, detail) = result(request, verdict);
    LedgerEntry {
        at,
        operation: operation(request),
        call: Some(format!("{} {}", call.method, call.endpoint)),
        status: answer.map(|answer| answer.status.as_u16()),
        result,
        etag_before: call.if_match.as_ref().map(|etag| etag.as_str().to_owned()),
        etag_after: answer.and_then(|answer| answer.etag.as_ref()).map(|etag| etag.as_str().to_owned()),
        elapsed_us: answer.map(|answer| u64::try_from(answer.elapsed.as_micros()).unwrap_or(u64::MAX)),
        detail,
        actor: None,
    }
}

/// The ledger's word for what is planned.
pub(super) const fn operation(request: &Request) -> &'static str {
    match request {
        Request::Lookup { .. }
        | Request::Inspect { .. }
        | Request::MemberPage { .. }
        | Request::IsMember { .. } => "lookup",
        Request::Fetch { .. } => "fetch",
        Request::Create { .. } => "create",
        Request::Update { purpose, .. } | Request::Put { purpose, .. } => match purpose {
            Purpose::Update => "update",
            Purpose::Activate => "activate",
            Purpose::Deactivate => "deactivate",
        },
        Request::Members { .. } => "members",
        Request::Delete { .. } => "delete",
    }
}

/// Names of the attributes that a request tells, sorted, never their values. Of a whole resource that takes
/// the place of `known`, those that differ from it.
pub(super) fn attributes(request: &Request, known: &Map<String, Value>) -> Vec<String> {
    match request {
        Request::Create { resource } => names(paths(resource)),
        Request::Update { ops, .. } => {
            let of_op = |op: &PatchOp| match (&op.path, &op.value) {
                (Some(path), _) => vec![path.clone()],
                (None, Some(value)) => paths(value),
                (None, None) => Vec::new(),
            };
            names(ops.iter().flat_map(of_op))
        }
        Request::Put { resource, .. } => {
            let differs = |(name, value): &(&String, &Value)| known.get(*name) != Some(value);
            let parts = resource.as_object().into_iter().flatten().filter(differs);
            names(parts.map(|(name, _)| name.clone()))
        }
        Request::Members { .. } => vec!["members".to_owned()],
        Request::Lookup { .. }
        | Request::Fetch { .. }
        | Request::Inspect { .. }
        | Request::MemberPage { .. }
        | Request::IsMember { .. }
        | Request::Delete { .. } => Vec::new(),
    }
}

/// The attributes of a resource, those of extensions and complex ones by their parts.
fn paths(resource: &Value) -> Vec<String> {
    let parts = resource.as_object().into_iter().flatten().filter(|(name, _)| *name != "schemas");
    let of_part = |(name, value): (&String, &Value)| match value {
        Value::Object(parts) => {
            let separator = if name.starts_with("urn:") { ':' } else { '.' };
            parts.keys().map(|part| format!("{name}{separator}{part}")).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            vec![name.clone()]
        }
    };
    parts.flat_map(of_part).collect()
}

fn result(request: &Request, verdict: &Verdict) -> (&'static str, Option<String>) {
    match verdict {
        Verdict::Done { resource, .. } => match request {
            Request::Lookup { .. } | Request::IsMember { .. } => {
                (if found_any(resource.as_ref()) { "found" } else { "not_found" }, None)
            }
            Request::Inspect { told_by, .. } => ("found", Some(named_by(*told_by).to_owned())),
            Request::Fetch { .. } | Request::MemberPage { .. } => ("found", None),
            Request::Update { .. } => ("applied", Some(told(request))),
            Request::Create { .. }
            | Request::Put { .. }
            | Request::Members { .. }
            | Request::Delete { .. } => ("applied", None),
        },
        Verdict::Stale => ("stale", None),
        Verdict::Taken { detail, .. } => ("conflict", detail.clone()),
        Verdict::Missing => match request {
            Request::Inspect { told_by, .. } => ("not_found", Some(named_by(*told_by).to_owned())),
            Request::Lookup { .. }
            | Request::Fetch { .. }
            | Request::MemberPage { .. }
            | Request::IsMember { .. }
            | Request::Create { .. }
            | Request::Update { .. }
            | Request::Put { .. }
            | Request::Members { .. }
            | Request::Delete { .. } => ("not_found", None),
        },
        Verdict::TooLarge { detail } | Verdict::Refused { detail, .. } => ("refused", detail.clone()),
        Verdict::Throttled { .. } => ("throttled", None),
        Verdict::Transient { .. } => ("transient", None),
        Verdict::Unknown => ("unknown", None),
        Verdict::NotSent => ("not_sent", None),
        Verdict::TargetFault { reason, .. } => ("target_fault", Some(reason.clone())),
    }
}

/// Why this one was asked for.
const fn named_by(teller: Teller) -> &'static str {
    match teller {
        Teller::Vendor => "the one that the vendor names as the holder of the value",
        Teller::IdMap => "the one that the id map names",
    }
}

/// What was told, by name alone, as far as there is room for it.
fn told(request: &Request) -> String {
    let names = attributes(request, &Map::new()).join(", ");
    names.chars().take(NAMES_CHARACTERS_MAX).collect()
}

fn found_any(list: Option<&Value>) -> bool {
    list.and_then(|list| list.get("Resources")?.as_array()).is_some_and(|resources| !resources.is_empty())
}

/// A new group's members, in the form that the profile wants.
fn with_member_forms(profile: &Profile, resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(Value::Array(members)) = resource.get_mut("members") {
        for member in members {
            if let Some(id) = member.get("value").and_then(Value::as_str) {
                *member = requests::member_value(profile, id);
            }
        }
    }
    resource
}

/// The same kind in the words of targets.
pub(super) const fn target_kind(kind: Kind) -> requests::Kind {
    match kind {
        Kind::User => requests::Kind::User,
        Kind::Group => requests::Kind::Group,
    }
}

//! What would be sent for one resource, without sending anything.
//!
//! A pass is run as it would be, against a vendor that is imagined: it holds what was applied last, and
//! knows nobody of whom the relay does not know that it has them. What would be read is told as a step,
//! since its answer may change those after it.

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::store::{Dossier, WorkItem};
use crate::sync::plan::{End, Next, Pass, Reaction, Request};
use crate::sync::policy::Policy;
use crate::sync::record::{self, attributes};
use crate::target::Profile;
use crate::target::verdict::Verdict;

/// Steps that are foreseen at most.
const STEPS_MAX: usize = 20;
/// Stands for an id that the vendor would choose.
const NEW_ID: &str = "new";

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foresight {
    /// Each call in its order.
    pub steps: Vec<Foreseen>,
    /// How it would end, for people.
    pub end: String,
}

/// A call that would be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// As in the ledger: `lookup`, `create`, `update` and so on.
    pub operation: &'static str,
    /// The HTTP method and endpoint without ids.
    pub call: String,
    /// Names of the attributes that would be told, sorted; never their values.
    pub attributes: Vec<String>,
    /// Members who would join the group.
    pub joining: usize,
    /// Members who would leave it.
    pub leaving: usize,
    /// What this depends on, for people.
    pub words: &'static str,
}

/// Plans without a vendor. The dossier's own call of unknown outcome is left out of account.
pub fn foresee(dossier: Dossier, policy: &Policy, profile: &Profile) -> Foresight {
    let item = WorkItem::unasked(dossier.item.key.clone(), dossier.item.generation);
    let kind = item.key.kind;
    let mut pass = Pass::begin(Dossier { item, ..dossier }, policy, Duration::MAX);
    let mut steps = Vec::new();
    while steps.len() < STEPS_MAX {
        let request = match pass.next(policy) {
            Next::Settled => break,
            Next::AskHolder { .. } => {
                pass.holder_is(None);
                continue;
            }
            Next::AskStrangers { .. } => {
                pass.strangers_are(None);
                continue;
            }
            Next::Send(request) => request,
        };
        if request.ends_access().is_some() && pass.is_protected(policy) {
            return Foresight { steps, end: "nothing is sent: `protected` forbids it".to_owned() };
        }
        let Ok(call) = record::call(profile, kind, &request) else {
            return Foresight { steps, end: "parked: the vendor's id cannot be part of a path".to_owned() };
        };
        let (joining, leaving) = match &request {
            Request::Members { adds, removes, .. } => (adds.len(), removes.len()),
            Request::Lookup { .. }
            | Request::Fetch { .. }
            | Request::Inspect { .. }
            | Request::MemberPage { .. }
            | Request::IsMember { .. }
            | Request::Create { .. }
            | Request::Update { .. }
            | Request::Put { .. }
            | Request::Delete { .. } => (0, 0),
        };
        let presumed = pass.presumed();
        steps.push(Foreseen {
            operation: record::operation(&request),
            call: format!("{} {}", call.method, call.endpoint),
            attributes: attributes(&request, &presumed),
            joining,
            leaving,
            words: words(&request),
        });
        let answer = imagined(&request, presumed);
        match pass.absorb(policy, &request, answer) {
            Reaction::Continue => {}
            Reaction::Throttled | Reaction::Later { .. } | Reaction::TargetFault { .. } => break,
        }
    }
    Foresight { steps, end: end(&pass) }
}

/// What the vendor would answer if all were as the relay believes.
fn imagined(request: &Request, presumed: Map<String, Value>) -> Verdict {
    let (status, resource, id) = match request {
        Request::Lookup { .. } | Request::MemberPage { .. } | Request::IsMember { .. } => {
            (StatusCode::OK, Some(json!({ "totalResults": 0, "Resources": [] })), None)
        }
        // Nobody says of a vendor that is imagined which account it means.
        Request::Inspect { .. } => return Verdict::Missing,
        Request::Fetch { .. } => (StatusCode::OK, Some(Value::Object(presumed)), None),
        Request::Create { .. } => {
            (StatusCode::CREATED, Some(json!({ "id": NEW_ID })), Some(NEW_ID.to_owned()))
        }
        Request::Update { .. } | Request::Put { .. } | Request::Members { .. } | Request::Delete { .. } => {
            (StatusCode::NO_CONTENT, None, None)
        }
    };
    Verdict::Done { status, resource, etag: None, id }
}

const fn words(request: &Request) -> &'static str {
    if request.ends_access().is_some() {
        return "takes access away: the guard may hold it for a person's decision";
    }
    match request {
        Request::Lookup { .. } | Request::Inspect { .. } => {
            "the vendor would be asked first; if it has one, that is linked, and only what differs is sent in \
             place of what follows"
        }
        Request::MemberPage { .. } | Request::IsMember { .. } => "asked first who is in the group",
        Request::Fetch { .. } => "read first; what follows supposes that it is as it was sent last",
        Request::Create { .. } => "if the vendor has none",
        Request::Members { removes, .. } if !removes.is_empty() => {
            "takes memberships away: the guard may hold these for a person's decision"
        }
        Request::Update { .. } | Request::Put { .. } | Request::Members { .. } | Request::Delete { .. } => "",
    }
}

fn end(pass: &Pass) -> String {
    match pass.end() {
        Some(End::Done) if pass.is_out_of_scope() => "out of the target's scope".to_owned(),
        Some(End::Done) => "in place".to_owned(),
        Some(End::Wait { reason }) => format!("waiting: {reason}"),
        Some(End::Gather) => "waiting for more members".to_owned(),
        Some(End::Park { reason }) => format!("parked: {reason}"),
        None => "further steps would follow".to_owned(),
    }
}

/// The same attributes as people call them: without what picks one of several values, which may be one.
pub(super) fn names(paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let bare = |path: String| {
        let (mut name, mut depth) = (String::new(), 0_u32);
        for character in path.chars() {
            match character {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ if depth == 0 => name.push(character),
                _ => {}
            }
        }
        name
    };
    let names: BTreeSet<String> = paths.into_iter().map(bare).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests;

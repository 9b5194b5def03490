//! Several resources' writes in one request.
//!
//! **Flow.** `assemble` takes the writes that are due into a request, as many as the limits
//! allow → `send` → each operation's own answer goes to the resource that it is about, as if it had
//! been sent alone. What is not answered has an unknown outcome, and is looked at before anything is
//! sent again.
//!
//! **Limits.** What the vendor says of itself, what the profile says, and what was learned: a
//! request that is too large halves the next ones for good, one without an answer for a while.

mod reading;
pub(super) mod standing;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use tokio::time::Instant;
use tower::Service;

use crate::directory::{ExternalId, Kind};
use crate::scim::bulk::request::{BulkLimits, BulkRequest, Operation};
use crate::store::LedgerEntry;
use crate::sync::plan::{Next, Pass, Request};
use crate::sync::policy::Policy;
use crate::sync::record;
use crate::sync::run::Run;
use crate::sync::step::{self, StepDone, Stepped, Task};
use crate::target::verdict::Verdict;
use crate::target::{Answer, Call, CallError, Profile, Stack, requests};
use reading::Whole;

/// Whether a request may be part of a bulk request at this vendor.
pub(super) fn takes(profile: &Profile, request: &Request) -> bool {
    // A look-up is none: its answer decides what is written.
    let (method, versioned) = match request {
        Request::Lookup { .. }
        | Request::Fetch { .. }
        | Request::Inspect { .. }
        | Request::MemberPage { .. }
        | Request::IsMember { .. } => return false,
        Request::Create { .. } => (http::Method::POST, false),
        Request::Update { if_match, .. } | Request::Members { if_match, .. } => {
            (http::Method::PATCH, if_match.is_some())
        }
        Request::Put { if_match, .. } => (http::Method::PUT, if_match.is_some()),
        Request::Delete { if_match, .. } => (http::Method::DELETE, if_match.is_some()),
    };
    profile.bulk.takes(&method, versioned)
}

/// Writes that go in one request.
pub(super) struct Pack {
    body: BulkRequest,
    parts: Vec<Part>,
    /// The users whom it creates, and what stands for each in later operations, where the vendor
    /// understands that.
    references: BTreeMap<ExternalId, String>,
}

/// One resource's part in it.
struct Part {
    task: Task,
    request: Request,
    /// The call that it would be alone.
    call: Call,
    operation: Operation,
}

/// Takes the next writes of `tasks` into one request. What has no room, or no place in it, is handed
/// back.
pub(super) fn assemble(
    profile: &Profile,
    policy: &Policy,
    limits: BulkLimits,
    mut tasks: Vec<Task>,
) -> (Pack, Vec<Task>) {
    if policy.member_references {
        users_first(&mut tasks);
    }
    let mut pack = Pack { body: BulkRequest::new(limits), parts: Vec::new(), references: BTreeMap::new() };
    let left = tasks.into_iter().filter_map(|task| pack.take(profile, policy, task)).collect();
    (pack, left)
}

impl Pack {
    /// How many operations it holds.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// The resources, for calls of their own.
    pub(super) fn into_tasks(self) -> impl Iterator<Item = Task> {
        self.parts.into_iter().map(|part| without_references(part.task))
    }

    /// Takes in a group that only waits for users whom the request creates; any other is handed back as
    /// it was.
    pub(super) fn join(&mut self, profile: &Profile, policy: &Policy, mut task: Task) -> Option<Task> {
        if !task.pass.as_mut().is_some_and(|pass| pass.refer(&self.references)) {
            return Some(task);
        }
        self.take(profile, policy, task).map(|task| Task { alone: false, ..task })
    }

    fn take(&mut self, profile: &Profile, policy: &Policy, mut task: Task) -> Option<Task> {
        let refers = task.pass.as_mut().is_some_and(|pass| {
            pass.refer(&self.references);
            pass.has_references()
        });
        let planned = self.plan(profile, policy, &mut task);
        let has_place = planned.is_some();
        if let Some((request, call, operation)) = planned
            && self.body.push(&operation)
        {
            if policy.member_references && creates_user(&task, &request) {
                let reference = format!("{}{}", requests::REFERENCE, operation.bulk_id);
                self.references.insert(task.item.key.id.clone(), reference);
            }
            self.parts.push(Part { task, request, call, operation });
            return None;
        }
        // What does not fit into an empty request never will, and what must follow others might not.
        let alone = !has_place || self.parts.is_empty() || refers;
        Some(Task { alone, ..without_references(task) })
    }

    /// The operation that comes next; `None` where that is none.
    fn plan(
        &self,
        profile: &Profile,
        policy: &Policy,
        task: &mut Task,
    ) -> Option<(Request, Call, Operation)> {
        let Next::Send(request) = task.pass.as_mut()?.next(policy) else { return None };
        let kind = task.item.key.kind;
        if !takes(profile, &request) || record::is_too_large(profile, kind, &request) {
            return None;
        }
        let call = record::call(profile, kind, &request).ok()?;
        let operation = Operation {
            method: call.method.clone(),
            path: call.path.clone(),
            bulk_id: format!("op-{}", self.parts.len() + 1),
            version: call.if_match.clone(),
            data: call.body.as_ref().map(|body| body.to_vec()),
        };
        Some((request, call, operation))
    }
}

/// Puts groups that wait for a user of the same request behind all others.
fn users_first(tasks: &mut [Task]) {
    let users = tasks.iter().filter(|task| task.item.key.kind == Kind::User);
    let users: BTreeSet<ExternalId> = users.map(|task| task.item.key.id.clone()).collect();
    tasks.sort_by_key(|task| task.pass.as_ref().is_some_and(|pass| pass.waits_for_any(&users)));
}

fn creates_user(task: &Task, request: &Request) -> bool {
    task.item.key.kind == Kind::User && matches!(request, Request::Create { .. })
}

fn without_references(mut task: Task) -> Task {
    if let Some(pass) = &mut task.pass {
        pass.take_references_back();
    }
    task
}

/// Sends a pack, and takes in what became of each part.
pub(super) async fn send(run: &Run, pack: Pack, ready: Stack) -> Vec<StepDone> {
    let Pack { body, mut parts, .. } = pack;
    let creates = parts.iter().filter(|part| matches!(part.request, Request::Create { .. }));
    let passes = creates.filter_map(|part| part.task.pass.as_ref());
    if let Err(error) = try_join_all(passes.map(|pass| step::intend(run, pass))).await {
        return store_failed(parts, error);
    }
    let turn = parts.iter().map(|part| step::turn(part.task.item.lane)).min().unwrap_or_default();
    let ready = tokio::select! {
        biased;
        ready = step::ready_again(&run.shared, ready, turn) => ready,
        () = run.stop.cancelled() => return again(parts, false),
    };
    let (profile, sent) = (run.shared.target.profile(), Instant::now());
    let count = parts.len();
    let call = Call { turn, ..requests::bulk(profile, body.into_body(), count) };
    let outcome = match ready {
        Ok(mut ready) => ready.call(call.clone()).await,
        Err(error) => Err(error),
    };
    let operations: Vec<Operation> = parts.iter().map(|part| part.operation.clone()).collect();
    let whole = reading::read(profile, &call, &operations, outcome.as_ref());
    standing::learn(&run.shared, &whole, count).await;
    match whole {
        Whole::Each(answers) => {
            heed_throttling(run, &answers, sent);
            let (mut done, mut made) = (Vec::with_capacity(count), BTreeSet::new());
            for (mut part, answer) in parts.into_iter().zip(answers) {
                if let Some(pass) = &mut part.task.pass {
                    pass.references_stand_for(&made);
                }
                let creates_user = creates_user(&part.task, &part.request);
                let taken_in = take_in(run, part, answer).await;
                if creates_user && taken_in.task.pass.as_ref().is_some_and(|pass| pass.vendor_id().is_some())
                {
                    made.insert(taken_in.task.item.key.id.clone());
                }
                done.push(taken_in);
            }
            done
        }
        Whole::All(verdict) => {
            let mut done = Vec::with_capacity(count);
            for part in parts {
                done.push(take_in_whole(run, part, outcome.as_ref(), verdict.clone()).await);
            }
            done
        }
        Whole::TooLarge => again(parts, false),
        Whole::Unsupported { .. } | Whole::Refused { .. } => {
            for part in &mut parts {
                part.task.alone = true;
            }
            again(parts, true)
        }
    }
}

/// Takes in one operation's own answer.
async fn take_in(run: &Run, part: Part, answer: Option<Answer>) -> StepDone {
    let outcome = answer.ok_or_else(|| CallError::Unknown { source: "the answer leaves it out".into() });
    let Some(pass) = part.task.pass.as_ref() else { return put_off(part, false) };
    let verdict = record::verdict(run.shared.target.profile(), pass, &part.call, outcome.as_ref());
    conclude(run, part, outcome.as_ref(), verdict).await
}

/// Takes in what is true of every operation.
async fn take_in_whole(
    run: &Run,
    part: Part,
    outcome: Result<&Answer, &CallError>,
    verdict: Verdict,
) -> StepDone {
    conclude(run, part, outcome, verdict).await
}

async fn conclude(run: &Run, part: Part, outcome: Result<&Answer, &CallError>, verdict: Verdict) -> StepDone {
    let Part { mut task, request, call, .. } = part;
    let entry = record::entry(run.shared.clock.now(), &request, &call, outcome, &verdict);
    let path = entry.call.map(|call| format!("{call} in Bulk"));
    task.ledger.push(LedgerEntry { call: path, ..entry });
    let refers = task.pass.as_ref().is_some_and(Pass::has_references);
    task.alone |= refers && !matches!(verdict, Verdict::Done { .. });
    let done = step::take_in(run, task, &request, verdict).await;
    // Once the vendor's pause is over it may be part of a request again.
    if matches!(done.stepped, Stepped::Throttled) {
        return StepDone { stepped: Stepped::Further { packable: true }, ..done };
    }
    done
}

/// A 429 inside an answer of 200 says the same of our pace as one outside.
fn heed_throttling(run: &Run, answers: &[Option<Answer>], sent: Instant) {
    let throttled =
        answers.iter().flatten().find(|answer| answer.status == http::StatusCode::TOO_MANY_REQUESTS);
    if let Some(answer) = throttled {
        let health = run.shared.target.health();
        health.limiter.slow_down(sent);
        health.gate.heed(answer, sent);
    }
}

/// Nothing was done; the same calls are needed again.
fn again(parts: Vec<Part>, alone: bool) -> Vec<StepDone> {
    parts.into_iter().map(|part| put_off(part, alone)).collect()
}

fn put_off(part: Part, alone: bool) -> StepDone {
    let stepped = Stepped::Further { packable: !alone };
    StepDone { task: without_references(part.task), stepped, unused: None, vendor_works: false }
}

/// Nothing was sent. The rows are as they were; whoever lost the lease is told by the first of them.
fn store_failed(parts: Vec<Part>, error: crate::store::StoreError) -> Vec<StepDone> {
    let mut done = again(parts, false);
    if let Some(first) = done.first_mut() {
        first.stepped = Stepped::Store(error);
    }
    done
}

#[cfg(test)]
mod tests;

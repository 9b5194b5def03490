//! One step of one resource: load, plan, send at most one call, take the answer in.
//!
//! A step holds a ready service, and with it a permit. A step that finds nothing to send gives the
//! permit back, so that planning never costs rate.

use http::StatusCode;
use tower::{Service, ServiceExt};

use crate::store::{Intent, LedgerEntry, StoreError, WorkItem};
use crate::sync::plan::{LaterCause, Next, Pass, Reaction, Request};
use crate::sync::record;
use crate::sync::run::Run;
use crate::sync::shared::Shared;
use crate::target::verdict::Verdict;
use crate::target::{CallError, Stack};

/// Membership rows loaded for one pass, as a multiple of the vendor's chunk.
const CHUNKS_PER_PASS: usize = 4;

/// A resource being worked on.
pub(super) struct Task {
    pub(super) item: WorkItem,
    /// `None` until the first step has loaded what is known.
    pub(super) pass: Option<Pass>,
    /// One entry per call so far.
    pub(super) ledger: Vec<LedgerEntry>,
}

impl Task {
    pub(super) const fn new(item: WorkItem) -> Self {
        Self { item, pass: None, ledger: Vec::new() }
    }
}

/// How a step has ended.
pub(super) enum Stepped {
    /// The row is not work any more.
    Gone,
    /// A further call is needed.
    Further,
    /// The vendor asked us to wait; the same call is needed again.
    Throttled,
    /// The pass is at its end.
    Settled,
    /// The resource is left alone for a while.
    Later {
        /// Why.
        reason: String,
        /// Whose turn it is to be patient.
        cause: LaterCause,
    },
    /// The target is at fault.
    TargetFault {
        /// What is wrong.
        reason: String,
    },
    /// The store did not answer; nothing was lost.
    Store(StoreError),
}

/// What a step hands back.
pub(super) struct StepDone {
    pub(super) task: Task,
    pub(super) stepped: Stepped,
    /// The service with its permit, where no call was made.
    pub(super) unused: Option<Stack>,
    /// Whether the vendor has answered in a way that shows it to be working.
    pub(super) vendor_works: bool,
}

/// Runs one step.
pub(super) async fn run(run: &Run, mut task: Task, stack: Stack) -> StepDone {
    let mut stack = Some(stack);
    let mut vendor_works = false;
    let stepped = match step(run, &mut task, &mut stack, &mut vendor_works).await {
        Ok(stepped) => stepped,
        Err(error) => Stepped::Store(error),
    };
    StepDone { task, stepped, unused: stack, vendor_works }
}

async fn step(
    run: &Run,
    task: &mut Task,
    stack: &mut Option<Stack>,
    vendor_works: &mut bool,
) -> Result<Stepped, StoreError> {
    let shared = &run.shared;
    let policy = shared.policy();
    if task.pass.is_none() {
        let rows = policy.members_per_request * CHUNKS_PER_PASS;
        let Some(dossier) = shared.store.load(shared.name(), &task.item.key, rows).await? else {
            return Ok(Stepped::Gone);
        };
        task.item = dossier.item.clone();
        let age = shared.clock.now().since(dossier.item.since);
        task.pass = Some(Pass::begin(dossier, &policy, age));
    }
    let Some(pass) = task.pass.as_mut() else { return Ok(Stepped::Gone) };
    loop {
        match pass.next(&policy) {
            Next::Settled => return Ok(Stepped::Settled),
            Next::AskHolder { vendor_id } => {
                let holder = shared.store.holder_of(shared.name(), pass.key().kind, &vendor_id).await?;
                match pass.holder_is(holder.as_ref()) {
                    Reaction::Continue | Reaction::Throttled => {}
                    Reaction::Later { reason, cause } => return Ok(Stepped::Later { reason, cause }),
                    Reaction::TargetFault { reason } => return Ok(Stepped::TargetFault { reason }),
                }
            }
            Next::Send(request) => {
                let Some(ready) = stack.take() else { return Ok(Stepped::Further) };
                if matches!(request, Request::Create { .. }) {
                    let intent = Intent { operation: "create".to_owned(), at: shared.clock.now() };
                    shared.store.intend(&run.tenure, pass.key(), &intent).await?;
                }
                // The permit may have lapsed meanwhile, and the vendor may have asked for a long pause.
                let ready = tokio::select! {
                    biased;
                    ready = ready.ready_oneshot() => ready,
                    () = run.stop.cancelled() => return Ok(Stepped::Further),
                };
                let verdict = send(shared, pass, &request, ready, &mut task.ledger).await;
                *vendor_works |= shows_work(&verdict);
                match pass.absorb(&policy, &request, verdict) {
                    // Planning on shows whether that was all, without a permit.
                    Reaction::Continue => {}
                    Reaction::Throttled => return Ok(Stepped::Throttled),
                    Reaction::Later { reason, cause } => return Ok(Stepped::Later { reason, cause }),
                    Reaction::TargetFault { reason } => return Ok(Stepped::TargetFault { reason }),
                }
            }
        }
    }
}

async fn send(
    shared: &Shared,
    pass: &Pass,
    request: &Request,
    ready: Result<Stack, CallError>,
    ledger: &mut Vec<LedgerEntry>,
) -> Verdict {
    let Ok(call) = record::call(shared.target.profile(), pass.key().kind, request) else {
        return Verdict::Refused {
            status: StatusCode::BAD_REQUEST,
            scim_type: None,
            detail: Some("the vendor's id of the resource cannot be part of a path".to_owned()),
        };
    };
    let outcome = match ready {
        Ok(mut ready) => ready.call(call.clone()).await,
        Err(error) => Err(error),
    };
    let verdict = record::verdict(shared.target.profile(), pass, &call, outcome.as_ref());
    if matches!(verdict, Verdict::Stale | Verdict::Taken { .. }) {
        shared.count_conflict();
    }
    ledger.push(record::entry(shared.clock.now(), request, &call, outcome.as_ref(), &verdict));
    verdict
}

/// Whether an answer shows that the vendor is up and takes our credentials.
fn shows_work(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Done { .. }
        | Verdict::Stale
        | Verdict::Taken { .. }
        | Verdict::Missing
        | Verdict::TooLarge { .. }
        | Verdict::Refused { .. } => true,
        Verdict::Throttled { .. }
        | Verdict::Transient { .. }
        | Verdict::Unknown
        | Verdict::NotSent
        | Verdict::TargetFault { .. } => false,
    }
}

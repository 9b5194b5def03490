//! One step of one resource: load, plan, send at most one call, take the answer in.
//!
//! A step holds a ready service, and with it a permit. A step that finds nothing to send gives the
//! permit back, so that planning never costs rate.

use futures_util::FutureExt as _;
use http::{Method, StatusCode};
use tower::{Service, ServiceExt};
use tracing::Instrument as _;

use crate::directory::Kind;
use crate::store::{Intent, Lane, LedgerEntry, StoreError, WorkItem};
use crate::sync::bulk;
use crate::sync::guard::{self, Ruling};
use crate::sync::lanes::UnderWay;
use crate::sync::plan::{LaterCause, Next, Pass, Reaction, Request};
use crate::sync::record;
use crate::sync::run::Run;
use crate::sync::shared::Shared;
use crate::target::verdict::{Mend, Verdict};
use crate::target::{Call, CallError, Stack, Turn, requests};

/// Membership rows loaded for one pass, as a multiple of the vendor's chunk.
const CHUNKS_PER_PASS: usize = 4;

/// A resource being worked on.
pub(super) struct Task {
    pub(super) item: WorkItem,
    /// `None` until the first step has loaded what is known.
    pub(super) pass: Option<Pass>,
    /// One entry per call so far.
    pub(super) ledger: Vec<LedgerEntry>,
    /// Whether the next call must be one of its own, since it did no good as part of a bulk request.
    pub(super) alone: bool,
    /// Whether this is a retry that the target's budget has let go.
    pub(super) within_budget: bool,
}

impl Task {
    pub(super) const fn new(item: WorkItem) -> Self {
        Self { item, pass: None, ledger: Vec::new(), alone: false, within_budget: false }
    }
}

impl UnderWay for Task {
    fn item(&self) -> &WorkItem {
        &self.item
    }

    fn hasten(&mut self) {
        self.item.lane = Lane::Deprovision;
        if self.ledger.is_empty() {
            self.pass = None;
        }
    }
}

/// How a step has ended.
pub(super) enum Stepped {
    /// The row is not work any more.
    Gone,
    /// A further call is needed.
    Further {
        /// Whether it is a write that may be part of a bulk request.
        packable: bool,
    },
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
        /// What would mend it.
        mend: Mend,
    },
    /// A person decides whether it is sent.
    Held {
        /// What waits, for people.
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

/// Runs one step; without a service, only as far as the next call.
pub(super) async fn run(run: &Run, mut task: Task, mut stack: Option<Stack>) -> StepDone {
    let (kind, lane) = (task.item.key.kind.as_str(), task.item.lane.as_str());
    let span = tracing::info_span!("step", target_name = run.shared.name(), kind, lane);
    let mut vendor_works = false;
    let stepped = match step(run, &mut task, &mut stack, &mut vendor_works).instrument(span).await {
        Ok(stepped) => stepped,
        Err(error) => Stepped::Store(error),
    };
    StepDone { task, stepped, unused: stack, vendor_works }
}

/// Takes in what became of `request`, and plans on as far as the next call.
pub(super) async fn take_in(run: &Run, mut task: Task, request: &Request, verdict: Verdict) -> StepDone {
    let vendor_works = shows_work(&verdict);
    count_conflict(&run.shared, &verdict);
    let Some(pass) = task.pass.as_mut() else {
        return StepDone { task, stepped: Stepped::Gone, unused: None, vendor_works };
    };
    let stepped = match pass.absorb(&run.shared.policy(), request, verdict) {
        Reaction::Continue => {
            let done = self::run(run, task, None).await;
            return StepDone { vendor_works: vendor_works || done.vendor_works, ..done };
        }
        Reaction::Throttled => Stepped::Throttled,
        Reaction::Later { reason, cause } => Stepped::Later { reason, cause },
        Reaction::TargetFault { reason, mend } => Stepped::TargetFault { reason, mend },
    };
    StepDone { task, stepped, unused: None, vendor_works }
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
        let Some(mut dossier) = shared.store.load(shared.name(), &task.item.key, rows).await? else {
            return Ok(Stepped::Gone);
        };
        task.item = dossier.item.clone();
        if dossier.may_hide_a_call(run.began_at) {
            dossier.item.intent = Some(Intent { operation: Intent::LOOK.to_owned(), at: shared.clock.now() });
        }
        let age = shared.clock.now().since(dossier.item.since);
        let mut pass = Pass::begin(dossier, &policy, age);
        if policy.patch && pass.vendor_id().is_some_and(|id| shared.large_groups.holds(id)) {
            pass.slim_down();
        }
        task.pass = Some(pass);
    }
    let Some(pass) = task.pass.as_mut() else { return Ok(Stepped::Gone) };
    loop {
        match pass.next(&policy) {
            Next::Settled => {
                for (user, vendor_id) in pass.refused_members() {
                    let holder = shared.store.holder_of(shared.name(), Kind::User, &vendor_id).await?;
                    if holder.as_ref() != Some(&user) {
                        pass.account_is_gone(&user);
                    }
                }
                return Ok(Stepped::Settled);
            }
            Next::AskHolder { vendor_id } => {
                let holder = shared.store.holder_of(shared.name(), pass.key().kind, &vendor_id).await?;
                match pass.holder_is(holder.as_ref()) {
                    Reaction::Continue | Reaction::Throttled => {}
                    Reaction::Later { reason, cause } => return Ok(Stepped::Later { reason, cause }),
                    Reaction::TargetFault { reason, mend } => {
                        return Ok(Stepped::TargetFault { reason, mend });
                    }
                }
            }
            Next::AskStrangers { vendor_ids } => {
                let strangers = shared.store.strangers(shared.name(), &pass.key().id, &vendor_ids).await?;
                pass.strangers_are(strangers);
            }
            Next::Send(request) => {
                if record::is_too_large(shared.target.profile(), pass.key().kind, &request) && pass.halve() {
                    continue;
                }
                match guard::rule(run, &policy, pass, &request, &mut task.ledger).await? {
                    Ruling::Send => {}
                    Ruling::PlanAgain => continue,
                    Ruling::Hold { reason } => return Ok(Stepped::Held { reason }),
                    Ruling::Drop { result, reason } => {
                        pass.leave_as_it_is();
                        let now = shared.clock.now();
                        task.ledger.push(LedgerEntry::without_call(now, "none", result, Some(reason)));
                        return Ok(Stepped::Settled);
                    }
                }
                let Some(ready) = stack.take() else {
                    let packable = !task.alone && bulk::takes(shared.target.profile(), &request);
                    return Ok(Stepped::Further { packable });
                };
                task.alone = false;
                if matches!(request, Request::Create { .. }) {
                    intend(run, pass).await?;
                }
                // The permit may have lapsed meanwhile, and the vendor may have asked for a long pause.
                let turn = turn(task.item.lane);
                let ready = tokio::select! {
                    biased;
                    ready = ready_again(shared, ready, turn) => ready,
                    () = run.stop.cancelled() => return Ok(Stepped::Further { packable: false }),
                };
                let verdict = send(shared, pass, &request, (ready, turn), &mut task.ledger).await;
                *vendor_works |= shows_work(&verdict);
                match pass.absorb(&policy, &request, verdict) {
                    // Planning on shows whether that was all, without a permit.
                    Reaction::Continue => {}
                    Reaction::Throttled => return Ok(Stepped::Throttled),
                    Reaction::Later { reason, cause } => return Ok(Stepped::Later { reason, cause }),
                    Reaction::TargetFault { reason, mend } => {
                        return Ok(Stepped::TargetFault { reason, mend });
                    }
                }
            }
        }
    }
}

/// When the calls for a row of this lane go.
pub(super) const fn turn(lane: Lane) -> Turn {
    match lane {
        Lane::Deprovision => Turn::First,
        Lane::Revoke | Lane::Change | Lane::Membership | Lane::Backfill => Turn::Usual,
    }
}

/// Waits until a service is ready whose permit may have lapsed. Who goes first does not go back to the
/// line of all others for that.
pub(super) async fn ready_again(shared: &Shared, mut ready: Stack, turn: Turn) -> Result<Stack, CallError> {
    if turn == Turn::First {
        match ready.ready().now_or_never() {
            Some(outcome) => {
                outcome?;
            }
            None => ready = shared.target.stack_going_first(),
        }
    }
    ready.ready_oneshot().await
}

/// Keeps over a crash that a resource is about to be created.
pub(super) async fn intend(run: &Run, pass: &Pass) -> Result<(), StoreError> {
    let intent = Intent { operation: "create".to_owned(), at: run.shared.clock.now() };
    run.shared.store.intend(&run.tenure, pass.key(), &intent).await
}

async fn send(
    shared: &Shared,
    pass: &mut Pass,
    request: &Request,
    (ready, turn): (Result<Stack, CallError>, Turn),
    ledger: &mut Vec<LedgerEntry>,
) -> Verdict {
    let Ok(call) = record::call(shared.target.profile(), pass.key().kind, request) else {
        return Verdict::Refused {
            status: StatusCode::BAD_REQUEST,
            scim_type: None,
            detail: Some("the vendor's id of the resource cannot be part of a path".to_owned()),
        };
    };
    let call =
        if pass.is_slim() && call.method != Method::DELETE { requests::without_members(call) } else { call };
    let call = Call { turn, ..call };
    let outcome = match ready {
        Ok(mut ready) => ready.call(call.clone()).await,
        Err(error) => Err(error),
    };
    let verdict = record::verdict(shared.target.profile(), pass, &call, outcome.as_ref());
    count_conflict(shared, &verdict);
    if let Ok(answer) = &outcome
        && pass.key().kind == Kind::Group
        && let Some(id) = pass.vendor_id()
        && shared.large_groups.note(id, answer)
        && shared.policy().patch
    {
        pass.slim_down();
    }
    ledger.push(record::entry(shared.clock.now(), request, &call, outcome.as_ref(), &verdict));
    verdict
}

fn count_conflict(shared: &Shared, verdict: &Verdict) {
    if matches!(verdict, Verdict::Stale | Verdict::Taken { .. }) {
        shared.count_conflict();
    }
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

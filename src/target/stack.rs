//! The one place where a target's layers are put together.

use std::sync::Arc;

use tower::ServiceBuilder;
use tower::util::BoxCloneSyncService;

use crate::target::call::{Answer, CallClass, CallError, Stack, Turn};
use crate::target::layers::auth::{AuthLayer, Authorized};
use crate::target::layers::breaker::{Breaker, BreakerLayer};
use crate::target::layers::concurrency::ConcurrencyLayer;
use crate::target::layers::gate::GateLayer;
use crate::target::layers::observe::ObserveLayer;
use crate::target::layers::rate::{Admission, RateLayer};
use crate::target::layers::timeout::TimeoutLayer;
use crate::target::token::Tokens;

/// What all stacks of one target share.
#[derive(Clone)]
pub(super) struct Shared {
    pub observe: ObserveLayer,
    pub admission: Admission,
    pub breaker: Breaker,
    pub concurrency: ConcurrencyLayer,
    pub tokens: Arc<Tokens>,
    pub timeout: TimeoutLayer,
    /// What the layers stand before: HTTP, or a vendor that a test plays.
    pub transport: BoxCloneSyncService<Authorized, Answer, CallError>,
}

/// A stack whose readiness is for calls of `class`, or of any class, in their `turn`.
pub(super) fn build(shared: &Shared, class: Option<CallClass>, turn: Turn) -> Stack {
    let service = ServiceBuilder::new()
        // Sees every call once, with all that happens below.
        .layer(shared.observe.clone())
        // Holds all calls while the vendor or a person wants quiet.
        .layer(GateLayer::new(shared.admission.gate.clone()))
        // Holds all calls while the target fails; before the limiter, so that it spends nothing.
        .layer(BreakerLayer::new(shared.breaker.clone()))
        // Waits for room in every window; whatever waits below keeps its place but no quota.
        .layer(RateLayer::new(shared.admission.clone(), class).in_turn(turn))
        // Counts calls in flight, a refresh after a 401 included.
        .layer(shared.concurrency.clone())
        // Has a token ready before the call, and repeats once after a 401.
        .layer(AuthLayer::new(Arc::clone(&shared.tokens), shared.admission.clone()))
        // Bounds each attempt, and nothing that waits above.
        .layer(shared.timeout)
        .service(shared.transport.clone());
    Stack::new(service)
}

//! How many webhooks of each source are taken.

use std::collections::BTreeMap;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::source::{IntakeLimit, Sources};

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Nanos>>;

/// The limiter of each source that has a limit.
///
/// What is refused for its signature counts, too: the limit bounds what a source may cost, and the
/// signature costs a pass over the body.
pub struct IntakeLimits(BTreeMap<String, Limiter>);

impl IntakeLimits {
    /// As the sources are configured; every bucket is full.
    pub fn new(sources: &Sources) -> Self {
        let limits = sources.iter().filter_map(|registered| {
            let settings = &registered.settings;
            settings.intake_limit.map(|limit| (settings.name.clone(), limiter(limit)))
        });
        Self(limits.collect())
    }

    /// Takes a webhook of the source, or says how long to wait for the next.
    pub fn take(&self, source: &str) -> Result<(), Duration> {
        let Some(limiter) = self.0.get(source) else { return Ok(()) };
        limiter.check().map_err(|until| until.wait_time_from(limiter.clock().now()))
    }
}

fn limiter(limit: IntakeLimit) -> Limiter {
    let quota = Quota::per_second(limit.rate_per_second).allow_burst(limit.burst);
    RateLimiter::direct_with_clock(quota, TokioClock(Instant::now()))
}

/// Tokio's clock, which tests can advance, as time since the start.
#[derive(Clone, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.elapsed().into()
    }
}

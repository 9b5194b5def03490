//! Calls in flight: as many as the vendor bears, between one and what is configured.
//!
//! Inside the [rate limit](super::rate), outside [auth](super::auth), so that a repetition after a 401
//! keeps its place. It differs from tower's `ConcurrencyLimit` in that the limit follows the vendor: it
//! falls by a factor when a call runs out of time or takes far longer than usual, at most once for the
//! calls that were in flight together, and grows by one for each round of calls that go well while the
//! limit is used. A 429 is the rate's business.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::ReusableBoxFuture;
use tower::{Layer, Service};

use crate::target::call::{Answer, Call, CallClass, CallError, TimedOut};

/// What remains of the limit after a sign of too much.
const DECREASE: f64 = 0.7;
/// An answer within this time is never slow.
const SLOW_MIN: Duration = Duration::from_secs(1);
/// An answer is slow that takes so many times as long as usual.
const SLOW_TIMES: u32 = 4;
/// How much one answer changes what is usual: one part in so many.
const USUAL_WEIGHT: u32 = 16;

/// The places of the calls to one target; clones are the same places.
#[derive(Clone)]
pub struct Places {
    shared: Arc<Shared>,
}

struct Shared {
    most: f64,
    core: Mutex<Core>,
    freed: Notify,
    line: Semaphore,
}

struct Core {
    /// From 1 to the most; its whole part counts.
    limit: f64,
    taken: u32,
    /// When the limit fell last.
    fell_at: Option<Instant>,
    /// How long the answer to a call for one resource usually takes.
    usual: Option<Duration>,
}

/// The place of one call, until it is dropped.
struct Place(Places);

/// What a call says about how much the vendor bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Well,
    TooMuch,
    Nothing,
}

impl Places {
    /// At most so many calls in flight, and as many to begin with.
    pub fn new(most: u32) -> Self {
        let most = f64::from(most.max(1));
        let core = Core { limit: most, taken: 0, fell_at: None, usual: None };
        let (freed, line) = (Notify::new(), Semaphore::new(1));
        Self { shared: Arc::new(Shared { most, core: Mutex::new(core), freed, line }) }
    }

    /// How many calls may be in flight at present.
    pub fn limit(&self) -> u32 {
        self.core().places()
    }

    async fn place(self) -> Place {
        let _first = self.shared.line.acquire().await.expect("the line is never closed");
        loop {
            let mut freed = std::pin::pin!(self.shared.freed.notified());
            freed.as_mut().enable();
            if self.core().take() {
                return Place(self.clone());
            }
            freed.await;
        }
    }

    fn learn(&self, class: CallClass, outcome: &Result<Answer, CallError>, sent: Instant) {
        let mut core = self.core();
        match core.read(class, outcome) {
            Sign::Well if core.is_used() => {
                core.limit = (core.limit + 1.0 / core.limit).min(self.shared.most);
            }
            Sign::TooMuch if core.fell_at.is_none_or(|fell| sent >= fell) => {
                core.fell_at = Some(Instant::now());
                core.limit = (core.limit * DECREASE).max(1.0);
            }
            Sign::Well | Sign::TooMuch | Sign::Nothing => {}
        }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.shared.core.lock().expect("nothing panics while it holds the core")
    }
}

impl Core {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to a u32")]
    fn places(&self) -> u32 {
        self.limit as u32
    }

    fn take(&mut self) -> bool {
        let free = self.taken < self.places();
        self.taken += u32::from(free);
        free
    }

    /// Whether all places are taken, but for one: only then does success say that more would do.
    fn is_used(&self) -> bool {
        self.taken + 1 >= self.places()
    }

    fn read(&mut self, class: CallClass, outcome: &Result<Answer, CallError>) -> Sign {
        match outcome {
            Err(CallError::Unknown { source }) if source.is::<TimedOut>() => Sign::TooMuch,
            Err(_) => Sign::Nothing,
            Ok(answer) if answer.status == StatusCode::GATEWAY_TIMEOUT => Sign::TooMuch,
            Ok(answer)
                if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Sign::Nothing
            }
            // Lists and bulk requests differ in size, and so in time.
            Ok(answer) if class == CallClass::Single && self.is_slow(answer.elapsed) => Sign::TooMuch,
            Ok(_) => Sign::Well,
        }
    }

    fn is_slow(&mut self, elapsed: Duration) -> bool {
        let usual = *self.usual.get_or_insert(elapsed);
        // One that hangs is no measure of what is usual.
        let counted = elapsed.min(usual.saturating_mul(2));
        self.usual = Some(usual / USUAL_WEIGHT * (USUAL_WEIGHT - 1) + counted / USUAL_WEIGHT);
        elapsed > SLOW_MIN && elapsed > usual.saturating_mul(SLOW_TIMES)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.core().taken -= 1;
        self.0.shared.freed.notify_waiters();
    }
}

/// Gives each call of a service a place.
#[derive(Clone)]
pub struct ConcurrencyLayer {
    places: Places,
}

impl ConcurrencyLayer {
    /// All services made by this layer share these places.
    pub fn new(places: Places) -> Self {
        Self { places }
    }
}

impl<S> Layer<S> for ConcurrencyLayer {
    type Service = Placed<S>;

    fn layer(&self, inner: S) -> Placed<S> {
        Placed { inner, places: self.places.clone(), state: State::Idle }
    }
}

/// A service whose calls have places.
pub struct Placed<S> {
    inner: S,
    places: Places,
    state: State,
}

enum State {
    Idle,
    Waiting(ReusableBoxFuture<'static, Place>),
    Held(Place),
}

impl<S: Clone> Clone for Placed<S> {
    /// Shares the places, and holds none.
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), places: self.places.clone(), state: State::Idle }
    }
}

impl<S> Service<Call> for Placed<S>
where
    S: Service<Call, Response = Answer, Error = CallError>,
    S::Future: Send + 'static,
{
    type Response = Answer;
    type Error = CallError;
    type Future = BoxFuture<'static, Result<Answer, CallError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        loop {
            self.state = match &mut self.state {
                State::Idle => State::Waiting(ReusableBoxFuture::new(self.places.clone().place())),
                State::Waiting(wait) => State::Held(ready!(wait.poll(cx))),
                State::Held(_) => return self.inner.poll_ready(cx),
            };
        }
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let State::Held(place) = std::mem::replace(&mut self.state, State::Idle) else {
            panic!("call without poll_ready");
        };
        let (class, sent) = (call.class, Instant::now());
        let answer = self.inner.call(call);
        async move {
            let outcome = answer.await;
            place.0.learn(class, &outcome, sent);
            drop(place);
            outcome
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;
    use crate::target::layers::testing::{Scripted, answer, call, go};

    fn timed_out() -> Result<Answer, CallError> {
        Err(CallError::Unknown { source: Box::new(TimedOut(Duration::from_secs(1))) })
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside one that fails")]
    fn slow(seconds: u64) -> Result<Answer, CallError> {
        Ok(Answer { elapsed: Duration::from_secs(seconds), ..answer(200) })
    }

    /// Learns from one call after the other, each sent after the one before was answered.
    async fn learn(places: &Places, outcome: impl Fn() -> Result<Answer, CallError>, times: usize) {
        for _ in 0..times {
            tokio::time::advance(Duration::from_millis(10)).await;
            places.learn(CallClass::Single, &outcome(), Instant::now());
        }
    }

    /// Takes all places but one, so that what goes well counts.
    fn filled(places: &Places) -> Vec<Place> {
        (1..places.limit()).filter(|_| places.core().take()).map(|_| Place(places.clone())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_shrink_the_limit_to_one_and_no_further_and_success_brings_all_of_it_back() {
        let places = Places::new(8);
        learn(&places, timed_out, 1).await;
        assert_eq!(places.limit(), 5);
        learn(&places, timed_out, 50).await;
        assert_eq!(places.limit(), 1);
        for most in 2..=8 {
            let _others = filled(&places);
            learn(&places, || Ok(answer(200)), most).await;
            assert!(places.limit() >= u32::try_from(most).unwrap().min(8) - 1, "{most}: {}", places.limit());
        }
        let _others = filled(&places);
        learn(&places, || Ok(answer(200)), 100).await;
        assert_eq!(places.limit(), 8);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_in_flight_together_shrink_it_once() {
        let places = Places::new(10);
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..5 {
            places.learn(CallClass::Single, &timed_out(), sent);
        }
        assert_eq!(places.limit(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_far_longer_than_usual_is_a_sign_and_an_error_is_none() {
        let places = Places::new(10);
        learn(&places, || slow(1), 10).await;
        learn(&places, || slow(3), 1).await;
        assert_eq!(places.limit(), 10);
        for status in [500, 503, 429] {
            learn(&places, || Ok(answer(status)), 5).await;
        }
        assert_eq!(places.limit(), 10);
        learn(&places, || slow(9), 1).await;
        assert_eq!(places.limit(), 7);
        learn(&places, || Ok(answer(504)), 1).await;
        assert_eq!(places.limit(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn success_raises_nothing_that_is_not_used() {
        let places = Places::new(8);
        learn(&places, timed_out, 1).await;
        learn(&places, || Ok(answer(200)), 100).await;
        assert_eq!(places.limit(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_calls_are_in_flight_than_the_limit_and_a_clone_holds_no_place() {
        let layer = ConcurrencyLayer::new(Places::new(2));
        let mut first = layer.layer(Scripted::default());
        let (mut second, mut third) = (first.clone(), first.clone());
        first.ready().await.unwrap();
        second.ready().await.unwrap();
        let wait = Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, third.ready()).await.is_err());
        let answer = second.call(call());
        assert!(tokio::time::timeout(wait, third.ready()).await.is_err(), "not while it is under way");
        answer.await.unwrap();
        tokio::time::timeout(wait, third.ready())
            .await
            .expect("what was answered gives its place up")
            .unwrap();
        drop(first);
        let answered = tokio::time::timeout(wait, go(&mut second)).await;
        answered.expect("what is not wanted gives its place up").1.unwrap();
    }
}

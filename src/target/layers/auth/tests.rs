use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use http::HeaderValue;
use tokio::time::Instant;
use tower::service_fn;

use super::*;
use crate::clock::{Timestamp, TokioClock};
use crate::target::layers::gate::{Gate, GateSettings};
use crate::target::layers::limiter::Limiter;
use crate::target::layers::testing::{answer, go};
use crate::target::profile::Limits;
use crate::target::token::{Grant, Issuer, Shape};
use crate::telemetry::metrics::FloatCounter;

/// Issues `t1`, `t2`, … after 100 ms each, or what the script says.
#[derive(Clone, Default)]
struct Endpoint {
    script: Arc<Mutex<VecDeque<TokenError>>>,
    issued: Arc<Mutex<u32>>,
    asked: Arc<Mutex<u32>>,
}

const LIFETIME: Duration = Duration::from_hours(1);

#[async_trait]
impl Issuer for Endpoint {
    async fn issue(&self) -> Result<Grant, TokenError> {
        *self.asked.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Some(error) = self.script.lock().unwrap().pop_front() {
            return Err(error);
        }
        let mut issued = self.issued.lock().unwrap();
        *issued += 1;
        let token = format!("t{issued}").into();
        Ok(Grant { token, lifetime: LIFETIME, scopes: Some("scim".to_owned()) })
    }
}

impl Endpoint {
    fn failing(errors: impl IntoIterator<Item = TokenError>) -> Self {
        Self { script: Arc::new(Mutex::new(errors.into_iter().collect())), ..Self::default() }
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

fn refused() -> TokenError {
    TokenError::Refused { reason: "invalid_client".to_owned() }
}

fn admission() -> Admission {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::from_seconds(0)));
    let limits = Limits::default();
    let gate = Gate::new(GateSettings::new(&limits, 7), clock, FloatCounter::default());
    Admission { gate, limiter: Limiter::new(&limits.buckets()) }
}

/// The tokens that a vendor was shown.
type Shown = Arc<Mutex<Vec<String>>>;

/// A vendor that takes these tokens and no others.
fn vendor(
    good: &'static [&'static str],
    shown: Shown,
) -> impl Service<Authorized, Response = Answer, Error = CallError, Future: Send + 'static> + Clone + Send + 'static
{
    service_fn(move |request: Authorized| {
        assert!(request.authorization.is_sensitive());
        let token = request.authorization.to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        let status = if good.contains(&token.as_str()) { 200 } else { 401 };
        shown.lock().unwrap().push(token);
        std::future::ready(Ok(answer(status)))
    })
}

fn issued(endpoint: &Endpoint) -> Arc<Tokens> {
    Arc::new(Tokens::issued(endpoint.clone(), Duration::from_mins(1)))
}

#[tokio::test(start_paused = true)]
async fn one_request_for_a_token_serves_all_who_want_it() {
    let (endpoint, shown) = (Endpoint::default(), Shown::default());
    let layer = AuthLayer::new(issued(&endpoint), admission());
    let calls = (0..20).map(|_| {
        let mut service = layer.layer(vendor(&["t1"], Arc::clone(&shown)));
        tokio::spawn(async move { go(&mut service).await.1.unwrap() })
    });
    for answer in join_all(calls).await {
        assert_eq!(answer.unwrap().granted_scopes.as_deref(), Some("scim"));
    }
    assert_eq!(endpoint.asked(), 1);
    assert_eq!(shown.lock().unwrap().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_ahead_of_its_end_and_before_the_call() {
    let (endpoint, shown) = (Endpoint::default(), Shown::default());
    let mut service =
        AuthLayer::new(issued(&endpoint), admission()).layer(vendor(&["t1", "t2"], Arc::clone(&shown)));
    go(&mut service).await.1.unwrap();
    tokio::time::advance(LIFETIME.saturating_sub(Duration::from_secs(61))).await;
    let (waited, _) = go(&mut service).await;
    assert_eq!((waited, endpoint.asked()), (Duration::ZERO, 1));
    tokio::time::advance(Duration::from_secs(2)).await;
    let (waited, _) = go(&mut service).await;
    assert!(waited >= Duration::from_millis(100), "readiness waits for the token: {waited:?}");
    assert_eq!(endpoint.asked(), 2);
    assert_eq!(*shown.lock().unwrap(), ["t1", "t1", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_readiness_whose_token_runs_out_while_it_is_held_waits_again() {
    let (endpoint, shown) = (Endpoint::default(), Shown::default());
    let mut service =
        AuthLayer::new(issued(&endpoint), admission()).layer(vendor(&["t2"], Arc::clone(&shown)));
    service.ready().await.unwrap();
    tokio::time::advance(LIFETIME).await;
    assert_eq!(go(&mut service).await.1.unwrap().status, 200);
    assert_eq!(*shown.lock().unwrap(), ["t2"], "the old token was not tried");
    assert_eq!(endpoint.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_401_renews_once_for_all_and_repeats_each_call_once() {
    let (endpoint, shown) = (Endpoint::default(), Shown::default());
    let layer = AuthLayer::new(issued(&endpoint), admission());
    let calls = (0..5).map(|_| {
        let mut service = layer.layer(vendor(&["t2"], Arc::clone(&shown)));
        tokio::spawn(async move { go(&mut service).await.1.unwrap().status })
    });
    for status in join_all(calls).await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(endpoint.asked(), 2);
    assert_eq!(shown.lock().unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_second_401_is_final() {
    let (endpoint, shown) = (Endpoint::default(), Shown::default());
    let mut service = AuthLayer::new(issued(&endpoint), admission()).layer(vendor(&[], Arc::clone(&shown)));
    let error = go(&mut service).await.1.unwrap_err();
    assert!(matches!(error, CallError::Credentials { .. }), "{error:?}");
    assert_eq!(*shown.lock().unwrap(), ["t1", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_token_that_is_refused_is_not_shown_twice() {
    let (tokens, shown) = (Tokens::configured("fixed".into(), Shape::Bearer).unwrap(), Shown::default());
    let mut service = AuthLayer::new(Arc::new(tokens), admission()).layer(vendor(&[], Arc::clone(&shown)));
    let error = go(&mut service).await.1.unwrap_err();
    assert!(matches!(error, CallError::Credentials { .. }), "{error:?}");
    assert_eq!(*shown.lock().unwrap(), ["fixed"]);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_waits_for_the_gate_and_is_accounted() {
    let (endpoint, admission) = (Endpoint::default(), admission());
    let sent = Arc::new(Mutex::new(Vec::new()));
    let gate = admission.gate.clone();
    let times = Arc::clone(&sent);
    let vendor = service_fn(move |request: Authorized| {
        times.lock().unwrap().push(Instant::now());
        let first = request.authorization == HeaderValue::from_static("Bearer t1");
        if first {
            gate.pause_until(Instant::now() + Duration::from_secs(30));
        }
        std::future::ready(Ok(answer(if first { 401 } else { 200 })))
    });
    let mut service = AuthLayer::new(issued(&endpoint), admission.clone()).layer(vendor);
    assert_eq!(go(&mut service).await.1.unwrap().status, 200);
    let sent = sent.lock().unwrap().clone();
    assert!(sent[1] - sent[0] >= Duration::from_secs(30));
    // 25 a second: the next one's moment is about 41 ms after the repetition.
    let next = admission.limiter.account(&admission.limiter.at_least(None));
    assert!(next > Instant::now() + Duration::from_millis(35), "{:?}", next - Instant::now());
}

#[tokio::test(start_paused = true)]
async fn no_token_means_no_call_and_the_reason_tells_whose_turn_it_is() {
    let down = TokenError::Unavailable { reason: "it answered 503".to_owned() };
    for (error, is_credentials) in [(refused(), true), (down, false)] {
        let (endpoint, shown) = (Endpoint::failing([error]), Shown::default());
        let mut service =
            AuthLayer::new(issued(&endpoint), admission()).layer(vendor(&["t1"], Arc::clone(&shown)));
        let error = go(&mut service).await.1.unwrap_err();
        assert_eq!(matches!(error, CallError::Credentials { .. }), is_credentials, "{error:?}");
        assert_eq!(matches!(error, CallError::NotSent { .. }), !is_credentials, "{error:?}");
        assert!(shown.lock().unwrap().is_empty());
        assert_eq!(go(&mut service).await.1.unwrap().status, 200, "the next call asks again");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_for_a_request_that_failed_does_not_ask_again() {
    let endpoint = Endpoint::failing([refused()]);
    let layer = AuthLayer::new(issued(&endpoint), admission());
    let calls = (0..20).map(|_| {
        let mut service = layer.layer(vendor(&["t1"], Shown::default()));
        tokio::spawn(async move { go(&mut service).await.1.is_err() })
    });
    for failed in join_all(calls).await {
        assert!(failed.unwrap());
    }
    assert_eq!(endpoint.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_short_lived_token_is_used_for_half_its_life_at_least() {
    let (tokens, life) = (Tokens::issued(ShortLived, Duration::from_mins(1)), Duration::from_secs(20));
    let pass = tokens.fresh().await.unwrap();
    tokio::time::advance(life.mul_f64(0.499)).await;
    assert!(pass.is_fresh());
    tokio::time::advance(life.mul_f64(0.002)).await;
    assert!(!pass.is_fresh());
}

struct ShortLived;

#[async_trait]
impl Issuer for ShortLived {
    async fn issue(&self) -> Result<Grant, TokenError> {
        Ok(Grant { token: "t".into(), lifetime: Duration::from_secs(20), scopes: None })
    }
}

#[test]
fn a_token_that_cannot_stand_in_a_header_is_none() {
    for token in ["", "a\nb", "a\u{0}"] {
        assert!(Tokens::configured(token.into(), Shape::Bearer).is_none(), "{token:?}");
    }
}

//! The vendor's rate limit: one token bucket over all SCIM requests, or the windows of a profile.

use std::collections::VecDeque;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::sandbox::settings::{RateLimit, RetryAfter};
use crate::target::Call;
use crate::target::profile::{QuotaHeaders, ResetUnit, Window};

/// A bucket that fills steadily up to its burst, each request taking one token out; or windows, each
/// with all that it has counted of late.
#[derive(Debug)]
pub struct Bucket {
    limit: RateLimit,
    tokens: f64,
    filled: Instant,
    /// In the order of the windows: what was counted when.
    counted: Vec<VecDeque<(Instant, u32)>>,
}

/// What the limit said to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// `None` when the request may go on, else how long until it may.
    pub wait: Option<Duration>,
    /// The most that can be used.
    pub allowed: u32,
    /// What is used.
    pub used: u32,
    /// How long until the bucket is full, or until the window counts less.
    pub resets_in: Duration,
}

impl Bucket {
    /// A full bucket, or empty windows.
    pub fn new(limit: RateLimit) -> Self {
        let counted = limit.windows.iter().map(|_| VecDeque::new()).collect();
        Self { tokens: capacity(&limit), filled: Instant::now(), counted, limit }
    }

    /// The limit in force.
    pub fn limit(&self) -> &RateLimit {
        &self.limit
    }

    /// Takes what `call` costs, if it is there. `None` where no window counts it.
    pub fn take(&mut self, call: &Call) -> Option<Grant> {
        if self.limit.windows.is_empty() { Some(self.take_token()) } else { self.count(call) }
    }

    fn take_token(&mut self) -> Grant {
        self.fill();
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        Grant {
            wait: (!granted).then(|| self.time_for(1.0 - self.tokens)),
            allowed: self.limit.burst.max(1),
            used: whole(capacity(&self.limit) - self.tokens),
            resets_in: self.time_for(capacity(&self.limit) - self.tokens),
        }
    }

    /// Counts a call in all windows that it falls into, or in none of them.
    fn count(&mut self, call: &Call) -> Option<Grant> {
        let now = Instant::now();
        let windows = self.limit.windows.iter().zip(&mut self.counted);
        let mut counting: Vec<_> = windows.filter(|(window, _)| window.scope.counts(call)).collect();
        for (window, counted) in &mut counting {
            counted.retain(|(at, _)| now < *at + window.per);
        }
        let wait =
            counting.iter().filter_map(|(window, counted)| time_until(window, counted, call, now)).max();
        if wait.is_none() {
            for (window, counted) in &mut counting {
                counted.push_back((now, window.cost.of(call)));
            }
        }
        let told = counting.into_iter().map(|(window, counted)| {
            let used = counted.iter().map(|(_, units)| units).sum();
            let first = counted.front().map_or(now, |(at, _)| *at);
            Grant { wait, allowed: window.limit.get(), used, resets_in: first + window.per - now }
        });
        told.min_by_key(|grant| grant.allowed.saturating_sub(grant.used))
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f64() * self.limit.per_second;
        self.tokens = (self.tokens + gained).min(capacity(&self.limit));
        self.filled = now;
    }

    /// Rounded up to a microsecond, so that a caller who waits exactly this long is served.
    fn time_for(&self, tokens: f64) -> Duration {
        if self.limit.per_second > 0.0 {
            Duration::try_from_secs_f64(tokens / self.limit.per_second)
                .map_or(Duration::from_hours(1), |wait| wait + Duration::from_micros(1))
        } else {
            Duration::from_hours(1)
        }
    }
}

/// How long until a window has room for a call; `None` when it has.
fn time_until(
    window: &Window,
    counted: &VecDeque<(Instant, u32)>,
    call: &Call,
    now: Instant,
) -> Option<Duration> {
    let used: u32 = counted.iter().map(|(_, units)| units).sum();
    let mut over = used.saturating_add(window.cost.of(call)).saturating_sub(window.limit.get());
    let mut wait = None;
    for (at, units) in counted {
        if over == 0 {
            return wait;
        }
        over = over.saturating_sub(*units);
        wait = Some(*at + window.per - now);
    }
    // What never has room is refused for a whole window each time.
    if over > 0 { Some(window.per) } else { wait }
}

/// The headers that say so: `Retry-After` on a refusal, the vendor's own with every answer.
pub fn headers(limit: &RateLimit, grant: &Grant) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(wait) = grant.wait {
        headers.extend(retry_after(limit.retry_after, wait).map(|value| (http::header::RETRY_AFTER, value)));
    }
    if let Some(quota) = &limit.quota {
        tell(&mut headers, quota, grant);
    } else if limit.vendor_headers {
        headers.insert(HeaderName::from_static("inin-ratelimit-count"), grant.used.into());
        headers.insert(HeaderName::from_static("inin-ratelimit-allowed"), grant.allowed.into());
        headers.insert(HeaderName::from_static("inin-ratelimit-reset"), ceil_seconds(grant.resets_in).into());
    }
    headers
}

/// A vendor's own headers, under the names that its profile gives.
fn tell(headers: &mut HeaderMap, quota: &QuotaHeaders, grant: &Grant) {
    let now = u64::try_from(SystemClock.now().as_seconds()).unwrap_or_default();
    let wait = ceil_seconds(grant.resets_in);
    let reset = match quota.reset_unit {
        ResetUnit::Seconds => wait.to_string(),
        ResetUnit::EpochSeconds => (now + wait).to_string(),
        ResetUnit::EpochMilliseconds => ((now + wait) * 1_000).to_string(),
        ResetUnit::HttpDate => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now + wait)),
    };
    let left = grant.allowed.saturating_sub(grant.used);
    for (name, value) in [
        (quota.allowed.as_ref(), grant.allowed.to_string()),
        (quota.used.as_ref(), grant.used.to_string()),
        (quota.remaining.as_ref(), left.to_string()),
        (Some(&quota.reset), reset),
    ] {
        let header = name.and_then(|name| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)));
        headers.extend(header);
    }
}

/// A `Retry-After` that is never too early: rounded up to the second.
pub fn retry_after(form: RetryAfter, wait: Duration) -> Option<HeaderValue> {
    let wait = ceil_seconds(wait).max(1);
    match form {
        RetryAfter::Seconds => Some(wait.into()),
        RetryAfter::HttpDate => {
            // A date has no fraction: the second that is under way is added.
            let now = u64::try_from(SystemClock.now().as_seconds()).unwrap_or_default();
            let date = UNIX_EPOCH + Duration::from_secs(now + wait + 1);
            HeaderValue::from_str(&httpdate::fmt_http_date(date)).ok()
        }
        RetryAfter::Absent => None,
    }
}

fn capacity(limit: &RateLimit) -> f64 {
    f64::from(limit.burst.max(1))
}

fn ceil_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a u32's burst")]
fn whole(tokens: f64) -> u32 {
    tokens.round() as u32
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use http::Method;

    use super::*;
    use crate::target::profile::{Cost, Scope, Verb};
    use crate::target::{CallClass, Turn};

    fn call() -> Call {
        call_of(Method::GET, 1)
    }

    fn call_of(method: Method, operations: u32) -> Call {
        let (path, endpoint, class) = ("Users/1".to_owned(), "Users/{id}", CallClass::Single);
        Call { method, path, endpoint, class, body: None, if_match: None, operations, turn: Turn::Usual }
    }

    fn window(limit: u32, seconds: u64) -> Window {
        Window::of_all(NonZeroU32::new(limit).unwrap(), Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn windows_are_kept_exactly_and_a_refused_call_counts_in_none() {
        let deletes = Scope { methods: vec![Verb::Delete], ..Scope::default() };
        let windows = vec![
            Window { cost: Cost::BulkOperation, ..window(10, 60) },
            Window { scope: deletes, ..window(1, 30) },
        ];
        let mut bucket = Bucket::new(RateLimit { windows, ..RateLimit::new(0.0, 1) });
        let mut take = |method, operations| bucket.take(&call_of(method, operations)).unwrap();
        assert_eq!(take(Method::DELETE, 1).wait, None);
        let refused = take(Method::DELETE, 5);
        assert_eq!((refused.wait, refused.allowed, refused.used), (Some(Duration::from_secs(30)), 1, 1));
        tokio::time::advance(Duration::from_secs(10)).await;
        let grant = take(Method::POST, 9);
        assert_eq!((grant.wait, grant.allowed, grant.used), (None, 10, 10));
        assert_eq!(grant.resets_in, Duration::from_secs(50));
        assert_eq!(take(Method::GET, 1).wait, Some(Duration::from_secs(50)));
        assert_eq!(take(Method::GET, 2).wait, Some(Duration::from_mins(1)));
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(
            [take(Method::DELETE, 1).wait, take(Method::GET, 1).wait],
            [None, Some(Duration::from_secs(10))]
        );
        assert_eq!(take(Method::POST, 11).wait, Some(Duration::from_mins(1)), "never");
    }

    #[tokio::test(start_paused = true)]
    async fn a_vendors_headers_have_the_names_and_the_form_of_its_profile() {
        let mut quota = QuotaHeaders::of("x-left", "x-reset");
        quota.reset_unit = ResetUnit::EpochSeconds;
        let limit = RateLimit { windows: vec![window(5, 60)], quota: Some(quota), ..RateLimit::new(0.0, 1) };
        let headers = headers(&limit, &Bucket::new(limit.clone()).take(&call()).unwrap());
        assert_eq!(headers["x-left"], "4");
        let reset: u64 = headers["x-reset"].to_str().unwrap().parse().unwrap();
        let now = u64::try_from(SystemClock.now().as_seconds()).unwrap();
        assert!((now + 59..=now + 61).contains(&reset), "{reset}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_one_request_for_each_token() {
        let mut bucket = Bucket::new(RateLimit::new(2.0, 3));
        let first: Vec<bool> = (0..4).map(|_| bucket.take(&call()).unwrap().wait.is_none()).collect();
        assert_eq!(first, [true, true, true, false]);
        let wait = bucket.take(&call()).unwrap().wait.unwrap();
        assert!((Duration::from_millis(500)..Duration::from_millis(501)).contains(&wait), "{wait:?}");
        tokio::time::advance(wait + Duration::from_millis(1)).await;
        assert_eq!(bucket.take(&call()).unwrap().wait, None);
        assert!(bucket.take(&call()).unwrap().wait.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_never_holds_more_than_its_burst() {
        let mut bucket = Bucket::new(RateLimit::new(100.0, 2));
        tokio::time::advance(Duration::from_mins(1)).await;
        let granted = (0..5).filter(|_| bucket.take(&call()).unwrap().wait.is_none()).count();
        assert_eq!(granted, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_vendors_headers_tell_what_is_used() {
        let limit = RateLimit { vendor_headers: true, ..RateLimit::new(1.0, 5) };
        let mut bucket = Bucket::new(limit.clone());
        bucket.take(&call());
        let headers = headers(&limit, &bucket.take(&call()).unwrap());
        let number = |name: &str| headers[name].to_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(number("inin-ratelimit-count"), 2);
        assert_eq!(number("inin-ratelimit-allowed"), 5);
        assert!((2..=3).contains(&number("inin-ratelimit-reset")));
        assert!(!headers.contains_key("retry-after"));
    }

    #[test]
    fn retry_after_is_never_too_early() {
        let wait = Duration::from_millis(1_200);
        assert_eq!(retry_after(RetryAfter::Seconds, wait).unwrap(), "2");
        assert_eq!(retry_after(RetryAfter::Seconds, Duration::ZERO).unwrap(), "1");
        assert_eq!(retry_after(RetryAfter::Absent, wait), None);
        let date = retry_after(RetryAfter::HttpDate, wait).unwrap();
        let date = httpdate::parse_http_date(date.to_str().unwrap()).unwrap();
        let now = u64::try_from(SystemClock.now().as_micros()).unwrap();
        assert!(date.duration_since(UNIX_EPOCH).unwrap() >= Duration::from_micros(now) + wait);
    }
}

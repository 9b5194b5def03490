//! The vendor's rate limit: one token bucket over all SCIM requests.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::sandbox::settings::{RateLimit, RetryAfter};

/// A bucket that fills steadily up to its burst; each request takes one token out.
#[derive(Debug)]
pub struct Bucket {
    limit: RateLimit,
    tokens: f64,
    filled: Instant,
}

/// What the bucket said to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grant {
    /// `None` when the request may go on, else how long until a token is there.
    pub wait: Option<Duration>,
    /// Tokens taken and not filled in again.
    pub used: u32,
    /// How long until the bucket is full.
    pub full_in: Duration,
}

impl Bucket {
    /// A full bucket.
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, tokens: capacity(&limit), filled: Instant::now() }
    }

    /// The limit in force.
    pub fn limit(&self) -> &RateLimit {
        &self.limit
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self) -> Grant {
        self.fill();
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        Grant {
            wait: (!granted).then(|| self.time_for(1.0 - self.tokens)),
            used: whole(capacity(&self.limit) - self.tokens),
            full_in: self.time_for(capacity(&self.limit) - self.tokens),
        }
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

/// The headers that say so: `Retry-After` on a refusal, the vendor's own with every answer.
pub fn headers(limit: &RateLimit, grant: &Grant) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(wait) = grant.wait {
        headers.extend(retry_after(limit.retry_after, wait).map(|value| (http::header::RETRY_AFTER, value)));
    }
    if limit.vendor_headers {
        headers.insert(HeaderName::from_static("inin-ratelimit-count"), grant.used.into());
        headers.insert(HeaderName::from_static("inin-ratelimit-allowed"), limit.burst.max(1).into());
        headers.insert(HeaderName::from_static("inin-ratelimit-reset"), ceil_seconds(grant.full_in).into());
    }
    headers
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_one_request_for_each_token() {
        let mut bucket = Bucket::new(RateLimit::new(2.0, 3));
        let first: Vec<bool> = (0..4).map(|_| bucket.take().wait.is_none()).collect();
        assert_eq!(first, [true, true, true, false]);
        let wait = bucket.take().wait.unwrap();
        assert!((Duration::from_millis(500)..Duration::from_millis(501)).contains(&wait), "{wait:?}");
        tokio::time::advance(wait + Duration::from_millis(1)).await;
        assert_eq!(bucket.take().wait, None);
        assert!(bucket.take().wait.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_never_holds_more_than_its_burst() {
        let mut bucket = Bucket::new(RateLimit::new(100.0, 2));
        tokio::time::advance(Duration::from_mins(1)).await;
        let granted = (0..5).filter(|_| bucket.take().wait.is_none()).count();
        assert_eq!(granted, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_vendors_headers_tell_what_is_used() {
        let limit = RateLimit { vendor_headers: true, ..RateLimit::new(1.0, 5) };
        let mut bucket = Bucket::new(limit);
        bucket.take();
        let headers = headers(&limit, &bucket.take());
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

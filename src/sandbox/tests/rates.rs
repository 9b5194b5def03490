use std::time::UNIX_EPOCH;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::sandbox::settings::{RateLimit, RetryAfter};

/// Two requests pass, and the bucket does not fill while the test runs.
fn slow(retry_after: RetryAfter) -> Behaviour {
    let rate = RateLimit { retry_after, vendor_headers: true, ..RateLimit::new(0.01, 2) };
    Behaviour { rate: Some(rate), ..Behaviour::default() }
}

#[tokio::test]
async fn over_the_limit_is_a_429_that_says_when_to_come_back() {
    for form in [RetryAfter::Seconds, RetryAfter::HttpDate, RetryAfter::Absent] {
        let vendor = Vendor::with(slow(form), &[]).await;
        let first = vendor.get("/Users").await;
        assert_eq!((first.status, first.header("inin-ratelimit-count")), (200, "1"));
        vendor.get("/Users").await;
        let refused = vendor.post("/Users", &user("jane")).await;
        assert_eq!((refused.status, refused.json()["status"].as_str()), (429, Some("429")));
        assert_eq!(
            (refused.header("inin-ratelimit-allowed"), refused.header("inin-ratelimit-count")),
            ("2", "2")
        );
        let wait = refused.header("retry-after");
        match form {
            RetryAfter::Seconds => assert!((90..=100).contains(&wait.parse::<u64>().unwrap()), "{wait}"),
            RetryAfter::HttpDate => {
                let date = httpdate::parse_http_date(wait).unwrap().duration_since(UNIX_EPOCH).unwrap();
                let now = u64::try_from(SystemClock.now().as_seconds()).unwrap();
                assert!((now + 90..=now + 102).contains(&date.as_secs()), "{wait}");
            }
            RetryAfter::Absent => assert_eq!(wait, ""),
        }
        let state = vendor.get("/_sandbox/state").await.json();
        assert_eq!(state["users"], json!([]), "what is refused is not done");
    }
}

#[tokio::test]
async fn the_limit_can_be_changed_while_it_runs() {
    let vendor = Vendor::with(slow(RetryAfter::Seconds), &[]).await;
    for _ in 0..3 {
        vendor.get("/Users").await;
    }
    assert_eq!(vendor.put("/_sandbox/rate", &json!({"per_second": 0.01, "burst": 1})).await.status, 204);
    assert_eq!([vendor.get("/Users").await.status, vendor.get("/Users").await.status], [200, 429]);
    assert_eq!(vendor.put("/_sandbox/rate", &json!(null)).await.status, 204);
    assert_eq!(vendor.get("/Users").await.status, 200);
    assert_eq!(vendor.put("/_sandbox/rate", &json!({"per_second": -1.0, "burst": 1})).await.status, 400);
}

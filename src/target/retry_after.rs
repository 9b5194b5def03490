//! `Retry-After`, RFC 9110 section 10.2.3: seconds, or a date.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

use crate::clock::Timestamp;

/// How long the vendor asks us to stay away, from now on. `None` when it does not say, or not in a
/// form that can be read.
///
/// A date is measured against the vendor's own `Date` where it sends one, so that a difference
/// between the clocks neither shortens nor lengthens the wait; else against `now`. With neither, a
/// date says nothing.
pub fn retry_after(headers: &HeaderMap, now: Option<Timestamp>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(seconds) = seconds(text) {
        return Some(seconds);
    }
    let until = since_epoch(text)?;
    let from = headers
        .get(DATE)
        .and_then(|date| since_epoch(date.to_str().ok()?))
        .or_else(|| Some(Duration::from_micros(u64::try_from(now?.as_micros()).ok()?)))?;
    Some(until.saturating_sub(from))
}

/// Whole seconds, or a fraction as some vendors send; a number too long to read counts as for ever.
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let fraction = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Duration::try_from_secs_f64(text.parse().ok().filter(|_| fraction)?).ok()
}

fn since_epoch(date: &str) -> Option<Duration> {
    let time: SystemTime = httpdate::parse_http_date(date).ok()?;
    time.duration_since(UNIX_EPOCH).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(784_111_770);

    fn read(retry: &str, date: Option<&str>, now: Option<Timestamp>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers, now)
    }

    #[test]
    fn seconds_and_dates_are_read_and_all_else_says_nothing() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (text, wait) in [
            ("0", Some(Duration::ZERO)),
            (" 121 ", Some(Duration::from_secs(121))),
            ("1.5", Some(Duration::from_millis(1_500))),
            ("99999999999999999999999", Some(Duration::from_secs(u64::MAX))),
            (date, Some(Duration::from_secs(7))),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(Duration::ZERO)),
            ("-5", None),
            ("soon", None),
            ("", None),
            ("1e9", None),
            ("NaN", None),
            (".", None),
        ] {
            assert_eq!(read(text, None, Some(NOW)), wait, "{text}");
        }
        assert_eq!(read(date, None, None), None);
    }

    #[test]
    fn the_vendors_own_clock_is_the_measure_of_its_dates() {
        let wait = read("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:49:07 GMT"), Some(NOW));
        assert_eq!(wait, Some(Duration::from_secs(30)));
    }
}

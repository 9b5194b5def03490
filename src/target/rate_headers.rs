//! What a vendor tells of its rate limit in the headers of its answers. Pure.
//!
//! Vendors agree on little: some tell what is left, some what is used; the reset is a number of
//! seconds, or a moment as seconds or milliseconds since 1970, or a date. A profile names its vendor's
//! headers. Without one, those are read that mean the same wherever they are met: `RateLimit` with
//! `RateLimit-Policy` (the IETF's draft-ietf-httpapi-ratelimit-headers, in its present form and the
//! two before), and `X-RateLimit-*`. What cannot be read says nothing; numbers are bounded by whoever
//! acts on them, and can only slow calls down.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;

use crate::clock::Timestamp;
use crate::target::profile::{QuotaHeaders, ResetUnit};

/// What a vendor lets through until its count starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Calls that are left.
    pub left: u64,
    /// When that ends, from now on.
    pub resets_in: Duration,
}

/// Reads what an answer tells, at `now`; `None` when it tells nothing that can be used.
pub fn told(headers: &HeaderMap, named: Option<&QuotaHeaders>, now: Timestamp) -> Option<Told> {
    let read = Reader { headers, now };
    match named {
        Some(named) => read.named(named),
        None => read
            .structured()
            .or_else(|| read.triple("ratelimit"))
            .or_else(|| ["x-ratelimit", "x-rate-limit"].into_iter().find_map(|prefix| read.triple(prefix))),
    }
}

/// From here on a number of seconds is a moment since 1970: no count lasts for thirty years.
const EPOCH_SECONDS_MIN: u64 = 1_000_000_000;
/// From here on it is in milliseconds.
const EPOCH_MILLIS_MIN: u64 = 1_000_000_000_000;

struct Reader<'a> {
    headers: &'a HeaderMap,
    now: Timestamp,
}

impl Reader<'_> {
    fn named(&self, named: &QuotaHeaders) -> Option<Told> {
        let number = |name: &Option<String>| self.number(name.as_deref()?);
        let left = number(&named.remaining)
            .or_else(|| Some(number(&named.allowed)?.saturating_sub(number(&named.used)?)))?;
        Some(Told { left, resets_in: self.reset(&named.reset, Some(named.reset_unit))? })
    }

    /// `…-Remaining` and `…-Reset`.
    fn triple(&self, prefix: &str) -> Option<Told> {
        let left = self.number(&format!("{prefix}-remaining"))?;
        Some(Told { left, resets_in: self.reset(&format!("{prefix}-reset"), None)? })
    }

    /// `RateLimit: "name";r=50;t=30`, or `limit=100, remaining=50, reset=30` of an earlier draft. Of
    /// several, the one that leaves least.
    fn structured(&self) -> Option<Told> {
        let text = self.text("ratelimit")?;
        if text.contains("remaining") {
            let field = |name| text.split(',').find_map(|part| parameter(part, name));
            let resets_in = Duration::from_secs(field("reset")?);
            return Some(Told { left: field("remaining")?, resets_in });
        }
        let told = text.split(',').filter_map(|item| {
            let left = item.split(';').skip(1).find_map(|part| parameter(part, "r"))?;
            let seconds = item.split(';').skip(1).find_map(|part| parameter(part, "t"));
            let seconds = seconds.or_else(|| self.window(item.split(';').next()?))?;
            Some(Told { left, resets_in: Duration::from_secs(seconds) })
        });
        told.min_by_key(|told| (told.left, std::cmp::Reverse(told.resets_in)))
    }

    /// The length in seconds of the window of a policy's name, from `RateLimit-Policy`.
    fn window(&self, name: &str) -> Option<u64> {
        let policies = self.text("ratelimit-policy")?;
        let mut named =
            policies.split(',').filter(|item| item.split(';').next().map(str::trim) == Some(name.trim()));
        named.next()?.split(';').find_map(|part| parameter(part, "w"))
    }

    fn reset(&self, name: &str, unit: Option<ResetUnit>) -> Option<Duration> {
        if unit == Some(ResetUnit::HttpDate) {
            let at = httpdate::parse_http_date(self.text(name)?).ok()?;
            return Some(at.duration_since(UNIX_EPOCH).ok()?.saturating_sub(self.vendor_now()?));
        }
        let number = self.number(name)?;
        let unit = unit.unwrap_or(match number {
            EPOCH_MILLIS_MIN.. => ResetUnit::EpochMilliseconds,
            EPOCH_SECONDS_MIN.. => ResetUnit::EpochSeconds,
            _ => ResetUnit::Seconds,
        });
        match unit {
            ResetUnit::Seconds => Some(Duration::from_secs(number)),
            ResetUnit::EpochSeconds => Some(Duration::from_secs(number).saturating_sub(self.vendor_now()?)),
            ResetUnit::EpochMilliseconds => {
                Some(Duration::from_millis(number).saturating_sub(self.vendor_now()?))
            }
            ResetUnit::HttpDate => None,
        }
    }

    /// The vendor's own clock where it tells the time, since its moments are by it; else ours.
    fn vendor_now(&self) -> Option<Duration> {
        let dated =
            self.headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let dated = dated.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
        dated.or_else(|| Some(Duration::from_micros(u64::try_from(self.now.as_micros()).ok()?)))
    }

    /// A whole number, or one with a fraction rounded up; a vendor's decimal is not ours to refuse.
    fn number(&self, name: &str) -> Option<u64> {
        whole(self.text(name)?)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }
}

fn parameter(part: &str, name: &str) -> Option<u64> {
    let (key, value) = part.split_once('=')?;
    if key.trim() == name { whole(value.trim()) } else { None }
}

fn whole(text: &str) -> Option<u64> {
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.is_empty() || !all_digits(digits) || !all_digits(fraction) {
        return None;
    }
    let more = u64::from(fraction.bytes().any(|byte| byte != b'0'));
    Some(digits.parse().unwrap_or(u64::MAX).saturating_add(more))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::Profile;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn read(pairs: &[(&'static str, &str)]) -> Option<(u64, u64)> {
        told(&headers(pairs), None, NOW).map(|told| (told.left, told.resets_in.as_secs()))
    }

    #[test]
    fn the_usual_headers_are_read_without_a_profile() {
        for (pairs, expected) in [
            (&[("ratelimit", "\"default\";r=50;t=30")][..], Some((50, 30))),
            (&[("ratelimit", "\"a\";r=50;t=30, \"b\";r=3;t=9")], Some((3, 9))),
            (&[("ratelimit", "\"a\";r=3;t=9,\"b\";r=3;t=30")], Some((3, 30))),
            (
                &[("ratelimit", "\"a\";r=5"), ("ratelimit-policy", "\"b\";q=9;w=7, \"a\";q=9;w=60")],
                Some((5, 60)),
            ),
            (&[("ratelimit", "\"a\";r=5"), ("ratelimit-policy", "\"b\";q=9;w=7")], None),
            (&[("ratelimit", "limit=100, remaining=0, reset=12")], Some((0, 12))),
            (&[("ratelimit-remaining", "4"), ("ratelimit-reset", "12")], Some((4, 12))),
            (&[("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "12")], Some((4, 12))),
            (&[("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "1790000030")], Some((4, 30))),
            (&[("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "1790000030500")], Some((4, 30))),
            (&[("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "1700000000")], Some((4, 0))),
            (&[("x-rate-limit-remaining", "4"), ("x-rate-limit-reset", "1.2")], Some((4, 2))),
            (&[("x-ratelimit-remaining", "4")], None),
            (&[("x-ratelimit-limit", "4"), ("x-ratelimit-reset", "9")], None),
            (&[], None),
        ] {
            assert_eq!(read(pairs), expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_moment_is_measured_by_the_vendors_own_clock() {
        let pairs = [
            ("x-ratelimit-remaining", "4"),
            ("x-ratelimit-reset", "784111787"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ];
        // Too small for a moment that is told apart by its size.
        assert_eq!(read(&pairs), Some((4, 784_111_787)));
        let mut named = QuotaHeaders::of("x-ratelimit-remaining", "x-ratelimit-reset");
        for (unit, reset, expected) in [
            (ResetUnit::EpochSeconds, "784111787", Some(10)),
            (ResetUnit::EpochMilliseconds, "784111787000", Some(10)),
            (ResetUnit::HttpDate, "Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            (ResetUnit::HttpDate, "10", None),
            (ResetUnit::Seconds, "10", Some(10)),
        ] {
            named.reset_unit = unit;
            let pairs = headers(&[pairs[0], ("x-ratelimit-reset", reset), pairs[2]]);
            let told = told(&pairs, Some(&named), NOW);
            assert_eq!(told.map(|told| told.resets_in.as_secs()), expected, "{unit:?}");
        }
    }

    #[test]
    fn genesys_tells_what_is_used() {
        let genesys = Profile::builtin("genesys-cloud").unwrap().limits.headers;
        for (count, allowed, reset, expected) in [
            ("120", "300", "61", Some((180, 61))),
            ("301", "300", "61", Some((0, 61))),
            ("-1", "300", "61", None),
            ("many", "300", "61", None),
            ("1", "300", "", None),
            ("1", "99999999999999999999999", "61", Some((u64::MAX - 1, 61))),
        ] {
            let pairs = headers(&[
                ("inin-ratelimit-count", count),
                ("inin-ratelimit-allowed", allowed),
                ("inin-ratelimit-reset", reset),
            ]);
            let told = told(&pairs, genesys.as_ref(), NOW);
            assert_eq!(told.map(|told| (told.left, told.resets_in.as_secs())), expected, "{count} {allowed}");
        }
    }

    proptest! {
        /// Whatever a vendor sends is read or is not; nothing panics.
        #[test]
        fn no_header_can_do_harm(
            ratelimit in "[ -~]{0,40}", policy in "[ -~]{0,40}", left in "[ -~]{0,24}", reset in "[0-9.eE+-]{0,24}",
        ) {
            for name in ["ratelimit-remaining", "x-ratelimit-remaining"] {
                let pairs = [
                    ("ratelimit", ratelimit.as_str()), ("ratelimit-policy", policy.as_str()),
                    (name, left.as_str()), ("x-ratelimit-reset", reset.as_str()), ("ratelimit-reset", reset.as_str()),
                ];
                let _ = read(&pairs);
            }
        }
    }
}

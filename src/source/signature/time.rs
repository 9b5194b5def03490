//! The time of signing: how it is written, and how far it may lie from now.

use crate::clock::Timestamp;
use crate::source::Refusal;

/// Numbers above this are milliseconds where either may be meant: as seconds it is a date after the
/// year 5000, as milliseconds one in 1973.
const SECONDS_MAX: i64 = 99_999_999_999;

/// How a sender writes a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Digits: seconds since the Unix epoch.
    UnixSeconds,
    /// Digits: milliseconds since the Unix epoch.
    UnixMillis,
    /// A date and time with its offset (RFC 3339).
    Rfc3339,
    /// Any of them, told apart by their looks.
    Auto,
}

impl Format {
    /// Reads a time; `None` when it is not written so, or lies behind the calendar's end: the relay writes
    /// times as dates.
    pub fn read(self, text: &str) -> Option<Timestamp> {
        match self {
            Self::UnixSeconds => digits(text).and_then(seconds),
            Self::UnixMillis => digits(text).and_then(millis),
            Self::Rfc3339 => Timestamp::parse_rfc3339(text),
            Self::Auto => match digits(text) {
                Some(number) if number > SECONDS_MAX => millis(number),
                Some(number) => seconds(number),
                None => Timestamp::parse_rfc3339(text),
            },
        }
    }
}

/// How far the time of signing may lie from now, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// How old a signature may be.
    pub past: u32,
    /// How far a sender's clock may be ahead.
    pub future: u32,
}

impl Tolerance {
    /// Five minutes either way, as most senders' own libraries have it.
    pub const USUAL: Self = Self { past: 300, future: 300 };

    /// Whether what was signed at `signed_at` may be taken now.
    pub fn check(self, signed_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
        let micros = now.as_micros().saturating_sub(signed_at.as_micros());
        let bound = |seconds: u32| i64::from(seconds) * 1_000_000;
        if micros > bound(self.past) || micros < -bound(self.future) {
            return Err(Refusal::Untimely { seconds: micros.div_euclid(1_000_000) });
        }
        Ok(())
    }
}

/// The milliseconds since the Unix epoch as a time; `None` behind the calendar's end.
pub fn millis(number: i64) -> Option<Timestamp> {
    number.checked_mul(1000).map(Timestamp::from_micros).filter(|time| time.is_date())
}

fn seconds(number: i64) -> Option<Timestamp> {
    Some(Timestamp::from_seconds(number)).filter(|time| time.is_date())
}

/// At most 15 digits without a sign, which `parse` would take.
fn digits(text: &str) -> Option<i64> {
    let plain = (1..=15).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_written() {
        let (s, ms, rfc, auto) = (Format::UnixSeconds, Format::UnixMillis, Format::Rfc3339, Format::Auto);
        let second = Some(Timestamp::from_seconds(1_786_000_000));
        for (format, text, expected) in [
            (s, "1786000000", second),
            (ms, "1786000000000", second),
            (rfc, "2026-08-06T07:06:40Z", second),
            (auto, "1786000000", second),
            (auto, "1786000000000", second),
            (auto, "2026-08-06T09:06:40+02:00", second),
            (ms, "1786000000001", Some(Timestamp::from_micros(1_786_000_000_001_000))),
            (s, "2026-08-06T07:06:40Z", None),
            (rfc, "1786000000", None),
            (rfc, "2026-08-06T07:06:40", None),
            (s, "+1786000000", None),
            (s, "-1", None),
            (s, "1e9", None),
            (s, "", None),
            (auto, "", None),
            (auto, " 1786000000", None),
            (ms, "9999999999999999", None),
            (s, "253402200000", Some(Timestamp::from_seconds(253_402_200_000))),
            (s, "253402300800", None),
            (s, "999999999999999", None),
            (ms, "999999999999999", None),
            (auto, "999999999999999", None),
        ] {
            assert_eq!(format.read(text), expected, "{format:?} {text}");
        }
    }

    #[test]
    fn a_signature_may_be_as_old_and_as_far_ahead_as_tolerated() {
        let tolerance = Tolerance { past: 300, future: 60 };
        let at = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
        for (signed_at, expected) in [
            (-300, Ok(())),
            (-301, Err(Refusal::Untimely { seconds: 301 })),
            (60, Ok(())),
            (61, Err(Refusal::Untimely { seconds: -61 })),
        ] {
            assert_eq!(tolerance.check(at(signed_at), at(0)), expected, "{signed_at}");
        }
        assert!(tolerance.check(Timestamp::from_micros(i64::MIN), at(0)).is_err());
        assert!(tolerance.check(Timestamp::from_micros(i64::MAX), at(0)).is_err());
    }
}

//! Wall time as an argument, so that signature ages, due times and back-offs are ordinary tests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, UTC. Order is time order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch; saturates at the ends of the range.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Parses RFC 3339, with any offset. `None` when it is not a date and time with an offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Some(Self(parsed.as_microsecond()))
    }

    /// Whether it is a date that can be written as one: within the calendar's range, to the year 9999.
    pub fn is_date(self) -> bool {
        jiff::Timestamp::from_microsecond(self.0).is_ok()
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `wait` more; saturates.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC; the raw microseconds when the date is out of the calendar's range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// Where the wall time comes from.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock that every part may hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

/// A clock by which several processes agree: this machine's, put right by an offset that somebody
/// keeps. It does not run backwards while it is put right; it stands still until the time has caught
/// up, and goes back only when that would take longer than [`STAND_STILL_MAX`].
pub struct CommonClock {
    machine: SharedClock,
    /// What is added to the machine's time, in microseconds.
    offset: AtomicI64,
    /// The latest time that was told.
    last: AtomicI64,
}

/// The longest that a [`CommonClock`] stands still.
pub const STAND_STILL_MAX: Duration = Duration::from_secs(5);

impl CommonClock {
    /// The machine's time, until it is put right.
    pub fn new(machine: SharedClock) -> Self {
        Self { machine, offset: AtomicI64::new(0), last: AtomicI64::new(i64::MIN) }
    }

    /// The machine's own time.
    pub fn machine_now(&self) -> Timestamp {
        self.machine.now()
    }

    /// How far it is ahead of the machine's, in microseconds.
    pub fn offset_us(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Puts it right: so many microseconds ahead of the machine's.
    pub fn set_offset_us(&self, offset: i64) {
        self.offset.store(offset, Ordering::Relaxed);
    }
}

impl Clock for CommonClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp(self.machine.now().0.saturating_add(self.offset_us()));
        let last = Timestamp(self.last.fetch_max(now.0, Ordering::Relaxed));
        if last.since(now) <= STAND_STILL_MAX {
            return now.max(last);
        }
        self.last.store(now.0, Ordering::Relaxed);
        now
    }
}

/// A clock tied to Tokio's: it moves when paused time is advanced, so one `advance` moves both
/// sleeping and wall time.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Timestamp,
    anchor: tokio::time::Instant,
}

impl TokioClock {
    /// Starts at `start`, now.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, anchor: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start.after(self.anchor.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_is_read_with_any_offset_and_written_in_utc() {
        let parsed = Timestamp::parse_rfc3339("2026-11-20T11:00:00.25+01:00").unwrap();
        assert_eq!(parsed, Timestamp::parse_rfc3339("2026-11-20T10:00:00.25Z").unwrap());
        assert_eq!(parsed.to_string(), "2026-11-20T10:00:00.25Z");
    }

    #[test]
    fn a_date_without_an_offset_is_refused() {
        for text in ["", "yesterday", "2026-11-20", "2026-11-20T10:00:00", "1700000000"] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_moves_with_paused_time() {
        let clock = TokioClock::starting_at(Timestamp::from_seconds(100));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Timestamp::from_seconds(105));
    }

    #[tokio::test(start_paused = true)]
    async fn the_common_clock_stands_still_rather_than_go_back_a_little() {
        let machine = TokioClock::starting_at(Timestamp::from_seconds(100));
        let clock = CommonClock::new(Arc::new(machine));
        assert_eq!(clock.now(), Timestamp::from_seconds(100));
        clock.set_offset_us(3_000_000);
        assert_eq!(clock.now(), Timestamp::from_seconds(103), "forward at once");
        clock.set_offset_us(1_000_000);
        assert_eq!(clock.now(), Timestamp::from_seconds(103));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), Timestamp::from_seconds(103), "still");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(clock.now(), Timestamp::from_seconds(104));
        clock.set_offset_us(-3_600_000_000);
        assert_eq!(clock.now(), Timestamp::from_seconds(103 - 3_600), "an hour is not waited for");
    }
}

//! What is remembered of a poll from one question to the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::feed::poll::{Settings, TimeFormat};
use crate::feed::snapshot::Done;

/// Wait after a first failure; it doubles with each.
const BACKOFF: Duration = Duration::from_secs(15);
/// Longest wait after a failure, unless the source asks for a longer one.
const BACKOFF_MAX: Duration = Duration::from_hours(1);

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The source's own time at which everything before had been read; `None` before the first poll.
    pub position: Option<Timestamp>,
    /// How many polls were begun.
    pub attempt: u64,
    /// How many snapshots were begun.
    pub snapshot: u64,
    /// The last of them that was taken.
    pub snapshot_taken: u64,
    /// When the source is asked next.
    pub next_at: Timestamp,
    /// When it last answered in full.
    pub succeeded_at: Option<Timestamp>,
    /// When a snapshot was last taken.
    pub snapshot_at: Option<Timestamp>,
    /// What that did.
    pub snapshot_done: Option<Done>,
    /// Failures since the last success.
    pub failures: u32,
    /// The last of them.
    pub error: Option<String>,
    /// Records that the last poll read.
    pub records: u64,
}

impl Memory {
    /// As it was stored. What cannot be read any more is begun anew, which costs a poll of everything.
    pub fn read(stored: &serde_json::Value) -> Self {
        serde_json::from_value(stored.clone()).unwrap_or_default()
    }

    /// To be stored.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("it has text keys and no failing serializer")
    }

    /// Whether everything is to be read this time, and taken as a snapshot.
    pub fn is_snapshot_due(&self, settings: &Settings, now: Timestamp) -> bool {
        let Some(every) = settings.snapshot_every else { return false };
        self.snapshot_at.is_none_or(|at| at.after(every) <= now)
    }

    /// The value of the parameter that asks for changes only.
    pub fn asked_from(&self, format: TimeFormat, overlap: Duration) -> Option<String> {
        let overlap = i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX);
        let from = Timestamp::from_micros(self.position?.as_micros().saturating_sub(overlap));
        Some(format.write(from))
    }

    /// After every page of a list was taken in, which the source began to answer at `position`.
    pub fn advance(&mut self, position: Timestamp, records: u64) {
        self.position = self.position.max(Some(position));
        self.records = records;
    }

    /// After everything that was asked for was taken in.
    pub fn succeed(&mut self, now: Timestamp) {
        self.succeeded_at = Some(now);
        self.failures = 0;
        self.error = None;
    }

    /// After a failure: the position stays. `asked` is how long the source wants to be left alone.
    pub fn fail(&mut self, error: String, asked: Option<Duration>, jitter: f64, now: Timestamp) {
        let doubled = BACKOFF.saturating_mul(1 << self.failures.min(16)).min(BACKOFF_MAX);
        let wait = doubled.mul_f64(1.0 - jitter / 2.0).max(asked.unwrap_or_default().min(BACKOFF_MAX * 24));
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error);
        self.next_at = now.after(wait);
    }

    /// When the source is asked next; spread, so that the polls of many sources do not meet.
    pub fn schedule(&mut self, every: Duration, jitter: f64, now: Timestamp) {
        self.next_at = now.after(every.mul_f64(1.0 - jitter / 10.0));
    }
}

impl TimeFormat {
    /// Writes a time; parts of a second are cut, so that it is never later.
    pub fn write(self, time: Timestamp) -> String {
        let seconds = time.as_seconds();
        match self {
            Self::Rfc3339 => Timestamp::from_seconds(seconds).to_string(),
            Self::UnixSeconds => seconds.to_string(),
            Self::UnixMillis => time.as_micros().div_euclid(1_000).to_string(),
            Self::Date => Timestamp::from_seconds(seconds).to_string().chars().take(10).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_time_is_written_as_the_source_reads_it_and_never_later() {
        let time = at("2026-11-20T10:00:00.9876Z");
        for (format, expected) in [
            (TimeFormat::Rfc3339, "2026-11-20T10:00:00Z"),
            (TimeFormat::UnixSeconds, "1795168800"),
            (TimeFormat::UnixMillis, "1795168800987"),
            (TimeFormat::Date, "2026-11-20"),
        ] {
            assert_eq!(format.write(time), expected);
        }
    }

    #[test]
    fn a_question_reaches_back_behind_the_last_one() {
        let mut memory = Memory::default();
        let asked = |memory: &Memory| memory.asked_from(TimeFormat::Rfc3339, Duration::from_mins(5));
        assert_eq!(asked(&memory), None, "the first question is for everything");
        memory.advance(at("2026-11-20T10:00:00Z"), 1);
        assert_eq!(asked(&memory).as_deref(), Some("2026-11-20T09:55:00Z"));
        memory.advance(at("2026-11-20T09:00:00Z"), 1);
        assert_eq!(
            asked(&memory).as_deref(),
            Some("2026-11-20T09:55:00Z"),
            "a clock that goes back loses nothing"
        );
    }

    #[test]
    fn failures_wait_longer_each_time_and_keep_the_position() {
        let mut memory = Memory { position: Some(Timestamp::from_seconds(7)), ..Memory::default() };
        let mut waits = Vec::new();
        for _ in 0..20 {
            memory.fail("it answered 503".to_owned(), None, 0.0, Timestamp::default());
            waits.push(memory.next_at.as_seconds());
        }
        assert_eq!(waits[..4], [15, 30, 60, 120]);
        assert_eq!(waits[19], 3_600);
        assert_eq!(memory.position, Some(Timestamp::from_seconds(7)));
        memory.fail("it answered 429".to_owned(), Some(Duration::from_hours(2)), 1.0, Timestamp::default());
        assert_eq!(memory.next_at.as_seconds(), 7_200, "what the source asks for is kept");
        memory.succeed(Timestamp::from_seconds(9));
        assert_eq!((memory.failures, memory.error), (0, None));
    }

    #[test]
    fn memory_comes_back_as_it_was_and_starts_anew_where_it_cannot_be_read() {
        let memory = Memory { position: Some(Timestamp::from_seconds(7)), attempt: 3, ..Memory::default() };
        assert_eq!(Memory::read(&memory.to_json()), memory);
        assert_eq!(Memory::read(&serde_json::Value::Null), Memory::default());
    }
}

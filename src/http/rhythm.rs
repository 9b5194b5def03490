//! How often each source sends, learned from when it did: a source that has fallen silent is heard of,
//! though nothing of it fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::source::{Kind, Sources};

/// Pauses that are remembered for what is usual.
const PAUSES_MAX: usize = 64;
/// Pauses from which on a rhythm is known.
const PAUSES_MIN: usize = 8;
/// What arrives within this span of the last arrival belongs to it: people work in bursts, and the
/// pauses within one say nothing of those between.
const BURST: Duration = Duration::from_mins(1);
/// No source is silent before this has passed, however often it sends.
const SILENCE_MIN: Duration = Duration::from_hours(1);
/// How many usual pauses are a silence.
const USUAL_TIMES: u32 = 20;
/// How many of the longest pauses are one: nights and weekends are pauses, too.
const LONGEST_TIMES: u32 = 2;
/// Days over which the longest pause is remembered, so that each weekend finds the last.
const DAYS: i64 = 8;

/// The rhythm of every source that posts.
#[derive(Debug, Default)]
pub struct Rhythms(BTreeMap<String, Mutex<Rhythm>>);

/// How a source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// When it was heard last, by this process or from the store; `None`: not yet.
    pub last: Option<Timestamp>,
    /// For how long nothing has come.
    pub lasting: Duration,
    /// For how long that may be; `None` while too little is known.
    pub limit: Option<Duration>,
}

impl Quiet {
    /// Whether nothing has come for too long; `None` while too little is known.
    pub fn is_silence(&self) -> Option<bool> {
        self.limit.map(|limit| self.lasting > limit)
    }
}

impl Rhythms {
    /// Of the sources that post webhooks, listening from `now` on. `silent_after` has the limits that
    /// are configured.
    pub fn new(sources: &Sources, silent_after: &BTreeMap<String, Duration>, now: Timestamp) -> Self {
        let posting = sources.iter().map(|source| &source.settings);
        let posting = posting.filter(|settings| !matches!(settings.kind, Kind::Fed | Kind::File(_)));
        let rhythm = |name: &str| Rhythm::new(now, silent_after.get(name).copied());
        Self(posting.map(|settings| (settings.name.clone(), Mutex::new(rhythm(&settings.name)))).collect())
    }

    /// Notes that a source was heard: its secret vouched for what came, new or not. Of several, the
    /// oldest first.
    pub fn heard(&self, source: &str, at: Timestamp) {
        if let Some(mut rhythm) = self.lock(source) {
            rhythm.heard(at);
        }
    }

    /// How each source stands.
    pub fn quiet(&self, now: Timestamp) -> impl Iterator<Item = (&str, Quiet)> {
        self.0.iter().map(move |(name, rhythm)| {
            (name.as_str(), rhythm.lock().unwrap_or_else(PoisonError::into_inner).quiet(now))
        })
    }

    fn lock(&self, source: &str) -> Option<MutexGuard<'_, Rhythm>> {
        Some(self.0.get(source)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Rhythm {
    since: Timestamp,
    configured: Option<Duration>,
    last: Option<Timestamp>,
    pauses: VecDeque<Duration>,
    /// The longest pause that ended on a day, by the number of the day; a handful.
    longest: BTreeMap<i64, Duration>,
}

impl Rhythm {
    fn new(since: Timestamp, configured: Option<Duration>) -> Self {
        Self { since, configured, last: None, pauses: VecDeque::new(), longest: BTreeMap::new() }
    }

    fn heard(&mut self, at: Timestamp) {
        let Some(last) = self.last else {
            self.last = Some(at);
            return;
        };
        let pause = at.since(last);
        self.last = Some(at.max(last));
        if pause < BURST {
            return;
        }
        if self.pauses.len() == PAUSES_MAX {
            self.pauses.pop_front();
        }
        self.pauses.push_back(pause);
        let day = at.as_seconds().div_euclid(24 * 3600);
        let longest = self.longest.entry(day).or_default();
        *longest = pause.max(*longest);
        self.longest.retain(|other, _| *other > day - DAYS);
    }

    fn quiet(&self, now: Timestamp) -> Quiet {
        // What was heard before this process began counts; a silence that began before it does not
        // count twice.
        let lasting = now.since(self.last.unwrap_or(self.since));
        Quiet { last: self.last, lasting, limit: self.configured.or_else(|| self.learned()) }
    }

    fn learned(&self) -> Option<Duration> {
        if self.pauses.len() < PAUSES_MIN {
            return None;
        }
        let mut pauses: Vec<Duration> = self.pauses.iter().copied().collect();
        pauses.sort_unstable();
        let usual = pauses[pauses.len() / 2];
        let longest = self.longest.values().max().copied().unwrap_or_default();
        Some(SILENCE_MIN.max(usual.saturating_mul(USUAL_TIMES)).max(longest.saturating_mul(LONGEST_TIMES)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_795_168_800;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_seconds(START + minutes * 60)
    }

    fn heard_at(minutes: impl IntoIterator<Item = i64>) -> Rhythm {
        let mut rhythm = Rhythm::new(at(0), None);
        for minute in minutes {
            rhythm.heard(at(minute));
        }
        rhythm
    }

    #[test]
    fn a_source_is_silent_once_nothing_has_come_for_far_longer_than_is_usual() {
        let hours = |hours| Some(Duration::from_hours(hours));
        for (name, minutes, limit) in [
            ("too little is known", (0..8).map(|n| n * 5).collect::<Vec<_>>(), None),
            ("every two minutes", (0..30).map(|n| n * 2).collect(), hours(1)),
            ("every six minutes", (0..30).map(|n| n * 6).collect(), hours(2)),
            // Ten arrivals by day, then a night of fourteen hours, then a day again.
            (
                "with a night",
                (0..10).map(|n| n * 60).chain((0..10).map(|n| n * 60 + 23 * 60)).collect(),
                hours(28),
            ),
        ] {
            let rhythm = heard_at(minutes.iter().copied());
            let last = *minutes.last().unwrap();
            assert_eq!(rhythm.quiet(at(last)).limit, limit, "{name}");
            let Some(limit) = limit else { continue };
            let end = at(last).after(limit);
            assert_eq!(rhythm.quiet(end).is_silence(), Some(false), "{name}");
            let later = end.after(Duration::from_secs(1));
            assert_eq!(rhythm.quiet(later).is_silence(), Some(true), "{name}");
        }
    }

    #[test]
    fn a_burst_is_one_arrival() {
        let mut rhythm = Rhythm::new(at(0), None);
        for second in 0..1000 {
            rhythm.heard(Timestamp::from_seconds(START + second));
        }
        assert_eq!(rhythm.quiet(at(60)).limit, None);
        assert_eq!(rhythm.quiet(at(60)).last, Some(Timestamp::from_seconds(START + 999)));
    }

    #[test]
    fn a_configured_limit_counts_from_the_start_where_nothing_ever_came() {
        let rhythm = Rhythm::new(at(0), Some(Duration::from_hours(2)));
        assert_eq!(rhythm.quiet(at(120)).is_silence(), Some(false));
        assert_eq!(rhythm.quiet(at(121)).is_silence(), Some(true));
    }

    #[test]
    fn what_was_long_ago_is_unlearned() {
        let day = 24 * 60;
        let rhythm =
            heard_at((0..9).map(|n| n * 6).chain([2 * day]).chain((0..100).map(|n| 11 * day + n * 6)));
        // The pause of nine days ended on the eleventh day, and counts for eight more.
        assert_eq!(rhythm.quiet(at(12 * day)).limit, Some(Duration::from_hours(2 * 9 * 24)));
        let mut rhythm = rhythm;
        for hour in 0..(9 * 24) {
            rhythm.heard(at(12 * day + hour * 60));
        }
        assert!(rhythm.quiet(at(21 * day)).limit < Some(Duration::from_hours(24)));
    }

    proptest! {
        #[test]
        fn whatever_comes_when_the_limit_is_an_hour_at_least_and_memory_is_bounded(
            mut minutes in proptest::collection::vec(-10_000_i64..10_000, 0..300),
            is_in_order in proptest::bool::ANY,
        ) {
            if is_in_order {
                minutes.sort_unstable();
            }
            let rhythm = heard_at(minutes);
            let limit = rhythm.quiet(at(20_000)).limit;
            prop_assert!(limit.is_none_or(|limit| limit >= SILENCE_MIN));
            prop_assert!(rhythm.pauses.len() <= PAUSES_MAX && rhythm.longest.len() <= 8);
        }
    }
}

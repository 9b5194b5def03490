//! `limits` of a target: what the operator wants kept instead of what the profile says.

use std::time::Duration;

use crate::config::reader::Section;

/// Highest rate that may be set, in calls a second.
const RATE_MAX: f64 = 10_000.0;
/// Lowest rate that may be set: one call in about a quarter of an hour. Slower is a pause.
const RATE_MIN: f64 = 0.001;

/// Limits that replace the profile's where they are given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Calls a second, on average.
    pub rate_per_second: Option<f64>,
    /// Calls at once on top of the rate.
    pub burst: Option<u32>,
    /// Calls in flight at the same time.
    pub concurrency: Option<u32>,
    /// Further windows, all kept at once; absent: the profile's.
    pub windows: Option<Vec<Window>>,
}

/// So many calls in any span of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Calls.
    pub limit: u32,
    /// Length of the span.
    pub per: Duration,
}

/// Reads `limits` of a target.
pub fn read(mut section: Section<'_>) -> Limits {
    let limits = Limits {
        rate_per_second: section.number("rate_per_second", RATE_MIN..=RATE_MAX),
        burst: section.integer("burst", 1..=100_000),
        concurrency: section.integer("concurrency", 1..=1_000),
        windows: section
            .has("windows")
            .then(|| section.sections("windows").into_iter().filter_map(window).collect()),
    };
    section.finish();
    limits
}

fn window(mut section: Section<'_>) -> Option<Window> {
    let limit = section.integer("limit", 1..=10_000_000);
    let limit = section.require("limit", limit, "write limit = 300");
    let per = section.duration("per", Duration::from_secs(1)..=Duration::from_hours(24));
    let per = section.require("per", per, "write per = \"1m\"");
    section.finish();
    Some(Window { limit: limit?, per: per? })
}

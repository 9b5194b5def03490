//! `limits` of a target: what the operator wants kept instead of what the profile says.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::reader::Section;
use crate::target::LimitOverrides;
use crate::target::profile::{ClassLimits, Window};

/// Highest rate that may be set, in calls a second.
const RATE_MAX: f64 = 10_000.0;
/// Lowest rate that may be set: one call in about a quarter of an hour. Slower is a pause.
const RATE_MIN: f64 = 0.001;
/// Most calls at once that may be set.
const BURST_MAX: NonZeroU32 = NonZeroU32::new(100_000).expect("100000 is over zero");
/// Most calls in flight that may be set.
const CONCURRENCY_MAX: NonZeroU32 = NonZeroU32::new(1_000).expect("1000 is over zero");
/// Most calls in a window that may be set.
const WINDOW_LIMIT_MAX: NonZeroU32 = NonZeroU32::new(10_000_000).expect("ten million is over zero");

/// Reads `limits` of a target.
pub fn read(mut section: Section<'_>) -> LimitOverrides {
    let overrides = LimitOverrides {
        rate_per_second: section.number("rate_per_second", RATE_MIN..=RATE_MAX),
        burst: section.positive("burst", BURST_MAX),
        concurrency: section.positive("concurrency", CONCURRENCY_MAX),
        windows: windows(&mut section),
        single: section.section("single").map(class),
        list: section.section("list").map(class),
        bulk: section.section("bulk").map(class),
    };
    section.finish();
    overrides
}

/// Limits of one class of calls, on top of those of all calls.
fn class(mut section: Section<'_>) -> ClassLimits {
    let limits = ClassLimits {
        rate_per_second: section.number("rate_per_second", RATE_MIN..=RATE_MAX),
        burst: section.positive("burst", BURST_MAX),
        windows: windows(&mut section).unwrap_or_default(),
    };
    section.finish();
    limits
}

fn windows(section: &mut Section<'_>) -> Option<Vec<Window>> {
    section.has("windows").then(|| section.sections("windows").into_iter().filter_map(window).collect())
}

fn window(mut section: Section<'_>) -> Option<Window> {
    let limit = section.positive("limit", WINDOW_LIMIT_MAX);
    let limit = section.require("limit", limit, "write limit = 300");
    let per = section.duration("per", Duration::from_secs(1)..=Duration::from_hours(24));
    let per = section.require("per", per, "write per = \"1m\"");
    section.finish();
    Some(Window::of_all(limit?, per?))
}

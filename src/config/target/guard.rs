//! `guard`: how much may be taken away from people before somebody is asked.

use std::time::Duration;

use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::store::guard::Guard;

/// Longest window: what went through is remembered so long.
const WINDOW_MAX: Duration = Duration::from_hours(24 * 31);
const COUNT_MAX: u32 = 10_000_000;

/// Reads the guard; on unless it is switched off by name. `None`: nothing is held back.
pub fn read(section: &mut Section<'_>) -> Option<Guard> {
    match section.raw("guard").and_then(toml::Value::as_bool) {
        Some(false) => {
            section.add(Problem::warning(
                section.path_of("guard"),
                "is off: should a source say that everyone has left, everyone is deactivated",
                "leave it out for the default, or set its limits",
            ));
            None
        }
        Some(true) => Some(Guard::default()),
        None => Some(section.section("guard").map_or_else(Guard::default, limits)),
    }
}

fn limits(mut section: Section<'_>) -> Guard {
    let default = Guard::default();
    let mut count = |key, default| section.integer(key, 0..=COUNT_MAX).map_or(default, u64::from);
    let max_destructive = count("max_destructive", default.max_destructive);
    let always_allowed = count("always_allowed", default.always_allowed);
    let max_removals = count("max_removals", default.max_removals);
    let max_percent = section.number("max_percent", 0.0..=100.0).unwrap_or(default.max_percent);
    let window = section.duration("window", Duration::from_secs(1)..=WINDOW_MAX);
    let expires = section.duration("hold_expires", Duration::from_secs(1)..=Duration::from_hours(24 * 366));
    section.finish();
    Guard {
        max_destructive,
        max_percent,
        always_allowed,
        max_removals,
        window: window.unwrap_or(default.window),
        hold_expires: expires.unwrap_or(default.hold_expires),
    }
}

//! Keys of a target whose function this version lacks.
//!
//! Their shape is read all the same, so that a typo shows at once.

use std::time::Duration;

use crate::config::problem::Problem;
use crate::config::reader::Section;

/// Reads the shape of the keys that are not supported, and says so.
pub fn refuse(section: &mut Section<'_>) {
    if let Some(guard) = section.section("guard") {
        read_guard(guard);
        section.add(Problem::warning(
            section.path_of("guard"),
            "is not supported by this version: destructive changes are not held back",
            "watch the deprovisioning lane, or pause the target before a large change",
        ));
    }
}

fn read_guard(mut section: Section<'_>) {
    section.integer("max_destructive", 0..=1_000_000);
    section.number("max_percent", 0.0..=100.0);
    section.duration("window", Duration::from_secs(1)..=Duration::from_hours(24 * 31));
    section.finish();
}

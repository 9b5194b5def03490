//! Keys of a target whose function this version lacks.
//!
//! Their shape is read all the same, so that a typo shows at once. One that decides who or what is
//! provisioned is an error: ignoring it would give people access that the file withholds.

use std::time::Duration;

use crate::config::problem::Problem;
use crate::config::reader::Section;

const REMEDY: &str = "leave it out until a version that supports it";

/// Reads the shape of the keys that are not supported, and says so.
pub fn refuse(section: &mut Section<'_>) {
    let groups = section.sections("derived_groups");
    if !groups.is_empty() {
        unsupported(section, "derived_groups", "nobody would become a member by attribute");
    }
    for group in groups {
        derived_group(group);
    }
    if let Some(guard) = section.section("guard") {
        read_guard(guard);
        section.add(Problem::warning(
            section.path_of("guard"),
            "is not supported by this version: destructive changes are not held back",
            "watch the deprovisioning lane, or pause the target before a large change",
        ));
    }
}

fn unsupported(section: &Section<'_>, key: &str, effect: &str) {
    let reason = format!("is not supported by this version, and without it {effect}");
    section.add(Problem::error(section.path_of(key), reason, REMEDY));
}

fn derived_group(mut section: Section<'_>) {
    let when = section.text("when");
    section.require("when", when, "write the condition");
    let group = section.text("group");
    section.require("group", group, "write the group's name");
    section.finish();
}

fn read_guard(mut section: Section<'_>) {
    section.integer("max_destructive", 0..=1_000_000);
    section.number("max_percent", 0.0..=100.0);
    section.duration("window", Duration::from_secs(1)..=Duration::from_hours(24 * 31));
    section.finish();
}

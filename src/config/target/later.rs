//! Keys of a target whose function this version lacks.
//!
//! Their shape is read all the same, so that a typo shows at once. One that decides who or what is
//! provisioned is an error: ignoring it would give people access that the file withholds.

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

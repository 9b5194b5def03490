//! What polls and files have in common: what records mean, and how much a snapshot may take away.

use super::mapping;
use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::feed::guard::Limits;
use crate::source::fed::Records;

/// Most users and groups that one snapshot may be allowed to remove.
const REMOVED_MAX: u32 = 10_000_000;

/// Reads what records mean, in the words of `kind = "mapped"`.
pub fn records(section: &mut Section<'_>) -> Option<Records> {
    let record_type = mapping::pointer(section, "record_type");
    let rules = mapping::rules(section);
    let changed_at = mapping::occurred_at(section);
    let rules = rules?;
    for (index, rule) in rules.iter().enumerate() {
        if !Records::can_follow(&rule.effect) {
            section.add(Problem::error(
                format!("{}[{index}].change", section.path_of("rules")),
                "says a part only, where a record says the whole",
                "write an upsert, a deactivation or a deletion, or group.members with `set`",
            ));
        }
    }
    Some(Records { record_type, changed_at, rules })
}

/// Reads how much one snapshot may take away.
pub fn limits(section: &mut Section<'_>) -> Limits {
    let usual = Limits::default();
    let percent = section.number("max_removed_percent", 0.0..=100.0);
    let most = section.integer("max_removed", 0..=REMOVED_MAX).map(u64::from);
    Limits {
        removed_percent_max: percent.unwrap_or(usual.removed_percent_max),
        removed_max: most.unwrap_or(usual.removed_max),
    }
}

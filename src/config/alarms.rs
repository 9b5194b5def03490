//! `[alarms]`: how long work may wait before it counts as late.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Section;
use crate::http::alarms::Alarms;

const OBJECTIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 7);

/// Reads `[alarms]`.
pub fn read(mut section: Section<'_>) -> Alarms {
    let default = Alarms::default();
    let deprovision = section.duration("deprovision", OBJECTIVE);
    let other = section.duration("other", OBJECTIVE);
    section.finish();
    Alarms { deprovision: deprovision.unwrap_or(default.deprovision), other: other.unwrap_or(default.other) }
}

//! `[alarms]`: what somebody should know of before it hurts.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Section;
use crate::http::alarms::Alarms;

const OBJECTIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 7);

const NOTICE: RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(24 * 365);

/// Reads `[alarms]`. What secrets and sources say of themselves is added by who reads them.
pub fn read(mut section: Section<'_>) -> Alarms {
    let default = Alarms::default();
    let deprovision = section.duration("deprovision", OBJECTIVE);
    let other = section.duration("other", OBJECTIVE);
    let secret_notice = section.duration("secret_notice", NOTICE);
    section.finish();
    Alarms {
        deprovision: deprovision.unwrap_or(default.deprovision),
        other: other.unwrap_or(default.other),
        secret_notice: secret_notice.unwrap_or(default.secret_notice),
        ..default
    }
}

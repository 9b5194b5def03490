//! Secrets whose end is written down, and sources that may be silent for so long.

use std::time::Duration;

use super::super::*;
use super::{SOUND, assert_problem, parse};
use crate::clock::Timestamp;
use crate::http::expiry::Expiry;

fn with(lines: &str) -> String {
    SOUND.replace("secrets = [\"env:HOOK\"]", &format!("secrets = [\"env:HOOK\"]\n{lines}"))
}

#[test]
fn an_end_beside_a_secret_and_a_limit_of_silence_are_read() {
    let text = with("expires = '2026-12-01'\nsilent_after = '3d'")
        .replace("token = \"env:TOKEN\"", "token = \"env:TOKEN\", expires = '2026-12-01T12:00:00+01:00'");
    let text = format!("{text}\n[alarms]\nsecret_notice = '30d'\n");
    let alarms = parse(&text).unwrap().0.alarms;
    let expiry = |secret: &str, at: &str| Expiry {
        secret: secret.to_owned(),
        at: Timestamp::parse_rfc3339(at).unwrap(),
    };
    assert_eq!(
        alarms.expiries,
        [expiry("sources.hr", "2026-12-01T00:00:00Z"), expiry("targets.acme.auth", "2026-12-01T11:00:00Z")]
    );
    assert_eq!(alarms.secret_notice, Duration::from_hours(30 * 24));
    assert_eq!(alarms.silent_after["hr"], Duration::from_hours(3 * 24));
}

#[test]
fn what_is_no_date_and_no_span_is_told() {
    for (lines, key, value, reason) in [
        ("expires = 'soon'", "sources.hr.expires", "soon", "is no date"),
        ("expires = '2026-13-01'", "sources.hr.expires", "2026-13-01", "is no date"),
        ("silent_after = '1s'", "sources.hr.silent_after", "1s", "is out of range"),
    ] {
        assert_problem(&with(lines), Severity::Error, key, Some(value), reason, "write ");
    }
}

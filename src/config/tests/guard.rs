//! `guard` and `protected` of a target, and the objectives of alarms.

use std::time::Duration;

use super::*;
use crate::http::alarms::Alarms;
use crate::mapping::Protected;
use crate::store::guard::Guard;

fn target_with(line: &str) -> crate::config::TargetConfig {
    let text = with("profile = \"rfc7644\"", &format!("profile = 'rfc7644'\n{line}"));
    let (mut config, _) = parse(&text).unwrap();
    config.targets.remove("acme").unwrap()
}

#[test]
fn the_guard_is_on_unless_it_is_switched_off_by_name() {
    assert_eq!(target_with("").guard, Some(Guard::default()));
    assert_eq!(target_with("guard = true").guard, Some(Guard::default()));
    assert_eq!(target_with("guard = false").guard, None);
    let line = "guard = { max_destructive = 5, max_percent = 2.5, always_allowed = 1, max_removals = 9, \
                window = '2h', hold_expires = '1d' }";
    let expected = Guard {
        max_destructive: 5,
        max_percent: 2.5,
        always_allowed: 1,
        max_removals: 9,
        window: Duration::from_hours(2),
        hold_expires: Duration::from_hours(24),
    };
    assert_eq!(target_with(line).guard, Some(expected));
    assert_eq!(target_with("guard = { max_percent = 20 }").guard.unwrap().max_destructive, 50);
}

#[test]
fn protected_is_a_list_of_names_or_an_expression() {
    assert!(target_with("").protected.is_empty());
    let named = Protected::named(["jane@example.com".to_owned()]);
    assert_eq!(*target_with("protected = ['Jane@example.com']").protected, named);
    assert!(matches!(*target_with("protected = 'user.title == \"Boss\"'").protected, Protected::When(_)));
}

#[test]
fn what_is_wrong_with_guard_or_protected_is_named() {
    for (line, key, reason) in [
        ("guard = 'off'", "targets.acme.guard", "where a table is needed"),
        ("guard = { max_percent = 101 }", "targets.acme.guard.max_percent", "out of range"),
        ("guard = { max_destructiv = 1 }", "targets.acme.guard.max_destructiv", "not a known key"),
        ("guard = { window = '0s' }", "targets.acme.guard.window", "out of range"),
        ("protected = 'user.'", "targets.acme.protected", "column"),
        ("protected = ['']", "targets.acme.protected", "by nothing"),
        ("protected = 7", "targets.acme.protected", "where a text is needed"),
    ] {
        let text = with("profile = \"rfc7644\"", &format!("profile = 'rfc7644'\n{line}"));
        let problems = parse(&text).unwrap_err();
        let named = problems.iter().any(|problem| problem.key == key && problem.reason.contains(reason));
        assert!(named, "{line}: {problems:?}");
    }
}

#[test]
fn objectives_are_read_and_have_defaults() {
    let (config, _) = parse(SOUND).unwrap();
    assert_eq!(config.alarms, Alarms::default());
    let (config, _) = parse(&format!("{SOUND}\n[alarms]\ndeprovision = '2m'\n")).unwrap();
    assert_eq!(config.alarms, Alarms { deprovision: Duration::from_mins(2), ..Alarms::default() });
}

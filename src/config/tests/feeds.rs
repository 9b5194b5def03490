//! Sources that are polled or drop files.

use std::time::Duration;

use super::*;
use crate::feed::Way;
use crate::feed::poll::TimeFormat;
use crate::feed::poll::page::Paging;
use crate::source::Kind;

const RULES: &str = r#"
[[sources.hr.rules]]
types = ["terminated"]
change = "user.delete"
id = "/id"
[[sources.hr.rules]]
types = ["*"]
change = "user.upsert"
id = "/id"
attributes = { userName = "/email" }
"#;

const POLL: &str = r#"
[sources.hr]
kind = "poll"
url = "https://hr.example/v1/people"
query = { fields = "id,email" }
auth = { type = "basic", username = "relay", password = "env:TOKEN" }
list = "/data"
record_type = "/status"
every = "10m"
snapshot_every = "24h"
max_removed_percent = 5
occurred_at = { at = "/updated_at" }
updated_after = { parameter = "since", format = "unix-ms", overlap = "1h" }
paging = { by = "cursor", at = "/next", parameter = "after" }
"#;

const FILE: &str = r#"
[sources.hr]
kind = "file"
path = "/"
format = "csv"
delimiter = ";"
"#;

fn way(text: &str) -> crate::feed::Settings {
    let (config, _) = parse(&format!("{text}{RULES}")).unwrap();
    config.feeds["hr"].clone()
}

fn rejected(text: &str, line: &str, instead: &str) -> Vec<String> {
    assert!(text.contains(line), "{line}");
    let found = problems(&format!("{}{RULES}", text.replace(line, instead)));
    found
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.key)
        .collect()
}

#[test]
fn a_poll_is_read_as_it_is_written() {
    let settings = way(POLL);
    assert!((settings.limits.removed_percent_max - 5.0).abs() < f64::EPSILON);
    let Way::Poll(poll) = settings.way else { panic!("another way") };
    let Some(Auth::Header { name, value }) = &poll.auth else { panic!("another credential") };
    assert_eq!(
        (name.as_str(), value.at_start().expose_secret()),
        ("authorization", "Basic cmVsYXk6dDBrZW4=")
    );
    let after = poll.updated_after.unwrap();
    assert_eq!((after.format, after.overlap), (TimeFormat::UnixMillis, Duration::from_hours(1)));
    assert!(matches!(poll.paging, Paging::Cursor { .. }), "{:?}", poll.paging);
    assert_eq!((poll.every, poll.snapshot_every), (Duration::from_mins(10), Some(Duration::from_hours(24))));
    assert_eq!(poll.records.rules.len(), 2);
}

#[test]
fn files_need_no_secret_unless_they_are_posted() {
    let settings = way(FILE);
    assert!(matches!(settings.way, Way::File(_)));
    let posted = format!("{FILE}secrets = ['env:HOOK']\n{RULES}");
    let (config, _) = parse(&posted).unwrap();
    assert!(matches!(config.sources["hr"].kind, Kind::File(_)));
    assert_eq!(config.sources["hr"].secrets.len(), 1);
}

#[test]
fn every_fault_of_a_feed_is_told_at_its_key() {
    for (text, line, instead, key) in [
        (POLL, "url = \"https://hr.example/v1/people\"", "", "sources.hr.url"),
        (POLL, "https://hr.example/v1/people", "https://hr.example/?a=1", "sources.hr.url"),
        (POLL, "type = \"basic\"", "type = \"magic\"", "sources.hr.auth.type"),
        (POLL, "password = \"env:TOKEN\"", "password = \"env:NONE\"", "sources.hr.auth.password"),
        (POLL, "format = \"unix-ms\"", "format = \"julian\"", "sources.hr.updated_after.format"),
        (POLL, "parameter = \"since\", ", "", "sources.hr.updated_after.parameter"),
        (POLL, "by = \"cursor\"", "by = \"magic\"", "sources.hr.paging.by"),
        (POLL, ", at = \"/next\"", "", "sources.hr.paging.at"),
        (POLL, "parameter = \"after\"", "parameter = \"\"", "sources.hr.paging.parameter"),
        (POLL, "every = \"10m\"", "every = \"1s\"", "sources.hr.every"),
        (POLL, "list = \"/data\"", "list = \"data\"", "sources.hr.list"),
        (POLL, "max_removed_percent = 5", "max_removed_percent = 101", "sources.hr.max_removed_percent"),
        (POLL, "max_removed_percent = 5", "max_removed = -1", "sources.hr.max_removed"),
        (POLL, "list = ", "lists = ", "sources.hr.lists"),
        (POLL, "list = ", "secrets = ['env:HOOK']\nlist = ", "sources.hr.secrets"),
        (FILE, "path = \"/\"", "", "sources.hr.path"),
        (FILE, "path = \"/\"", "path = \"/nowhere\"", "sources.hr.path"),
        (FILE, "format = \"csv\"", "format = \"xls\"", "sources.hr.format"),
        (FILE, "delimiter = \";\"", "delimiter = \"ab\"", "sources.hr.delimiter"),
        (FILE, "delimiter = \";\"", "secrets = ['']", "sources.hr.secrets[0]"),
    ] {
        let keys = rejected(text, line, instead);
        assert!(keys.iter().any(|found| found == key), "{instead}: {keys:?}");
    }
}

#[test]
fn a_record_says_the_whole_and_needs_no_asking() {
    for change in ["change = 'group.members'\nadd = '/x'", "change = 'user.read'"] {
        let rule = format!("[[sources.hr.rules]]\ntypes = ['*']\nid = '/id'\n{change}\n");
        let found = problems(&format!("{POLL}{rule}"));
        let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
        assert!(keys.contains(&"sources.hr.rules[0].change"), "{keys:?}");
    }
}

#[test]
fn secrets_that_cannot_verify_a_file_are_told() {
    let found = |secret: &str| {
        let text = FILE.replace("delimiter = \";\"\n", &format!("secrets = ['{secret}']\n"));
        let found = problems(&format!("{text}{RULES}")).into_iter();
        let ours = found.filter(|problem| problem.key == "sources.hr.secrets");
        ours.map(|problem| (problem.severity, problem.reason)).collect::<Vec<_>>()
    };
    let public = found("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    assert!(
        matches!(&public[..], [(Severity::Error, reason)] if reason.contains("public key")),
        "{public:?}"
    );
    let cut = found("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7o");
    assert!(cut.is_empty(), "a whole number of bytes is as good as any other: {cut:?}");
    let cut = found("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD1");
    assert!(matches!(&cut[..], [(Severity::Warning, reason)] if reason.contains("no base64")), "{cut:?}");
    assert_eq!(found("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), []);
    assert!(found("whpk_AAAA")[0].1.contains("encoding"));
}

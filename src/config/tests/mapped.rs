//! Sources that the configuration describes, among them the one of `docs/ADDING.md`, word for word.

use http::HeaderMap;

use super::super::*;
use super::problems;
use crate::clock::Timestamp;
use crate::source::mapped::Mapping;
use crate::source::signature::testing;
use crate::source::{Delivery, Kind, Sources};

const NOW: Timestamp = Timestamp::from_seconds(1_795_168_800);

/// The one block of that language in the text.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let fence = format!("```{language}\n");
    let (_, rest) = text.split_once(&fence).expect("the document has such a block");
    assert!(!rest.contains(&fence), "which of the blocks is meant?");
    rest.split_once("```").unwrap().0
}

fn config(text: &str) -> Config {
    let environment = [("BRIGHTDESK_SECRET", "s3cret"), ("A", "a"), ("B", "b")].into_iter().collect();
    Config::parse(text, "relay.toml", Path::new("/nowhere"), &environment).unwrap().0
}

fn mapping<'a>(config: &'a Config, name: &str) -> &'a Mapping {
    let Kind::Mapped(mapping) = &config.sources[name].kind else { panic!("{name} is mapped") };
    mapping
}

#[test]
fn the_provider_of_the_document_works_as_written() {
    let document = include_str!("../../../docs/ADDING.md");
    let config = config(block(document, "toml"));
    let sources = Sources::open(config.sources.values().cloned()).unwrap();
    let source = &sources.get("brightdesk").unwrap().source;
    let body = block(document, "json").as_bytes();

    let mut headers = HeaderMap::new();
    let scheme = &mapping(&config, "brightdesk").scheme;
    testing::sign(scheme, "s3cret", NOW, &mut headers, &mut String::new(), body);
    let signature = headers["brightdesk-signature"].to_str().unwrap();
    assert!(signature.starts_with("t=1795168800, s="), "{signature}");
    let delivery = Delivery { headers: &headers, query: "", body };
    assert!(source.verify(&delivery, NOW).is_ok());
    let six_minutes_on = Timestamp::from_seconds(NOW.as_seconds() + 360);
    assert!(source.verify(&delivery, six_minutes_on).is_err());
    assert!(source.verify(&Delivery { body: b"{}", ..delivery }, NOW).is_err());

    let reading = source.read(body).unwrap();
    let names: Vec<String> = reading
        .changes
        .iter()
        .map(|change| format!("{} {}", change.operation.name(), change.operation.key().id))
        .collect();
    assert_eq!(names, ["user.upsert 4711", "user.deactivate 4712", "group.members t-1", "group.upsert t-1"]);
    assert_eq!(reading.ignored, 1);
    assert!(reading.changes.iter().all(|change| change.occurred_at.is_some()));
}

const RULES: &str =
    "event_type = '/type'\n[[sources.x.rules]]\ntypes = ['*']\nchange = 'user.read'\nid = '/id'\n";

#[test]
fn every_scheme_can_be_written_and_is_signed_and_believed() {
    for signature in [
        "scheme = 'standard-webhooks'",
        "scheme = 'svix'",
        "scheme = 'header'\nheader = 'x-key'",
        "scheme = 'header'\nheader = 'Authorization'\nprefix = 'Bearer '",
        "scheme = 'query'\nparameter = 'key'",
        "scheme = 'hmac'\nheader = 'x-sig'",
        "scheme = 'hmac'\nheader = 'x-sig'\nprefix = 'sha512='\nalgorithm = 'sha512'\nencoding = 'base64'",
        "scheme = 'hmac'\nheader = 'x-sig'\nalgorithm = 'sha1'",
        "scheme = 'hmac'\nheader = 'x-sig'\npairs = {}\ntimestamp = { format = 'unix-ms' }",
        "scheme = 'hmac'\nheader = 'x-sig'\ntimestamp = { header = 'x-at', format = 'rfc3339' }\nsigned = '{body}{timestamp}'",
        "scheme = 'hmac'\nheader = 'x-sig'\nversion = 'v0'\nid_header = 'x-id'\ntimestamp = { header = 'x-at' }\nsigned = 'v0:{id}:{timestamp}:{body}'",
    ] {
        let text = format!(
            "[sources.x]\nkind = 'mapped'\nsecrets = ['env:A', 'env:B']\n{RULES}[sources.x.signature]\n{signature}\n"
        );
        let config = config(&text);
        let scheme = &mapping(&config, "x").scheme;
        let sources = Sources::open(config.sources.values().cloned()).unwrap();
        let source = &sources.get("x").unwrap().source;
        for (secret, expected) in [("a", true), ("b", true), ("c", false)] {
            let (mut headers, mut query) = (HeaderMap::new(), String::new());
            testing::sign(scheme, secret, NOW, &mut headers, &mut query, b"{}");
            let delivery = Delivery { headers: &headers, query: &query, body: b"{}" };
            let verified = source.verify(&delivery, NOW);
            assert_eq!(verified.is_ok(), expected, "{signature} with {secret}: {verified:?}");
        }
    }
}

#[test]
fn every_fault_of_a_mapping_is_told_at_once() {
    let text = r#"
[sources.x]
kind = "mapped"
secrets = ["env:HOOK"]
event_type = "type"
occurred_at = { format = "noon" }
accepted = 418
colour = "red"

[sources.x.signature]
scheme = "hmac"
header = "not a header"
algorithm = "md5"
prefix = "sha256="
version = "v1"
timestamp = { past = "2d" }
signed = "{path}"

[[sources.x.rules]]
change = "user.promote"

[[sources.x.rules]]
types = ["a"]
change = "user.upsert"
id = "/id"
attributes = { password = "/p", userName = "login" }

[[sources.x.rules]]
types = ["b"]
change = "group.members"
id = "/id"

[[sources.x.rules]]
types = ["c"]
change = "group.members"
id = "/id"
add = "/a"
set = "/s"
"#;
    let found: Vec<(String, String)> = problems(text)
        .into_iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| (problem.key, problem.reason))
        .collect();
    for (key, reason) in [
        ("sources.x.event_type", "starts with no /"),
        ("sources.x.occurred_at.at", "is missing"),
        ("sources.x.occurred_at.format", "not one of the choices"),
        ("sources.x.accepted", "not a status"),
        ("sources.x.colour", "not a known key"),
        ("sources.x.signature.header", "not a header's name"),
        ("sources.x.signature.algorithm", "not one of the choices"),
        ("sources.x.signature", "more than one form"),
        ("sources.x.signature.timestamp.header", "is missing"),
        ("sources.x.signature.timestamp.past", "out of range"),
        ("sources.x.signature.signed", "holds what is not one of"),
        ("sources.x.rules[0].types", "is missing"),
        ("sources.x.rules[0].id", "is missing"),
        ("sources.x.rules[0].change", "not a change"),
        ("sources.x.rules[1].attributes.password", "passwords are not relayed"),
        ("sources.x.rules[1].attributes.userName", "starts with no /"),
        ("sources.x.rules[2]", "names no members"),
        ("sources.x.rules[3]", "cannot have `set` beside"),
    ] {
        let told = found.iter().any(|(own, text)| own == key && text.contains(reason));
        assert!(told, "{key}: {reason}\n{found:#?}");
    }
    assert_eq!(found.len(), 18, "{found:#?}");
}

#[test]
fn a_time_or_an_id_is_signed_exactly_where_it_stands() {
    for (signature, expected) in [
        ("signed = '{timestamp}.{body}'", "do not agree"),
        ("timestamp = { header = 'x-at' }\nsigned = '{body}'", "do not agree"),
        ("signed = '{id}.{body}'", "does not say where it stands"),
        ("signed = '{timestamp}'", "does not hold {body}"),
    ] {
        let text = format!(
            "[sources.x]\nkind = 'mapped'\nsecrets = ['env:HOOK']\n{RULES}[sources.x.signature]\nscheme = 'hmac'\nheader = 'x'\n{signature}\n"
        );
        let found = problems(&text);
        assert!(found.iter().any(|problem| problem.reason.contains(expected)), "{signature}: {found:#?}");
    }
}

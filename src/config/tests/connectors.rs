//! How sources are asked for what their webhooks leave out.

use std::time::Duration;

use super::super::*;
use super::problems;
use crate::source::connectors::Provider;
use crate::target::Auth;

fn config(text: &str) -> Config {
    let environment = [("HOOK", "s3cret"), ("KEY", "SSWS key")].into_iter().collect();
    Config::parse(text, "relay.toml", Path::new("/nowhere"), &environment).unwrap().0
}

fn source(kind: &str, connector: &str) -> String {
    format!("[sources.x]\nkind = '{kind}'\nsecrets = ['env:HOOK']\n[sources.x.connector]\n{connector}")
}

#[test]
fn a_source_is_asked_where_its_webhooks_come_from_unless_told_otherwise() {
    let auth = "auth = { type = 'header', name = 'Authorization', value = 'env:KEY' }\n";
    for (kind, connector, provider, address) in [
        ("okta", "base_url = 'https://acme.okta.com'\n", Provider::Okta, "https://acme.okta.com/"),
        ("entra", "", Provider::Graph, "https://graph.microsoft.com/v1.0"),
        ("google", "", Provider::Google, "https://admin.googleapis.com/"),
        ("workos", "", Provider::WorkOs, "https://api.workos.com/"),
        (
            "onelogin",
            "kind = 'scim'\nbase_url = 'https://a.example/scim'\n",
            Provider::Scim,
            "https://a.example/scim",
        ),
    ] {
        let config = config(&source(kind, &format!("{connector}{auth}")));
        assert_eq!(config.sources["x"].provider, Some(provider), "{kind}");
        let connection = &config.connectors["x"].connection;
        assert_eq!((connection.base_url.as_str(), connection.name.as_str()), (address, "sources.x"));
        assert_eq!(connection.limits.rate_per_second, Some(5.0));
    }
    let without = config("[sources.x]\nkind = 'okta'\nsecrets = ['env:HOOK']\n");
    assert!(without.connectors.is_empty() && without.sources["x"].provider.is_none());
}

#[test]
fn what_a_connector_does_besides_is_read() {
    let text = "auth = { type = 'bearer', token = 'env:KEY2' }\ncatch_up = '1h'\ntimeout = '5s'\n\
                subscription = 'https://relay.example/webhooks/x'\nlimits = { rate_per_second = 50 }\n";
    let environment = [("HOOK", "s3cret"), ("KEY2", "token")].into_iter().collect();
    let text = source("entra", text);
    let (config, warnings) = Config::parse(&text, "relay.toml", Path::new("/nowhere"), &environment).unwrap();
    assert!(warnings.iter().all(|warning| !warning.key.starts_with("sources.x.connector")), "{warnings:#?}");
    let connector = &config.connectors["x"];
    assert_eq!(connector.catch_up, Some(Duration::from_hours(1)));
    assert_eq!(connector.subscription.as_deref(), Some("https://relay.example/webhooks/x"));
    assert_eq!(connector.connection.timeout, Duration::from_secs(5));
    assert_eq!(connector.connection.limits.rate_per_second, Some(50.0));
}

#[test]
fn a_service_account_is_its_key_file_and_whom_it_acts_for() {
    let folder = tempfile::tempdir().unwrap();
    let key = include_str!("../../../tests/fixtures/keys/service-account.json");
    std::fs::write(folder.path().join("sa.json"), key).unwrap();
    let environment = [("HOOK", "s3cret")].into_iter().collect();
    let auth = |rest: &str| source("google", &format!("auth = {{ type = 'service_account', {rest} }}\n"));
    let text = auth("key = 'file:sa.json', subject = 'admin@acme.example', scopes = ['a', 'b']");
    let (config, warnings) = Config::parse(&text, "relay.toml", folder.path(), &environment).unwrap();
    assert!(warnings.iter().all(|warning| !warning.key.contains("connector")), "{warnings:#?}");
    let Auth::ServiceAccount(account) = &config.connectors["x"].connection.auth else {
        panic!("another kind")
    };
    assert_eq!(account.token_url.as_str(), "https://oauth2.example.com/token");
    assert_eq!((account.subject.as_deref(), account.scopes.len()), (Some("admin@acme.example"), 2));
    assert!(account.key.may_change());

    std::fs::write(folder.path().join("sa.json"), "{}").unwrap();
    let found = Config::parse(&text, "relay.toml", folder.path(), &environment).unwrap_err();
    let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
    assert!(keys.contains(&"sources.x.connector.auth.key"), "{keys:?}");
    assert!(found.iter().any(|problem| problem.reason.contains("client_email")));
}

#[test]
fn an_api_of_ones_own_is_described_whole() {
    let text = r#"
kind = "rest"
base_url = "https://hr.example/api"
auth = { type = "bearer", token = "env:HOOK" }
user = { path = "/people/{id}", at = "/person", active_when = ["yes"], attributes = { userName = "/login", active = "/in" } }
group = { path = "/teams/{id}", attributes = { displayName = "/name" } }
members = { path = "/teams/{id}/people", ids = "/items/*/id", next = "/next" }
changed_at = { at = "/updated", format = "unix" }
absent = { at = "/code", is = "unknown" }
"#;
    let config = config(&source("onelogin", text));
    let Some(Provider::Rest(rest)) = &config.sources["x"].provider else { panic!("it is a REST API") };
    assert!(rest.user.is_some() && rest.group.is_some() && rest.members.is_some() && rest.absent.is_some());
}

#[test]
fn every_fault_of_a_connector_is_told_at_once() {
    let found = |kind: &str, connector: &str| -> Vec<(String, String)> {
        let errors = problems(&source(kind, connector)).into_iter();
        let errors = errors.filter(|problem| problem.severity == Severity::Error);
        errors.map(|problem| (problem.key, problem.reason)).collect()
    };
    for (kind, connector, expected) in [
        ("okta", "", &[("base_url", "is missing"), ("auth", "is missing")][..]),
        ("onelogin", "", &[("kind", "is missing")]),
        ("okta", "kind = 'ldap'", &[("kind", "is not a provider")]),
        (
            "onelogin",
            "kind = 'scim'\nbase_url = 'https://a.example'\ncatch_up = '1h'",
            &[("catch_up", "cannot be had"), ("auth", "is missing")],
        ),
        (
            "onelogin",
            "kind = 'ssf'\nbase_url = 'https://a.example'\ndescription = '//evil.example/x'",
            &[("description", "is no path"), ("auth", "is missing")],
        ),
        ("entra", "catch_up = '1s'", &[("catch_up", "out of range"), ("auth", "is missing")]),
        (
            "workos",
            "subscription = 'https://a.example'",
            &[("subscription", "cannot be had"), ("auth", "is missing")],
        ),
        (
            "onelogin",
            "kind = 'rest'\nbase_url = 'https://a.example'",
            &[("", "says neither"), ("auth", "is missing")],
        ),
        (
            "onelogin",
            "kind = 'rest'\nuser = { path = '/people' }\nmembers = { path = '/t/{id}' }\nabsent = { at = 'x' }\ncolour = 1",
            &[
                ("user.path", "holds no {id}"),
                ("members.ids", "is missing"),
                ("absent.at", "starts with no /"),
                ("absent.is", "is missing"),
                ("base_url", "is missing"),
                ("auth", "is missing"),
                ("colour", "not a known key"),
            ],
        ),
    ] {
        let found = found(kind, connector);
        for (key, reason) in expected {
            let key = format!("sources.x.connector.{key}");
            let key = key.trim_end_matches('.');
            let told = found.iter().any(|(own, text)| own == key && text.contains(reason));
            assert!(told, "{connector}\n{key}: {reason}\n{found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{connector}\n{found:#?}");
    }
}

#[test]
fn how_long_a_silence_loses_nothing_depends_on_the_sender_and_on_what_is_read_afterwards() {
    let auth = "auth = { type = 'bearer', token = 'env:KEY' }\nbase_url = 'https://a.example'\n";
    let patience = |kind: &str, connector: &str| {
        config(&source(kind, &format!("{auth}{connector}"))).patience.get("x").copied()
    };
    let catch_up = "catch_up = '1h'\n";
    assert_eq!(patience("entra", ""), Some(Duration::from_hours(4)));
    assert_eq!(patience("entra", catch_up), None, "it says itself that a position is forgotten");
    assert_eq!(patience("okta", ""), Some(Duration::ZERO));
    assert_eq!(patience("okta", catch_up), Some(Duration::from_hours(90 * 24)));
    for (kind, hours) in [("workos", 72), ("hibob", 72), ("clerk", 27), ("entra", 4), ("keycloak", 0)] {
        let source = config(&format!("[sources.x]\nkind = '{kind}'\nsecrets = ['env:HOOK']\n"));
        assert_eq!(source.patience["x"], Duration::from_hours(hours), "{kind}");
    }
    let own = config("[sources.x]\nkind = 'native'\nsecrets = ['env:HOOK']\nrepeats_for = '2h'\n");
    assert_eq!(own.patience["x"], Duration::from_hours(2));
}

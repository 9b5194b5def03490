//! What a configuration says back: one row a message, and the whole reference example.

mod alarms;
mod connectors;
mod feeds;
mod guard;
mod id_map;
mod mapped;
mod tokens;

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::source::IntakeLimit;
use crate::target::Auth;
use crate::target::profile::{CredentialStyle, Window};

/// A source and a target that are right, for rows that are about something else.
const SOUND: &str = r#"
[sources.hr]
kind = "native"
directory = "corp"
secrets = ["env:HOOK"]

[targets.acme]
profile = "rfc7644"
directory = "corp"
base_url = "https://acme.example/scim/v2"
auth = { type = "bearer", token = "env:TOKEN" }
"#;

fn environment() -> Environment {
    [
        ("HOOK", "whsec_c2VjcmV0c2VjcmV0"),
        ("TOKEN", "t0ken"),
        ("KEY", "a-long-enough-admin-key"),
        ("EMPTY", ""),
        ("NOTHING_IN_IT", "whsec_"),
        ("DATABASE", "postgresql://relay:s3cret@db.example:6432/scim"),
    ]
    .into_iter()
    .collect()
}

fn parse(text: &str) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    Config::parse(text, "relay.toml", Path::new("/nowhere"), &environment())
}

fn problems(text: &str) -> Vec<Problem> {
    match parse(text) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// Asserts that exactly one problem comes out, and that it says these things.
#[track_caller]
fn assert_problem(
    text: &str,
    severity: Severity,
    key: &str,
    value: Option<&str>,
    reason: &str,
    remedy: &str,
) {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{text}\n{found:#?}");
    let problem = &found[0];
    assert_eq!((problem.severity, problem.key.as_str()), (severity, key), "{text}\n{problem}");
    assert_eq!(problem.value.as_deref(), value, "{text}\n{problem}");
    assert!(problem.reason.contains(reason), "{text}\n{problem}");
    assert!(problem.remedy.contains(remedy), "{text}\n{problem}");
}

#[test]
fn a_sound_file_is_read_without_a_word() {
    let (config, warnings) = parse(SOUND).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.server, ServerConfig::default());
    assert_eq!(config.sources["hr"].secrets[0].expose_secret(), "whsec_c2VjcmV0c2VjcmV0");
    let target = &config.targets["acme"];
    assert_eq!(
        (target.connection.name.as_str(), target.connection.profile.name.as_str()),
        ("acme", "rfc7644")
    );
    assert_eq!((target.on_delete, target.members), (OnDelete::Deactivate, MemberPolicy::Additive));
    assert!(target.create_inactive);
    assert_eq!(target.max_attempts.get(), 10);
    assert_eq!(target.connection.timeout, target.connection.profile.http.timeout);
}

#[test]
fn every_key_of_the_contract_is_read() {
    let (config, warnings) = parse(
        r#"
[server]
listen = "127.0.0.1:8080"
admin_listen = "127.0.0.1:8081"
body_limit = "1MiB"

[store]
url = "sqlite://scim-relay.db"

[[admin.keys]]
name = "ops"
secret = "env:KEY"
role = "operator"

[sources.hr]
kind = "native"
directory = "corp"
secrets = ["env:HOOK"]
intake_limit = { rate_per_second = 50 }

[targets.genesys]
profile = "genesys-cloud"
directory = "corp"
base_url = "https://api.mypurecloud.com/api/v2/scim/v2"
auth = { type = "oauth2", token_url = "https://login.mypurecloud.com/oauth/token", client_id = "env:TOKEN", client_secret = "env:TOKEN", scopes = [], client_auth = "body", refresh_margin = "30s" }
on_delete = "delete"
members = "additive"
create_inactive = false
timeout = "20s"
max_attempts = 3
limits = { rate_per_second = 2.5, burst = 20, concurrency = 8, windows = [{ limit = 300, per = "1m" }], list = { windows = [{ limit = 5, per = "1s" }] } }
"#,
    )
    .unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.server.admin_listen, Some("127.0.0.1:8081".parse().unwrap()));
    assert_eq!(config.server.body_limit, 1024 * 1024);
    assert_eq!(config.store, StoreConfig::Sqlite { path: "scim-relay.db".into() });
    assert_eq!(config.admin.keys[0].role, crate::http::admin::Role::Operator);
    let limit = IntakeLimit { rate_per_second: count(50), burst: count(50) };
    assert_eq!(config.sources["hr"].intake_limit, Some(limit));
    assert_eq!(config.sources["hr"].body_bytes_max, 1024 * 1024);
    let target = &config.targets["genesys"];
    assert_eq!((target.on_delete, target.members), (OnDelete::Delete, MemberPolicy::Additive));
    assert_eq!((target.create_inactive, target.max_attempts.get()), (false, 3));

    let connection = &target.connection;
    assert_eq!(connection.timeout, Duration::from_secs(20));
    let limits = &connection.limits;
    assert_eq!((limits.rate_per_second, limits.burst.get(), limits.concurrency.get()), (Some(2.5), 20, 8));
    let window = |limit, seconds| Window::of_all(count(limit), Duration::from_secs(seconds));
    assert_eq!(limits.windows, [window(300, 60)]);
    assert_eq!(limits.list.windows, [window(5, 1)]);
    let Auth::OAuth2(oauth) = &connection.auth else { panic!("wrong kind of auth") };
    assert_eq!((oauth.client_id.as_str(), oauth.style), ("t0ken", CredentialStyle::Body));
    assert_eq!(oauth.expiry_margin, Duration::from_secs(30));
}

fn count(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

#[test]
fn what_is_not_configured_is_the_profiles() {
    let folder = tempfile::tempdir().unwrap();
    let profile = "name = 'own'\nevidence = 'unverified'\nsources = []\nas_of = '2026-11-20'\n\
        [http]\ntimeout = '7s'\n[auth]\nstyle = 'body'\n[limits]\nrate_per_second = 3.0\n";
    std::fs::write(folder.path().join("own.toml"), profile).unwrap();
    let text = with("profile = \"rfc7644\"", "profile = 'own.toml'").replace(
        "type = \"bearer\", token",
        "type = 'oauth2', token_url = 'https://a.example', client_id = 'me', client_secret",
    );
    let (config, warnings) = Config::parse(&text, "relay.toml", folder.path(), &environment()).unwrap();
    assert_eq!(warnings, []);
    let connection = &config.targets["acme"].connection;
    assert_eq!((connection.timeout, connection.limits.rate_per_second), (Duration::from_secs(7), Some(3.0)));
    let Auth::OAuth2(oauth) = &connection.auth else { panic!("wrong kind of auth") };
    assert_eq!(oauth.style, CredentialStyle::Body);

    std::fs::write(folder.path().join("own.toml"), "name = 7").unwrap();
    let found = Config::parse(&text, "relay.toml", folder.path(), &environment()).unwrap_err();
    assert!(found[0].reason.contains("no profile"), "{}", found[0]);
}

#[test]
fn every_fault_has_its_message() {
    let cases: &[(&str, &str, Option<&str>, &str, &str)] = &[
        // text, key, value, reason, remedy
        ("[server]\nlisten = 'here'", "server.listen", Some("here"), "socket address", "127.0.0.1:8080"),
        ("[server]\nlisten = 80", "server.listen", Some("80"), "is a whole number", "in quotes"),
        (
            "[server]\nlisten = '0.0.0.0:80'\nadmin_listen = '127.0.0.1:80'",
            "server.admin_listen",
            Some("127.0.0.1:80"),
            "same port",
            "another port",
        ),
        ("[server]\nbody_limit = 'big'", "server.body_limit", Some("big"), "a size such as", "64.0 MiB"),
        ("[server]\nbody_limit = 0", "server.body_limit", Some("0"), "out of range", "1 B"),
        ("[server]\nbody_limit = '1TiB'", "server.body_limit", Some("1TiB"), "out of range", "64.0 MiB"),
        ("[server]\nlissten = 'x'", "server.lissten", None, "not a known key", "did you mean `listen`?"),
        ("[server]\nzzz = 'x'", "server.zzz", None, "not a known key", "admin_listen, body_limit, listen"),
        ("[sever]\nlisten = 'x'", "sever", None, "not a known key", "`server`"),
        ("server = 'x'", "server", None, "a text, where a table is needed", "[server]"),
        ("[store]\nurl = 'mysql://x'", "store.url", Some("mysql://x"), "not a store's URL", "sqlite://"),
        ("[store]\nurl = 'sqlite://'", "store.url", Some("sqlite://"), "names no file", "sqlite://"),
        ("[store]\nurl = 'sqlite://a?b=1'", "store.url", Some("sqlite://a?b=1"), "parameters", "sqlite://"),
        (
            "[store]\nurl = 'postgres://u:pw@h/db?sslmode=verify-ca&password=pw'",
            "store.url",
            Some("postgres://…@h/db"),
            "sslmode",
            "postgres://",
        ),
        (
            "[store]\nurl = 'postgres:///db'",
            "store.url",
            Some("postgres:///db"),
            "names no host",
            "postgres://",
        ),
        ("[store]\nurl = 'host=h password=pw'", "store.url", None, "not a store's URL", "postgres://"),
        ("[store]\nurl = 'env:KEY'", "store.url", Some("env:KEY"), "not a store's URL", "postgres://"),
        ("[store]\nurl = 'env:NOWHERE'", "store.url", Some("env:NOWHERE"), "not set", "NOWHERE"),
        (
            "[store.retention]\nevents = '6d'",
            "store.retention.events",
            Some("6d"),
            "out of range",
            "from \"7days\"",
        ),
        (
            "[store.retention]\nevents = '40d'\ntombstones = '39d'",
            "store.retention.tombstones",
            None,
            "shorter",
            "at least 1month",
        ),
        ("[audit]\nfiles = 3", "audit.path", None, "", "name a file"),
        ("[audit]\npath = 'a'\nfiles = 1", "audit.files", Some("1"), "out of range", "from 2"),
        ("[audit]\npath = 'a'\nfile_size = '1KiB'", "audit.file_size", Some("1KiB"), "out of range", "64"),
        ("[store]\nconnections = 3", "store.connections", Some("3"), "out of range", "from 4 to 100"),
        ("[admin]\nkeys = 'x'", "admin.keys", None, "where a list is needed", "[[…]]"),
        (
            "[[admin.keys]]\nname = 'a'\nsecret = 'env:KEY'\nrole = 'god'",
            "admin.keys[0].role",
            Some("god"),
            "not one of the choices",
            "viewer, operator or admin",
        ),
        (
            "[[admin.keys]]\nname = 'a'\nsecret = 'env:KEY'\nrole = 'viewer'\n[[admin.keys]]\nname = 'a'\nsecret = 'env:HOOK'\nrole = 'viewer'",
            "admin.keys[1].name",
            Some("a"),
            "is taken by admin.keys[0]",
            "its own name",
        ),
        (
            "[[admin.keys]]\nname = 'a'\nsecret = 'env:KEY'\nrole = 'viewer'\n[[admin.keys]]\nname = 'b'\nsecret = 'env:KEY'\nrole = 'admin'",
            "admin.keys[1].secret",
            None,
            "same as another",
            "its own secret",
        ),
        ("[[admin.keys]]\nname = 'a'\nrole = 'admin'", "admin.keys[0].secret", None, "missing", "env:NAME"),
        (
            "[[admin.keys]]\nname = 'a'\nrole = 'admin'\nsecret = 7",
            "admin.keys[0].secret",
            None,
            "a whole number",
            "env:NAME",
        ),
    ];
    for (text, key, value, reason, remedy) in cases {
        assert_problem(&format!("{text}\n{SOUND}"), Severity::Error, key, *value, reason, remedy);
    }
}

/// One line of the sound file, written differently.
fn with(line: &str, instead: &str) -> String {
    assert!(SOUND.contains(line), "{line}");
    SOUND.replace(line, instead)
}

#[test]
fn every_fault_of_a_source_has_its_message() {
    let kind = "kind = \"native\"";
    let secrets = "secrets = [\"env:HOOK\"]";
    let cases = [
        (kind, "", "sources.hr.kind", None, "missing", "native"),
        (kind, "kind = 'hal'", "sources.hr.kind", Some("hal"), "not a kind of source", "native"),
        (secrets, "", "sources.hr.secrets", None, "missing", "env:NAME"),
        (secrets, "secrets = []", "sources.hr.secrets", None, "holds no secret", "env:NAME"),
        (secrets, "secrets = ['env:NOTHING_IN_IT']", "sources.hr.secrets", None, "cannot verify", "env:NAME"),
        (secrets, "secrets = 'env:HOOK'", "sources.hr.secrets", None, "where a list is needed", "env:NAME"),
        (secrets, "secrets = ['env:NONE']", "sources.hr.secrets[0]", Some("env:NONE"), "not set", "set NONE"),
        (
            secrets,
            "secrets = ['env:HOOK', 'env:EMPTY']",
            "sources.hr.secrets[1]",
            Some("env:EMPTY"),
            "is empty",
            "value",
        ),
        (secrets, "secrets = ['env:HOOK', '']", "sources.hr.secrets[1]", None, "is empty", "value"),
        (
            secrets,
            "secrets = ['env:HOOK', 'file:none']",
            "sources.hr.secrets[1]",
            Some("file:none"),
            "cannot be read",
            "/nowhere/none",
        ),
        (
            secrets,
            "secrets = ['env:HOOK']\nintake_limit = { rate_per_second = 0 }",
            "sources.hr.intake_limit.rate_per_second",
            Some("0"),
            "out of range",
            "from 1",
        ),
        ("[sources.hr]", "[sources.HR]", "sources.HR", Some("HR"), "not a name", "a-z"),
    ];
    for (line, instead, key, value, reason, remedy) in cases {
        assert_problem(&with(line, instead), Severity::Error, key, value, reason, remedy);
    }
}

#[test]
fn every_fault_of_a_target_has_its_message() {
    let profile = "profile = \"rfc7644\"";
    let url = "base_url = \"https://acme.example/scim/v2\"";
    let cases = [
        (profile, "", "targets.acme.profile", None, "missing", "genesys-cloud"),
        (
            profile,
            "profile = 'none'",
            "targets.acme.profile",
            Some("none"),
            "neither a built-in",
            "genesys-cloud, ",
        ),
        (url, "", "targets.acme.base_url", None, "missing", "SCIM address"),
        (url, "base_url = 'acme'", "targets.acme.base_url", Some("acme"), "not a URL", "https://"),
        (url, "base_url = 'ftp://a'", "targets.acme.base_url", Some("ftp://a"), "scheme `ftp`", "https://"),
        (url, "base_url = 'https://u:p@a'", "targets.acme.base_url", None, "password", "auth"),
        (
            url,
            "base_url = 'https://a/?b=1'",
            "targets.acme.base_url",
            Some("https://a/?b=1"),
            "query",
            "https://",
        ),
        (
            url,
            "base_url = 'https://a/{tenant}'",
            "targets.acme.base_url",
            Some("https://a/{tenant}"),
            "placeholder",
            "https://",
        ),
    ];
    for (line, instead, key, value, reason, remedy) in cases {
        assert_problem(&with(line, instead), Severity::Error, key, value, reason, remedy);
    }
}

#[test]
fn what_a_profile_needs_a_word_for_is_refused_without_it() {
    let profile = "profile = \"rfc7644\"";
    for (instead, key, value, reason, remedy, consent) in [
        (
            "profile = 'github-org'",
            "targets.acme.profile",
            Some("github-org"),
            "out of the organisation",
            "allow_irreversible = true",
            "allow_irreversible = true",
        ),
        (
            "profile = 'pagerduty'",
            "targets.acme.profile",
            Some("pagerduty"),
            "deletes the account",
            "allow_irreversible = true",
            "allow_irreversible = true",
        ),
        (
            "profile = 'github-emu'\non_delete = 'delete'",
            "targets.acme.on_delete",
            Some("delete"),
            "never comes back",
            "on_delete = \"deactivate\"",
            "allow_irreversible = true",
        ),
        (
            "profile = 'genesys-tutorial'",
            "targets.acme.profile",
            Some("genesys-tutorial"),
            "simulation",
            "allow_simulation = true",
            "allow_simulation = true",
        ),
        (
            "profile = 'nice-cxone'",
            "targets.acme.limits",
            None,
            "no public document",
            "rate_per_second",
            "limits = { rate_per_second = 2 }",
        ),
    ] {
        assert_problem(&with(profile, instead), Severity::Error, key, value, reason, remedy);
        let allowed = with(profile, &format!("{instead}\n{consent}"));
        assert_eq!(problems(&allowed), [], "{allowed}");
    }
    let harmless = with(profile, "profile = 'github-emu'");
    assert_eq!(problems(&harmless), []);
}

#[test]
fn every_fault_of_a_targets_credentials_has_its_message() {
    let auth = "auth = { type = \"bearer\", token = \"env:TOKEN\" }";
    let cases = [
        (auth, "", "targets.acme.auth", None, "missing", "bearer"),
        (
            auth,
            "auth = 's3cret'",
            "targets.acme.auth",
            None,
            "where a table is needed",
            "[targets.acme.auth]",
        ),
        (
            auth,
            "auth = { type = 'header', name = 'X Key', value = 'env:TOKEN' }",
            "targets.acme.auth.name",
            Some("X Key"),
            "not a header's name",
            "letters",
        ),
        (
            auth,
            "auth = { type = 'header', name = 'If-Match', value = 'env:TOKEN' }",
            "targets.acme.auth.name",
            Some("If-Match"),
            "sets itself",
            "own header",
        ),
        (auth, "auth = { token = 'env:TOKEN' }", "targets.acme.auth.type", None, "missing", "oauth2"),
        (
            auth,
            "auth = { type = 'magic' }",
            "targets.acme.auth.type",
            Some("magic"),
            "choices",
            "bearer, basic, header, oauth2 or service_account",
        ),
        (
            auth,
            "auth = { type = 'bearer', token = 'env:TOKEN', tokken = 's3cret' }",
            "targets.acme.auth.tokken",
            None,
            "not a known key",
            "`token`",
        ),
        (
            auth,
            "auth = { type = 'oauth2', client_id = 'me', client_secret = 'env:TOKEN', token_url = 'x' }",
            "targets.acme.auth.token_url",
            Some("x"),
            "not a URL",
            "https://",
        ),
    ];
    for (line, instead, key, value, reason, remedy) in cases {
        assert_problem(&with(line, instead), Severity::Error, key, value, reason, remedy);
    }
}

#[test]
fn every_fault_of_a_targets_bounds_has_its_message() {
    let profile = "profile = \"rfc7644\"";
    let cases = [
        (
            profile,
            "profile = 'rfc7644'\nlimits = { rate_per_second = 0 }",
            "targets.acme.limits.rate_per_second",
            Some("0"),
            "out of range",
            "from 0.001",
        ),
        (
            profile,
            "profile = 'rfc7644'\nlimits = { windows = [{ limit = 3, per = '1m', shapes = ['lists'] }] }",
            "targets.acme.limits.windows[0].shapes",
            Some("lists"),
            "not one of the choices",
            "search",
        ),
        (
            profile,
            "profile = 'rfc7644'\nlimits = { windows = [{ limit = 3, per = '1m', cost = 'request', cost_bytes = 5 }] }",
            "targets.acme.limits.windows[0].cost_bytes",
            Some("5"),
            "beside cost",
            "either",
        ),
        (
            profile,
            "profile = 'rfc7644'\nlimits = { windows = [{ limit = 3 }] }",
            "targets.acme.limits.windows[0].per",
            None,
            "missing",
            "1m",
        ),
        (
            profile,
            "profile = 'rfc7644'\ntimeout = 'soon'",
            "targets.acme.timeout",
            Some("soon"),
            "not a span of time",
            "\"10m\"",
        ),
        (profile, "profile = 'rfc7644'\ntimeout = 30", "targets.acme.timeout", Some("30"), "a span", "100ms"),
        (
            profile,
            "profile = 'rfc7644'\nmax_attempts = 0",
            "targets.acme.max_attempts",
            Some("0"),
            "out of range",
            "from 1",
        ),
        (
            profile,
            "profile = 'rfc7644'\ncreate_inactive = 'yes'",
            "targets.acme.create_inactive",
            Some("yes"),
            "a text, where true or false",
            "without quotes",
        ),
        (
            profile,
            "profile = 'rfc7644'\nderived_groups = [{ when = 'true', group = 'g' }, { when = 'true', group = 'G' }]",
            "targets.acme.derived_groups",
            None,
            "in two spellings",
            "in one way",
        ),
        (
            profile,
            "profile = 'rfc7644'\nderived_groups = [{ when = 'true', group = ' ' }]",
            "targets.acme.derived_groups[0].group",
            Some(" "),
            "is not a group's name",
            "displayName",
        ),
        (
            profile,
            "profile = 'rfc7644'\nderived_groups = [{ when = 'user.', group = 'g' }]",
            "targets.acme.derived_groups[0].when",
            Some("user."),
            "at line 1",
            "",
        ),
        (
            profile,
            "profile = 'rfc7644'\nderived_groups = [{ group = 'g' }]",
            "targets.acme.derived_groups[0].when",
            None,
            "is missing",
            "condition",
        ),
    ];
    for (line, instead, key, value, reason, remedy) in cases {
        assert_problem(&with(line, instead), Severity::Error, key, value, reason, remedy);
    }
}

#[test]
fn every_fault_of_an_expression_has_its_message() {
    let profile = "profile = \"rfc7644\"";
    let cases = [
        (
            profile,
            "profile = 'rfc7644'\nscope = 'user.department == SALES'",
            "targets.acme.scope",
            Some("user.department == SALES"),
            "at line 1, column 20: there is no variable `SALES`",
            "in quotes",
        ),
        (
            profile,
            "profile = 'rfc7644'\nattributes = { title = 'user.' }",
            "targets.acme.attributes.title",
            Some("user."),
            "at line 1, column 6",
            "Common Expression Language",
        ),
        (
            profile,
            "profile = 'rfc7644'\nattributes = { 'emails[0].value' = 'user.userName' }",
            "targets.acme.attributes.\"emails[0].value\"",
            None,
            "is not a SCIM path",
            "emails[type eq",
        ),
        (
            profile,
            "profile = 'rfc7644'\nattributes = { title = 'user.title', Title = 'user.title' }",
            "targets.acme.attributes",
            None,
            "maps title twice",
            "keep one",
        ),
        (
            profile,
            "profile = 'aws-identity-center'\nmembers = 'authoritative'",
            "targets.acme.members",
            None,
            "shows who is in a group",
            "additive",
        ),
    ];
    for (line, instead, key, value, reason, remedy) in cases {
        assert_problem(&with(line, instead), Severity::Error, key, value, reason, remedy);
    }
}

#[test]
fn what_is_odd_but_works_is_a_warning() {
    let cases = [
        (with("[\"env:HOOK\"]", "['in-the-open']"), "sources.hr.secrets[0]", None, "in the open", "env:NAME"),
        (
            with("https://acme", "http://acme"),
            "targets.acme.base_url",
            Some("http://acme.example/scim/v2"),
            "plain HTTP",
            "https://",
        ),
        (
            with("profile = \"rfc7644\"", "profile = 'genesys-cloud'\nlimits = { rate_per_second = 10 }"),
            "targets.acme.limits",
            None,
            "300 in 1m",
            "lower rate",
        ),
        (
            SOUND.replacen("\"corp\"", "\"other\"", 1),
            "targets.acme.directory",
            Some("corp"),
            "no source feeds",
            "other",
        ),
        (
            with("profile = \"rfc7644\"", "profile = 'rfc7644'\nguard = false"),
            "targets.acme.guard",
            None,
            "everyone is deactivated",
            "leave it out",
        ),
        (
            with("profile = \"rfc7644\"", "profile = 'rfc7644'\nscope = 'user.departement == \"A\"'"),
            "targets.acme.scope",
            Some("user.departement == \"A\""),
            "reads `departement`, which SCIM does not know",
            "spelling",
        ),
        (
            with(
                "profile = \"rfc7644\"",
                "profile = 'datadog'\nderived_groups = [{ when = 'true', group = 'g' }]",
            ),
            "targets.acme.derived_groups",
            None,
            "no groups",
            "take them out",
        ),
        (
            format!("[[admin.keys]]\nname = 'a'\nsecret = 'env:TOKEN'\nrole = 'viewer'\n{SOUND}"),
            "admin.keys[0].secret",
            None,
            "can be guessed",
            "openssl",
        ),
    ];
    for (text, key, value, reason, remedy) in cases {
        assert_problem(&text, Severity::Warning, key, value, reason, remedy);
    }
    let empty = problems("");
    let reasons: Vec<&str> = empty.iter().map(|problem| problem.reason.as_str()).collect();
    assert!(
        matches!(reasons[..], [a, b] if a.contains("no sources") && b.contains("no targets")),
        "{reasons:?}"
    );
    assert_eq!(problems(&with("https://acme.example", "http://127.0.0.1:9")), []);
}

#[test]
fn the_files_that_come_with_the_relay_are_valid() {
    let secrets = ["HR_WEBHOOK_SECRET", "RELAY_ADMIN_KEY", "VENDOR_TOKEN"];
    let environment: Environment = secrets
        .map(|name| (name, "long-enough-for-any-of-them"))
        .into_iter()
        .chain([("RELAY_STORE_URL", "postgres://relay:secret@postgres/relay")])
        .collect();
    // The vendor of the containers is reached over their own network, in plain HTTP.
    for (file, warnings_expected) in [("examples/relay.toml", 0), ("deploy/compose/relay.toml", 1)] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let (_, warnings) = Config::load(&path, &environment).unwrap();
        assert_eq!(warnings.len(), warnings_expected, "{file}: {warnings:#?}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let text = r#"
[server]
listen = "nowhere"
bodylimit = 1
[sources.hr]
kind = "pull"
[targets.acme]
profile = "none"
base_url = "ftp://x"
auth = { type = "bearer", token = "env:NONE" }
"#;
    let keys: Vec<String> = problems(text).into_iter().map(|problem| problem.key).collect();
    assert_eq!(
        keys,
        [
            "server.listen",
            "server.bodylimit",
            "sources.hr.kind",
            "sources.hr.secrets",
            "targets.acme.profile",
            "targets.acme.base_url",
            "targets.acme.auth.token"
        ]
    );
}

#[test]
fn a_broken_file_says_where_without_repeating_the_line() {
    let found = problems("[server]\nlisten = 's3cret\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].key.starts_with("relay.toml:2:"), "{}", found[0].key);
    assert!(!found[0].to_string().contains("s3cret"), "{}", found[0]);
}

#[test]
fn the_store_is_a_file_or_a_database() {
    let store =
        |text: &str| parse(&format!("{text}\n{SOUND}")).map(|(config, warnings)| (config.store, warnings));
    let (default, _) = store("").unwrap();
    assert_eq!(default, StoreConfig::Sqlite { path: "scim-relay.db".into() });
    let (named, warnings) = store("[store]\nurl = 'env:DATABASE'\nconnections = 20").unwrap();
    let StoreConfig::Postgres { address, options } = &named else { panic!("{named:?}") };
    assert_eq!(address.to_string(), "postgres://relay@db.example:6432/scim");
    assert!(address.has_password());
    assert_eq!(options.connections_max, 20);
    assert_eq!(warnings, []);
    assert!(!format!("{named:?}").contains("s3cret"));

    let (open, warnings) = store("[store]\nurl = 'postgres://relay:s3cret@db.example/scim'").unwrap();
    assert!(matches!(open, StoreConfig::Postgres { options, .. } if options.connections_max == 10));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].reason.contains("in the open"), "{}", warnings[0]);
    let (_, warnings) = store("[store]\nurl = 'postgres://relay@db.example/scim'").unwrap();
    assert_eq!(warnings, [], "there is no secret in it");
}

#[test]
fn no_problem_repeats_a_secret() {
    let texts = [
        "[[admin.keys]]\nsecret = 's3cret'\nrole = 's'".to_owned(),
        "[[admin.keys]]\nsecret = ['s3cret']".to_owned(),
        "[admin]\nkeys = 's3cret'".to_owned(),
        "[sources.a]\nsecrets = 's3cret'".to_owned(),
        "[sources.a]\nsecrets = ['s3cret', ['s3cret']]\nsecret = 's3cret'".to_owned(),
        "[store]\nurl = 'postgres://me:s3cret@host/db'".to_owned(),
        "[store]\nurl = 'me:s3cret@host'".to_owned(),
        "[store]\nurl = 'host=db password=s3cret'".to_owned(),
        "[store]\nurl = 'postgres://db/relay?password=s3cret&sslmode=maybe'".to_owned(),
        with("https://acme", "https://me:s3cret@acme"),
        with("https://acme", "ftp://me:s3cret@acme"),
        with("\"env:TOKEN\" }", "'s3cret', extra = 's3cret' }"),
    ];
    for text in texts {
        for problem in problems(&text) {
            assert!(!problem.to_string().contains("s3cret"), "{text}\n{problem}");
        }
    }
    let (config, _) = parse(&with("env:TOKEN", "s3cret")).unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn the_environment_overrides_the_file() {
    let overrides = [
        ("SCIM_RELAY__SERVER__LISTEN", "[::1]:9"),
        ("SCIM_RELAY__TARGETS__ACME__BASE_URL", "https://eu.acme.example"),
        ("SCIM_RELAY__TARGETS__ACME__AUTH__TOKEN", "007"),
        ("SCIM_RELAY__TARGETS__ACME__LIMITS__RATE_PER_SECOND", "3"),
        ("HOOK", "whsec_c2VjcmV0c2VjcmV0"),
    ];
    let environment: Environment = overrides.into_iter().collect();
    let (config, _) = Config::parse(SOUND, "relay.toml", Path::new(""), &environment).unwrap();
    assert_eq!(config.server.listen, "[::1]:9".parse().unwrap());
    let target = &config.targets["acme"];
    assert_eq!(target.connection.base_url.as_str(), "https://eu.acme.example/");
    assert_eq!(target.connection.limits.rate_per_second, Some(3.0));
    let Auth::Bearer { token } = &target.connection.auth else { panic!("wrong kind of auth") };
    assert_eq!(token.at_start().expose_secret(), "007");
}

#[test]
fn a_problem_of_an_overridden_key_names_the_variable() {
    let environment: Environment =
        [("SCIM_RELAY__SERVER__LISTEN", "x"), ("HOOK", "h"), ("TOKEN", "t")].into_iter().collect();
    let found = Config::parse(SOUND, "relay.toml", Path::new(""), &environment).unwrap_err();
    assert_eq!(found[0].key, "server.listen (from SCIM_RELAY__SERVER__LISTEN)");
}

#[test]
fn a_secret_file_is_found_beside_the_configuration_and_loses_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "t0ken\r\n").unwrap();
    std::fs::write(folder.path().join("big"), vec![b'a'; 70_000]).unwrap();
    let path = folder.path().join("relay.toml");

    std::fs::write(&path, with("env:TOKEN", "file:token")).unwrap();
    let (config, warnings) = Config::load(&path, &environment()).unwrap();
    assert_eq!(warnings, []);
    let Auth::Bearer { token } = &config.targets["acme"].connection.auth else {
        panic!("wrong kind of auth")
    };
    assert_eq!(token.at_start().expose_secret(), "t0ken");

    std::fs::write(folder.path().join("token"), "another\n").unwrap();
    let read_again = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(token.now());
    assert_eq!(read_again.unwrap().expose_secret(), "another");

    std::fs::write(&path, with("env:TOKEN", "file:big")).unwrap();
    let found = Config::load(&path, &environment()).unwrap_err();
    assert!(found[0].reason.contains("over 65536 bytes"), "{}", found[0]);
}

#[test]
fn a_file_that_is_not_there_is_a_problem_of_its_own() {
    let found = Config::load(Path::new("/nowhere/relay.toml"), &environment()).unwrap_err();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, "/nowhere/relay.toml");
}

/// Lines that a configuration may hold, each right, wrong or out of place.
const LINES: &[&str] = &[
    "[server]",
    "listen = '127.0.0.1:0'",
    "listen = 1e400",
    "body_limit = -1",
    "body_limit = '99999999999999999999GiB'",
    "[store]",
    "url = 'sqlite://é?'",
    "url = '@'",
    "[[admin.keys]]",
    "[admin]",
    "keys = [1, {}, []]",
    "name = '\\u0000'",
    "role = 1979-05-27",
    "secret = 'file:.'",
    "[sources.a]",
    "[sources.'']",
    "secrets = ['', 'env:', 'file:']",
    "intake_limit = { rate_per_second = 9223372036854775807 }",
    "[targets.b]",
    "[targets]",
    "profile = '/'",
    "base_url = 'http://[::1]'",
    "base_url = 'https://é{}'",
    "timeout = '999999999999999999999y'",
    "auth = { type = 'oauth2', refresh_margin = '-1s', scopes = [1] }",
    "limits = { rate_per_second = nan, windows = [[]] }",
    "guard = { max_percent = inf }",
    "derived_groups = [{}]",
    "scope = 'user.['",
    "attributes = { emails = 7, 'a[' = '(' }",
];

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_arrangement_of_keys_makes_the_reader_panic(lines in prop::collection::vec(prop::sample::select(LINES), 0..12)) {
        let _ = parse(&lines.join("\n"));
    }

    #[test]
    fn no_override_makes_the_reader_panic(path in "[A-Z0-9_]{0,24}", value in any::<String>()) {
        let variables = [(format!("SCIM_RELAY__{path}"), value)];
        let _ = Config::parse(SOUND, "relay.toml", Path::new(""), &variables.into_iter().collect());
    }
}

//! Senders that sign with a key of their own.

use super::super::*;
use super::problems;
use crate::source::Kind;

const REALM: &str = "jwks_url = 'https://sso.example/certs'\nissuer = 'https://sso.example/realms/acme'\n\
                     audience = ['relay']\n";

fn source(kind: &str, rest: &str) -> String {
    format!("[sources.x]\nkind = '{kind}'\n{rest}")
}

#[test]
fn a_sender_with_a_key_of_its_own_needs_no_secret() {
    for (kind, rest, has_issuer) in [
        ("keycloak", format!("auth_type = 'bearer'\n{REALM}"), true),
        ("zitadel", "payload = 'jwt'\njwks_url = 'https://z.example/oauth/v2/keys'\n".to_owned(), false),
    ] {
        let text = source(kind, &rest);
        let config = Config::parse(&text, "relay.toml", Path::new("/nowhere"), &Environment::default());
        let config = config.unwrap().0;
        let Kind::Preset(_, options) = &config.sources["x"].kind else { panic!("{kind} is built in") };
        let issued = options.issued.as_ref().unwrap();
        assert_eq!(issued.expected.is_some(), has_issuer, "{kind}");
        assert!(config.sources["x"].secrets.is_empty());
    }
    let shared = source("keycloak", "auth_type = 'hmac'\nsecrets = ['s3cret']\n");
    assert!(problems(&shared).iter().all(|problem| problem.severity == Severity::Warning));
}

#[test]
fn what_a_token_needs_and_what_is_not_understood_is_told() {
    let secret = "secrets = ['env:HOOK']\n";
    for (kind, rest, key, reason) in [
        ("zitadel", format!("payload = 'jwe'\n{secret}"), "payload", "is encrypted"),
        ("zitadel", format!("payload = 'xml'\n{secret}"), "payload", "is no such choice"),
        ("zitadel", format!("payload = 'jwt'\n{secret}"), "jwks_url", "is missing"),
        ("keycloak", format!("auth_type = 'none'\n{secret}"), "auth_type", "is no such choice"),
        ("keycloak", format!("auth_type = 'bearer'\n{REALM}{secret}"), "secrets", "is not a known key"),
        (
            "keycloak",
            "auth_type = 'bearer'\njwks_url = 'https://sso.example/certs'\nissuer = 'x'\naudience = []\n"
                .to_owned(),
            "audience",
            "is empty",
        ),
        ("clerk", format!("payload = 'jwt'\n{secret}"), "payload", "is not a known key"),
    ] {
        let found = problems(&source(kind, &rest));
        let named = found.iter().find(|problem| problem.key == format!("sources.x.{key}"));
        assert!(named.is_some_and(|problem| problem.reason.contains(reason)), "{kind} {rest}\n{found:#?}");
    }
}

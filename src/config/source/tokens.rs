//! Senders that sign with a key of their own: who they are, and where the key is published.

use crate::config::problem::Problem;
use crate::config::reader::{Section, one_of};
use crate::source::{Expected, Issued, TokenPlace, Tokens};

/// How a sender vouches for its webhooks.
pub enum Vouched {
    /// With a secret that both sides know.
    Secret,
    /// With a key of its own.
    Token(Issued),
}

/// Reads the choice. `None` says that it cannot be had as written.
pub fn read(section: &mut Section<'_>, tokens: &Tokens) -> Option<Vouched> {
    match section.text(tokens.key) {
        None => Some(Vouched::Secret),
        Some(word) if word == tokens.shared => Some(Vouched::Secret),
        Some(word) if word == tokens.signed => issued(section, tokens).map(Vouched::Token),
        Some(word) => {
            let reason = if Some(word.as_str()) == tokens.encrypted {
                "is encrypted, which the relay does not understand"
            } else {
                "is no such choice"
            };
            let remedy = format!("write {}", one_of(&[tokens.shared, tokens.signed]));
            section.reject(tokens.key, &word, reason, remedy);
            None
        }
    }
}

fn issued(section: &mut Section<'_>, tokens: &Tokens) -> Option<Issued> {
    let keys = section.url("jwks_url");
    let keys = section.require("jwks_url", keys, "write where the sender publishes its keys");
    match tokens.place {
        TokenPlace::Body => Some(Issued { keys: keys?, expected: None }),
        TokenPlace::Beside { .. } => {
            let expected = expected(section);
            Some(Issued { keys: keys?, expected: Some(expected?) })
        }
    }
}

fn expected(section: &mut Section<'_>) -> Option<Expected> {
    let issuer = section.text("issuer");
    let issuer = section.require("issuer", issuer, "write the tokens' `iss`");
    let audiences = section.texts("audience");
    let audiences = section.require("audience", audiences, "write the tokens' `aud` as a list");
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        let reason = "is empty, so that no token could be for this relay";
        section.add(Problem::error(section.path_of("audience"), reason, "write the tokens' `aud` as a list"));
    }
    Some(Expected { issuer: issuer?, audiences: audiences? })
}

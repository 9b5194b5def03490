//! `kind = "scim-events"`: who transmits Security Event Tokens, and for whom.

use crate::config::problem::Problem;
use crate::config::reader::Section;
use crate::source::{Expected, Transmitter};

/// Reads what a source of Security Event Tokens has besides the keys of every source.
pub fn read(section: &mut Section<'_>) -> Option<Transmitter> {
    let issuer = section.text("issuer");
    let issuer = section.require(
        "issuer",
        issuer,
        "write the tokens' `iss`, such as issuer = \"https://idp.example\"",
    );
    let remedy = "write the tokens' `aud`, such as audience = [\"https://relay.example/webhooks/idp\"]";
    let audiences = section.texts("audience");
    let audiences = section.require("audience", audiences, remedy);
    if audiences.as_ref().is_some_and(Vec::is_empty) {
        let reason = "is empty, so that no token could be for this relay";
        section.add(Problem::error(section.path_of("audience"), reason, remedy));
    }
    let keys = section.url("jwks_url");
    let keys = section.require("jwks_url", keys, "write where the issuer publishes its keys");
    Some(Transmitter { expected: Expected { issuer: issuer?, audiences: audiences? }, keys: keys? })
}

//! Events about accounts of RISC, and those of CAEP, which are about sessions and change nothing
//! here: <https://openid.net/specs/openid-risc-profile-specification-1_0-final.html>.

use super::claims::{Event, Subject};
use crate::directory::Kind;
use crate::source::Reading;
use crate::source::formats::draft::{Draft, deactivation, user_deletion};
use crate::source::json::Malformed;

/// Reads an event by the last part of its URI.
pub fn read(name: &str, event: &Event<'_>) -> Result<Reading, Malformed> {
    let known = ["account-disabled", "account-enabled", "account-purged", "identifier-changed"];
    if !known.contains(&name) {
        return Ok(Reading::nothing());
    }
    let key = match event.subject()? {
        Subject::Known(key) if key.kind == Kind::User => key,
        Subject::Known(key) | Subject::Named(key) => return Ok(Reading::needing(key)),
    };
    let at = event.at();
    Ok(match name {
        "account-disabled" => Reading::of(vec![deactivation(key.id, at)]),
        "account-enabled" => Reading::of(vec![Draft::user().active(Some(true)).upsert(key.id, at)?]),
        "account-purged" => Reading::of(vec![user_deletion(key.id, at)]),
        _ => Reading::needing(key),
    })
}

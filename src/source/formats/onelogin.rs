//! OneLogin event webhooks: <https://developers.onelogin.com/api-docs/1/events/webhooks>.
//!
//! A list of everything that happened in the account, each event with a number for its type and the
//! user's id. The meaning of the numbers can be asked for in each account and is not told in the
//! events, so nothing is ended on their word: those about users leave a record to be read.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::Preset;
use super::preset::Options;
use super::view::View;
use crate::directory::ResourceKey;
use crate::source::Reading;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::shared::Place;

/// Users who are created, updated, deactivated, activated and deleted.
const ABOUT_USERS: std::ops::RangeInclusive<u64> = 13..=17;

/// `kind = "onelogin"`.
pub const PRESET: Preset = Preset { options: &[Options::HEADER], ..Preset::new("onelogin", scheme, read) };

/// The header and its value are whatever the administrator wrote into the webhook.
fn scheme(options: &Options) -> Scheme {
    let name: HeaderName = options.header.clone().unwrap_or(AUTHORIZATION);
    Scheme::Shared(Place::Header { name, prefix: String::new() })
}

fn read(body: &[u8]) -> Result<Reading, Malformed> {
    let body = json::parse(body)?;
    let events: Vec<View<'_>> = View::root(&body).items()?.collect();
    let reading =
        events.iter().try_fold(Reading::default(), |read, event| Ok(read.and(read_event(event)?)))?;
    let id = match events.as_slice() {
        [only] => only.word("uuid"),
        _ => None,
    };
    Ok(reading.under(id))
}

fn read_event(event: &View<'_>) -> Result<Reading, Malformed> {
    let kind = event.need("event_type_id")?;
    let is_about_users = kind.value().as_u64().is_some_and(|kind| ABOUT_USERS.contains(&kind));
    match event.get("user_id").filter(|_| is_about_users) {
        Some(user) => Ok(Reading::needing(ResourceKey::user(user.id()?))),
        None => Ok(Reading::nothing()),
    }
}

//! Google Workspace Directory push notifications, which there are of users only:
//! <https://developers.google.com/workspace/admin/directory/v1/guides/push>.
//!
//! Headers say what happened and to whom the channel belongs; the body says to which user, and the
//! address it signs in with. So what is stored holds both. Google tries again after 500, 502, 503 and
//! 504 alone: anything else loses the event.

use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};

use super::Preset;
use super::draft::{Draft, user_deletion};
use super::view::View;
use crate::directory::ResourceKey;
use crate::source::json::{self, Malformed};
use crate::source::signature::Scheme;
use crate::source::signature::shared::Place;
use crate::source::{Delivery, Manners, Media, Reading};

/// Longest header that is stored.
const HEADER_BYTES_MAX: usize = 256;

/// `kind = "google"`.
pub const PRESET: Preset = Preset {
    record: Some(record),
    manners: Manners { limited: StatusCode::SERVICE_UNAVAILABLE, media: Media::Any, ..Manners::USUAL },
    ..Preset::new("google", |_| scheme(), read)
};

/// The token that the channel was made with.
fn scheme() -> Scheme {
    let name = HeaderName::from_static("x-goog-channel-token");
    Scheme::Shared(Place::Header { name, prefix: String::new() })
}

fn record(delivery: &Delivery<'_>) -> Vec<u8> {
    let header = |name| text_of(delivery.headers, name);
    let record = json!({
        "channel": header("x-goog-channel-id"),
        "number": header("x-goog-message-number"),
        "state": header("x-goog-resource-state"),
        "body": std::str::from_utf8(delivery.body).unwrap_or("not UTF-8"),
    });
    record.to_string().into_bytes()
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    (value.len() <= HEADER_BYTES_MAX).then(|| value.to_owned())
}

fn read(record: &[u8]) -> Result<Reading, Malformed> {
    let record = json::parse(record)?;
    let record = View::root(&record);
    let id = record.word("channel").zip(record.word("number"));
    let id = id.map(|(channel, number)| format!("{channel}:{number}"));
    let state = record
        .word("state")
        .ok_or_else(|| Malformed::new("", "the header x-goog-resource-state is missing"))?;
    // The first message of a channel only says that there is one, and need not have a body.
    if state == "sync" {
        return Ok(Reading::nothing().under(id.as_deref()));
    }
    let body: Value = json::parse(record.text("body")?.as_bytes())?;
    let user = View::root(&body);
    let key = user.need("id")?.id()?;
    let reading = match state {
        "delete" => Reading::of(vec![user_deletion(key, None)]),
        // Who is updated or comes back may be suspended: an upsert that cannot say so might open an
        // account.
        "update" | "undelete" => Reading::needing(ResourceKey::user(key)),
        "add" => {
            let email = user.word("primaryEmail");
            let change = Draft::user().key("userName", email).email(email).upsert(key.clone(), None)?;
            Reading::of(vec![change]).and_needing(ResourceKey::user(key))
        }
        _ => Reading::nothing(),
    };
    Ok(reading.under(id.as_deref()))
}

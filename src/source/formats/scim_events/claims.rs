//! The claims of a Security Event Token: when, about whom, and which events.

use serde_json::Value;
use uuid::Uuid;

use super::{account, provisioning};
use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::source::formats::view::View;
use crate::source::json::Malformed;
use crate::source::jws::Token;
use crate::source::signature::time::Format;
use crate::source::{Notice, Reading, Refusal};

const SCIM_EVENT: &str = "urn:ietf:params:scim:event:";
const CAEP_EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC_EVENT: &str = "https://schemas.openid.net/secevent/risc/event-type/";
/// The transmitter has changed the state of the stream (`OpenID` SSF 1.0 section 8.1.5).
const STREAM_UPDATED: &str = "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";
/// The transmitter shows that tokens arrive (`OpenID` SSF 1.0 section 8.1.4).
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// Most events of one token; RFC 8417 wants all of them to be about one thing that happened.
const EVENTS_MAX: usize = 32;

/// Refuses a token of the same issuer that was made for something else, such as to sign in: of
/// another type, or without the type and with an end to its life.
pub fn check(token: &Token) -> Result<(), Refusal> {
    let kind = token.kind.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    let is_event = kind.trim_start_matches("application/") == "secevent+jwt";
    let may_be = kind == "jwt" && token.claims.get("exp").is_none();
    let has_events = token.claims.get("events").is_some_and(Value::is_object);
    if (is_event || may_be) && has_events {
        Ok(())
    } else {
        Err(Refusal::unreadable("the type of the token"))
    }
}

/// What the events of a token say.
pub fn read(claims: &Value) -> Result<Reading, Malformed> {
    let root = View::root(claims);
    let events = root.need("events")?;
    let events = events.object().ok_or_else(|| events.wrong("an object is expected"))?;
    if events.len() > EVENTS_MAX {
        return Err(Malformed::new("/events", format!("holds {} events, over {EVENTS_MAX}", events.len())));
    }
    let mut reading = Reading::default();
    for (uri, payload) in events {
        let event = Event { uri, payload: root.in_place(payload), claims: &root };
        reading = reading.and(event.read()?);
    }
    Ok(reading)
}

/// One event of a token.
pub struct Event<'a> {
    uri: &'a str,
    /// What it says.
    pub payload: View<'a>,
    claims: &'a View<'a>,
}

impl Event<'_> {
    fn read(&self) -> Result<Reading, Malformed> {
        // Drafts of RFC 9967 wrote `SCIM` in capitals, and so do those who followed them.
        let uri = self.uri.to_ascii_lowercase();
        if let Some(name) = uri.strip_prefix(SCIM_EVENT) {
            return provisioning::read(name, self);
        }
        if uri == STREAM_UPDATED {
            return Ok(stream_updated(&self.payload));
        }
        if uri == VERIFICATION {
            return Ok(verification(&self.payload));
        }
        let name = uri.strip_prefix(RISC_EVENT).or_else(|| uri.strip_prefix(CAEP_EVENT));
        name.map_or_else(|| Ok(Reading::nothing()), |name| account::read(name, self))
    }

    /// When it happened: as the event says, as the token says, or when the token was made. Some
    /// write milliseconds where seconds are meant.
    pub fn at(&self) -> Option<Timestamp> {
        let event = self.payload.value().get("event_timestamp");
        let claims = self.claims.value();
        let time = event.or_else(|| claims.get("toe")).or_else(|| claims.get("iat"))?;
        Format::Auto.read(&time.as_u64()?.to_string())
    }

    /// Whom it is about. Older events of CAEP and RISC bear the subject themselves.
    pub fn subject(&self) -> Result<Subject, Malformed> {
        let subject = self.claims.get("sub_id").or_else(|| self.payload.get("subject"));
        let subject = subject.ok_or_else(|| Malformed::new("/sub_id", "is missing"))?;
        let user = subject.get("user");
        read_subject(&user.unwrap_or(subject))
    }
}

/// Nothing more comes by a stream that is paused, and what a disabled one would have told is lost.
fn stream_updated(payload: &View<'_>) -> Reading {
    match payload.word("status") {
        Some("paused") => Reading::noticing(vec![Notice::Renew]),
        Some("disabled") => Reading::noticing(vec![Notice::Renew, Notice::Missed]),
        Some(_) | None => Reading::nothing(),
    }
}

/// What it bears is the word of whoever asked. The relay asks with ids in their usual form and with nothing else.
fn verification(payload: &View<'_>) -> Reading {
    let state = payload.word("state");
    let asked = state.and_then(|state| Uuid::try_parse(state).ok().filter(|id| id.to_string() == state));
    Reading { notices: vec![Notice::Verification(asked)], ..Reading::nothing() }
}

/// Whom an event is about (RFC 9493).
pub enum Subject {
    /// A user or group by the transmitter's own id.
    Known(ResourceKey),
    /// A user by something else, such as an address, that only the transmitter can turn into an id.
    Named(ResourceKey),
}

fn read_subject(subject: &View<'_>) -> Result<Subject, Malformed> {
    let format = subject.word("format").or(subject.word("subject_type")).unwrap_or_default();
    let user = |name: &str| Ok::<_, Malformed>(ResourceKey::user(subject.need(name)?.id()?));
    match format.to_ascii_lowercase().as_str() {
        "scim" => Ok(Subject::Known(scim_resource(subject)?)),
        "iss_sub" | "iss-sub" => Ok(Subject::Known(user("sub")?)),
        "opaque" => Ok(Subject::Known(user("id")?)),
        "email" => Ok(Subject::Named(user("email")?)),
        "account" => Ok(Subject::Named(user("uri")?)),
        "phone_number" => Ok(Subject::Named(user("phone_number")?)),
        _ => Err(subject.wrong("is not a subject of a format that is known")),
    }
}

/// `/Users/2819c223`: relative to the transmitter's SCIM address.
fn scim_resource(subject: &View<'_>) -> Result<ResourceKey, Malformed> {
    let uri = subject.text("uri")?;
    let mut parts = uri.trim_end_matches('/').rsplit('/');
    let (id, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let kind = match kind.to_ascii_lowercase().as_str() {
        "users" => Kind::User,
        "groups" => Kind::Group,
        _ => return Err(subject.wrong("`uri` is not that of a user or group, such as /Users/2819c223")),
    };
    let id = percent_encoding::percent_decode_str(id)
        .decode_utf8()
        .map_err(|_| subject.wrong("`uri` is not UTF-8"))?;
    let id = ExternalId::parse(id).map_err(|error| subject.wrong(error.to_string()))?;
    Ok(ResourceKey { kind, id })
}

//! What verifying and reading a webhook yield, and the id that tells its event from others.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::directory::{Change, ResourceKey};
use crate::source::Malformed;

/// Where nothing in a webhook tells it from an earlier one with the same body, the same body within
/// this span is the same event, in seconds.
///
/// Longer, and somebody who joins, leaves and joins again would stay out; shorter, and a repetition
/// might undo what came in between.
const LOOKALIKE_SECONDS: i64 = 60;

/// Proof that a source vouched for a webhook; only [`Source::verify`](super::Source::verify) has it to
/// give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    id: Option<String>,
    signed_at: Option<String>,
}

impl Proof {
    /// Longest id of an event, in bytes.
    pub const EVENT_ID_BYTES_MAX: usize = 256;

    /// The proof for a webhook whose headers name the event.
    pub(super) fn of_event(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), signed_at: None }
    }

    /// The proof for a webhook whose signature covers this time of signing, as it was written.
    pub(super) fn signed_at(time: Option<&str>) -> Self {
        Self { id: None, signed_at: time.map(str::to_owned) }
    }

    /// This proof, with the event's id of a header.
    pub(super) fn with_id(self, id: Option<&str>) -> Self {
        Self { id: id.map(str::to_owned), ..self }
    }

    /// The event's id, where a header names it.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id of the event, the same for each time that it is sent.
    ///
    /// In this order: the id that a header gives, the one in the body, a digest of the body and the time of signing
    /// (senders without ids repeat both), a digest of the body where it tells the times of all its
    /// changes, and a digest of the body within a minute.
    pub fn event_id(&self, reading: &Reading, body: &[u8], received_at: Timestamp) -> String {
        if let Some(id) = self.id.as_ref().or(reading.event_id.as_ref()) {
            return if is_event_id(id) { id.clone() } else { digest(&[id.as_bytes()]) };
        }
        let all_timed = reading.changes.iter().all(|change| change.occurred_at.is_some());
        match &self.signed_at {
            Some(time) => digest(&[time.as_bytes(), b".", body]),
            None if all_timed && !reading.changes.is_empty() => digest(&[body]),
            None => {
                let minute = received_at.as_seconds().div_euclid(LOOKALIKE_SECONDS);
                digest(&[&minute.to_be_bytes(), body])
            }
        }
    }
}

/// What a body says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The sender's id of the event, where the body bears one.
    pub event_id: Option<String>,
    /// What has changed, in order.
    pub changes: Vec<Change>,
    /// Whose record the sender must be asked for, since the body names it without saying all that
    /// has changed.
    pub needs_read: Vec<ResourceKey>,
    /// Whether the sender must be asked for everybody, since the body ends many without naming them.
    pub everyone_needs_read: bool,
    /// How many of its events mean nothing to a directory.
    pub ignored: usize,
    /// What it says of the webhooks themselves.
    pub notices: Vec<Notice>,
}

/// What a sender says of its webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// They end soon, or have ended: the subscription is to be renewed, or made anew.
    Renew,
    /// Some were not sent, and will not be.
    Missed,
    /// This one was sent to show that they arrive. It bears what it was asked for with; `None` where it bears
    /// nothing, or nothing that the relay would ask with.
    Verification(Option<Uuid>),
}

impl Reading {
    /// Refuses changes of groups by ids that only groups derived from attributes have.
    pub fn check_ids(&self) -> Result<(), Malformed> {
        if self.changes.iter().any(|change| change.operation.key().is_derived()) {
            let reason = "the id of a group begins with \"derived:\", which is reserved";
            return Err(Malformed::new("", reason));
        }
        Ok(())
    }
}

/// Whether a text can be an event's id: 1 to 256 bytes of visible ASCII.
pub(super) fn is_event_id(text: &str) -> bool {
    (1..=Proof::EVENT_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{ExternalId, Operation};

    fn reading(event_id: Option<&str>, occurred_at: Option<i64>) -> Reading {
        let operation = Operation::UserDelete { id: ExternalId::parse("u-1").unwrap() };
        Reading {
            event_id: event_id.map(str::to_owned),
            changes: vec![Change { occurred_at: occurred_at.map(Timestamp::from_seconds), operation }],
            ..Reading::default()
        }
    }

    fn id(proof: &Proof, reading: &Reading, body: &str, seconds: i64) -> String {
        proof.event_id(reading, body.as_bytes(), Timestamp::from_seconds(seconds))
    }

    #[test]
    fn a_header_names_the_event_before_the_body_does() {
        let named = reading(Some("in-body"), None);
        assert_eq!(id(&Proof::of_event("in-header"), &named, "{}", 0), "in-header");
        assert_eq!(id(&Proof::default(), &named, "{}", 0), "in-body");
    }

    #[test]
    fn an_id_that_cannot_be_stored_is_stored_as_its_digest() {
        for odd in ["", "two words", "\u{e9}", &"x".repeat(257)] {
            let found = id(&Proof::default(), &reading(Some(odd), None), "{}", 0);
            assert!(found.starts_with("sha256:") && is_event_id(&found), "{odd:.20}: {found}");
        }
    }

    #[test]
    fn without_an_id_the_time_of_signing_tells_events_apart() {
        let at = |time: &str| id(&Proof::signed_at(Some(time)), &reading(None, None), "{}", 0);
        assert_eq!(at("1"), at("1"));
        assert_ne!(at("1"), at("2"));
    }

    #[test]
    fn a_body_that_tells_its_time_is_one_event_for_ever() {
        let timed = reading(None, Some(7));
        let at = |body, seconds| id(&Proof::default(), &timed, body, seconds);
        assert_eq!(at("{}", 0), at("{}", 1_000_000));
        assert_ne!(at("{}", 0), at("{ }", 0));
    }

    #[test]
    fn a_body_that_tells_nothing_is_one_event_within_a_minute() {
        let at = |seconds| id(&Proof::default(), &reading(None, None), "{}", seconds);
        assert_eq!(at(0), at(59));
        assert_ne!(at(59), at(60));
    }
}

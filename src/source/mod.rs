//! Where changes come from: who sent a webhook, and what it says, in the relay's own words.
//!
//! A [`Source`] is pure and synchronous: it looks at headers and bytes and answers. It neither stores
//! nor calls anybody; what it accepted goes to the [`Store`](crate::store::Store), and
//! [`Sources`] reads it again from there when it is merged.
//!
//! To add a sender: one file in `formats/`, one variant of [`Kind`], one line in `formats::open`.
//! Signature schemes that several senders share live in [`signature`].

mod formats;
mod json;
mod registry;
pub mod signature;

use http::{HeaderMap, Request, Response, StatusCode};
use secrecy::SecretString;

pub use json::Malformed;
pub use registry::{Registered, SettingsError, Sources};

use crate::clock::Timestamp;
use crate::directory::{Change, DirectoryName};

/// How one sender proves who it is and words what has changed.
pub trait Source: Send + Sync {
    /// Whether the sender's secret vouches for exactly these bytes, now.
    fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Verified, Refusal>;

    /// What a body says has changed, in order.
    ///
    /// A body that was read once must read the same for as long as it may be stored: the merge reads
    /// it again from the store.
    fn changes(&self, body: &[u8]) -> Result<Vec<Change>, Malformed>;

    /// Answers a sender that asks, before it sends events, whether this address is willing. It is
    /// asked for each request, whatever its method, before all else; `None`: this is no such question.
    fn handshake(&self, _request: &Request<()>) -> Option<Response<String>> {
        None
    }

    /// What the sender wants to hear.
    fn manners(&self) -> Manners {
        Manners::default()
    }
}

/// The statuses that a sender understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// The event is durable.
    pub accepted: StatusCode,
    /// The event was here before.
    pub duplicate: StatusCode,
}

impl Default for Manners {
    fn default() -> Self {
        Self { accepted: StatusCode::ACCEPTED, duplicate: StatusCode::OK }
    }
}

/// Proof that a source vouched for a body; only [`Source::verify`] has it to give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    event_id: String,
}

impl Verified {
    /// Longest id of an event, in bytes.
    pub const EVENT_ID_BYTES_MAX: usize = 256;

    /// The proof for the event with this id: 1 to 256 bytes of visible ASCII.
    fn new(event_id: &str) -> Result<Self, Refusal> {
        let fits = (1..=Self::EVENT_ID_BYTES_MAX).contains(&event_id.len());
        if fits && event_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self { event_id: event_id.to_owned() })
        } else {
            Err(Refusal::Unreadable { header: "the event's id" })
        }
    }

    /// The sender's id of the event, the same for each time that it sends it.
    pub fn into_event_id(self) -> String {
        self.event_id
    }
}

/// Why a body is not believed. For the log: the sender hears the same in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A part of the signature is absent, repeated, too long, or not of its form.
    #[error("{header} is missing, repeated, or not of its form")]
    Unreadable {
        /// Which.
        header: &'static str,
    },
    /// Signed too long ago, or by a clock that is ahead.
    #[error("the signature is {seconds} s old")]
    Untimely {
        /// Age; negative where it lies in the future.
        seconds: i64,
    },
    /// No secret of the source makes this signature over these bytes.
    #[error("the signature does not match")]
    Mismatch,
}

/// One source, as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in the configuration, and in the path of its webhooks.
    pub name: String,
    /// What it sends, and how that is signed.
    pub kind: Kind,
    /// The directory that it feeds.
    pub directory: DirectoryName,
    /// Any of them verifies; several while one is replaced by the next.
    pub secrets: Vec<SecretString>,
    /// How much is taken of it; `None`: all.
    pub intake_limit: Option<IntakeLimit>,
    /// Longest body that is taken of it, in bytes.
    pub body_bytes_max: usize,
}

/// The senders that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The relay's own format, signed by Standard Webhooks.
    Native,
}

/// How many webhooks of one source are taken before it is told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeLimit {
    /// Webhooks a second, on average.
    pub rate_per_second: std::num::NonZeroU32,
    /// Webhooks at once.
    pub burst: std::num::NonZeroU32,
}

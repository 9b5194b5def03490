//! Where changes come from: who sent a webhook, and what it says, in the relay's own words.
//!
//! A [`Source`] is pure and synchronous: it looks at headers and bytes and answers. It neither stores
//! nor calls anybody, but for the keys of senders who sign with private ones ([`Source::prepare`]);
//! what it accepted goes to the [`Store`](crate::store::Store), and
//! [`Sources`] reads it again from there when it is merged.
//!
//! To add a sender: one file in `formats/` and one line in its registry. Signature schemes that
//! several senders share live in [`signature`].

pub mod connectors;
mod event;
pub mod fed;
mod formats;
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod jws;
mod registry;
pub mod signature;
pub mod told;

use std::borrow::Cow;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use secrecy::SecretString;

pub use event::{Notice, Proof, Reading};
pub use formats::issued::{Issued, TokenPlace, Tokens};
pub use formats::mapped;
pub use formats::scim_events::Transmitter;
pub use formats::view::View;
pub use formats::{Options, PRESETS, Preset};
pub use json::{Malformed, parse as parse_json};
#[cfg(test)]
pub use jws::testing as jws_testing;
pub use jws::{Expected, Unready};
use mapped::Mapping;
pub use registry::{Registered, SettingsError, Sources};

use self::signature::SecretError;
use crate::clock::Timestamp;
use crate::directory::DirectoryName;

/// How one sender proves who it is and words what has changed.
pub trait Source: Send + Sync {
    /// Fetches what [`verify`](Self::verify) needs for this webhook, where it is not there yet; `None`:
    /// nothing is ever needed.
    fn prepare<'a>(
        &'a self,
        _headers: &'a HeaderMap,
        _body: &'a [u8],
    ) -> Option<BoxFuture<'a, Result<(), Unready>>> {
        None
    }

    /// Whether the sender's secret vouches for this webhook, now.
    fn verify(&self, delivery: &Delivery<'_>, now: Timestamp) -> Result<Proof, Refusal>;

    /// What a body says. A body that was read once must read the same for as long as it may be
    /// stored: the merge reads it again from the store.
    fn read(&self, body: &[u8]) -> Result<Reading, Malformed>;

    /// What to store and [`read`](Self::read) in place of the body, where headers say a part of it.
    fn record(&self, _delivery: &Delivery<'_>) -> Option<Vec<u8>> {
        None
    }

    /// Answers a sender that asks, before it sends events, whether this address is willing. It is
    /// asked for each request, whatever its method, before all else; `None`: this is no such question.
    fn handshake(&self, _request: &Request<()>) -> Option<Response<String>> {
        None
    }

    /// Whether a body is a sender's trial, which is answered as accepted and forgotten.
    fn is_trial(&self, _body: &[u8]) -> bool {
        false
    }

    /// What the sender wants to hear.
    fn manners(&self) -> Manners {
        Manners::USUAL
    }
}

/// A webhook as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// What follows the question mark of its address; empty where there is none.
    pub query: &'a str,
    /// Its body, byte for byte.
    pub body: &'a [u8],
}

/// What a sender understands, and what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// The event is durable.
    pub accepted: StatusCode,
    /// The event was here before.
    pub duplicate: StatusCode,
    /// The sender is over its intake limit. Senders that give an event up at any 4xx hear 503.
    pub limited: StatusCode,
    /// How its bodies are declared.
    pub media: Media,
    /// How it wants to hear what it did wrong.
    pub errors: Errors,
}

impl Manners {
    /// Every answer says what is the case.
    pub const USUAL: Self = Self {
        accepted: StatusCode::ACCEPTED,
        duplicate: StatusCode::OK,
        limited: StatusCode::TOO_MANY_REQUESTS,
        media: Media::Json,
        errors: Errors::Problem,
    };
}

/// How a sender declares its bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// As JSON.
    Json,
    /// Somehow, or not at all.
    Any,
    /// As a Security Event Token (RFC 8935 section 2.1).
    SecurityEvent,
    /// As CSV (RFC 7111).
    Csv,
    /// As one JSON object a line.
    JsonLines,
}

/// How a sender wants to hear what it did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// As a problem (RFC 9457), and success as JSON.
    Problem,
    /// As a code (RFC 8935 section 2.3), and success as nothing but a status.
    SecurityEvent,
}

/// Why a body is not believed. For the log: the sender hears the same in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A part of the signature is absent, repeated, too long, or not of its form.
    #[error("{part} is missing, repeated, or not of its form")]
    Unreadable {
        /// Which: a header's name, or where else it stands.
        part: Cow<'static, str>,
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
    /// The sender publishes no such key.
    #[error("the token is signed with a key that the issuer does not publish")]
    Key,
    /// Somebody else made the token.
    #[error("the token has another issuer")]
    Issuer,
    /// The token is meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
}

impl Refusal {
    fn unreadable(part: impl Into<Cow<'static, str>>) -> Self {
        Self::Unreadable { part: part.into() }
    }
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
    /// Who is asked for what its webhooks leave out; `None`: nobody.
    pub provider: Option<connectors::Provider>,
}

impl Settings {
    /// Whether a source can be set up so.
    pub fn check(&self) -> Result<(), SecretError> {
        formats::open(self).map(|_| ())
    }
}

/// The senders that are understood.
#[derive(Clone, Debug)]
pub enum Kind {
    /// The relay's own format, signed by Standard Webhooks.
    Native,
    /// A sender whose format and signature are built in.
    Preset(&'static Preset, Options),
    /// Any JSON, read as the configuration tells.
    Mapped(Box<Mapping>),
    /// Security Event Tokens of this transmitter.
    ScimEvents(Box<Transmitter>),
    /// It posts nothing: it is polled.
    Fed,
    /// It drops files, or posts them.
    File(Box<Inlet>),
}

/// Where and how a source's files are dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inlet {
    /// The folder.
    pub folder: PathBuf,
    /// How those are declared that are posted.
    pub media: Media,
    /// Longest file that may be posted, in bytes.
    pub bytes_max: u64,
}

impl Inlet {
    /// How the name of a file begins that is still arriving. Names that start with a dot are not looked at.
    pub const ARRIVING: &'static str = ".posted-";

    /// How the names of its files end, after the dot.
    pub const fn extension(&self) -> &'static str {
        match self.media {
            Media::Csv => "csv",
            Media::JsonLines | Media::Json | Media::Any | Media::SecurityEvent => "ndjson",
        }
    }
}

/// How many webhooks of one source are taken before it is told to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeLimit {
    /// Webhooks a second, on average.
    pub rate_per_second: std::num::NonZeroU32,
    /// Webhooks at once.
    pub burst: std::num::NonZeroU32,
}

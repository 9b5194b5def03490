//! One call to a vendor, its answer, and why there may be none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use tower::BoxError;

use crate::scim::etag::ETag;

/// One request, before it is known when it may go.
#[derive(Clone, Debug)]
pub struct Call {
    /// The HTTP method.
    pub method: Method,
    /// Relative to the target's base URL, ids percent-encoded, query included: `Users/42`.
    pub path: String,
    /// The path's shape without ids, for labels and for telling a resource from a collection:
    /// `Users`, `Users/{id}`, `ServiceProviderConfig`, …
    pub endpoint: &'static str,
    /// Which rate limits apply.
    pub class: CallClass,
    /// The body, already JSON.
    pub body: Option<Bytes>,
    /// Sent as `If-Match`, byte for byte.
    pub if_match: Option<ETag>,
    /// How many operations it stands for: 1, unless several go in one request.
    pub operations: u32,
    /// Whether it goes ahead of others.
    pub turn: Turn,
}

/// Who goes first of those that wait for the same limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// A call that ends somebody's access: ahead of all others.
    First,
    /// As they come.
    #[default]
    Usual,
}

impl Call {
    /// The length of its body; 0 without one.
    pub fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// Kinds of call that vendors limit apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallClass {
    /// One resource is read, looked up or written.
    Single,
    /// A page of resources is read.
    List,
    /// Several operations go in one request.
    Bulk,
    /// The target is asked whether it is there.
    Probe,
}

impl CallClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Single, Self::List, Self::Bulk, Self::Probe];
}

/// What a vendor answered, whatever the status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The `ETag` header. A body may carry the version too, in `meta.version`.
    pub etag: Option<ETag>,
    /// The `Location` header.
    pub location: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, whole; an error's is cut at 64 KiB. Empty where a write's answer was over the limit,
    /// since its status says all that counts.
    pub body: Bytes,
    /// From sending to the end of the body; waits for limits and tokens are left out.
    pub elapsed: Duration,
    /// The scopes that the token endpoint granted, where it named them.
    pub granted_scopes: Option<Arc<str>>,
}

impl Answer {
    /// An answer without headers and body.
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            etag: None,
            location: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            elapsed: Duration::ZERO,
            granted_scopes: None,
        }
    }
}

/// Why a call has no answer. The cases differ in what may be done next.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing reached the vendor: no connection, or no token because its endpoint is down. The call
    /// may be made again as it is.
    #[error("reach the vendor")]
    NotSent {
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// Perhaps delivered: a timeout, a reset, an answer that broke off. What is there must be read
    /// before a write that is not safe to repeat.
    #[error("learn what became of the call")]
    Unknown {
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The token endpoint refused, or the vendor refused a fresh token. A person must look.
    #[error("be let in: {reason}")]
    Credentials {
        /// For people; no secret in it.
        reason: String,
    },
    /// The target's set-up cannot work as it is: an untrusted certificate, a URL that leads elsewhere.
    #[error("use the target as it is set up: {reason}")]
    Unusable {
        /// For people.
        reason: String,
    },
    /// A read was answered with a body over the limit, and nothing of it was kept.
    #[error("read an answer of over {limit} bytes")]
    TooLarge {
        /// The status of the answer.
        status: StatusCode,
        /// The limit in bytes.
        limit: usize,
    },
}

/// The source of a [`CallError::Unknown`] whose time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {0:?}")]
pub struct TimedOut(pub Duration);

impl CallError {
    /// What the metrics say in place of a status: `timeout` or `transport`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unknown { source } if source.is::<TimedOut>() => "timeout",
            Self::Unknown { .. }
            | Self::NotSent { .. }
            | Self::Credentials { .. }
            | Self::Unusable { .. }
            | Self::TooLarge { .. } => "transport",
        }
    }
}

/// A vendor behind all its layers. A clone shares limits and pauses, and waits for a permit of its own.
///
/// `poll_ready` waits until a call may go; poll it again right before the call when some time has
/// passed, since the right to call lapses when the vendor asks for a pause in between.
pub type Stack = tower::util::BoxCloneSyncService<Call, Answer, CallError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_timeout_is_labelled_so() {
        let timeout = CallError::Unknown { source: Box::new(TimedOut(Duration::from_secs(1))) };
        assert_eq!(timeout.label(), "timeout");
        assert_eq!(CallError::Unknown { source: "reset".into() }.label(), "transport");
        assert_eq!(CallError::NotSent { source: "refused".into() }.label(), "transport");
    }
}

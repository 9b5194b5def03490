//! temp
use crate::scim::error::ScimType;
use crate::scim::etag::ETag;
use http::StatusCode;
use serde_json::Value;
use std::time::Duration;
/// t
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// t
    Done {
        /// t
        status: StatusCode,
        /// t
        resource: Option<Value>,
        /// t
        etag: Option<ETag>,
        /// t
        id: Option<String>,
    },
    /// t
    Stale,
    /// t
    Taken {
        /// t
        detail: Option<String>,
    },
    /// t
    Missing,
    /// t
    TooLarge {
        /// t
        detail: Option<String>,
    },
    /// t
    Refused {
        /// t
        status: StatusCode,
        /// t
        scim_type: Option<ScimType>,
        /// t
        detail: Option<String>,
    },
    /// t
    Throttled {
        /// t
        retry_after: Option<Duration>,
    },
    /// t
    Transient {
        /// t
        status: StatusCode,
    },
    /// t
    Unknown,
    /// t
    NotSent,
    /// t
    TargetFault {
        /// t
        reason: String,
    },
}

//! What a handler gives back, before it becomes HTTP.

use serde_json::{Value, json};

use crate::sandbox::settings::{Cap, HolderTold, OverCap};
use crate::scim::error::{ErrorBody, ScimType};
use crate::scim::filter::FilterError;
use crate::scim::patch::PatchError;

/// A request that went well.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// JSON body; none with 204 and 304.
    pub body: Option<Value>,
    /// `ETag` header.
    pub etag: Option<String>,
    /// `Location` header.
    pub location: Option<String>,
    /// Whether it was a write, which has now taken effect.
    pub applied: bool,
    /// How many operations it answers, where that is not one.
    pub operations: usize,
}

impl Answer {
    /// 200 with a body.
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body), ..Self::default() }
    }

    /// A status without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// A request that the vendor refuses, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The kind, where the RFC has a word for it.
    pub scim_type: Option<ScimType>,
    /// Text for people.
    pub detail: String,
    /// Where the resource is that is in the way, and where it says so.
    pub holder: Option<(HolderTold, String)>,
}

impl Refusal {
    /// A status without a kind.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self { status, scim_type: None, detail: detail.into(), holder: None }
    }

    /// 400 with a kind.
    pub fn bad(scim_type: ScimType, detail: impl Into<String>) -> Self {
        Self { scim_type: Some(scim_type), ..Self::new(400, detail) }
    }

    /// 404 for a resource.
    pub fn not_found() -> Self {
        Self::new(404, "no resource has this id")
    }

    /// 405
    pub fn method_not_allowed() -> Self {
        Self::new(405, "the endpoint does not have this method")
    }

    /// 409 for a value that another resource holds, which is at `location`.
    pub fn taken(attribute: &str, told: HolderTold, location: String) -> Self {
        let detail = format!("another resource has the same {attribute}");
        let holder = Some((told, location));
        Self { scim_type: Some(ScimType::Uniqueness), holder, ..Self::new(409, detail) }
    }

    /// Refuses `count` when there is a cap and it is passed.
    pub fn over(cap: Option<Cap>, count: usize, what: &str) -> Result<(), Self> {
        let Some(cap) = cap.filter(|cap| count > cap.most) else { return Ok(()) };
        let detail = format!("more than {} {what} in one request", cap.most);
        Err(match cap.over {
            OverCap::PayloadTooLarge => Self::new(413, detail),
            OverCap::TooMany => Self::bad(ScimType::TooMany, detail),
            OverCap::BadRequest => Self::new(400, "the request could not be processed"),
        })
    }

    /// The body, RFC 7644 section 3.12, and what some vendors put into it besides.
    pub fn body(&self) -> Value {
        let body = ErrorBody {
            status: Some(self.status),
            scim_type: self.scim_type.clone(),
            detail: Some(self.detail.clone()),
        };
        let mut body = serde_json::to_value(body).unwrap_or_default();
        if let Some(location) = self.holder_told(HolderTold::Body) {
            body["meta"] = json!({ "location": location });
        }
        body
    }

    /// The `Location` header.
    pub fn location(&self) -> Option<&str> {
        self.holder_told(HolderTold::Header)
    }

    fn holder_told(&self, place: HolderTold) -> Option<&str> {
        self.holder.as_ref().filter(|(told, _)| *told == place).map(|(_, location)| location.as_str())
    }
}

impl From<PatchError> for Refusal {
    fn from(error: PatchError) -> Self {
        Self::bad(error.scim_type(), error.to_string())
    }
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        Self::bad(ScimType::InvalidFilter, error.to_string())
    }
}

//! An answer to a question about the server, taken apart.

use http::StatusCode;
use serde_json::Value;

use crate::scim::resource::get;

/// The largest document that is read, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most resources that are kept of all pages together; servers have a few dozen schemas.
pub const RESOURCES_MAX: usize = 128;
/// Most pages that are read. RFC 7644 section 4 knows no pages here, but some servers do.
pub const PAGES_MAX: usize = 16;

/// What an answer holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<T> {
    /// This.
    Is(T),
    /// Nothing: the server does not have the endpoint.
    NotOffered,
}

/// Why an answer says nothing, neither of the server nor of what it lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A status that is neither success nor "no such endpoint".
    #[error("the answer's status is {0}")]
    Status(u16),
    /// Too large.
    #[error("the answer is over {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    /// Not JSON, or JSON of something else.
    #[error("the answer is not {0}")]
    NotThat(&'static str),
}

/// One page of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The resources, as they came.
    pub resources: Vec<Value>,
    /// How many there are in all, where the server says so.
    pub total: Option<u64>,
}

/// The body of an answer as JSON.
pub fn body(status: StatusCode, body: &[u8], what: &'static str) -> Result<Told<Value>, Unreadable> {
    if matches!(status.as_u16(), 404 | 405 | 410 | 501) {
        return Ok(Told::NotOffered);
    }
    if !status.is_success() {
        return Err(Unreadable::Status(status.as_u16()));
    }
    if body.len() > DOCUMENT_BYTES_MAX {
        return Err(Unreadable::TooLarge);
    }
    serde_json::from_slice(body).map(Told::Is).map_err(|_| Unreadable::NotThat(what))
}

/// The resources of a list: a list response, a bare array, or a single resource.
pub fn page(body: Value, what: &'static str) -> Result<Page, Unreadable> {
    let total = get(&body, "totalResults").and_then(Value::as_u64);
    let mut resources = match body {
        Value::Array(resources) => resources,
        Value::Object(ref object) => match (get(&body, "Resources"), object.contains_key("id")) {
            (Some(Value::Array(resources)), _) => resources.clone(),
            (Some(Value::Null) | None, false) if total == Some(0) => Vec::new(),
            (None, true) => vec![body],
            (_, _) => return Err(Unreadable::NotThat(what)),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Unreadable::NotThat(what));
        }
    };
    resources.truncate(RESOURCES_MAX);
    Ok(Page { resources, total })
}

/// The only resource: bare, or as some servers send it, in a list of one.
pub fn single(body: Value) -> Value {
    match (get(&body, "Resources"), &body) {
        (Some(Value::Array(resources)), _) | (_, Value::Array(resources)) => {
            resources.first().cloned().unwrap_or(Value::Null)
        }
        (_, _) => body,
    }
}

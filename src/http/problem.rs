//! Errors as `application/problem+json` (RFC 9457), those of the framework included.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::body;
use crate::store::StoreError;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");
/// When to come again to a store whose queue is full: it empties in less.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When to come again to a store that cannot write: a disk is not mended in a second.
const UNAVAILABLE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request was not done (RFC 9457). The type is always `about:blank`: the status says it all,
/// and `detail` says it to people.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    kind: &'static str,
    /// The status in words.
    #[schema(example = "Bad Request")]
    title: &'static str,
    /// The HTTP status.
    #[schema(example = 400)]
    status: u16,
    /// What is wrong, where, and what is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/changes/2/id: is missing")]
    detail: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    headers: Box<HeaderMap>,
}

impl Problem {
    /// With nothing more to say than the status.
    pub fn new(status: StatusCode) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: None,
            headers: Box::default(),
        }
    }

    /// 400: what the caller wrote is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST).with_detail(detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND).with_detail(detail)
    }

    /// Says more, to people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Says when to come again: in whole seconds, rounded up, and never at once.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("it was made from a status");
        let text = serde_json::to_string(&self).expect("texts and a number always serialise");
        let mut response = (status, text).into_response();
        response.headers_mut().extend(*self.headers);
        response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE).with_retry_after(BUSY_RETRY_AFTER),
            StoreError::Unavailable { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to use the store");
                Self::new(StatusCode::SERVICE_UNAVAILABLE).with_retry_after(UNAVAILABLE_RETRY_AFTER)
            }
            StoreError::Corrupt { .. } | StoreError::Deposed { .. } => {
                tracing::error!(error = &error as &dyn std::error::Error, "failed to use the store");
                return Self::new(StatusCode::INTERNAL_SERVER_ERROR);
            }
        }
        .with_detail(error.to_string())
    }
}

/// Marks an answer to a caller whose protocol has words of its own for errors.
#[derive(Clone, Copy)]
pub struct OwnWords;

/// Turns an error that is not a problem yet into one; its headers stay, its text goes.
pub async fn uniform(response: Response) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || response.extensions().get::<OwnWords>().is_some() {
        return response;
    }
    if response.headers().get(header::CONTENT_TYPE) == Some(&MEDIA_TYPE) {
        return response;
    }
    let mut headers = response.into_parts().0.headers;
    headers.remove(header::CONTENT_LENGTH);
    Problem { headers: Box::new(headers), ..Problem::new(status) }.into_response()
}

/// What a request gets whose handler panicked; what it panicked with is only logged.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub fn of_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text.as_str(),
        (None, None) => "no message",
    };
    tracing::error!(message, "a handler panicked");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
}

/// Answers what no route takes.
pub async fn no_such_path(request: Request) -> Problem {
    body::drain(request).await;
    Problem::not_found("there is nothing at this path")
}

/// Answers a method that the path's routes do not take; the framework adds `Allow`.
pub async fn no_such_method(request: Request) -> Problem {
    body::drain(request).await;
    Problem::new(StatusCode::METHOD_NOT_ALLOWED)
}

//! Bodies of requests: read with a limit on their length and on the time they take.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::Problem;

/// How long a sender may take for a body.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest body of a call to the admin API.
const SMALL_BYTES_MAX: usize = 64 * 1024;
/// How much of a body that is not wanted is read, and for how long.
const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than is taken.
    #[error("the body is longer than {bytes_max} bytes")]
    TooLarge {
        /// What is taken.
        bytes_max: usize,
    },
    /// Not all there in time.
    #[error("the body was not complete after {} s", TIMEOUT.as_secs())]
    TooSlow,
    /// The connection or its framing broke.
    #[error("the body broke off")]
    Broken,
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        Self::new(status).with_detail(error.to_string())
    }
}

/// Reads a body of at most `bytes_max` bytes.
///
/// The announced length only spares the reading of a body that is too long: what arrives is counted.
pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut chunks = body.into_data_stream();
    let read = if announced > bytes_max {
        Err(BodyError::TooLarge { bytes_max })
    } else {
        let bytes = Vec::with_capacity(announced);
        timeout(TIMEOUT, collect(&mut chunks, bytes, bytes_max)).await.unwrap_or(Err(BodyError::TooSlow))
    };
    if matches!(read, Err(BodyError::TooLarge { .. })) {
        drain_chunks(headers, chunks).await;
    }
    read
}

/// Reads a body that nobody wants, within limits.
///
/// A server that answers and closes while its peer still sends makes the peer's system report a
/// broken connection, and the answer is lost.
pub async fn drain(request: Request) {
    let (parts, body) = request.into_parts();
    drain_body(&parts.headers, body).await;
}

/// As [`drain`], for a body that was taken from its request.
pub async fn drain_body(headers: &HeaderMap, body: Body) {
    drain_chunks(headers, body.into_data_stream()).await;
}

async fn drain_chunks(headers: &HeaderMap, mut chunks: BodyDataStream) {
    // A sender that asks before it sends has not sent, and need not.
    if headers.contains_key(header::EXPECT) {
        return;
    }
    let all = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whether it ends or not, the answer goes out now.
    let _ = timeout(DRAIN_TIMEOUT, all).await;
}

/// Reads the body of a call to the admin API before anything else looks at the call, so that a
/// refusal leaves nothing unread.
pub async fn buffer_small(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match read(&parts.headers, body, SMALL_BYTES_MAX).await {
        Ok(bytes) => next.run(Request::from_parts(parts, bytes.into())).await,
        Err(error) => Problem::from(error).into_response(),
    }
}

async fn collect(
    chunks: &mut BodyDataStream,
    mut bytes: Vec<u8>,
    bytes_max: usize,
) -> Result<Vec<u8>, BodyError> {
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(BodyError::TooLarge { bytes_max });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

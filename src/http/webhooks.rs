//! `/webhooks/{source}`: takes what a source sends, and answers once it is durable.

mod files;

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use self::files::AcceptedFile;
use super::body::{self, BodyError};
use super::problem::OwnWords;
use super::{Problem, Relay};
use crate::clock::Timestamp;
use crate::source::{Delivery, Errors, Kind, Malformed, Manners, Media, Refusal, Registered, Unready};
use crate::store::{Appended, NewEvent, StoreError};
use crate::telemetry::metrics::EventLabels;

/// Longest body that is verified and read on the runtime's own threads. Longer ones would make other
/// connections wait for a millisecond and more.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// How long a sender is told to wait while its keys cannot be fetched.
const KEYS_WAIT: Duration = Duration::from_secs(30);

/// The event is durable.
#[derive(Serialize, ToSchema)]
pub struct AcceptedEvent {
    /// The sender's id of the event.
    #[schema(example = "msg_01")]
    event_id: String,
    /// How many changes it holds.
    #[schema(example = 3)]
    changes: usize,
    /// How many records the sender must be asked for, since the event names them without saying all
    /// that has changed; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(example = 0)]
    needs_read: usize,
    /// How many of the sender's events mean nothing to a directory; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(example = 0)]
    ignored: usize,
}

/// What was taken.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Accepted {
    /// An event.
    Event(AcceptedEvent),
    /// A file, of a source of `kind = "file"`.
    File(AcceptedFile),
}

/// The event was here before; nothing changed.
#[derive(Serialize, ToSchema)]
pub struct DuplicateEvent {
    /// The sender's id of the event.
    #[schema(example = "msg_01")]
    event_id: String,
    /// Always true.
    #[schema(example = true)]
    duplicate: bool,
}

/// Takes a signed webhook.
///
/// The answer is sent once the event is durable, and never before. The body shown is that of
/// `kind = "native"`; other kinds take their own sender's format and signature. A source of `kind = "file"`
/// takes whole files, signed in the same way, as large as its `max_size`.
#[utoipa::path(
    post, path = "/webhooks/{source}", tag = "webhooks", operation_id = "receive_webhook",
    security(("webhook_signature" = [])),
    params(
        ("source" = String, Path, description = "Name of the source in the configuration"),
        ("webhook-id" = String, Header, description = "The event's id, 1 to 256 visible ASCII characters; \
          the same each time it is sent"),
        ("webhook-timestamp" = i64, Header, description = "Time of signing in Unix seconds, within 300 s of now"),
    ),
    request_body(
        description = "1 MiB at most, unless configured otherwise",
        content((
            serde_json::Value = "application/json",
            example = json!({"changes": [
                {"op": "user.upsert", "id": "u-101", "occurred_at": "2026-11-20T10:00:00Z",
                 "attributes": {"userName": "jane@example.com", "active": true, "department": "SUPPORT"}},
                {"op": "group.members", "id": "g-1", "add": ["u-101"], "remove": ["u-102"]}
            ]}),
        ), (String = "text/csv"), (String = "application/x-ndjson")),
    ),
    responses(
        (status = 202, description = "Verified and durable; an event is understood, too, and a file is in the \
         source's folder, where it is taken or refused as a whole", body = Accepted),
        (status = 200, description = "Seen before; nothing changes", body = DuplicateEvent),
        (status = 400, description = "Not of the source's shape; `detail` says where",
         body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The signature is missing, wrong, too old, or in the future",
         body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such source",
         body = Problem, content_type = "application/problem+json"),
        (status = 408, description = "The body took too long",
         body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large",
         body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON",
         body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The source is over its intake limit", body = Problem,
         content_type = "application/problem+json",
         headers(("retry-after" = u64, description = "Seconds to wait"))),
        (status = 503, description = "The store cannot take it", body = Problem,
         content_type = "application/problem+json",
         headers(("retry-after" = u64, description = "Seconds to wait"))),
    ),
)]
pub async fn receive(State(relay): State<Relay>, Path(source): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, ());
    let Some(registered) = relay.sources.get(&source) else {
        body::drain_body(request.headers(), body).await;
        return no_such_source();
    };
    if let Kind::File(folder) = &registered.settings.kind
        && !registered.settings.secrets.is_empty()
    {
        return files::receive(&relay, registered, folder, request, body).await;
    }
    if let Some(answer) = registered.source.handshake(&request) {
        body::drain_body(request.headers(), body).await;
        return answer.into_response();
    }
    let taken = match admit(&relay, registered, request.headers()) {
        Ok(()) => take(&relay, registered, request, body).await,
        Err(rejection) => {
            body::drain_body(request.headers(), body).await;
            Err(rejection)
        }
    };
    if taken.is_ok() {
        relay.rhythms.heard(&source, relay.clock.now());
    }
    let manners = registered.source.manners();
    let outcome = taken.as_ref().map_or_else(Rejection::outcome, Receipt::outcome);
    relay.metrics.events.get_or_create(&EventLabels { source, outcome }).inc();
    match taken {
        Ok(receipt) => receipt.answer(manners),
        Err(rejection) => rejection.answer(manners),
    }
}

/// Answers a sender that asks whether this address is willing to take its webhooks.
///
/// Kinds of source whose senders do not ask answer 405.
#[utoipa::path(
    get, path = "/webhooks/{source}", tag = "webhooks", operation_id = "greet_sender", security(()),
    params(("source" = String, Path, description = "Name of the source in the configuration")),
    responses(
        (status = 200, description = "What the sender wants to hear", body = String),
        (status = 404, description = "No such source",
         body = Problem, content_type = "application/problem+json"),
        (status = 405, description = "This kind of source is not asked",
         body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn greet(State(relay): State<Relay>, Path(source): Path<String>, request: Request) -> Response {
    let Some(registered) = relay.sources.get(&source) else { return no_such_source() };
    match registered.source.handshake(&request.map(|_| ())) {
        Some(answer) => answer.into_response(),
        None => Problem::new(StatusCode::METHOD_NOT_ALLOWED)
            .with_header(header::ALLOW, HeaderValue::from_static("POST"))
            .into_response(),
    }
}

/// What the headers alone decide.
fn admit(relay: &Relay, registered: &Registered, headers: &HeaderMap) -> Result<(), Rejection> {
    admit_media(registered.source.manners().media, headers)?;
    relay.limits.take(&registered.settings.name).map_err(|wait| Rejection::Limited { wait })
}

fn admit_media(media: Media, headers: &HeaderMap) -> Result<(), Rejection> {
    let is_one_of = |types: &[&str]| is_plain(headers) && types.contains(&essence(headers).as_str());
    let understood = match media {
        Media::Json => is_json(headers),
        Media::Any => is_plain(headers),
        Media::SecurityEvent => is_one_of(&["application/secevent+jwt"]),
        Media::Csv => is_one_of(&["text/csv"]),
        Media::JsonLines => is_one_of(&["application/x-ndjson", "application/jsonl"]),
    };
    if understood { Ok(()) } else { Err(Rejection::MediaType(media)) }
}

async fn take(
    relay: &Relay,
    registered: &Registered,
    request: Request<()>,
    body: axum::body::Body,
) -> Result<Receipt, Rejection> {
    let body = body::read(request.headers(), body, registered.settings.body_bytes_max).await?;
    if registered.source.is_trial(&body) {
        return Ok(Receipt::Trial);
    }
    if let Some(ready) = registered.source.prepare(request.headers(), &body) {
        ready.await?;
    }
    let received_at = relay.clock.now();
    let understood = understand(relay, registered, request, Bytes::from(body), received_at).await?;
    let event = NewEvent {
        source: registered.settings.name.clone(),
        directory: registered.settings.directory.clone(),
        event_id: understood.accepted.event_id.clone(),
        received_at,
        urgent: understood.urgent,
        body: understood.record,
    };
    let appended = relay.store.append(event).await?;
    // A duplicate's first answer may have been lost together with the wake.
    relay.appended.notify_one();
    Ok(match appended {
        Appended::New => {
            understood.accepted.count(relay, registered);
            Receipt::Accepted(understood.accepted)
        }
        Appended::Duplicate => {
            Receipt::Duplicate(DuplicateEvent { event_id: understood.accepted.event_id, duplicate: true })
        }
    })
}

/// What is known of a webhook that was verified and read.
struct Understood {
    accepted: AcceptedEvent,
    urgent: bool,
    record: Vec<u8>,
}

impl AcceptedEvent {
    /// Counts what is kept without changing anything, so that it can be seen.
    fn count(&self, relay: &Relay, registered: &Registered) {
        for (outcome, count) in [("needs_read", self.needs_read), ("ignored", self.ignored)] {
            if count > 0 {
                let labels = EventLabels { source: registered.settings.name.clone(), outcome };
                relay.metrics.event_items.get_or_create(&labels).inc_by(count as u64);
            }
        }
    }
}

/// Verifies and reads a webhook: a short one here, a long one on a thread that may block.
async fn understand(
    relay: &Relay,
    registered: &Registered,
    request: Request<()>,
    body: Bytes,
    now: Timestamp,
) -> Result<Understood, Rejection> {
    if body.len() <= INLINE_BYTES_MAX {
        return understand_now(registered, &request, &body, now);
    }
    let sources = relay.sources.clone();
    let name = registered.settings.name.clone();
    let task = tokio::task::spawn_blocking(move || {
        let registered = sources.get(&name).expect("sources do not change while the relay runs");
        understand_now(registered, &request, &body, now)
    });
    match task.await {
        Ok(understood) => understood,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

fn understand_now(
    registered: &Registered,
    request: &Request<()>,
    body: &Bytes,
    now: Timestamp,
) -> Result<Understood, Rejection> {
    let source = &registered.source;
    let delivery = Delivery { headers: request.headers(), query: request.uri().query().unwrap_or(""), body };
    let proof = source.verify(&delivery, now).inspect_err(|refusal| {
        tracing::info!(source = registered.settings.name, %refusal, "refused a webhook");
    })?;
    let record = source.record(&delivery).unwrap_or_else(|| body.to_vec());
    let reading = source.read(&record)?;
    reading.check_ids()?;
    Ok(Understood {
        accepted: AcceptedEvent {
            event_id: proof.event_id(&reading, &record, now),
            changes: reading.changes.len(),
            needs_read: reading.needs_read.len(),
            ignored: reading.ignored,
        },
        urgent: reading.changes.iter().any(|change| change.operation.ends_access()),
        record,
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A webhook that was taken.
enum Receipt {
    Accepted(AcceptedEvent),
    Duplicate(DuplicateEvent),
    /// The sender only tried whether somebody answers.
    Trial,
}

impl Receipt {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Duplicate(_) => "duplicate",
            Self::Trial => "trial",
        }
    }

    fn answer(self, manners: Manners) -> Response {
        match self {
            Self::Accepted(_) if manners.errors == Errors::SecurityEvent => manners.accepted.into_response(),
            Self::Duplicate(_) if manners.errors == Errors::SecurityEvent => {
                manners.duplicate.into_response()
            }
            Self::Accepted(event) => (manners.accepted, Json(Accepted::Event(event))).into_response(),
            Self::Duplicate(event) => (manners.duplicate, Json(event)).into_response(),
            Self::Trial => manners.accepted.into_response(),
        }
    }
}

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("{}", media_wanted(*.0))]
    MediaType(Media),
    #[error(transparent)]
    Unready(#[from] Unready),
    #[error("the source is over its intake limit")]
    Limited { wait: Duration },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Unauthorized(#[from] Refusal),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the file cannot be kept")]
    Disk(#[from] std::io::Error),
}

impl Rejection {
    fn outcome(&self) -> &'static str {
        match self {
            Self::MediaType(_) | Self::Body(_) | Self::Malformed(_) => "malformed",
            Self::Limited { .. } => "limited",
            Self::Unauthorized(_) => "unauthorized",
            Self::Store(_) | Self::Unready(_) | Self::Disk(_) => "unavailable",
        }
    }

    fn answer(self, manners: Manners) -> Response {
        match (manners.errors, self.security_event_code()) {
            (Errors::SecurityEvent, Some(code)) => {
                let error = json!({"err": code, "description": self.to_string()});
                let headers = [(header::CONTENT_LANGUAGE, "en")];
                (StatusCode::BAD_REQUEST, Extension(OwnWords), headers, Json(error)).into_response()
            }
            (Errors::SecurityEvent, None) | (Errors::Problem, _) => {
                self.into_problem(manners).into_response()
            }
        }
    }

    /// The code of RFC 8935 section 2.4; `None` for what HTTP itself has words for.
    fn security_event_code(&self) -> Option<&'static str> {
        match self {
            Self::Malformed(_)
            | Self::Unauthorized(Refusal::Untimely { .. } | Refusal::Unreadable { .. }) => {
                Some("invalid_request")
            }
            Self::Unauthorized(Refusal::Mismatch) => Some("authentication_failed"),
            Self::Unauthorized(Refusal::Key) => Some("invalid_key"),
            Self::Unauthorized(Refusal::Issuer) => Some("invalid_issuer"),
            Self::Unauthorized(Refusal::Audience) => Some("invalid_audience"),
            Self::MediaType(_)
            | Self::Unready(_)
            | Self::Limited { .. }
            | Self::Body(_)
            | Self::Store(_)
            | Self::Disk(_) => None,
        }
    }

    fn into_problem(self, manners: Manners) -> Problem {
        match self {
            Self::MediaType(_) => {
                Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with_detail(self.to_string())
            }
            Self::Limited { wait } => {
                Problem::new(manners.limited).with_detail(self.to_string()).with_retry_after(wait)
            }
            Self::Body(error) => error.into(),
            // Which part was wrong is for the log: it would help who guesses.
            Self::Unauthorized(_) => {
                Problem::new(StatusCode::UNAUTHORIZED).with_detail("the webhook could not be verified")
            }
            Self::Malformed(error) => Problem::bad_request(error.to_string()),
            Self::Store(error) => error.into(),
            Self::Disk(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .with_detail(self.to_string())
                .with_retry_after(KEYS_WAIT),
            Self::Unready(unready) => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .with_detail(unready.to_string())
                .with_retry_after(KEYS_WAIT),
        }
    }
}

fn no_such_source() -> Response {
    Problem::not_found("there is no source of this name").into_response()
}

/// Whether the body is declared as plain JSON (RFC 6839 for the suffix), parameters aside.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = essence(headers);
    let is_json = essence == "application/json"
        || essence
            .split_once('/')
            .is_some_and(|(_, subtype)| subtype.len() > 5 && subtype.ends_with("+json"));
    is_json && is_plain(headers)
}

/// The declared type in lower case, without parameters.
fn essence(headers: &HeaderMap) -> String {
    let text = text_of(headers, header::CONTENT_TYPE).unwrap_or("");
    text.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

fn media_wanted(media: Media) -> &'static str {
    match media {
        Media::Json => "Content-Type must be application/json or end in +json, without a Content-Encoding",
        Media::SecurityEvent => "Content-Type must be application/secevent+jwt, without a Content-Encoding",
        Media::Csv => "Content-Type must be text/csv, without a Content-Encoding",
        Media::JsonLines => "Content-Type must be application/x-ndjson, without a Content-Encoding",
        Media::Any => "the body must not have a Content-Encoding",
    }
}

/// Whether the body is sent as it is, not compressed.
fn is_plain(headers: &HeaderMap) -> bool {
    !headers.contains_key(header::CONTENT_ENCODING)
        || text_of(headers, header::CONTENT_ENCODING)
            .is_some_and(|coding| coding.eq_ignore_ascii_case("identity"))
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_with_parameters_and_suffixes() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/scim+json", true),
            ("application/cloudevents-batch+json ;a=b", true),
            ("text/plain", false),
            ("application/jsonl", false),
            ("application/x-ndjson", false),
            ("application/+json", false),
            ("+json", false),
            ("text/plain; a=application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(is_json(&headers), expected, "{content_type}");
        }
        assert!(!is_json(&HeaderMap::new()));
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert!(!is_json(&headers));
    }
}

//! One request from arrival to answer: log, limit, fault, authorisation, handler, fault again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{ConnectInfo, Request, State as Shared};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION, RETRY_AFTER, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::sandbox::Sandbox;
use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::connection::Switch;
use crate::sandbox::endpoint::{Call, Endpoint};
use crate::sandbox::fault::{Effect, Phase};
use crate::sandbox::faults::Verdict;
use crate::sandbox::log::{Sent, Ticket};
use crate::sandbox::service::{self, Incoming};
use crate::sandbox::settings::RetryAfter;
use crate::sandbox::{edit, limit, token};
use crate::scim::schema;
use crate::target::profile::ErrorForm;

/// The longest that a hanging request is kept before its connection is closed.
const HANG_MAX: Duration = Duration::from_mins(10);

/// Answers one request, or cuts its connection.
pub async fn exchange(
    Shared(sandbox): Shared<Arc<Sandbox>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let call =
        Call { endpoint: Endpoint::find(parts.uri.path(), &sandbox.behaviour), method: parts.method.clone() };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut ticket = sandbox.log.begin(&call, path);
    ticket.entry.if_match = parts.headers.contains_key(IF_MATCH);
    ticket.entry.user_agent = text(&parts.headers, &USER_AGENT);
    let query = parts.uri.query().unwrap_or_default().to_owned();

    let body = to_bytes(body, sandbox.body_bytes_max).await;
    let (refused, limit_headers) =
        take_permit(&sandbox, &call, &query, body.as_ref().unwrap_or(&Bytes::new()));
    ticket.entry.body_bytes = body.as_ref().map_or(0, Bytes::len);
    let mut response = match (refused, body) {
        (Some(refusal), _) => refused_response(&refusal),
        (None, Err(_)) => refused_response(&Refusal::new(413, "the body is too large or broken off")),
        (None, Ok(body)) => {
            let incoming = Incoming { call, query, headers: parts.headers, body };
            let Some(response) = handle(&sandbox, incoming, &mut ticket).await else {
                switch.cut();
                return Response::new(Body::empty());
            };
            response
        }
    };
    response.headers_mut().extend(limit_headers);
    ticket.entry.answer_bytes = response.body().size_hint().exact().unwrap_or(0);
    ticket.entry.status = Sent::Status(response.status().as_u16());
    response
}

/// Takes a permit of the rate limit; the refusal if there is none, and the headers that say so.
fn take_permit(sandbox: &Sandbox, call: &Call, query: &str, body: &Bytes) -> (Option<Refusal>, HeaderMap) {
    let mut bucket = sandbox.bucket();
    let Some(bucket) = bucket.as_mut().filter(|_| !call.is_token()) else { return (None, HeaderMap::new()) };
    let Some(grant) = bucket.take(&call.counted(query, body)) else { return (None, HeaderMap::new()) };
    let refusal = grant.wait.map(|_| Refusal::new(429, "too many requests"));
    (refusal, limit::headers(bucket.limit(), &grant))
}

/// Handles a request that is within the limit. `None` when no answer is to be sent.
async fn handle(sandbox: &Sandbox, request: Incoming, ticket: &mut Ticket) -> Option<Response> {
    let verdict = sandbox.faults().decide(&request.call);
    note(&verdict, ticket);
    let latency = sandbox.latency();
    if !latency.is_zero() {
        sandbox.pause(latency).await;
    }
    if verdict.edit {
        edit::behind_the_back(&mut sandbox.state(), &sandbox.behaviour, &request.call.endpoint);
    }
    match verdict.effect {
        Some(Effect::Status(status, Phase::Before)) => Some(status_response(status, &verdict)),
        Some(Effect::Html) => Some(html_response()),
        Some(Effect::Lost(Phase::Before)) => None,
        Some(Effect::Hang(Phase::Before)) => {
            sandbox.pause(HANG_MAX).await;
            None
        }
        Some(
            Effect::Status(_, Phase::After)
            | Effect::Lost(Phase::After)
            | Effect::Hang(Phase::After)
            | Effect::Slow(_)
            | Effect::Truncated
            | Effect::WrongType
            | Effect::Edit,
        )
        | None => {
            let response = act(sandbox, &request, ticket);
            spoil(sandbox, response, &verdict).await
        }
    }
}

/// What becomes of an answer on its way back.
async fn spoil(sandbox: &Sandbox, mut response: Response, verdict: &Verdict) -> Option<Response> {
    match verdict.effect {
        Some(Effect::Status(status, _)) => Some(status_response(status, verdict)),
        Some(Effect::Lost(_)) => None,
        Some(Effect::Hang(_)) => {
            sandbox.pause(HANG_MAX).await;
            None
        }
        Some(Effect::Slow(by)) => {
            sandbox.pause(by).await;
            Some(response)
        }
        Some(Effect::Truncated) => Some(truncate(response).await),
        Some(Effect::WrongType) => {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            Some(response)
        }
        Some(Effect::Html | Effect::Edit) | None => Some(response),
    }
}

/// Authorises and carries out a request.
fn act(sandbox: &Sandbox, request: &Incoming, ticket: &mut Ticket) -> Response {
    let auth = &sandbox.behaviour.auth;
    if request.call.endpoint == Endpoint::Token && request.call.method == http::Method::POST {
        let (status, body) = token::issue(auth, &mut sandbox.tokens(), &request.headers, &request.body);
        return json_response(status, "application/json", body.to_string());
    }
    let outcome = token::authorise(auth, &mut sandbox.tokens(), &request.headers)
        .and_then(|()| service::serve(&mut sandbox.state(), &sandbox.behaviour, request));
    match outcome {
        Ok(answer) => {
            ticket.entry.applied = answer.applied;
            ticket.entry.operations = answer.operations.max(1);
            answer_response(answer)
        }
        Err(refusal) => match sandbox.behaviour.quirks.errors.body {
            ErrorForm::Scim => refused_response(&refusal),
            ErrorForm::Vendor => vendors_response(&refusal),
        },
    }
}

fn note(verdict: &Verdict, ticket: &mut Ticket) {
    let edit = verdict.edit.then(|| Effect::Edit.to_string());
    let effect = verdict.effect.map(|effect| effect.to_string());
    let names: Vec<String> = edit.into_iter().chain(effect).collect();
    ticket.entry.fault = (!names.is_empty()).then(|| names.join(", "));
}

fn answer_response(answer: Answer) -> Response {
    let body = answer.body.map(|body| body.to_string()).unwrap_or_default();
    let mut response = if body.is_empty() {
        status_only(answer.status)
    } else {
        json_response(answer.status, schema::MEDIA_TYPE, body)
    };
    let headers = [(ETAG, answer.etag), (LOCATION, answer.location)];
    for (name, value) in headers {
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        response.headers_mut().extend(value.map(|value| (name, value)));
    }
    response
}

fn refused_response(refusal: &Refusal) -> Response {
    let mut response = json_response(refusal.status, schema::MEDIA_TYPE, refusal.body().to_string());
    let location = refusal.location().and_then(|location| HeaderValue::from_str(location).ok());
    response.headers_mut().extend(location.map(|location| (LOCATION, location)));
    if refusal.status == 401 {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// An error in words of the vendor's own.
fn vendors_response(refusal: &Refusal) -> Response {
    let body = serde_json::json!({ "code": refusal.status, "message": refusal.detail });
    json_response(refusal.status, "application/json", body.to_string())
}

fn status_response(status: u16, verdict: &Verdict) -> Response {
    let mut response = refused_response(&Refusal::new(status, "a fault of the sandbox"));
    let wait = verdict.retry_after.and_then(|wait| limit::retry_after(RetryAfter::Seconds, wait));
    response.headers_mut().extend(wait.map(|wait| (RETRY_AFTER, wait)));
    response
}

fn html_response() -> Response {
    const PAGE: &str = "<!doctype html><html><body><h1>Sign in</h1></body></html>";
    json_response(200, "text/html; charset=utf-8", PAGE.to_owned())
}

/// Announces the whole body, sends half of it, and breaks off.
async fn truncate(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    parts.headers.insert(CONTENT_LENGTH, body.len().into());
    if body.is_empty() {
        return Response::from_parts(parts, Body::empty());
    }
    let half = body.slice(..body.len() / 2);
    let broken = stream::once(async {
        // Lets what is there already be sent first.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Response::from_parts(parts, Body::from_stream(stream::iter([Ok(half)]).chain(broken)))
}

fn json_response(status: u16, media_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

fn status_only(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

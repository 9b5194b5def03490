//! Every route on one screen, and what surrounds them.

use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::routing::any;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::PropagateRequestIdLayer;
use tower_http::set_header::{SetRequestHeaderLayer, SetResponseHeaderLayer};
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tracing::{Span, field};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::admin::{
    self, advice, events, feeds, holds, ledger, me, parked, people, resync_report, resyncs, status, sync,
    targets, timeline, waiting,
};
use super::{Relay, body, console, health, metrics, problem, webhooks};

/// Longest time that an administrator waits for an answer.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What senders and load balancers use.
pub(super) fn public_routes() -> OpenApiRouter<Relay> {
    OpenApiRouter::new()
        .routes(routes!(webhooks::receive, webhooks::greet))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
}

/// What monitoring reads.
pub(super) fn monitoring_routes() -> OpenApiRouter<Relay> {
    OpenApiRouter::new().routes(routes!(metrics::metrics))
}

/// What administrators use, below [`ADMIN_PATH`](admin::PATH).
pub(super) fn admin_routes() -> OpenApiRouter<Relay> {
    OpenApiRouter::new()
        .routes(routes!(me::read))
        .routes(routes!(status::read))
        .routes(routes!(targets::list))
        .routes(routes!(targets::read))
        .routes(routes!(targets::pause))
        .routes(routes!(targets::resume))
        .routes(routes!(targets::discover))
        .routes(routes!(waiting::list))
        .routes(routes!(parked::list))
        .routes(routes!(parked::retry))
        .routes(routes!(parked::discard))
        .routes(routes!(holds::list))
        .routes(routes!(holds::read))
        .routes(routes!(holds::approve))
        .routes(routes!(holds::reject))
        .routes(routes!(events::list))
        .routes(routes!(events::read))
        .routes(routes!(ledger::list))
        .routes(routes!(feeds::read))
        .routes(routes!(feeds::consent))
        .routes(routes!(advice::withdraw))
        .routes(routes!(resyncs::begin, resyncs::list))
        .routes(routes!(resyncs::read, resyncs::cancel))
        .routes(routes!(resync_report::read))
        .routes(routes!(resync_report::entries))
        .routes(routes!(sync::of_user))
        .routes(routes!(sync::of_group))
        .routes(routes!(people::find))
        .routes(routes!(timeline::of_user))
        .routes(routes!(timeline::of_group))
}

/// The router of each of two listeners: for senders, and for administrators and monitoring.
pub fn router(relay: &Relay) -> (Router, Router) {
    let public = public_routes().split_for_parts().0;
    (finish(public, relay), finish(administration(relay), relay))
}

/// The router of a listener that serves both.
pub fn router_on_one_listener(relay: &Relay) -> Router {
    finish(public_routes().split_for_parts().0.merge(administration(relay)), relay)
}

fn administration(relay: &Relay) -> Router<Relay> {
    let calls = Router::new()
        .nest(admin::PATH, with_fallbacks(admin_routes().split_for_parts().0))
        // A nest leaves out its own path with a slash at the end.
        .route(&format!("{}/", admin::PATH), any(problem::no_such_path))
        .layer(
            ServiceBuilder::new()
                .layer(from_fn(body::buffer_small))
                .layer(from_fn_with_state(relay.clone(), admin::authorize))
                .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ADMIN_TIMEOUT)),
        );
    monitoring_routes().split_for_parts().0.merge(console::routes()).merge(calls)
}

/// What every route has in common, from the inside out; within the stack, the first is the outermost.
fn finish(routes: Router<Relay>, relay: &Relay) -> Router {
    with_fallbacks(routes)
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(map_response(problem::uniform))
        .layer(
            ServiceBuilder::new()
                // A sender's own id would let it write into the log.
                .layer(SetRequestHeaderLayer::overriding(REQUEST_ID, request_id))
                .layer(TraceLayer::new_for_http().make_span_with(span).on_response(record_status))
                .layer(PropagateRequestIdLayer::new(REQUEST_ID))
                .layer(SetResponseHeaderLayer::if_not_present(
                    HeaderName::from_static("x-content-type-options"),
                    HeaderValue::from_static("nosniff"),
                )),
        )
        .with_state(relay.clone())
}

fn with_fallbacks(routes: Router<Relay>) -> Router<Relay> {
    routes.fallback(problem::no_such_path).method_not_allowed_fallback(problem::no_such_method)
}

fn request_id<B>(_: &Request<B>) -> Option<HeaderValue> {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).ok()
}

/// Names the route, not the path: a path holds ids, and a query whatever the caller wrote.
fn span<B>(request: &Request<B>) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("unknown", MatchedPath::as_str);
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    tracing::info_span!("request", method = %request.method(), route, id, status = field::Empty)
}

fn record_status<B>(answer: &Response<B>, latency: Duration, span: &Span) {
    let status = answer.status().as_u16();
    span.record("status", status);
    tracing::debug!(latency_ms = latency.as_millis(), "answered {status}");
}

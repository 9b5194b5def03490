//! Whether the process lives, and whether it can take webhooks.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{Problem, Relay};

/// How long the store may take to show that it writes.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A good answer.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `alive` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Answers while the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, description = "It lives", body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// Whether webhooks can be taken.
///
/// That is: whether the store can write. A vendor's outage does not make the relay unready: the
/// work waits in the store.
#[utoipa::path(
    get, path = "/readyz", tag = "health", security(()),
    responses(
        (status = 200, description = "The store writes", body = Health),
        (status = 503, description = "The store cannot write; `detail` says why",
         body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn readyz(State(relay): State<Relay>) -> Result<Json<Health>, Problem> {
    match timeout(PING_TIMEOUT, relay.store.ping()).await {
        Ok(Ok(())) => Ok(Json(Health { status: "ready" })),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .with_detail(format!("the store did not answer within {} s", PING_TIMEOUT.as_secs()))),
    }
}

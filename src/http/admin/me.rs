//! `/me`: whose key it is.

use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::CommonProblems;
use super::auth::{Actor, Role};

/// The key that a call bears.
#[derive(Serialize, ToSchema)]
pub struct KeyView {
    /// Who holds it, as records show it.
    #[schema(example = "ann")]
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    #[schema(example = "operator")]
    pub role: &'static str,
}

/// Whose key it is, and what it may do.
#[utoipa::path(
    get, path = "/me", tag = "admin", operation_id = "read_me",
    responses((status = 200, description = "The key that the call bears", body = KeyView), CommonProblems),
)]
pub async fn read(Extension(actor): Extension<Actor>) -> Json<KeyView> {
    let role = match actor.role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    Json(KeyView { name: actor.name, role })
}

//! What administrators ask and do: one file a noun. Every path below [`PATH`] needs a key.
//!
//! Lists are pages: `limit` items, and `next_cursor` for the next page.

pub mod advice;
mod auth;
pub mod events;
pub mod feeds;
pub mod holds;
pub mod ledger;
pub mod me;
pub mod parked;
pub mod people;
mod query;
pub mod resync_report;
pub mod resyncs;
pub mod status;
pub mod sync;
pub mod targets;
pub mod timeline;
pub mod waiting;

pub use auth::{AdminKey, Keys, Role, authorize};
pub use query::{Listing, PageQuery, Params};

/// Where the admin API starts.
pub const PATH: &str = "/admin/v1";

/// What every call may answer beside its own answers, for the OpenAPI document.
#[derive(utoipa::IntoResponses)]
pub enum CommonProblems {
    /// The query or an id is not of its form; `detail` says what is allowed
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(super::Problem),
    /// No key, or not one that is known
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(super::Problem),
    /// The key's role does not allow it
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(super::Problem),
    /// The store did not answer; see `Retry-After`
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(super::Problem),
}

//! `openapi`: prints the description of the HTTP API.

use std::io::{self, Write};
use std::process::ExitCode;

use super::printed;
use crate::http::openapi::document;

/// Prints the `OpenAPI` document, as it stands in `openapi/`.
pub fn run() -> ExitCode {
    printed(io::stdout().lock().write_all(document().as_bytes()), ExitCode::SUCCESS)
}

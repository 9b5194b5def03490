//! The `scim-relay` program; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    scim_relay::cli::run()
}

//! The relay as a whole: the built program, real vendors, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests say what went wrong by panicking"
)]
#![expect(clippy::print_stdout, reason = "what a test measured is shown with its name")]
#![expect(clippy::disallowed_methods, reason = "whoever runs the tests sets them by the environment")]

mod admin;
mod commands;
mod conflicts;
mod convergence;
mod crash;
mod faults;
mod lifecycle;
mod line;
mod memberships;
mod priority;
mod support;
mod webhooks;

//! The relay as a whole: the built program, real vendors, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests say what went wrong by panicking"
)]

mod conflicts;
mod convergence;
mod crash;
mod line;
mod priority;
mod support;

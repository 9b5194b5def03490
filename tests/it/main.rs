//! The relay as a whole: the built program, real vendors, real faults.

#![expect(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "tests say what went wrong by panicking"
)]

mod conflicts;
mod convergence;
mod crash;
mod faults;
mod line;
mod memberships;
mod priority;
mod support;

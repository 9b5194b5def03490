//! The layers of a target's stack, one file each; [`stack`](super::stack) puts them in order.

mod allowance;
pub mod auth;
pub mod breaker;
pub mod concurrency;
pub mod gate;
pub mod limiter;
pub mod meter;
pub mod observe;
pub mod rate;
#[cfg(test)]
pub(in crate::target) mod testing;
pub mod timeout;
mod transit;
mod window;

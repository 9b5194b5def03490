//! Resync: reads a vendor's whole directory, compares it with ours, and reports what differs; told to
//! apply, it marks what drifted as work, and the normal way mends it.
//!
//! Nothing of it grows with the directory but rows in the store: the vendor's resources are kept there
//! page by page, and both sides are then compared page by page. What is kept with each page says where
//! to go on, so that a restart, or another replica, begins with the next one.

mod comparing;
mod engine;
mod known;
mod listing;
mod marks;
pub mod paging;
pub mod progress;
mod reading;
#[cfg(test)]
mod tests;

pub(super) use engine::keep;
pub use progress::{Mode, Phase, Progress, Scope, State};

/// Ended resyncs of a target whose reports are kept.
pub const REPORTS_KEPT: usize = 10;

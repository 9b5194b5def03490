//! Making it so: plans what to send, in which order, and records what became of it.
//!
//! One `dispatcher` per target waits until the target's stack is ready, and only then chooses the
//! most urgent resource, loads what is desired and known, plans with [`plan`] and sends. What is
//! sent is thereby as late as it can be: a hundred changes that came while the vendor was busy are
//! one call.

mod bulk;
mod catch_up;
pub mod clock;
mod discovery;
mod dispatcher;
pub mod drift;
pub mod foresee;
mod guard;
pub mod handle;
mod lanes;
mod large_groups;
pub mod leases;
mod memory;
mod outcome;
mod pack;
pub mod plan;
pub mod policy;
pub mod projector;
pub mod pruning;
mod record;
pub mod resync;
mod retry_budget;
mod run;
mod scopes;
mod shared;
#[cfg(test)]
mod stage;
mod step;

use std::time::Duration;

pub use bulk::standing::BulkReport;
pub use discovery::Discovery;
pub use memory::Recollection;
pub use run::End;

use crate::store::guard::Guard;
use crate::sync::policy::Policy;

/// Whether several operations may go to a target in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMode {
    /// Where the vendor takes them.
    Auto,
    /// Never.
    Off,
}

/// How one target is worked on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the target in the configuration.
    pub target: String,
    /// What the target allows and wants.
    pub policy: Policy,
    /// Failures charged to one resource before it is parked.
    pub attempts_max: u32,
    /// Longest wait for a notification before the store is asked.
    pub poll_interval: Duration,
    /// How long what the vendor does not know is left alone before another look.
    pub recheck_after: Duration,
    /// Whether several operations may go in one request.
    pub bulk: BulkMode,
    /// Whether the vendor is asked what it says of itself unless somebody wants it.
    pub discover: bool,
    /// How much may be taken away without a person; `None`: anything.
    pub guard: Option<Guard>,
    /// How often a resync is run without being asked for; `None`: never.
    pub resync: Option<ResyncSchedule>,
}

/// A resync every so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResyncSchedule {
    /// From the beginning of one to the next.
    pub every: Duration,
    /// What becomes of what differs.
    pub mode: resync::Mode,
}

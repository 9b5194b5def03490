//! One dispatcher for each target, however many replicas share the store.
//!
//! Every replica says now and then that it lives, and is told who else does and who holds which
//! target. From that each reckons the same even spread ([`balance`]), takes what is free and its own
//! part, and hands back what is over. A target is dispatched under a [`lease`](lease::Lease), which
//! its holder reckons to end somewhat earlier than the store does; past that moment it sends nothing,
//! whether or not it can reach the store. Whatever it was about is found by looking, by whoever holds
//! the target next.

pub mod balance;
pub mod hints;
pub mod keeper;
pub mod lease;

use std::time::Duration;

/// The times of leases.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a lease lasts at the store without a renewal.
    pub term: Duration,
    /// By how much earlier its holder reckons it to be over: what a call takes to be cut, and how
    /// unevenly the two clocks may run.
    pub margin: Duration,
    /// How long it lasts when the replica says goodbye: enough to end what is
    /// in flight, and not much more, since others wait for it where it is killed meanwhile.
    pub last_term: Duration,
    /// How soon the store is asked again that did not answer.
    pub retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            term: Duration::from_secs(15),
            margin: Duration::from_secs(2),
            last_term: Duration::from_secs(35),
            retry: Duration::from_secs(1),
        }
    }
}

impl Settings {
    /// How often leases are renewed: twice may fail.
    fn every(&self) -> Duration {
        self.term / 3
    }
}

#[cfg(test)]
mod tests;

//! Who dispatches what: the replicas that share a store, and their leases on targets.

use std::collections::{BTreeMap, BTreeSet};

/// The right to dispatch a target, for as long as its lease lasts. The epoch grows with every
/// take-over; a commit under an older one fails with [`StoreError::Deposed`](super::StoreError::Deposed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// Name of the target.
    pub target: String,
    /// The replica that dispatches.
    pub holder: String,
    /// Fencing number.
    pub epoch: u64,
}

/// The replicas and the leases at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// The replicas that live.
    pub replicas: BTreeSet<String>,
    /// Every enrolled target, and who holds it; `None` where nobody does, or the lease has run out.
    pub targets: BTreeMap<String, Option<Tenure>>,
}

/// What another replica did. Telling is best effort: whoever acts on hints asks the store now and
/// then as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A target has new work.
    Work {
        /// The target.
        target: String,
    },
    /// A target's state was set.
    State {
        /// The target.
        target: String,
    },
    /// A target was handed back, or a replica has come or gone.
    Leases,
    /// Hints may have been lost: ask for everything.
    Gap,
}

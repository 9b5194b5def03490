//! Stands in for parts that are written elsewhere.
#![expect(clippy::unused_async, reason = "placeholders")]
#![expect(unused_variables, reason = "placeholders")]

pub(super) mod commit {
    use crate::{
        clock::Timestamp,
        store::{Committed, Outcome, StoreError, Tenure, postgres::rows::Tx},
    };
    pub(in super::super) async fn commit(
        tx: &Tx<'_>,
        tenure: &Tenure,
        outcomes: &[Outcome],
        now: Timestamp,
    ) -> Result<Committed, StoreError> {
        unimplemented!()
    }
}
pub(super) mod events {
    use crate::store::{EventRecord, EventSummary, Page, StoreError, postgres::rows::Tx};
    pub(in super::super) async fn page(
        tx: &Tx<'_>,
        before: u64,
        limit: usize,
    ) -> Result<Page<EventSummary>, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn event(tx: &Tx<'_>, id: &str) -> Result<Option<EventRecord>, StoreError> {
        unimplemented!()
    }
}
pub(super) mod leases {
    use crate::store::{Roster, StoreError, Tenure, postgres::rows::Tx};
    use std::time::Duration;
    pub(in super::super) async fn attend(
        tx: &Tx<'_>,
        replica: &str,
        term: Duration,
    ) -> Result<Roster, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn take(
        tx: &Tx<'_>,
        target: &str,
        replica: &str,
        term: Duration,
    ) -> Result<Option<Tenure>, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn release(tx: &Tx<'_>, tenure: &Tenure) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn leave(tx: &Tx<'_>, replica: &str) -> Result<(), StoreError> {
        unimplemented!()
    }
}
pub(super) mod ledger {
    use crate::store::{LedgerFilter, LedgerRecord, Page, StoreError, postgres::rows::Tx};
    pub(in super::super) async fn page(
        tx: &Tx<'_>,
        filter: &LedgerFilter,
        before: u64,
        limit: usize,
    ) -> Result<Page<LedgerRecord>, StoreError> {
        unimplemented!()
    }
}
pub(super) mod links {
    use crate::{
        directory::{ExternalId, Kind},
        store::{StoreError, postgres::rows::Tx},
    };
    pub(in super::super) async fn holder_of(
        tx: &Tx<'_>,
        target: &str,
        kind: Kind,
        vendor_id: &str,
    ) -> Result<Option<ExternalId>, StoreError> {
        unimplemented!()
    }
}
pub(super) mod load {
    use crate::{
        directory::ResourceKey,
        store::{Dossier, StoreError, postgres::rows::Tx},
    };
    pub(in super::super) async fn load(
        tx: &Tx<'_>,
        target: &str,
        key: &ResourceKey,
        members: usize,
    ) -> Result<Option<Dossier>, StoreError> {
        unimplemented!()
    }
}
pub(super) mod parked {
    use crate::{
        clock::Timestamp,
        store::{Page, ParkedId, ParkedItem, StoreError, postgres::rows::Tx},
    };
    pub(in super::super) async fn page(
        tx: &Tx<'_>,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ParkedItem>, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn retry(
        tx: &Tx<'_>,
        target: &str,
        id: &ParkedId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn discard(
        tx: &Tx<'_>,
        target: &str,
        id: &ParkedId,
        actor: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        unimplemented!()
    }
}
pub(super) mod prune {
    use crate::{
        clock::Timestamp,
        store::{Pruned, Retention, StoreError, postgres::rows::Tx},
    };
    pub(in super::super) async fn prune(
        tx: &Tx<'_>,
        retention: &Retention,
        now: Timestamp,
        limit: usize,
    ) -> Result<Pruned, StoreError> {
        unimplemented!()
    }
}
pub(super) mod status {
    use crate::store::{Status, StoreError, postgres::rows::Tx};
    pub(in super::super) async fn status(tx: &Tx<'_>) -> Result<Status, StoreError> {
        unimplemented!()
    }
}
pub(super) mod targets {
    use crate::{
        clock::Timestamp,
        directory::ResourceKey,
        store::{Intent, StoreError, TargetRecord, TargetState, Tenure, postgres::rows::Tx},
    };
    pub(in super::super) async fn enrol(
        tx: &Tx<'_>,
        target: &str,
        directory: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn retire_all_but(tx: &Tx<'_>, targets: &[String]) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn record(
        tx: &Tx<'_>,
        target: &str,
    ) -> Result<Option<TargetRecord>, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn set_state(
        tx: &Tx<'_>,
        target: &str,
        state: &TargetState,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn set_memory(
        tx: &Tx<'_>,
        target: &str,
        memory: &serde_json::Value,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn intend(
        tx: &Tx<'_>,
        tenure: &Tenure,
        key: &ResourceKey,
        intent: &Intent,
    ) -> Result<(), StoreError> {
        unimplemented!()
    }
}
pub(super) mod work {
    use crate::{
        clock::Timestamp,
        store::{Lane, StoreError, WorkItem, postgres::rows::Tx},
    };
    pub(in super::super) async fn due(
        tx: &Tx<'_>,
        target: &str,
        lane: Lane,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<WorkItem>, StoreError> {
        unimplemented!()
    }
    pub(in super::super) async fn next_due(
        tx: &Tx<'_>,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        unimplemented!()
    }
}

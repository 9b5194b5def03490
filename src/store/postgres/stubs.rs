//! Stands in for parts that are written elsewhere.
#![expect(clippy::unused_async, reason = "placeholders")]
#![expect(unused_variables, reason = "placeholders")]

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

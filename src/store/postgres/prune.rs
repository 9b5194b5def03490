//! Deletes what is past its retention.

use crate::clock::Timestamp;
use crate::store::postgres::rows::Tx;
use crate::store::{Pruned, Retention, StoreError};

/// Nothing yet.
#[expect(clippy::unused_async, reason = "filled in next")]
pub(super) async fn prune(
    _tx: &Tx<'_>,
    _retention: &Retention,
    _now: Timestamp,
    _limit: usize,
) -> Result<Pruned, StoreError> {
    Ok(Pruned::default())
}

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::store::StoreError;

/// Commits that are to fail, shared between a test and the writer.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<AtomicU32>);

impl Faults {
    pub(super) fn strike(&self) -> Result<(), StoreError> {
        let due = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match due {
            Ok(_) => Err(StoreError::Unavailable { source: "a fault for the test".into() }),
            Err(_) => Ok(()),
        }
    }
}

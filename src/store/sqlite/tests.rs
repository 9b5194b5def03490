use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::store::conformance::{self, Home};

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

/// A file of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("relay.db")
    }
}

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.path(), Options::default()).unwrap())
    }
}

conformance::suite!(Place::new());

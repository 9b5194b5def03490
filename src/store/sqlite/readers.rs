//! Reads, each on one committed state, beside the writer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::store::StoreError;
use crate::store::sqlite::connection::open_reader;

/// Connections that read; opened as needed, kept, at most as many as permits.
#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf, connections_max: usize) -> Self {
        Self(Arc::new(Pool { path, idle: Mutex::default(), permits: Semaphore::new(connections_max) }))
    }

    /// Runs `read` in a read transaction, off the runtime's own threads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.0.permits.acquire().await.map_err(unavailable)?;
        let pool = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || pool.read(read)).await.map_err(unavailable)?
    }

    /// Closes the connections that are not in use.
    pub(super) fn close(&self) {
        self.0.idle().clear();
    }
}

impl Pool {
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let taken = self.idle().pop();
        let conn = match taken {
            Some(conn) => conn,
            None => open_reader(&self.path)?,
        };
        let transaction = conn.unchecked_transaction()?;
        let answer = read(&transaction);
        transaction.finish()?;
        // After a fault of the disk the connection is dropped, and the next read opens a new one.
        if !matches!(answer, Err(StoreError::Unavailable { .. })) {
            self.idle().push(conn);
        }
        answer
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable { source: Box::new(error) }
}

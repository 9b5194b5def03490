//! How SQLite is opened: the one connection that writes, and those that read.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;
use crate::store::sqlite::{OpenError, Options};

const STATEMENTS_CACHED: usize = 128;
/// Most memory for pages that the writer keeps, in KiB: what it changes, and the indexes above.
const WRITER_CACHE_KIB: i64 = 32 * 1_024;
/// The same for each reader. The upper pages of every index fit, and for others the system's cache of the
/// file is as near; there may be several readers, and what each of them keeps is the same.
const READER_CACHE_KIB: i64 = 8 * 1_024;
/// How long a statement waits for another connection's lock. Readers never hold one that blocks the
/// writer; only a checkpoint and crash recovery do.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection that writes, and how long its log is.
pub(super) struct WriteConnection {
    pub(super) conn: Connection,
    /// Pages in the write-ahead log after the last commit.
    pub(super) log_pages: Arc<AtomicU32>,
}

impl WriteConnection {
    /// Opens or creates the file. A commit returns once it is on the disk (`synchronous=FULL`).
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self, StoreError> {
        let mut conn = Connection::open(path)?;
        configure(&conn, WRITER_CACHE_KIB)?;
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "foreign_keys", false)?;
        if let Some(pages) = options.pages_max {
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        }
        let log_pages = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&log_pages);
        // The hook replaces SQLite's own checkpoint after every thousand pages.
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { conn, log_pages })
    }
}

/// Opens a connection that sees each committed state whole, and cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    configure(&conn, READER_CACHE_KIB)?;
    Ok(conn)
}

fn configure(conn: &Connection, cache_kib: i64) -> Result<(), StoreError> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // One plan for a statement, whatever is asked for: else SQLite prepares some of them anew each time.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// Creates the file if need be, for its owner's eyes only: it holds personal data. SQLite gives its
/// other files the same mode.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    open_or_create(path)
        .map(|_| ())
        .map_err(|source| OpenError::File { path: path.to_owned(), source }.into())
}

/// Takes the lock that keeps a second relay out, for as long as the answer is held. The lock is the
/// operating system's and ends with the process, however that ends.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let refused = |source| OpenError::File { path: name.clone(), source };
    let file = open_or_create(&name).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned() }.into()),
        Err(TryLockError::Error(source)) => Err(refused(source).into()),
    }
}

fn open_or_create(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

//! When the write-ahead log is copied into the database file. Readers and a busy writer can keep
//! SQLite's own checkpoints from ever finishing, and then the log grows without end.

use std::time::Duration;

use rusqlite::Connection;

use crate::store::StoreError;

/// Pages (4 KiB each) that the log gains before an idle writer copies them.
const IDLE_PAGES: u32 = 1_000;
/// Pages past which the writer stops to copy the log: 64 MiB.
const LOG_PAGES_MAX: u32 = 16_384;
/// How long that waits for readers of old pages.
const READERS_WAIT: Duration = Duration::from_millis(50);

/// How much of the log was copied.
#[derive(Default)]
pub(super) struct Checkpoints {
    pages_copied: u32,
}

impl Checkpoints {
    /// Copies the log if it is time. `log_pages` is the log's length, `idle` whether nobody waits.
    pub(super) fn after_commit(&mut self, conn: &Connection, log_pages: u32, idle: bool) {
        let Some(mode) = self.due(log_pages, idle) else { return };
        self.pages_copied = log_pages;
        if let Err(error) = checkpoint(conn, mode) {
            tracing::warn!(%error, "failed to copy the write-ahead log; it is tried again");
        }
    }

    /// Which checkpoint is due: the log starts over by itself once all of it is copied, and is then
    /// shorter than what was copied before.
    fn due(&mut self, log_pages: u32, idle: bool) -> Option<&'static str> {
        if log_pages < self.pages_copied {
            self.pages_copied = 0;
        }
        if log_pages - self.pages_copied < IDLE_PAGES {
            None
        } else if log_pages >= LOG_PAGES_MAX {
            Some("RESTART")
        } else {
            idle.then_some("PASSIVE")
        }
    }
}

fn checkpoint(conn: &Connection, mode: &str) -> Result<(), StoreError> {
    let usual: i64 = conn.pragma_query_value(None, "busy_timeout", |row| row.get(0))?;
    conn.busy_timeout(READERS_WAIT)?;
    let outcome = conn.pragma(None, "wal_checkpoint", mode, |_| Ok(()));
    conn.busy_timeout(Duration::from_millis(u64::try_from(usual).unwrap_or(0)))?;
    Ok(outcome?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_writer_copies_only_a_long_log_and_an_idle_one_sooner() {
        let mut checkpoints = Checkpoints::default();
        assert_eq!(checkpoints.due(IDLE_PAGES - 1, true), None);
        assert_eq!(checkpoints.due(IDLE_PAGES, true), Some("PASSIVE"));
        assert_eq!(checkpoints.due(LOG_PAGES_MAX - 1, false), None);
        assert_eq!(checkpoints.due(LOG_PAGES_MAX, false), Some("RESTART"));
    }

    #[test]
    fn what_was_copied_is_not_copied_again_until_the_log_has_grown_or_started_over() {
        let mut checkpoints = Checkpoints { pages_copied: 1_500 };
        assert_eq!(checkpoints.due(1_500, true), None);
        assert_eq!(checkpoints.due(2_500, true), Some("PASSIVE"));
        assert_eq!(checkpoints.due(1_200, true), Some("PASSIVE"), "the log has started over");
    }
}

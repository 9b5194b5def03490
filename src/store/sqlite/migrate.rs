//! Brings a database file to the shape that this version of the relay reads.

use rusqlite::Connection;

use crate::store::StoreError;
use crate::store::sqlite::OpenError;

/// In order; `PRAGMA user_version` counts those that a file has.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../../migrations/sqlite/0002_leases.sql"),
    include_str!("../../../migrations/sqlite/0003_retention.sql"),
    include_str!("../../../migrations/sqlite/0010_lost_members.sql"),
    include_str!("../../../migrations/sqlite/0011_errands.sql"),
    include_str!("../../../migrations/sqlite/0012_feeds.sql"),
    include_str!("../../../migrations/sqlite/0013_resyncs.sql"),
    include_str!("../../../migrations/sqlite/0014_guard.sql"),
    include_str!("../../../migrations/sqlite/0015_timeline.sql"),
    include_str!("../../../migrations/sqlite/0017_actors.sql"),
    include_str!("../../../migrations/sqlite/0018_ended.sql"),
];

/// Applies what is missing, each migration in a transaction. Refuses a file from a newer relay.
pub(super) fn migrate(conn: &Connection) -> Result<(), StoreError> {
    let held: usize = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if held > MIGRATIONS.len() {
        return Err(OpenError::Newer { found: held, known: MIGRATIONS.len() }.into());
    }
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(held) {
        let transaction = conn.unchecked_transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_apply_once_and_a_newer_file_is_refused() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        migrate(&conn).unwrap();
        conn.pragma_update(None, "user_version", MIGRATIONS.len() + 1).unwrap();
        let StoreError::Unavailable { source } = migrate(&conn).unwrap_err() else { panic!("another error") };
        assert!(source.to_string().contains("newer"), "{source}");
    }
}

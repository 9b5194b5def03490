//! Brings a database to the shape that this version of the relay reads.

use futures_util::FutureExt as _;

use crate::store::StoreError;
use crate::store::postgres::OpenError;
use crate::store::postgres::database::Database;
use crate::store::postgres::rows::Tx;

/// In order; `schema_migrations` names those that a database has.
const MIGRATIONS: &[&str] = &[
    include_str!("../../../migrations/postgres/0001_initial.sql"),
    include_str!("../../../migrations/postgres/0010_lost_members.sql"),
    include_str!("../../../migrations/postgres/0011_errands.sql"),
    include_str!("../../../migrations/postgres/0012_feeds.sql"),
    include_str!("../../../migrations/postgres/0013_resyncs.sql"),
    include_str!("../../../migrations/postgres/0014_guard.sql"),
    include_str!("../../../migrations/postgres/0015_timeline.sql"),
    include_str!("../../../migrations/postgres/0017_actors.sql"),
    include_str!("../../../migrations/postgres/0018_ended.sql"),
];

/// The lock that keeps two relays from migrating at once. Any number would do that nobody else uses.
const LOCK: i64 = 0x7363_696d_5f72_656c;

/// Applies what is missing, each migration in a transaction. Refuses the schema of a newer relay.
pub(super) async fn migrate(database: &Database) -> Result<(), StoreError> {
    while database.write_long(|tx, _| apply_next(tx).boxed()).await? {}
    Ok(())
}

/// Applies the first migration that the database lacks; false when it has all.
async fn apply_next(tx: &Tx<'_>) -> Result<bool, StoreError> {
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let held = held(tx).await?;
    let Some(migration) = MIGRATIONS.get(held) else {
        return match held - MIGRATIONS.len() {
            0 => Ok(false),
            _ => Err(OpenError::Newer { found: held, known: MIGRATIONS.len() }.into()),
        };
    };
    tx.batch_execute(migration).await?;
    let number = i32::try_from(held + 1).expect("there are few migrations");
    tx.execute(
        "INSERT INTO schema_migrations (version, applied_at) VALUES ($1, clock_timestamp())",
        &[&number],
    )
    .await?;
    Ok(true)
}

/// The number of the last migration that the database has; 0 when it is new.
async fn held(tx: &Tx<'_>) -> Result<usize, StoreError> {
    // Asked first: a role that may not create tables can run a database that is up to date.
    let exists = tx.query_one("SELECT to_regclass('schema_migrations') IS NOT NULL", &[]).await?;
    if !exists.try_get::<_, bool>(0)? {
        tx.batch_execute(
            "CREATE TABLE schema_migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)",
        )
        .await?;
    }
    let row = tx.query_one("SELECT coalesce(max(version), 0) FROM schema_migrations", &[]).await?;
    Ok(usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(0))
}

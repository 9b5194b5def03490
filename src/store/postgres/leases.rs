//! Who dispatches what, by the database's clock: replicas need not agree on the time.

use std::time::Duration;

use crate::store::postgres::rows::{Tx, big, execute, query, query_opt, unsigned};
use crate::store::{Roster, StoreError, Tenure};

/// Notes that a replica lives, renews its leases, and answers the roster.
pub(super) async fn attend(tx: &Tx<'_>, replica: &str, term: Duration) -> Result<Roster, StoreError> {
    let term = seconds(term);
    execute(
        tx,
        "INSERT INTO replicas (name, ends_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
         ON CONFLICT (name) DO UPDATE SET ends_at = excluded.ends_at",
        &[&replica, &term],
    )
    .await?;
    // Rows that another locks are somebody else's clearing up.
    execute(
        tx,
        "DELETE FROM replicas WHERE name IN (
             SELECT name FROM replicas WHERE ends_at <= clock_timestamp() AND name <> $1
             FOR UPDATE SKIP LOCKED)",
        &[&replica],
    )
    .await?;
    execute(
        tx,
        "UPDATE leases SET ends_at = clock_timestamp() + make_interval(secs => $2) WHERE target IN (
             SELECT target FROM leases WHERE holder = $1 ORDER BY target FOR NO KEY UPDATE)",
        &[&replica, &term],
    )
    .await?;
    roster(tx).await
}

async fn roster(tx: &Tx<'_>) -> Result<Roster, StoreError> {
    let mut roster = Roster::default();
    for row in query(tx, "SELECT name FROM replicas WHERE ends_at > clock_timestamp()", &[]).await? {
        roster.replicas.insert(row.try_get(0)?);
    }
    let held = "SELECT t.name, l.holder, l.epoch, l.ends_at > clock_timestamp() AND l.holder <> ''
                FROM targets AS t JOIN leases AS l ON l.target = t.name WHERE t.enrolled";
    for row in query(tx, held, &[]).await? {
        let target: String = row.try_get(0)?;
        let epoch = unsigned(&row, 2, "leases")?;
        let tenure = Tenure { target: target.clone(), holder: row.try_get(1)?, epoch };
        roster.targets.insert(target, row.try_get::<_, bool>(3)?.then_some(tenure));
    }
    Ok(roster)
}

/// Raises the epoch, so that whoever held the target is deposed; unless another's lease lasts.
pub(super) async fn take(
    tx: &Tx<'_>,
    target: &str,
    replica: &str,
    term: Duration,
) -> Result<Option<Tenure>, StoreError> {
    let taken = query_opt(
        tx,
        "UPDATE leases
         SET epoch = epoch + 1, holder = $2, ends_at = clock_timestamp() + make_interval(secs => $3)
         WHERE target = $1 AND (holder = $2 OR ends_at <= clock_timestamp()) RETURNING epoch",
        &[&target, &replica, &seconds(term)],
    )
    .await?;
    if let Some(row) = taken {
        let epoch = unsigned(&row, 0, "leases")?;
        return Ok(Some(Tenure { target: target.to_owned(), holder: replica.to_owned(), epoch }));
    }
    match query_opt(tx, "SELECT 1 FROM leases WHERE target = $1", &[&target]).await? {
        Some(_) => Ok(None),
        None => Err(StoreError::Deposed { target: target.to_owned() }),
    }
}

/// Hands a target back.
pub(super) async fn release(tx: &Tx<'_>, tenure: &Tenure) -> Result<(), StoreError> {
    let free = "UPDATE leases SET holder = '', ends_at = '-infinity' WHERE target = $1 AND epoch = $2";
    execute(tx, free, &[&tenure.target, &big(tenure.epoch)]).await?;
    Ok(())
}

/// Forgets that a replica lives.
pub(super) async fn leave(tx: &Tx<'_>, replica: &str) -> Result<(), StoreError> {
    execute(tx, "DELETE FROM replicas WHERE name = $1", &[&replica]).await?;
    Ok(())
}

fn seconds(term: Duration) -> f64 {
    term.as_secs_f64()
}

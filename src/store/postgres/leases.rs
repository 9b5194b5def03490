//! Who dispatches what. Terms run by the database's clock, which all replicas share.
//!
//! A commit locks the lease that it relies on with `FOR KEY SHARE`: a renewal does not wait for that,
//! a take-over does. No lock on a target is needed here, so that renewals wait for no merge either.

use std::time::Duration;

use crate::store::postgres::rows::{Tx, big, execute, query, query_one, query_opt, unsigned};
use crate::store::{Roster, StoreError, Tenure};

/// Notes that a replica lives, renews its leases, and answers the roster.
pub(super) async fn attend(tx: &Tx<'_>, replica: &str, term: Duration) -> Result<Roster, StoreError> {
    // Whom another replica is about to forget is passed over, so that no two wait for each other.
    execute(
        tx,
        "WITH gone AS (
             DELETE FROM replicas WHERE name IN (
                 SELECT name FROM replicas WHERE ends_at <= clock_timestamp() AND name <> $1
                 FOR UPDATE SKIP LOCKED)),
         renewed AS (
             UPDATE leases SET ends_at = clock_timestamp() + make_interval(secs => $2) WHERE holder = $1)
         INSERT INTO replicas (name, ends_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
         ON CONFLICT (name) DO UPDATE SET ends_at = excluded.ends_at",
        &[&replica, &term.as_secs_f64()],
    )
    .await?;
    roster(tx, replica).await
}

/// As of now. `replica` has just said that it lives, however short its term.
async fn roster(tx: &Tx<'_>, replica: &str) -> Result<Roster, StoreError> {
    let rows = query(
        tx,
        "SELECT true, name, NULL, NULL FROM replicas WHERE ends_at > clock_timestamp() OR name = $1
         UNION ALL
         SELECT false, t.name, l.holder, l.epoch FROM targets AS t
         LEFT JOIN leases AS l ON l.target = t.name AND l.holder <> '' AND l.ends_at > clock_timestamp()
         WHERE t.enrolled",
        &[&replica],
    )
    .await?;
    let mut roster = Roster::default();
    for row in &rows {
        let (is_replica, name): (bool, String) = (row.try_get(0)?, row.try_get(1)?);
        let holder: Option<String> = row.try_get(2)?;
        if is_replica {
            roster.replicas.insert(name);
            continue;
        }
        let tenure = match holder {
            None => None,
            Some(holder) => Some(Tenure { target: name.clone(), holder, epoch: unsigned(row, 3, "leases")? }),
        };
        roster.targets.insert(name, tenure);
    }
    Ok(roster)
}

/// Raises the epoch, so that whoever held the target is deposed; unless another's lease lasts. Waits
/// for a commit that is under way.
pub(super) async fn take(
    tx: &Tx<'_>,
    target: &str,
    replica: &str,
    term: Duration,
) -> Result<Option<Tenure>, StoreError> {
    // A commit's lock on the row gives way to an update of it, but not to this.
    query_opt(tx, "SELECT epoch FROM leases WHERE target = $1 FOR UPDATE", &[&target]).await?;
    let taken = query_opt(
        tx,
        "INSERT INTO leases AS held (target, holder, epoch, ends_at)
         SELECT name, $2, 1, clock_timestamp() + make_interval(secs => $3) FROM targets WHERE name = $1
         ON CONFLICT (target) DO UPDATE
         SET holder = excluded.holder, epoch = held.epoch + 1,
             ends_at = clock_timestamp() + make_interval(secs => $3)
         WHERE held.holder = excluded.holder OR held.ends_at <= clock_timestamp()
         RETURNING epoch",
        &[&target, &replica, &term.as_secs_f64()],
    )
    .await?;
    if let Some(row) = taken {
        let epoch = unsigned(&row, 0, "leases")?;
        return Ok(Some(Tenure { target: target.to_owned(), holder: replica.to_owned(), epoch }));
    }
    let known = "SELECT EXISTS (SELECT 1 FROM targets WHERE name = $1)";
    let known: bool = query_one(tx, known, &[&target]).await?.try_get(0)?;
    if known { Ok(None) } else { Err(StoreError::Deposed { target: target.to_owned() }) }
}

/// Hands a target back. Nothing where another has taken it since.
pub(super) async fn release(tx: &Tx<'_>, tenure: &Tenure) -> Result<(), StoreError> {
    let Tenure { target, epoch, .. } = tenure;
    let sql = "UPDATE leases SET holder = '', ends_at = '-infinity' WHERE target = $1 AND epoch = $2";
    execute(tx, sql, &[target, &big(*epoch)]).await?;
    Ok(())
}

/// Forgets that a replica lives.
pub(super) async fn leave(tx: &Tx<'_>, replica: &str) -> Result<(), StoreError> {
    execute(tx, "DELETE FROM replicas WHERE name = $1", &[&replica]).await?;
    Ok(())
}

//! Who dispatches what. One process opens the file at a time; within it the rules are the same as
//! between many replicas.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::store::{Roster, StoreError, Tenure};

/// Whoever held the file before has let go of it, or died.
pub(super) fn clear(conn: &Connection) -> Result<(), StoreError> {
    conn.execute_batch("DELETE FROM replicas; UPDATE targets SET lease_ends_at = 0;")?;
    Ok(())
}

/// Notes that a replica lives, renews its leases, and answers the roster.
pub(super) fn attend(conn: &Connection, replica: &str, term: Duration) -> Result<Roster, StoreError> {
    let now = SystemClock.now();
    let ends_at = now.after(term);
    conn.prepare_cached("DELETE FROM replicas WHERE ends_at <= ?1")?.execute([now])?;
    conn.prepare_cached(
        "INSERT INTO replicas (name, ends_at) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET ends_at = excluded.ends_at",
    )?
    .execute(params![replica, ends_at])?;
    conn.prepare_cached("UPDATE targets SET lease_ends_at = ?2 WHERE holder = ?1")?
        .execute(params![replica, ends_at])?;
    roster(conn, now)
}

fn roster(conn: &Connection, now: Timestamp) -> Result<Roster, StoreError> {
    let replicas = conn
        .prepare_cached("SELECT name FROM replicas")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let targets = conn
        .prepare_cached("SELECT name, holder, epoch, lease_ends_at FROM targets WHERE enrolled = 1")?
        .query_map([], |row| {
            let tenure = Tenure { target: row.get(0)?, holder: row.get(1)?, epoch: row.get(2)? };
            let lasts = row.get::<_, Timestamp>(3)? > now && !tenure.holder.is_empty();
            Ok((tenure.target.clone(), lasts.then_some(tenure)))
        })?
        .collect::<Result<_, _>>()?;
    Ok(Roster { replicas, targets })
}

/// Raises the epoch, so that whoever held the target is deposed; unless another's lease lasts.
pub(super) fn take(
    conn: &Connection,
    target: &str,
    replica: &str,
    term: Duration,
) -> Result<Option<Tenure>, StoreError> {
    let now = SystemClock.now();
    let epoch = conn
        .query_row(
            "UPDATE targets SET epoch = epoch + 1, holder = ?2, lease_ends_at = ?3
             WHERE name = ?1 AND (holder = ?2 OR lease_ends_at <= ?4) RETURNING epoch",
            params![target, replica, now.after(term), now],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(epoch) = epoch {
        return Ok(Some(Tenure { target: target.to_owned(), holder: replica.to_owned(), epoch }));
    }
    let known: bool =
        conn.query_row("SELECT EXISTS (SELECT 1 FROM targets WHERE name = ?1)", [target], |row| row.get(0))?;
    if known { Ok(None) } else { Err(StoreError::Deposed { target: target.to_owned() }) }
}

/// Hands a target back.
pub(super) fn release(conn: &Connection, tenure: &Tenure) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE targets SET holder = '', lease_ends_at = 0 WHERE name = ?1 AND epoch = ?2")?
        .execute(params![tenure.target, tenure.epoch])?;
    Ok(())
}

/// Forgets that a replica lives.
pub(super) fn leave(conn: &Connection, replica: &str) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM replicas WHERE name = ?1")?.execute([replica])?;
    Ok(())
}

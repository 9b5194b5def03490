//! Targets: whom they follow, and what is remembered of them.
//!
//! The lock of a target's row is held by whoever changes its work, links, waits and parked members:
//! [`lock`], [`check_tenure`] and [`enrol`] take it. Statements run on READ COMMITTED, so that each one
//! after the lock sees all that whoever held it before has committed.

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::store::derived::OWN;
use crate::store::postgres::rows::{
    Tx, big, execute, from_json, query, query_one, query_opt, storable, to_json,
};
use crate::store::postgres::{directory, ledger};
use crate::store::{Intent, Lane, LedgerEntry, StoreError, TargetRecord, TargetState, Tenure};

/// A target whose row is locked, and the moment of a change to it.
#[derive(Clone, Copy)]
pub(super) struct LockedTarget<'a> {
    /// The transaction that holds the lock.
    pub(super) tx: &'a Tx<'a>,
    /// The target.
    pub(super) name: &'a str,
    /// The directory that it follows.
    pub(super) directory: &'a str,
    /// When the change is made.
    pub(super) now: Timestamp,
}

/// Keeps others from changing what the target has to do, until the transaction ends. Answers the
/// directory that it follows; `None` where there is no such target.
pub(super) async fn lock(tx: &Tx<'_>, target: &str) -> Result<Option<String>, StoreError> {
    let sql = "SELECT directory FROM targets WHERE name = $1 FOR NO KEY UPDATE";
    let found = query_opt(tx, sql, &[&storable(target)]).await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

/// Like [`lock`], if the tenure still holds; nobody takes the target over before the transaction ends.
pub(super) async fn check_tenure(tx: &Tx<'_>, tenure: &Tenure) -> Result<String, StoreError> {
    let held = query_opt(
        tx,
        "SELECT t.directory FROM targets AS t JOIN leases AS l ON l.target = t.name
         WHERE t.name = $1 AND l.epoch = $2
         FOR NO KEY UPDATE OF t FOR KEY SHARE OF l",
        &[&tenure.target, &big(tenure.epoch)],
    )
    .await?;
    match held {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(StoreError::Deposed { target: tenure.target.clone() }),
    }
}

/// Makes a target follow a directory. All that the directory holds becomes work unless the target
/// has followed it without a gap. Locks the directory, then the target.
pub(super) async fn enrol(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Whatever is merged into the directory is committed before, and backfilled, or marked after. The
    // directory that was followed before needs no lock: who merges into it locks its followers too.
    directory::lock(tx, &[directory].into()).await?;
    if !add(tx, target, directory).await? {
        let sql = "SELECT directory, enrolled FROM targets WHERE name = $1 FOR NO KEY UPDATE";
        let row = query_one(tx, sql, &[&target]).await?;
        let (held, enrolled): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        if enrolled && held == directory {
            return Ok(());
        }
        if held != directory {
            forget_resources(tx, target).await?;
        }
        let sql = "UPDATE targets SET directory = $2, enrolled = true WHERE name = $1";
        execute(tx, sql, &[&target, &directory]).await?;
    }
    backfill(tx, target, directory, now).await
}

/// True when the target was not known.
async fn add(tx: &Tx<'_>, target: &str, directory: &str) -> Result<bool, StoreError> {
    let added = execute(
        tx,
        "INSERT INTO targets (name, directory, enrolled, state, memory) VALUES ($1, $2, true, $3, 'null')
         ON CONFLICT (name) DO NOTHING",
        &[&target, &directory, &to_json(&TargetState::Running)],
    )
    .await?;
    Ok(added > 0)
}

/// Ids of another directory name other people: nothing known under them may be kept.
async fn forget_resources(tx: &Tx<'_>, target: &str) -> Result<(), StoreError> {
    for table in ["work", "links", "waits", "parked_members", "guard_passed", "hold_items", "holds"] {
        execute(tx, &format!("DELETE FROM {table} WHERE target = $1"), &[&target]).await?;
    }
    for table in ["groups", "members"] {
        execute(tx, &format!("DELETE FROM {table} WHERE directory = $2 || $1"), &[&target, &OWN]).await?;
    }
    Ok(())
}

/// Marks all that the directory of a target holds. Locks the directory, then the target; one that has
/// come to follow another directory meanwhile was backfilled from that.
pub(super) async fn backfill_again(tx: &Tx<'_>, target: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT directory FROM targets WHERE name = $1";
    let Some(row) = query_opt(tx, sql, &[&storable(target)]).await? else { return Ok(()) };
    let directory: String = row.try_get(0)?;
    directory::lock(tx, &[directory.as_str()].into()).await?;
    if lock(tx, target).await?.as_ref() != Some(&directory) {
        return Ok(());
    }
    backfill(tx, target, &directory, now).await
}

/// Marks all that the directory holds: one statement per kind, whatever the number.
async fn backfill(tx: &Tx<'_>, target: &str, directory: &str, now: Timestamp) -> Result<(), StoreError> {
    // A row left from before keeps its urgency, but for a leaver who came back meanwhile.
    let again = "ON CONFLICT (target, kind, id) DO UPDATE
         SET lane = CASE WHEN work.kind = 0 AND work.lane = 0 THEN excluded.lane
                         ELSE least(work.lane, excluded.lane) END,
             state = 0, due = least(work.due, excluded.due), attempts = 0,
             generation = excluded.generation, failed_at = NULL, parked_at = NULL, reason = NULL";
    let users = format!(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, 0, id, CASE WHEN has_access THEN $4::smallint ELSE $5::smallint END, 0, $3, $3, 0,
                generation
         FROM users WHERE directory = $2 ORDER BY id {again}"
    );
    execute(tx, &users, &[&target, &directory, &now, &Lane::Backfill, &Lane::Deprovision]).await?;
    let groups = format!(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, 1, id, CASE WHEN is_deleted THEN $5::smallint ELSE $4::smallint END, 0, $3, $3, 0,
                generation
         FROM groups WHERE directory IN ($2, $6 || $1) ORDER BY id {again}"
    );
    execute(tx, &groups, &[&target, &directory, &now, &Lane::Backfill, &Lane::Revoke, &OWN]).await?;
    Ok(())
}

/// Stops marking work for every target that is not named. Locks these targets by name.
pub(super) async fn retire_all_but(tx: &Tx<'_>, targets: &[String]) -> Result<(), StoreError> {
    let sql = "SELECT name FROM targets WHERE enrolled AND name <> ALL ($1::text[])
               ORDER BY name FOR NO KEY UPDATE";
    let rows = query(tx, sql, &[&targets]).await?;
    let retired = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    execute(tx, "UPDATE targets SET enrolled = false WHERE name = ANY ($1::text[])", &[&retired]).await?;
    Ok(())
}

/// A target as stored.
pub(super) async fn record(tx: &Tx<'_>, target: &str) -> Result<Option<TargetRecord>, StoreError> {
    let sql = "SELECT directory, state, memory FROM targets WHERE name = $1";
    let Some(row) = query_opt(tx, sql, &[&storable(target)]).await? else { return Ok(None) };
    let state = from_json(row.try_get(1)?, "targets", target)?;
    let memory = from_json(row.try_get(2)?, "targets", target)?;
    Ok(Some(TargetRecord { directory: row.try_get(0)?, state, memory }))
}

/// Replaces a target's state.
pub(super) async fn set_state(tx: &Tx<'_>, target: &str, state: &TargetState) -> Result<(), StoreError> {
    let sql = "UPDATE targets SET state = $2 WHERE name = $1";
    execute(tx, sql, &[&storable(target), &to_json(state)]).await?;
    Ok(())
}

/// Replaces a target's state on a person's word. Locks the target.
pub(super) async fn order_state(
    tx: &Tx<'_>,
    target: &str,
    state: &TargetState,
    actor: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    note(tx, target, &LedgerEntry::state_set(now, state, actor)).await?;
    set_state(tx, target, state).await
}

/// Says in the ledger what was done to the target itself. Locks the target.
pub(super) async fn note(tx: &Tx<'_>, target: &str, entry: &LedgerEntry) -> Result<(), StoreError> {
    let Some(directory) = lock(tx, target).await? else { return Ok(()) };
    let at = LockedTarget { tx, name: target, directory: &directory, now: entry.at };
    ledger::append(&at, &[ledger::Line { key: None, base_generation: 0, generation: 0, entry }]).await
}

/// Replaces what was learned of a target.
pub(super) async fn set_memory(
    tx: &Tx<'_>,
    target: &str,
    memory: &serde_json::Value,
) -> Result<(), StoreError> {
    let sql = "UPDATE targets SET memory = $2 WHERE name = $1";
    execute(tx, sql, &[&storable(target), &to_json(memory)]).await?;
    Ok(())
}

/// Notes a call that is about to be sent, if the tenure still holds. It waits for no merge, whose marks
/// leave the note alone.
pub(super) async fn intend(
    tx: &Tx<'_>,
    tenure: &Tenure,
    key: &ResourceKey,
    intent: &Intent,
) -> Result<(), StoreError> {
    let sql = "SELECT epoch FROM leases WHERE target = $1 AND epoch = $2 FOR KEY SHARE";
    if query_opt(tx, sql, &[&tenure.target, &big(tenure.epoch)]).await?.is_none() {
        return Err(StoreError::Deposed { target: tenure.target.clone() });
    }
    let sql = "UPDATE work SET intent = $4 WHERE target = $1 AND kind = $2 AND id = $3";
    execute(tx, sql, &[&tenure.target, &key.kind, &key.id, &to_json(intent)]).await?;
    Ok(())
}

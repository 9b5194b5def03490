//! Targets: whom they follow, and what is remembered of them.
//!
//! [`lock`] is how everything that changes a target's work, links, waits or parked members begins:
//! what is done for one target is done in turn, whichever replica does it.

use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::store::postgres::directory;
use crate::store::postgres::rows::{Tx, execute, from_json, query, query_opt, to_json};
use crate::store::{Intent, Lane, StoreError, TargetRecord, TargetState, Tenure};

/// Makes a target follow a directory. All that the directory holds becomes work unless the target
/// has followed it without a gap.
pub(super) async fn enrol(tx: &Tx<'_>, target: &str, name: &str, now: Timestamp) -> Result<(), StoreError> {
    // A directory's lock comes before a target's, so the one that it followed is read without.
    let followed = directory_of(tx, target).await?;
    let both: BTreeSet<&str> = followed.as_deref().into_iter().chain([name]).collect();
    directory::lock(tx, &both).await?;
    let held = "SELECT directory, enrolled FROM targets WHERE name = $1 FOR NO KEY UPDATE";
    if let Some(row) = query_opt(tx, held, &[&target]).await? {
        let (held, enrolled): (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        if enrolled && held == name {
            return Ok(());
        }
        if held != name {
            forget_resources(tx, target).await?;
        }
        let again = "UPDATE targets SET directory = $2, enrolled = true WHERE name = $1";
        execute(tx, again, &[&target, &name]).await?;
    } else {
        let running = to_json(&TargetState::Running);
        let inserted = execute(
            tx,
            "INSERT INTO targets (name, directory, enrolled, state, memory) VALUES ($1, $2, true, $3, 'null')
             ON CONFLICT (name) DO NOTHING",
            &[&target, &name, &running],
        )
        .await?;
        if inserted == 0 {
            // Another replica was first, under the same directory's lock or another's.
            return Err(StoreError::Busy);
        }
        let lease = "INSERT INTO leases (target, holder, epoch, ends_at) VALUES ($1, '', 0, '-infinity')
                     ON CONFLICT (target) DO NOTHING";
        execute(tx, lease, &[&target]).await?;
    }
    backfill(tx, target, name, now).await
}

/// Ids of another directory name other people: nothing known under them may be kept.
async fn forget_resources(tx: &Tx<'_>, target: &str) -> Result<(), StoreError> {
    for table in ["work", "links", "waits", "parked_members"] {
        execute(tx, &format!("DELETE FROM {table} WHERE target = $1"), &[&target]).await?;
    }
    Ok(())
}

/// Marks all that the directory holds: one statement per kind, whatever the number.
async fn backfill(tx: &Tx<'_>, target: &str, name: &str, now: Timestamp) -> Result<(), StoreError> {
    // A row left from before keeps its urgency, but for a leaver who came back meanwhile.
    let again = "ON CONFLICT (target, kind, id) DO UPDATE
         SET lane = CASE WHEN work.kind = 0 AND work.lane = 0 THEN excluded.lane
                         ELSE least(work.lane, excluded.lane) END,
             state = 0, due = least(work.due, excluded.due), attempts = 0,
             generation = excluded.generation, failed_at = NULL, parked_at = NULL, reason = NULL";
    let users = format!(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, 0, id, CASE WHEN has_access THEN $4::smallint ELSE $5::smallint END, 0, $3::bigint, $3,
                0, generation
         FROM users WHERE directory = $2 ORDER BY id {again}"
    );
    execute(tx, &users, &[&target, &name, &now, &Lane::Backfill, &Lane::Deprovision]).await?;
    let groups = format!(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, 1, id, CASE WHEN is_deleted THEN $5::smallint ELSE $4::smallint END, 0, $3::bigint, $3,
                0, generation
         FROM groups WHERE directory = $2 ORDER BY id {again}"
    );
    execute(tx, &groups, &[&target, &name, &now, &Lane::Backfill, &Lane::Revoke]).await?;
    Ok(())
}

/// Stops marking work for every target that is not named.
pub(super) async fn retire_all_but(tx: &Tx<'_>, targets: &[String]) -> Result<(), StoreError> {
    let retiring = "SELECT name, directory FROM targets WHERE enrolled AND NOT name = ANY($1::text[])";
    let rows = query(tx, retiring, &[&targets]).await?;
    let found = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let (names, directories): (Vec<String>, BTreeSet<String>) =
        found.collect::<Result<Vec<_>, StoreError>>()?.into_iter().unzip();
    if names.is_empty() {
        return Ok(());
    }
    directory::lock(tx, &directories.iter().map(String::as_str).collect()).await?;
    query(
        tx,
        "SELECT name FROM targets WHERE name = ANY($1::text[]) ORDER BY name FOR NO KEY UPDATE",
        &[&names],
    )
    .await?;
    execute(tx, "UPDATE targets SET enrolled = false WHERE name = ANY($1::text[])", &[&names]).await?;
    Ok(())
}

/// Keeps others from changing what a target has to do; answers the directory that it follows.
pub(super) async fn lock(tx: &Tx<'_>, target: &str) -> Result<Option<String>, StoreError> {
    let locked = "SELECT directory FROM targets WHERE name = $1 FOR NO KEY UPDATE";
    let row = query_opt(tx, locked, &[&target]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Locks the target, and answers the directory that it follows, if the tenure still holds. A
/// take-over waits until this transaction has ended.
pub(super) async fn lock_under(tx: &Tx<'_>, tenure: &Tenure) -> Result<String, StoreError> {
    let deposed = || StoreError::Deposed { target: tenure.target.clone() };
    let directory = lock(tx, &tenure.target).await?.ok_or_else(deposed)?;
    let epoch = i64::try_from(tenure.epoch).map_err(|_| deposed())?;
    let held = "SELECT 1 FROM leases WHERE target = $1 AND epoch = $2 FOR SHARE";
    query_opt(tx, held, &[&tenure.target, &epoch]).await?.ok_or_else(deposed)?;
    Ok(directory)
}

/// The directory that a target follows.
pub(super) async fn directory_of(tx: &Tx<'_>, target: &str) -> Result<Option<String>, StoreError> {
    let row = query_opt(tx, "SELECT directory FROM targets WHERE name = $1", &[&target]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// A target as stored.
pub(super) async fn record(tx: &Tx<'_>, target: &str) -> Result<Option<TargetRecord>, StoreError> {
    let found = "SELECT directory, state, memory FROM targets WHERE name = $1";
    let Some(row) = query_opt(tx, found, &[&target]).await? else { return Ok(None) };
    let state = from_json(row.try_get(1)?, "targets", target)?;
    let memory = from_json(row.try_get(2)?, "targets", target)?;
    Ok(Some(TargetRecord { directory: row.try_get(0)?, state, memory }))
}

/// Replaces a target's state.
pub(super) async fn set_state(tx: &Tx<'_>, target: &str, state: &TargetState) -> Result<(), StoreError> {
    execute(tx, "UPDATE targets SET state = $2 WHERE name = $1", &[&target, &to_json(state)]).await?;
    Ok(())
}

/// Replaces what was learned of a target.
pub(super) async fn set_memory(
    tx: &Tx<'_>,
    target: &str,
    memory: &serde_json::Value,
) -> Result<(), StoreError> {
    execute(tx, "UPDATE targets SET memory = $2 WHERE name = $1", &[&target, &to_json(memory)]).await?;
    Ok(())
}

/// Notes a call that is about to be sent.
pub(super) async fn intend(
    tx: &Tx<'_>,
    tenure: &Tenure,
    key: &ResourceKey,
    intent: &Intent,
) -> Result<(), StoreError> {
    lock_under(tx, tenure).await?;
    let noted = "UPDATE work SET intent = $4 WHERE target = $1 AND kind = $2 AND id = $3";
    execute(tx, noted, &[&tenure.target, &key.kind, &key.id, &to_json(intent)]).await?;
    Ok(())
}

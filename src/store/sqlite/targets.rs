//! Targets: whom they follow, who dispatches them, and what is remembered of them.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::store::derived::OWN;
use crate::store::sqlite::ledger;
use crate::store::sqlite::rows::{from_json, to_json};
use crate::store::{Intent, Lane, LedgerEntry, StoreError, TargetRecord, TargetState, Tenure};

/// Makes a target follow a directory. All that the directory holds becomes work unless the target
/// has followed it without a gap.
pub(super) fn enrol(
    conn: &Connection,
    target: &str,
    directory: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let held: Option<(String, bool)> = conn
        .query_row("SELECT directory, enrolled FROM targets WHERE name = ?1", [target], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    match held {
        Some((held, true)) if held == directory => return Ok(()),
        Some((held, _)) => {
            if held != directory {
                forget_resources(conn, target)?;
            }
            conn.execute(
                "UPDATE targets SET directory = ?2, enrolled = 1 WHERE name = ?1",
                params![target, directory],
            )?;
        }
        None => {
            conn.execute(
                "INSERT INTO targets (name, directory, enrolled, state, memory, holder, epoch)
                 VALUES (?1, ?2, 1, ?3, 'null', '', 0)",
                params![target, directory, to_json(&TargetState::Running)],
            )?;
        }
    }
    backfill(conn, target, directory, now)
}

/// Ids of another directory name other people: nothing known under them may be kept.
fn forget_resources(conn: &Connection, target: &str) -> Result<(), StoreError> {
    for table in ["work", "links", "waits", "parked_members", "guard_passed", "hold_items", "holds"] {
        conn.execute(&format!("DELETE FROM {table} WHERE target = ?1"), [target])?;
    }
    for table in ["groups", "members"] {
        conn.execute(&format!("DELETE FROM {table} WHERE directory = ?2 || ?1"), params![target, OWN])?;
    }
    Ok(())
}

/// Marks all that the directory of a target holds.
pub(super) fn backfill_again(conn: &Connection, target: &str, now: Timestamp) -> Result<(), StoreError> {
    match directory_of(conn, target)? {
        Some(directory) => backfill(conn, target, &directory, now),
        None => Ok(()),
    }
}

/// Marks all that the directory holds: one statement per kind, whatever the number.
fn backfill(conn: &Connection, target: &str, directory: &str, now: Timestamp) -> Result<(), StoreError> {
    // A row left from before keeps its urgency, but for a leaver who came back meanwhile.
    let again = "ON CONFLICT DO UPDATE
         SET lane = CASE WHEN kind = 0 AND lane = 0 THEN excluded.lane ELSE min(lane, excluded.lane) END,
             state = 0, due = min(due, excluded.due), attempts = 0, generation = excluded.generation,
             failed_at = NULL, parked_at = NULL, reason = NULL";
    let users = format!(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT ?1, 0, id, CASE has_access WHEN 1 THEN ?4 ELSE ?5 END, 0, ?3, ?3, 0, generation
         FROM users WHERE directory = ?2 ORDER BY id {again}"
    );
    conn.execute(&users, params![target, directory, now, Lane::Backfill, Lane::Deprovision])?;
    let groups = format!(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT ?1, 1, id, CASE is_deleted WHEN 0 THEN ?4 ELSE ?5 END, 0, ?3, ?3, 0, generation
         FROM groups WHERE directory IN (?2, ?6 || ?1) ORDER BY id {again}"
    );
    conn.execute(&groups, params![target, directory, now, Lane::Backfill, Lane::Revoke, OWN])?;
    Ok(())
}

/// Stops marking work for every target that is not named.
pub(super) fn retire_all_but(conn: &Connection, targets: &[String]) -> Result<(), StoreError> {
    let enrolled: Vec<String> = conn
        .prepare("SELECT name FROM targets WHERE enrolled = 1")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in enrolled.iter().filter(|name| !targets.contains(name)) {
        conn.execute("UPDATE targets SET enrolled = 0 WHERE name = ?1", [name])?;
    }
    Ok(())
}

/// The directory that the target follows, if the tenure still holds.
pub(super) fn check_tenure(conn: &Connection, tenure: &Tenure) -> Result<String, StoreError> {
    let directory = conn
        .prepare_cached("SELECT directory FROM targets WHERE name = ?1 AND epoch = ?2")?
        .query_row(params![tenure.target, tenure.epoch], |row| row.get(0))
        .optional()?;
    directory.ok_or_else(|| StoreError::Deposed { target: tenure.target.clone() })
}

/// The directory that a target follows.
pub(super) fn directory_of(conn: &Connection, target: &str) -> Result<Option<String>, StoreError> {
    let mut statement = conn.prepare_cached("SELECT directory FROM targets WHERE name = ?1")?;
    Ok(statement.query_row([target], |row| row.get(0)).optional()?)
}

/// A target as stored.
pub(super) fn record(conn: &Connection, target: &str) -> Result<Option<TargetRecord>, StoreError> {
    let found: Option<(String, String, String)> = conn
        .prepare_cached("SELECT directory, state, memory FROM targets WHERE name = ?1")?
        .query_row([target], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((directory, state, memory)) = found else { return Ok(None) };
    let state = from_json(&state, "targets", target)?;
    let memory = from_json(&memory, "targets", target)?;
    Ok(Some(TargetRecord { directory, state, memory }))
}

/// Replaces a target's state.
pub(super) fn set_state(conn: &Connection, target: &str, state: &TargetState) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE targets SET state = ?2 WHERE name = ?1")?
        .execute(params![target, to_json(state)])?;
    Ok(())
}

/// Replaces a target's state on a person's word.
pub(super) fn order_state(
    conn: &Connection,
    target: &str,
    state: &TargetState,
    actor: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    set_state(conn, target, state)?;
    note(conn, target, &LedgerEntry::state_set(now, state, actor))
}

/// Says in the ledger what was done to the target itself.
pub(super) fn note(conn: &Connection, target: &str, entry: &LedgerEntry) -> Result<(), StoreError> {
    match directory_of(conn, target)? {
        Some(directory) => ledger::append_entry(conn, target, &directory, None, (0, 0), entry),
        None => Ok(()),
    }
}

/// Replaces what was learned of a target.
pub(super) fn set_memory(
    conn: &Connection,
    target: &str,
    memory: &serde_json::Value,
) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE targets SET memory = ?2 WHERE name = ?1")?
        .execute(params![target, to_json(memory)])?;
    Ok(())
}

/// Notes a call that is about to be sent.
pub(super) fn intend(
    conn: &Connection,
    tenure: &Tenure,
    key: &ResourceKey,
    intent: &Intent,
) -> Result<(), StoreError> {
    check_tenure(conn, tenure)?;
    conn.prepare_cached("UPDATE work SET intent = ?4 WHERE target = ?1 AND kind = ?2 AND id = ?3")?
        .execute(params![tenure.target, key.kind, key.id, to_json(intent)])?;
    Ok(())
}

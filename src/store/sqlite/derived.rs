//! Groups that a target derives from attributes: who belongs to them is known once a user was judged.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::directory::{Group, Kind};
use crate::store::derived::{Judgement, OWN, gathering, version};
use crate::store::sqlite::rows::to_json;
use crate::store::{Lane, StoreError};

/// Turns what differs from before into memberships and work. True when something did.
pub(super) fn judge(
    conn: &Connection,
    target: &str,
    judgements: &[Judgement<'_>],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let mut changed = false;
    for judgement in judgements {
        changed |= judge_one(conn, target, judgement, now)?;
    }
    Ok(changed)
}

fn judge_one(
    conn: &Connection,
    target: &str,
    judgement: &Judgement<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let &Judgement { user, group, present } = judgement;
    let home = format!("{OWN}{target}");
    let held: Option<bool> = conn
        .prepare_cached(
            "SELECT present FROM members WHERE directory = ?1 AND group_id = ?2 AND user_id = ?3",
        )?
        .query_row(params![home, group, user], |row| row.get(0))
        .optional()?;
    if held.unwrap_or(false) == present {
        return Ok(false);
    }
    let version = version(now);
    let name = group.derived_name().unwrap_or_default();
    let (generation, sequence): (u64, u64) = conn
        .prepare_cached(
            "INSERT INTO groups (directory, id, generation, member_sequence, is_deleted, body)
             VALUES (?1, ?2, 1, 1, 0, ?3)
             ON CONFLICT DO UPDATE SET generation = generation + 1, member_sequence = member_sequence + 1
             RETURNING generation, member_sequence",
        )?
        .query_row(params![home, group, to_json(&Group::named(name, &version))], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    conn.prepare_cached(
        "INSERT INTO members (directory, group_id, user_id, present, sequence, version, ended_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, iif(?4, NULL, ?6))
         ON CONFLICT DO UPDATE
         SET present = excluded.present, sequence = excluded.sequence, version = excluded.version,
             ended_since = excluded.ended_since",
    )?
    .execute(params![home, group, user, present, sequence, version])?;
    mark(conn, target, judgement, generation, now)?;
    Ok(true)
}

/// The group's work is as old as the user's that led to it.
fn mark(
    conn: &Connection,
    target: &str,
    judgement: &Judgement<'_>,
    generation: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lane = Lane::of_group(!judgement.present);
    conn.prepare_cached(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT ?1, ?2, ?3, ?4, 0, ?5,
                coalesce((SELECT since FROM work WHERE target = ?1 AND kind = 0 AND id = ?6), ?7), 0, ?8
         ON CONFLICT DO UPDATE
         SET lane = min(lane, excluded.lane), state = 0,
             due = CASE state WHEN 0 THEN min(due, excluded.due) ELSE excluded.due END,
             attempts = 0, generation = excluded.generation,
             failed_at = NULL, parked_at = NULL, reason = NULL",
    )?
    .execute(params![
        target,
        Kind::Group,
        judgement.group,
        lane,
        now.after(gathering(lane)),
        judgement.user,
        now,
        generation
    ])?;
    Ok(())
}

/// Makes derived groups due that wait for more members, once no user waits to be judged. True when
/// there was one.
pub(super) fn release(conn: &Connection, target: &str, now: Timestamp) -> Result<bool, StoreError> {
    let released = conn
        .prepare_cached(
            "UPDATE work SET due = ?2
             WHERE target = ?1 AND kind = 1 AND id >= 'derived:' AND id < 'derived;'
               AND state = 0 AND attempts = 0 AND due > ?2
               AND NOT EXISTS (SELECT 1 FROM work AS u INDEXED BY work_in_order
                               WHERE u.target = ?1 AND u.state = 0 AND u.lane IN (?3, ?4) AND u.kind = 0)",
        )?
        .execute(params![target, now, Lane::Change, Lane::Backfill])?;
    Ok(released > 0)
}

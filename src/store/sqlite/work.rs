//! Work rows: one per (target, resource), marked by merges, read in order of lane and due time.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Snapshot};
use crate::store::derived::OWN;
use crate::store::sqlite::rows::{PARKED, PENDING, WAITING, from_json, key_at};
use crate::store::{Intent, Lane, Scopes, StoreError, WorkItem, intake};

/// Marks what a merge has changed as work of every target that follows the directory, and answers
/// these targets. `received` says when the change of a resource was received.
pub(super) fn mark(
    conn: &Connection,
    directory: &str,
    snapshot: &Snapshot,
    scopes: Option<&dyn Scopes>,
    received: impl Fn(&ResourceKey) -> Timestamp,
) -> Result<BTreeSet<String>, StoreError> {
    let marks = marks(snapshot);
    if marks.is_empty() {
        return Ok(BTreeSet::new());
    }
    let targets: BTreeSet<String> = conn
        .prepare_cached("SELECT name FROM targets WHERE directory = ?1 AND enrolled = 1")?
        .query_map([directory], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    // A row that is in line keeps its place; one that waits, failed or is parked is due at once. A
    // user's lane follows what is desired now; a group's removals stay urgent until they are sent.
    let mut statement = conn.prepare_cached(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, 0, ?6)
         ON CONFLICT DO UPDATE
         SET lane = CASE kind WHEN 0 THEN excluded.lane ELSE min(lane, excluded.lane) END,
             state = 0,
             due = CASE state WHEN 0 THEN min(due, excluded.due) ELSE excluded.due END,
             attempts = 0, generation = excluded.generation,
             failed_at = NULL, parked_at = NULL, reason = NULL",
    )?;
    for target in &targets {
        for Mark { key, lane, generation } in &marks {
            statement.execute(params![target, key.kind, key.id, lane, received(key), generation])?;
        }
        if let Some(scopes) = scopes {
            hasten(conn, target, intake::outside(snapshot, target, scopes))?;
        }
    }
    Ok(targets)
}

/// Puts users who are marked already in the leavers' lane, where they have an account to lose.
fn hasten<'a>(
    conn: &Connection,
    target: &str,
    users: impl Iterator<Item = &'a ExternalId>,
) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "UPDATE work SET lane = ?3 WHERE target = ?1 AND kind = 0 AND id = ?2
           AND EXISTS (SELECT 1 FROM links AS l WHERE l.target = ?1 AND l.kind = 0 AND l.id = ?2
                       AND l.vendor_id IS NOT NULL)",
    )?;
    for user in users {
        statement.execute(params![target, user, Lane::Deprovision])?;
    }
    Ok(())
}

struct Mark {
    key: ResourceKey,
    lane: Lane,
    generation: u64,
}

fn marks(snapshot: &Snapshot) -> Vec<Mark> {
    let touched = snapshot.touched();
    let users = touched.users.iter().filter(|(_, changed)| **changed).filter_map(|(id, _)| {
        let user = snapshot.user(id)?;
        let key = ResourceKey::user(id.clone());
        Some(Mark { key, lane: Lane::of_user(user), generation: user.generation })
    });
    let groups = touched.groups.iter().filter(|(_, how)| how.changed).filter_map(|(id, how)| {
        let generation = snapshot.group(id)?.generation;
        let key = ResourceKey::group(id.clone());
        Some(Mark { key, lane: Lane::of_group(how.removals), generation })
    });
    users.chain(groups).collect()
}

/// Makes a row of work for a user that is to be looked up, unless there is one.
pub(super) fn seek_user(
    conn: &Connection,
    target: &str,
    directory: &str,
    user: &ExternalId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = conn
        .prepare_cached(
            "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
             SELECT ?1, 0, ?3, ?5, 0, ?4, ?4, 0,
                    coalesce((SELECT generation FROM users WHERE directory = ?2 AND id = ?3), 0)
             WHERE NOT EXISTS (SELECT 1 FROM links WHERE target = ?1 AND kind = 0 AND id = ?3)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![target, directory, user, now, Lane::Change])?;
    Ok(inserted > 0)
}

/// Makes everything that waits for a user due. Rows that are in line, or parked, keep their place; a
/// call may be under way for them, whose plan does not know of the user yet, so that is noted.
pub(super) fn wake_waiters(
    conn: &Connection,
    target: &str,
    directory: &str,
    user: &ExternalId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let woken = conn
        .prepare_cached(
            "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
             SELECT w.target, w.kind, w.id, CASE w.kind WHEN 0 THEN ?5 ELSE ?6 END, 0, ?4, ?4, 0,
                    coalesce(CASE w.kind
                        WHEN 0 THEN (SELECT generation FROM users WHERE directory = ?2 AND id = w.id)
                        ELSE (SELECT generation FROM groups WHERE directory IN (?2, ?7 || ?1) AND id = w.id)
                    END, 0)
             FROM waits AS w WHERE w.target = ?1 AND w.user_id = ?3
             ON CONFLICT DO UPDATE
             SET woken = 1, state = CASE state WHEN 1 THEN 0 ELSE state END,
                 due = CASE state WHEN 1 THEN excluded.due ELSE due END,
                 reason = CASE state WHEN 1 THEN NULL ELSE reason END",
        )?
        .execute(params![target, directory, user, now, Lane::Change, Lane::Membership, OWN])?;
    Ok(woken > 0)
}

/// Makes one resource due: inserted, woken, or left in line. A row that waits for a person stays so.
pub(super) fn make_due(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
    generation: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lane = match key.kind {
        Kind::User => Lane::Change,
        Kind::Group => Lane::Membership,
    };
    conn.prepare_cached(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         VALUES (?1, ?2, ?3, ?4, 0, ?5, ?5, 0, ?6)
         ON CONFLICT DO UPDATE
         SET state = 0, due = min(due, excluded.due), attempts = 0, reason = NULL WHERE state < 2",
    )?
    .execute(params![target, key.kind, key.id, lane, now, generation])?;
    Ok(())
}

/// The due rows of one lane, oldest first, users before groups.
pub(super) fn due(
    conn: &Connection,
    target: &str,
    lane: Lane,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<WorkItem>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, id, lane, generation, since, attempts, failed_at, intent, due FROM (
             SELECT * FROM (SELECT * FROM work WHERE target = ?1 AND state = 0 AND lane = ?2 AND due <= ?3
                            ORDER BY due, kind, id LIMIT ?4)
             UNION ALL
             SELECT * FROM (SELECT * FROM work WHERE target = ?1 AND state = 1 AND lane = ?2 AND due <= ?3
                            ORDER BY due, kind, id LIMIT ?4))
         ORDER BY due, kind, id LIMIT ?4",
    )?;
    let rows = statement.query_map(params![target, lane, now, limit], raw_item)?;
    rows.map(|row| finish_item(row?)).collect()
}

/// When the next row that is not due yet will be.
pub(super) fn next_due(
    conn: &Connection,
    target: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    // One seek per lane and state; a single query would read every row that is due already.
    let mut statement = conn.prepare_cached(
        "SELECT min(due) FROM work WHERE target = ?1 AND state = ?2 AND lane = ?3 AND due > ?4",
    )?;
    let mut next: Option<Timestamp> = None;
    for state in [PENDING, WAITING] {
        for lane in Lane::ALL {
            let due = statement.query_row(params![target, state, lane, now], |row| row.get(0))?;
            next = match (next, due) {
                (Some(a), Some(b)) => Some(std::cmp::min::<Timestamp>(a, b)),
                (a, b) => a.or(b),
            };
        }
    }
    Ok(next)
}

/// A resource's row, unless it waits for a person.
pub(super) fn item(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
) -> Result<Option<WorkItem>, StoreError> {
    let row = conn
        .prepare_cached(
            "SELECT kind, id, lane, generation, since, attempts, failed_at, intent FROM work
             WHERE target = ?1 AND kind = ?2 AND id = ?3 AND state < ?4",
        )?
        .query_row(params![target, key.kind, key.id, PARKED], raw_item)
        .optional()?;
    row.map(finish_item).transpose()
}

fn raw_item(row: &SqlRow<'_>) -> rusqlite::Result<(WorkItem, Option<String>)> {
    let item = WorkItem {
        key: key_at(row, 0)?,
        lane: row.get(2)?,
        generation: row.get(3)?,
        since: row.get(4)?,
        attempts: row.get(5)?,
        failed_at: row.get(6)?,
        intent: None,
    };
    Ok((item, row.get(7)?))
}

fn finish_item((item, intent): (WorkItem, Option<String>)) -> Result<WorkItem, StoreError> {
    let intent: Option<Intent> =
        intent.map(|text| from_json(&text, "work", item.key.id.as_str())).transpose()?;
    Ok(WorkItem { intent, ..item })
}

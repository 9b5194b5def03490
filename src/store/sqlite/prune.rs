//! Deletes what is past its retention, a few rows at a time.
//!
//! Each statement looks at no more than the oldest rows of its sort, found by an index or the table's
//! own order, so that the writer is never held up. What may not go yet is looked at again next time.
//!
//! A tombstone goes once every enrolled target has followed it. With a user or group go its links: a
//! resource that comes back begins at generation 1 again, which no link may be ahead of. Nobody
//! waits for a user who is gone so long.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::derived::OWN;
use crate::store::{Pruned, Retention, StoreError};

/// Rows that are looked at for each row that may be deleted.
const LOOKED_AT_PER_ROW: usize = 4;

/// One batch.
pub(super) fn prune(
    conn: &Connection,
    retention: &Retention,
    now: Timestamp,
    limit: usize,
) -> Result<Pruned, StoreError> {
    let horizons = retention.horizons(now);
    let events = prune_events(conn, horizons.events, limit)?;
    let ledger = conn
        .prepare_cached(
            "DELETE FROM ledger WHERE at < ?1 AND seq IN (SELECT seq FROM ledger ORDER BY seq LIMIT ?2)",
        )?
        .execute(params![horizons.ledger, limit])?;
    let guard = prune_guard(conn, horizons.guard, limit)?;
    let members = prune_members(conn, &horizons.tombstones, limit)?;
    let resources = prune_resources(conn, &USERS, &horizons.tombstones, limit)?
        + prune_resources(conn, &GROUPS, &horizons.tombstones, limit)?;
    Ok(Pruned {
        events: events as u64,
        ledger: ledger as u64,
        tombstones: (members + resources) as u64,
        guard: guard.iter().sum::<usize>() as u64,
        more: [events, ledger, members, resources]
            .into_iter()
            .chain(guard)
            .any(|deleted| deleted >= limit.max(1)),
    })
}

/// Events that are merged, with what became of them. Ids that the set of known ids still holds stay.
fn prune_events(conn: &Connection, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let mut oldest = conn.prepare_cached(
        "SELECT seq FROM (
             SELECT seq, received_at FROM events
             WHERE seq <= (SELECT value FROM counters WHERE name = 'projected')
               AND seq NOT IN (SELECT seq FROM events_ahead) AND seq NOT IN (SELECT seq FROM events_unreadable)
             ORDER BY seq LIMIT ?1)
         WHERE received_at < ?2",
    )?;
    let numbers: Vec<u64> =
        oldest.query_map(params![limit, before], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for table in ["event_memberships", "event_changes", "events"] {
        let mut delete = conn.prepare_cached(&format!("DELETE FROM {table} WHERE seq = ?1"))?;
        for number in &numbers {
            delete.execute([number])?;
        }
    }
    conn.prepare_cached(
        "DELETE FROM event_ids WHERE seq IN (
             SELECT seq FROM event_ids
             WHERE seq <= (SELECT value FROM counters WHERE name = 'forgotten')
               AND seq < (SELECT coalesce(min(seq), 9223372036854775807) FROM events)
             ORDER BY seq LIMIT ?1)",
    )?
    .execute([limit])?;
    conn.prepare_cached(
        "DELETE FROM event_repeats WHERE (source, event_id) IN (
             SELECT source, event_id FROM event_repeats WHERE last_at < ?1 ORDER BY last_at LIMIT ?2)",
    )?
    .execute(params![before, limit])?;
    Ok(numbers.len())
}

/// What went through once no window counts it, and what was decided about holds that are closed. A rejection
/// is kept for as long as it is the last word about what it was said of.
fn prune_guard(conn: &Connection, before: Timestamp, limit: usize) -> Result<[usize; 3], StoreError> {
    let passed = conn
        .prepare_cached(
            "DELETE FROM guard_passed WHERE (target, kind, id, user_id) IN (
                 SELECT target, kind, id, user_id FROM guard_passed WHERE at < ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute(params![before, limit])?;
    let items = conn
        .prepare_cached(
            "DELETE FROM hold_items WHERE seq IN (
                 SELECT i.seq FROM holds AS h CROSS JOIN hold_items AS i ON i.hold = h.id
                 WHERE h.closed_at < ?1 AND NOT (i.state = 2 AND (
                     EXISTS (SELECT 1 FROM targets AS t JOIN users AS u ON u.directory = t.directory
                             WHERE i.kind = 0 AND t.name = i.target AND u.id = i.id
                               AND u.generation = i.generation)
                  OR EXISTS (SELECT 1 FROM targets AS t
                             JOIN groups AS g ON g.directory IN (t.directory, ?3 || t.name)
                             WHERE i.kind = 1 AND t.name = i.target AND g.id = i.id
                               AND g.generation = i.generation)
                  OR EXISTS (SELECT 1 FROM targets AS t
                             JOIN members AS m ON m.directory IN (t.directory, ?3 || t.name)
                             WHERE i.kind = 2 AND t.name = i.target AND m.group_id = i.id
                               AND m.user_id = i.user_id AND m.sequence = i.generation)))
                 LIMIT ?2)",
        )?
        .execute(params![before, limit, OWN])?;
    let holds = conn
        .prepare_cached(
            "DELETE FROM holds WHERE id IN (
                 SELECT h.id FROM holds AS h WHERE h.closed_at < ?1
                   AND NOT EXISTS (SELECT 1 FROM hold_items AS i WHERE i.hold = h.id) LIMIT ?2)",
        )?
        .execute(params![before, limit])?;
    Ok([passed, items, holds])
}

/// Memberships that ended, once every target has been told, or has seen the group go.
fn prune_members(conn: &Connection, before: &[u8], limit: usize) -> Result<usize, StoreError> {
    let deleted = conn
        .prepare_cached(
            "DELETE FROM members WHERE (directory, group_id, user_id) IN (
                 SELECT m.directory, m.group_id, m.user_id
                 FROM (SELECT * FROM members WHERE present = 0 AND ended_since < ?1 ORDER BY ended_since LIMIT ?2) AS m
                 WHERE NOT EXISTS (
                     SELECT 1 FROM targets AS t
                     WHERE (t.directory = m.directory OR ?4 || t.name = m.directory) AND t.enrolled = 1
                       AND (NOT EXISTS (SELECT 1 FROM links AS l
                                WHERE l.target = t.name AND l.kind = 1 AND l.id = m.group_id
                                  AND l.vendor_id IS NOT NULL AND l.synced_members >= m.sequence)
                            AND NOT EXISTS (SELECT 1 FROM groups AS g
                                WHERE g.directory = m.directory AND g.id = m.group_id AND g.is_deleted = 1
                                  AND NOT EXISTS (SELECT 1 FROM work AS w
                                      WHERE w.target = t.name AND w.kind = 1 AND w.id = m.group_id))
                         OR EXISTS (SELECT 1 FROM waits AS w
                                WHERE w.target = t.name AND w.kind = 1 AND w.id = m.group_id
                                  AND w.user_id = m.user_id)
                         OR EXISTS (SELECT 1 FROM hold_items AS i
                                WHERE i.target = t.name AND i.kind = 2 AND i.id = m.group_id
                                  AND i.user_id = m.user_id AND i.state = 0)
                         OR EXISTS (SELECT 1 FROM parked_members AS p
                                WHERE p.target = t.name AND p.group_id = m.group_id
                                  AND p.user_id = m.user_id)))
                 ORDER BY m.ended_since LIMIT ?3)",
        )?
        .execute(params![before, limit * LOOKED_AT_PER_ROW, limit, OWN])?;
    Ok(deleted)
}

/// How users and groups differ here.
struct Sort {
    table: &'static str,
    kind: i64,
    /// What keeps the row `r`, for a target `t`.
    held_by: &'static str,
    /// What keeps it, whatever the target.
    kept_for: &'static str,
}

const USERS: Sort = Sort {
    table: "users",
    kind: 0,
    held_by: "0",
    kept_for: "EXISTS (SELECT 1 FROM members AS m
                       WHERE m.directory = r.directory AND m.user_id = r.id AND m.present = 1)",
};

const GROUPS: Sort = Sort {
    table: "groups",
    kind: 1,
    held_by: "EXISTS (SELECT 1 FROM waits AS w WHERE w.target = t.name AND w.kind = 1 AND w.id = r.id)
              OR EXISTS (SELECT 1 FROM parked_members AS p WHERE p.target = t.name AND p.group_id = r.id)
              OR EXISTS (SELECT 1 FROM hold_items AS i
                         WHERE i.target = t.name AND i.kind = 2 AND i.id = r.id AND i.state = 0)",
    kept_for: "EXISTS (SELECT 1 FROM members AS m WHERE m.directory = r.directory AND m.group_id = r.id)",
};

/// Deleted users or groups that no target has to follow any more.
fn prune_resources(conn: &Connection, sort: &Sort, before: &[u8], limit: usize) -> Result<usize, StoreError> {
    let Sort { table, kind, held_by, kept_for } = sort;
    let mut ready = conn.prepare_cached(&format!(
        "SELECT r.directory, r.id
         FROM (SELECT * FROM {table} WHERE gone_since IS NOT NULL AND gone_since < ?1
               ORDER BY gone_since LIMIT ?2) AS r
         WHERE NOT {kept_for} AND NOT EXISTS (
             SELECT 1 FROM targets AS t
             WHERE t.directory = r.directory AND t.enrolled = 1
               AND (EXISTS (SELECT 1 FROM work AS w WHERE w.target = t.name AND w.kind = {kind} AND w.id = r.id)
                    OR EXISTS (SELECT 1 FROM links AS l
                        WHERE l.target = t.name AND l.kind = {kind} AND l.id = r.id
                          AND l.vendor_id IS NOT NULL AND l.synced_generation < r.generation)
                    OR {held_by}))
         ORDER BY r.gone_since LIMIT ?3"
    ))?;
    let rows: Vec<(String, String)> = ready
        .query_map(params![before, limit * LOOKED_AT_PER_ROW, limit], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut end_waits = conn.prepare_cached(
        "DELETE FROM waits WHERE user_id = ?2 AND target IN (SELECT name FROM targets WHERE directory = ?1)",
    )?;
    let mut unlink = conn.prepare_cached(
        "DELETE FROM links WHERE kind = ?1 AND id = ?3
           AND target IN (SELECT name FROM targets WHERE directory = ?2)",
    )?;
    let mut delete = conn.prepare_cached(&format!("DELETE FROM {table} WHERE directory = ?1 AND id = ?2"))?;
    for (directory, id) in &rows {
        if *kind == USERS.kind {
            end_waits.execute(params![directory, id])?;
        }
        unlink.execute(params![kind, directory, id])?;
        delete.execute(params![directory, id])?;
    }
    Ok(rows.len())
}

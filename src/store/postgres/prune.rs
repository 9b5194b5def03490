//! Deletes what is past its retention, a few rows at a time, by the rules of the SQLite store.
//!
//! One replica prunes at a time; the others find nothing to do. Rows are looked at in the order of an
//! index, no more than a few for each that may go. What a transaction decides holds: it keeps merges out
//! of the directories, and work out of the targets, from which it deletes tombstones.

use std::collections::BTreeSet;

use tokio_postgres::types::ToSql;

use crate::clock::Timestamp;
use crate::directory::ExternalId;
use crate::store::postgres::directory;
use crate::store::postgres::rows::{Tx, execute, limit as rows_max, query, query_one};
use crate::store::{Pruned, Retention, StoreError};

/// Rows that are looked at for each row that may be deleted.
const LOOKED_AT_PER_ROW: usize = 4;
/// The lock of whoever prunes, among the database's advisory locks.
const PRUNER: i64 = 0x5C13_9E1A_7B0D_0002;

/// One batch.
pub(super) async fn prune(
    tx: &Tx<'_>,
    retention: &Retention,
    now: Timestamp,
    limit: usize,
) -> Result<Pruned, StoreError> {
    let alone = query_one(tx, "SELECT pg_try_advisory_xact_lock($1)", &[&PRUNER]).await?;
    if !alone.try_get::<_, bool>(0)? {
        return Ok(Pruned::default());
    }
    let horizons = retention.horizons(now);
    let events = execute(tx, EVENTS, &[&horizons.events, &rows_max(limit)]).await?;
    let ledger = execute(tx, LEDGER, &[&horizons.ledger, &rows_max(limit)]).await?;
    let guard = prune_guard(tx, horizons.guard, limit).await?;
    execute(tx, REPEATS, &[&horizons.events, &rows_max(limit)]).await?;
    let (members, resources) = if any_tombstones(tx, &horizons.tombstones).await? {
        keep_others_out(tx).await?;
        let members = prune_members(tx, &horizons.tombstones, limit).await?;
        let users = prune_resources(tx, &USERS, &horizons.tombstones, limit).await?;
        (members, users + prune_resources(tx, &GROUPS, &horizons.tombstones, limit).await?)
    } else {
        (0, 0)
    };
    let full = limit.max(1) as u64;
    Ok(Pruned {
        events,
        ledger,
        tombstones: members + resources,
        guard: guard.iter().sum(),
        more: [events, ledger, members, resources].into_iter().chain(guard).any(|deleted| deleted >= full),
    })
}

/// Events that are merged, with what became of them.
pub(super) const EVENTS: &str = "WITH old AS (
         SELECT seq FROM events AS e WHERE received_at < $1
           AND NOT EXISTS (SELECT 1 FROM events_waiting AS w WHERE w.rank IN (0, 1, 2) AND w.seq = e.seq)
           AND NOT EXISTS (SELECT 1 FROM events_unreadable AS u WHERE u.seq = e.seq)
         ORDER BY received_at LIMIT $2),
     memberships AS (DELETE FROM event_memberships WHERE seq IN (SELECT seq FROM old)),
     changes AS (DELETE FROM event_changes WHERE seq IN (SELECT seq FROM old))
     DELETE FROM events WHERE seq IN (SELECT seq FROM old)";

/// Entries of the ledger.
pub(super) const LEDGER: &str = "DELETE FROM ledger WHERE seq IN (
         SELECT seq FROM ledger WHERE at < $1 ORDER BY at LIMIT $2)";

/// How often senders repeated themselves.
pub(super) const REPEATS: &str = "DELETE FROM event_repeats WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM event_repeats WHERE last_at < $1 ORDER BY last_at LIMIT $2))";

/// What went through once no window counts it.
pub(super) const PASSED: &str = "DELETE FROM guard_passed WHERE ctid = ANY (ARRAY(
         SELECT ctid FROM guard_passed WHERE at < $1 ORDER BY at LIMIT $2))";

/// What was decided about holds that are closed. A rejection is kept for as long as it is the last word
/// about what it was said of.
pub(super) const ITEMS: &str = "DELETE FROM hold_items WHERE seq = ANY (ARRAY(
         SELECT i.seq FROM holds AS h
         CROSS JOIN LATERAL (SELECT * FROM hold_items AS i WHERE i.hold = h.id OFFSET 0) AS i
         WHERE h.closed_at < $1 AND NOT (i.state = 2 AND (
             EXISTS (SELECT 1 FROM targets AS t JOIN users AS u ON u.directory = t.directory
                     WHERE i.kind = 0 AND t.name = i.target AND u.id = i.id AND u.generation = i.generation)
          OR EXISTS (SELECT 1 FROM targets AS t
                     JOIN groups AS g ON g.directory IN (t.directory, 'derived:' || t.name)
                     WHERE i.kind = 1 AND t.name = i.target AND g.id = i.id AND g.generation = i.generation)
          OR EXISTS (SELECT 1 FROM targets AS t
                     JOIN members AS m ON m.directory IN (t.directory, 'derived:' || t.name)
                     WHERE i.kind = 2 AND t.name = i.target AND m.group_id = i.id AND m.user_id = i.user_id
                       AND m.sequence = i.generation)))
         LIMIT $2))";

/// Holds of which nothing is left.
pub(super) const HOLDS: &str = "DELETE FROM holds WHERE id IN (
         SELECT h.id FROM holds AS h WHERE h.closed_at < $1
           AND NOT EXISTS (SELECT 1 FROM hold_items AS i WHERE i.hold = h.id) LIMIT $2)";

async fn prune_guard(tx: &Tx<'_>, before: Timestamp, limit: usize) -> Result<[u64; 3], StoreError> {
    let params: &[&(dyn ToSql + Sync)] = &[&before, &rows_max(limit)];
    let passed = execute(tx, PASSED, params).await?;
    let items = execute(tx, ITEMS, params).await?;
    Ok([passed, items, execute(tx, HOLDS, params).await?])
}

async fn any_tombstones(tx: &Tx<'_>, before: &[u8]) -> Result<bool, StoreError> {
    let any = "SELECT EXISTS (SELECT 1 FROM members WHERE NOT present AND ended_since < $1)
                   OR EXISTS (SELECT 1 FROM users WHERE gone_since IS NOT NULL AND gone_since < $1)
                   OR EXISTS (SELECT 1 FROM groups WHERE gone_since IS NOT NULL AND gone_since < $1)";
    Ok(query_one(tx, any, &[&before]).await?.try_get(0)?)
}

/// Locks every directory and every target, in the order of all locks.
async fn keep_others_out(tx: &Tx<'_>) -> Result<(), StoreError> {
    let rows = query(tx, "SELECT name FROM directories ORDER BY name", &[]).await?;
    let names = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
    directory::lock(tx, &names.iter().map(String::as_str).collect::<BTreeSet<_>>()).await?;
    query(tx, "SELECT name FROM targets ORDER BY name FOR NO KEY UPDATE", &[]).await?;
    Ok(())
}

/// Memberships that ended, once every target has been told, or has seen the group go.
pub(super) const MEMBERS: &str = "WITH old AS (
         SELECT m.directory, m.group_id, m.user_id
         FROM (SELECT * FROM members WHERE NOT present AND ended_since < $1 ORDER BY ended_since LIMIT $2) AS m
         WHERE NOT EXISTS (
             SELECT 1 FROM targets AS t
             WHERE (t.directory = m.directory OR 'derived:' || t.name = m.directory) AND t.enrolled
               AND (NOT EXISTS (SELECT 1 FROM links AS l
                        WHERE l.target = t.name AND l.kind = 1 AND l.id = m.group_id
                          AND l.vendor_id IS NOT NULL AND l.synced_members >= m.sequence)
                    AND NOT EXISTS (SELECT 1 FROM groups AS g
                        WHERE g.directory = m.directory AND g.id = m.group_id AND g.is_deleted
                          AND NOT EXISTS (SELECT 1 FROM work AS w
                              WHERE w.target = t.name AND w.kind = 1 AND w.id = m.group_id))
                 OR EXISTS (SELECT 1 FROM waits AS w
                        WHERE w.target = t.name AND w.kind = 1 AND w.id = m.group_id AND w.user_id = m.user_id)
                 OR EXISTS (SELECT 1 FROM hold_items AS i
                        WHERE i.target = t.name AND i.kind = 2 AND i.id = m.group_id
                          AND i.user_id = m.user_id AND i.state = 0)
                 OR EXISTS (SELECT 1 FROM parked_members AS p
                        WHERE p.target = t.name AND p.group_id = m.group_id AND p.user_id = m.user_id)))
         ORDER BY m.ended_since LIMIT $3)
     DELETE FROM members AS m USING old
     WHERE m.directory = old.directory AND m.group_id = old.group_id AND m.user_id = old.user_id";

async fn prune_members(tx: &Tx<'_>, before: &[u8], limit: usize) -> Result<u64, StoreError> {
    let looked_at = rows_max(limit * LOOKED_AT_PER_ROW);
    execute(tx, MEMBERS, &[&before, &looked_at, &rows_max(limit)]).await
}

/// How users and groups differ here.
struct Sort {
    table: &'static str,
    kind: i16,
    /// What keeps the row `r`, for a target `t`.
    held_by: &'static str,
    /// What keeps it, whatever the target.
    kept_for: &'static str,
}

const USERS: Sort = Sort {
    table: "users",
    kind: 0,
    held_by: "false",
    kept_for: "EXISTS (SELECT 1 FROM members AS m
                       WHERE m.directory = r.directory AND m.user_id = r.id AND m.present)",
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

/// Deleted users or groups that no target has to follow any more, with their links.
async fn prune_resources(tx: &Tx<'_>, sort: &Sort, before: &[u8], limit: usize) -> Result<u64, StoreError> {
    let Sort { table, kind, held_by, kept_for } = sort;
    let ready = format!(
        "SELECT r.directory, r.id
         FROM (SELECT * FROM {table} WHERE gone_since IS NOT NULL AND gone_since < $1
               ORDER BY gone_since LIMIT $2) AS r
         WHERE NOT {kept_for} AND NOT EXISTS (
             SELECT 1 FROM targets AS t
             WHERE t.directory = r.directory AND t.enrolled
               AND (EXISTS (SELECT 1 FROM work AS w WHERE w.target = t.name AND w.kind = {kind} AND w.id = r.id)
                    OR EXISTS (SELECT 1 FROM links AS l
                        WHERE l.target = t.name AND l.kind = {kind} AND l.id = r.id
                          AND l.vendor_id IS NOT NULL AND l.synced_generation < r.generation)
                    OR {held_by}))
         ORDER BY r.gone_since LIMIT $3"
    );
    let looked_at = rows_max(limit * LOOKED_AT_PER_ROW);
    let rows = query(tx, &ready, &[&before, &looked_at, &rows_max(limit)]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (mut directories, mut ids): (Vec<String>, Vec<ExternalId>) = (Vec::new(), Vec::new());
    for row in &rows {
        directories.push(row.try_get(0)?);
        ids.push(row.try_get(1)?);
    }
    if *kind == USERS.kind {
        let end_waits =
            "DELETE FROM waits AS w USING unnest($1::text[], $2::text[]) AS k (directory, id), targets AS t
                         WHERE t.directory = k.directory AND w.target = t.name AND w.user_id = k.id";
        execute(tx, end_waits, &[&directories, &ids]).await?;
    }
    let unlink =
        "DELETE FROM links AS l USING unnest($2::text[], $3::text[]) AS k (directory, id), targets AS t
                  WHERE t.directory = k.directory AND l.target = t.name AND l.kind = $1 AND l.id = k.id";
    execute(tx, unlink, &[kind, &directories, &ids]).await?;
    let delete = format!(
        "DELETE FROM {table} AS r USING unnest($1::text[], $2::text[]) AS k (directory, id)
         WHERE r.directory = k.directory AND r.id = k.id"
    );
    execute(tx, &delete, &[&directories, &ids]).await
}

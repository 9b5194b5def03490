//! Work rows: one per (target, resource), read in order of lane and due time.
//!
//! What changes rows expects the target's lock to be held.

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::postgres::rows::{
    PARKED, PENDING, Tx, WAITING, big, corrupt, execute, from_json, key_at, limit as rows_max, query,
    query_one, query_opt, unsigned,
};
use crate::store::{Intent, Lane, StoreError, WorkItem};

/// Makes rows of work for users who are to be looked up, unless they have one, or a link.
pub(super) async fn seek_users(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    users: &[&ExternalId],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = execute(
        tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, 0, s.id, $5::smallint, 0, $4::bigint, $4, 0, coalesce(u.generation, 0)
         FROM unnest($3::text[]) AS s (id)
         LEFT JOIN users AS u ON u.directory = $2 AND u.id = s.id
         WHERE NOT EXISTS (SELECT 1 FROM links AS l WHERE l.target = $1 AND l.kind = 0 AND l.id = s.id)
         ORDER BY s.id
         ON CONFLICT (target, kind, id) DO NOTHING",
        &[&target, &directory, &users, &now, &Lane::Change],
    )
    .await?;
    Ok(inserted > 0)
}

/// Makes everything that waits for these users due. Rows that are in line, or parked, keep their
/// place; a call may be under way for them, whose plan does not know of the user yet, so that is noted.
pub(super) async fn wake_waiters(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    users: &[&ExternalId],
    now: Timestamp,
) -> Result<bool, StoreError> {
    if users.is_empty() {
        return Ok(false);
    }
    let woken = execute(
        tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, w.kind, w.id, CASE w.kind WHEN 0 THEN $5::smallint ELSE $6::smallint END, 0, $4::bigint, $4, 0,
                coalesce(CASE w.kind
                    WHEN 0 THEN (SELECT u.generation FROM users AS u WHERE u.directory = $2 AND u.id = w.id)
                    ELSE (SELECT g.generation FROM groups AS g WHERE g.directory = $2 AND g.id = w.id)
                END, 0)
         FROM (SELECT DISTINCT kind, id FROM waits WHERE target = $1 AND user_id = ANY($3::text[])) AS w
         ORDER BY w.kind, w.id
         ON CONFLICT (target, kind, id) DO UPDATE
         SET woken = true, state = CASE work.state WHEN 1 THEN 0 ELSE work.state END,
             due = CASE work.state WHEN 1 THEN excluded.due ELSE work.due END,
             reason = CASE work.state WHEN 1 THEN NULL ELSE work.reason END",
        &[&target, &directory, &users, &now, &Lane::Change, &Lane::Membership],
    )
    .await?;
    Ok(woken > 0)
}

/// Makes one resource due: inserted, woken, or left in line. A parked row stays parked.
pub(super) async fn make_due(
    tx: &Tx<'_>,
    target: &str,
    key: &ResourceKey,
    generation: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let lane = match key.kind {
        Kind::User => Lane::Change,
        Kind::Group => Lane::Membership,
    };
    execute(
        tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         VALUES ($1, $2, $3, $4, 0, $5, $5, 0, $6)
         ON CONFLICT (target, kind, id) DO UPDATE
         SET state = 0, due = least(work.due, excluded.due), attempts = 0, reason = NULL
         WHERE work.state <> 2",
        &[&target, &key.kind, &key.id, &lane, &now, &big(generation)],
    )
    .await?;
    Ok(())
}

/// The due rows of one lane, oldest first, users before groups.
pub(super) const DUE: &str =
    "SELECT kind, id, lane, generation, since, attempts, failed_at, intent, due FROM (
         (SELECT * FROM work WHERE target = $1 AND state = 0 AND lane = $2 AND due <= $3
          ORDER BY due, kind, id LIMIT $4)
         UNION ALL
         (SELECT * FROM work WHERE target = $1 AND state = 1 AND lane = $2 AND due <= $3
          ORDER BY due, kind, id LIMIT $4)) AS both_states
     ORDER BY due, kind, id LIMIT $4";

/// The due rows of one lane, oldest first, users before groups.
pub(super) async fn due(
    tx: &Tx<'_>,
    target: &str,
    lane: Lane,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<WorkItem>, StoreError> {
    query(tx, DUE, &[&target, &lane, &now, &rows_max(limit)])
        .await?
        .iter()
        .map(|row| item_at(row, 0))
        .collect()
}

/// When the next row that is not due yet will be: one seek per state and lane.
pub(super) const NEXT_DUE: &str = "SELECT min(next.due)
     FROM unnest($2::smallint[]) AS s (state) CROSS JOIN unnest($3::smallint[]) AS l (lane)
     CROSS JOIN LATERAL (
         SELECT w.due FROM work AS w
         WHERE w.target = $1 AND w.state = s.state AND w.lane = l.lane AND w.due > $4
         ORDER BY w.due LIMIT 1) AS next";

/// When the next row that is not due yet will be.
pub(super) async fn next_due(
    tx: &Tx<'_>,
    target: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let states = [PENDING, WAITING];
    let row = query_one(tx, NEXT_DUE, &[&target, &states.as_slice(), &Lane::ALL.as_slice(), &now]).await?;
    Ok(row.try_get(0)?)
}

/// A resource's row, unless it is parked.
pub(super) async fn item(
    tx: &Tx<'_>,
    target: &str,
    key: &ResourceKey,
) -> Result<Option<WorkItem>, StoreError> {
    let found = "SELECT kind, id, lane, generation, since, attempts, failed_at, intent FROM work
                 WHERE target = $1 AND kind = $2 AND id = $3 AND state <> $4";
    let row = query_opt(tx, found, &[&target, &key.kind, &key.id, &PARKED]).await?;
    row.map(|row| item_at(&row, 0)).transpose()
}

/// An item from eight neighbouring columns.
fn item_at(row: &SqlRow, column: usize) -> Result<WorkItem, StoreError> {
    let key = key_at(row, column)?;
    let intent: Option<String> = row.try_get(column + 7)?;
    let intent: Option<Intent> = intent.map(|text| from_json(&text, "work", key.id.as_str())).transpose()?;
    let attempts: i32 = row.try_get(column + 5)?;
    Ok(WorkItem {
        lane: row.try_get(column + 2)?,
        generation: unsigned(row, column + 3, "work")?,
        since: row.try_get(column + 4)?,
        attempts: u32::try_from(attempts).map_err(|_| corrupt("work", key.id.as_str()))?,
        failed_at: row.try_get(column + 6)?,
        intent,
        key,
    })
}

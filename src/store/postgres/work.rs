//! Work rows: one per (target, resource), read in order of lane and due time.

use std::collections::BTreeSet;

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::derived::OWN;
use crate::store::postgres::rows::{
    PENDING, Tx, WAITING, execute, from_json, key_at, limit as row_limit, query, query_one, storable,
    unsigned, unsigned_int,
};
use crate::store::postgres::targets::LockedTarget;
use crate::store::{Intent, Lane, StoreError, WorkItem};

/// Makes rows of work for users that are to be looked up, where there is neither a link nor a row. True
/// when there was one to make.
pub(super) async fn seek_users(at: &LockedTarget<'_>, users: &[&ExternalId]) -> Result<bool, StoreError> {
    let users: Vec<&ExternalId> = users.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let made = execute(
        at.tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, 0, k.id, $5, 0, $4, $4, 0, coalesce(u.generation, 0)
         FROM unnest($3::text[]) AS k (id)
         LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = k.id
         LEFT JOIN users AS u ON u.directory = $2 AND u.id = k.id
         WHERE l.id IS NULL
         ON CONFLICT (target, kind, id) DO NOTHING",
        &[&at.name, &at.directory, &users, &at.now, &Lane::Change],
    )
    .await?;
    Ok(made > 0)
}

/// Makes everything that waits for these users due. Rows that are in line, or parked, keep their place;
/// a call may be under way for them, whose plan does not know of the user yet, so that is noted.
pub(super) async fn wake_waiters(at: &LockedTarget<'_>, users: &[&ExternalId]) -> Result<bool, StoreError> {
    if users.is_empty() {
        return Ok(false);
    }
    let woken = execute(
        at.tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, w.kind, w.id, CASE w.kind WHEN 0 THEN $5::smallint ELSE $6::smallint END, 0, $4, $4, 0,
                coalesce(u.generation, g.generation, 0)
         FROM (SELECT DISTINCT kind, id FROM waits WHERE target = $1 AND user_id = ANY ($3::text[])) AS w
         LEFT JOIN users AS u ON w.kind = 0 AND u.directory = $2 AND u.id = w.id
         LEFT JOIN groups AS g ON w.kind = 1 AND g.directory IN ($2, $7 || $1) AND g.id = w.id
         ON CONFLICT (target, kind, id) DO UPDATE
         SET woken = true, state = CASE work.state WHEN 1 THEN 0 ELSE work.state END,
             due = CASE work.state WHEN 1 THEN excluded.due ELSE work.due END,
             reason = CASE work.state WHEN 1 THEN NULL ELSE work.reason END",
        &[&at.name, &at.directory, &users, &at.now, &Lane::Change, &Lane::Membership, &OWN],
    )
    .await?;
    Ok(woken > 0)
}

/// Makes one resource due: inserted, woken, or left in line. A row that waits for a person stays so.
pub(super) async fn make_due(at: &LockedTarget<'_>, key: &ResourceKey) -> Result<(), StoreError> {
    let lane = match key.kind {
        Kind::User => Lane::Change,
        Kind::Group => Lane::Membership,
    };
    execute(
        at.tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT $1, k.kind, k.id, $4, 0, $5, $5, 0, coalesce(u.generation, g.generation, 0)
         FROM (VALUES ($2::smallint, $3::text)) AS k (kind, id)
         LEFT JOIN users AS u ON k.kind = 0 AND u.directory = $6 AND u.id = k.id
         LEFT JOIN groups AS g ON k.kind = 1 AND g.directory IN ($6, $7 || $1) AND g.id = k.id
         ON CONFLICT (target, kind, id) DO UPDATE
         SET state = 0, due = least(work.due, excluded.due), attempts = 0, reason = NULL
         WHERE work.state < 2",
        &[&at.name, &key.kind, &key.id, &lane, &at.now, &at.directory, &OWN],
    )
    .await?;
    Ok(())
}

/// The due rows of one lane, oldest first, users before groups.
pub(super) async fn due(
    tx: &Tx<'_>,
    target: &str,
    lane: Lane,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<WorkItem>, StoreError> {
    let rows = query(
        tx,
        "SELECT kind, id, lane, generation, since, attempts, failed_at, intent FROM (
             (SELECT * FROM work WHERE target = $1 AND state = 0 AND lane = $2 AND due <= $3
              ORDER BY due, kind, id LIMIT $4)
             UNION ALL
             (SELECT * FROM work WHERE target = $1 AND state = 1 AND lane = $2 AND due <= $3
              ORDER BY due, kind, id LIMIT $4)) AS w
         ORDER BY due, kind, id LIMIT $4",
        &[&storable(target), &lane, &now, &row_limit(limit)],
    )
    .await?;
    rows.iter().map(|row| item_at(row, 0)).collect()
}

/// When the next row that is not due yet will be.
pub(super) async fn next_due(
    tx: &Tx<'_>,
    target: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    // One seek per lane and state; a plain minimum would read every row that is due already.
    let row = query_one(
        tx,
        "SELECT min(first.due) FROM unnest($2::smallint[]) AS s (state), unnest($3::smallint[]) AS n (lane),
         LATERAL (SELECT due FROM work
                  WHERE target = $1 AND state = s.state AND lane = n.lane AND due > $4
                  ORDER BY due LIMIT 1) AS first",
        &[&storable(target), &[PENDING, WAITING].as_slice(), &Lane::ALL.as_slice(), &now],
    )
    .await?;
    Ok(row.try_get(0)?)
}

/// A row of work from eight columns: the key, lane, generation, since, attempts, `failed_at`, intent.
pub(super) fn item_at(row: &SqlRow, column: usize) -> Result<WorkItem, StoreError> {
    let key = key_at(row, column)?;
    let intent: Option<&str> = row.try_get(column + 7)?;
    let intent: Option<Intent> = intent.map(|text| from_json(text, "work", key.id.as_str())).transpose()?;
    Ok(WorkItem {
        key,
        lane: row.try_get(column + 2)?,
        generation: unsigned(row, column + 3, "work")?,
        since: row.try_get(column + 4)?,
        attempts: unsigned_int(row, column + 5, "work")?,
        failed_at: row.try_get(column + 6)?,
        intent,
    })
}

//! One resource's story, and how it stands now.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::ToSql;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::postgres::rows::{
    HELD, PARKED, PENDING, Tx, big, execute, from_json, limit as row_limit, query, query_one, query_opt,
    unsigned, unsigned_int,
};
use crate::store::postgres::{directory, holds, ledger};
use crate::store::timeline::{
    ChangeStory, Cursor, Happening, MEMBERSHIPS_MAX, OpenMembership, Order, Present, Standing, WorkStanding,
    WrittenMembership, told,
};
use crate::store::{Lane, Page, StoreError};

/// Notes what a batch did to memberships.
pub(super) async fn record(
    tx: &Tx<'_>,
    directory: &str,
    written: &[WrittenMembership<'_>],
) -> Result<(), StoreError> {
    if written.is_empty() {
        return Ok(());
    }
    let users: Vec<_> = written.iter().map(|row| row.user).collect();
    let numbers: Vec<_> = written.iter().map(|row| big(row.sequence)).collect();
    let positions: Vec<_> = written.iter().map(|row| place(row.index)).collect();
    let groups: Vec<_> = written.iter().map(|row| row.group).collect();
    let present: Vec<_> = written.iter().map(|row| row.present).collect();
    execute(
        tx,
        "INSERT INTO event_memberships (directory, user_id, seq, position, group_id, present)
         SELECT $1, given.* FROM unnest($2::text[], $3::bigint[], $4::integer[], $5::text[], $6::boolean[]) AS given
         ON CONFLICT DO NOTHING",
        &[&directory, &users, &numbers, &positions, &groups, &present],
    )
    .await?;
    Ok(())
}

/// One page.
pub(super) async fn page(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Cursor,
    limit: usize,
) -> Result<Page<Happening>, StoreError> {
    let memberships = match key.kind {
        Kind::User => memberships(tx, directory, &key.id, order, after, limit).await?,
        Kind::Group => Vec::new(),
    };
    let held = holds::story(tx, directory, key, order, after.hold, limit).await?;
    let done = ledger::story(tx, directory, key, order, after.ledger, limit).await?;
    let streams = [
        changes(tx, directory, key, order, after, limit).await?,
        memberships,
        done.into_iter().map(Happening::Ledger).collect(),
        held.into_iter().map(Happening::Hold).collect(),
    ];
    Ok(told(order, after, streams, limit))
}

async fn changes(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Cursor,
    limit: usize,
) -> Result<Vec<Happening>, StoreError> {
    let (beyond, direction) = order.onward();
    let room = row_limit(limit + 1);
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&directory, &key.kind, &key.id, &room];
    let (generation, seq, index) = after.change.unwrap_or_default();
    let (generation, seq, position) = (big(generation), big(seq), place(index));
    let narrow = match after.change {
        Some(_) => {
            params.extend([&generation as &(dyn ToSql + Sync), &seq, &position]);
            format!("AND (c.generation, c.seq, c.position) {beyond} ($5, $6, $7)")
        }
        None => String::new(),
    };
    let sql = format!(
        "SELECT c.seq, c.position, e.source, e.event_id, e.received_at, c.operation, c.outcome, c.generation,
                r.times, r.last_at
         FROM (SELECT * FROM event_changes AS c
               WHERE c.directory = $1 AND c.kind = $2 AND c.id = $3 {narrow}
               ORDER BY c.generation {direction}, c.seq {direction}, c.position {direction} LIMIT $4) AS c
         JOIN events AS e ON e.seq = c.seq
         LEFT JOIN event_repeats AS r ON r.source = e.source AND r.event_id = e.event_id
         ORDER BY c.generation {direction}, c.seq {direction}, c.position {direction}"
    );
    query(tx, &sql, &params).await?.iter().map(|row| change(row, None)).collect()
}

async fn memberships(
    tx: &Tx<'_>,
    directory: &str,
    user: &ExternalId,
    order: Order,
    after: Cursor,
    limit: usize,
) -> Result<Vec<Happening>, StoreError> {
    let (beyond, direction) = order.onward();
    let room = row_limit(limit + 1);
    let mut params: Vec<&(dyn ToSql + Sync)> = vec![&directory, user, &room];
    let (seq, index) = after.membership.unwrap_or_default();
    let (seq, position) = (big(seq), place(index));
    let narrow = match after.membership {
        Some(_) => {
            params.extend([&seq as &(dyn ToSql + Sync), &position]);
            format!("AND (m.seq, m.position) {beyond} ($4, $5)")
        }
        None => String::new(),
    };
    let sql = format!(
        "SELECT m.seq, m.position, e.source, e.event_id, e.received_at, c.operation, c.outcome, c.generation,
                r.times, r.last_at, m.group_id, m.present
         FROM (SELECT * FROM event_memberships AS m WHERE m.directory = $1 AND m.user_id = $2 {narrow}
               ORDER BY m.seq {direction}, m.position {direction} LIMIT $3) AS m
         JOIN events AS e ON e.seq = m.seq
         JOIN event_changes AS c ON c.seq = m.seq AND c.position = m.position
         LEFT JOIN event_repeats AS r ON r.source = e.source AND r.event_id = e.event_id
         ORDER BY m.seq {direction}, m.position {direction}"
    );
    let rows = query(tx, &sql, &params).await?;
    rows.iter().map(|row| change(row, Some((row.try_get(10)?, row.try_get(11)?)))).collect()
}

fn change(row: &SqlRow, membership: Option<(ExternalId, bool)>) -> Result<Happening, StoreError> {
    Ok(Happening::Change(ChangeStory {
        sequence: unsigned(row, 0, "event_changes")?,
        index: unsigned_int(row, 1, "event_changes")?,
        source: row.try_get(2)?,
        event_id: row.try_get(3)?,
        received_at: row.try_get(4)?,
        operation: row.try_get(5)?,
        outcome: row.try_get(6)?,
        generation: unsigned(row, 7, "event_changes")?,
        membership,
        repeats: match row.try_get::<_, Option<i64>>(8)? {
            Some(_) => Some((unsigned(row, 8, "event_repeats")?, row.try_get(9)?)),
            None => None,
        },
    }))
}

/// A change's position, for a column.
fn place(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

/// How a resource stands; `None` where nothing is known of it.
pub(super) async fn present(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
) -> Result<Option<Present>, StoreError> {
    let known = match key.kind {
        Kind::User => {
            directory::user(tx, directory, &key.id).await?.map(|user| (user.generation, user.has_access()))
        }
        Kind::Group => directory::group(tx, directory, &key.id)
            .await?
            .map(|group| (group.generation, !group.is_deleted())),
    };
    if known.is_none() && !is_mentioned(tx, directory, key).await? {
        return Ok(None);
    }
    let groups = match key.kind {
        Kind::User => {
            let sql = "SELECT group_id FROM members WHERE directory = $1 AND user_id = $2 AND present
                       ORDER BY group_id LIMIT $3";
            ids(tx, sql, &[&directory, &key.id, &row_limit(MEMBERSHIPS_MAX)]).await?
        }
        Kind::Group => Vec::new(),
    };
    let waiting = query_one(tx, "SELECT count(*) FROM events_waiting", &[]).await?;
    Ok(Some(Present {
        generation: known.map(|(generation, _)| generation),
        wanted: known.is_none_or(|(_, wanted)| wanted),
        unprojected: unsigned(&waiting, 0, "events_waiting")?,
        groups,
        targets: standings(tx, directory, key).await?,
    }))
}

/// Whether an event, or a membership, names the resource, of which the directory has no row.
async fn is_mentioned(tx: &Tx<'_>, directory: &str, key: &ResourceKey) -> Result<bool, StoreError> {
    let row = query_one(
        tx,
        "SELECT EXISTS (SELECT 1 FROM event_changes WHERE directory = $1 AND kind = $2 AND id = $3)
             OR EXISTS (SELECT 1 FROM event_memberships WHERE $2 = 0 AND directory = $1 AND user_id = $3)
             OR EXISTS (SELECT 1 FROM members WHERE $2 = 0 AND directory = $1 AND user_id = $3 AND present)",
        &[&directory, &key.kind, &key.id],
    )
    .await?;
    Ok(row.try_get(0)?)
}

async fn ids(tx: &Tx<'_>, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<ExternalId>, StoreError> {
    Ok(query(tx, sql, params).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

async fn standings(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
) -> Result<BTreeMap<String, Standing>, StoreError> {
    let rows = query(
        tx,
        "SELECT t.name, t.state, l.vendor_id, l.checked_at, coalesce(l.synced_generation, 0),
                w.state, w.lane, w.due, w.since, w.attempts, w.reason
         FROM targets AS t
         LEFT JOIN links AS l ON l.target = t.name AND l.kind = $2 AND l.id = $3
         LEFT JOIN work AS w ON w.target = t.name AND w.kind = $2 AND w.id = $3
         WHERE t.directory = $1 AND t.enrolled",
        &[&directory, &key.kind, &key.id],
    )
    .await?;
    let mut standings = BTreeMap::new();
    for row in &rows {
        let target: String = row.try_get(0)?;
        let waits = "SELECT user_id FROM waits WHERE target = $1 AND kind = $2 AND id = $3 AND NOT ready
                     ORDER BY user_id LIMIT $4";
        let standing = Standing {
            state: from_json(&row.try_get::<_, String>(1)?, "targets", &target)?,
            vendor_id: row.try_get(2)?,
            absent_since: row.try_get(3)?,
            synced_generation: unsigned(row, 4, "links")?,
            applied_at: applied_at(tx, &target, key).await?,
            work: work(row)?,
            waits_for: ids(tx, waits, &[&target, &key.kind, &key.id, &row_limit(MEMBERSHIPS_MAX)]).await?,
            open: open(tx, &target, directory, key).await?,
        };
        standings.insert(target, standing);
    }
    Ok(standings)
}

fn work(row: &SqlRow) -> Result<Option<WorkStanding>, StoreError> {
    let Some(state) = row.try_get::<_, Option<i16>>(5)? else { return Ok(None) };
    let state = match state {
        PENDING => "pending",
        PARKED => "parked",
        HELD => "held",
        _ => "waiting",
    };
    Ok(Some(WorkStanding {
        state,
        lane: row.try_get::<_, Lane>(6)?,
        due: row.try_get(7)?,
        since: row.try_get(8)?,
        attempts: unsigned_int(row, 9, "work")?,
        reason: row.try_get(10)?,
    }))
}

async fn applied_at(tx: &Tx<'_>, target: &str, key: &ResourceKey) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT at FROM ledger WHERE kind = $2 AND id = $3 AND target = $1 AND result = 'applied'
               ORDER BY seq DESC LIMIT 1";
    let row = query_opt(tx, sql, &[&target, &key.kind, &key.id]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Memberships that the vendor refused, or that wait for the user to be known.
async fn open(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    key: &ResourceKey,
) -> Result<Vec<OpenMembership>, StoreError> {
    let room = row_limit(MEMBERSHIPS_MAX);
    let (other, rows) = match key.kind {
        Kind::User => {
            let sql = "SELECT m.group_id, p.user_id IS NOT NULL, p.reason FROM members AS m
                 LEFT JOIN parked_members AS p
                     ON p.target = $1 AND p.group_id = m.group_id AND p.user_id = m.user_id
                 LEFT JOIN waits AS w
                     ON w.target = $1 AND w.kind = 1 AND w.id = m.group_id AND w.user_id = m.user_id
                 WHERE m.directory = $2 AND m.user_id = $3 AND m.present
                   AND (p.user_id IS NOT NULL OR w.user_id IS NOT NULL)
                 ORDER BY m.group_id LIMIT $4";
            (Kind::Group, query(tx, sql, &[&target, &directory, &key.id, &room]).await?)
        }
        Kind::Group => {
            let sql = "SELECT user_id, true, reason FROM parked_members WHERE target = $1 AND group_id = $2
                 ORDER BY user_id LIMIT $3";
            (Kind::User, query(tx, sql, &[&target, &key.id, &room]).await?)
        }
    };
    let membership = |row: &SqlRow| -> Result<OpenMembership, StoreError> {
        let parked: bool = row.try_get(1)?;
        let state = if parked { "parked" } else { "waiting" };
        Ok(OpenMembership {
            key: ResourceKey { kind: other, id: row.try_get(0)? },
            state,
            reason: row.try_get(2)?,
        })
    };
    rows.iter().map(membership).collect()
}

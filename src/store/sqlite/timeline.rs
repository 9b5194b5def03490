//! One resource's story, and how it stands now.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, ToSql, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::sqlite::rows::{HELD, PARKED, PENDING, from_json};
use crate::store::sqlite::{directory, holds, ledger, project};
use crate::store::timeline::{
    ChangeStory, Cursor, Happening, MEMBERSHIPS_MAX, OpenMembership, Order, Present, Standing, WorkStanding,
    WrittenMembership, told,
};
use crate::store::{Page, StoreError};

/// Notes what a batch did to memberships.
pub(super) fn record(
    conn: &Connection,
    directory: &str,
    written: &[WrittenMembership<'_>],
) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT OR IGNORE INTO event_memberships (directory, user_id, seq, position, group_id, present)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for WrittenMembership { group, user, present, sequence, index } in written {
        insert.execute(params![directory, user, sequence, index, group, present])?;
    }
    Ok(())
}

/// One page.
pub(super) fn page(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Cursor,
    limit: usize,
) -> Result<Page<Happening>, StoreError> {
    let memberships = match key.kind {
        Kind::User => memberships(conn, directory, &key.id, order, after, limit)?,
        Kind::Group => Vec::new(),
    };
    let streams = [
        changes(conn, directory, key, order, after, limit)?,
        memberships,
        ledger::story(conn, directory, key, order, after.ledger, limit)?
            .into_iter()
            .map(Happening::Ledger)
            .collect(),
        holds::story(conn, directory, key, order, after.hold, limit)?
            .into_iter()
            .map(Happening::Hold)
            .collect(),
    ];
    Ok(told(order, after, streams, limit))
}

fn changes(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Cursor,
    limit: usize,
) -> Result<Vec<Happening>, StoreError> {
    let sql = changes_sql(order, after.change.is_some());
    let room = limit + 1;
    let mut params: Vec<&dyn ToSql> = vec![&directory, &key.kind, &key.id, &room];
    let (generation, seq, position) = after.change.unwrap_or_default();
    if after.change.is_some() {
        params.extend([&generation as &dyn ToSql, &seq, &position]);
    }
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(&params[..], |row| change(row, None))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// In the order of the index of a resource's changes, which ends with the table's key.
pub(super) fn changes_sql(order: Order, goes_on: bool) -> String {
    let (beyond, direction) = order.onward();
    let after = if goes_on {
        format!("AND (c.generation, c.seq, c.position) {beyond} (?5, ?6, ?7)")
    } else {
        String::new()
    };
    format!(
        "SELECT c.seq, c.position, e.source, e.event_id, e.received_at, c.operation, c.outcome, c.generation,
                r.times, r.last_at
         FROM event_changes AS c INDEXED BY event_changes_of_resource
         CROSS JOIN events AS e ON e.seq = c.seq
         LEFT JOIN event_repeats AS r ON r.source = e.source AND r.event_id = e.event_id
         WHERE c.directory = ?1 AND c.kind = ?2 AND c.id = ?3 {after}
         ORDER BY c.generation {direction}, c.seq {direction}, c.position {direction} LIMIT ?4"
    )
}

fn memberships(
    conn: &Connection,
    directory: &str,
    user: &ExternalId,
    order: Order,
    after: Cursor,
    limit: usize,
) -> Result<Vec<Happening>, StoreError> {
    let sql = memberships_sql(order, after.membership.is_some());
    let room = limit + 1;
    let mut params: Vec<&dyn ToSql> = vec![&directory, user, &room];
    let (seq, position) = after.membership.unwrap_or_default();
    if after.membership.is_some() {
        params.extend([&seq as &dyn ToSql, &position]);
    }
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map(&params[..], |row| change(row, Some((row.get(10)?, row.get(11)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn memberships_sql(order: Order, goes_on: bool) -> String {
    let (beyond, direction) = order.onward();
    let after = if goes_on { format!("AND (m.seq, m.position) {beyond} (?4, ?5)") } else { String::new() };
    format!(
        "SELECT m.seq, m.position, e.source, e.event_id, e.received_at, c.operation, c.outcome, c.generation,
                r.times, r.last_at, m.group_id, m.present
         FROM event_memberships AS m
         CROSS JOIN events AS e ON e.seq = m.seq
         CROSS JOIN event_changes AS c ON c.seq = m.seq AND c.position = m.position
         LEFT JOIN event_repeats AS r ON r.source = e.source AND r.event_id = e.event_id
         WHERE m.directory = ?1 AND m.user_id = ?2 {after}
         ORDER BY m.seq {direction}, m.position {direction} LIMIT ?3"
    )
}

fn change(row: &SqlRow<'_>, membership: Option<(ExternalId, bool)>) -> rusqlite::Result<Happening> {
    Ok(Happening::Change(ChangeStory {
        sequence: row.get(0)?,
        index: row.get(1)?,
        source: row.get(2)?,
        event_id: row.get(3)?,
        received_at: row.get(4)?,
        operation: row.get(5)?,
        outcome: row.get(6)?,
        generation: row.get(7)?,
        membership,
        repeats: row.get::<_, Option<u64>>(8)?.zip(row.get(9)?),
    }))
}

/// How a resource stands; `None` where nothing is known of it.
pub(super) fn present(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
) -> Result<Option<Present>, StoreError> {
    let known = match key.kind {
        Kind::User => {
            directory::user(conn, directory, &key.id)?.map(|user| (user.generation, user.has_access()))
        }
        Kind::Group => {
            directory::group(conn, directory, &key.id)?.map(|group| (group.generation, !group.is_deleted()))
        }
    };
    if known.is_none() && !is_mentioned(conn, directory, key)? {
        return Ok(None);
    }
    let groups = match key.kind {
        Kind::User => groups_of(conn, directory, &key.id)?,
        Kind::Group => Vec::new(),
    };
    Ok(Some(Present {
        generation: known.map(|(generation, _)| generation),
        wanted: known.is_none_or(|(_, wanted)| wanted),
        unprojected: project::unprojected(conn)?,
        groups,
        targets: standings(conn, directory, key)?,
    }))
}

/// Whether an event, or a membership, names the resource, of which the directory has no row.
fn is_mentioned(conn: &Connection, directory: &str, key: &ResourceKey) -> Result<bool, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM event_changes WHERE directory = ?1 AND kind = ?2 AND id = ?3)
             OR EXISTS (SELECT 1 FROM event_memberships WHERE ?2 = 0 AND directory = ?1 AND user_id = ?3)
             OR EXISTS (SELECT 1 FROM members WHERE ?2 = 0 AND directory = ?1 AND user_id = ?3 AND present = 1)",
    )?;
    Ok(statement.query_row(params![directory, key.kind, key.id], |row| row.get(0))?)
}

fn groups_of(conn: &Connection, directory: &str, user: &ExternalId) -> Result<Vec<ExternalId>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT group_id FROM members WHERE directory = ?1 AND user_id = ?2 AND present = 1
         ORDER BY group_id LIMIT ?3",
    )?;
    let rows = statement.query_map(params![directory, user, MEMBERSHIPS_MAX], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn standings(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
) -> Result<BTreeMap<String, Standing>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT t.name, t.state, l.vendor_id, l.checked_at, coalesce(l.synced_generation, 0),
                w.state, w.lane, w.due, w.since, w.attempts, w.reason
         FROM targets AS t
         LEFT JOIN links AS l ON l.target = t.name AND l.kind = ?2 AND l.id = ?3
         LEFT JOIN work AS w ON w.target = t.name AND w.kind = ?2 AND w.id = ?3
         WHERE t.directory = ?1 AND t.enrolled = 1",
    )?;
    let mut rows = statement.query(params![directory, key.kind, key.id])?;
    let mut standings = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let target: String = row.get(0)?;
        let standing = Standing {
            state: from_json(&row.get::<_, String>(1)?, "targets", &target)?,
            vendor_id: row.get(2)?,
            absent_since: row.get(3)?,
            synced_generation: row.get(4)?,
            applied_at: applied_at(conn, &target, key)?,
            work: work(row)?,
            waits_for: waits_for(conn, &target, key)?,
            open: open(conn, &target, directory, key)?,
        };
        standings.insert(target, standing);
    }
    Ok(standings)
}

fn work(row: &SqlRow<'_>) -> rusqlite::Result<Option<WorkStanding>> {
    let Some(state) = row.get::<_, Option<i64>>(5)? else { return Ok(None) };
    let state = match state {
        PENDING => "pending",
        PARKED => "parked",
        HELD => "held",
        _ => "waiting",
    };
    Ok(Some(WorkStanding {
        state,
        lane: row.get(6)?,
        due: row.get(7)?,
        since: row.get(8)?,
        attempts: row.get(9)?,
        reason: row.get(10)?,
    }))
}

fn applied_at(conn: &Connection, target: &str, key: &ResourceKey) -> Result<Option<Timestamp>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT at FROM ledger INDEXED BY ledger_of_resource
         WHERE kind = ?2 AND id = ?3 AND target = ?1 AND result = 'applied' ORDER BY seq DESC LIMIT 1",
    )?;
    Ok(statement.query_row(params![target, key.kind, key.id], |row| row.get(0)).optional()?)
}

fn waits_for(conn: &Connection, target: &str, key: &ResourceKey) -> Result<Vec<ExternalId>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT user_id FROM waits WHERE target = ?1 AND kind = ?2 AND id = ?3 AND ready = 0
         ORDER BY user_id LIMIT ?4",
    )?;
    let rows = statement.query_map(params![target, key.kind, key.id, MEMBERSHIPS_MAX], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Memberships that the vendor refused, or that wait for the user to be known.
fn open(
    conn: &Connection,
    target: &str,
    directory: &str,
    key: &ResourceKey,
) -> Result<Vec<OpenMembership>, StoreError> {
    let sql = match key.kind {
        Kind::User => {
            "SELECT m.group_id, p.user_id IS NOT NULL, p.reason FROM members AS m
             LEFT JOIN parked_members AS p
                 ON p.target = ?1 AND p.group_id = m.group_id AND p.user_id = m.user_id
             LEFT JOIN waits AS w
                 ON w.target = ?1 AND w.kind = 1 AND w.id = m.group_id AND w.user_id = m.user_id
             WHERE m.directory = ?2 AND m.user_id = ?3 AND m.present = 1
               AND (p.user_id IS NOT NULL OR w.user_id IS NOT NULL)
             ORDER BY m.group_id LIMIT ?4"
        }
        Kind::Group => {
            "SELECT user_id, 1, reason FROM parked_members WHERE target = ?1 AND ?2 = ?2 AND group_id = ?3
             ORDER BY user_id LIMIT ?4"
        }
    };
    let other = match key.kind {
        Kind::User => Kind::Group,
        Kind::Group => Kind::User,
    };
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map(params![target, directory, key.id, MEMBERSHIPS_MAX], |row| {
        let parked: bool = row.get(1)?;
        Ok(OpenMembership {
            key: ResourceKey { kind: other, id: row.get(0)? },
            state: if parked { "parked" } else { "waiting" },
            reason: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::migrate::migrate;

    #[test]
    fn a_story_is_read_in_the_order_of_indexes_alone() {
        let conn = Connection::open_in_memory().unwrap();
        migrate(&conn).unwrap();
        for order in [Order::Falling, Order::Rising] {
            let continued =
                [false, true].map(|goes_on| [changes_sql(order, goes_on), memberships_sql(order, goes_on)]);
            for sql in continued.into_iter().flatten().chain([ledger::story_sql(order)]) {
                let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let values = vec![rusqlite::types::Value::Null; statement.parameter_count()];
                let rows =
                    statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3));
                for step in rows.unwrap().map(Result::unwrap) {
                    assert!(step.starts_with("SEARCH"), "{step}\n{sql}");
                }
            }
        }
    }
}

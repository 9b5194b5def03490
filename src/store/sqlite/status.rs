//! The backlog at one moment.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::store::sqlite::errands;
use crate::store::sqlite::project::unprojected;
use crate::store::sqlite::rows::{HELD, PARKED, PENDING, WAITING, from_json};
use crate::store::{Lane, LaneCount, Status, StoreError, TargetCounts};

/// Reads everything in one transaction, so that an event is found in the inbox or as work.
pub(super) fn status(conn: &Connection) -> Result<Status, StoreError> {
    let mut status = Status { unprojected: unprojected(conn)?, ..Status::default() };
    status.unreadable =
        conn.prepare_cached("SELECT count(*) FROM events_unreadable")?.query_row([], |row| row.get(0))?;
    let mut targets = conn.prepare_cached("SELECT name, state FROM targets WHERE enrolled = 1")?;
    let mut rows = targets.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let state = from_json(&row.get::<_, String>(1)?, "targets", &name)?;
        let counts = TargetCounts { state: Some(state), ..counts(conn, &name)? };
        status.targets.insert(name, counts);
    }
    status.errands = errands::counts(conn)?;
    Ok(status)
}

fn counts(conn: &Connection, target: &str) -> Result<TargetCounts, StoreError> {
    let mut counts = TargetCounts::default();
    for lane in Lane::ALL {
        let (rows, since) = lane_count(conn, target, lane)?;
        counts.pending.push(LaneCount { lane, rows, since });
        counts.oldest_pending_since = match (counts.oldest_pending_since, since) {
            (Some(a), Some(b)) => Some(Timestamp::min(a, b)),
            (a, b) => a.or(b),
        };
    }
    let mut in_state = conn.prepare_cached("SELECT count(*) FROM work WHERE target = ?1 AND state = ?2")?;
    counts.waiting = in_state.query_row(params![target, WAITING], |row| row.get(0))?;
    let resources: u64 = in_state.query_row(params![target, PARKED], |row| row.get(0))?;
    let members: u64 = conn
        .prepare_cached("SELECT count(*) FROM parked_members WHERE target = ?1")?
        .query_row([target], |row| row.get(0))?;
    counts.parked = resources + members;
    let rows: u64 = in_state.query_row(params![target, HELD], |row| row.get(0))?;
    let members: u64 = conn
        .prepare_cached("SELECT count(*) FROM hold_items WHERE target = ?1 AND state = 0 AND kind = 2")?
        .query_row([target], |row| row.get(0))?;
    counts.held = rows + members;
    // Nobody waits for a user who was deleted, though it is remembered should that user come back.
    counts.waiting_members = conn
        .prepare_cached(
            "SELECT count(*) FROM waits AS w JOIN targets AS t ON t.name = w.target
             LEFT JOIN users AS u ON u.directory = t.directory AND u.id = w.user_id
             WHERE w.target = ?1 AND w.kind = 1 AND u.gone_since IS NULL",
        )?
        .query_row([target], |row| row.get(0))?;
    Ok(counts)
}

/// The index on order holds all that is asked, so no row is read.
fn lane_count(conn: &Connection, target: &str, lane: Lane) -> Result<(u64, Option<Timestamp>), StoreError> {
    let counted = conn
        .prepare_cached(
            "SELECT count(*), min(since) FROM work WHERE target = ?1 AND state = ?2 AND lane = ?3",
        )?
        .query_row(params![target, PENDING, lane], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(counted)
}

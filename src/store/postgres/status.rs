//! The backlog at one moment: on REPEATABLE READ, so that an event is found in the inbox or as work.

use std::collections::BTreeMap;

use futures_util::try_join;

use crate::clock::Timestamp;
use crate::store::postgres::errands;
use crate::store::postgres::rows::{
    HELD, PARKED, PENDING, Tx, WAITING, corrupt, from_json, query, query_one, unsigned,
};
use crate::store::{Lane, LaneCount, Status, StoreError, TargetCounts};

/// Reads everything in one transaction.
pub(super) async fn status(tx: &Tx<'_>) -> Result<Status, StoreError> {
    let (unprojected, unreadable, mut targets, rows, waiting, parked, held, errands) = try_join!(
        count(tx, "SELECT count(*) FROM events_waiting"),
        count(tx, "SELECT count(*) FROM events_unreadable"),
        targets(tx),
        work_counts(tx),
        counts(tx, WAITING_MEMBERS),
        counts(tx, PARKED_MEMBERS),
        counts(tx, HELD_MEMBERS),
        errands::counts(tx),
    )?;
    for (name, counts) in &mut targets {
        for row in rows.iter().filter(|row| row.target == *name) {
            row.add_to(counts)?;
        }
        counts.waiting_members = waiting.get(name).copied().unwrap_or(0);
        counts.parked += parked.get(name).copied().unwrap_or(0);
        counts.held += held.get(name).copied().unwrap_or(0);
    }
    Ok(Status { unprojected, unreadable, targets, errands })
}

async fn count(tx: &Tx<'_>, sql: &str) -> Result<u64, StoreError> {
    unsigned(&query_one(tx, sql, &[]).await?, 0, "events")
}

/// The enrolled targets, with nothing counted yet.
async fn targets(tx: &Tx<'_>) -> Result<BTreeMap<String, TargetCounts>, StoreError> {
    let mut targets = BTreeMap::new();
    for row in query(tx, "SELECT name, state FROM targets WHERE enrolled", &[]).await? {
        let name: String = row.try_get(0)?;
        let state = Some(from_json(row.try_get(1)?, "targets", &name)?);
        let pending = Lane::ALL.map(|lane| LaneCount { lane, rows: 0, since: None }).to_vec();
        targets.insert(name, TargetCounts { state, pending, ..TargetCounts::default() });
    }
    Ok(targets)
}

/// How many rows of a target's lane are in a state.
struct WorkCount {
    target: String,
    state: i16,
    lane: Lane,
    rows: u64,
    since: Timestamp,
}

/// The index on order holds all that is asked, so no row is read.
async fn work_counts(tx: &Tx<'_>) -> Result<Vec<WorkCount>, StoreError> {
    let sql = "SELECT target, state, lane, count(*), min(since) FROM work GROUP BY target, state, lane";
    let mut counts = Vec::new();
    for row in query(tx, sql, &[]).await? {
        counts.push(WorkCount {
            target: row.try_get(0)?,
            state: row.try_get(1)?,
            lane: row.try_get(2)?,
            rows: unsigned(&row, 3, "work")?,
            since: row.try_get(4)?,
        });
    }
    Ok(counts)
}

impl WorkCount {
    fn add_to(&self, counts: &mut TargetCounts) -> Result<(), StoreError> {
        match self.state {
            PENDING => {
                let lane = counts.pending.iter_mut().find(|count| count.lane == self.lane);
                let lane = lane.expect("every lane is counted");
                lane.rows += self.rows;
                lane.since = Some(lane.since.map_or(self.since, |since| since.min(self.since)));
                let oldest = counts.oldest_pending_since.map_or(self.since, |since| since.min(self.since));
                counts.oldest_pending_since = Some(oldest);
            }
            WAITING => counts.waiting += self.rows,
            PARKED => counts.parked += self.rows,
            HELD => counts.held += self.rows,
            other => return Err(corrupt("work", format!("state {other}"))),
        }
        Ok(())
    }
}

/// Nobody waits for a user who was deleted, though it is remembered should that user come back.
const WAITING_MEMBERS: &str =
    "SELECT w.target, count(*) FROM waits AS w JOIN targets AS t ON t.name = w.target
     LEFT JOIN users AS u ON u.directory = t.directory AND u.id = w.user_id
     WHERE w.kind = 1 AND u.gone_since IS NULL GROUP BY w.target";
const HELD_MEMBERS: &str =
    "SELECT target, count(*) FROM hold_items WHERE state = 0 AND kind = 2 GROUP BY target";
const PARKED_MEMBERS: &str = "SELECT target, count(*) FROM parked_members GROUP BY target";

async fn counts(tx: &Tx<'_>, sql: &str) -> Result<BTreeMap<String, u64>, StoreError> {
    let rows = query(tx, sql, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, unsigned(row, 1, "targets")?))).collect()
}

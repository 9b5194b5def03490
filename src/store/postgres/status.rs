//! The backlog at one moment: the transaction is repeatable, so that an event is found in the inbox or
//! as work.

use std::collections::BTreeMap;

use crate::store::postgres::rows::{PARKED, PENDING, Tx, WAITING, from_json, query, query_one, unsigned};
use crate::store::{Lane, LaneCount, Status, StoreError, TargetCounts};

/// Reads it in a few statements, whatever the number of targets.
pub(super) async fn status(tx: &Tx<'_>) -> Result<Status, StoreError> {
    let inbox = "SELECT (SELECT count(*) FROM events_waiting), (SELECT count(*) FROM events_unreadable)";
    let inbox = query_one(tx, inbox, &[]).await?;
    let mut status = Status {
        unprojected: unsigned(&inbox, 0, "events_waiting")?,
        unreadable: unsigned(&inbox, 1, "events_unreadable")?,
        targets: BTreeMap::new(),
    };
    let enrolled = "SELECT name, state,
                (SELECT count(*) FROM parked_members AS p WHERE p.target = t.name),
                (SELECT count(*) FROM waits AS w WHERE w.target = t.name AND w.kind = 1)
         FROM targets AS t WHERE enrolled";
    for row in query(tx, enrolled, &[]).await? {
        let name: String = row.try_get(0)?;
        let counts = TargetCounts {
            state: Some(from_json(row.try_get(1)?, "targets", &name)?),
            pending: Lane::ALL.into_iter().map(|lane| LaneCount { lane, rows: 0 }).collect(),
            parked: unsigned(&row, 2, "parked_members")?,
            waiting_members: unsigned(&row, 3, "waits")?,
            ..TargetCounts::default()
        };
        status.targets.insert(name, counts);
    }
    count_rows(tx, &mut status.targets).await?;
    Ok(status)
}

async fn count_rows(tx: &Tx<'_>, targets: &mut BTreeMap<String, TargetCounts>) -> Result<(), StoreError> {
    let counted = "SELECT target, state, lane, count(*), min(since) FROM work GROUP BY target, state, lane";
    for row in query(tx, counted, &[]).await? {
        // A retired target's rows are nobody's backlog.
        let Some(counts) = targets.get_mut(row.try_get::<_, &str>(0)?) else { continue };
        let rows = unsigned(&row, 3, "work")?;
        match row.try_get::<_, i16>(1)? {
            PENDING => {
                let lane: Lane = row.try_get(2)?;
                counts
                    .pending
                    .iter_mut()
                    .filter(|count| count.lane == lane)
                    .for_each(|count| count.rows = rows);
                let since = row.try_get(4)?;
                let oldest = counts.oldest_pending_since.map_or(since, |oldest| oldest.min(since));
                counts.oldest_pending_since = Some(oldest);
            }
            WAITING => counts.waiting += rows,
            PARKED => counts.parked += rows,
            other => return Err(super::rows::corrupt("work", format!("state {other}"))),
        }
    }
    Ok(())
}

//! What came in, and what became of it.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Version};
use crate::store::postgres::rows::{
    PARKED, PENDING, Tx, big, corrupt, key_at, limit as rows_max, query, query_opt, unsigned,
};
use crate::store::{ChangeRecord, EventRecord, EventSummary, Page, StoreError};

/// Without the body, whose length is known without reading it.
const SUMMARY: &str = "SELECT e.seq, e.source, e.event_id, e.received_at, octet_length(e.body),
            EXISTS (SELECT 1 FROM events_unreadable AS u WHERE u.seq = e.seq),
            EXISTS (SELECT 1 FROM events_waiting AS w WHERE w.rank IN (0, 1, 2) AND w.seq = e.seq)
     FROM events AS e";

/// One page, newest first.
pub(super) async fn page(tx: &Tx<'_>, before: u64, limit: usize) -> Result<Page<EventSummary>, StoreError> {
    let sql = format!("{SUMMARY} WHERE e.seq < $1 ORDER BY e.seq DESC LIMIT $2");
    let rows = query(tx, &sql, &[&big(before), &rows_max(limit + 1)]).await?;
    let items = rows.iter().map(summary).collect::<Result<Vec<_>, _>>()?;
    Ok(super::page(items, limit, |event| event.sequence.to_string()))
}

/// One event, by number or by the sender's id.
pub(super) async fn event(tx: &Tx<'_>, id: &str) -> Result<Option<EventRecord>, StoreError> {
    let numbered = match id.parse::<i64>() {
        Ok(seq) => query_opt(tx, &format!("{SUMMARY} WHERE e.seq = $1"), &[&seq]).await?,
        Err(_) => None,
    };
    let found = match numbered {
        Some(row) => Some(row),
        None if id.contains('\0') => None,
        None => {
            let newest = format!("{SUMMARY} WHERE e.event_id = $1 ORDER BY e.seq DESC LIMIT 1");
            query_opt(tx, &newest, &[&id]).await?
        }
    };
    let Some(row) = found else { return Ok(None) };
    let summary = summary(&row)?;
    let changes = changes(tx, summary.sequence, &summary.event_id).await?;
    Ok(Some(EventRecord { summary, changes }))
}

fn summary(row: &SqlRow) -> Result<EventSummary, StoreError> {
    let state = match (row.try_get(5)?, row.try_get(6)?) {
        (true, _) => "unreadable",
        (false, true) => "accepted",
        (false, false) => "projected",
    };
    let body_bytes: i32 = row.try_get(4)?;
    Ok(EventSummary {
        sequence: unsigned(row, 0, "events")?,
        source: row.try_get(1)?,
        event_id: row.try_get(2)?,
        received_at: row.try_get(3)?,
        body_bytes: u64::try_from(body_bytes).map_err(|_| corrupt("events", "a body's length"))?,
        state,
    })
}

async fn changes(tx: &Tx<'_>, seq: u64, event_id: &str) -> Result<Vec<ChangeRecord>, StoreError> {
    let found = "SELECT position, kind, id, operation, outcome, generation, directory FROM event_changes
                 WHERE seq = $1 ORDER BY position";
    let mut changes = Vec::new();
    for row in query(tx, found, &[&big(seq)]).await? {
        let position: i32 = row.try_get(0)?;
        let index = u32::try_from(position).map_err(|_| corrupt("event_changes", seq.to_string()))?;
        let (key, generation) = (key_at(&row, 1)?, unsigned(&row, 5, "event_changes")?);
        let directory: String = row.try_get(6)?;
        let mut targets = fates(tx, &directory, &key, generation).await?;
        if key.kind == Kind::Group {
            let written = written_by(event_id, index);
            for (target, fate) in targets.iter_mut().filter(|(_, (word, _))| word == "applied") {
                if let Some(open) = fate_of_members(tx, target, &directory, &key.id, &written).await? {
                    *fate = open;
                }
            }
        }
        changes.push(ChangeRecord {
            index,
            operation: row.try_get(3)?,
            key,
            outcome: row.try_get(4)?,
            generation,
            targets,
        });
    }
    Ok(changes)
}

/// What became of a change, per target that follows the directory.
async fn fates(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
    generation: u64,
) -> Result<BTreeMap<String, (String, Option<String>)>, StoreError> {
    let found = "SELECT t.name, w.state, w.reason, coalesce(l.synced_generation >= $4, false)
                 FROM targets AS t
                 LEFT JOIN work AS w ON w.target = t.name AND w.kind = $2 AND w.id = $3
                 LEFT JOIN links AS l ON l.target = t.name AND l.kind = $2 AND l.id = $3
                     AND l.vendor_id IS NOT NULL
                 WHERE t.directory = $1 AND t.enrolled";
    let rows = query(tx, found, &[&directory, &key.kind, &key.id, &big(generation)]).await?;
    let mut fates = BTreeMap::new();
    for row in rows {
        let (state, synced): (Option<i16>, bool) = (row.try_get(1)?, row.try_get(3)?);
        let (word, reason) = match state {
            None => ("applied", None),
            Some(_) if synced => ("applied", None),
            Some(PARKED) => ("parked", row.try_get(2)?),
            Some(PENDING) => ("pending", row.try_get(2)?),
            Some(_) => ("waiting", row.try_get(2)?),
        };
        fates.insert(row.try_get(0)?, (word.to_owned(), reason));
    }
    Ok(fates)
}

/// What a membership's version ends with when this change wrote it, whatever its time.
fn written_by(event_id: &str, index: u32) -> Vec<u8> {
    let version = Version { occurred_at: Timestamp::default(), event: event_id.to_owned(), index };
    version.to_sort_key().split_off(TIME_BYTES)
}

/// Bytes of the time at the start of a version.
const TIME_BYTES: usize = 8;

/// What keeps a change's members from being applied although their group is; `None` when nothing does.
async fn fate_of_members(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    group: &ExternalId,
    written: &[u8],
) -> Result<Option<(String, Option<String>)>, StoreError> {
    let found = "SELECT 'parked', p.reason FROM parked_members AS p
         JOIN members AS m ON m.directory = $2 AND m.group_id = $3 AND m.user_id = p.user_id
         WHERE p.target = $1 AND p.group_id = $3 AND substr(m.version, 9) = $4
         UNION ALL
         SELECT 'waiting', 'for members whom the vendor does not know yet' FROM waits AS w
         JOIN members AS m ON m.directory = $2 AND m.group_id = $3 AND m.user_id = w.user_id
         WHERE w.target = $1 AND w.kind = 1 AND w.id = $3 AND substr(m.version, 9) = $4
         LIMIT 1";
    let row = query_opt(tx, found, &[&target, &directory, &group, &written]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

//! What came in, and what became of it.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Version};
use crate::store::sqlite::rows::{HELD, PARKED, PENDING, key_at};
use crate::store::sqlite::seen::EventDigest;
use crate::store::{ChangeRecord, EventRecord, EventSummary, Page, StoreError};

/// Without the body, whose length SQLite knows without reading it.
const SUMMARY: &str = "SELECT e.seq, e.source, e.event_id, e.received_at, length(e.body),
            EXISTS (SELECT 1 FROM events_unreadable AS u WHERE u.seq = e.seq),
            e.seq > (SELECT value FROM counters WHERE name = 'projected')
                AND NOT EXISTS (SELECT 1 FROM events_done_early AS d WHERE d.seq = e.seq)
            OR EXISTS (SELECT 1 FROM events_ahead AS a WHERE a.rank IN (0, 1) AND a.seq = e.seq)
     FROM events AS e";

/// One page, newest first.
pub(super) fn page(conn: &Connection, before: u64, limit: usize) -> Result<Page<EventSummary>, StoreError> {
    let sql = format!("{SUMMARY} WHERE e.seq < ?1 ORDER BY e.seq DESC LIMIT ?2");
    let mut statement = conn.prepare_cached(&sql)?;
    let items = statement.query_map(params![before, limit + 1], summary)?.collect::<Result<_, _>>()?;
    Ok(super::page(items, limit, |event: &EventSummary| event.sequence.to_string()))
}

/// One event, by number or by the sender's id.
pub(super) fn event(conn: &Connection, id: &str) -> Result<Option<EventRecord>, StoreError> {
    let numbered = match id.parse() {
        Ok(seq) => summary_of(conn, seq)?,
        Err(_) => None,
    };
    let summary = match numbered {
        Some(summary) => Some(summary),
        None => match newest_with_id(conn, id)? {
            Some(seq) => summary_of(conn, seq)?,
            None => None,
        },
    };
    let Some(summary) = summary else { return Ok(None) };
    let changes = changes(conn, summary.sequence, &summary.event_id)?;
    Ok(Some(EventRecord { summary, changes }))
}

fn summary_of(conn: &Connection, seq: u64) -> Result<Option<EventSummary>, StoreError> {
    let Ok(seq) = i64::try_from(seq) else { return Ok(None) };
    let sql = format!("{SUMMARY} WHERE e.seq = ?1");
    Ok(conn.prepare_cached(&sql)?.query_row([seq], summary).optional()?)
}

fn summary(row: &SqlRow<'_>) -> rusqlite::Result<EventSummary> {
    let (unreadable, waits): (bool, bool) = (row.get(5)?, row.get(6)?);
    let state = match (unreadable, waits) {
        (true, _) => "unreadable",
        (false, true) => "accepted",
        (false, false) => "projected",
    };
    Ok(EventSummary {
        sequence: row.get(0)?,
        source: row.get(1)?,
        event_id: row.get(2)?,
        received_at: row.get(3)?,
        body_bytes: row.get(4)?,
        state,
    })
}

/// Scans the narrow table of digests: ids have no index, and people ask seldom.
fn newest_with_id(conn: &Connection, id: &str) -> Result<Option<u64>, StoreError> {
    let mut sources = conn.prepare_cached("SELECT name FROM sources")?;
    let digests = sources
        .query_map([], |row| Ok(EventDigest::of(&row.get::<_, String>(0)?, id).to_bytes()))?
        .collect::<Result<Vec<_>, _>>()?;
    let places = vec!["?"; digests.len()].join(", ");
    let sql = format!("SELECT max(seq) FROM event_ids WHERE id IN ({places})");
    Ok(conn.prepare(&sql)?.query_row(params_from_iter(digests), |row| row.get(0))?)
}

fn changes(conn: &Connection, seq: u64, event_id: &str) -> Result<Vec<ChangeRecord>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT position, kind, id, operation, outcome, generation, directory FROM event_changes
         WHERE seq = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([seq])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        let (index, key, generation) = (row.get(0)?, key_at(row, 1)?, row.get(5)?);
        let directory: String = row.get(6)?;
        let mut targets = fates(conn, &directory, &key, generation)?;
        if key.kind == Kind::Group {
            let written = written_by(event_id, index);
            for (target, fate) in targets.iter_mut().filter(|(_, (word, _))| word == "applied") {
                if let Some(open) =
                    fate_of_members(conn, target, &directory, (&key.id, generation), &written)?
                {
                    *fate = open;
                }
            }
        }
        changes.push(ChangeRecord {
            index,
            operation: row.get(3)?,
            key,
            outcome: row.get(4)?,
            generation,
            targets,
        });
    }
    Ok(changes)
}

/// What became of a change, per target that follows the directory.
fn fates(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
    generation: u64,
) -> Result<BTreeMap<String, (String, Option<String>)>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT t.name, w.state, w.reason, coalesce(l.synced_generation >= ?4, 0),
                w.state IS NULL AND EXISTS (SELECT 1 FROM hold_items AS i
                    WHERE i.target = t.name AND i.kind = ?2 AND i.id = ?3 AND i.user_id = ''
                      AND i.state = 2 AND i.generation >= ?4),
                w.state IS NULL AND EXISTS (SELECT 1 FROM ledger AS g INDEXED BY ledger_of_resource
                    WHERE g.kind = ?2 AND g.id = ?3 AND g.target = t.name AND g.operation = 'none'
                      AND g.result = 'protected' AND g.generation >= ?4)
         FROM targets AS t
         LEFT JOIN work AS w ON w.target = t.name AND w.kind = ?2 AND w.id = ?3
         LEFT JOIN links AS l ON l.target = t.name AND l.kind = ?2 AND l.id = ?3
             AND l.vendor_id IS NOT NULL
         WHERE t.directory = ?1 AND t.enrolled = 1",
    )?;
    let mut rows = statement.query(params![directory, key.kind, key.id, generation])?;
    let mut fates = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (state, synced, rejected): (Option<i64>, bool, bool) = (row.get(1)?, row.get(3)?, row.get(4)?);
        let (word, reason) = match state {
            None if rejected && !synced => ("rejected", None),
            None if row.get(5)? && !synced => ("protected", None),
            None => ("applied", None),
            Some(_) if synced => ("applied", None),
            Some(PARKED) => ("parked", row.get(2)?),
            Some(HELD) => ("held", row.get(2)?),
            Some(PENDING) => ("pending", row.get(2)?),
            Some(_) => ("waiting", row.get(2)?),
        };
        fates.insert(row.get(0)?, (word.to_owned(), reason));
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
fn fate_of_members(
    conn: &Connection,
    target: &str,
    directory: &str,
    (group, generation): (&ExternalId, u64),
    written: &[u8],
) -> Result<Option<(String, Option<String>)>, StoreError> {
    let fate = conn
        .prepare_cached(
            "SELECT 'parked', p.reason FROM parked_members AS p
             JOIN members AS m ON m.directory = ?2 AND m.group_id = ?3 AND m.user_id = p.user_id
             WHERE p.target = ?1 AND p.group_id = ?3 AND substr(m.version, 9) = ?4
             UNION ALL
             SELECT CASE i.state WHEN 0 THEN 'held' ELSE 'rejected' END, NULL FROM hold_items AS i
             JOIN members AS m ON m.directory = ?2 AND m.group_id = ?3 AND m.user_id = i.user_id
                 AND m.sequence = i.generation
             WHERE i.target = ?1 AND i.kind = 2 AND i.id = ?3 AND i.state IN (0, 2)
               AND substr(m.version, 9) = ?4
             UNION ALL
             SELECT 'protected', NULL FROM ledger AS g INDEXED BY ledger_of_resource
             JOIN members AS m ON m.directory = ?2 AND m.group_id = ?3 AND m.user_id = substr(g.detail, 12)
             WHERE g.kind = 1 AND g.id = ?3 AND g.target = ?1 AND g.operation = 'members'
               AND g.result = 'protected' AND g.generation >= ?5 AND substr(m.version, 9) = ?4
             UNION ALL
             SELECT 'waiting', 'for members whom the vendor does not know yet' FROM waits AS w
             JOIN members AS m ON m.directory = ?2 AND m.group_id = ?3 AND m.user_id = w.user_id
             WHERE w.target = ?1 AND w.kind = 1 AND w.id = ?3 AND substr(m.version, 9) = ?4
             LIMIT 1",
        )?
        .query_row(params![target, directory, group, written, generation], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(fate)
}

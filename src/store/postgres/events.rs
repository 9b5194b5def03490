//! What came in, and what became of it.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, Version};
use crate::store::postgres::page::page as one_page;
use crate::store::postgres::rows::{
    HELD, PARKED, PENDING, Tx, big, key_at, limit as row_limit, query, query_one, query_opt, unsigned,
    unsigned_int,
};
use crate::store::{ChangeRecord, EventRecord, EventSummary, Page, StoreError};

/// Without the body, whose length PostgreSQL knows without reading it.
const SUMMARY: &str = "SELECT e.seq, e.source, e.event_id, e.received_at, length(e.body)::bigint,
            EXISTS (SELECT 1 FROM events_unreadable AS u WHERE u.seq = e.seq),
            EXISTS (SELECT 1 FROM events_waiting AS w WHERE w.seq = e.seq)
     FROM events AS e";

/// One page, newest first.
pub(super) async fn page(tx: &Tx<'_>, before: u64, limit: usize) -> Result<Page<EventSummary>, StoreError> {
    let sql = format!("{SUMMARY} WHERE e.seq < $1 ORDER BY e.seq DESC LIMIT $2");
    let rows = query(tx, &sql, &[&big(before), &row_limit(limit + 1)]).await?;
    let items = rows.iter().map(summary).collect::<Result<_, _>>()?;
    Ok(one_page(items, limit, |event: &EventSummary| event.sequence.to_string()))
}

/// One event, by number or by the sender's id.
pub(super) async fn event(tx: &Tx<'_>, id: &str) -> Result<Option<EventRecord>, StoreError> {
    let numbered = match id.parse::<i64>() {
        Ok(seq) => summary_of(tx, seq).await?,
        Err(_) => None,
    };
    let summary = match numbered {
        Some(summary) => Some(summary),
        None => match newest_with_id(tx, id).await? {
            Some(seq) => summary_of(tx, seq).await?,
            None => None,
        },
    };
    let Some(summary) = summary else { return Ok(None) };
    let changes = changes(tx, summary.sequence, &summary.event_id).await?;
    Ok(Some(EventRecord { summary, changes }))
}

async fn summary_of(tx: &Tx<'_>, seq: i64) -> Result<Option<EventSummary>, StoreError> {
    let found = query_opt(tx, &format!("{SUMMARY} WHERE e.seq = $1"), &[&seq]).await?;
    found.map(|row| summary(&row)).transpose()
}

fn summary(row: &SqlRow) -> Result<EventSummary, StoreError> {
    let (unreadable, waits): (bool, bool) = (row.try_get(5)?, row.try_get(6)?);
    let state = match (unreadable, waits) {
        (true, _) => "unreadable",
        (false, true) => "accepted",
        (false, false) => "projected",
    };
    Ok(EventSummary {
        sequence: unsigned(row, 0, "events")?,
        source: row.try_get(1)?,
        event_id: row.try_get(2)?,
        received_at: row.try_get(3)?,
        body_bytes: unsigned(row, 4, "events")?,
        state,
    })
}

async fn newest_with_id(tx: &Tx<'_>, id: &str) -> Result<Option<i64>, StoreError> {
    // No sender's id holds what PostgreSQL would refuse to compare with.
    if id.contains('\0') {
        return Ok(None);
    }
    let row = query_one(tx, "SELECT max(seq) FROM events WHERE event_id = $1", &[&id]).await?;
    Ok(row.try_get(0)?)
}

async fn changes(tx: &Tx<'_>, seq: u64, event_id: &str) -> Result<Vec<ChangeRecord>, StoreError> {
    let mut fates = fates(tx, seq).await?;
    let rows = query(
        tx,
        "SELECT position, kind, id, operation, outcome, generation, directory FROM event_changes
         WHERE seq = $1 ORDER BY position",
        &[&big(seq)],
    )
    .await?;
    let mut changes = Vec::with_capacity(rows.len());
    let mut applied = Vec::new();
    for row in &rows {
        let (index, key) = (unsigned_int(row, 0, "event_changes")?, key_at(row, 1)?);
        let targets = fates.remove(&index).unwrap_or_default();
        if key.kind == Kind::Group {
            let directory: String = row.try_get(6)?;
            for (target, _) in targets.iter().filter(|(_, (word, _))| word == "applied") {
                let place = changes.len();
                let (target, group, directory) = (target.clone(), key.id.clone(), directory.clone());
                applied.push(AppliedGroup {
                    place,
                    target,
                    directory,
                    group,
                    generation: big(unsigned(row, 5, "event_changes")?),
                    written: written_by(event_id, index),
                });
            }
        }
        changes.push(ChangeRecord {
            index,
            operation: row.try_get(3)?,
            key,
            outcome: row.try_get(4)?,
            generation: unsigned(row, 5, "event_changes")?,
            targets,
        });
    }
    for (group, fate) in fates_of_members(tx, &applied).await? {
        changes[group.place].targets.insert(group.target.clone(), fate);
    }
    Ok(changes)
}

/// A word, and the reason where there is one.
type Fate = (String, Option<String>);

/// What became of each change of an event, by its position, per target that follows the directory.
async fn fates(tx: &Tx<'_>, seq: u64) -> Result<BTreeMap<u32, BTreeMap<String, Fate>>, StoreError> {
    let rows = query(
        tx,
        "SELECT c.position, t.name, w.state, w.reason, coalesce(l.synced_generation >= c.generation, false),
                w.state IS NULL AND EXISTS (SELECT 1 FROM hold_items AS i
                    WHERE i.target = t.name AND i.kind = c.kind AND i.id = c.id AND i.user_id = ''
                      AND i.state = 2 AND i.generation >= c.generation),
                w.state IS NULL AND EXISTS (SELECT 1 FROM ledger AS g
                    WHERE g.kind = c.kind AND g.id = c.id AND g.target = t.name AND g.operation = 'none'
                      AND g.result = 'protected' AND g.generation >= c.generation)
         FROM event_changes AS c
         JOIN targets AS t ON t.directory = c.directory AND t.enrolled
         LEFT JOIN work AS w ON w.target = t.name AND w.kind = c.kind AND w.id = c.id
         LEFT JOIN links AS l ON l.target = t.name AND l.kind = c.kind AND l.id = c.id
             AND l.vendor_id IS NOT NULL
         WHERE c.seq = $1",
        &[&big(seq)],
    )
    .await?;
    let mut fates: BTreeMap<u32, BTreeMap<String, Fate>> = BTreeMap::new();
    for row in &rows {
        let (state, synced, rejected): (Option<i16>, bool, bool) =
            (row.try_get(2)?, row.try_get(4)?, row.try_get(5)?);
        let (word, reason) = match state {
            None if rejected && !synced => ("rejected", None),
            None if row.try_get(6)? && !synced => ("protected", None),
            None => ("applied", None),
            Some(_) if synced => ("applied", None),
            Some(PARKED) => ("parked", row.try_get(3)?),
            Some(HELD) => ("held", row.try_get(3)?),
            Some(PENDING) => ("pending", row.try_get(3)?),
            Some(_) => ("waiting", row.try_get(3)?),
        };
        let of_change = fates.entry(unsigned_int(row, 0, "event_changes")?).or_default();
        of_change.insert(row.try_get(1)?, (word.to_owned(), reason));
    }
    Ok(fates)
}

/// A change of a group that a target has.
struct AppliedGroup {
    /// Where it stands among the event's changes.
    place: usize,
    target: String,
    directory: String,
    group: ExternalId,
    /// The group's generation after the change.
    generation: i64,
    /// What the versions of the memberships end with that the change wrote.
    written: Vec<u8>,
}

/// What a membership's version ends with when this change wrote it, whatever its time.
fn written_by(event_id: &str, index: u32) -> Vec<u8> {
    let version = Version { occurred_at: Timestamp::default(), event: event_id.to_owned(), index };
    version.to_sort_key().split_off(TIME_BYTES)
}

/// Bytes of the time at the start of a version.
const TIME_BYTES: usize = 8;

/// What keeps a change's members from being applied although their group is. Where nothing does, the
/// group is left out.
async fn fates_of_members<'a>(
    tx: &Tx<'_>,
    groups: &'a [AppliedGroup],
) -> Result<Vec<(&'a AppliedGroup, Fate)>, StoreError> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let targets: Vec<_> = groups.iter().map(|group| group.target.as_str()).collect();
    let directories: Vec<_> = groups.iter().map(|group| group.directory.as_str()).collect();
    let ids: Vec<_> = groups.iter().map(|group| &group.group).collect();
    let generations: Vec<_> = groups.iter().map(|group| group.generation).collect();
    let written: Vec<_> = groups.iter().map(|group| group.written.as_slice()).collect();
    let rows = query(
        tx,
        "SELECT k.place, open.word, open.reason
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[])
             WITH ORDINALITY AS k (target, directory, id, written, generation, place),
         LATERAL (
             SELECT 0 AS rank, p.user_id, 'parked' AS word, p.reason FROM parked_members AS p
             WHERE p.target = k.target AND p.group_id = k.id AND k.written = (
                 SELECT substring(m.version FROM 9) FROM members AS m
                 WHERE m.directory = k.directory AND m.group_id = k.id AND m.user_id = p.user_id)
             UNION ALL
             SELECT 1, i.user_id, CASE i.state WHEN 0 THEN 'held' ELSE 'rejected' END, NULL
             FROM hold_items AS i
             WHERE i.target = k.target AND i.kind = 2 AND i.id = k.id AND i.state IN (0, 2) AND k.written = (
                 SELECT substring(m.version FROM 9) FROM members AS m
                 WHERE m.directory = k.directory AND m.group_id = k.id AND m.user_id = i.user_id
                   AND m.sequence = i.generation)
             UNION ALL
             SELECT 2, substr(g.detail, 12), 'protected', NULL FROM ledger AS g
             WHERE g.kind = 1 AND g.id = k.id AND g.target = k.target AND g.operation = 'members'
               AND g.result = 'protected' AND g.generation >= k.generation AND k.written = (
                 SELECT substring(m.version FROM 9) FROM members AS m
                 WHERE m.directory = k.directory AND m.group_id = k.id AND m.user_id = substr(g.detail, 12))
             UNION ALL
             SELECT 3, w.user_id, 'waiting', 'for members whom the vendor does not know yet' FROM waits AS w
             WHERE w.target = k.target AND w.kind = 1 AND w.id = k.id AND k.written = (
                 SELECT substring(m.version FROM 9) FROM members AS m
                 WHERE m.directory = k.directory AND m.group_id = k.id AND m.user_id = w.user_id)
             ORDER BY 1, 2 LIMIT 1) AS open",
        &[&targets, &directories, &ids, &written, &generations],
    )
    .await?;
    let mut fates = Vec::with_capacity(rows.len());
    for row in &rows {
        let place = unsigned(row, 0, "unnest")? - 1;
        let group = usize::try_from(place).ok().and_then(|place| groups.get(place));
        if let Some(group) = group {
            fates.push((group, (row.try_get(1)?, row.try_get(2)?)));
        }
    }
    Ok(fates)
}

//! What sources are to be asked, and what is remembered of them.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use crate::clock::Timestamp;
use crate::directory::Kind;
use crate::store::sqlite::rows::{corrupt, from_json, to_json};
use crate::store::{Errand, ErrandCounts, Settled, StoreError, Topic};

/// Nobody runs anything yet.
pub(super) fn clear(conn: &Connection) -> Result<(), StoreError> {
    conn.execute("UPDATE errands SET busy_until = 0 WHERE busy_until <> 0", [])?;
    Ok(())
}

/// Notes that something is wanted of a source. What fails keeps its time: wanting it more often does
/// not make the source answer.
pub(super) fn want(conn: &Connection, source: &str, topic: &Topic, due: Timestamp) -> Result<(), StoreError> {
    let (kind, id) = topic.columns();
    conn.prepare_cached(
        "INSERT INTO errands (source, kind, id, wanted, since, due, busy_until, attempts)
         VALUES (?1, ?2, ?3, 1, ?4, ?4, 0, 0)
         ON CONFLICT DO UPDATE
         SET wanted = wanted + 1, absent_since = NULL,
             due = CASE attempts WHEN 0 THEN min(due, excluded.due) ELSE due END",
    )?
    .execute(params![source, kind, id, due])?;
    Ok(())
}

/// Notes that the record of everybody is wanted whom a directory has and whose id begins so.
pub(super) fn want_known(
    conn: &Connection,
    source: &str,
    directory: &str,
    kind: Kind,
    prefix: &str,
    due: Timestamp,
) -> Result<(), StoreError> {
    let table = match kind {
        Kind::User => "users",
        Kind::Group => "groups",
    };
    let sql = format!(
        "INSERT INTO errands (source, kind, id, wanted, since, due, busy_until, attempts)
         SELECT ?1, ?2, id, 1, ?5, ?5, 0, 0 FROM {table}
         WHERE directory = ?3 AND gone_since IS NULL AND substr(id, 1, length(?4)) = ?4
         ON CONFLICT DO UPDATE
         SET wanted = wanted + 1, absent_since = NULL,
             due = CASE attempts WHEN 0 THEN min(due, excluded.due) ELSE due END"
    );
    conn.prepare_cached(&sql)?.execute(params![source, kind, directory, prefix, due])?;
    Ok(())
}

/// Whether there is anything to take.
pub(super) fn any_due(conn: &Connection, source: &str, now: Timestamp) -> Result<bool, StoreError> {
    let any = "SELECT EXISTS (SELECT 1 FROM errands WHERE source = ?1 AND due <= ?2 AND busy_until <= ?2)";
    Ok(conn.prepare_cached(any)?.query_row(params![source, now], |row| row.get(0))?)
}

/// Takes errands that are due and that nobody runs, those first that have waited longest.
pub(super) fn take(
    conn: &Connection,
    source: &str,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Errand>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, id, wanted, attempts, since, absent_since FROM errands
         WHERE source = ?1 AND due <= ?2 AND busy_until <= ?2 ORDER BY due LIMIT ?3",
    )?;
    let mut rows = statement.query(params![source, now, limit])?;
    let mut taken = Vec::new();
    while let Some(row) = rows.next()? {
        taken.push(errand(source, row)?);
    }
    let mut busy = conn
        .prepare_cached("UPDATE errands SET busy_until = ?4 WHERE source = ?1 AND kind = ?2 AND id = ?3")?;
    for errand in &taken {
        let (kind, id) = errand.topic.columns();
        busy.execute(params![source, kind, id, until])?;
    }
    Ok(taken)
}

/// Records what became of an errand.
pub(super) fn settle(conn: &Connection, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
    let (kind, id) = errand.topic.columns();
    match settled {
        Settled::Done => {
            conn.prepare_cached(
                "DELETE FROM errands WHERE source = ?1 AND kind = ?2 AND id = ?3 AND wanted = ?4",
            )?
            .execute(params![errand.source, kind, id, errand.wanted])?;
            conn.prepare_cached(
                "UPDATE errands SET busy_until = 0, attempts = 0, absent_since = NULL, failure = NULL
                 WHERE source = ?1 AND kind = ?2 AND id = ?3",
            )?
            .execute(params![errand.source, kind, id])?;
        }
        Settled::Again { due, absent_since, failure } => {
            conn.prepare_cached(
                "UPDATE errands
                 SET busy_until = 0, failure = ?5,
                     attempts = CASE WHEN ?5 IS NULL THEN 0 ELSE attempts + 1 END,
                     due = CASE WHEN wanted = ?7 OR ?5 IS NOT NULL THEN ?4 ELSE min(due, ?4) END,
                     absent_since = CASE wanted WHEN ?7 THEN ?6 END
                 WHERE source = ?1 AND kind = ?2 AND id = ?3",
            )?
            .execute(params![
                errand.source,
                kind,
                id,
                due,
                failure,
                absent_since,
                errand.wanted
            ])?;
        }
    }
    Ok(())
}

/// The errands of each source that has any.
pub(super) fn counts(conn: &Connection) -> Result<BTreeMap<String, ErrandCounts>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT source, count(*) FILTER (WHERE kind < 2), count(*) FILTER (WHERE attempts > 0),
                min(since) FILTER (WHERE kind < 2),
                (SELECT failure FROM errands AS f WHERE f.source = e.source AND f.failure IS NOT NULL
                 ORDER BY attempts DESC, due LIMIT 1)
         FROM errands AS e GROUP BY source",
    )?;
    let counts = |row: &SqlRow<'_>| {
        let counts = ErrandCounts {
            records: row.get(1)?,
            failing: row.get(2)?,
            oldest_since: row.get(3)?,
            failure: row.get(4)?,
        };
        Ok((row.get(0)?, counts))
    };
    Ok(statement.query_map([], counts)?.collect::<Result<_, _>>()?)
}

/// What is remembered of a source under a name.
pub(super) fn memory(
    conn: &Connection,
    source: &str,
    part: &str,
) -> Result<Option<serde_json::Value>, StoreError> {
    let text: Option<String> = conn
        .prepare_cached("SELECT value FROM source_memories WHERE source = ?1 AND part = ?2")?
        .query_row([source, part], |row| row.get(0))
        .optional()?;
    text.map(|text| from_json(&text, "source_memories", &format!("{source} {part}"))).transpose()
}

/// Replaces what is remembered of a source under a name.
pub(super) fn remember(
    conn: &Connection,
    source: &str,
    part: &str,
    value: &serde_json::Value,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO source_memories (source, part, value) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET value = excluded.value",
    )?
    .execute(params![source, part, to_json(value)])?;
    Ok(())
}

fn errand(source: &str, row: &SqlRow<'_>) -> Result<Errand, StoreError> {
    let (kind, id): (i16, String) = (row.get(0)?, row.get(1)?);
    let topic =
        Topic::from_columns(kind, id).ok_or_else(|| corrupt("errands", format!("{source} {kind}")))?;
    Ok(Errand {
        source: source.to_owned(),
        topic,
        wanted: row.get(2)?,
        attempts: row.get(3)?,
        since: row.get(4)?,
        absent_since: row.get(5)?,
    })
}

//! What sources are to be asked, and what is remembered of them. Any replica takes any errand that no
//! other runs.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::Kind;
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, from_json, limit as rows_max, query, query_opt, storable, to_json, unsigned,
    unsigned_int,
};
use crate::store::{Errand, ErrandCounts, Settled, StoreError, Topic};

/// Notes that things are wanted of sources. What fails keeps its time: wanting it more often does not
/// make the source answer. Rows are locked in the order of their keys.
pub(super) async fn want(tx: &Tx<'_>, mut wants: Vec<(String, Topic, Timestamp)>) -> Result<(), StoreError> {
    wants.sort();
    wants.dedup_by(|later, earlier| (&later.0, &later.1) == (&earlier.0, &earlier.1));
    for (source, topic, due) in &wants {
        let (kind, id) = topic.columns();
        execute(
            tx,
            "INSERT INTO errands AS e (source, kind, id, wanted, since, due, busy_until, attempts)
             VALUES ($1, $2, $3, 1, $4, $4, 0, 0)
             ON CONFLICT (source, kind, id) DO UPDATE
             SET wanted = e.wanted + 1, absent_since = NULL,
                 due = CASE e.attempts WHEN 0 THEN least(e.due, excluded.due) ELSE e.due END",
            &[source, &kind, &id, due],
        )
        .await?;
    }
    Ok(())
}

/// Notes that the record of everybody is wanted whom a directory has and whose id begins so.
pub(super) async fn want_known(
    tx: &Tx<'_>,
    source: &str,
    directory: &str,
    kind: Kind,
    prefix: &str,
    due: Timestamp,
) -> Result<(), StoreError> {
    let (table, number) = match kind {
        Kind::User => ("users", 0_i16),
        Kind::Group => ("groups", 1),
    };
    let sql = format!(
        "INSERT INTO errands AS e (source, kind, id, wanted, since, due, busy_until, attempts)
         SELECT $1, $2, id, 1, $5, $5, 0, 0 FROM {table}
         WHERE directory = $3 AND gone_since IS NULL AND starts_with(id, $4) ORDER BY id
         ON CONFLICT (source, kind, id) DO UPDATE
         SET wanted = e.wanted + 1, absent_since = NULL,
             due = CASE e.attempts WHEN 0 THEN least(e.due, excluded.due) ELSE e.due END"
    );
    execute(tx, &sql, &[&source, &number, &directory, &prefix, &due]).await?;
    Ok(())
}

/// Takes errands that are due and that nobody runs, those first that have waited longest.
pub(super) async fn take(
    tx: &Tx<'_>,
    source: &str,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<Errand>, StoreError> {
    let rows = query(
        tx,
        "WITH free AS (
             SELECT source, kind, id FROM errands
             WHERE source = $1 AND due <= $2 AND busy_until <= $2 ORDER BY due LIMIT $4
             FOR UPDATE SKIP LOCKED)
         UPDATE errands AS e SET busy_until = $3 FROM free
         WHERE (e.source, e.kind, e.id) = (free.source, free.kind, free.id)
         RETURNING e.kind, e.id, e.wanted, e.attempts, e.since, e.absent_since",
        &[&source, &now, &until, &rows_max(limit)],
    )
    .await?;
    rows.iter().map(|row| errand(source, row)).collect()
}

/// Records what became of an errand.
pub(super) async fn settle(tx: &Tx<'_>, errand: &Errand, settled: &Settled) -> Result<(), StoreError> {
    let ((kind, id), source, wanted) = (errand.topic.columns(), &errand.source, big(errand.wanted));
    match settled {
        Settled::Done => {
            // The lock makes a want that is under way come first or start anew.
            let row = query_opt(
                tx,
                "SELECT wanted FROM errands WHERE source = $1 AND kind = $2 AND id = $3 FOR UPDATE",
                &[source, &kind, &id],
            )
            .await?;
            let Some(row) = row else { return Ok(()) };
            let sql = if row.try_get::<_, i64>(0)? == wanted {
                "DELETE FROM errands WHERE source = $1 AND kind = $2 AND id = $3"
            } else {
                "UPDATE errands SET busy_until = 0, attempts = 0, absent_since = NULL, failure = NULL
                 WHERE source = $1 AND kind = $2 AND id = $3"
            };
            execute(tx, sql, &[source, &kind, &id]).await?;
        }
        Settled::Again { due, absent_since, failure } => {
            let failure = failure.as_deref().map(storable);
            execute(
                tx,
                "UPDATE errands
                 SET busy_until = 0, failure = $5::text,
                     attempts = CASE WHEN $5::text IS NULL THEN 0 ELSE attempts + 1 END,
                     due = CASE WHEN wanted = $7 OR $5::text IS NOT NULL THEN $4 ELSE least(due, $4) END,
                     absent_since = CASE wanted WHEN $7 THEN $6::bigint END
                 WHERE source = $1 AND kind = $2 AND id = $3",
                &[source, &kind, &id, due, &failure, absent_since, &wanted],
            )
            .await?;
        }
    }
    Ok(())
}

/// The errands of each source that has any.
pub(super) async fn counts(tx: &Tx<'_>) -> Result<BTreeMap<String, ErrandCounts>, StoreError> {
    let rows = query(
        tx,
        "SELECT source, count(*) FILTER (WHERE kind < 2), count(*) FILTER (WHERE attempts > 0),
                min(since) FILTER (WHERE kind < 2),
                (array_agg(failure ORDER BY attempts DESC, due) FILTER (WHERE failure IS NOT NULL))[1]
         FROM errands GROUP BY source",
        &[],
    )
    .await?;
    let counts = |row: &SqlRow| {
        let counts = ErrandCounts {
            records: unsigned(row, 1, "errands")?,
            failing: unsigned(row, 2, "errands")?,
            oldest_since: row.try_get(3)?,
            failure: row.try_get(4)?,
        };
        Ok((row.try_get(0)?, counts))
    };
    rows.iter().map(counts).collect()
}

/// What is remembered of a source under a name.
pub(super) async fn memory(
    tx: &Tx<'_>,
    source: &str,
    part: &str,
) -> Result<Option<serde_json::Value>, StoreError> {
    let sql = "SELECT value FROM source_memories WHERE source = $1 AND part = $2";
    let Some(row) = query_opt(tx, sql, &[&source, &part]).await? else { return Ok(None) };
    from_json(row.try_get(0)?, "source_memories", &format!("{source} {part}")).map(Some)
}

/// Replaces what is remembered of a source under a name.
pub(super) async fn remember(
    tx: &Tx<'_>,
    source: &str,
    part: &str,
    value: &serde_json::Value,
) -> Result<(), StoreError> {
    execute(
        tx,
        "INSERT INTO source_memories (source, part, value) VALUES ($1, $2, $3)
         ON CONFLICT (source, part) DO UPDATE SET value = excluded.value",
        &[&source, &part, &to_json(value)],
    )
    .await?;
    Ok(())
}

fn errand(source: &str, row: &SqlRow) -> Result<Errand, StoreError> {
    let (kind, id): (i16, String) = (row.try_get(0)?, row.try_get(1)?);
    let topic =
        Topic::from_columns(kind, id).ok_or_else(|| corrupt("errands", format!("{source} {kind}")))?;
    Ok(Errand {
        source: source.to_owned(),
        topic,
        wanted: unsigned(row, 2, "errands")?,
        attempts: unsigned_int(row, 3, "errands")?,
        since: row.try_get(4)?,
        absent_since: row.try_get(5)?,
    })
}

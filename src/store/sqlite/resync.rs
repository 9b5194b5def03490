//! What resyncs keep, and what they ask of the directory.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::derived::{OWN, home};
use crate::store::resync::unclaimed;
use crate::store::sqlite::rows::{PENDING, from_json, to_json};
use crate::store::sqlite::{PAGE_MAX, SqliteStore, load, page, targets};
use crate::store::{
    DriftMark, Expected, ExpectedMember, Kept, Lane, LedgerEntry, NewResync, Page, Part, Probe, ResyncRecord,
    ResyncRow, Resyncs, Step, StoreError, Tenure,
};

#[async_trait]
impl Resyncs for SqliteStore {
    async fn begin_resync(&self, new: &NewResync) -> Result<bool, StoreError> {
        let new = new.clone();
        self.writer
            .write(move |conn| {
                let begun = conn.execute(
                    "INSERT INTO resyncs (id, target, at, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    params![new.id, new.target, new.at, to_json(&new.body)],
                )?;
                if let Some(by) = new.by.as_deref().filter(|_| begun > 0) {
                    let entry = LedgerEntry::by_hand(new.at, "resync_ordered", by, format!("{}, by {by}", new.id));
                    targets::note(conn, &new.target, &entry)?;
                }
                Ok(begun > 0)
            })
            .await
    }

    async fn resync(&self, id: &str) -> Result<Option<ResyncRecord>, StoreError> {
        let id = id.to_owned();
        self.readers.read(move |conn| Ok(records(conn, "id = ?1", &id, 1)?.pop())).await
    }

    async fn resyncs(&self, target: &str, limit: usize) -> Result<Vec<ResyncRecord>, StoreError> {
        let (target, limit) = (target.to_owned(), limit.min(PAGE_MAX));
        self.readers.read(move |conn| records(conn, "target = ?1", &target, limit)).await
    }

    async fn cancel_resync(&self, id: &str, actor: &str, now: Timestamp) -> Result<bool, StoreError> {
        let (id, actor) = (id.to_owned(), actor.to_owned());
        self.writer
            .write(move |conn| {
                let sql = "UPDATE resyncs SET cancelled = 1 WHERE id = ?1 AND ended = 0 RETURNING target";
                let target: Option<String> = conn.query_row(sql, [&id], |row| row.get(0)).optional()?;
                if let Some(target) = &target {
                    let detail = format!("{id}, by {actor}");
                    let entry = LedgerEntry::by_hand(now, "resync_cancelled", &actor, detail);
                    targets::note(conn, target, &entry)?;
                }
                Ok(target.is_some())
            })
            .await
    }

    async fn keep_resync(&self, id: &str, step: Step, body: &Value) -> Result<Kept, StoreError> {
        let (id, body) = (id.to_owned(), body.clone());
        self.writer.write(move |conn| keep(conn, &id, &step, &body)).await
    }

    async fn end_resync(&self, id: &str, body: &Value) -> Result<(), StoreError> {
        let (id, body) = (id.to_owned(), body.clone());
        self.writer.write(move |conn| end(conn, &id, &body)).await
    }

    async fn forget_resyncs(&self, target: &str, keep: usize) -> Result<(), StoreError> {
        self.in_pieces(target, forget_read).await?;
        self.in_pieces(target, move |conn, target| forget_old(conn, target, keep)).await?;
        // A resync goes after all of its rows, or nothing would lead to them any more.
        let target = target.to_owned();
        self.writer.write(move |conn| drop_old(conn, &target, keep)).await
    }

    async fn resync_rows(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ResyncRow>, StoreError> {
        let (id, after, limit) = (id.to_owned(), after.unwrap_or("").to_owned(), limit.min(PAGE_MAX));
        self.readers
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT name, external_id, match_value, claimed, body, NULL FROM resync_rows
                     WHERE resync = ?1 AND part = ?2 AND name > ?3 ORDER BY name LIMIT ?4",
                )?;
                let rows = statement
                    .query_map(params![id, part.number(), after, limit + 1], |row| row_at(part, row))?;
                let rows = rows.map(|row| finish(row?)).collect::<Result<_, _>>()?;
                Ok(page(rows, limit, |row: &ResyncRow| row.name.clone()))
            })
            .await
    }

    async fn resync_unclaimed(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, StoreError> {
        let (id, after, limit) = (id.to_owned(), after.unwrap_or("").to_owned(), limit.min(PAGE_MAX));
        self.readers
            .read(move |conn| {
                let mut statement = conn.prepare_cached(
                    "SELECT name, claimed FROM resync_rows
                     WHERE resync = ?1 AND part = ?2 AND name > ?3 ORDER BY name LIMIT ?4",
                )?;
                let rows = statement.query_map(params![id, part.number(), after, limit + 1], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
                Ok(unclaimed(page(rows.collect::<Result<_, _>>()?, limit, |(name, _)| name.clone())))
            })
            .await
    }

    async fn resync_like(
        &self,
        id: &str,
        part: Part,
        probes: &[Probe],
    ) -> Result<Vec<Vec<ResyncRow>>, StoreError> {
        let (id, probes) = (id.to_owned(), probes.to_vec());
        self.readers.read(move |conn| probes.iter().map(|probe| like(conn, &id, part, probe)).collect()).await
    }

    async fn expected(
        &self,
        target: &str,
        kind: Kind,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<Expected>, StoreError> {
        let (target, after, limit) = (target.to_owned(), after.cloned(), limit.min(PAGE_MAX));
        self.readers.read(move |conn| expected(conn, &target, kind, after.as_ref(), limit)).await
    }

    async fn expected_among(
        &self,
        target: &str,
        kind: Kind,
        ids: &[ExternalId],
    ) -> Result<Vec<Expected>, StoreError> {
        let (target, ids) = (target.to_owned(), ids.to_vec());
        self.readers.read(move |conn| expected_among(conn, &target, kind, ids)).await
    }

    async fn expected_members(
        &self,
        target: &str,
        group: &ExternalId,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<ExpectedMember>, StoreError> {
        let (target, after) = (target.to_owned(), after.cloned());
        let group = ResourceKey::group(group.clone());
        self.readers
            .read(move |conn| members(conn, &target, &group, after.as_ref(), limit.min(PAGE_MAX)))
            .await
    }

    async fn expected_counts(&self, target: &str, kind: Kind) -> Result<(u64, u64), StoreError> {
        let target = target.to_owned();
        self.readers
            .read(move |conn| {
                let linked = conn.query_row(
                    "SELECT count(*) FROM links WHERE target = ?1 AND kind = ?2 AND vendor_id IS NOT NULL",
                    params![target, kind],
                    |row| row.get(0),
                )?;
                let table = table(kind);
                let held = conn.query_row(
                    &format!(
                        "SELECT count(*) FROM targets AS t
                         JOIN {table} AS d ON d.directory IN (t.directory, ?2)
                         WHERE t.name = ?1 AND d.gone_since IS NULL"
                    ),
                    params![target, format!("{OWN}{target}")],
                    |row| row.get(0),
                )?;
                Ok((linked, held))
            })
            .await
    }

    async fn mark_drifted(
        &self,
        tenure: &Tenure,
        marks: &[DriftMark],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (tenure, marks) = (tenure.clone(), marks.to_vec());
        self.writer.write(move |conn| mark(conn, &tenure, &marks, now)).await
    }
}

const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "users",
        Kind::Group => "groups",
    }
}

fn records(
    conn: &Connection,
    condition: &str,
    value: &str,
    limit: usize,
) -> Result<Vec<ResyncRecord>, StoreError> {
    let sql = format!(
        "SELECT id, target, at, ended, cancelled, body FROM resyncs WHERE {condition} ORDER BY seq DESC LIMIT ?2"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![value, limit])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let body = from_json(&row.get::<_, String>(5)?, "resyncs", &id)?;
        records.push(ResyncRecord {
            id,
            target: row.get(1)?,
            at: row.get(2)?,
            ended: row.get(3)?,
            cancelled: row.get(4)?,
            body,
        });
    }
    Ok(records)
}

fn keep(conn: &Connection, id: &str, step: &Step, body: &Value) -> Result<Kept, StoreError> {
    for part in &step.forgotten {
        conn.prepare_cached("DELETE FROM resync_rows WHERE resync = ?1 AND part = ?2")?
            .execute(params![id, part.number()])?;
    }
    let fresh = put(conn, id, &step.rows)?;
    let mut claim = conn
        .prepare_cached("UPDATE resync_rows SET claimed = 1 WHERE resync = ?1 AND part = ?2 AND name = ?3")?;
    for (part, name) in &step.claimed {
        claim.execute(params![id, part.number(), name])?;
    }
    conn.prepare_cached("UPDATE resyncs SET body = ?2 WHERE id = ?1")?.execute(params![id, to_json(body)])?;
    let cancelled = conn
        .query_row("SELECT cancelled FROM resyncs WHERE id = ?1", [id], |row| row.get(0))
        .optional()?
        .unwrap_or(true);
    Ok(Kept { fresh, cancelled })
}

/// Writes rows; answers how many were not there before.
fn put(conn: &Connection, id: &str, rows: &[ResyncRow]) -> Result<u64, StoreError> {
    let mut known = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM resync_rows WHERE resync = ?1 AND part = ?2 AND name = ?3)",
    )?;
    let mut put = conn.prepare_cached(
        "INSERT INTO resync_rows (resync, part, name, external_id, match_value, claimed, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE
         SET external_id = excluded.external_id, match_value = excluded.match_value,
             claimed = excluded.claimed, body = excluded.body",
    )?;
    let mut fresh = 0;
    for row in rows {
        let part = row.part.number();
        let is_known: bool = known.query_row(params![id, part, row.name], |row| row.get(0))?;
        fresh += u64::from(!is_known);
        put.execute(params![
            id,
            part,
            row.name,
            row.external_id,
            row.match_value,
            row.claimed,
            to_json(&row.body)
        ])?;
    }
    Ok(fresh)
}

impl SqliteStore {
    /// Deletes piece after piece, until one is not full. Who else writes comes in between: a vendor of a
    /// million accounts would hold up every sender for seconds.
    async fn in_pieces<D>(&self, target: &str, delete: D) -> Result<(), StoreError>
    where
        D: Fn(&Connection, &str) -> Result<usize, StoreError> + Copy + Send + 'static,
    {
        loop {
            let target = target.to_owned();
            if self.writer.write(move |conn| delete(conn, &target)).await? < PIECE {
                return Ok(());
            }
        }
    }
}

/// Rows deleted at a time.
const PIECE: usize = 1_000;

/// The ended resyncs of a target but the newest so many.
const OLD: &str =
    "SELECT id FROM resyncs WHERE target = ?1 AND ended = 1 ORDER BY seq DESC LIMIT -1 OFFSET ?2";

fn forget_read(conn: &Connection, target: &str) -> Result<usize, StoreError> {
    let mut statement = conn.prepare_cached(
        "DELETE FROM resync_rows WHERE rowid IN
             (SELECT rowid FROM resync_rows
              WHERE resync IN (SELECT id FROM resyncs WHERE target = ?1 AND ended = 1) AND part IN (?2, ?3)
              LIMIT ?4)",
    )?;
    let parts = [Kind::User, Kind::Group].map(|kind| Part::of(kind).number());
    Ok(statement.execute(params![target, parts[0], parts[1], PIECE])?)
}

fn end(conn: &Connection, id: &str, body: &Value) -> Result<(), StoreError> {
    conn.execute("UPDATE resyncs SET body = ?2, ended = 1 WHERE id = ?1", params![id, to_json(body)])?;
    Ok(())
}

fn forget_old(conn: &Connection, target: &str, keep: usize) -> Result<usize, StoreError> {
    let mut statement = conn.prepare_cached(&format!(
        "DELETE FROM resync_rows WHERE rowid IN
             (SELECT rowid FROM resync_rows WHERE resync IN ({OLD}) LIMIT ?3)"
    ))?;
    Ok(statement.execute(params![target, keep, PIECE])?)
}

fn drop_old(conn: &Connection, target: &str, keep: usize) -> Result<(), StoreError> {
    conn.execute(&format!("DELETE FROM resyncs WHERE id IN ({OLD})"), params![target, keep])?;
    Ok(())
}

type RawRow = (ResyncRow, String);

fn row_at(part: Part, row: &SqlRow<'_>) -> rusqlite::Result<RawRow> {
    let read = ResyncRow {
        part,
        name: row.get(0)?,
        external_id: row.get(1)?,
        match_value: row.get(2)?,
        claimed: row.get(3)?,
        holder: row.get(5)?,
        body: Value::Null,
    };
    Ok((read, row.get(4)?))
}

fn finish((row, body): RawRow) -> Result<ResyncRow, StoreError> {
    let body = from_json(&body, "resync_rows", &row.name)?;
    Ok(ResyncRow { body, ..row })
}

/// What may be meant by a name, an external id and a value, each of which may be NULL.
///
/// One search per index, each named: by itself SQLite goes through all rows of the part in the order of their
/// names, and through all links in the order of their ids.
const LIKE: &str = "SELECT r.name, r.external_id, r.match_value, r.claimed, r.body,
            (SELECT l.id FROM links AS l INDEXED BY links_of_vendor
             WHERE l.target = (SELECT target FROM resyncs WHERE id = ?1) AND l.kind = ?2
               AND l.vendor_id = r.name ORDER BY l.id LIMIT 1)
     FROM resync_rows AS r WHERE r.resync = ?1 AND r.part = ?2 AND r.name IN (
         SELECT ?3
         UNION SELECT name FROM resync_rows INDEXED BY resync_rows_by_external_id
               WHERE resync = ?1 AND part = ?2 AND external_id = ?4
         UNION SELECT name FROM resync_rows INDEXED BY resync_rows_by_match_value
               WHERE resync = ?1 AND part = ?2 AND match_value = ?5)
     ORDER BY r.name LIMIT 20";

fn like(conn: &Connection, id: &str, part: Part, probe: &Probe) -> Result<Vec<ResyncRow>, StoreError> {
    let mut statement = conn.prepare_cached(LIKE)?;
    let rows = statement
        .query_map(params![id, part.number(), probe.name, probe.external_id, probe.match_value], |row| {
            row_at(part, row)
        })?;
    rows.map(|row| finish(row?)).collect()
}

fn expected(
    conn: &Connection,
    target: &str,
    kind: Kind,
    after: Option<&ExternalId>,
    limit: usize,
) -> Result<Vec<Expected>, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(Vec::new()) };
    let table = table(kind);
    // One search per directory: with IN in their place SQLite may sort all that follows.
    let sql = format!(
        "SELECT id FROM (
             SELECT * FROM (SELECT id FROM {table} WHERE directory = ?1 AND id > ?3 ORDER BY id LIMIT ?4)
             UNION ALL
             SELECT * FROM (SELECT id FROM {table} WHERE directory = ?2 AND id > ?3 ORDER BY id LIMIT ?4))
         ORDER BY id LIMIT ?4"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let after = after.map_or("", ExternalId::as_str);
    let own = format!("{OWN}{target}");
    let ids = statement.query_map(params![directory, own, after, limit], |row| row.get(0))?;
    expected_among(conn, target, kind, ids.collect::<Result<_, _>>()?)
}

fn expected_among(
    conn: &Connection,
    target: &str,
    kind: Kind,
    mut ids: Vec<ExternalId>,
) -> Result<Vec<Expected>, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(Vec::new()) };
    let table = table(kind);
    let mut statement = conn.prepare_cached(&format!(
        "SELECT d.generation, w.state FROM {table} AS d
         LEFT JOIN work AS w ON w.target = ?2 AND w.kind = ?3 AND w.id = d.id
         WHERE d.directory = ?1 AND d.id = ?4"
    ))?;
    ids.sort();
    ids.dedup();
    let mut expected = Vec::with_capacity(ids.len());
    for id in ids {
        let key = ResourceKey { kind, id };
        let home = home(target, &directory, &key);
        let row = statement
            .query_row(params![home, target, kind, key.id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((generation, state)) = row else { continue };
        let state: Option<i64> = state;
        let dossier = load::unasked(conn, target, &home, &key, generation)?;
        expected.push(Expected { dossier, pending: state == Some(PENDING) });
    }
    Ok(expected)
}

fn members(
    conn: &Connection,
    target: &str,
    group: &ResourceKey,
    after: Option<&ExternalId>,
    limit: usize,
) -> Result<Vec<ExpectedMember>, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(Vec::new()) };
    let mut statement = conn.prepare_cached(
        "SELECT m.user_id, m.present, l.vendor_id FROM members AS m
         LEFT JOIN links AS l ON l.target = ?1 AND l.kind = 0 AND l.id = m.user_id
         WHERE m.directory = ?2 AND m.group_id = ?3 AND m.user_id > ?4 ORDER BY m.user_id LIMIT ?5",
    )?;
    let after = after.map_or("", ExternalId::as_str);
    let home = home(target, &directory, group);
    let rows = statement.query_map(params![target, home, group.id, after, limit], |row| {
        Ok(ExpectedMember { user: row.get(0)?, present: row.get(1)?, vendor_id: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn mark(conn: &Connection, tenure: &Tenure, marks: &[DriftMark], now: Timestamp) -> Result<(), StoreError> {
    let directory = targets::check_tenure(conn, tenure)?;
    let target = &tenure.target;
    for DriftMark { key, link, reread, members } in marks {
        let home = home(target, &directory, key);
        if let Some(vendor_id) = link {
            conn.prepare_cached(
                "INSERT INTO links (target, kind, id, vendor_id, synced_generation, synced_members, applied)
                 VALUES (?1, ?2, ?3, ?4, 0, 0, '{}')
                 ON CONFLICT DO UPDATE
                 SET vendor_id = excluded.vendor_id, checked_at = NULL, etag = NULL, synced_generation = 0,
                     synced_members = 0, applied = '{}'",
            )?
            .execute(params![target, key.kind, key.id, vendor_id])?;
            if key.kind == Kind::User {
                conn.prepare_cached("UPDATE waits SET ready = 1 WHERE target = ?1 AND user_id = ?2")?
                    .execute(params![target, key.id])?;
            }
        }
        if *reread {
            conn.prepare_cached(
                "UPDATE links SET applied = '{}', etag = NULL WHERE target = ?1 AND kind = ?2 AND id = ?3",
            )?
            .execute(params![target, key.kind, key.id])?;
        }
        for user in members {
            conn.prepare_cached(
                "INSERT INTO waits (target, kind, id, user_id, ready)
                 SELECT ?1, 1, ?2, ?3, 1 WHERE EXISTS (
                     SELECT 1 FROM members WHERE directory = ?4 AND group_id = ?2 AND user_id = ?3)
                 ON CONFLICT DO UPDATE SET ready = 1",
            )?
            .execute(params![target, key.id, user, home])?;
            conn.prepare_cached(
                "DELETE FROM parked_members WHERE target = ?1 AND group_id = ?2 AND user_id = ?3",
            )?
            .execute(params![target, key.id, user])?;
        }
        let (table, urgent, lane) = match key.kind {
            Kind::User => ("users", "NOT has_access", Lane::Deprovision),
            Kind::Group => ("groups", "is_deleted", Lane::Revoke),
        };
        conn.prepare_cached(&format!(
            "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
             SELECT ?1, ?2, id, CASE WHEN {urgent} THEN ?5 ELSE ?6 END, 0, ?4, ?4, 0, generation
             FROM {table} WHERE directory = ?7 AND id = ?3
             ON CONFLICT DO UPDATE
             SET lane = min(lane, excluded.lane), woken = 1, state = 0, due = min(due, excluded.due),
                 attempts = 0, failed_at = NULL, parked_at = NULL, reason = NULL"
        ))?
        .execute(params![target, key.kind, key.id, now, lane, Lane::Backfill, home])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::sqlite::connection::WriteConnection;
    use crate::store::sqlite::{Options, migrate};

    #[test]
    fn what_may_be_meant_is_asked_for_without_being_prepared_anew() {
        let folder = tempfile::tempdir().unwrap();
        let conn = WriteConnection::open(&folder.path().join("relay.db"), &Options::default()).unwrap().conn;
        migrate::migrate(&conn).unwrap();
        for number in 0..3 {
            let name = (number > 0).then(|| format!("v{number}"));
            let probe = Probe { name, external_id: Some(format!("u-{number}")), match_value: None };
            assert_eq!(like(&conn, "one", Part::User, &probe).unwrap(), []);
        }
        let statement = conn.prepare_cached(LIKE).unwrap();
        let times = [StatementStatus::Run, StatementStatus::RePrepare].map(|what| statement.get_status(what));
        assert_eq!(times, [3, 0]);
    }
}

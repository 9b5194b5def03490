//! What resyncs keep, and what they ask of the directory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use serde_json::Value;
use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind};
use crate::store::derived::home;
use crate::store::postgres::hints::Told;
use crate::store::postgres::page::page;
use crate::store::postgres::rows::{
    Tx, execute, from_json, limit as row_limit, query, query_one, query_opt, storable, to_json, unsigned,
};
use crate::store::postgres::{PAGE_MAX, PostgresStore, load, targets};
use crate::store::resync::unclaimed;
use crate::store::{
    DriftMark, Expected, ExpectedMember, Kept, Lane, LedgerEntry, NewResync, Page, Part, Probe, ResyncRecord,
    ResyncRow, Resyncs, Step, StoreError, Tenure,
};

#[async_trait]
impl Resyncs for PostgresStore {
    async fn begin_resync(&self, new: &NewResync) -> Result<bool, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let sql = "INSERT INTO resyncs (id, target, at, body) VALUES ($1, $2, $3, $4)
                               ON CONFLICT DO NOTHING";
                    let begun =
                        execute(tx, sql, &[&new.id, &new.target, &new.at, &to_json(&new.body)]).await?;
                    if let Some(by) = new.by.as_deref().filter(|_| begun > 0) {
                        let detail = format!("{}, by {by}", new.id);
                        let entry = LedgerEntry::by_hand(new.at, "resync_ordered", by, detail);
                        targets::note(tx, &new.target, &entry).await?;
                    }
                    self.hints.tell(tx, Told::work_of(&new.target)).await?;
                    Ok(begun > 0)
                }
                .boxed()
            })
            .await
    }

    async fn resync(&self, id: &str) -> Result<Option<ResyncRecord>, StoreError> {
        self.database.read(|tx, _| async move { Ok(records(tx, "id", id, 1).await?.pop()) }.boxed()).await
    }

    async fn resyncs(&self, target: &str, limit: usize) -> Result<Vec<ResyncRecord>, StoreError> {
        self.database.read(|tx, _| records(tx, "target", target, limit.min(PAGE_MAX)).boxed()).await
    }

    async fn cancel_resync(&self, id: &str, actor: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.database
            .write(|tx, _| {
                async move {
                    let sql =
                        "UPDATE resyncs SET cancelled = true WHERE id = $1 AND NOT ended RETURNING target";
                    let Some(row) = query_opt(tx, sql, &[&storable(id)]).await? else { return Ok(false) };
                    let detail = format!("{id}, by {actor}");
                    let entry = LedgerEntry::by_hand(now, "resync_cancelled", actor, detail);
                    targets::note(tx, row.try_get(0)?, &entry).await?;
                    Ok(true)
                }
                .boxed()
            })
            .await
    }

    async fn keep_resync(&self, id: &str, step: Step, body: &Value) -> Result<Kept, StoreError> {
        let step = &step;
        if step.forgotten.is_empty() {
            self.database.write(|tx, _| keep(tx, id, step, body).boxed()).await
        } else {
            self.database.write_long(|tx, _| keep(tx, id, step, body).boxed()).await
        }
    }

    async fn end_resync(&self, id: &str, body: &Value) -> Result<(), StoreError> {
        self.database.write(|tx, _| end(tx, id, body).boxed()).await
    }

    async fn forget_resyncs(&self, target: &str, keep: usize) -> Result<(), StoreError> {
        self.database.write_long(|tx, _| forget(tx, target, keep).boxed()).await
    }

    async fn resync_rows(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<ResyncRow>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| rows(tx, id, part, after.unwrap_or(""), limit).boxed()).await
    }

    async fn resync_unclaimed(
        &self,
        id: &str,
        part: Part,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<String>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.database.read(|tx, _| names(tx, id, part, after.unwrap_or(""), limit).boxed()).await
    }

    async fn resync_like(
        &self,
        id: &str,
        part: Part,
        probes: &[Probe],
    ) -> Result<Vec<Vec<ResyncRow>>, StoreError> {
        self.database.read(|tx, _| like(tx, id, part, probes).boxed()).await
    }

    async fn expected(
        &self,
        target: &str,
        kind: Kind,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<Expected>, StoreError> {
        let after = after.map_or("", ExternalId::as_str);
        self.database.read(|tx, _| load::unasked(tx, target, kind, after, limit.min(PAGE_MAX)).boxed()).await
    }

    async fn expected_among(
        &self,
        target: &str,
        kind: Kind,
        ids: &[ExternalId],
    ) -> Result<Vec<Expected>, StoreError> {
        self.database.read(|tx, _| load::unasked_among(tx, target, kind, ids).boxed()).await
    }

    async fn expected_members(
        &self,
        target: &str,
        group: &ExternalId,
        after: Option<&ExternalId>,
        limit: usize,
    ) -> Result<Vec<ExpectedMember>, StoreError> {
        let after = after.map_or("", ExternalId::as_str);
        self.database.read(|tx, _| members(tx, target, group, after, limit.min(PAGE_MAX)).boxed()).await
    }

    async fn expected_counts(&self, target: &str, kind: Kind) -> Result<(u64, u64), StoreError> {
        self.database.read(|tx, _| counts(tx, target, kind).boxed()).await
    }

    async fn mark_drifted(
        &self,
        tenure: &Tenure,
        marks: &[DriftMark],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.database
            .write_long(|tx, _| {
                async move {
                    mark(tx, tenure, marks, now).await?;
                    self.hints.tell(tx, Told::work_of(&tenure.target)).await
                }
                .boxed()
            })
            .await
    }
}

const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "users",
        Kind::Group => "groups",
    }
}

async fn records(
    tx: &Tx<'_>,
    column: &str,
    value: &str,
    limit: usize,
) -> Result<Vec<ResyncRecord>, StoreError> {
    let sql = format!(
        "SELECT id, target, at, ended, cancelled, body FROM resyncs WHERE {column} = $1
         ORDER BY seq DESC LIMIT $2"
    );
    let record = |row: &SqlRow| {
        let id: String = row.try_get(0)?;
        let body = from_json(row.try_get(5)?, "resyncs", &id)?;
        let (target, at) = (row.try_get(1)?, row.try_get(2)?);
        Ok(ResyncRecord { id, target, at, ended: row.try_get(3)?, cancelled: row.try_get(4)?, body })
    };
    query(tx, &sql, &[&storable(value), &row_limit(limit)]).await?.iter().map(record).collect()
}

async fn keep(tx: &Tx<'_>, id: &str, step: &Step, body: &Value) -> Result<Kept, StoreError> {
    for part in &step.forgotten {
        let sql = "DELETE FROM resync_rows WHERE resync = $1 AND part = $2";
        execute(tx, sql, &[&id, &part.number()]).await?;
    }
    let fresh = put(tx, id, &step.rows).await?;
    if !step.claimed.is_empty() {
        let parts: Vec<_> = step.claimed.iter().map(|(part, _)| part.number()).collect();
        let names: Vec<_> = step.claimed.iter().map(|(_, name)| storable(name)).collect();
        execute(
            tx,
            "UPDATE resync_rows AS r SET claimed = true
             FROM unnest($2::smallint[], $3::text[]) AS c (part, name)
             WHERE r.resync = $1 AND r.part = c.part AND r.name = c.name COLLATE \"C\"",
            &[&id, &parts, &names],
        )
        .await?;
    }
    let sql = "UPDATE resyncs SET body = $2 WHERE id = $1 RETURNING cancelled";
    let kept = query_opt(tx, sql, &[&id, &to_json(body)]).await?;
    let cancelled = kept.map(|row| row.try_get(0)).transpose()?.unwrap_or(true);
    Ok(Kept { fresh, cancelled })
}

/// Writes rows in one statement; answers how many were not there before.
async fn put(tx: &Tx<'_>, id: &str, rows: &[ResyncRow]) -> Result<u64, StoreError> {
    // No statement takes the same name twice: the later row stands.
    let rows: BTreeMap<_, _> =
        rows.iter().map(|row| ((row.part.number(), storable(&row.name)), row)).collect();
    if rows.is_empty() {
        return Ok(0);
    }
    let (parts, names): (Vec<_>, Vec<_>) = rows.keys().cloned().unzip();
    let rows = || rows.values();
    let external_ids: Vec<_> = rows().map(|row| row.external_id.as_deref().map(storable)).collect();
    let match_values: Vec<_> = rows().map(|row| row.match_value.as_deref().map(storable)).collect();
    let claimed: Vec<_> = rows().map(|row| row.claimed).collect();
    let bodies: Vec<_> = rows().map(|row| to_json(&row.body)).collect();
    // xmax is 0 in a row that was inserted, and not updated.
    let put = query(
        tx,
        "INSERT INTO resync_rows (resync, part, name, external_id, match_value, claimed, body)
         SELECT $1, given.* FROM unnest($2::smallint[], $3::text[], $4::text[], $5::text[], $6::boolean[],
                                        $7::text[]) AS given
         ON CONFLICT (resync, part, name) DO UPDATE
         SET external_id = excluded.external_id, match_value = excluded.match_value,
             claimed = excluded.claimed, body = excluded.body
         RETURNING xmax = 0",
        &[&id, &parts, &names, &external_ids, &match_values, &claimed, &bodies],
    )
    .await?;
    let mut fresh = 0;
    for row in put {
        fresh += u64::from(row.try_get::<_, bool>(0)?);
    }
    Ok(fresh)
}

async fn end(tx: &Tx<'_>, id: &str, body: &Value) -> Result<(), StoreError> {
    let sql = "UPDATE resyncs SET body = $2, ended = true WHERE id = $1";
    execute(tx, sql, &[&id, &to_json(body)]).await.map(drop)
}

async fn forget(tx: &Tx<'_>, target: &str, keep: usize) -> Result<(), StoreError> {
    let sql = "DELETE FROM resync_rows
               WHERE resync IN (SELECT id FROM resyncs WHERE target = $1 AND ended) AND part <> $2";
    execute(tx, sql, &[&target, &Part::Finding.number()]).await?;
    let old = "SELECT id FROM resyncs WHERE target = $1 AND ended ORDER BY seq DESC OFFSET $2";
    let keep = row_limit(keep);
    execute(tx, &format!("DELETE FROM resync_rows WHERE resync IN ({old})"), &[&target, &keep]).await?;
    execute(tx, &format!("DELETE FROM resyncs WHERE id IN ({old})"), &[&target, &keep]).await?;
    Ok(())
}

async fn rows(
    tx: &Tx<'_>,
    id: &str,
    part: Part,
    after: &str,
    limit: usize,
) -> Result<Page<ResyncRow>, StoreError> {
    let sql = "SELECT name, external_id, match_value, claimed, body, NULL::text FROM resync_rows
               WHERE resync = $1 AND part = $2 AND name > $3 ORDER BY name LIMIT $4";
    let found =
        query(tx, sql, &[&storable(id), &part.number(), &storable(after), &row_limit(limit + 1)]).await?;
    let rows = found.iter().map(|row| row_at(part, row)).collect::<Result<Vec<_>, _>>()?;
    Ok(page(rows, limit, |row: &ResyncRow| row.name.clone()))
}

fn row_at(part: Part, row: &SqlRow) -> Result<ResyncRow, StoreError> {
    let name: String = row.try_get(0)?;
    let body = from_json(row.try_get(4)?, "resync_rows", &name)?;
    Ok(ResyncRow {
        part,
        name,
        external_id: row.try_get(1)?,
        match_value: row.try_get(2)?,
        claimed: row.try_get(3)?,
        holder: row.try_get(5)?,
        body,
    })
}

async fn names(
    tx: &Tx<'_>,
    id: &str,
    part: Part,
    after: &str,
    limit: usize,
) -> Result<Page<String>, StoreError> {
    let sql = "SELECT name, claimed FROM resync_rows WHERE resync = $1 AND part = $2 AND name > $3
               ORDER BY name LIMIT $4";
    let found =
        query(tx, sql, &[&storable(id), &part.number(), &storable(after), &row_limit(limit + 1)]).await?;
    let names = found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let names = names.collect::<Result<Vec<(String, bool)>, StoreError>>()?;
    Ok(unclaimed(page(names, limit, |(name, _)| name.clone())))
}

async fn like(
    tx: &Tx<'_>,
    id: &str,
    part: Part,
    probes: &[Probe],
) -> Result<Vec<Vec<ResyncRow>>, StoreError> {
    let column = |of: fn(&Probe) -> Option<&str>| -> Vec<_> {
        probes.iter().map(|probe| of(probe).map(storable)).collect()
    };
    // For each probe one search per index, and then one for each name that it met. OFFSET keeps it so: of
    // rows that have just been written statistics say that there are none, and a plan for none goes through
    // all.
    let found = query(
        tx,
        "SELECT r.name, r.external_id, r.match_value, r.claimed, r.body,
                (SELECT l.id FROM links AS l
                 WHERE l.target = (SELECT target FROM resyncs WHERE id = $1) AND l.kind = $2
                   AND l.vendor_id = r.name ORDER BY l.id LIMIT 1), p.position
         FROM unnest($3::text[], $4::text[], $5::text[]) WITH ORDINALITY
              AS p (name, external_id, match_value, position)
         CROSS JOIN LATERAL (
             SELECT found.* FROM (
                 SELECT p.name COLLATE \"C\" WHERE p.name IS NOT NULL
                 UNION SELECT name FROM resync_rows
                       WHERE resync = $1 AND part = $2 AND external_id = p.external_id COLLATE \"C\"
                 UNION SELECT name FROM resync_rows
                       WHERE resync = $1 AND part = $2 AND match_value = p.match_value COLLATE \"C\")
                 AS met (name)
             CROSS JOIN LATERAL (SELECT * FROM resync_rows
                                 WHERE resync = $1 AND part = $2 AND name = met.name OFFSET 0) AS found
             ORDER BY found.name LIMIT 20) AS r
         ORDER BY p.position, r.name",
        &[
            &storable(id),
            &part.number(),
            &column(|probe| probe.name.as_deref()),
            &column(|probe| probe.external_id.as_deref()),
            &column(|probe| probe.match_value.as_deref()),
        ],
    )
    .await?;
    let mut met = vec![Vec::new(); probes.len()];
    for row in found {
        let position = unsigned(&row, 6, "resync_rows")?;
        let place = usize::try_from(position).ok().and_then(|position| met.get_mut(position.checked_sub(1)?));
        place.expect("each position is a probe's").push(row_at(part, &row)?);
    }
    Ok(met)
}

async fn members(
    tx: &Tx<'_>,
    target: &str,
    group: &ExternalId,
    after: &str,
    limit: usize,
) -> Result<Vec<ExpectedMember>, StoreError> {
    let sql = "SELECT m.user_id, m.present, l.vendor_id FROM targets AS t
               JOIN members AS m ON m.directory = CASE WHEN starts_with($2, 'derived:')
                                        THEN 'derived:' || t.name ELSE t.directory END
                    AND m.group_id = $2 AND m.user_id > $3
               LEFT JOIN links AS l ON l.target = t.name AND l.kind = 0 AND l.id = m.user_id
               WHERE t.name = $1 ORDER BY m.user_id LIMIT $4";
    let member = |row: &SqlRow| {
        Ok(ExpectedMember { user: row.try_get(0)?, present: row.try_get(1)?, vendor_id: row.try_get(2)? })
    };
    query(tx, sql, &[&storable(target), &group, &after, &row_limit(limit)])
        .await?
        .iter()
        .map(member)
        .collect()
}

async fn counts(tx: &Tx<'_>, target: &str, kind: Kind) -> Result<(u64, u64), StoreError> {
    let table = table(kind);
    let sql = format!(
        "SELECT (SELECT count(*) FROM links WHERE target = $1 AND kind = $2 AND vendor_id IS NOT NULL),
                (SELECT count(*) FROM targets AS t
                 JOIN {table} AS d ON d.directory IN (t.directory, 'derived:' || t.name)
                 WHERE t.name = $1 AND d.gone_since IS NULL)"
    );
    let row = query_one(tx, &sql, &[&storable(target), &kind]).await?;
    Ok((unsigned(&row, 0, "links")?, unsigned(&row, 1, table)?))
}

/// Marks drifted resources, if the tenure still holds.
async fn mark(tx: &Tx<'_>, tenure: &Tenure, marks: &[DriftMark], now: Timestamp) -> Result<(), StoreError> {
    let directory = targets::check_tenure(tx, tenure).await?;
    let target = &tenure.target;
    for DriftMark { key, link, reread, members } in marks {
        let home = home(target, &directory, key);
        if let Some(vendor_id) = link {
            execute(
                tx,
                "INSERT INTO links (target, kind, id, vendor_id, synced_generation, synced_members, applied)
                 VALUES ($1, $2, $3, $4, 0, 0, '{}')
                 ON CONFLICT (target, kind, id) DO UPDATE
                 SET vendor_id = excluded.vendor_id, checked_at = NULL, etag = NULL, synced_generation = 0,
                     synced_members = 0, applied = '{}'",
                &[target, &key.kind, &key.id, &storable(vendor_id)],
            )
            .await?;
            if key.kind == Kind::User {
                let sql = "UPDATE waits SET ready = true WHERE target = $1 AND user_id = $2";
                execute(tx, sql, &[target, &key.id]).await?;
            }
        }
        if *reread {
            let sql =
                "UPDATE links SET applied = '{}', etag = NULL WHERE target = $1 AND kind = $2 AND id = $3";
            execute(tx, sql, &[target, &key.kind, &key.id]).await?;
        }
        if !members.is_empty() {
            execute(
                tx,
                "INSERT INTO waits (target, kind, id, user_id, ready)
                 SELECT $1, 1, group_id, user_id, true FROM members
                 WHERE directory = $4 AND group_id = $2 AND user_id = ANY ($3::text[])
                 ON CONFLICT (target, kind, id, user_id) DO UPDATE SET ready = true",
                &[target, &key.id, members, &home],
            )
            .await?;
            let sql = "DELETE FROM parked_members
                       WHERE target = $1 AND group_id = $2 AND user_id = ANY ($3::text[])";
            execute(tx, sql, &[target, &key.id, members]).await?;
        }
        let (table, urgent, lane) = match key.kind {
            Kind::User => ("users", "NOT has_access", Lane::Deprovision),
            Kind::Group => ("groups", "is_deleted", Lane::Revoke),
        };
        let sql = format!(
            "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
             SELECT $1, $2, id, CASE WHEN {urgent} THEN $5::smallint ELSE $6::smallint END, 0, $4, $4, 0,
                    generation
             FROM {table} WHERE directory = $7 AND id = $3
             ON CONFLICT (target, kind, id) DO UPDATE
             SET lane = least(work.lane, excluded.lane), woken = true, state = 0,
                 due = least(work.due, excluded.due), attempts = 0, failed_at = NULL, parked_at = NULL,
                 reason = NULL"
        );
        execute(tx, &sql, &[target, &key.kind, &key.id, &now, &lane, &Lane::Backfill, &home]).await?;
    }
    Ok(())
}

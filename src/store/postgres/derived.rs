//! Groups that a target derives from attributes: who belongs to them is known once a user was judged.

use std::collections::BTreeMap;

use crate::directory::{ExternalId, Group, Kind};
use crate::store::derived::{Judgement, OWN, gathering, version};
use crate::store::postgres::rows::{Tx, big, execute, query, to_json, unsigned};
use crate::store::postgres::targets::LockedTarget;
use crate::store::{Lane, StoreError};

/// Turns what differs from before into memberships and work, each pair once. True when something did.
pub(super) async fn judge(at: &LockedTarget<'_>, given: &[Judgement<'_>]) -> Result<bool, StoreError> {
    let home = format!("{OWN}{}", at.name);
    let changed = differing(at.tx, &home, given).await?;
    if changed.is_empty() {
        return Ok(false);
    }
    let mut counts: BTreeMap<&ExternalId, i64> = BTreeMap::new();
    for change in &changed {
        *counts.entry(change.group).or_default() += 1;
    }
    let mut groups = count_up(at, &home, &counts).await?;
    let mut sequences = Vec::with_capacity(changed.len());
    for change in &changed {
        let Some(group) = groups.get_mut(change.group) else { continue };
        group.sequence += 1;
        sequences.push(big(group.sequence));
    }
    put(at, &home, &changed, &sequences).await?;
    mark(at, &changed, &groups).await?;
    Ok(true)
}

async fn differing<'a>(
    tx: &Tx<'_>,
    home: &str,
    given: &'a [Judgement<'a>],
) -> Result<Vec<&'a Judgement<'a>>, StoreError> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let (groups, users, present) = columns(&given.iter().collect::<Vec<_>>());
    let rows = query(
        tx,
        "SELECT k.place FROM unnest($2::text[], $3::text[], $4::boolean[])
                     WITH ORDINALITY AS k (group_id, user_id, present, place)
         LEFT JOIN members AS m
             ON m.directory = $1 AND m.group_id = k.group_id AND m.user_id = k.user_id
         WHERE coalesce(m.present, false) <> k.present ORDER BY k.place",
        &[&home, &groups, &users, &present],
    )
    .await?;
    let place = |row: &tokio_postgres::Row| {
        let place: i64 = row.try_get(0)?;
        Ok(usize::try_from(place - 1).ok().and_then(|place| given.get(place)))
    };
    Ok(rows.iter().map(place).collect::<Result<Vec<_>, StoreError>>()?.into_iter().flatten().collect())
}

type Columns<'a> = (Vec<&'a ExternalId>, Vec<&'a ExternalId>, Vec<bool>);

fn columns<'a>(judgements: &[&Judgement<'a>]) -> Columns<'a> {
    let groups = judgements.iter().map(|judgement| judgement.group).collect();
    let users = judgements.iter().map(|judgement| judgement.user).collect();
    (groups, users, judgements.iter().map(|judgement| judgement.present).collect())
}

/// A derived group whose counters were raised.
struct Counted {
    generation: u64,
    /// The last sequence that was given out.
    sequence: u64,
}

/// Raises each group's counters by the number of its changes.
async fn count_up(
    at: &LockedTarget<'_>,
    home: &str,
    counts: &BTreeMap<&ExternalId, i64>,
) -> Result<BTreeMap<ExternalId, Counted>, StoreError> {
    let version = version(at.now);
    let body =
        |group: &&ExternalId| to_json(&Group::named(group.derived_name().unwrap_or_default(), &version));
    let bodies: Vec<String> = counts.keys().map(body).collect();
    let (ids, counts): (Vec<&ExternalId>, Vec<i64>) = counts.iter().map(|(id, count)| (*id, *count)).unzip();
    let rows = query(
        at.tx,
        "INSERT INTO groups (directory, id, generation, member_sequence, is_deleted, body)
         SELECT $1, k.id, k.count, k.count, false, k.body
         FROM unnest($2::text[], $3::bigint[], $4::text[]) AS k (id, count, body)
         ON CONFLICT (directory, id) DO UPDATE
         SET generation = groups.generation + excluded.generation,
             member_sequence = groups.member_sequence + excluded.member_sequence
         RETURNING id, generation, member_sequence",
        &[&home, &ids, &counts, &bodies],
    )
    .await?;
    let raised: BTreeMap<&ExternalId, i64> = ids.into_iter().zip(counts).collect();
    let counted = |row: &tokio_postgres::Row| {
        let id: ExternalId = row.try_get(0)?;
        let by = raised.get(&id).copied().unwrap_or(0).unsigned_abs();
        let sequence = unsigned(row, 2, "groups")?.saturating_sub(by);
        Ok((id, Counted { generation: unsigned(row, 1, "groups")?, sequence }))
    };
    rows.iter().map(counted).collect()
}

async fn put(
    at: &LockedTarget<'_>,
    home: &str,
    changed: &[&Judgement<'_>],
    sequences: &[i64],
) -> Result<(), StoreError> {
    let (groups, users, present) = columns(changed);
    execute(
        at.tx,
        "INSERT INTO members (directory, group_id, user_id, present, sequence, version, ended_since)
         SELECT $1, k.group_id, k.user_id, k.present, k.sequence, $6::bytea, CASE WHEN NOT k.present THEN $6::bytea END
         FROM unnest($2::text[], $3::text[], $4::boolean[], $5::bigint[])
             AS k (group_id, user_id, present, sequence)
         ON CONFLICT (directory, group_id, user_id) DO UPDATE
         SET present = excluded.present, sequence = excluded.sequence, version = excluded.version,
             ended_since = excluded.ended_since",
        &[&home, &groups, &users, &present, &sequences, &version(at.now)],
    )
    .await?;
    Ok(())
}

/// A group's work is as old as the oldest user's that led to it.
async fn mark(
    at: &LockedTarget<'_>,
    changed: &[&Judgement<'_>],
    groups: &BTreeMap<ExternalId, Counted>,
) -> Result<(), StoreError> {
    for (lane, users_of) in [(Lane::Revoke, false), (Lane::Membership, true)] {
        let marked: Vec<_> = changed.iter().copied().filter(|change| change.present == users_of).collect();
        if marked.is_empty() {
            continue;
        }
        let (ids, users, _) = columns(&marked);
        let generations: Vec<i64> =
            ids.iter().map(|id| groups.get(*id).map_or(0, |group| big(group.generation))).collect();
        execute(
            at.tx,
            "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
             SELECT $1, $2, k.id, $3, 0, $4, coalesce(min(u.since), $5), 0, max(k.generation)
             FROM unnest($6::text[], $7::text[], $8::bigint[]) AS k (id, user_id, generation)
             LEFT JOIN work AS u ON u.target = $1 AND u.kind = 0 AND u.id = k.user_id
             GROUP BY k.id
             ON CONFLICT (target, kind, id) DO UPDATE
             SET lane = least(work.lane, excluded.lane), state = 0,
                 due = CASE work.state WHEN 0 THEN least(work.due, excluded.due) ELSE excluded.due END,
                 attempts = 0, generation = excluded.generation,
                 failed_at = NULL, parked_at = NULL, reason = NULL",
            &[
                &at.name,
                &Kind::Group,
                &lane,
                &at.now.after(gathering(lane)),
                &at.now,
                &ids,
                &users,
                &generations,
            ],
        )
        .await?;
    }
    Ok(())
}

/// Makes derived groups due that wait for more members, once no user waits to be judged. True when
/// there was one.
pub(super) async fn release(at: &LockedTarget<'_>) -> Result<bool, StoreError> {
    let released = execute(
        at.tx,
        "UPDATE work SET due = $2
         WHERE target = $1 AND kind = 1 AND id >= 'derived:' AND id < 'derived;'
           AND state = 0 AND attempts = 0 AND due > $2
           AND NOT EXISTS (SELECT 1 FROM work AS u
                           WHERE u.target = $1 AND u.state = 0 AND u.lane = ANY ($3::smallint[])
                             AND u.kind = 0)",
        &[&at.name, &at.now, &[Lane::Change, Lane::Backfill].as_slice()],
    )
    .await?;
    Ok(released > 0)
}

//! Marking what a merge has changed as work of the targets that follow the directory.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey, Snapshot};
use crate::store::postgres::rows::{Tx, big, execute, query};
use crate::store::{Lane, StoreError};

/// One resource to be marked.
pub(super) struct Mark {
    key: ResourceKey,
    lane: Lane,
    generation: u64,
    received: Timestamp,
}

/// What a merge has changed. `received` says when the change of a resource was received.
pub(super) fn marks(snapshot: &Snapshot, received: impl Fn(&ResourceKey) -> Timestamp) -> Vec<Mark> {
    let touched = snapshot.touched();
    let users = touched.users.iter().filter(|(_, changed)| **changed).filter_map(|(id, _)| {
        let user = snapshot.user(id)?;
        Some((ResourceKey::user(id.clone()), Lane::of_user(user), user.generation))
    });
    let groups = touched.groups.iter().filter(|(_, how)| how.changed).filter_map(|(id, how)| {
        let group = snapshot.group(id)?;
        Some((ResourceKey::group(id.clone()), Lane::of_group(how.removals), group.generation))
    });
    let marked = users.chain(groups);
    marked.map(|(key, lane, generation)| Mark { received: received(&key), key, lane, generation }).collect()
}

/// The enrolled targets that follow these directories, which must be locked already. Until the
/// transaction ends nobody else changes what they have to do.
pub(super) async fn lock_followers(
    tx: &Tx<'_>,
    directories: &[&str],
) -> Result<BTreeMap<String, Vec<String>>, StoreError> {
    let sql = "SELECT directory, name FROM targets WHERE directory = ANY($1::text[]) AND enrolled
               ORDER BY name FOR NO KEY UPDATE";
    let mut followers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in query(tx, sql, &[&directories]).await? {
        followers.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    Ok(followers)
}

/// Marks work of targets that are locked.
pub(super) async fn mark(tx: &Tx<'_>, targets: &[String], marks: &[Mark]) -> Result<(), StoreError> {
    let kinds: Vec<Kind> = marks.iter().map(|mark| mark.key.kind).collect();
    let ids: Vec<&ExternalId> = marks.iter().map(|mark| &mark.key.id).collect();
    let lanes: Vec<Lane> = marks.iter().map(|mark| mark.lane).collect();
    let generations: Vec<i64> = marks.iter().map(|mark| big(mark.generation)).collect();
    let received: Vec<Timestamp> = marks.iter().map(|mark| mark.received).collect();
    // A row that is in line keeps its place; one that waits, failed or is parked is due at once. A
    // user's lane follows what is desired now; a group's removals stay urgent until they are sent.
    execute(
        tx,
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
         SELECT target, kind, id, lane, 0, received, received, 0, generation
         FROM unnest($1::text[]) AS follower (target),
              unnest($2::smallint[], $3::text[], $4::smallint[], $5::bigint[], $6::bigint[])
                  AS mark (kind, id, lane, generation, received)
         ON CONFLICT (target, kind, id) DO UPDATE
         SET lane = CASE work.kind WHEN 0 THEN excluded.lane ELSE least(work.lane, excluded.lane) END,
             state = 0,
             due = CASE work.state WHEN 0 THEN least(work.due, excluded.due) ELSE excluded.due END,
             attempts = 0, generation = excluded.generation,
             failed_at = NULL, parked_at = NULL, reason = NULL",
        &[&targets, &kinds, &ids, &lanes, &generations, &received],
    )
    .await?;
    Ok(())
}

/// Puts users who are marked already in the leavers' lane, where they have an account to lose.
pub(super) async fn hasten(tx: &Tx<'_>, target: &str, users: &[&ExternalId]) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    execute(
        tx,
        "UPDATE work SET lane = $3 WHERE target = $1 AND kind = 0 AND id = ANY($2::text[])
           AND EXISTS (SELECT 1 FROM links AS l WHERE l.target = $1 AND l.kind = 0 AND l.id = work.id
                       AND l.vendor_id IS NOT NULL)",
        &[&target, &users, &Lane::Deprovision],
    )
    .await?;
    Ok(())
}

//! Work that waits for a person: whole resources, and single members of groups. What changes it locks
//! the target.

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::derived::home;
use crate::store::postgres::page::page as one_page;
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, limit as row_limit, query, storable, to_json, unsigned_int,
};
use crate::store::postgres::targets::LockedTarget;
use crate::store::postgres::{directory, ledger, links, members, targets, work};
use crate::store::{Intent, ItemId, Lane, LedgerEntry, Page, ParkedItem, StoreError};

/// One page, oldest first. `after` is the last item's place: its time and its name.
pub(super) async fn page(
    tx: &Tx<'_>,
    target: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<ParkedItem>, StoreError> {
    let (time, name) = match after {
        None => (Timestamp::from_micros(i64::MIN), ""),
        Some(place) => match place.split_once(' ').map(|(time, name)| (time.parse(), name)) {
            Some((Ok(micros), name)) => (Timestamp::from_micros(micros), name),
            Some((Err(_), _)) | None => return Ok(Page { items: Vec::new(), next: None }),
        },
    };
    let rows = query(
        tx,
        "SELECT name, reason, parked_at, attempts FROM (
             SELECT CASE kind WHEN 0 THEN 'user:' ELSE 'group:' END || id AS name,
                    coalesce(reason, '') AS reason, coalesce(parked_at, due) AS parked_at, attempts
             FROM work WHERE target = $1 AND state = 2
             UNION ALL
             SELECT 'member:' || octet_length(group_id) || ':' || group_id || ':' || user_id,
                    reason, parked_at, 1
             FROM parked_members WHERE target = $1) AS parked
         WHERE (parked_at, name) > ($2, $3) ORDER BY parked_at, name LIMIT $4",
        &[&storable(target), &time, &storable(name), &row_limit(limit + 1)],
    )
    .await?;
    let mut items = Vec::new();
    for row in &rows {
        let name: &str = row.try_get(0)?;
        let id = name.parse().map_err(|()| corrupt("work", name))?;
        let attempts = unsigned_int(row, 3, "work")?;
        items.push(ParkedItem { id, reason: row.try_get(1)?, parked_at: row.try_get(2)?, attempts });
    }
    Ok(one_page(items, limit, |item| format!("{} {}", item.parked_at.as_micros(), item.id)))
}

/// Makes a parked item pending again.
pub(super) async fn retry(
    tx: &Tx<'_>,
    target: &str,
    id: &ItemId,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::lock(tx, target).await? else { return Ok(false) };
    let at = LockedTarget { tx, name: target, directory: &directory, now };
    let (key, retried, detail) = match id {
        ItemId::Resource(key) => {
            let retried = execute(
                tx,
                "UPDATE work SET state = 0, due = $4, attempts = 0, failed_at = NULL, parked_at = NULL,
                                 reason = NULL
                 WHERE target = $1 AND kind = $2 AND id = $3 AND state = 2",
                &[&target, &key.kind, &key.id, &now],
            )
            .await?;
            (key.clone(), retried > 0, format!("by {actor}"))
        }
        ItemId::Member { group, user } => {
            let retried = retry_member(&at, group, user).await?;
            (ResourceKey::group(group.clone()), retried, format!("member {user}, by {actor}"))
        }
    };
    if retried {
        note(&at, &key, &LedgerEntry::by_hand(now, "retried", actor, detail)).await?;
    }
    Ok(retried)
}

/// The member waits for its user like any other, and is sent at once where the user is linked.
async fn retry_member(
    at: &LockedTarget<'_>,
    group: &ExternalId,
    user: &ExternalId,
) -> Result<bool, StoreError> {
    if members::end_parkings(at, &[(group, user)]).await? == 0 {
        return Ok(false);
    }
    let key = ResourceKey::group(group.clone());
    members::wait_for(at, &[(&key, user)]).await?;
    work::make_due(at, &key).await?;
    Ok(true)
}

/// Makes a resource due before all others of its lane, and has the vendor asked first.
pub(super) async fn expedite(
    tx: &Tx<'_>,
    target: &str,
    key: &ResourceKey,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::lock(tx, target).await? else { return Ok(false) };
    let at = LockedTarget { tx, name: target, directory: &directory, now };
    let generation = generation(&at, key).await?;
    // A creation of unknown outcome is looked for anyway, and stays noted.
    let look = to_json(&Intent { operation: Intent::LOOK.to_owned(), at: now });
    execute(
        tx,
        "INSERT INTO work AS w (target, kind, id, lane, state, due, since, attempts, generation, intent)
         VALUES ($1, $2, $3, $4, 0, 0, $5, 0, $6, $7)
         ON CONFLICT (target, kind, id) DO UPDATE
         SET lane = least(w.lane, excluded.lane), state = 0, due = 0, attempts = 0, failed_at = NULL,
             parked_at = NULL, reason = NULL, intent = coalesce(w.intent, excluded.intent)",
        &[&target, &key.kind, &key.id, &Lane::Revoke, &now, &big(generation), &look],
    )
    .await?;
    note(&at, key, &LedgerEntry::by_hand(now, "ordered", actor, format!("by {actor}"))).await?;
    Ok(true)
}

/// Drops a parked item, and says in the ledger who did.
pub(super) async fn discard(
    tx: &Tx<'_>,
    target: &str,
    id: &ItemId,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::lock(tx, target).await? else { return Ok(false) };
    let at = LockedTarget { tx, name: target, directory: &directory, now };
    let (key, discarded, detail) = match id {
        ItemId::Resource(key) => {
            let sql = "DELETE FROM work WHERE target = $1 AND kind = $2 AND id = $3 AND state = 2";
            let deleted = execute(tx, sql, &[&target, &key.kind, &key.id]).await?;
            (key.clone(), deleted > 0, format!("by {actor}"))
        }
        ItemId::Member { group, user } => {
            let ended = members::end_parkings(&at, &[(group, user)]).await?;
            (ResourceKey::group(group.clone()), ended > 0, format!("member {user}, by {actor}"))
        }
    };
    if discarded {
        note(&at, &key, &LedgerEntry::by_hand(now, "discarded", actor, detail)).await?;
    }
    Ok(discarded)
}

/// Says in the ledger what a person did about a resource as it is now.
async fn note(at: &LockedTarget<'_>, key: &ResourceKey, entry: &LedgerEntry) -> Result<(), StoreError> {
    let generation = generation(at, key).await?;
    let base = links::standings(at.tx, at.name, [key]).await?.remove(key).unwrap_or_default();
    let base_generation = base.synced_generation;
    ledger::append(at, &[ledger::Line { key: Some(key), base_generation, generation, entry }]).await
}

async fn generation(at: &LockedTarget<'_>, key: &ResourceKey) -> Result<u64, StoreError> {
    let home = home(at.name, at.directory, key);
    Ok(match key.kind {
        Kind::User => directory::user(at.tx, &home, &key.id).await?.map_or(0, |user| user.generation),
        Kind::Group => directory::group(at.tx, &home, &key.id).await?.map_or(0, |group| group.generation),
    })
}

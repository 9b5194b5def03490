//! Work that waits for a person: whole resources, and single members of groups.

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::postgres::members::Waiter;
use crate::store::postgres::rows::{Tx, corrupt, execute, limit as rows_max, query};
use crate::store::postgres::{directory, ledger, targets, work};
use crate::store::{LedgerEntry, Page, ParkedId, ParkedItem, StoreError};

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
            Some((Ok(micros), name)) if !name.contains('\0') => (Timestamp::from_micros(micros), name),
            Some(_) | None => return Ok(Page { items: Vec::new(), next: None }),
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
         WHERE (parked_at, name COLLATE \"C\") > ($2, $3) ORDER BY parked_at, name COLLATE \"C\" LIMIT $4",
        &[&target, &time, &name, &rows_max(limit + 1)],
    )
    .await?;
    let item = |row: &tokio_postgres::Row| {
        let name: String = row.try_get(0)?;
        let attempts: i32 = row.try_get(3)?;
        let id = name.parse().map_err(|()| corrupt("work", name.clone()))?;
        let attempts = u32::try_from(attempts).map_err(|_| corrupt("work", name))?;
        Ok(ParkedItem { id, reason: row.try_get(1)?, parked_at: row.try_get(2)?, attempts })
    };
    let items = rows.iter().map(item).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(super::page(items, limit, |item| format!("{} {}", item.parked_at.as_micros(), item.id)))
}

/// Makes a parked item pending again.
pub(super) async fn retry(
    tx: &Tx<'_>,
    target: &str,
    id: &ParkedId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::lock(tx, target).await? else { return Ok(false) };
    match id {
        ParkedId::Resource(key) => {
            let again =
                "UPDATE work SET state = 0, due = $4, attempts = 0, failed_at = NULL, parked_at = NULL,
                                         reason = NULL
                         WHERE target = $1 AND kind = $2 AND id = $3 AND state = 2";
            Ok(execute(tx, again, &[&target, &key.kind, &key.id, &now]).await? > 0)
        }
        ParkedId::Member { group, user } => retry_member(tx, target, &directory, group, user, now).await,
    }
}

/// The member waits for its user like any other, and is sent at once where the user is linked.
async fn retry_member(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    group: &ExternalId,
    user: &ExternalId,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = ResourceKey::group(group.clone());
    let waiter = Waiter { tx, target, directory, key: &key, now };
    if !waiter.end_parkings(&[user]).await? {
        return Ok(false);
    }
    waiter.wait_for(&[user.clone()].into()).await?;
    let generation = directory::group(tx, directory, group).await?.map_or(0, |group| group.generation);
    work::make_due(tx, target, &key, generation, now).await?;
    Ok(true)
}

/// Drops a parked item, and says in the ledger who did.
pub(super) async fn discard(
    tx: &Tx<'_>,
    target: &str,
    id: &ParkedId,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::lock(tx, target).await? else { return Ok(false) };
    let (key, discarded, detail) = match id {
        ParkedId::Resource(key) => {
            let drop = "DELETE FROM work WHERE target = $1 AND kind = $2 AND id = $3 AND state = 2";
            let deleted = execute(tx, drop, &[&target, &key.kind, &key.id]).await?;
            (key.clone(), deleted > 0, format!("by {actor}"))
        }
        ParkedId::Member { group, user } => {
            let key = ResourceKey::group(group.clone());
            let waiter = Waiter { tx, target, directory: &directory, key: &key, now };
            let ended = waiter.end_parkings(&[user]).await?;
            (key, ended, format!("member {user}, by {actor}"))
        }
    };
    if discarded {
        let generation = generation(tx, &directory, &key).await?;
        let entry = LedgerEntry::without_call(now, "none", "discarded", Some(detail));
        let waiter = Waiter { tx, target, directory: &directory, key: &key, now };
        let base = waiter.standing().await?.synced_generation;
        ledger::append_entry(tx, target, &directory, &key, (base, generation), &entry).await?;
    }
    Ok(discarded)
}

async fn generation(tx: &Tx<'_>, directory: &str, key: &ResourceKey) -> Result<u64, StoreError> {
    Ok(match key.kind {
        Kind::User => directory::user(tx, directory, &key.id).await?.map_or(0, |user| user.generation),
        Kind::Group => directory::group(tx, directory, &key.id).await?.map_or(0, |group| group.generation),
    })
}

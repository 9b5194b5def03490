//! Work that waits for a person: whole resources, and single members of groups.

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::derived::home;
use crate::store::sqlite::members::Waiter;
use crate::store::sqlite::rows::{corrupt, to_json};
use crate::store::sqlite::{directory, ledger, links, targets, work};
use crate::store::{Intent, ItemId, Lane, LedgerEntry, Page, ParkedItem, StoreError};

/// One page, oldest first. `after` is the last item's place: its time and its name.
pub(super) fn page(
    conn: &Connection,
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
    let mut statement = conn.prepare_cached(
        "SELECT name, reason, parked_at, attempts FROM (
             SELECT CASE kind WHEN 0 THEN 'user:' ELSE 'group:' END || id AS name,
                    coalesce(reason, '') AS reason, coalesce(parked_at, due) AS parked_at, attempts
             FROM work WHERE target = ?1 AND state = 2
             UNION ALL
             SELECT 'member:' || octet_length(group_id) || ':' || group_id || ':' || user_id,
                    reason, parked_at, 1
             FROM parked_members WHERE target = ?1)
         WHERE (parked_at, name) > (?2, ?3) ORDER BY parked_at, name LIMIT ?4",
    )?;
    let mut rows = statement.query(params![target, time, name, limit + 1])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let id = name.parse().map_err(|()| corrupt("work", name))?;
        items.push(ParkedItem { id, reason: row.get(1)?, parked_at: row.get(2)?, attempts: row.get(3)? });
    }
    Ok(super::page(items, limit, |item| format!("{} {}", item.parked_at.as_micros(), item.id)))
}

/// Makes a parked item pending again.
pub(super) fn retry(
    conn: &Connection,
    target: &str,
    id: &ItemId,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(false) };
    let (key, retried, detail) = match id {
        ItemId::Resource(key) => {
            let retried = conn
                .prepare_cached(
                    "UPDATE work SET state = 0, due = ?4, attempts = 0, failed_at = NULL, parked_at = NULL,
                                     reason = NULL
                     WHERE target = ?1 AND kind = ?2 AND id = ?3 AND state = 2",
                )?
                .execute(params![target, key.kind, key.id, now])?;
            (key.clone(), retried > 0, format!("by {actor}"))
        }
        ItemId::Member { group, user } => {
            let retried = retry_member(conn, target, &directory, (group, user), now)?;
            (ResourceKey::group(group.clone()), retried, format!("member {user}, by {actor}"))
        }
    };
    if retried {
        let entry = LedgerEntry::by_hand(now, "retried", actor, detail);
        note(conn, target, &directory, &key, &entry)?;
    }
    Ok(retried)
}

/// The member waits for its user like any other, and is sent at once where the user is linked.
fn retry_member(
    conn: &Connection,
    target: &str,
    directory: &str,
    (group, user): (&ExternalId, &ExternalId),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let key = ResourceKey::group(group.clone());
    let waiter = Waiter::new(conn, (target, directory), &key, now);
    if !waiter.end_parking(user)? {
        return Ok(false);
    }
    waiter.wait_for(&[user.clone()].into())?;
    let generation = generation(conn, target, directory, &key)?;
    work::make_due(conn, target, &key, generation, now)?;
    Ok(true)
}

/// Makes a resource due before all others of its lane, and has the vendor asked first.
pub(super) fn expedite(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(false) };
    let generation = generation(conn, target, &directory, key)?;
    // A creation of unknown outcome is looked for anyway, and stays noted.
    let look = to_json(&Intent { operation: Intent::LOOK.to_owned(), at: now });
    conn.prepare_cached(
        "INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation, intent)
         VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, 0, ?6, ?7)
         ON CONFLICT DO UPDATE
         SET lane = min(lane, excluded.lane), state = 0, due = 0, attempts = 0, failed_at = NULL,
             parked_at = NULL, reason = NULL, intent = coalesce(intent, excluded.intent)",
    )?
    .execute(params![target, key.kind, key.id, Lane::Revoke, now, generation, look])?;
    let entry = LedgerEntry::by_hand(now, "ordered", actor, format!("by {actor}"));
    note(conn, target, &directory, key, &entry)?;
    Ok(true)
}

/// Drops a parked item, and says in the ledger who did.
pub(super) fn discard(
    conn: &Connection,
    target: &str,
    id: &ItemId,
    actor: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(false) };
    let (key, discarded, detail) = match id {
        ItemId::Resource(key) => {
            let deleted = conn
                .prepare_cached("DELETE FROM work WHERE target = ?1 AND kind = ?2 AND id = ?3 AND state = 2")?
                .execute(params![target, key.kind, key.id])?;
            (key.clone(), deleted > 0, format!("by {actor}"))
        }
        ItemId::Member { group, user } => {
            let key = ResourceKey::group(group.clone());
            let waiter = Waiter::new(conn, (target, &directory), &key, now);
            let ended = waiter.end_parking(user)?;
            (key, ended, format!("member {user}, by {actor}"))
        }
    };
    if discarded {
        let entry = LedgerEntry::by_hand(now, "discarded", actor, detail);
        note(conn, target, &directory, &key, &entry)?;
    }
    Ok(discarded)
}

/// Says in the ledger what a person did about a resource as it is now.
fn note(
    conn: &Connection,
    target: &str,
    directory: &str,
    key: &ResourceKey,
    entry: &LedgerEntry,
) -> Result<(), StoreError> {
    let generation = generation(conn, target, directory, key)?;
    let base = links::standing(conn, target, key)?.synced_generation;
    ledger::append_entry(conn, target, directory, Some(key), (base, generation), entry)
}

fn generation(
    conn: &Connection,
    target: &str,
    directory: &str,
    key: &ResourceKey,
) -> Result<u64, StoreError> {
    let home = home(target, directory, key);
    Ok(match key.kind {
        Kind::User => directory::user(conn, &home, &key.id)?.map_or(0, |user| user.generation),
        Kind::Group => directory::group(conn, &home, &key.id)?.map_or(0, |group| group.generation),
    })
}

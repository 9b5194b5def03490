//! Work that waits for something to be told, or to appear at the vendor.

use rusqlite::{Connection, params};

use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::admin::{WAITING_MEMBER, WaitingPlace};
use crate::store::sqlite::rows::{WAITING, key_at};
use crate::store::{ItemId, Page, StoreError, WaitingItem};

/// One page: users, groups, then members. `after` is the last item's name.
pub(super) fn page(
    conn: &Connection,
    target: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<WaitingItem>, StoreError> {
    let Some(place) = WaitingPlace::after(after) else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let (mut items, member) = match &place {
        WaitingPlace::Resources(after) => (resources(conn, target, after.as_ref(), limit + 1)?, None),
        WaitingPlace::Members(group, user) => (Vec::new(), Some((group, user))),
    };
    items.extend(members(conn, target, member, limit + 1 - items.len())?);
    Ok(super::page(items, limit, |item| item.id.to_string()))
}

fn resources(
    conn: &Connection,
    target: &str,
    after: Option<&ResourceKey>,
    limit: usize,
) -> Result<Vec<WaitingItem>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT kind, id, coalesce(reason, ''), since FROM work INDEXED BY work_in_order
         WHERE target = ?1 AND state = ?2 AND (?3 IS NULL OR (kind, id) > (?3, ?4))
         ORDER BY kind, id LIMIT ?5",
    )?;
    let (kind, id) = after.map(|key| (key.kind, &key.id)).unzip();
    let rows = statement.query_map(params![target, WAITING, kind, id, limit], |row| {
        let id = ItemId::Resource(key_at(row, 0)?);
        Ok(WaitingItem { id, reason: row.get(2)?, since: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// By the rules by which the status counts them: nobody waits for a user who was deleted.
fn members(
    conn: &Connection,
    target: &str,
    after: Option<(&ExternalId, &ExternalId)>,
    limit: usize,
) -> Result<Vec<WaitingItem>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT w.id, w.user_id FROM waits AS w JOIN targets AS t ON t.name = w.target
         LEFT JOIN users AS u ON u.directory = t.directory AND u.id = w.user_id
         WHERE w.target = ?1 AND w.kind = ?2 AND (w.id, w.user_id) > (?3, ?4) AND u.gone_since IS NULL
         ORDER BY w.id, w.user_id LIMIT ?5",
    )?;
    let (group, user) = after.map(|(group, user)| (group.as_str(), user.as_str())).unwrap_or_default();
    let rows = statement.query_map(params![target, Kind::Group, group, user, limit], |row| {
        let id = ItemId::Member { group: row.get(0)?, user: row.get(1)? };
        Ok(WaitingItem { id, reason: WAITING_MEMBER.to_owned(), since: None })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

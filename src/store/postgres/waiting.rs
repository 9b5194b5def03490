//! Work that waits for something to be told, or to appear at the vendor.

use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::admin::{WAITING_MEMBER, WaitingPlace};
use crate::store::postgres::page::page as one_page;
use crate::store::postgres::rows::{Tx, WAITING, key_at, limit as row_limit, query, storable};
use crate::store::{ItemId, Page, StoreError, WaitingItem};

/// One page: users, groups, then members. `after` is the last item's name.
pub(super) async fn page(
    tx: &Tx<'_>,
    target: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<WaitingItem>, StoreError> {
    let Some(place) = WaitingPlace::after(after.map(storable).as_deref()) else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let (mut items, member) = match &place {
        WaitingPlace::Resources(after) => (resources(tx, target, after.as_ref(), limit + 1).await?, None),
        WaitingPlace::Members(group, user) => (Vec::new(), Some((group, user))),
    };
    items.extend(members(tx, target, member, limit + 1 - items.len()).await?);
    Ok(one_page(items, limit, |item| item.id.to_string()))
}

async fn resources(
    tx: &Tx<'_>,
    target: &str,
    after: Option<&ResourceKey>,
    limit: usize,
) -> Result<Vec<WaitingItem>, StoreError> {
    let (kind, id) = after.map(|key| (key.kind, key.id.as_str())).unzip();
    let rows = query(
        tx,
        "SELECT kind, id, coalesce(reason, ''), since FROM work
         WHERE target = $1 AND state = $2 AND ($3::smallint IS NULL OR (kind, id) > ($3, $4))
         ORDER BY kind, id LIMIT $5",
        &[&storable(target), &WAITING, &kind, &id, &row_limit(limit)],
    )
    .await?;
    let item = |row| {
        let id = ItemId::Resource(key_at(row, 0)?);
        Ok(WaitingItem { id, reason: row.try_get(2)?, since: row.try_get(3)? })
    };
    rows.iter().map(item).collect()
}

/// By the rules by which the status counts them: nobody waits for a user who was deleted.
async fn members(
    tx: &Tx<'_>,
    target: &str,
    after: Option<(&ExternalId, &ExternalId)>,
    limit: usize,
) -> Result<Vec<WaitingItem>, StoreError> {
    let (group, user) = after.map(|(group, user)| (group.as_str(), user.as_str())).unwrap_or_default();
    let rows = query(
        tx,
        "SELECT w.id, w.user_id FROM waits AS w JOIN targets AS t ON t.name = w.target
         LEFT JOIN users AS u ON u.directory = t.directory AND u.id = w.user_id
         WHERE w.target = $1 AND w.kind = $2 AND (w.id, w.user_id) > ($3, $4) AND u.gone_since IS NULL
         ORDER BY w.id, w.user_id LIMIT $5",
        &[&storable(target), &Kind::Group, &group, &user, &row_limit(limit)],
    )
    .await?;
    let item = |row: &tokio_postgres::Row| {
        let id = ItemId::Member { group: row.try_get(0)?, user: row.try_get(1)? };
        Ok(WaitingItem { id, reason: WAITING_MEMBER.to_owned(), since: None })
    };
    rows.iter().map(item).collect()
}

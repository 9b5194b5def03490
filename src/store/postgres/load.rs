//! All that planning one resource needs, read as of one moment: the transaction is repeatable.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::Row as SqlRow;

use crate::directory::{AttributePath, ExternalId, Kind, ResourceKey, User};
use crate::store::postgres::rows::{Params, Tx, big, limit, query, query_opt, unsigned};
use crate::store::postgres::{directory, links, targets, work};
use crate::store::{Desired, Dossier, Link, MemberDelta, MemberStanding, StoreError};

/// The dossier of a resource, or `None` when it is not work any more. What does not depend on another
/// answer is asked at once.
pub(super) async fn load(
    tx: &Tx<'_>,
    target: &str,
    key: &ResourceKey,
    members_max: usize,
) -> Result<Option<Dossier>, StoreError> {
    let (directory, item, link) = futures_util::try_join!(
        targets::directory_of(tx, target),
        work::item(tx, target, key),
        links::link(tx, target, key),
    )?;
    let (Some(directory), Some(item)) = (directory, item) else { return Ok(None) };
    let desired = match key.kind {
        Kind::User => desired_user(tx, target, &directory, &key.id).await?,
        Kind::Group => desired_group(tx, target, &directory, &key.id, link.as_ref(), members_max).await?,
    };
    Ok(Some(Dossier { item, desired, link }))
}

async fn desired_user(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    id: &ExternalId,
) -> Result<Desired, StoreError> {
    let user = directory::user(tx, directory, id).await?.unwrap_or_default();
    let mut references = BTreeMap::new();
    if let Some(manager) = manager(&user) {
        let standing = standing(tx, target, &manager).await?;
        references.insert(manager, standing);
    }
    Ok(Desired::User { user, references })
}

/// The user that the manager attribute names. A text that is no id names nobody.
fn manager(user: &User) -> Option<ExternalId> {
    match user.attributes.shown(&AttributePath::enterprise("manager"))? {
        Value::String(id) => ExternalId::parse(id.as_str()).ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

async fn standing(tx: &Tx<'_>, target: &str, user: &ExternalId) -> Result<MemberStanding, StoreError> {
    let found = "SELECT l.id IS NOT NULL, l.vendor_id, w.id IS NOT NULL
                 FROM (SELECT 1) AS one
                 LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = $2
                 LEFT JOIN work AS w ON w.target = $1 AND w.kind = 0 AND w.id = $2 AND w.state = 0";
    let row = query_opt(tx, found, &[&target, &user]).await?;
    row.map_or(Ok(MemberStanding::Unknown { coming: false }), |row| standing_at(&row, 0))
}

/// From three columns: whether there is a link, the vendor's id in it, whether the user's work is pending.
fn standing_at(row: &SqlRow, column: usize) -> Result<MemberStanding, StoreError> {
    let vendor_id: Option<String> = row.try_get(column + 1)?;
    Ok(match (row.try_get(column)?, vendor_id) {
        (_, Some(vendor_id)) => MemberStanding::Linked(vendor_id),
        (true, None) => MemberStanding::Absent,
        (false, None) => MemberStanding::Unknown { coming: row.try_get(column + 2)? },
    })
}

async fn desired_group(
    tx: &Tx<'_>,
    target: &str,
    directory: &str,
    id: &ExternalId,
    link: Option<&Link>,
    members_max: usize,
) -> Result<Desired, StoreError> {
    let synced = match link {
        Some(Link::Known(row)) => big(row.synced_members),
        Some(Link::Absent { .. }) | None => 0,
    };
    // One more than asked for tells whether there are more.
    let room = limit(members_max + 1);
    let params: Params<'_> = &[&target, &directory, &id, &synced, &room];
    let (group, mut deltas, past) = futures_util::try_join!(
        directory::group(tx, directory, id),
        read_deltas(tx, WAITED, params, true),
        read_deltas(tx, PAST_WATERMARK, params, false),
    )?;
    deltas.extend(past);
    let more = deltas.len() > members_max;
    deltas.truncate(members_max);
    Ok(Desired::Group { group: group.unwrap_or_default(), deltas, more })
}

/// Rows before the watermark that waited for their user, who is linked now.
pub(super) const WAITED: &str =
    "SELECT m.user_id, m.present, m.sequence, l.id IS NOT NULL, l.vendor_id, u.id IS NOT NULL
     FROM waits AS w
     JOIN members AS m ON m.directory = $2 AND m.group_id = w.id AND m.user_id = w.user_id
     LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = w.user_id
     LEFT JOIN work AS u ON u.target = $1 AND u.kind = 0 AND u.id = w.user_id AND u.state = 0
     WHERE w.target = $1 AND w.kind = 1 AND w.id = $3 AND w.ready AND m.sequence <= $4
     ORDER BY w.user_id LIMIT $5";

/// Rows past the watermark, in order.
pub(super) const PAST_WATERMARK: &str =
    "SELECT m.user_id, m.present, m.sequence, l.id IS NOT NULL, l.vendor_id, u.id IS NOT NULL
     FROM members AS m
     LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = m.user_id
     LEFT JOIN work AS u ON u.target = $1 AND u.kind = 0 AND u.id = m.user_id AND u.state = 0
     WHERE m.directory = $2 AND m.group_id = $3 AND m.sequence > $4
     ORDER BY m.sequence LIMIT $5";

async fn read_deltas(
    tx: &Tx<'_>,
    sql: &str,
    params: Params<'_>,
    waited: bool,
) -> Result<Vec<MemberDelta>, StoreError> {
    let rows = query(tx, sql, params).await?;
    let delta = |row: &SqlRow| {
        Ok(MemberDelta {
            user: row.try_get(0)?,
            present: row.try_get(1)?,
            sequence: unsigned(row, 2, "members")?,
            standing: standing_at(row, 3)?,
            waited,
        })
    };
    rows.iter().map(delta).collect()
}

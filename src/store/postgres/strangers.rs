//! Who is in a group at the vendor and not in the directory's.

use std::collections::BTreeSet;

use crate::directory::ExternalId;
use crate::store::StoreError;
use crate::store::postgres::rows::{Tx, query, query_opt, storable};

/// Those of the vendor ids that no member has; `None` while it is not known whom each member is there.
pub(super) async fn strangers(
    tx: &Tx<'_>,
    target: &str,
    group: &ExternalId,
    vendor_ids: &[String],
) -> Result<Option<Vec<String>>, StoreError> {
    let target = storable(target);
    let known = query_opt(
        tx,
        "SELECT 1 FROM targets AS t WHERE t.name = $1 AND NOT EXISTS (
             SELECT 1 FROM members AS m
             LEFT JOIN links AS l ON l.target = t.name AND l.kind = 0 AND l.id = m.user_id
             WHERE m.directory = t.directory AND m.group_id = $2 AND m.present AND l.id IS NULL)",
        &[&target, &group],
    )
    .await?;
    if known.is_none() {
        return Ok(None);
    }
    // What cannot be stored is nobody's id.
    let asked: Vec<_> = vendor_ids.iter().map(|id| storable(id)).collect();
    let rows = query(
        tx,
        "SELECT l.vendor_id FROM targets AS t
         JOIN links AS l ON l.target = t.name AND l.kind = 0 AND l.vendor_id = ANY ($3::text[])
         JOIN members AS m ON m.directory = t.directory AND m.group_id = $2 AND m.user_id = l.id AND m.present
         WHERE t.name = $1",
        &[&target, &group, &asked],
    )
    .await?;
    let belong: BTreeSet<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let stranger = |id: &&String| !belong.contains(id.as_str());
    Ok(Some(vendor_ids.iter().filter(stranger).cloned().collect()))
}

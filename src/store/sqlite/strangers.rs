//! Who is in a group at the vendor and not in the directory's.

use rusqlite::{Connection, params};

use crate::directory::ExternalId;
use crate::store::StoreError;
use crate::store::sqlite::targets;

/// Those of the vendor ids that no member has; `None` while it is not known whom each member is there.
pub(super) fn strangers(
    conn: &Connection,
    target: &str,
    group: &ExternalId,
    vendor_ids: &[String],
) -> Result<Option<Vec<String>>, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(None) };
    let unknown: bool = conn
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM members AS m
                 LEFT JOIN links AS l ON l.target = ?1 AND l.kind = 0 AND l.id = m.user_id
                 WHERE m.directory = ?2 AND m.group_id = ?3 AND m.present = 1 AND l.id IS NULL)",
        )?
        .query_row(params![target, directory, group], |row| row.get(0))?;
    if unknown {
        return Ok(None);
    }
    let mut belongs = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM links AS l INDEXED BY links_of_vendor
             CROSS JOIN members AS m ON m.directory = ?2 AND m.group_id = ?3 AND m.user_id = l.id
             WHERE l.target = ?1 AND l.kind = 0 AND l.vendor_id = ?4 AND m.present = 1)",
    )?;
    let mut strangers = Vec::new();
    for vendor_id in vendor_ids {
        if !belongs.query_row(params![target, directory, group, vendor_id], |row| row.get(0))? {
            strangers.push(vendor_id.clone());
        }
    }
    Ok(Some(strangers))
}

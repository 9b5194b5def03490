//! What each resource is at the vendor.

use rusqlite::{Connection, OptionalExtension, params};

use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::scim::etag::ETag;
use crate::store::sqlite::rows::{corrupt, from_json, to_json};
use crate::store::{Link, LinkChange, Row, StoreError};

/// A resource's link.
pub(super) fn link(conn: &Connection, target: &str, key: &ResourceKey) -> Result<Option<Link>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT vendor_id, checked_at, etag, synced_generation, synced_members, applied FROM links
         WHERE target = ?1 AND kind = ?2 AND id = ?3",
    )?;
    let mut rows = statement.query(params![target, key.kind, key.id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let place = key.id.as_str();
    let Some(vendor_id) = row.get(0)? else {
        return Ok(Some(Link::Absent { checked_at: row.get(1)? }));
    };
    let etag: Option<String> = row.get(2)?;
    let etag = etag.map(|raw| ETag::parse(&raw).ok_or_else(|| corrupt("links", place))).transpose()?;
    let applied = from_json(&row.get::<_, String>(5)?, "links", place)?;
    let row = Row { vendor_id, etag, synced_generation: row.get(3)?, synced_members: row.get(4)?, applied };
    Ok(Some(Link::Known(row)))
}

/// What a link says of how far a resource is; zeros and no id where it is not known.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) vendor_id: Option<String>,
    pub(super) synced_generation: u64,
    pub(super) synced_members: u64,
}

/// A link without its attributes.
pub(super) fn standing(conn: &Connection, target: &str, key: &ResourceKey) -> Result<Standing, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT vendor_id, synced_generation, synced_members FROM links
             WHERE target = ?1 AND kind = ?2 AND id = ?3",
        )?
        .query_row(params![target, key.kind, key.id], |row| {
            Ok(Standing {
                vendor_id: row.get(0)?,
                synced_generation: row.get(1)?,
                synced_members: row.get(2)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// The resource that is linked to a vendor's id; the first of them, should there be several.
pub(super) fn holder_of(
    conn: &Connection,
    target: &str,
    kind: Kind,
    vendor_id: &str,
) -> Result<Option<ExternalId>, StoreError> {
    let mut statement = conn.prepare_cached(
        // By itself SQLite would go through all links in the order of their ids.
        "SELECT id FROM links INDEXED BY links_of_vendor
         WHERE target = ?1 AND kind = ?2 AND vendor_id = ?3 ORDER BY id LIMIT 1",
    )?;
    Ok(statement.query_row(params![target, kind, vendor_id], |row| row.get(0)).optional()?)
}

/// Records what was learned of a link, and tells those who wait for a user whether it is there.
pub(super) fn change(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
    change: &LinkChange,
) -> Result<(), StoreError> {
    let known = match change {
        LinkChange::Keep => return Ok(()),
        LinkChange::Set(Link::Known(row)) => {
            put(conn, target, key, Some(row))?;
            true
        }
        LinkChange::Set(Link::Absent { checked_at }) => {
            put(conn, target, key, None)?;
            conn.prepare_cached(
                "UPDATE links SET checked_at = ?4 WHERE target = ?1 AND kind = ?2 AND id = ?3",
            )?
            .execute(params![target, key.kind, key.id, checked_at])?;
            false
        }
        LinkChange::Forget => {
            conn.prepare_cached("DELETE FROM links WHERE target = ?1 AND kind = ?2 AND id = ?3")?
                .execute(params![target, key.kind, key.id])?;
            false
        }
    };
    if key.kind == Kind::User {
        conn.prepare_cached(
            "UPDATE waits SET ready = ?3 WHERE target = ?1 AND user_id = ?2 AND ready <> ?3",
        )?
        .execute(params![target, key.id, known])?;
    }
    Ok(())
}

fn put(conn: &Connection, target: &str, key: &ResourceKey, row: Option<&Row>) -> Result<(), StoreError> {
    let nothing = Row::default();
    let vendor_id = row.map(|row| &row.vendor_id);
    let Row { etag, synced_generation, synced_members, applied, .. } = row.unwrap_or(&nothing);
    conn.prepare_cached(
        "INSERT INTO links (target, kind, id, vendor_id, etag, synced_generation, synced_members, applied)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT DO UPDATE
         SET vendor_id = excluded.vendor_id, checked_at = NULL, etag = excluded.etag,
             synced_generation = excluded.synced_generation, synced_members = excluded.synced_members,
             applied = excluded.applied",
    )?
    .execute(params![
        target,
        key.kind,
        key.id,
        vendor_id,
        etag.as_ref().map(ETag::as_str),
        synced_generation,
        synced_members,
        to_json(applied)
    ])?;
    Ok(())
}

//! What each resource is at the vendor.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::scim::etag::ETag;
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, from_json, key_at, key_columns, query, query_opt, storable, to_json, unsigned,
};
use crate::store::postgres::targets::LockedTarget;
use crate::store::{Link, LinkChange, Row, StoreError};

/// A link from six columns: the vendor's id, `checked_at`, the version, both watermarks, the attributes.
pub(super) fn link_at(row: &SqlRow, column: usize, place: &str) -> Result<Link, StoreError> {
    let Some(vendor_id) = row.try_get(column)? else {
        return Ok(Link::Absent { checked_at: row.try_get(column + 1)? });
    };
    let etag: Option<&str> = row.try_get(column + 2)?;
    let etag = etag.map(|raw| ETag::parse(raw).ok_or_else(|| corrupt("links", place))).transpose()?;
    let synced_generation = unsigned(row, column + 3, "links")?;
    let synced_members = unsigned(row, column + 4, "links")?;
    let applied = from_json(row.try_get(column + 5)?, "links", place)?;
    Ok(Link::Known(Row { vendor_id, etag, synced_generation, synced_members, applied }))
}

/// What a link says of how far a resource is; zeros and no id where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) vendor_id: Option<String>,
    pub(super) synced_generation: u64,
    pub(super) synced_members: u64,
}

impl Standing {
    /// What it is after a change of the link.
    pub(super) fn after(&self, change: &LinkChange) -> Self {
        match change {
            LinkChange::Keep => self.clone(),
            LinkChange::Set(Link::Known(row)) => Self {
                vendor_id: Some(row.vendor_id.clone()),
                synced_generation: row.synced_generation,
                synced_members: row.synced_members,
            },
            LinkChange::Set(Link::Absent { .. }) | LinkChange::Forget => Self::default(),
        }
    }
}

/// The links of resources, without their attributes. Whoever has none is left out.
pub(super) async fn standings(
    tx: &Tx<'_>,
    target: &str,
    keys: impl IntoIterator<Item = &ResourceKey>,
) -> Result<BTreeMap<ResourceKey, Standing>, StoreError> {
    let (kinds, ids) = key_columns(keys);
    let rows = query(
        tx,
        "SELECT l.kind, l.id, l.vendor_id, l.synced_generation, l.synced_members
         FROM unnest($2::smallint[], $3::text[]) AS k (kind, id)
         JOIN links AS l ON l.target = $1 AND l.kind = k.kind AND l.id = k.id",
        &[&target, &kinds, &ids],
    )
    .await?;
    let standing = |row: &SqlRow| {
        let synced_generation = unsigned(row, 3, "links")?;
        let synced_members = unsigned(row, 4, "links")?;
        let standing = Standing { vendor_id: row.try_get(2)?, synced_generation, synced_members };
        Ok((key_at(row, 0)?, standing))
    };
    rows.iter().map(standing).collect()
}

/// The resource that is linked to a vendor's id; the first of them, should there be several.
pub(super) async fn holder_of(
    tx: &Tx<'_>,
    target: &str,
    kind: Kind,
    vendor_id: &str,
) -> Result<Option<ExternalId>, StoreError> {
    let sql = "SELECT id FROM links WHERE target = $1 AND kind = $2 AND vendor_id = $3 ORDER BY id LIMIT 1";
    let found = query_opt(tx, sql, &[&target, &kind, &storable(vendor_id)]).await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

/// Records what was learned of links, each key once, and tells those who wait for a user whether it
/// is there.
pub(super) async fn change(
    at: &LockedTarget<'_>,
    changes: &[(&ResourceKey, &LinkChange)],
) -> Result<(), StoreError> {
    let mut known = Vec::new();
    let mut forgotten = Vec::new();
    for (key, change) in changes {
        match change {
            LinkChange::Keep => {}
            LinkChange::Set(link) => known.push((*key, link)),
            LinkChange::Forget => forgotten.push(*key),
        }
    }
    put(at, &known).await?;
    forget(at, forgotten).await?;
    tell_waiters(at, changes).await
}

async fn put(at: &LockedTarget<'_>, links: &[(&ResourceKey, &Link)]) -> Result<(), StoreError> {
    if links.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_columns(links.iter().map(|(key, _)| *key));
    let rows: Vec<LinkRow<'_>> = links.iter().map(|(_, link)| LinkRow::of(link)).collect();
    let vendor_ids: Vec<_> = rows.iter().map(|row| row.vendor_id.as_ref()).collect();
    let checked_at: Vec<_> = rows.iter().map(|row| row.checked_at).collect();
    let etags: Vec<_> = rows.iter().map(|row| row.etag).collect();
    let generations: Vec<_> = rows.iter().map(|row| row.synced_generation).collect();
    let members: Vec<_> = rows.iter().map(|row| row.synced_members).collect();
    let applied: Vec<_> = rows.iter().map(|row| row.applied.as_str()).collect();
    execute(
        at.tx,
        "INSERT INTO links (target, kind, id, vendor_id, checked_at, etag, synced_generation,
                            synced_members, applied)
         SELECT $1, given.* FROM unnest($2::smallint[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                                        $7::bigint[], $8::bigint[], $9::text[]) AS given
         ON CONFLICT (target, kind, id) DO UPDATE
         SET vendor_id = excluded.vendor_id, checked_at = excluded.checked_at, etag = excluded.etag,
             synced_generation = excluded.synced_generation, synced_members = excluded.synced_members,
             applied = excluded.applied",
        &[&at.name, &kinds, &ids, &vendor_ids, &checked_at, &etags, &generations, &members, &applied],
    )
    .await?;
    Ok(())
}

/// A link as columns.
struct LinkRow<'a> {
    vendor_id: Option<Cow<'a, str>>,
    checked_at: Option<Timestamp>,
    etag: Option<&'a str>,
    synced_generation: i64,
    synced_members: i64,
    applied: String,
}

impl<'a> LinkRow<'a> {
    fn of(link: &'a Link) -> Self {
        match link {
            Link::Known(row) => Self {
                vendor_id: Some(storable(&row.vendor_id)),
                checked_at: None,
                etag: row.etag.as_ref().map(ETag::as_str),
                synced_generation: big(row.synced_generation),
                synced_members: big(row.synced_members),
                applied: to_json(&row.applied),
            },
            Link::Absent { checked_at } => Self {
                vendor_id: None,
                checked_at: Some(*checked_at),
                etag: None,
                synced_generation: 0,
                synced_members: 0,
                applied: "{}".to_owned(),
            },
        }
    }
}

async fn forget(at: &LockedTarget<'_>, keys: Vec<&ResourceKey>) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_columns(keys);
    execute(
        at.tx,
        "DELETE FROM links AS l USING unnest($2::smallint[], $3::text[]) AS k (kind, id)
         WHERE l.target = $1 AND l.kind = k.kind AND l.id = k.id",
        &[&at.name, &kinds, &ids],
    )
    .await?;
    Ok(())
}

async fn tell_waiters(
    at: &LockedTarget<'_>,
    changes: &[(&ResourceKey, &LinkChange)],
) -> Result<(), StoreError> {
    let known = |change: &LinkChange| match change {
        LinkChange::Keep => None,
        LinkChange::Set(Link::Known(_)) => Some(true),
        LinkChange::Set(Link::Absent { .. }) | LinkChange::Forget => Some(false),
    };
    let users = changes.iter().filter(|(key, _)| key.kind == Kind::User);
    let (ids, known): (Vec<&ExternalId>, Vec<bool>) =
        users.filter_map(|(key, change)| Some((&key.id, known(change)?))).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    execute(
        at.tx,
        "UPDATE waits AS w SET ready = k.known FROM unnest($2::text[], $3::boolean[]) AS k (id, known)
         WHERE w.target = $1 AND w.user_id = k.id AND w.ready <> k.known",
        &[&at.name, &ids, &known],
    )
    .await?;
    Ok(())
}

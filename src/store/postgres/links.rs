//! What each resource is at the vendor.

use std::collections::BTreeMap;

use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::scim::etag::ETag;
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, from_json, key_at, query, query_opt, storable, to_json, unsigned,
};
use crate::store::{Link, LinkChange, Outcome, Row, StoreError};

/// A resource's link.
pub(super) async fn link(tx: &Tx<'_>, target: &str, key: &ResourceKey) -> Result<Option<Link>, StoreError> {
    let found = "SELECT vendor_id, checked_at, etag, synced_generation, synced_members, applied FROM links
                 WHERE target = $1 AND kind = $2 AND id = $3";
    let Some(row) = query_opt(tx, found, &[&target, &key.kind, &key.id]).await? else { return Ok(None) };
    let place = key.id.as_str();
    let Some(vendor_id) = row.try_get(0)? else {
        let checked_at: Option<Timestamp> = row.try_get(1)?;
        let checked_at = checked_at.ok_or_else(|| corrupt("links", place))?;
        return Ok(Some(Link::Absent { checked_at }));
    };
    let etag: Option<String> = row.try_get(2)?;
    let etag = etag.map(|raw| ETag::parse(&raw).ok_or_else(|| corrupt("links", place))).transpose()?;
    let applied = from_json(row.try_get(5)?, "links", place)?;
    let (synced_generation, synced_members) = (unsigned(&row, 3, "links")?, unsigned(&row, 4, "links")?);
    Ok(Some(Link::Known(Row { vendor_id, etag, synced_generation, synced_members, applied })))
}

/// What a link says of how far a resource is; zeros and no id where it is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Standing {
    pub(super) vendor_id: Option<String>,
    pub(super) synced_generation: u64,
    pub(super) synced_members: u64,
}

impl Standing {
    /// What it becomes.
    pub(super) fn changed(&self, change: &LinkChange) -> Self {
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

/// The links of resources, without their attributes. A resource that is missing has none.
pub(super) async fn standings(
    tx: &Tx<'_>,
    target: &str,
    keys: impl Iterator<Item = &ResourceKey>,
) -> Result<BTreeMap<ResourceKey, Standing>, StoreError> {
    let (kinds, ids): (Vec<Kind>, Vec<&ExternalId>) = keys.map(|key| (key.kind, &key.id)).unzip();
    let found = "SELECT l.kind, l.id, l.vendor_id, l.synced_generation, l.synced_members
                 FROM unnest($2::smallint[], $3::text[]) AS k (kind, id)
                 JOIN links AS l ON l.target = $1 AND l.kind = k.kind AND l.id = k.id";
    let rows = query(tx, found, &[&target, &kinds, &ids]).await?;
    rows.iter().map(|row| Ok((key_at(row, 0)?, standing_of(row)?))).collect()
}

/// One resource's link without its attributes.
pub(super) async fn standing(tx: &Tx<'_>, target: &str, key: &ResourceKey) -> Result<Standing, StoreError> {
    Ok(standings(tx, target, std::iter::once(key)).await?.remove(key).unwrap_or_default())
}

fn standing_of(row: &SqlRow) -> Result<Standing, StoreError> {
    Ok(Standing {
        vendor_id: row.try_get(2)?,
        synced_generation: unsigned(row, 3, "links")?,
        synced_members: unsigned(row, 4, "links")?,
    })
}

/// The resource that is linked to a vendor's id; the first of them, should there be several.
pub(super) async fn holder_of(
    tx: &Tx<'_>,
    target: &str,
    kind: Kind,
    vendor_id: &str,
) -> Result<Option<ExternalId>, StoreError> {
    let found = "SELECT id FROM links WHERE target = $1 AND kind = $2 AND vendor_id = $3 ORDER BY id LIMIT 1";
    let row = query_opt(tx, found, &[&target, &kind, &storable(vendor_id)]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

/// Records what was learned of links, and tells those who wait for a user whether it is there.
pub(super) async fn change(tx: &Tx<'_>, target: &str, outcomes: &[&Outcome]) -> Result<(), StoreError> {
    let mut put = Puts::default();
    let (mut forgotten_kinds, mut forgotten_ids) = (Vec::new(), Vec::new());
    let (mut users, mut known) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        let is_known = match &outcome.link {
            LinkChange::Keep => continue,
            LinkChange::Set(Link::Known(row)) => {
                put.add(&outcome.key, Some(row), None);
                true
            }
            LinkChange::Set(Link::Absent { checked_at }) => {
                put.add(&outcome.key, None, Some(*checked_at));
                false
            }
            LinkChange::Forget => {
                forgotten_kinds.push(outcome.key.kind);
                forgotten_ids.push(&outcome.key.id);
                false
            }
        };
        if outcome.key.kind == Kind::User {
            users.push(&outcome.key.id);
            known.push(is_known);
        }
    }
    put.write(tx, target).await?;
    if !forgotten_ids.is_empty() {
        let forget = "DELETE FROM links AS l USING unnest($2::smallint[], $3::text[]) AS k (kind, id)
                      WHERE l.target = $1 AND l.kind = k.kind AND l.id = k.id";
        execute(tx, forget, &[&target, &forgotten_kinds, &forgotten_ids]).await?;
    }
    if !users.is_empty() {
        let tell =
            "UPDATE waits AS w SET ready = u.known FROM unnest($2::text[], $3::boolean[]) AS u (id, known)
                    WHERE w.target = $1 AND w.user_id = u.id AND w.ready <> u.known";
        execute(tx, tell, &[&target, &users, &known]).await?;
    }
    Ok(())
}

/// Links to be written, column by column.
#[derive(Default)]
struct Puts<'a> {
    kinds: Vec<Kind>,
    ids: Vec<&'a ExternalId>,
    vendor_ids: Vec<Option<String>>,
    checked_at: Vec<Option<Timestamp>>,
    etags: Vec<Option<&'a str>>,
    generations: Vec<i64>,
    members: Vec<i64>,
    applied: Vec<String>,
}

impl<'a> Puts<'a> {
    fn add(&mut self, key: &'a ResourceKey, row: Option<&'a Row>, checked_at: Option<Timestamp>) {
        self.kinds.push(key.kind);
        self.ids.push(&key.id);
        self.vendor_ids.push(row.map(|row| storable(&row.vendor_id).into_owned()));
        self.checked_at.push(checked_at);
        self.etags.push(row.and_then(|row| row.etag.as_ref()).map(ETag::as_str));
        self.generations.push(row.map_or(0, |row| big(row.synced_generation)));
        self.members.push(row.map_or(0, |row| big(row.synced_members)));
        self.applied.push(row.map_or_else(|| "{}".to_owned(), |row| to_json(&row.applied)));
    }

    async fn write(&self, tx: &Tx<'_>, target: &str) -> Result<(), StoreError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        execute(
            tx,
            "INSERT INTO links (target, kind, id, vendor_id, checked_at, etag, synced_generation,
                                synced_members, applied)
             SELECT $1, given.* FROM unnest($2::smallint[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                                            $7::bigint[], $8::bigint[], $9::text[]) AS given
             ON CONFLICT (target, kind, id) DO UPDATE
             SET vendor_id = excluded.vendor_id, checked_at = excluded.checked_at, etag = excluded.etag,
                 synced_generation = excluded.synced_generation, synced_members = excluded.synced_members,
                 applied = excluded.applied",
            &[
                &target,
                &self.kinds,
                &self.ids,
                &self.vendor_ids,
                &self.checked_at,
                &self.etags,
                &self.generations,
                &self.members,
                &self.applied,
            ],
        )
        .await?;
        Ok(())
    }
}

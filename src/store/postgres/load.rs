//! All that planning one resource needs, read as of one moment: on REPEATABLE READ, without locks.

use std::collections::BTreeMap;

use futures_util::try_join;
use serde_json::Value;
use tokio_postgres::Row as SqlRow;

use crate::directory::{AttributePath, ExternalId, Group, Kind, ResourceKey, User};
use crate::store::postgres::rows::{
    Params, Tx, big, from_json, limit as row_limit, query, query_opt, storable, unsigned,
};
use crate::store::postgres::{links, work};
use crate::store::{Desired, Dossier, Expected, Link, MemberDelta, MemberStanding, StoreError, WorkItem};

/// The dossier of a resource, or `None` when it is not work any more.
pub(super) async fn load(
    tx: &Tx<'_>,
    target: &str,
    key: &ResourceKey,
    members_max: usize,
) -> Result<Option<Dossier>, StoreError> {
    let sql = match key.kind {
        Kind::User => USER,
        Kind::Group => GROUP,
    };
    let Some(row) = query_opt(tx, sql, &[&storable(target), &key.id]).await? else { return Ok(None) };
    Ok(Some(dossier(tx, target, work::item_at(&row, 1)?, &row, members_max).await?))
}

/// The dossier of any resource; as if it were work where it is not.
pub(super) async fn of_any(
    tx: &Tx<'_>,
    target: &str,
    key: &ResourceKey,
    members_max: usize,
) -> Result<Option<Dossier>, StoreError> {
    let (sql, table) = match key.kind {
        Kind::User => (ANY_USER, "users"),
        Kind::Group => (ANY_GROUP, "groups"),
    };
    let Some(row) = query_opt(tx, sql, &[&storable(target), &key.id]).await? else { return Ok(None) };
    let item = match row.try_get::<_, Option<Kind>>(1)? {
        Some(_) => work::item_at(&row, 1)?,
        None if row.try_get::<_, Option<i64>>(17)?.is_none() => WorkItem::unasked(key.clone(), 0),
        None => WorkItem::unasked(key.clone(), unsigned(&row, 17, table)?),
    };
    Ok(Some(dossier(tx, target, item, &row, members_max).await?))
}

async fn dossier(
    tx: &Tx<'_>,
    target: &str,
    item: WorkItem,
    row: &SqlRow,
    members_max: usize,
) -> Result<Dossier, StoreError> {
    let key = item.key.clone();
    let is_linked: bool = row.try_get(9)?;
    let link = is_linked.then(|| links::link_at(row, 10, key.id.as_str())).transpose()?;
    let desired = match key.kind {
        Kind::User => desired_user(tx, target, user_at(row, 16, &key.id)?).await?,
        Kind::Group => {
            let scope = Scope { target, directory: row.try_get(0)?, group: &key.id };
            desired_group(tx, &scope, group_at(row, 16, &key.id)?, link.as_ref(), members_max).await?
        }
    };
    Ok(Dossier { item, desired, link })
}

/// Up to `limit` resources of one kind after an id, as if each were work: memberships left out. Each with
/// whether it is to be sent anyway. Groups that the target derives are among them.
pub(super) async fn unasked(
    tx: &Tx<'_>,
    target: &str,
    kind: Kind,
    after: &str,
    limit: usize,
) -> Result<Vec<Expected>, StoreError> {
    let table = table(kind);
    // One search per directory, each by its index.
    let sql = format!(
        "SELECT d.id FROM targets AS t CROSS JOIN LATERAL (
             (SELECT id FROM {table} WHERE directory = t.directory AND id > $2 ORDER BY id LIMIT $3)
             UNION ALL
             (SELECT id FROM {table} WHERE directory = 'derived:' || t.name AND id > $2 ORDER BY id LIMIT $3)
         ) AS d WHERE t.name = $1 ORDER BY d.id LIMIT $3"
    );
    let found = query(tx, &sql, &[&storable(target), &after, &row_limit(limit)]).await?;
    let ids = found.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<ExternalId>, StoreError>>()?;
    unasked_among(tx, target, kind, &ids).await
}

/// The same for those of these that the directory knows, in the order of their ids.
pub(super) async fn unasked_among(
    tx: &Tx<'_>,
    target: &str,
    kind: Kind,
    ids: &[ExternalId],
) -> Result<Vec<Expected>, StoreError> {
    let table = table(kind);
    let more = match kind {
        Kind::User => "",
        Kind::Group => ", d.member_sequence",
    };
    let sql = format!(
        "SELECT d.id, l.id IS NOT NULL, l.vendor_id, l.checked_at, l.etag, l.synced_generation,
                l.synced_members, l.applied, coalesce(w.state = 0, false), d.body, d.generation{more}
         FROM targets AS t
         JOIN {table} AS d ON d.directory IN (t.directory, 'derived:' || t.name) AND d.id = ANY ($3::text[])
         LEFT JOIN links AS l ON l.target = t.name AND l.kind = $2 AND l.id = d.id
         LEFT JOIN work AS w ON w.target = t.name AND w.kind = $2 AND w.id = d.id
         WHERE t.name = $1 ORDER BY d.id"
    );
    let mut expected = Vec::with_capacity(ids.len());
    for row in query(tx, &sql, &[&storable(target), &kind, &ids]).await? {
        let id: ExternalId = row.try_get(0)?;
        let is_linked: bool = row.try_get(1)?;
        let link = is_linked.then(|| links::link_at(&row, 2, id.as_str())).transpose()?;
        let desired = match kind {
            Kind::User => desired_user(tx, target, user_at(&row, 9, &id)?).await?,
            Kind::Group => Desired::Group { group: group_at(&row, 9, &id)?, deltas: Vec::new(), more: false },
        };
        let item = WorkItem::unasked(ResourceKey { kind, id }, unsigned(&row, 10, table)?);
        expected.push(Expected { dossier: Dossier { item, desired, link }, pending: row.try_get(8)? });
    }
    Ok(expected)
}

const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::User => "users",
        Kind::Group => "groups",
    }
}

/// The row of work unless it waits for a person, the link, and what is desired; `JOIN` where there must be
/// such a row, `LEFT JOIN` where there may be none.
macro_rules! user {
    ($join:literal) => {
        concat!(
            "SELECT t.directory,
        w.kind, w.id, w.lane, w.generation, w.since, w.attempts, w.failed_at, w.intent,
        l.id IS NOT NULL, l.vendor_id, l.checked_at, l.etag, l.synced_generation, l.synced_members, l.applied,
        d.body, d.generation
     FROM targets AS t
     ",
            $join,
            " work AS w ON w.target = t.name AND w.kind = 0 AND w.id = $2 AND w.state < 2
     LEFT JOIN links AS l ON l.target = t.name AND l.kind = 0 AND l.id = $2
     LEFT JOIN users AS d ON d.directory = t.directory AND d.id = $2
     WHERE t.name = $1"
        )
    };
}
macro_rules! group {
    ($join:literal) => {
        concat!(
            "SELECT h.home,
        w.kind, w.id, w.lane, w.generation, w.since, w.attempts, w.failed_at, w.intent,
        l.id IS NOT NULL, l.vendor_id, l.checked_at, l.etag, l.synced_generation, l.synced_members, l.applied,
        d.body, d.generation, d.member_sequence
     FROM targets AS t
     ",
            $join,
            " work AS w ON w.target = t.name AND w.kind = 1 AND w.id = $2 AND w.state < 2
     CROSS JOIN LATERAL (SELECT CASE WHEN starts_with($2, 'derived:') THEN 'derived:' || t.name
                                     ELSE t.directory END) AS h (home)
     LEFT JOIN links AS l ON l.target = t.name AND l.kind = 1 AND l.id = $2
     LEFT JOIN groups AS d ON d.directory = h.home AND d.id = $2
     WHERE t.name = $1"
        )
    };
}
const USER: &str = user!("JOIN");
const GROUP: &str = group!("JOIN");
const ANY_USER: &str = user!("LEFT JOIN");
const ANY_GROUP: &str = group!("LEFT JOIN");

fn user_at(row: &SqlRow, column: usize, id: &ExternalId) -> Result<User, StoreError> {
    let Some(body) = row.try_get(column)? else { return Ok(User::default()) };
    let user: User = from_json(body, "users", id.as_str())?;
    Ok(User { generation: unsigned(row, column + 1, "users")?, ..user })
}

fn group_at(row: &SqlRow, column: usize, id: &ExternalId) -> Result<Group, StoreError> {
    let Some(body) = row.try_get(column)? else { return Ok(Group::default()) };
    let group: Group = from_json(body, "groups", id.as_str())?;
    let generation = unsigned(row, column + 1, "groups")?;
    Ok(Group { generation, member_sequence: unsigned(row, column + 2, "groups")?, ..group })
}

async fn desired_user(tx: &Tx<'_>, target: &str, user: User) -> Result<Desired, StoreError> {
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
    let row = query_opt(
        tx,
        "SELECT l.id IS NOT NULL AND w.intent IS NULL, l.vendor_id, w.id IS NOT NULL
         FROM (SELECT) AS one
         LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = $2
         LEFT JOIN work AS w ON w.target = $1 AND w.kind = 0 AND w.id = $2 AND w.state = 0",
        &[&storable(target), &user],
    )
    .await?;
    let standing = row.map(|row| standing_at(&row, 0)).transpose()?;
    Ok(standing.unwrap_or(MemberStanding::Unknown { coming: false }))
}

/// From three columns: whether it is known if there is a link, the vendor's id in it, whether the user's work is
/// pending. Whoever may just have been created, by a call of unknown outcome, may be a member as well by the
/// same request.
fn standing_at(row: &SqlRow, column: usize) -> Result<MemberStanding, StoreError> {
    let vendor_id: Option<String> = row.try_get(column + 1)?;
    Ok(match (row.try_get(column)?, vendor_id) {
        (_, Some(vendor_id)) => MemberStanding::Linked(vendor_id),
        (true, None) => MemberStanding::Absent,
        (false, None) => MemberStanding::Unknown { coming: row.try_get(column + 2)? },
    })
}

/// A group at a target.
struct Scope<'a> {
    target: &'a str,
    directory: &'a str,
    group: &'a ExternalId,
}

async fn desired_group(
    tx: &Tx<'_>,
    &Scope { target, directory, group: id }: &Scope<'_>,
    group: Group,
    link: Option<&Link>,
    members_max: usize,
) -> Result<Desired, StoreError> {
    let synced = match link {
        Some(Link::Known(row)) => row.synced_members,
        Some(Link::Absent { .. }) | None => 0,
    };
    // One more than asked for tells whether there are more.
    let (synced, room) = (big(synced), row_limit(members_max + 1));
    let params: Params<'_> = &[&storable(target), &directory, &id, &synced, &room];
    let (mut deltas, past) =
        try_join!(read_deltas(tx, WAITED, params, true), read_deltas(tx, PAST_WATERMARK, params, false))?;
    deltas.extend(past);
    let more = deltas.len() > members_max;
    deltas.truncate(members_max);
    Ok(Desired::Group { group, deltas, more })
}

/// Rows before the watermark that waited for their user, who is linked now.
const WAITED: &str =
    "SELECT m.user_id, m.present, m.sequence, l.id IS NOT NULL AND u.intent IS NULL, l.vendor_id, u.id IS NOT NULL
     FROM waits AS w
     JOIN members AS m ON m.directory = $2 AND m.group_id = $3 AND m.user_id = w.user_id
     LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = w.user_id
     LEFT JOIN work AS u ON u.target = $1 AND u.kind = 0 AND u.id = w.user_id AND u.state = 0
     WHERE w.target = $1 AND w.kind = 1 AND w.id = $3 AND w.ready AND m.sequence <= $4
     ORDER BY w.user_id LIMIT $5";

/// Rows past the watermark, in order.
const PAST_WATERMARK: &str =
    "SELECT m.user_id, m.present, m.sequence, l.id IS NOT NULL AND u.intent IS NULL, l.vendor_id, u.id IS NOT NULL
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
    let delta = |row: &SqlRow| {
        Ok(MemberDelta {
            user: row.try_get(0)?,
            present: row.try_get(1)?,
            sequence: unsigned(row, 2, "members")?,
            standing: standing_at(row, 3)?,
            waited,
        })
    };
    query(tx, sql, params).await?.iter().map(delta).collect()
}

//! All that planning one resource needs, read as of one moment.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Params, Row as SqlRow, params};
use serde_json::Value;

use crate::directory::{AttributePath, ExternalId, Kind, ResourceKey, User};
use crate::store::derived::home;
use crate::store::sqlite::{directory, links, targets, work};
use crate::store::{Desired, Dossier, Link, MemberDelta, MemberStanding, StoreError, WorkItem};

/// The dossier of a resource, or `None` when it is not work any more.
pub(super) fn load(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
    members_max: usize,
) -> Result<Option<Dossier>, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(None) };
    let Some(item) = work::item(conn, target, key)? else { return Ok(None) };
    Ok(Some(dossier(conn, target, &directory, item, members_max)?))
}

/// The dossier of any resource; as if it were work where it is not.
pub(super) fn of_any(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
    members_max: usize,
) -> Result<Option<Dossier>, StoreError> {
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(None) };
    let item = if let Some(item) = work::item(conn, target, key)? {
        item
    } else {
        let home = home(target, &directory, key);
        let generation = match key.kind {
            Kind::User => directory::user(conn, &home, &key.id)?.map_or(0, |user| user.generation),
            Kind::Group => directory::group(conn, &home, &key.id)?.map_or(0, |group| group.generation),
        };
        WorkItem::unasked(key.clone(), generation)
    };
    Ok(Some(dossier(conn, target, &directory, item, members_max)?))
}

fn dossier(
    conn: &Connection,
    target: &str,
    directory: &str,
    item: WorkItem,
    members_max: usize,
) -> Result<Dossier, StoreError> {
    let key = &item.key;
    let link = links::link(conn, target, key)?;
    let desired = match key.kind {
        Kind::User => desired_user(conn, target, directory, &key.id)?,
        Kind::Group => {
            let home = home(target, directory, key);
            desired_group(conn, target, &home, &key.id, link.as_ref(), members_max)?
        }
    };
    Ok(Dossier { item, desired, link })
}

/// The dossier of a resource as if it were work, memberships left out.
pub(super) fn unasked(
    conn: &Connection,
    target: &str,
    directory: &str,
    key: &ResourceKey,
    generation: u64,
) -> Result<Dossier, StoreError> {
    let link = links::link(conn, target, key)?;
    let desired = match key.kind {
        Kind::User => desired_user(conn, target, directory, &key.id)?,
        Kind::Group => Desired::Group {
            group: directory::group(conn, directory, &key.id)?.unwrap_or_default(),
            deltas: Vec::new(),
            more: false,
        },
    };
    Ok(Dossier { item: WorkItem::unasked(key.clone(), generation), desired, link })
}

fn desired_user(
    conn: &Connection,
    target: &str,
    directory: &str,
    id: &ExternalId,
) -> Result<Desired, StoreError> {
    let user = directory::user(conn, directory, id)?.unwrap_or_default();
    let mut references = BTreeMap::new();
    if let Some(manager) = manager(&user) {
        let standing = standing(conn, target, &manager)?;
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

fn standing(conn: &Connection, target: &str, user: &ExternalId) -> Result<MemberStanding, StoreError> {
    let standing = conn
        .prepare_cached(
            "SELECT l.id IS NOT NULL AND w.intent IS NULL, l.vendor_id, w.id IS NOT NULL
             FROM (SELECT 1)
             LEFT JOIN links AS l ON l.target = ?1 AND l.kind = 0 AND l.id = ?2
             LEFT JOIN work AS w ON w.target = ?1 AND w.kind = 0 AND w.id = ?2 AND w.state = 0",
        )?
        .query_row(params![target, user], |row| standing_at(row, 0))
        .optional()?;
    Ok(standing.unwrap_or(MemberStanding::Unknown { coming: false }))
}

/// From three columns: whether it is known if there is a link, the vendor's id in it, whether the user's work is
/// pending. Whoever may just have been created, by a call of unknown outcome, may be a member as well by the
/// same request.
fn standing_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<MemberStanding> {
    let vendor_id: Option<String> = row.get(column + 1)?;
    Ok(match (row.get(column)?, vendor_id) {
        (_, Some(vendor_id)) => MemberStanding::Linked(vendor_id),
        (true, None) => MemberStanding::Absent,
        (false, None) => MemberStanding::Unknown { coming: row.get(column + 2)? },
    })
}

fn desired_group(
    conn: &Connection,
    target: &str,
    directory: &str,
    id: &ExternalId,
    link: Option<&Link>,
    members_max: usize,
) -> Result<Desired, StoreError> {
    let group = directory::group(conn, directory, id)?.unwrap_or_default();
    let synced = match link {
        Some(Link::Known(row)) => row.synced_members,
        Some(Link::Absent { .. }) | None => 0,
    };
    // One more than asked for tells whether there are more.
    let room = members_max + 1;
    let mut deltas = read_deltas(conn, WAITED, params![target, directory, id, synced, room], true)?;
    let room = room - deltas.len();
    deltas.extend(read_deltas(conn, PAST_WATERMARK, params![target, directory, id, synced, room], false)?);
    let more = deltas.len() > members_max;
    deltas.truncate(members_max);
    Ok(Desired::Group { group, deltas, more })
}

/// Rows before the watermark that waited for their user, who is linked now. Index and order of the
/// tables are fixed, because SQLite would begin with all members of the group.
const WAITED: &str =
    "SELECT m.user_id, m.present, m.sequence, l.id IS NOT NULL AND u.intent IS NULL, l.vendor_id, u.id IS NOT NULL
     FROM waits AS w INDEXED BY waits_ready
     CROSS JOIN members AS m ON m.directory = ?2 AND m.group_id = w.id AND m.user_id = w.user_id
     LEFT JOIN links AS l ON l.target = ?1 AND l.kind = 0 AND l.id = w.user_id
     LEFT JOIN work AS u ON u.target = ?1 AND u.kind = 0 AND u.id = w.user_id AND u.state = 0
     WHERE w.target = ?1 AND w.kind = 1 AND w.id = ?3 AND w.ready = 1 AND m.sequence <= ?4
     LIMIT ?5";

/// Rows past the watermark, in order.
const PAST_WATERMARK: &str =
    "SELECT m.user_id, m.present, m.sequence, l.id IS NOT NULL AND u.intent IS NULL, l.vendor_id, u.id IS NOT NULL
     FROM members AS m
     LEFT JOIN links AS l ON l.target = ?1 AND l.kind = 0 AND l.id = m.user_id
     LEFT JOIN work AS u ON u.target = ?1 AND u.kind = 0 AND u.id = m.user_id AND u.state = 0
     WHERE m.directory = ?2 AND m.group_id = ?3 AND m.sequence > ?4
     ORDER BY m.sequence LIMIT ?5";

fn read_deltas(
    conn: &Connection,
    query: &str,
    params: impl Params,
    waited: bool,
) -> Result<Vec<MemberDelta>, StoreError> {
    let mut statement = conn.prepare_cached(query)?;
    let rows = statement.query_map(params, |row| {
        Ok(MemberDelta {
            user: row.get(0)?,
            present: row.get(1)?,
            sequence: row.get(2)?,
            standing: standing_at(row, 3)?,
            waited,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

//! The directory's rows: loaded for a merge, and written back.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row as SqlRow, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Group, Membership, Needs, Snapshot, User};
use crate::store::StoreError;
use crate::store::sqlite::rows::{from_json, to_json};
use crate::store::sqlite::targets;

/// Loads the rows that a merge needs.
pub(super) fn load(conn: &Connection, directory: &str, needs: &Needs) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    for id in &needs.users {
        if let Some(user) = user(conn, directory, id)? {
            snapshot.load_user(id.clone(), user);
        }
    }
    let mut groups = needs.groups.clone();
    load_pairs(conn, directory, needs, &mut snapshot)?;
    for group in &needs.members_of {
        load_present(conn, directory, MEMBERS_OF_GROUP, group, &mut snapshot)?;
    }
    for user in &needs.groups_of {
        groups.extend(load_present(conn, directory, MEMBERSHIPS_OF_USER, user, &mut snapshot)?);
    }
    for id in groups {
        if let Some(group) = group(conn, directory, &id)? {
            snapshot.load_group(id, group);
        }
    }
    Ok(snapshot)
}

/// Writes back the rows that a merge has touched. What has ended grows old from `heard_at` on: when it says
/// that it happened may be long ago.
pub(super) fn save(
    conn: &Connection,
    directory: &str,
    snapshot: &Snapshot,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    let touched = snapshot.touched();
    for id in touched.users.keys() {
        if let Some(user) = snapshot.user(id) {
            save_user(conn, directory, id, user, heard_at)?;
        }
    }
    for id in touched.groups.keys() {
        if let Some(group) = snapshot.group(id) {
            save_group(conn, directory, id, group, heard_at)?;
        }
    }
    let mut statement = conn.prepare_cached(
        "INSERT INTO members (directory, group_id, user_id, present, sequence, version, ended_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE
         SET present = excluded.present, sequence = excluded.sequence, version = excluded.version,
             ended_since = excluded.ended_since",
    )?;
    for (group, user) in &touched.members {
        if let Some(Membership { present, version, sequence }) = snapshot.membership(group, user) {
            let ended_since = (!present).then(|| version.no_earlier_than(heard_at));
            statement.execute(params![directory, group, user, present, sequence, version, ended_since])?;
        }
    }
    Ok(())
}

/// A user's row.
pub(super) fn user(conn: &Connection, directory: &str, id: &ExternalId) -> Result<Option<User>, StoreError> {
    let found = conn
        .prepare_cached("SELECT generation, body FROM users WHERE directory = ?1 AND id = ?2")?
        .query_row(params![directory, id], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((generation, body)) = found else { return Ok(None) };
    let user: User = from_json(&body, "users", id.as_str())?;
    Ok(Some(User { generation, ..user }))
}

/// These users of the directory that a target follows, as far as it knows them.
pub(super) fn users_of_target(
    conn: &Connection,
    target: &str,
    ids: &BTreeSet<ExternalId>,
) -> Result<BTreeMap<ExternalId, User>, StoreError> {
    let mut users = BTreeMap::new();
    let Some(directory) = targets::directory_of(conn, target)? else { return Ok(users) };
    for id in ids {
        if let Some(user) = user(conn, &directory, id)? {
            users.insert(id.clone(), user);
        }
    }
    Ok(users)
}

/// A group's row.
pub(super) fn group(
    conn: &Connection,
    directory: &str,
    id: &ExternalId,
) -> Result<Option<Group>, StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT generation, member_sequence, body FROM groups WHERE directory = ?1 AND id = ?2",
        )?
        .query_row(params![directory, id], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))
        .optional()?;
    let Some((generation, member_sequence, body)) = found else { return Ok(None) };
    let group: Group = from_json(&body, "groups", id.as_str())?;
    Ok(Some(Group { generation, member_sequence, ..group }))
}

const MEMBERS_OF_GROUP: &str = "SELECT group_id, user_id, present, version, sequence FROM members
     WHERE directory = ?1 AND group_id = ?2 AND present = 1";
/// The index is named because SQLite would read the whole directory's memberships instead.
const MEMBERSHIPS_OF_USER: &str = "SELECT group_id, user_id, present, version, sequence
     FROM members INDEXED BY members_of_user
     WHERE directory = ?1 AND user_id = ?2 AND present = 1";

/// Loads the memberships that `query` finds, and says of which groups.
fn load_present(
    conn: &Connection,
    directory: &str,
    query: &str,
    id: &ExternalId,
    snapshot: &mut Snapshot,
) -> Result<BTreeSet<ExternalId>, StoreError> {
    let mut groups = BTreeSet::new();
    let mut statement = conn.prepare_cached(query)?;
    let mut rows = statement.query(params![directory, id])?;
    while let Some(row) = rows.next()? {
        let (group, user, membership) = membership(row)?;
        groups.insert(group.clone());
        snapshot.load_membership(group, user, membership);
    }
    Ok(groups)
}

fn load_pairs(
    conn: &Connection,
    directory: &str,
    needs: &Needs,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let mut pair = conn.prepare_cached(
        "SELECT group_id, user_id, present, version, sequence FROM members
         WHERE directory = ?1 AND group_id = ?2 AND user_id = ?3",
    )?;
    let mut deletion =
        conn.prepare_cached("SELECT deleted_at FROM users WHERE directory = ?1 AND id = ?2")?;
    for (group, user) in &needs.pairs {
        let found = pair.query_row(params![directory, group, user], membership).optional()?;
        if let Some((group, user, membership)) = found {
            snapshot.load_membership(group, user, membership);
        }
        if !needs.users.contains(user) {
            load_deletion(&mut deletion, directory, user, snapshot)?;
        }
    }
    Ok(())
}

fn load_deletion(
    statement: &mut CachedStatement<'_>,
    directory: &str,
    user: &ExternalId,
    snapshot: &mut Snapshot,
) -> Result<(), StoreError> {
    let deleted_at = statement.query_row(params![directory, user], |row| row.get(0)).optional()?.flatten();
    if let Some(deleted_at) = deleted_at {
        snapshot.load_deletion(user.clone(), deleted_at);
    }
    Ok(())
}

fn membership(row: &SqlRow<'_>) -> rusqlite::Result<(ExternalId, ExternalId, Membership)> {
    let membership = Membership { present: row.get(2)?, version: row.get(3)?, sequence: row.get(4)? };
    Ok((row.get(0)?, row.get(1)?, membership))
}

fn save_user(
    conn: &Connection,
    directory: &str,
    id: &ExternalId,
    user: &User,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO users (directory, id, generation, has_access, deleted_at, body, gone_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE
         SET generation = excluded.generation, has_access = excluded.has_access,
             deleted_at = excluded.deleted_at, body = excluded.body, gone_since = excluded.gone_since",
    )?
    .execute(params![
        directory,
        id,
        user.generation,
        user.has_access(),
        user.deleted_at,
        to_json(user),
        user.gone_since().map(|gone| gone.no_earlier_than(heard_at))
    ])?;
    Ok(())
}

fn save_group(
    conn: &Connection,
    directory: &str,
    id: &ExternalId,
    group: &Group,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO groups (directory, id, generation, member_sequence, is_deleted, body, gone_since)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT DO UPDATE
         SET generation = excluded.generation, member_sequence = excluded.member_sequence,
             is_deleted = excluded.is_deleted, body = excluded.body, gone_since = excluded.gone_since",
    )?
    .execute(params![
        directory,
        id,
        group.generation,
        group.member_sequence,
        group.is_deleted(),
        to_json(group),
        group.gone_since().map(|gone| gone.no_earlier_than(heard_at))
    ])?;
    Ok(())
}

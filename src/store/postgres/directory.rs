//! The directory's rows: locked and loaded for a merge, and written back, each kind in one statement.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::try_join;
use tokio_postgres::Row as SqlRow;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Group, Membership, Needs, Snapshot, User, Version};
use crate::store::StoreError;
use crate::store::postgres::rows::{
    Tx, big, execute, from_json, query, query_opt, storable, to_json, unsigned,
};

/// Keeps others from merging into these directories, and targets from beginning to follow them, until
/// the transaction ends. A directory that nobody knew gets its row.
pub(super) async fn lock(tx: &Tx<'_>, names: &BTreeSet<&str>) -> Result<(), StoreError> {
    let names: Vec<&str> = names.iter().copied().collect();
    if lock_rows(tx, &names).await? < names.len() {
        execute(
            tx,
            "INSERT INTO directories (name) SELECT name FROM unnest($1::text[]) AS given (name)
             ON CONFLICT (name) DO NOTHING",
            &[&names],
        )
        .await?;
        lock_rows(tx, &names).await?;
    }
    Ok(())
}

async fn lock_rows(tx: &Tx<'_>, names: &[&str]) -> Result<usize, StoreError> {
    let sql = "SELECT name FROM directories WHERE name = ANY($1::text[]) ORDER BY name FOR NO KEY UPDATE";
    Ok(query(tx, sql, &[&names]).await?.len())
}

/// Loads the rows that a merge needs. Whatever does not depend on another answer is asked at once.
pub(super) async fn load(tx: &Tx<'_>, directory: &str, needs: &Needs) -> Result<Snapshot, StoreError> {
    let mut snapshot = Snapshot::default();
    let (users, deletions, pairs, members, memberships) = try_join!(
        users(tx, directory, &needs.users),
        deletions(tx, directory, needs),
        pairs(tx, directory, &needs.pairs),
        present(tx, directory, MEMBERS_OF_GROUP, &needs.members_of),
        present(tx, directory, MEMBERSHIPS_OF_USER, &needs.groups_of),
    )?;
    for (id, user) in users {
        snapshot.load_user(id, user);
    }
    for (id, deleted_at) in deletions {
        snapshot.load_deletion(id, deleted_at);
    }
    let mut wanted = needs.groups.clone();
    wanted.extend(memberships.iter().map(|(group, ..)| group.clone()));
    for (group, user, membership) in pairs.into_iter().chain(members).chain(memberships) {
        snapshot.load_membership(group, user, membership);
    }
    for (id, group) in groups(tx, directory, &wanted).await? {
        snapshot.load_group(id, group);
    }
    Ok(snapshot)
}

/// Writes back the rows that a merge has touched. What has ended grows old from `heard_at` on: when it says
/// that it happened may be long ago.
pub(super) async fn save(
    tx: &Tx<'_>,
    directory: &str,
    snapshot: &Snapshot,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    try_join!(
        save_users(tx, directory, snapshot, heard_at),
        save_groups(tx, directory, snapshot, heard_at),
        save_members(tx, directory, snapshot, heard_at),
    )?;
    Ok(())
}

/// A user's row.
pub(super) async fn user(tx: &Tx<'_>, directory: &str, id: &ExternalId) -> Result<Option<User>, StoreError> {
    let sql = "SELECT id, generation, body FROM users WHERE directory = $1 AND id = $2";
    let found = query_opt(tx, sql, &[&directory, &id]).await?;
    Ok(found.map(|row| user_of(&row)).transpose()?.map(|(_, user)| user))
}

/// These users of the directory that a target follows, as far as it knows them.
pub(super) async fn users_of_target(
    tx: &Tx<'_>,
    target: &str,
    ids: &BTreeSet<ExternalId>,
) -> Result<BTreeMap<ExternalId, User>, StoreError> {
    let ids: Vec<&ExternalId> = ids.iter().collect();
    let sql = "SELECT u.id, u.generation, u.body FROM targets AS t
               JOIN users AS u ON u.directory = t.directory AND u.id = ANY($2::text[])
               WHERE t.name = $1";
    query(tx, sql, &[&storable(target), &ids]).await?.iter().map(user_of).collect()
}

/// A group's row.
pub(super) async fn group(
    tx: &Tx<'_>,
    directory: &str,
    id: &ExternalId,
) -> Result<Option<Group>, StoreError> {
    let sql = "SELECT id, generation, member_sequence, body FROM groups WHERE directory = $1 AND id = $2";
    let found = query_opt(tx, sql, &[&directory, &id]).await?;
    Ok(found.map(|row| group_of(&row)).transpose()?.map(|(_, group)| group))
}

type MembershipRow = (ExternalId, ExternalId, Membership);

const MEMBERS_OF_GROUP: &str = "SELECT group_id, user_id, present, version, sequence FROM members
     WHERE directory = $1 AND group_id = ANY($2::text[]) AND present";
const MEMBERSHIPS_OF_USER: &str = "SELECT group_id, user_id, present, version, sequence FROM members
     WHERE directory = $1 AND user_id = ANY($2::text[]) AND present";

async fn users(
    tx: &Tx<'_>,
    directory: &str,
    ids: &BTreeSet<ExternalId>,
) -> Result<Vec<(ExternalId, User)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&ExternalId> = ids.iter().collect();
    let sql = "SELECT id, generation, body FROM users WHERE directory = $1 AND id = ANY($2::text[])";
    query(tx, sql, &[&directory, &ids]).await?.iter().map(user_of).collect()
}

async fn groups(
    tx: &Tx<'_>,
    directory: &str,
    ids: &BTreeSet<ExternalId>,
) -> Result<Vec<(ExternalId, Group)>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&ExternalId> = ids.iter().collect();
    let sql = "SELECT id, generation, member_sequence, body FROM groups
               WHERE directory = $1 AND id = ANY($2::text[])";
    query(tx, sql, &[&directory, &ids]).await?.iter().map(group_of).collect()
}

/// When the users of pairs were deleted, as far as they are not loaded whole.
async fn deletions(
    tx: &Tx<'_>,
    directory: &str,
    needs: &Needs,
) -> Result<Vec<(ExternalId, Version)>, StoreError> {
    let users: BTreeSet<&ExternalId> =
        needs.pairs.iter().map(|(_, user)| user).filter(|user| !needs.users.contains(*user)).collect();
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<&ExternalId> = users.into_iter().collect();
    let sql = "SELECT id, deleted_at FROM users
               WHERE directory = $1 AND id = ANY($2::text[]) AND deleted_at IS NOT NULL";
    let rows = query(tx, sql, &[&directory, &users]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn pairs(
    tx: &Tx<'_>,
    directory: &str,
    pairs: &BTreeSet<(ExternalId, ExternalId)>,
) -> Result<Vec<MembershipRow>, StoreError> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let (groups, users): (Vec<&ExternalId>, Vec<&ExternalId>) =
        pairs.iter().map(|(group, user)| (group, user)).unzip();
    let sql = "SELECT m.group_id, m.user_id, m.present, m.version, m.sequence
               FROM unnest($2::text[], $3::text[]) AS pair (group_id, user_id)
               JOIN members AS m
                 ON m.directory = $1 AND m.group_id = pair.group_id AND m.user_id = pair.user_id";
    query(tx, sql, &[&directory, &groups, &users]).await?.iter().map(membership_of).collect()
}

async fn present(
    tx: &Tx<'_>,
    directory: &str,
    sql: &str,
    ids: &BTreeSet<ExternalId>,
) -> Result<Vec<MembershipRow>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<&ExternalId> = ids.iter().collect();
    query(tx, sql, &[&directory, &ids]).await?.iter().map(membership_of).collect()
}

fn user_of(row: &SqlRow) -> Result<(ExternalId, User), StoreError> {
    let id: ExternalId = row.try_get(0)?;
    let user: User = from_json(row.try_get(2)?, "users", id.as_str())?;
    let generation = unsigned(row, 1, "users")?;
    Ok((id, User { generation, ..user }))
}

fn group_of(row: &SqlRow) -> Result<(ExternalId, Group), StoreError> {
    let id: ExternalId = row.try_get(0)?;
    let group: Group = from_json(row.try_get(3)?, "groups", id.as_str())?;
    let (generation, member_sequence) = (unsigned(row, 1, "groups")?, unsigned(row, 2, "groups")?);
    Ok((id, Group { generation, member_sequence, ..group }))
}

fn membership_of(row: &SqlRow) -> Result<MembershipRow, StoreError> {
    let sequence = unsigned(row, 4, "members")?;
    let membership = Membership { present: row.try_get(2)?, version: row.try_get(3)?, sequence };
    Ok((row.try_get(0)?, row.try_get(1)?, membership))
}

async fn save_users(
    tx: &Tx<'_>,
    directory: &str,
    snapshot: &Snapshot,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    let touched = snapshot.touched().users.keys();
    let users: Vec<(&ExternalId, &User)> = touched.filter_map(|id| Some((id, snapshot.user(id)?))).collect();
    if users.is_empty() {
        return Ok(());
    }
    let ids: Vec<&ExternalId> = users.iter().map(|(id, _)| *id).collect();
    let generations: Vec<i64> = users.iter().map(|(_, user)| big(user.generation)).collect();
    let access: Vec<bool> = users.iter().map(|(_, user)| user.has_access()).collect();
    let deletions: Vec<Option<&Version>> = users.iter().map(|(_, user)| user.deleted_at.as_ref()).collect();
    let bodies: Vec<String> = users.iter().map(|(_, user)| to_json(user)).collect();
    let gone_since = |user: &User| user.gone_since().map(|version| version.no_earlier_than(heard_at));
    let gone: Vec<Option<Version>> = users.iter().map(|(_, user)| gone_since(user)).collect();
    execute(
        tx,
        "INSERT INTO users (directory, id, generation, has_access, deleted_at, body, gone_since)
         SELECT $1, given.* FROM unnest($2::text[], $3::bigint[], $4::boolean[], $5::bytea[], $6::text[],
                                        $7::bytea[]) AS given
         ON CONFLICT (directory, id) DO UPDATE
         SET generation = excluded.generation, has_access = excluded.has_access,
             deleted_at = excluded.deleted_at, body = excluded.body, gone_since = excluded.gone_since",
        &[&directory, &ids, &generations, &access, &deletions, &bodies, &gone],
    )
    .await?;
    Ok(())
}

async fn save_groups(
    tx: &Tx<'_>,
    directory: &str,
    snapshot: &Snapshot,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    let touched = snapshot.touched().groups.keys();
    let groups: Vec<(&ExternalId, &Group)> =
        touched.filter_map(|id| Some((id, snapshot.group(id)?))).collect();
    if groups.is_empty() {
        return Ok(());
    }
    let ids: Vec<&ExternalId> = groups.iter().map(|(id, _)| *id).collect();
    let generations: Vec<i64> = groups.iter().map(|(_, group)| big(group.generation)).collect();
    let sequences: Vec<i64> = groups.iter().map(|(_, group)| big(group.member_sequence)).collect();
    let deleted: Vec<bool> = groups.iter().map(|(_, group)| group.is_deleted()).collect();
    let bodies: Vec<String> = groups.iter().map(|(_, group)| to_json(group)).collect();
    let gone_since = |group: &Group| group.gone_since().map(|version| version.no_earlier_than(heard_at));
    let gone: Vec<Option<Version>> = groups.iter().map(|(_, group)| gone_since(group)).collect();
    execute(
        tx,
        "INSERT INTO groups (directory, id, generation, member_sequence, is_deleted, body, gone_since)
         SELECT $1, given.* FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::boolean[], $6::text[],
                                        $7::bytea[]) AS given
         ON CONFLICT (directory, id) DO UPDATE
         SET generation = excluded.generation, member_sequence = excluded.member_sequence,
             is_deleted = excluded.is_deleted, body = excluded.body, gone_since = excluded.gone_since",
        &[&directory, &ids, &generations, &sequences, &deleted, &bodies, &gone],
    )
    .await?;
    Ok(())
}

async fn save_members(
    tx: &Tx<'_>,
    directory: &str,
    snapshot: &Snapshot,
    heard_at: Timestamp,
) -> Result<(), StoreError> {
    let touched = snapshot.touched().members.iter();
    let rows: Vec<(&ExternalId, &ExternalId, &Membership)> =
        touched.filter_map(|(group, user)| Some((group, user, snapshot.membership(group, user)?))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let groups: Vec<&ExternalId> = rows.iter().map(|(group, ..)| *group).collect();
    let users: Vec<&ExternalId> = rows.iter().map(|(_, user, _)| *user).collect();
    let present: Vec<bool> = rows.iter().map(|(.., row)| row.present).collect();
    let sequences: Vec<i64> = rows.iter().map(|(.., row)| big(row.sequence)).collect();
    let versions: Vec<&Version> = rows.iter().map(|(.., row)| &row.version).collect();
    let ended_since = |row: &Membership| (!row.present).then(|| row.version.no_earlier_than(heard_at));
    let ended: Vec<Option<Version>> = rows.iter().map(|(.., row)| ended_since(row)).collect();
    execute(
        tx,
        "INSERT INTO members (directory, group_id, user_id, present, sequence, version, ended_since)
         SELECT $1, given.* FROM unnest($2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::bytea[],
                                        $7::bytea[]) AS given
         ON CONFLICT (directory, group_id, user_id) DO UPDATE
         SET present = excluded.present, sequence = excluded.sequence, version = excluded.version,
             ended_since = excluded.ended_since",
        &[&directory, &groups, &users, &present, &sequences, &versions, &ended],
    )
    .await?;
    Ok(())
}

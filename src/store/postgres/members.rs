//! Memberships that could not be sent yet: those that wait for their user, and those that are parked.
//! Every function takes the whole of a round and is one statement, or none where there is nothing to do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::StoreError;
use crate::store::derived::{OWN, home};
use crate::store::postgres::rows::{Tx, big, execute, key_at, key_columns, query, storable};
use crate::store::postgres::targets::LockedTarget;
use crate::store::postgres::work;

/// A group, and one of its users.
pub(super) type Membership<'a> = (&'a ExternalId, &'a ExternalId);

/// Which of `keys` wait for which of `users`.
pub(super) async fn waiting_among(
    tx: &Tx<'_>,
    target: &str,
    users: &[&ExternalId],
    keys: impl IntoIterator<Item = &ResourceKey>,
) -> Result<BTreeMap<ExternalId, Vec<ResourceKey>>, StoreError> {
    let mut waiting: BTreeMap<ExternalId, Vec<ResourceKey>> = BTreeMap::new();
    if users.is_empty() {
        return Ok(waiting);
    }
    let (kinds, ids) = key_columns(keys);
    let rows = query(
        tx,
        "SELECT w.user_id, w.kind, w.id FROM waits AS w
         JOIN unnest($3::smallint[], $4::text[]) AS k (kind, id) ON w.kind = k.kind AND w.id = k.id
         WHERE w.target = $1 AND w.user_id = ANY ($2::text[])",
        &[&target, &users, &kinds, &ids],
    )
    .await?;
    for row in &rows {
        waiting.entry(row.try_get(0)?).or_default().push(key_at(row, 1)?);
    }
    Ok(waiting)
}

/// Forgets whom users wait for, which is stated anew each time.
pub(super) async fn forget_waits_of_users(
    at: &LockedTarget<'_>,
    users: &[&ExternalId],
) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM waits WHERE target = $1 AND kind = 0 AND id = ANY ($2::text[])";
    execute(at.tx, sql, &[&at.name, &users]).await?;
    Ok(())
}

/// How far the memberships of a group were sent.
pub(super) struct Progress<'a> {
    pub(super) group: &'a ExternalId,
    pub(super) after: u64,
    pub(super) through: u64,
}

/// Ends the waits and parkings whose row the watermark has passed.
pub(super) async fn end_passed(at: &LockedTarget<'_>, passed: &[Progress<'_>]) -> Result<(), StoreError> {
    if passed.is_empty() {
        return Ok(());
    }
    let groups: Vec<_> = passed.iter().map(|progress| progress.group).collect();
    let after: Vec<_> = passed.iter().map(|progress| big(progress.after)).collect();
    let through: Vec<_> = passed.iter().map(|progress| big(progress.through)).collect();
    let homes = homes(at, &groups);
    for sql in [END_PASSED_WAITS, END_PASSED_PARKINGS] {
        execute(at.tx, sql, &[&at.name, &homes, &groups, &after, &through]).await?;
    }
    Ok(())
}

/// The directories that hold these groups.
pub(super) fn homes<'a>(at: &LockedTarget<'a>, groups: &[&ExternalId]) -> Vec<Cow<'a, str>> {
    let of = |group: &&ExternalId| home(at.name, at.directory, &ResourceKey::group((*group).clone()));
    groups.iter().map(of).collect()
}

const END_PASSED_WAITS: &str = "DELETE FROM waits AS t
     USING unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS g (home, id, after, through),
           members AS m
     WHERE m.directory = g.home AND m.group_id = g.id AND m.sequence > g.after AND m.sequence <= g.through
       AND t.target = $1 AND t.kind = 1 AND t.id = g.id AND t.user_id = m.user_id
       AND NOT EXISTS (SELECT 1 FROM work AS b
                       WHERE b.target = $1 AND b.kind = 1 AND b.id = g.id AND b.lost)";
const END_PASSED_PARKINGS: &str = "DELETE FROM parked_members AS t
     USING unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS g (home, id, after, through),
           members AS m
     WHERE m.directory = g.home AND m.group_id = g.id AND m.sequence > g.after AND m.sequence <= g.through
       AND t.target = $1 AND t.group_id = g.id AND t.user_id = m.user_id";

/// Notes that the vendor has forgotten users, and their memberships with them: their groups wait for
/// them as for anybody whom the vendor does not know. True for those who have another account already.
pub(super) async fn lose_memberships(
    at: &LockedTarget<'_>,
    users: &[(&ExternalId, bool)],
) -> Result<(), StoreError> {
    if users.is_empty() {
        return Ok(());
    }
    let (ids, ready): (Vec<&ExternalId>, Vec<bool>) = users.iter().copied().unzip();
    // What the vendor has refused was about the account that is gone.
    let parkings = "DELETE FROM parked_members WHERE target = $1 AND user_id = ANY ($2::text[])";
    execute(at.tx, parkings, &[&at.name, &ids]).await?;
    execute(
        at.tx,
        "INSERT INTO waits (target, kind, id, user_id, ready)
         SELECT $1, 1, m.group_id, m.user_id, u.ready
         FROM unnest($3::text[], $4::boolean[]) AS u (id, ready)
         JOIN members AS m ON m.directory IN ($2, $5 || $1) AND m.user_id = u.id AND m.present
         ON CONFLICT (target, kind, id, user_id) DO UPDATE SET ready = excluded.ready",
        &[&at.name, &at.directory, &ids, &ready, &OWN],
    )
    .await?;
    execute(
        at.tx,
        "UPDATE work AS w SET lost = true FROM members AS m
         WHERE m.directory IN ($2, $4 || $1) AND m.user_id = ANY ($3::text[]) AND m.present
           AND w.target = $1 AND w.kind = 1 AND w.id = m.group_id",
        &[&at.name, &at.directory, &ids, &OWN],
    )
    .await?;
    Ok(())
}

/// Ends waits of groups that were told of their members. Where one of them was lost meanwhile, the call
/// may have told of an account that is no more, and whoever waits is sent once again.
pub(super) async fn end_settled_waits(
    at: &LockedTarget<'_>,
    settled: &[Membership<'_>],
) -> Result<(), StoreError> {
    if settled.is_empty() {
        return Ok(());
    }
    let (groups, users): (Vec<_>, Vec<_>) = settled.iter().copied().unzip();
    execute(
        at.tx,
        "DELETE FROM waits AS w USING unnest($2::text[], $3::text[]) AS k (group_id, user_id)
         WHERE w.target = $1 AND w.kind = $4 AND w.id = k.group_id AND w.user_id = k.user_id
           AND NOT EXISTS (SELECT 1 FROM work AS b
                           WHERE b.target = $1 AND b.kind = $4 AND b.id = k.group_id AND b.lost)",
        &[&at.name, &groups, &users, &Kind::Group],
    )
    .await?;
    Ok(())
}

/// What came of noting waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// Resources of which a user is linked already, so that nothing would wake them later.
    pub(super) ready: BTreeSet<ResourceKey>,
    /// A user has got work, to be looked up.
    pub(super) sought: bool,
}

/// Notes that resources wait for users.
pub(super) async fn wait_for(
    at: &LockedTarget<'_>,
    waits: &[(&ResourceKey, &ExternalId)],
) -> Result<Noted, StoreError> {
    if waits.is_empty() {
        return Ok(Noted::default());
    }
    let (kinds, ids) = key_columns(waits.iter().map(|(key, _)| *key));
    let users: Vec<&ExternalId> = waits.iter().map(|(_, user)| *user).collect();
    let homes: Vec<_> = waits.iter().map(|(key, _)| home(at.name, at.directory, key)).collect();
    // A group waits only for users of whom it has a row, or the wait could never end.
    let rows = query(
        at.tx,
        "INSERT INTO waits (target, kind, id, user_id, ready)
         SELECT $1, k.kind, k.id, k.user_id, l.vendor_id IS NOT NULL
         FROM unnest($2::text[], $3::smallint[], $4::text[], $5::text[]) AS k (home, kind, id, user_id)
         LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = k.user_id
         LEFT JOIN members AS m
             ON k.kind = 1 AND m.directory = k.home AND m.group_id = k.id AND m.user_id = k.user_id
         WHERE k.kind = 0 OR m.user_id IS NOT NULL
         ON CONFLICT (target, kind, id, user_id) DO UPDATE SET ready = excluded.ready
         RETURNING kind, id, ready",
        &[&at.name, &homes, &kinds, &ids, &users],
    )
    .await?;
    let mut noted = Noted { sought: work::seek_users(at, &users).await?, ..Noted::default() };
    for row in &rows {
        if row.try_get(2)? {
            noted.ready.insert(key_at(row, 0)?);
        }
    }
    Ok(noted)
}

/// Sets members aside until a person looks.
pub(super) async fn park(
    at: &LockedTarget<'_>,
    parked: &BTreeMap<Membership<'_>, &str>,
) -> Result<(), StoreError> {
    if parked.is_empty() {
        return Ok(());
    }
    end_waits(at, &parked.keys().copied().collect::<Vec<_>>()).await?;
    let (groups, users): (Vec<_>, Vec<_>) = parked.keys().copied().unzip();
    let reasons: Vec<_> = parked.values().map(|reason| storable(reason)).collect();
    execute(
        at.tx,
        "INSERT INTO parked_members (target, group_id, user_id, reason, parked_at)
         SELECT $1, k.group_id, k.user_id, k.reason, $2
         FROM unnest($3::text[], $4::text[], $5::text[]) AS k (group_id, user_id, reason)
         ON CONFLICT (target, group_id, user_id) DO UPDATE SET reason = excluded.reason",
        &[&at.name, &at.now, &groups, &users, &reasons],
    )
    .await?;
    Ok(())
}

/// Answers how many of these members were parked.
pub(super) async fn end_parkings(
    at: &LockedTarget<'_>,
    members: &[Membership<'_>],
) -> Result<u64, StoreError> {
    if members.is_empty() {
        return Ok(0);
    }
    let (groups, users): (Vec<_>, Vec<_>) = members.iter().copied().unzip();
    execute(
        at.tx,
        "DELETE FROM parked_members AS p USING unnest($2::text[], $3::text[]) AS k (group_id, user_id)
         WHERE p.target = $1 AND p.group_id = k.group_id AND p.user_id = k.user_id",
        &[&at.name, &groups, &users],
    )
    .await
}

/// Ends waits of groups.
pub(super) async fn end_waits(at: &LockedTarget<'_>, members: &[Membership<'_>]) -> Result<(), StoreError> {
    if members.is_empty() {
        return Ok(());
    }
    let (groups, users): (Vec<_>, Vec<_>) = members.iter().copied().unzip();
    execute(
        at.tx,
        "DELETE FROM waits AS w USING unnest($3::text[], $4::text[]) AS k (group_id, user_id)
         WHERE w.target = $1 AND w.kind = $2 AND w.id = k.group_id AND w.user_id = k.user_id",
        &[&at.name, &Kind::Group, &groups, &users],
    )
    .await?;
    Ok(())
}

//! Memberships that could not be sent yet: those that wait for their user, and those that are parked.
//!
//! The target's lock is held by the caller.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::postgres::rows::{Tx, big, execute, query_one, storable};
use crate::store::postgres::{links, work};
use crate::store::{MembersOutcome, StoreError};

/// A resource of a target, with what waiting needs to know.
pub(super) struct Waiter<'a> {
    pub(super) tx: &'a Tx<'a>,
    pub(super) target: &'a str,
    pub(super) directory: &'a str,
    pub(super) key: &'a ResourceKey,
    pub(super) now: Timestamp,
}

/// What came of noting waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// A user is linked already, so that nothing would wake the resource later.
    pub(super) ready: bool,
    /// A user has got work, to be looked up.
    pub(super) sought: bool,
}

/// Ends the waits of users: they are stated anew each time.
pub(super) async fn end_waits_of_users(
    tx: &Tx<'_>,
    target: &str,
    users: &[&ExternalId],
) -> Result<(), StoreError> {
    if !users.is_empty() {
        let end = "DELETE FROM waits WHERE target = $1 AND kind = 0 AND id = ANY($2::text[])";
        execute(tx, end, &[&target, &users]).await?;
    }
    Ok(())
}

impl Waiter<'_> {
    /// Ends a group's waits and parkings that a planner has dealt with: those that it names, and those
    /// whose row the watermark has passed.
    pub(super) async fn end(
        &self,
        members: &MembersOutcome,
        synced_before: u64,
        synced: u64,
    ) -> Result<(), StoreError> {
        if !members.settled.is_empty() {
            let settled: Vec<&ExternalId> = members.settled.iter().collect();
            self.end_waits(&settled).await?;
            self.end_parkings(&settled).await?;
        }
        if synced > synced_before {
            self.end_passed("waits", "AND t.kind = 1 AND t.id", synced_before, synced).await?;
            self.end_passed("parked_members", "AND t.group_id", synced_before, synced).await?;
        }
        Ok(())
    }

    async fn end_passed(&self, table: &str, group: &str, after: u64, through: u64) -> Result<(), StoreError> {
        let sql = format!(
            "DELETE FROM {table} AS t WHERE t.target = $1 {group} = $2 AND t.user_id IN (
                 SELECT user_id FROM members
                 WHERE directory = $3 AND group_id = $2 AND sequence > $4 AND sequence <= $5)"
        );
        execute(self.tx, &sql, &[&self.target, &self.key.id, &self.directory, &big(after), &big(through)])
            .await?;
        Ok(())
    }

    /// Notes that the vendor has forgotten the user, and its memberships with it: its groups wait for
    /// it as for anybody whom the vendor does not know. `ready`: it has another account already.
    pub(super) async fn lose_memberships(&self, ready: bool) -> Result<(), StoreError> {
        execute(
            self.tx,
            "INSERT INTO waits (target, kind, id, user_id, ready)
             SELECT $1, 1, group_id, user_id, $4::boolean FROM members
             WHERE directory = $2 AND user_id = $3 AND present
             ON CONFLICT (target, kind, id, user_id) DO UPDATE SET ready = excluded.ready",
            &[&self.target, &self.directory, &self.key.id, &ready],
        )
        .await?;
        Ok(())
    }

    /// Notes that the resource waits for users.
    pub(super) async fn wait_for(&self, users: &BTreeSet<ExternalId>) -> Result<Noted, StoreError> {
        if users.is_empty() {
            return Ok(Noted::default());
        }
        let users: Vec<&ExternalId> = users.iter().collect();
        // A group waits only for users of whom it has a row, or the wait could never end.
        let waits = query_one(
            self.tx,
            "WITH noted AS (
                 INSERT INTO waits (target, kind, id, user_id, ready)
                 SELECT $1, $2::smallint, $3, u.id, l.vendor_id IS NOT NULL
                 FROM unnest($4::text[]) AS u (id)
                 LEFT JOIN links AS l ON l.target = $1 AND l.kind = 0 AND l.id = u.id
                 WHERE $2 = 0 OR EXISTS (SELECT 1 FROM members AS m
                     WHERE m.directory = $5 AND m.group_id = $3 AND m.user_id = u.id)
                 ON CONFLICT (target, kind, id, user_id) DO UPDATE SET ready = excluded.ready
                 RETURNING ready)
             SELECT coalesce(bool_or(ready), false) FROM noted",
            &[&self.target, &self.key.kind, &self.key.id, &users, &self.directory],
        )
        .await?;
        let sought = work::seek_users(self.tx, self.target, self.directory, &users, self.now).await?;
        Ok(Noted { ready: waits.try_get(0)?, sought })
    }

    /// Sets members aside until a person looks.
    pub(super) async fn park(&self, members: &MembersOutcome) -> Result<(), StoreError> {
        // The last reason for a member stands.
        let reasons: BTreeMap<&ExternalId, &str> =
            members.parked.iter().map(|parked| (&parked.user, parked.reason.as_str())).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        let users: Vec<&ExternalId> = reasons.keys().copied().collect();
        let reasons: Vec<String> = reasons.values().map(|reason| storable(reason).into_owned()).collect();
        self.end_waits(&users).await?;
        execute(
            self.tx,
            "INSERT INTO parked_members (target, group_id, user_id, reason, parked_at)
             SELECT $1, $2, p.user_id, p.reason, $5::bigint FROM unnest($3::text[], $4::text[]) AS p (user_id, reason)
             ON CONFLICT (target, group_id, user_id) DO UPDATE SET reason = excluded.reason",
            &[&self.target, &self.key.id, &users, &reasons, &self.now],
        )
        .await?;
        Ok(())
    }

    /// True when there was such a parked member.
    pub(super) async fn end_parkings(&self, users: &[&ExternalId]) -> Result<bool, StoreError> {
        let end =
            "DELETE FROM parked_members WHERE target = $1 AND group_id = $2 AND user_id = ANY($3::text[])";
        Ok(execute(self.tx, end, &[&self.target, &self.key.id, &users]).await? > 0)
    }

    async fn end_waits(&self, users: &[&ExternalId]) -> Result<(), StoreError> {
        let end =
            "DELETE FROM waits WHERE target = $1 AND kind = 1 AND id = $2 AND user_id = ANY($3::text[])";
        execute(self.tx, end, &[&self.target, &self.key.id, &users]).await?;
        Ok(())
    }

    /// Whether a group has membership rows past this watermark.
    pub(super) async fn has_rows_past(&self, synced: u64) -> Result<bool, StoreError> {
        let any = "SELECT EXISTS (SELECT 1 FROM members
                                  WHERE directory = $1 AND group_id = $2 AND sequence > $3)";
        let row = query_one(self.tx, any, &[&self.directory, &self.key.id, &big(synced)]).await?;
        Ok(row.try_get(0)?)
    }

    /// Whether members that a group has waited for are linked now.
    pub(super) async fn has_ready_waits(&self) -> Result<bool, StoreError> {
        let any = "SELECT EXISTS (SELECT 1 FROM waits WHERE target = $1 AND kind = 1 AND id = $2 AND ready)";
        Ok(query_one(self.tx, any, &[&self.target, &self.key.id]).await?.try_get(0)?)
    }

    /// What the link of the resource says.
    pub(super) async fn standing(&self) -> Result<links::Standing, StoreError> {
        links::standing(self.tx, self.target, self.key).await
    }

    /// Whether the resource is a group.
    pub(super) fn is_group(&self) -> bool {
        self.key.kind == Kind::Group
    }
}

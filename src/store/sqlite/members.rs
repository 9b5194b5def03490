//! Memberships that could not be sent yet: those that wait for their user, and those that are parked.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::derived::{OWN, home};
use crate::store::guard::ItemState;
use crate::store::sqlite::{holds, links, work};
use crate::store::{ItemId, MembersOutcome, StoreError};

/// A resource of a target, with what waiting needs to know.
pub(super) struct Waiter<'a> {
    pub(super) conn: &'a Connection,
    pub(super) target: &'a str,
    /// The directory that the target follows.
    pub(super) directory: &'a str,
    /// The directory that holds the resource.
    pub(super) home: Cow<'a, str>,
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

impl<'a> Waiter<'a> {
    pub(super) fn new(
        conn: &'a Connection,
        (target, directory): (&'a str, &'a str),
        key: &'a ResourceKey,
        now: Timestamp,
    ) -> Self {
        Self { conn, target, directory, home: home(target, directory, key), key, now }
    }

    /// Ends waits and parkings that a planner has dealt with: those that it names, and those whose row
    /// the watermark has passed. A user resource's waits are stated anew each time.
    pub(super) fn end(
        &self,
        members: &MembersOutcome,
        synced_before: u64,
        synced: u64,
    ) -> Result<(), StoreError> {
        if self.key.kind == Kind::User {
            self.conn
                .prepare_cached("DELETE FROM waits WHERE target = ?1 AND kind = 0 AND id = ?2")?
                .execute(params![self.target, self.key.id])?;
            return Ok(());
        }
        // The call may have told of an account that is no more: whoever waits now is sent once again.
        let lost = self.has_lost_a_member()?;
        for user in &members.settled {
            if !lost {
                self.end_wait(user)?;
            }
            self.end_parking(user)?;
        }
        if synced > synced_before {
            if !lost {
                self.end_passed("waits", "AND t.kind = 1 AND t.id", synced_before, synced)?;
            }
            self.end_passed("parked_members", "AND t.group_id", synced_before, synced)?;
        }
        Ok(())
    }

    fn end_passed(&self, table: &str, group: &str, after: u64, through: u64) -> Result<(), StoreError> {
        let sql = format!(
            "DELETE FROM {table} AS t WHERE t.target = ?1 {group} = ?2 AND t.user_id IN (
                 SELECT user_id FROM members
                 WHERE directory = ?3 AND group_id = ?2 AND sequence > ?4 AND sequence <= ?5)"
        );
        self.conn.prepare_cached(&sql)?.execute(params![
            self.target,
            self.key.id,
            self.home,
            after,
            through
        ])?;
        Ok(())
    }

    /// Notes that the vendor has forgotten the user, and its memberships with it: its groups wait for
    /// it as for anybody whom the vendor does not know. What the vendor has refused was about the
    /// account that is gone. `ready`: it has another account already.
    pub(super) fn lose_memberships(&self, ready: bool) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("DELETE FROM parked_members WHERE target = ?1 AND user_id = ?2")?
            .execute(params![self.target, self.key.id])?;
        self.conn
            .prepare_cached(
                "INSERT INTO waits (target, kind, id, user_id, ready)
                 SELECT ?1, 1, group_id, user_id, ?4 FROM members
                 WHERE directory IN (?2, ?5 || ?1) AND user_id = ?3 AND present = 1
                 ON CONFLICT DO UPDATE SET ready = excluded.ready",
            )?
            .execute(params![self.target, self.directory, self.key.id, ready, OWN])?;
        self.conn
            .prepare_cached(
                "UPDATE work SET lost = 1 WHERE target = ?1 AND kind = 1 AND id IN (
                     SELECT group_id FROM members
                     WHERE directory IN (?2, ?4 || ?1) AND user_id = ?3 AND present = 1)",
            )?
            .execute(params![self.target, self.directory, self.key.id, OWN])?;
        Ok(())
    }

    fn has_lost_a_member(&self) -> Result<bool, StoreError> {
        let lost = self
            .conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM work WHERE target = ?1 AND kind = 1 AND id = ?2 AND lost = 1)",
            )?
            .query_row(params![self.target, self.key.id], |row| row.get(0))?;
        Ok(lost)
    }

    /// Notes that the resource waits for users.
    pub(super) fn wait_for(&self, users: &BTreeSet<ExternalId>) -> Result<Noted, StoreError> {
        let mut noted = Noted::default();
        for user in users {
            let one = self.wait_for_one(user)?;
            noted = Noted { ready: noted.ready | one.ready, sought: noted.sought | one.sought };
        }
        Ok(noted)
    }

    fn wait_for_one(&self, user: &ExternalId) -> Result<Noted, StoreError> {
        let link = links::standing(self.conn, self.target, &ResourceKey::user(user.clone()))?;
        let ready = link.vendor_id.is_some();
        // A group waits only for users of whom it has a row, or the wait could never end.
        let waits = self
            .conn
            .prepare_cached(
                "INSERT INTO waits (target, kind, id, user_id, ready)
                 SELECT ?1, ?2, ?3, ?4, ?5
                 WHERE ?2 = 0 OR EXISTS (SELECT 1 FROM members
                     WHERE directory = ?6 AND group_id = ?3 AND user_id = ?4)
                 ON CONFLICT DO UPDATE SET ready = excluded.ready",
            )?
            .execute(params![self.target, self.key.kind, self.key.id, user, ready, self.home])?;
        let sought = work::seek_user(self.conn, self.target, self.directory, user, self.now)?;
        Ok(Noted { ready: ready && waits > 0, sought })
    }

    /// Sets members aside until a person looks.
    pub(super) fn park(&self, members: &MembersOutcome) -> Result<(), StoreError> {
        for parked in &members.parked {
            self.end_wait(&parked.user)?;
            self.conn
                .prepare_cached(
                    "INSERT INTO parked_members (target, group_id, user_id, reason, parked_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO UPDATE SET reason = excluded.reason",
                )?
                .execute(params![self.target, self.key.id, parked.user, parked.reason, self.now])?;
        }
        Ok(())
    }

    /// Leaves removals out about which a person decides; of other members, nothing that was held waits
    /// any more once something newer was sent. True where it was decided meanwhile that one is sent.
    pub(super) fn hold(
        &self,
        members: &MembersOutcome,
        synced_before: u64,
        synced: u64,
    ) -> Result<bool, StoreError> {
        if self.key.kind == Kind::Group && synced > synced_before {
            holds::withdraw_passed(self, &members.held, synced_before, synced)?;
        }
        let mut ready = false;
        for user in &members.held {
            let item = ItemId::Member { group: self.key.id.clone(), user: user.clone() };
            match holds::state_of(self.conn, self.target, &item)? {
                Some(ItemState::Approved) => ready |= self.wait_for_one(user)?.ready,
                Some(ItemState::Held | ItemState::Rejected | ItemState::Withdrawn) | None => {
                    self.end_wait(user)?;
                }
            }
        }
        Ok(ready)
    }

    /// True when there was such a parked member.
    pub(super) fn end_parking(&self, user: &ExternalId) -> Result<bool, StoreError> {
        let ended = self
            .conn
            .prepare_cached(
                "DELETE FROM parked_members WHERE target = ?1 AND group_id = ?2 AND user_id = ?3",
            )?
            .execute(params![self.target, self.key.id, user])?;
        Ok(ended > 0)
    }

    fn end_wait(&self, user: &ExternalId) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("DELETE FROM waits WHERE target = ?1 AND kind = 1 AND id = ?2 AND user_id = ?3")?
            .execute(params![self.target, self.key.id, user])?;
        Ok(())
    }

    /// Whether a group has membership rows past this watermark.
    pub(super) fn has_rows_past(&self, synced: u64) -> Result<bool, StoreError> {
        let any = self
            .conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM members
                                WHERE directory = ?1 AND group_id = ?2 AND sequence > ?3)",
            )?
            .query_row(params![self.home, self.key.id, synced], |row| row.get(0))?;
        Ok(any)
    }

    /// Whether members that a group has waited for are linked now.
    pub(super) fn has_ready_waits(&self) -> Result<bool, StoreError> {
        let any = self
            .conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM waits INDEXED BY waits_ready
                                WHERE target = ?1 AND kind = 1 AND id = ?2 AND ready = 1)",
            )?
            .query_row(params![self.target, self.key.id], |row| row.get(0))?;
        Ok(any)
    }
}

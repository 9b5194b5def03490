//! Which destructive changes go through: counted and noted in one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, ResourceKey};
use crate::store::guard::{Admission, Destruction, Guard, ItemState, Leaving, Meter, Needs, columns};
use crate::store::sqlite::rows::corrupt;
use crate::store::sqlite::{links, targets};
use crate::store::{ItemId, StoreError, Tenure};

/// Judges changes in their order, if the tenure still holds.
pub(super) fn admit(
    conn: &Connection,
    tenure: &Tenure,
    changes: &[Destruction],
    guard: &Guard,
    now: Timestamp,
) -> Result<Vec<Admission>, StoreError> {
    let directory = targets::check_tenure(conn, tenure)?;
    let at = Desk { conn, target: &tenure.target, directory: &directory, guard, now };
    changes.iter().map(|change| at.judge(change)).collect()
}

/// Where changes of one target are judged.
struct Desk<'a> {
    conn: &'a Connection,
    target: &'a str,
    directory: &'a str,
    guard: &'a Guard,
    now: Timestamp,
}

/// What a person was asked about a resource last.
struct Asked {
    sequence: u64,
    hold: u64,
    state: ItemState,
    generation: u64,
}

impl Desk<'_> {
    fn judge(&self, change: &Destruction) -> Result<Admission, StoreError> {
        match &change.item {
            ItemId::Resource(_) => self.judge_alone(change),
            ItemId::Member { user, .. } => match self.leaving(user)? {
                Leaving::No => self.judge_alone(change),
                Leaving::Told => Ok(Admission::Go),
                Leaving::Untold(generation) => self.judge_with_user(change, user, generation),
            },
        }
    }

    /// Whoever leaves does so with all memberships: their removal follows what is said of the user.
    fn judge_with_user(
        &self,
        change: &Destruction,
        user: &ExternalId,
        generation: u64,
    ) -> Result<Admission, StoreError> {
        if let Some(answer) = self.answered(change)? {
            return Ok(answer);
        }
        let item = ItemId::Resource(ResourceKey::user(user.clone()));
        let admission = self.judge_alone(&Destruction { item, operation: "deactivate", generation })?;
        if let Admission::Held { hold } = admission {
            self.hold_in(hold, change)?;
        }
        Ok(admission)
    }

    fn judge_alone(&self, change: &Destruction) -> Result<Admission, StoreError> {
        if let Some(answer) = self.answered(change)? {
            return Ok(answer);
        }
        let meter = change.meter();
        let since = self.guard.since(self.now);
        if self.has_passed(change, since)? {
            return Ok(Admission::Go);
        }
        let done = self.passed(meter, since)?;
        if self.has_room(self.guard.needs(meter, done))? {
            self.pass(change)?;
            return Ok(Admission::Go);
        }
        let hold = self.open_hold(meter, done)?;
        self.hold_in(hold, change)?;
        Ok(Admission::Held { hold })
    }

    /// What a person has said to this very change, or that one is being asked. Whatever was said of an
    /// earlier one does not count.
    fn answered(&self, change: &Destruction) -> Result<Option<Admission>, StoreError> {
        let Some(Asked { sequence, hold, state, generation }) = self.asked(&change.item)? else {
            return Ok(None);
        };
        match state {
            ItemState::Held => {
                self.conn
                    .prepare_cached("UPDATE hold_items SET operation = ?2, generation = ?3 WHERE seq = ?1")?
                    .execute(params![sequence, change.operation, change.generation])?;
                Ok(Some(Admission::Held { hold }))
            }
            ItemState::Approved if generation == change.generation => Ok(Some(Admission::Go)),
            ItemState::Rejected if generation == change.generation => Ok(Some(Admission::Rejected { hold })),
            ItemState::Approved | ItemState::Rejected | ItemState::Withdrawn => Ok(None),
        }
    }

    fn asked(&self, item: &ItemId) -> Result<Option<Asked>, StoreError> {
        let (kind, id, user) = columns(item);
        let found: Option<(u64, u64, i16, u64)> = self
            .conn
            .prepare_cached(
                "SELECT seq, hold, state, generation FROM hold_items
                 WHERE target = ?1 AND kind = ?2 AND id = ?3 AND user_id = ?4 ORDER BY hold DESC LIMIT 1",
            )?
            .query_row(params![self.target, kind, id, user], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((sequence, hold, state, generation)) = found else { return Ok(None) };
        Ok(Some(Asked { sequence, hold, state: item_state(state)?, generation }))
    }

    fn has_passed(&self, change: &Destruction, since: Timestamp) -> Result<bool, StoreError> {
        let (kind, id, user) = columns(&change.item);
        Ok(self
            .conn
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM guard_passed
                     WHERE target = ?1 AND kind = ?2 AND id = ?3 AND user_id = ?4 AND at > ?5)",
            )?
            .query_row(params![self.target, kind, id, user, since], |row| row.get(0))?)
    }

    fn passed(&self, meter: Meter, since: Timestamp) -> Result<u64, StoreError> {
        Ok(self
            .conn
            .prepare_cached("SELECT count(*) FROM guard_passed WHERE target = ?1 AND meter = ?2 AND at > ?3")?
            .query_row(params![self.target, meter.number(), since], |row| row.get(0))?)
    }

    /// Counts no further than it has to.
    fn has_room(&self, needs: Needs) -> Result<bool, StoreError> {
        match needs {
            Needs::Nothing => Ok(true),
            Needs::APerson => Ok(false),
            Needs::Accounts(needed) => {
                let accounts: u64 = self
                    .conn
                    .prepare_cached(
                        "SELECT count(*) FROM (SELECT 1 FROM links
                             WHERE target = ?1 AND kind = 0 AND vendor_id IS NOT NULL LIMIT ?2)",
                    )?
                    .query_row(params![self.target, needed], |row| row.get(0))?;
                Ok(accounts >= needed)
            }
        }
    }

    fn pass(&self, change: &Destruction) -> Result<(), StoreError> {
        let (kind, id, user) = columns(&change.item);
        self.conn
            .prepare_cached(
                "INSERT INTO guard_passed (target, kind, id, user_id, meter, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET at = excluded.at",
            )?
            .execute(params![self.target, kind, id, user, change.meter().number(), self.now])?;
        Ok(())
    }

    /// The hold that is open, or a new one.
    fn open_hold(&self, meter: Meter, done: u64) -> Result<u64, StoreError> {
        let open = self
            .conn
            .prepare_cached(
                "SELECT id FROM holds WHERE target = ?1 AND closed_at IS NULL AND expires_at > ?2
                 ORDER BY id DESC LIMIT 1",
            )?
            .query_row(params![self.target, self.now], |row| row.get(0))
            .optional()?;
        if let Some(open) = open {
            return Ok(open);
        }
        let expires = self.now.after(self.guard.hold_expires);
        let reason = self.guard.reason(meter, done);
        Ok(self
            .conn
            .prepare_cached(
                "INSERT INTO holds (target, reason, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)
                 RETURNING id",
            )?
            .query_row(params![self.target, reason, self.now, expires], |row| row.get(0))?)
    }

    fn hold_in(&self, hold: u64, change: &Destruction) -> Result<(), StoreError> {
        let (kind, id, user) = columns(&change.item);
        self.conn
            .prepare_cached(
                "INSERT INTO hold_items (hold, target, kind, id, user_id, operation, generation, state, held_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, ?8)
                 ON CONFLICT (target, kind, id, user_id, hold) DO UPDATE
                 SET operation = excluded.operation, generation = excluded.generation, state = 0,
                     decided_at = NULL, decided_by = NULL",
            )?
            .execute(params![
                hold,
                self.target,
                kind,
                id,
                user,
                change.operation,
                change.generation,
                self.now
            ])?;
        Ok(())
    }

    fn leaving(&self, user: &ExternalId) -> Result<Leaving, StoreError> {
        let held: Option<(bool, u64)> = self
            .conn
            .prepare_cached("SELECT has_access, generation FROM users WHERE directory = ?1 AND id = ?2")?
            .query_row(params![self.directory, user], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((false, generation)) = held else { return Ok(Leaving::No) };
        let link = links::standing(self.conn, self.target, &ResourceKey::user(user.clone()))?;
        let told = link.vendor_id.is_none() || link.synced_generation >= generation;
        Ok(if told { Leaving::Told } else { Leaving::Untold(generation) })
    }
}

/// The state that a column holds.
pub(super) fn item_state(number: i16) -> Result<ItemState, StoreError> {
    let state = ItemState::ALL.into_iter().find(|state| state.number() == number);
    state.ok_or_else(|| corrupt("hold_items", format!("state {number}")))
}

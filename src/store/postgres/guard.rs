//! Which destructive changes go through: counted and noted in one transaction. Locks the target.

use crate::clock::Timestamp;
use crate::directory::{ExternalId, ResourceKey};
use crate::store::guard::{Admission, Destruction, Guard, ItemState, Leaving, Meter, Needs, columns};
use crate::store::postgres::rows::{Tx, big, corrupt, execute, query_one, query_opt, unsigned};
use crate::store::postgres::{links, targets};
use crate::store::{ItemId, StoreError, Tenure};

/// Judges changes in their order, if the tenure still holds.
pub(super) async fn admit(
    tx: &Tx<'_>,
    tenure: &Tenure,
    changes: &[Destruction],
    guard: &Guard,
    now: Timestamp,
) -> Result<Vec<Admission>, StoreError> {
    let directory = targets::check_tenure(tx, tenure).await?;
    let at = Desk { tx, target: &tenure.target, directory: &directory, guard, now };
    let mut admissions = Vec::with_capacity(changes.len());
    for change in changes {
        admissions.push(at.judge(change).await?);
    }
    Ok(admissions)
}

/// Where changes of one target are judged.
struct Desk<'a> {
    tx: &'a Tx<'a>,
    target: &'a str,
    directory: &'a str,
    guard: &'a Guard,
    now: Timestamp,
}

impl Desk<'_> {
    async fn judge(&self, change: &Destruction) -> Result<Admission, StoreError> {
        match &change.item {
            ItemId::Resource(_) => self.judge_alone(change).await,
            ItemId::Member { user, .. } => match self.leaving(user).await? {
                Leaving::No => self.judge_alone(change).await,
                Leaving::Told => Ok(Admission::Go),
                Leaving::Untold(generation) => self.judge_with_user(change, user, generation).await,
            },
        }
    }

    /// Whoever leaves does so with all memberships: their removal follows what is said of the user.
    async fn judge_with_user(
        &self,
        change: &Destruction,
        user: &ExternalId,
        generation: u64,
    ) -> Result<Admission, StoreError> {
        if let Some(answer) = self.answered(change).await? {
            return Ok(answer);
        }
        let item = ItemId::Resource(ResourceKey::user(user.clone()));
        let admission = self.judge_alone(&Destruction { item, operation: "deactivate", generation }).await?;
        if let Admission::Held { hold } = admission {
            self.hold_in(hold, change).await?;
        }
        Ok(admission)
    }

    async fn judge_alone(&self, change: &Destruction) -> Result<Admission, StoreError> {
        if let Some(answer) = self.answered(change).await? {
            return Ok(answer);
        }
        let meter = change.meter();
        let since = self.guard.since(self.now);
        if self.has_passed(change, since).await? {
            return Ok(Admission::Go);
        }
        let done = self.passed(meter, since).await?;
        if self.has_room(self.guard.needs(meter, done)).await? {
            self.pass(change).await?;
            return Ok(Admission::Go);
        }
        let hold = self.open_hold(meter, done).await?;
        self.hold_in(hold, change).await?;
        Ok(Admission::Held { hold })
    }

    /// What a person has said to this very change, or that one is being asked. Whatever was said of an
    /// earlier one does not count.
    async fn answered(&self, change: &Destruction) -> Result<Option<Admission>, StoreError> {
        let (kind, id, user) = columns(&change.item);
        let sql = "SELECT seq, hold, state, generation FROM hold_items
                   WHERE target = $1 AND kind = $2 AND id = $3 AND user_id = $4 ORDER BY hold DESC LIMIT 1";
        let Some(row) = query_opt(self.tx, sql, &[&self.target, &kind, &id, &user]).await? else {
            return Ok(None);
        };
        let (sequence, hold): (i64, u64) = (row.try_get(0)?, unsigned(&row, 1, "hold_items")?);
        let is_this = unsigned(&row, 3, "hold_items")? == change.generation;
        match item_state(row.try_get(2)?)? {
            ItemState::Held => {
                let sql = "UPDATE hold_items SET operation = $2, generation = $3 WHERE seq = $1";
                execute(self.tx, sql, &[&sequence, &change.operation, &big(change.generation)]).await?;
                Ok(Some(Admission::Held { hold }))
            }
            ItemState::Approved if is_this => Ok(Some(Admission::Go)),
            ItemState::Rejected if is_this => Ok(Some(Admission::Rejected { hold })),
            ItemState::Approved | ItemState::Rejected | ItemState::Withdrawn => Ok(None),
        }
    }

    async fn has_passed(&self, change: &Destruction, since: Timestamp) -> Result<bool, StoreError> {
        let (kind, id, user) = columns(&change.item);
        let sql = "SELECT EXISTS (SELECT 1 FROM guard_passed
                       WHERE target = $1 AND kind = $2 AND id = $3 AND user_id = $4 AND at > $5)";
        Ok(query_one(self.tx, sql, &[&self.target, &kind, &id, &user, &since]).await?.try_get(0)?)
    }

    async fn passed(&self, meter: Meter, since: Timestamp) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM guard_passed WHERE target = $1 AND meter = $2 AND at > $3";
        unsigned(&query_one(self.tx, sql, &[&self.target, &meter.number(), &since]).await?, 0, "guard_passed")
    }

    /// Counts no further than it has to.
    async fn has_room(&self, needs: Needs) -> Result<bool, StoreError> {
        match needs {
            Needs::Nothing => Ok(true),
            Needs::APerson => Ok(false),
            Needs::Accounts(needed) => {
                let sql = "SELECT count(*) FROM (SELECT 1 FROM links
                               WHERE target = $1 AND kind = 0 AND vendor_id IS NOT NULL LIMIT $2) AS linked";
                let row = query_one(self.tx, sql, &[&self.target, &big(needed)]).await?;
                Ok(unsigned(&row, 0, "links")? >= needed)
            }
        }
    }

    async fn pass(&self, change: &Destruction) -> Result<(), StoreError> {
        let (kind, id, user) = columns(&change.item);
        let sql = "INSERT INTO guard_passed (target, kind, id, user_id, meter, at)
                   VALUES ($1, $2, $3, $4, $5, $6)
                   ON CONFLICT (target, kind, id, user_id) DO UPDATE SET at = excluded.at";
        let meter = change.meter().number();
        execute(self.tx, sql, &[&self.target, &kind, &id, &user, &meter, &self.now]).await?;
        Ok(())
    }

    /// The hold that is open, or a new one.
    async fn open_hold(&self, meter: Meter, done: u64) -> Result<u64, StoreError> {
        let sql = "SELECT id FROM holds WHERE target = $1 AND closed_at IS NULL AND expires_at > $2
                   ORDER BY id DESC LIMIT 1";
        if let Some(row) = query_opt(self.tx, sql, &[&self.target, &self.now]).await? {
            return unsigned(&row, 0, "holds");
        }
        let expires = self.now.after(self.guard.hold_expires);
        let reason = self.guard.reason(meter, done);
        let sql = "INSERT INTO holds (target, reason, created_at, expires_at) VALUES ($1, $2, $3, $4)
                   RETURNING id";
        let row = query_one(self.tx, sql, &[&self.target, &reason, &self.now, &expires]).await?;
        unsigned(&row, 0, "holds")
    }

    async fn hold_in(&self, hold: u64, change: &Destruction) -> Result<(), StoreError> {
        let (kind, id, user) = columns(&change.item);
        let generation = big(change.generation);
        execute(
            self.tx,
            "INSERT INTO hold_items (hold, target, kind, id, user_id, operation, generation, state, held_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)
             ON CONFLICT (target, kind, id, user_id, hold) DO UPDATE
             SET operation = excluded.operation, generation = excluded.generation, state = 0,
                 decided_at = NULL, decided_by = NULL",
            &[&big(hold), &self.target, &kind, &id, &user, &change.operation, &generation, &self.now],
        )
        .await?;
        Ok(())
    }

    async fn leaving(&self, user: &ExternalId) -> Result<Leaving, StoreError> {
        let sql = "SELECT has_access, generation FROM users WHERE directory = $1 AND id = $2";
        let Some(row) = query_opt(self.tx, sql, &[&self.directory, &user]).await? else {
            return Ok(Leaving::No);
        };
        if row.try_get(0)? {
            return Ok(Leaving::No);
        }
        let generation = unsigned(&row, 1, "users")?;
        let key = ResourceKey::user(user.clone());
        let link = links::standings(self.tx, self.target, [&key]).await?.remove(&key).unwrap_or_default();
        let told = link.vendor_id.is_none() || link.synced_generation >= generation;
        Ok(if told { Leaving::Told } else { Leaving::Untold(generation) })
    }
}

/// The state that a column holds.
pub(super) fn item_state(number: i16) -> Result<ItemState, StoreError> {
    let state = ItemState::ALL.into_iter().find(|state| state.number() == number);
    state.ok_or_else(|| corrupt("hold_items", format!("state {number}")))
}

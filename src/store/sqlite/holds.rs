//! What waits for a person's decision, and what becomes of it.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::guard::{
    Decided, Decision, Hold, HoldFilter, HoldItem, HoldState, HoldVerdict, ItemState, MEMBER, columns,
};
use crate::store::sqlite::guard::item_state;
use crate::store::sqlite::members::Waiter;
use crate::store::sqlite::rows::corrupt;
use crate::store::sqlite::{directory, ledger, links, targets, work};
use crate::store::timeline::HoldStory;
use crate::store::{ItemId, LedgerEntry, Order, Page, StoreError};

/// Each hold with the number of its items in each state, and the word for its own.
const HOLDS: &str = "SELECT * FROM (
     SELECT h.id, h.target, h.reason, h.created_at, h.expires_at, h.closed_at, n.held, n.approved,
            n.rejected, n.withdrawn,
            CASE WHEN n.held > 0 THEN CASE WHEN h.expires_at > ?1 THEN 'open' ELSE 'expired' END
                 WHEN n.approved > 0 THEN 'approved' WHEN n.rejected > 0 THEN 'rejected'
                 ELSE 'withdrawn' END AS state, n.last_item
     FROM holds AS h
     JOIN (SELECT hold, sum(state = 0) AS held, sum(state = 1) AS approved, sum(state = 2) AS rejected,
                  sum(state = 3) AS withdrawn, max(seq) AS last_item
           FROM hold_items GROUP BY hold) AS n ON n.hold = h.id)";

/// One page, newest first.
pub(super) fn page(
    conn: &Connection,
    filter: &HoldFilter,
    now: Timestamp,
    before: u64,
    limit: usize,
) -> Result<Page<Hold>, StoreError> {
    let sql = format!(
        "{HOLDS} WHERE id < ?2 AND (?3 IS NULL OR target = ?3) AND (?4 IS NULL OR state = ?4)
         ORDER BY id DESC LIMIT ?5"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![
        now,
        before,
        filter.target,
        filter.state.map(HoldState::as_str),
        limit + 1
    ])?;
    let mut holds = Vec::new();
    while let Some(row) = rows.next()? {
        holds.push(hold_at(row)?);
    }
    Ok(super::page(holds, limit, |hold: &Hold| hold.id.to_string()))
}

/// One hold.
pub(super) fn one(conn: &Connection, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError> {
    let mut statement = conn.prepare_cached(&format!("{HOLDS} WHERE id = ?2"))?;
    let mut rows = statement.query(params![now, id])?;
    rows.next()?.map(hold_at).transpose()
}

fn hold_at(row: &SqlRow<'_>) -> Result<Hold, StoreError> {
    let word: String = row.get(10)?;
    Ok(Hold {
        id: row.get(0)?,
        target: row.get(1)?,
        reason: row.get(2)?,
        created_at: row.get(3)?,
        expires_at: row.get(4)?,
        closed_at: row.get(5)?,
        held: row.get(6)?,
        approved: row.get(7)?,
        rejected: row.get(8)?,
        withdrawn: row.get(9)?,
        last_item: row.get(11)?,
        state: HoldState::parse(&word).ok_or_else(|| corrupt("holds", word))?,
    })
}

const ITEMS: &str = "SELECT seq, kind, id, user_id, operation, state, held_at, decided_at, decided_by, generation FROM hold_items";

/// One page of a hold's items, in the order in which they were held.
pub(super) fn items(
    conn: &Connection,
    hold: u64,
    after: u64,
    limit: usize,
) -> Result<Page<HoldItem>, StoreError> {
    let sql = format!("{ITEMS} WHERE hold = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params![hold, after, limit + 1])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(item_at(row)?);
    }
    Ok(super::page(items, limit, |item: &HoldItem| item.sequence.to_string()))
}

/// What was held back of a resource, or of a user's memberships, past a number; one more than `limit` where
/// there is more.
pub(super) fn story(
    conn: &Connection,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<HoldStory>, StoreError> {
    let mut statement = conn.prepare_cached(&story_sql(key.kind, order))?;
    let mut rows = statement.query(params![directory, key.id, after.unwrap_or(order.start()), limit + 1])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(HoldStory { hold: row.get(10)?, target: row.get(11)?, item: item_at(row)? });
    }
    Ok(items)
}

pub(super) fn story_sql(kind: Kind, order: Order) -> String {
    let (beyond, direction) = order.onward();
    let stream = |index: &str, condition: &str| {
        format!(
            "SELECT * FROM (SELECT * FROM hold_items AS i INDEXED BY {index} WHERE {condition} AND seq {beyond} ?3
                  AND EXISTS (SELECT 1 FROM targets AS t WHERE t.name = i.target AND t.directory = ?1)
              ORDER BY seq {direction} LIMIT ?4)"
        )
    };
    let (first, second) = match kind {
        Kind::User => (
            stream("hold_items_of_key", "id = ?2 AND kind = 0"),
            stream("hold_items_of_user", "user_id = ?2 AND kind = 2"),
        ),
        Kind::Group => (
            stream("hold_items_of_key", "id = ?2 AND kind = 1"),
            stream("hold_items_of_key", "id = ?2 AND kind = 2"),
        ),
    };
    format!(
        "SELECT seq, kind, id, user_id, operation, state, held_at, decided_at, decided_by, generation, hold,
                target
         FROM ({first} UNION ALL {second}) ORDER BY seq {direction} LIMIT ?4"
    )
}

fn item_at(row: &SqlRow<'_>) -> Result<HoldItem, StoreError> {
    let (kind, id): (i16, ExternalId) = (row.get(1)?, row.get(2)?);
    let item = match kind {
        0 => ItemId::Resource(ResourceKey { kind: Kind::User, id }),
        1 => ItemId::Resource(ResourceKey { kind: Kind::Group, id }),
        MEMBER => ItemId::Member { group: id, user: row.get(3)? },
        other => return Err(corrupt("hold_items", format!("kind {other}"))),
    };
    Ok(HoldItem {
        sequence: row.get(0)?,
        item,
        operation: row.get(4)?,
        state: item_state(row.get(5)?)?,
        held_at: row.get(6)?,
        decided_at: row.get(7)?,
        decided_by: row.get(8)?,
    })
}

/// Decides about items of a hold, at most `limit` in one call. `None` where there is no such hold.
pub(super) fn decide(
    conn: &Connection,
    decision: &Decision,
    now: Timestamp,
    limit: usize,
) -> Result<Option<Decided>, StoreError> {
    let target: Option<String> = conn
        .prepare_cached("SELECT target FROM holds WHERE id = ?1")?
        .query_row([decision.hold], |row| row.get(0))
        .optional()?;
    let Some(target) = target else { return Ok(None) };
    let Some(directory) = targets::directory_of(conn, &target)? else { return Ok(None) };
    let mut waiting = waiting(conn, &target, decision, limit)?;
    let more = waiting.len() > limit;
    waiting.truncate(limit);
    let at = Decider { conn, target: &target, directory: &directory, decision, now };
    for (item, generation) in &waiting {
        at.settle(item, *generation)?;
    }
    close(conn, &target, now)?;
    Ok(Some(Decided { items: u64::try_from(waiting.len()).unwrap_or(u64::MAX), more }))
}

/// Items that wait and that the decision is about, with what they speak of: one more than asked for
/// tells whether there are more. Whoever is decided about brings the memberships along.
fn waiting(
    conn: &Connection,
    target: &str,
    decision: &Decision,
    limit: usize,
) -> Result<Vec<(HoldItem, u64)>, StoreError> {
    let mut found = Vec::new();
    let Some(wanted) = &decision.items else {
        let sql = format!("{ITEMS} WHERE hold = ?1 AND state = 0 AND seq <= ?2 ORDER BY seq LIMIT ?3");
        let mut statement = conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![decision.hold, decision.through, limit + 1])?;
        while let Some(row) = rows.next()? {
            found.push((item_at(row)?, row.get(9)?));
        }
        return Ok(found);
    };
    let one = format!(
        "{ITEMS} WHERE hold = ?1 AND state = 0 AND target = ?2
             AND (kind = ?3 AND id = ?4 AND user_id = ?5 OR ?3 = 0 AND kind = 2 AND user_id = ?4)
         ORDER BY seq"
    );
    let mut statement = conn.prepare_cached(&one)?;
    for item in wanted {
        let (kind, id, user) = columns(item);
        let mut rows = statement.query(params![decision.hold, target, kind, id, user])?;
        while let Some(row) = rows.next()? {
            if found.len() <= limit {
                found.push((item_at(row)?, row.get(9)?));
            }
        }
    }
    Ok(found)
}

/// Who decides, and about which target.
struct Decider<'a> {
    conn: &'a Connection,
    target: &'a str,
    directory: &'a str,
    decision: &'a Decision,
    now: Timestamp,
}

impl Decider<'_> {
    fn settle(&self, item: &HoldItem, generation: u64) -> Result<(), StoreError> {
        let Decision { verdict, by, .. } = self.decision;
        self.conn
            .prepare_cached(
                "UPDATE hold_items SET state = ?2, decided_at = ?3, decided_by = ?4 WHERE seq = ?1",
            )?
            .execute(params![item.sequence, verdict.item_state().number(), self.now, by])?;
        match (&item.item, verdict) {
            (ItemId::Resource(key), HoldVerdict::Approve) => {
                self.conn
                    .prepare_cached(
                        "UPDATE work SET state = 0, due = ?4, attempts = 0, reason = NULL
                         WHERE target = ?1 AND kind = ?2 AND id = ?3 AND state = 3",
                    )?
                    .execute(params![self.target, key.kind, key.id, self.now])?;
            }
            (ItemId::Resource(key), HoldVerdict::Reject) => {
                self.conn
                    .prepare_cached(
                        "DELETE FROM work WHERE target = ?1 AND kind = ?2 AND id = ?3 AND state = 3",
                    )?
                    .execute(params![self.target, key.kind, key.id])?;
            }
            (ItemId::Member { group, user }, HoldVerdict::Approve) => self.release_member(group, user)?,
            (ItemId::Member { .. }, HoldVerdict::Reject) => {}
        }
        self.note(item, generation)
    }

    /// The member is sent as one who has waited for its user.
    fn release_member(&self, group: &ExternalId, user: &ExternalId) -> Result<(), StoreError> {
        let Self { conn, target, directory, now, .. } = *self;
        let key = ResourceKey::group(group.clone());
        let waiter = Waiter::new(conn, (target, directory), &key, now);
        waiter.wait_for(&[user.clone()].into())?;
        let generation = directory::group(conn, &waiter.home, group)?.map_or(0, |group| group.generation);
        work::make_due(conn, target, &key, generation, now)
    }

    fn note(&self, item: &HoldItem, generation: u64) -> Result<(), StoreError> {
        let Self { conn, target, directory, decision, now } = *self;
        let key = match &item.item {
            ItemId::Resource(key) => key.clone(),
            ItemId::Member { group, .. } => ResourceKey::group(group.clone()),
        };
        let entry = LedgerEntry::by_hand(
            now,
            decision.verdict.item_state().as_str(),
            &decision.by,
            decision.detail(&item.item, &item.operation),
        );
        let (base, generation) = match &item.item {
            ItemId::Resource(_) => (links::standing(conn, target, &key)?.synced_generation, generation),
            ItemId::Member { .. } => (0, 0),
        };
        ledger::append_entry(conn, target, directory, Some(&key), (base, generation), &entry)
    }
}

/// Whether an item about this waits for a decision.
pub(super) fn is_held(conn: &Connection, target: &str, item: &ItemId) -> Result<bool, StoreError> {
    Ok(state_of(conn, target, item)? == Some(ItemState::Held))
}

/// What was decided about this last.
pub(super) fn state_of(
    conn: &Connection,
    target: &str,
    item: &ItemId,
) -> Result<Option<ItemState>, StoreError> {
    let (kind, id, user) = columns(item);
    let state: Option<i16> = conn
        .prepare_cached(
            "SELECT state FROM hold_items
             WHERE target = ?1 AND kind = ?2 AND id = ?3 AND user_id = ?4 ORDER BY hold DESC LIMIT 1",
        )?
        .query_row(params![target, kind, id, user], |row| row.get(0))
        .optional()?;
    state.map(item_state).transpose()
}

/// Says that nothing waits any more about a resource whose work came to an end otherwise.
pub(super) fn withdraw(
    conn: &Connection,
    target: &str,
    key: &ResourceKey,
    now: Timestamp,
) -> Result<(), StoreError> {
    let withdrawn = conn
        .prepare_cached(
            "UPDATE hold_items SET state = 3, decided_at = ?4
             WHERE target = ?1 AND kind = ?2 AND id = ?3 AND state = 0",
        )?
        .execute(params![target, key.kind, key.id, now])?;
    if withdrawn > 0 { close(conn, target, now) } else { Ok(()) }
}

/// Says that nothing waits any more about members of a group of whom something newer was sent.
pub(super) fn withdraw_passed(
    waiter: &Waiter<'_>,
    still_held: &std::collections::BTreeSet<ExternalId>,
    after: u64,
    through: u64,
) -> Result<(), StoreError> {
    let Waiter { conn, target, home, key, now, .. } = waiter;
    let passed: Vec<ExternalId> = conn
        .prepare_cached(
            "SELECT i.user_id FROM hold_items AS i INDEXED BY hold_items_of_resource
             JOIN members AS m ON m.directory = ?2 AND m.group_id = i.id AND m.user_id = i.user_id
             WHERE i.target = ?1 AND i.kind = 2 AND i.id = ?3 AND i.state = 0
               AND m.sequence > ?4 AND m.sequence <= ?5",
        )?
        .query_map(params![target, home, key.id, after, through], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let gone: Vec<_> = passed.iter().filter(|user| !still_held.contains(*user)).collect();
    for user in &gone {
        conn.prepare_cached(
            "UPDATE hold_items SET state = 3, decided_at = ?4
             WHERE target = ?1 AND kind = 2 AND id = ?2 AND user_id = ?3 AND state = 0",
        )?
        .execute(params![target, key.id, user, now])?;
    }
    if gone.is_empty() { Ok(()) } else { close(conn, target, *now) }
}

/// Closes holds of which nothing waits.
fn close(conn: &Connection, target: &str, now: Timestamp) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE holds SET closed_at = ?2 WHERE target = ?1 AND closed_at IS NULL
             AND NOT EXISTS (SELECT 1 FROM hold_items AS i WHERE i.hold = holds.id AND i.state = 0)",
    )?
    .execute(params![target, now])?;
    Ok(())
}

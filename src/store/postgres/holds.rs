//! What waits for a person's decision, and what becomes of it. What changes it locks the target.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row as SqlRow;
use tokio_postgres::types::ToSql;

use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::guard::{
    Decided, Decision, Hold, HoldFilter, HoldItem, HoldState, HoldVerdict, ItemState, MEMBER, columns,
};
use crate::store::postgres::guard::item_state;
use crate::store::postgres::members::{self, Membership, Progress};
use crate::store::postgres::page::page as one_page;
use crate::store::postgres::rows::{
    Tx, big, corrupt, execute, key_at, key_columns, limit as row_limit, query, query_opt, storable, unsigned,
};
use crate::store::postgres::targets::{self, LockedTarget};
use crate::store::postgres::{ledger, links, work};
use crate::store::timeline::HoldStory;
use crate::store::{ItemId, LedgerEntry, Order, Page, StoreError};

/// Each hold with the number of its items in each state, and the word for its own.
const HOLDS: &str = "SELECT * FROM (
     SELECT h.id, h.target, h.reason, h.created_at, h.expires_at, h.closed_at, n.held, n.approved,
            n.rejected, n.withdrawn,
            CASE WHEN n.held > 0 THEN CASE WHEN h.expires_at > $1 THEN 'open' ELSE 'expired' END
                 WHEN n.approved > 0 THEN 'approved' WHEN n.rejected > 0 THEN 'rejected'
                 ELSE 'withdrawn' END AS state, n.last_item
     FROM holds AS h,
     LATERAL (SELECT count(*) FILTER (WHERE state = 0) AS held,
                     count(*) FILTER (WHERE state = 1) AS approved,
                     count(*) FILTER (WHERE state = 2) AS rejected,
                     count(*) FILTER (WHERE state = 3) AS withdrawn, coalesce(max(seq), 0) AS last_item
              FROM hold_items AS i WHERE i.hold = h.id) AS n) AS counted";

/// One page, newest first.
pub(super) async fn page(
    tx: &Tx<'_>,
    filter: &HoldFilter,
    now: Timestamp,
    before: u64,
    limit: usize,
) -> Result<Page<Hold>, StoreError> {
    let sql = format!(
        "{HOLDS} WHERE id < $2 AND ($3::text IS NULL OR target = $3) AND ($4::text IS NULL OR state = $4)
         ORDER BY id DESC LIMIT $5"
    );
    let (target, state) = (filter.target.as_deref().map(storable), filter.state.map(HoldState::as_str));
    let rows = query(tx, &sql, &[&now, &big(before), &target, &state, &row_limit(limit + 1)]).await?;
    let holds = rows.iter().map(hold_at).collect::<Result<_, _>>()?;
    Ok(one_page(holds, limit, |hold: &Hold| hold.id.to_string()))
}

/// One hold.
pub(super) async fn one(tx: &Tx<'_>, id: u64, now: Timestamp) -> Result<Option<Hold>, StoreError> {
    let row = query_opt(tx, &format!("{HOLDS} WHERE id = $2"), &[&now, &big(id)]).await?;
    row.as_ref().map(hold_at).transpose()
}

fn hold_at(row: &SqlRow) -> Result<Hold, StoreError> {
    let word: &str = row.try_get(10)?;
    Ok(Hold {
        id: unsigned(row, 0, "holds")?,
        target: row.try_get(1)?,
        reason: row.try_get(2)?,
        created_at: row.try_get(3)?,
        expires_at: row.try_get(4)?,
        closed_at: row.try_get(5)?,
        held: unsigned(row, 6, "hold_items")?,
        approved: unsigned(row, 7, "hold_items")?,
        rejected: unsigned(row, 8, "hold_items")?,
        withdrawn: unsigned(row, 9, "hold_items")?,
        last_item: unsigned(row, 11, "hold_items")?,
        state: HoldState::parse(word).ok_or_else(|| corrupt("holds", word))?,
    })
}

const ITEMS: &str =
    "SELECT seq, kind, id, user_id, operation, state, held_at, decided_at, decided_by, generation
     FROM hold_items";

/// One page of a hold's items, in the order in which they were held.
pub(super) async fn items(
    tx: &Tx<'_>,
    hold: u64,
    after: u64,
    limit: usize,
) -> Result<Page<HoldItem>, StoreError> {
    let sql = format!("{ITEMS} WHERE hold = $1 AND seq > $2 ORDER BY seq LIMIT $3");
    let rows = query(tx, &sql, &[&big(hold), &big(after), &row_limit(limit + 1)]).await?;
    let items = rows.iter().map(item_at).collect::<Result<_, _>>()?;
    Ok(one_page(items, limit, |item: &HoldItem| item.sequence.to_string()))
}

/// What was held back of a resource, or of a user's memberships, past a number; one more than `limit` where
/// there is more.
pub(super) async fn story(
    tx: &Tx<'_>,
    directory: &str,
    key: &ResourceKey,
    order: Order,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<HoldStory>, StoreError> {
    let (beyond, direction) = order.onward();
    let stream = |condition: &str| {
        format!(
            "(SELECT * FROM hold_items AS i WHERE {condition} AND i.seq {beyond} $3
                AND EXISTS (SELECT 1 FROM targets AS t WHERE t.name = i.target AND t.directory = $1)
              ORDER BY i.seq {direction} LIMIT $4)"
        )
    };
    let (first, second) = match key.kind {
        Kind::User => (stream("i.id = $2 AND i.kind = 0"), stream("i.user_id = $2 AND i.kind = 2")),
        Kind::Group => (stream("i.id = $2 AND i.kind = 1"), stream("i.id = $2 AND i.kind = 2")),
    };
    let sql = format!(
        "SELECT seq, kind, id, user_id, operation, state, held_at, decided_at, decided_by, generation, hold,
                target
         FROM ({first} UNION ALL {second}) AS held ORDER BY seq {direction} LIMIT $4"
    );
    let params: &[&(dyn ToSql + Sync)] =
        &[&directory, &key.id, &big(after.unwrap_or(order.start())), &row_limit(limit + 1)];
    let story = |row: &SqlRow| {
        Ok(HoldStory {
            hold: unsigned(row, 10, "hold_items")?,
            target: row.try_get(11)?,
            item: item_at(row)?,
        })
    };
    query(tx, &sql, params).await?.iter().map(story).collect()
}

fn item_at(row: &SqlRow) -> Result<HoldItem, StoreError> {
    let (kind, id): (i16, ExternalId) = (row.try_get(1)?, row.try_get(2)?);
    let item = match kind {
        0 => ItemId::Resource(ResourceKey { kind: Kind::User, id }),
        1 => ItemId::Resource(ResourceKey { kind: Kind::Group, id }),
        MEMBER => ItemId::Member { group: id, user: row.try_get(3)? },
        other => return Err(corrupt("hold_items", format!("kind {other}"))),
    };
    Ok(HoldItem {
        sequence: unsigned(row, 0, "hold_items")?,
        item,
        operation: row.try_get(4)?,
        state: item_state(row.try_get(5)?)?,
        held_at: row.try_get(6)?,
        decided_at: row.try_get(7)?,
        decided_by: row.try_get(8)?,
    })
}

/// Decides about items of a hold, at most `limit` in one call, and says of which target. `None` where
/// there is no such hold.
pub(super) async fn decide(
    tx: &Tx<'_>,
    decision: &Decision,
    now: Timestamp,
    limit: usize,
) -> Result<Option<(String, Decided)>, StoreError> {
    let sql = "SELECT target FROM holds WHERE id = $1";
    let Some(row) = query_opt(tx, sql, &[&big(decision.hold)]).await? else { return Ok(None) };
    let target: String = row.try_get(0)?;
    let Some(directory) = targets::lock(tx, &target).await? else { return Ok(None) };
    let at = LockedTarget { tx, name: &target, directory: &directory, now };
    let mut waiting = waiting(&at, decision, limit).await?;
    let more = waiting.len() > limit;
    waiting.truncate(limit);
    settle(&at, decision, &waiting).await?;
    close(&at).await?;
    let items = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
    Ok(Some((target, Decided { items, more })))
}

/// An item, and the generation that it speaks of.
type Waiting = (HoldItem, u64);

/// Items that wait and that the decision is about: one more than asked for tells whether there are more.
/// Whoever is decided about brings the memberships along.
async fn waiting(
    at: &LockedTarget<'_>,
    decision: &Decision,
    limit: usize,
) -> Result<Vec<Waiting>, StoreError> {
    let (hold, room) = (big(decision.hold), row_limit(limit + 1));
    let rows = match &decision.items {
        None => {
            let sql = format!("{ITEMS} WHERE hold = $1 AND state = 0 AND seq <= $2 ORDER BY seq LIMIT $3");
            query(at.tx, &sql, &[&hold, &big(decision.through), &room]).await?
        }
        Some(wanted) => {
            let columns: Vec<_> = wanted.iter().map(columns).collect();
            let kinds: Vec<_> = columns.iter().map(|(kind, _, _)| *kind).collect();
            let ids: Vec<_> = columns.iter().map(|(_, id, _)| *id).collect();
            let users: Vec<_> = columns.iter().map(|(_, _, user)| *user).collect();
            let sql = format!(
                "{ITEMS} AS i WHERE i.hold = $1 AND i.state = 0 AND i.target = $2 AND EXISTS (
                     SELECT 1 FROM unnest($3::smallint[], $4::text[], $5::text[]) AS k (kind, id, user_id)
                     WHERE i.kind = k.kind AND i.id = k.id AND i.user_id = k.user_id
                        OR k.kind = 0 AND i.kind = 2 AND i.user_id = k.id)
                 ORDER BY i.seq LIMIT $6"
            );
            query(at.tx, &sql, &[&hold, &at.name, &kinds, &ids, &users, &room]).await?
        }
    };
    rows.iter().map(|row| Ok((item_at(row)?, unsigned(row, 9, "hold_items")?))).collect()
}

async fn settle(at: &LockedTarget<'_>, decision: &Decision, waiting: &[Waiting]) -> Result<(), StoreError> {
    let sequences: Vec<_> = waiting.iter().map(|(item, _)| big(item.sequence)).collect();
    let sql =
        "UPDATE hold_items SET state = $2, decided_at = $3, decided_by = $4 WHERE seq = ANY ($1::bigint[])";
    let state = decision.verdict.item_state().number();
    execute(at.tx, sql, &[&sequences, &state, &at.now, &decision.by]).await?;
    let resources = waiting.iter().filter_map(|(item, _)| match &item.item {
        ItemId::Resource(key) => Some(key),
        ItemId::Member { .. } => None,
    });
    let (kinds, ids) = key_columns(resources);
    match decision.verdict {
        HoldVerdict::Approve => {
            let sql = "UPDATE work AS w SET state = 0, due = $4, attempts = 0, reason = NULL
                       FROM unnest($2::smallint[], $3::text[]) AS k (kind, id)
                       WHERE w.target = $1 AND w.kind = k.kind AND w.id = k.id AND w.state = 3";
            execute(at.tx, sql, &[&at.name, &kinds, &ids, &at.now]).await?;
            release_members(at, waiting).await?;
        }
        HoldVerdict::Reject => {
            let sql = "DELETE FROM work AS w USING unnest($2::smallint[], $3::text[]) AS k (kind, id)
                       WHERE w.target = $1 AND w.kind = k.kind AND w.id = k.id AND w.state = 3";
            execute(at.tx, sql, &[&at.name, &kinds, &ids]).await?;
        }
    }
    note(at, decision, waiting).await
}

/// These members are sent as those who have waited for their users.
async fn release_members(at: &LockedTarget<'_>, waiting: &[Waiting]) -> Result<(), StoreError> {
    let memberships = waiting.iter().filter_map(|(item, _)| match &item.item {
        ItemId::Member { group, user } => Some((ResourceKey::group(group.clone()), user)),
        ItemId::Resource(_) => None,
    });
    let memberships: Vec<_> = memberships.collect();
    let waits: Vec<_> = memberships.iter().map(|(group, user)| (group, *user)).collect();
    members::wait_for(at, &waits).await?;
    for group in memberships.iter().map(|(group, _)| group).collect::<BTreeSet<_>>() {
        work::make_due(at, group).await?;
    }
    Ok(())
}

async fn note(at: &LockedTarget<'_>, decision: &Decision, waiting: &[Waiting]) -> Result<(), StoreError> {
    let entries: Vec<_> = waiting
        .iter()
        .map(|(item, generation)| {
            let detail = decision.detail(&item.item, &item.operation);
            let word = decision.verdict.item_state().as_str();
            let entry = LedgerEntry::by_hand(at.now, word, &decision.by, detail);
            match &item.item {
                ItemId::Resource(key) => (key.clone(), *generation, entry),
                ItemId::Member { group, .. } => (ResourceKey::group(group.clone()), 0, entry),
            }
        })
        .collect();
    let standings = links::standings(at.tx, at.name, entries.iter().map(|(key, _, _)| key)).await?;
    let lines: Vec<_> = entries
        .iter()
        .map(|(key, generation, entry)| {
            let base = standings.get(key).map_or(0, |link| link.synced_generation);
            let generation = *generation;
            ledger::Line { key: Some(key), base_generation: base.min(generation), generation, entry }
        })
        .collect();
    ledger::append(at, &lines).await
}

/// Which of these resources wait for a decision.
pub(super) async fn held_among(
    at: &LockedTarget<'_>,
    keys: &[&ResourceKey],
) -> Result<BTreeSet<ResourceKey>, StoreError> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let (kinds, ids) = key_columns(keys.iter().copied());
    let rows = query(
        at.tx,
        "SELECT i.kind, i.id FROM unnest($2::smallint[], $3::text[]) AS k (kind, id)
         JOIN hold_items AS i
             ON i.target = $1 AND i.kind = k.kind AND i.id = k.id AND i.user_id = '' AND i.state = 0",
        &[&at.name, &kinds, &ids],
    )
    .await?;
    rows.iter().map(|row| key_at(row, 0)).collect()
}

/// Says that nothing waits any more about resources whose work came to an end otherwise.
pub(super) async fn withdraw(at: &LockedTarget<'_>, keys: &[&ResourceKey]) -> Result<(), StoreError> {
    if keys.is_empty() {
        return Ok(());
    }
    let (kinds, ids) = key_columns(keys.iter().copied());
    let withdrawn = execute(
        at.tx,
        "UPDATE hold_items AS i SET state = 3, decided_at = $4
         FROM unnest($2::smallint[], $3::text[]) AS k (kind, id)
         WHERE i.target = $1 AND i.kind = k.kind AND i.id = k.id AND i.user_id = '' AND i.state = 0",
        &[&at.name, &kinds, &ids, &at.now],
    )
    .await?;
    if withdrawn > 0 { close(at).await } else { Ok(()) }
}

/// Says that nothing waits any more about members of whom something newer was sent.
pub(super) async fn withdraw_passed(
    at: &LockedTarget<'_>,
    passed: &[Progress<'_>],
    still_held: &BTreeSet<Membership<'_>>,
) -> Result<(), StoreError> {
    if passed.is_empty() {
        return Ok(());
    }
    let groups: Vec<_> = passed.iter().map(|progress| progress.group).collect();
    let homes = members::homes(at, &groups);
    let after: Vec<_> = passed.iter().map(|progress| big(progress.after)).collect();
    let through: Vec<_> = passed.iter().map(|progress| big(progress.through)).collect();
    let (held_groups, held_users): (Vec<_>, Vec<_>) = still_held.iter().copied().unzip();
    let withdrawn = execute(
        at.tx,
        "UPDATE hold_items AS i SET state = 3, decided_at = $8
         FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS g (home, id, after, through),
             members AS m
         WHERE m.directory = g.home AND m.group_id = g.id AND m.sequence > g.after AND m.sequence <= g.through
           AND i.target = $1 AND i.kind = 2 AND i.id = g.id AND i.user_id = m.user_id AND i.state = 0
           AND NOT EXISTS (SELECT 1 FROM unnest($6::text[], $7::text[]) AS k (group_id, user_id)
                           WHERE k.group_id = i.id AND k.user_id = i.user_id)",
        &[&at.name, &homes, &groups, &after, &through, &held_groups, &held_users, &at.now],
    )
    .await?;
    if withdrawn > 0 { close(at).await } else { Ok(()) }
}

/// What was decided last about these members.
pub(super) async fn decided_members<'a>(
    at: &LockedTarget<'_>,
    members: &BTreeSet<Membership<'a>>,
) -> Result<BTreeMap<Membership<'a>, ItemState>, StoreError> {
    let mut states = BTreeMap::new();
    if members.is_empty() {
        return Ok(states);
    }
    let members: Vec<_> = members.iter().copied().collect();
    let (groups, users): (Vec<_>, Vec<_>) = members.iter().copied().unzip();
    let rows = query(
        at.tx,
        "SELECT k.place, (SELECT i.state FROM hold_items AS i
                          WHERE i.target = $1 AND i.kind = 2 AND i.id = k.group_id AND i.user_id = k.user_id
                          ORDER BY i.hold DESC LIMIT 1)
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS k (group_id, user_id, place)",
        &[&at.name, &groups, &users],
    )
    .await?;
    for row in &rows {
        let place = usize::try_from(unsigned(row, 0, "unnest")? - 1).unwrap_or(usize::MAX);
        if let (Some(member), Some(state)) = (members.get(place), row.try_get::<_, Option<i16>>(1)?) {
            states.insert(*member, item_state(state)?);
        }
    }
    Ok(states)
}

/// Closes holds of which nothing waits.
async fn close(at: &LockedTarget<'_>) -> Result<(), StoreError> {
    let sql = "UPDATE holds AS h SET closed_at = $2 WHERE target = $1 AND closed_at IS NULL
                   AND NOT EXISTS (SELECT 1 FROM hold_items AS i WHERE i.hold = h.id AND i.state = 0)";
    execute(at.tx, sql, &[&at.name, &at.now]).await?;
    Ok(())
}

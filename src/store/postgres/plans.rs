//! How PostgreSQL finds what is asked for: no statement that runs often may read a large table from end
//! to end, nor walk along an index through far more rows than it needs.
//!
//! Each [`step`](steps) runs in a database that is filled and analysed, with the plans that a session of
//! the relay gets. Who writes a statement that runs often adds a step.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use serde_json::json;

use super::database::Running;
use super::harness::Place;
use super::rows::{Tx, query};
use super::*;
use crate::store::conformance::scene::{NOW, outcome, park, retry, wait};
use crate::store::conformance::script::{DIRECTORY, Script, group_key, id, now, user, user_key};
use crate::store::guard::{Decision, Destruction, Guard, HoldFilter, HoldVerdict};
use crate::store::{Aspect, ItemId, LedgerEntry, Link, LinkChange, RecordKey, SettledRecord};

/// Tables that grow with directories and events.
const LARGE: [&str; 13] = [
    "users",
    "groups",
    "members",
    "work",
    "links",
    "waits",
    "events",
    "event_changes",
    "ledger",
    "hold_items",
    "guard_passed",
    "feed_records",
    "event_repeats",
];
/// Most rows of a table that a step may look at, unless it says otherwise.
const ROWS_READ_MAX: i64 = 6_000;
const TARGET: &str = "acme";

#[tokio::test]
async fn what_runs_often_reads_no_large_table_from_end_to_end() {
    let place = Place::new();
    let store = place.open().await;
    fill(&store).await;
    let mut faults = Vec::new();
    for Step { name, rows_max, run } in steps() {
        let (before, after) = store
            .database
            .write(|tx, _| {
                async {
                    let before = reads(tx).await?;
                    run(tx).await?;
                    Ok((before, reads(tx).await?))
                }
                .boxed()
            })
            .await
            .unwrap();
        for (table, after) in after {
            let before = before.get(&table).copied().unwrap_or_default();
            let (whole, rows) = (after.whole - before.whole, after.rows - before.rows);
            if whole > 0 || rows > rows_max {
                faults.push(format!("{name}: {table} read whole {whole} times, {rows} rows"));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

type Run = Box<dyn for<'t> Fn(&'t Tx<'t>) -> Running<'t, ()> + Send + Sync>;

struct Step {
    name: &'static str,
    rows_max: i64,
    run: Run,
}

/// A step from an expression that the transaction is put into.
macro_rules! step {
    ($name:literal, |$tx:ident| $run:expr) => {
        step!($name, ROWS_READ_MAX, |$tx| $run)
    };
    ($name:literal, $rows_max:expr, |$tx:ident| $run:expr) => {
        Step {
            name: $name,
            rows_max: $rows_max,
            run: Box::new(move |$tx| {
                async move {
                    $run.await?;
                    Ok(())
                }
                .boxed()
            }),
        }
    };
}

fn steps() -> Vec<Step> {
    vec![
        step!("due", |tx| work::due(tx, TARGET, Lane::Change, NOW, 256)),
        step!("next due", |tx| work::next_due(tx, TARGET, NOW)),
        step!("load a user", |tx| load::load(tx, TARGET, &user_key("u7"), 100)),
        step!("load a user with a manager", |tx| load::load(tx, TARGET, &user_key("led"), 100)),
        step!("load a group", |tx| load::load(tx, TARGET, &group_key("g7"), 100)),
        step!("load a large group", |tx| load::load(tx, TARGET, &group_key("large"), 100)),
        step!("holder", |tx| links::holder_of(tx, TARGET, Kind::User, "v-8")),
        step!("intend", |tx| targets::intend(tx, &tenure(), &user_key("u7"), &intent())),
        step!("commit users", |tx| commit::commit(tx, &tenure(), &linked_users(), NOW)),
        step!("commit users that wait", |tx| commit::commit(tx, &tenure(), &failed_users(), NOW)),
        step!("commit users that are lost", |tx| commit::commit(tx, &tenure(), &lost_users(), NOW)),
        step!("commit groups", |tx| commit::commit(tx, &tenure(), &groups(), NOW)),
        step!("commit a large group", |tx| commit::commit(tx, &tenure(), &[large_group()], NOW)),
        step!("retry a member", |tx| parked::retry(tx, TARGET, &parked_member(), "ann", NOW)),
        step!("discard a member", |tx| parked::discard(tx, TARGET, &parked_member(), "ann", NOW)),
        step!("discard a user", |tx| parked::discard(tx, TARGET, &parked_user(), "ann", NOW)),
        step!("events", |tx| events::page(tx, u64::MAX, 100)),
        step!("an event by number", |tx| events::event(tx, "30000")),
        step!("an event by id", |tx| events::event(tx, "evt-30000")),
        // All who wait are looked at; a person asks, now and then.
        step!("who waits", 20_000, |tx| waiting::page(tx, TARGET, None, 100)),
        step!("an event about the large group", 20_000, |tx| events::event(tx, "evt-large")),
        step!("ledger", |tx| ledger::page(tx, &LedgerFilter::default(), u64::MAX, 100)),
        step!("ledger of a user", |tx| ledger::page(tx, &of_user(), u64::MAX, 100)),
        step!("ledger of a target", |tx| ledger::page(tx, &of_target(), u64::MAX, 100)),
        step!("a user's story", |tx| timeline::page(
            tx,
            DIRECTORY,
            &user_key("u7"),
            crate::store::Order::Falling,
            crate::store::Cursor::default(),
            100
        )),
        step!("how a user stands", |tx| timeline::present(tx, DIRECTORY, &user_key("u7"))),
        step!("how a group stands", |tx| timeline::present(tx, DIRECTORY, &group_key("large"))),
        step!("ledger past what was told", |tx| ledger::past(tx, &told(), 500)),
        step!("a resource for a dry run", |tx| load::of_any(tx, TARGET, &user_key("u7"), 100)),
        step!("admit", |tx| guard::admit(tx, &tenure(), &destructions(), &Guard::default(), NOW)),
        step!("holds", |tx| holds::page(tx, &HoldFilter::default(), NOW, u64::MAX, 100)),
        step!("items of a hold", |tx| holds::items(tx, 1, 0, 100)),
        // Every item of the hold is looked at; a person asks, now and then.
        step!("decide", 25_000, |tx| holds::decide(tx, &decision(), NOW, 100)),
        step!("prune what the guard noted", |tx| rows::execute(tx, prune::PASSED, &[&1_000_i64, &500_i64])),
        step!("prune holds", |tx| rows::execute(tx, prune::ITEMS, &[&1_000_i64, &500_i64])),
        step!("prune repeats", |tx| rows::execute(tx, prune::REPEATS, &[&1_000_i64, &500_i64])),
        step!("look up records of a feed", |tx| feeds::look_up(tx, "hr", 3, &records())),
        step!("settle records of a feed", |tx| feeds::settle(tx, "hr", 3, &settled())),
        // One record in a hundred is absent, and those between are walked by, once a snapshot.
        step!("who is absent from a feed", 15_000, |tx| feeds::absent(tx, "hr", 2, Some(&records()[0]), 100)),
        step!("attend", |tx| leases::attend(tx, "replica-1", Duration::from_secs(9))),
    ]
}

fn tenure() -> Tenure {
    Tenure { target: TARGET.to_owned(), holder: "replica-1".to_owned(), epoch: 1 }
}

fn intent() -> Intent {
    Intent { operation: "create".to_owned(), at: NOW }
}

fn entry() -> LedgerEntry {
    LedgerEntry::without_call(NOW, "update", "applied", None)
}

fn linked_users() -> Vec<Outcome> {
    let user = |number| {
        let key = user_key(&format!("u{number}"));
        Outcome { ledger: vec![entry()], ..outcome(&key, 1).linked(&format!("new-{number}"), 1, 0) }
    };
    (1..512).step_by(2).map(user).collect()
}

fn failed_users() -> Vec<Outcome> {
    let user = |number| {
        let key = user_key(&format!("u{number}"));
        let work = match number % 3 {
            0 => retry(NOW),
            1 => wait(NOW),
            _ => park(),
        };
        Outcome { ledger: vec![entry()], ..outcome(&key, 1).ending(work).waiting_for(&[id("u1")]) }
    };
    (1..512).step_by(2).map(user).collect()
}

fn lost_users() -> Vec<Outcome> {
    let user = |number| {
        let key = user_key(&format!("u{number}"));
        Outcome { link: LinkChange::Set(Link::Absent { checked_at: NOW }), ..outcome(&key, 1) }
    };
    (2..8).step_by(2).map(user).collect()
}

fn groups() -> Vec<Outcome> {
    let group = |number: usize| {
        let users = [number, number + 1_000, number + 2_000].map(|user| id(&format!("u{user}")));
        let group = outcome(&group_key(&format!("g{number}")), 1).linked("v-g", 1, 60);
        let group = group.settling(&users[..1]).waiting_for(&users[1..2]).parking(&users[2], "no");
        Outcome { ledger: vec![entry()], ..group }
    };
    (0..60).map(group).collect()
}

fn large_group() -> Outcome {
    let users: Vec<ExternalId> = (15_001..15_501).map(|number| id(&format!("u{number}"))).collect();
    outcome(&group_key("large"), 1).linked("v-large", 1, 15_500).waiting_for(&users)
}

fn parked_member() -> ItemId {
    ItemId::Member { group: id("large"), user: id("u14000") }
}

fn parked_user() -> ItemId {
    ItemId::Resource(user_key("u5000"))
}

fn of_user() -> LedgerFilter {
    LedgerFilter { key: Some(user_key("u7")), ..LedgerFilter::default() }
}

fn of_target() -> LedgerFilter {
    LedgerFilter { target: Some(TARGET.to_owned()), ..LedgerFilter::default() }
}

/// All but the last few entries of the one target.
fn told() -> BTreeMap<String, u64> {
    [(TARGET.to_owned(), 49_900)].into()
}

fn destructions() -> Vec<Destruction> {
    let user = |number: u32| ItemId::Resource(user_key(&format!("u{number}")));
    let change = |number| Destruction { item: user(number), operation: "deactivate", generation: 2 };
    let member = ItemId::Member { group: id("large"), user: id("u14000") };
    let removal = Destruction { item: member, operation: "remove", generation: 2 };
    [4_u32, 6, 30_001].map(change).into_iter().chain([removal]).collect()
}

fn decision() -> Decision {
    let items = Some(vec![ItemId::Resource(user_key("u30002"))]);
    let by = "ann".to_owned();
    Decision { hold: 1, verdict: HoldVerdict::Approve, items, through: u64::MAX / 2, by, reason: None }
}

fn records() -> Vec<RecordKey> {
    (0..100).map(|number| RecordKey { aspect: Aspect::User, id: id(&format!("u{number}")) }).collect()
}

fn settled() -> Vec<SettledRecord> {
    let record = |key| SettledRecord { key, fingerprint: vec![1], is_there: true };
    records().into_iter().map(record).collect()
}

/// What was read of a table.
#[derive(Clone, Copy, Default)]
struct Read {
    /// How often from end to end.
    whole: i64,
    /// Rows that were looked at.
    rows: i64,
}

/// What the connection has read so far, by table.
async fn reads(tx: &Tx<'_>) -> Result<BTreeMap<String, Read>, StoreError> {
    let rows = query(
        tx,
        "SELECT relname::text, seq_scan, seq_tup_read + coalesce(idx_tup_fetch, 0)
         FROM pg_stat_xact_user_tables WHERE relname = ANY ($1::text[])",
        &[&LARGE.as_slice()],
    )
    .await?;
    let read = |row: &tokio_postgres::Row| {
        Ok((row.try_get(0)?, Read { whole: row.try_get(1)?, rows: row.try_get(2)? }))
    };
    rows.iter().map(read).collect()
}

/// Fifty thousand of everything, most of it one target's.
async fn fill(store: &PostgresStore) {
    let script = Script::default();
    for target in [TARGET, "second"] {
        store.enrol(target, &DIRECTORY.to_owned(), NOW).await.unwrap();
        store.take(target, "replica-1", Duration::ZERO).await.unwrap().unwrap();
    }
    let led = user("led", &json!({"manager": "u8"}));
    store.append(script.event(1, vec![now(led)])).await.unwrap();
    store.project(&script, 1).await.unwrap();
    store.database.write_long(|tx, _| async { Ok(tx.batch_execute(FILL).await?) }.boxed()).await.unwrap();
}

const FILL: &str = "
    INSERT INTO users (directory, id, generation, has_access, body)
        SELECT 'corp', 'u' || n, 1, true, '{}' FROM generate_series(1, 50000) AS n;
    INSERT INTO groups (directory, id, generation, member_sequence, is_deleted, body)
        SELECT 'corp', 'g' || n, 1, 100, false, '{}' FROM generate_series(0, 499) AS n
        UNION ALL SELECT 'corp', 'large', 1, 20000, false, '{}'
        UNION ALL
        SELECT 'corp', 'empty' || n, 1, 0, false, '{}' FROM generate_series(1, 20000) AS n;
    INSERT INTO members (directory, group_id, user_id, present, sequence, version)
        SELECT 'corp', 'g' || n % 500, 'u' || n, true, 1 + n / 500, '\\x00'::bytea
        FROM generate_series(1, 49999) AS n
        UNION ALL
        SELECT 'corp', 'large', 'u' || n, true, n, '\\x00'::bytea FROM generate_series(1, 20000) AS n;
    INSERT INTO work (target, kind, id, lane, state, due, since, attempts, generation)
        SELECT 'acme', 0, 'u' || n, 2, CASE WHEN n % 1000 = 0 THEN 2 WHEN n % 100 = 0 THEN 1 ELSE 0 END,
               n, n, 0, 1 FROM generate_series(1, 50000) AS n
        UNION ALL
        SELECT 'acme', 1, 'g' || n, 3, 0, n, n, 0, 1 FROM generate_series(0, 499) AS n
        UNION ALL SELECT 'acme', 1, 'large', 3, 0, 1, 1, 0, 1
        UNION ALL
        SELECT 'second', 0, 'u' || n, 2, 0, n, n, 0, 1 FROM generate_series(1, 5000) AS n;
    INSERT INTO links (target, kind, id, vendor_id, synced_generation, synced_members, applied)
        SELECT 'acme', 0, 'u' || n, 'v-' || n, 1, 0, '{}' FROM generate_series(2, 50000, 2) AS n
        UNION ALL
        SELECT 'acme', 1, 'g' || n, 'v-g' || n, 1, 50, '{}' FROM generate_series(0, 499) AS n
        UNION ALL SELECT 'acme', 1, 'large', 'v-large', 1, 15000, '{}'
        UNION ALL
        SELECT 'second', 0, 'u' || n, 'v-' || n, 1, 0, '{}' FROM generate_series(1, 5000) AS n;
    INSERT INTO waits (target, kind, id, user_id, ready)
        SELECT 'acme', 1, 'g' || n % 500, 'u' || n, n % 200 = 0 FROM generate_series(1, 40000) AS n
        UNION ALL
        SELECT 'acme', 1, 'large', 'u' || n, n % 200 = 0 FROM generate_series(1, 13000) AS n;
    INSERT INTO parked_members (target, group_id, user_id, reason, parked_at)
        SELECT 'acme', 'large', 'u' || n, 'no', n FROM generate_series(13001, 15000) AS n;
    INSERT INTO events (source, directory, event_id, received_at, body)
        SELECT 'hr', 'corp', 'evt-' || n, n, '\\x7b7d'::bytea FROM generate_series(2, 50000) AS n
        UNION ALL SELECT 'hr', 'corp', 'evt-large', 50001, '\\x7b7d'::bytea;
    INSERT INTO event_changes (seq, position, directory, kind, id, operation, outcome, generation)
        SELECT seq, 0, 'corp', 0, 'u' || seq, 'user.upsert', 'merged', 1
        FROM events WHERE event_id NOT IN ('evt-1', 'evt-large')
        UNION ALL
        SELECT seq, 0, 'corp', 1, 'large', 'group.members', 'merged', 1
        FROM events WHERE event_id = 'evt-large';
    INSERT INTO events_waiting (rank, seq, bytes) SELECT 1, seq, 2 FROM events WHERE seq > 40000;
    INSERT INTO ledger (at, target, directory, kind, id, generation, base_generation, operation, result)
        SELECT n, 'acme', 'corp', 0, 'u' || n % 20000, 1, 0, 'update', 'applied'
        FROM generate_series(1, 50000) AS n;
    INSERT INTO holds (target, reason, created_at, expires_at) VALUES ('acme', 'many', 1, 1);
    INSERT INTO holds (target, reason, created_at, expires_at, closed_at)
        SELECT 'acme', 'one', n, n, n FROM generate_series(2, 2000) AS n;
    INSERT INTO hold_items (hold, target, kind, id, operation, generation, state, held_at)
        SELECT 1, 'acme', 0, 'u' || n, 'deactivate', 2, 0, n FROM generate_series(30001, 50000) AS n
        UNION ALL
        SELECT n, 'acme', 0, 'u' || n, 'deactivate', 1, 1 + n % 2, n FROM generate_series(2, 2000) AS n;
    INSERT INTO guard_passed (target, kind, id, meter, at)
        SELECT 'acme', 0, 'p' || n, 0, n FROM generate_series(1, 50000) AS n;
    INSERT INTO feed_records (source, aspect, id, seen, fingerprint, is_there)
        SELECT 'hr', 0, 'u' || n, CASE WHEN n % 100 = 0 THEN 1 ELSE 3 END, '\\x01'::bytea, true
        FROM generate_series(1, 50000) AS n;
    INSERT INTO event_repeats (source, event_id, times, last_at)
        SELECT 'hr', 'evt-' || n, 1, n FROM generate_series(1, 20000) AS n;
    ANALYZE";

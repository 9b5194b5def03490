//! What the embedded store does in a second, on this machine: `cargo bench --bench store`.
//!
//! Figures of one machine say little; ratios between the lines, and between two versions of the
//! relay on one machine, say more. Each line is the median of its rounds.

#![expect(clippy::print_stdout, clippy::cast_precision_loss, reason = "a benchmark is run to be read")]

use std::sync::Arc;
use std::time::Duration;

use scim_relay::clock::Timestamp;
use scim_relay::directory::{
    Change, ExternalId, Kind, MembersEdit, Operation, ResourceKey, parse_attributes,
};
use scim_relay::store::sqlite::{Options, SqliteStore};
use scim_relay::store::{
    EventReader, Lane, Link, LinkChange, MembersOutcome, NewEvent, Outcome, Row, Store, WorkChange,
};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

const TARGET: &str = "acme";
const DIRECTORY: &str = "corp";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const USERS: usize = 100_000;

#[tokio::main]
async fn main() {
    let place = tempfile::tempdir().expect("there is a place for temporary files");
    let path = place.path().join("relay.db");
    let open = || SqliteStore::open(&path, Options::default()).expect("the file can be opened");
    let store = Arc::new(open());
    store.enrol(TARGET, &DIRECTORY.to_owned(), NOW).await.expect("the store works");

    for callers in [1, 16, 64, 256, 1_024] {
        appends(&store, callers).await;
    }
    drain(&store).await;
    population(&store).await;
    reads(&store).await;
    commits(&store).await;
    group(&store).await;
    backfill(&store).await;

    Arc::into_inner(store).expect("every caller has gone").close().await;
    let start = Instant::now();
    let store = open();
    report("start with the ids of all these events", start.elapsed(), 1);
    store.close().await;
}

/// Changes of an event, by its body: the number of a user, or a line of members.
struct Reader;

impl EventReader for Reader {
    fn read(&self, _: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let operation = match text.trim_end().split_once(' ') {
            None => {
                let id = id(text.trim_end());
                let attributes = json!({"userName": id.as_str(), "title": "Agent", "active": true,
                    "name": {"givenName": "Jane", "familyName": "Doe"}, "department": "SUPPORT"});
                let object = attributes.as_object().ok_or("attributes are an object")?;
                let attributes = parse_attributes(Kind::User, object).map_err(|error| error.to_string())?;
                Operation::UserUpsert { id, attributes }
            }
            Some((group, user)) => {
                let edit = MembersEdit::Delta { add: vec![id(user)], remove: Vec::new() };
                Operation::GroupMembers { id: id(group), edit }
            }
        };
        Ok(vec![Change { occurred_at: None, operation }])
    }
}

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("ids here are valid")
}

/// An id that is spread as a source's are, so that no index is filled in order.
fn user_name(number: usize) -> String {
    format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

fn user_key(number: usize) -> ResourceKey {
    ResourceKey::user(id(&user_name(number)))
}

fn event(event_id: String, text: &str) -> NewEvent {
    NewEvent {
        source: "hr".to_owned(),
        directory: DIRECTORY.to_owned(),
        event_id,
        received_at: NOW,
        urgent: false,
        // A usual body has about a kilobyte.
        body: format!("{text:<1000}").into_bytes(),
    }
}

fn report(what: &str, elapsed: Duration, times: usize) {
    let each = elapsed / u32::try_from(times).expect("a small number");
    let rate = times as f64 / elapsed.as_secs_f64();
    println!("{what:<60} {rate:>12.0}/s   {each:>12.1?} each");
}

async fn appends(store: &Arc<SqliteStore>, callers: usize) {
    const EACH: usize = 20_000;
    let each = if callers == 1 { EACH / 10 } else { EACH };
    let mut rounds = Vec::new();
    for round in 0..5 {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                for number in 0..each / callers {
                    let name = user_name(number % 100);
                    let event = event(format!("{callers}-{round}-{caller}-{number}"), &name);
                    store.append(event).await.expect("the store works");
                }
            });
        }
        tasks.join_all().await;
        rounds.push(start.elapsed());
    }
    rounds.sort();
    report(&format!("append, {callers} at once"), rounds[rounds.len() / 2], each / callers * callers);
}

async fn drain(store: &SqliteStore) {
    let (mut merged, start) = (0, Instant::now());
    loop {
        let projection = store.project(&Reader, 512).await.expect("the store works");
        merged += projection.events;
        if !projection.more {
            break;
        }
    }
    report("merge, 100 users, in batches of 512", start.elapsed(), merged);
}

async fn population(store: &Arc<SqliteStore>) {
    let mut tasks = JoinSet::new();
    for caller in 0..256 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for number in (caller..USERS).step_by(256) {
                let event = event(format!("population-{number}"), &user_name(number));
                store.append(event).await.expect("the store works");
            }
        });
    }
    tasks.join_all().await;
    let start = Instant::now();
    while store.project(&Reader, 512).await.expect("the store works").more {}
    report("merge, 100,000 new users, in batches of 512", start.elapsed(), USERS);
}

async fn reads(store: &Arc<SqliteStore>) {
    const LOOKS: usize = 50;
    let start = Instant::now();
    for _ in 0..LOOKS {
        store.status().await.expect("the store works");
    }
    report("status with 100,000 rows pending", start.elapsed(), LOOKS);

    let start = Instant::now();
    for _ in 0..LOOKS {
        let due = store.due(TARGET, Lane::Change, NOW, 100).await.expect("the store works");
        assert_eq!(due.len(), 100);
    }
    report("the 100 most urgent rows", start.elapsed(), LOOKS);

    let start = Instant::now();
    for _ in 0..LOOKS {
        store.next_due(TARGET, NOW).await.expect("the store works");
    }
    report("the next row that is not due", start.elapsed(), LOOKS);

    for callers in [1, 8] {
        const LOADS: usize = 20_000;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for caller in 0..callers {
            let store = Arc::clone(store);
            tasks.spawn(async move {
                for number in (caller..LOADS).step_by(callers) {
                    let dossier = store.load(TARGET, &user_key(number), 100).await.expect("the store works");
                    assert!(dossier.is_some());
                }
            });
        }
        tasks.join_all().await;
        report(&format!("load a user, {callers} at once"), start.elapsed(), LOADS);
    }
}

fn finished(key: ResourceKey, generation: u64, synced_members: u64) -> Outcome {
    let row = Row {
        vendor_id: format!("v-{}", key.id),
        synced_generation: generation,
        synced_members,
        ..Row::default()
    };
    Outcome {
        key,
        generation,
        link: LinkChange::Set(Link::Known(row)),
        members: MembersOutcome::default(),
        waits_for: [].into(),
        memberships: [].into(),
        work: WorkChange::Finish,
        ledger: Vec::new(),
    }
}

async fn commits(store: &SqliteStore) {
    let tenure = store.take(TARGET, "bench", Duration::from_hours(1)).await.expect("the store works");
    let tenure = tenure.expect("nobody else holds it");
    for (size, batches) in [(1, 500), (32, 200), (256, 100)] {
        let start = Instant::now();
        for batch in 0..batches {
            let outcomes =
                (0..size).map(|number| finished(user_key(size * 1_000 + batch * size + number), 1, 0));
            store.commit(&tenure, outcomes.collect(), NOW).await.expect("the store works");
        }
        report(&format!("commit outcomes, {size} in each"), start.elapsed(), size * batches);
    }
}

async fn group(store: &Arc<SqliteStore>) {
    const MEMBERS: usize = 20_000;
    let mut tasks = JoinSet::new();
    for caller in 0..256 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for number in (caller..MEMBERS).step_by(256) {
                let event = event(format!("member-{number}"), &format!("all {}", user_name(number)));
                store.append(event).await.expect("the store works");
            }
        });
    }
    tasks.join_all().await;
    let start = Instant::now();
    while store.project(&Reader, 512).await.expect("the store works").more {}
    report("merge, 20,000 members of one group", start.elapsed(), MEMBERS);

    let key = ResourceKey::group(id("all"));
    let start = Instant::now();
    for _ in 0..100 {
        store.load(TARGET, &key, 1_000).await.expect("the store works");
    }
    report("load a group with 1,000 of its members", start.elapsed(), 100);
}

async fn backfill(store: &SqliteStore) {
    let start = Instant::now();
    store.enrol("second", &DIRECTORY.to_owned(), NOW).await.expect("the store works");
    report("enrol a target with 100,000 users", start.elapsed(), 1);
}

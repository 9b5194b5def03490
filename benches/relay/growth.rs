//! What one event costs as the directory grows: from its append to the record of the call that it led
//! to, everything but the call.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use scim_relay::clock::Timestamp;
use scim_relay::directory::{Change, ExternalId, Kind as Sort, Operation, ResourceKey, parse_attributes};
use scim_relay::store::{
    EventReader, Lane, Link, LinkChange, MembersOutcome, NewEvent, Outcome, Row, Store, Tenure, WorkChange,
    WorkItem,
};
use serde_json::json;
use tokio::time::{Duration, Instant};

use crate::home::{Home, Kind};
use crate::report::{Figure, Goal, percentile};

/// Sizes at which it is measured.
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const EVENTS: usize = 2_000;
/// Events that are merged, sent and recorded together, as under steady load.
const BATCH: usize = 32;
const USERS_PER_EVENT: usize = 500;
const OUTCOMES_PER_COMMIT: usize = 256;
const TARGET: &str = "vendor";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Fills each store step by step, and measures at each.
pub async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let home = Home::new(kind).await;
        let store = home.open().await;
        figures.extend(grow(&home, &*store).await);
        tokio::task::spawn_blocking(move || drop((store, home))).await.expect("the store closes");
    }
    figures
}

async fn grow(home: &Home, store: &dyn Store) -> Vec<Figure> {
    store.enrol(TARGET, &"default".to_owned(), NOW).await.expect("the store works");
    let tenure = store.take(TARGET, "benchmark", Duration::from_hours(24)).await.expect("the store works");
    let tenure = tenure.expect("nobody else is there");
    let mut filled = 0;
    let mut costs = Vec::new();
    for size in SIZES {
        fill(store, &tenure, filled, size).await;
        filled = size;
        home.settle().await;
        costs.push(cost_us(store, &tenure, size).await);
    }
    let told: Vec<String> =
        SIZES.iter().zip(&costs).map(|(size, cost)| format!("{cost:.0} µs at {size}")).collect();
    let growth = costs[costs.len() - 1] / costs[0];
    let name = format!("cost of an event on {}, 1,000,000 users ÷ 10,000", home.kind().name());
    vec![Figure::new(name, growth, Goal::AtMost(1.5), told.join(", "))]
}

/// Median microseconds for each event, over batches about users drawn at random.
async fn cost_us(store: &dyn Store, tenure: &Tenure, size: usize) -> f64 {
    let mut chance = StdRng::seed_from_u64(7);
    let mut costs = Vec::new();
    for batch in 0..EVENTS / BATCH {
        let users: Vec<usize> = (0..BATCH).map(|_| chance.random_range(0..size)).collect();
        let began = Instant::now();
        let appends = users.iter().enumerate().map(|(number, user)| {
            let body = format!("{user} {} cost-{size}-{batch}-{number}", user + 1);
            store.append(event(format!("cost-{size}-{batch}-{number}"), body))
        });
        futures_util::future::try_join_all(appends).await.expect("room in the queue");
        while store.project(&Numbers, 512).await.expect("the store works").more {}
        send(store, tenure).await;
        costs.push(began.elapsed().as_secs_f64() * 1e6 / BATCH as f64);
    }
    percentile(&costs, 0.5)
}

/// Makes users of these numbers, and records them as applied.
async fn fill(store: &dyn Store, tenure: &Tenure, from: usize, to: usize) {
    for begin in (from..to).step_by(USERS_PER_EVENT * 16) {
        let events = (begin..to.min(begin + USERS_PER_EVENT * 16)).step_by(USERS_PER_EVENT).map(|begin| {
            let end = to.min(begin + USERS_PER_EVENT);
            store.append(event(format!("fill-{begin}"), format!("{begin} {end} first")))
        });
        futures_util::future::try_join_all(events).await.expect("room in the queue");
        while store.project(&Numbers, 4).await.expect("the store works").more {}
        while let Some(due) = next_due(store).await {
            record(store, tenure, &due).await;
        }
    }
}

/// Does what a dispatcher does with all that is due, as if each call had been answered at once.
async fn send(store: &dyn Store, tenure: &Tenure) {
    while let Some(due) = next_due(store).await {
        for chunk in due.chunks(8) {
            let loads = chunk.iter().map(|item| store.load(TARGET, &item.key, 100));
            let dossiers = futures_util::future::try_join_all(loads).await.expect("the store works");
            assert!(dossiers.iter().all(Option::is_some), "what is due is work");
        }
        record(store, tenure, &due).await;
    }
}

async fn next_due(store: &dyn Store) -> Option<Vec<WorkItem>> {
    let due = store.due(TARGET, Lane::Change, NOW, OUTCOMES_PER_COMMIT).await.expect("the store works");
    (!due.is_empty()).then_some(due)
}

async fn record(store: &dyn Store, tenure: &Tenure, items: &[WorkItem]) {
    let outcomes = items.iter().map(|item| applied(&item.key, item.generation)).collect();
    store.commit(tenure, outcomes, NOW).await.expect("the store works");
}

fn applied(key: &ResourceKey, generation: u64) -> Outcome {
    let row = Row { vendor_id: format!("v-{}", key.id), synced_generation: generation, ..Row::default() };
    Outcome {
        key: key.clone(),
        generation,
        link: LinkChange::Set(Link::Known(row)),
        members: MembersOutcome::default(),
        waits_for: [].into(),
        memberships: [].into(),
        work: WorkChange::Finish,
        ledger: Vec::new(),
    }
}

fn event(event_id: String, body: String) -> NewEvent {
    NewEvent {
        source: "hr".to_owned(),
        directory: "default".to_owned(),
        event_id,
        received_at: NOW,
        urgent: false,
        body: body.into_bytes(),
    }
}

/// Reads `from to title` as new titles of the users with these numbers.
struct Numbers;

impl EventReader for Numbers {
    fn read(&self, _: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let mut words = text.split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).ok_or("no number");
        let (from, to) = (number()?, number()?);
        let title = words.next().ok_or("no title")?;
        (from..to).map(|user| described(user, title)).collect()
    }
}

fn described(number: usize, title: &str) -> Result<Change, String> {
    // Spread as a source's ids are, so that no index is filled in order.
    let name = format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let attributes = json!({"userName": format!("{name}@example.com"), "title": title, "active": true,
        "name": {"givenName": "Jane", "familyName": "Doe"}, "department": "SUPPORT"});
    let object = attributes.as_object().ok_or("attributes are an object")?;
    let attributes = parse_attributes(Sort::User, object).map_err(|error| error.to_string())?;
    let id = ExternalId::parse(name).map_err(|error| error.to_string())?;
    Ok(Change { occurred_at: None, operation: Operation::UserUpsert { id, attributes } })
}

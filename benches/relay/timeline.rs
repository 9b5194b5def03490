//! How long it takes to tell one user's story out of a ledger of millions.
//!
//! `SCIM_RELAY_BENCH_SMALL` set to anything makes it small, to see whether it works.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use scim_relay::clock::Timestamp;
use scim_relay::directory::{ExternalId, ResourceKey};
use scim_relay::store::{
    Cursor, LedgerEntry, LinkChange, MembersOutcome, Order, Outcome, Store, Tenure, WorkChange,
};
use tokio::time::{Duration, Instant};

use crate::home::{Home, Kind};
use crate::report::{Figure, Goal, percentile};

const SMALL: &str = "SCIM_RELAY_BENCH_SMALL";
const USERS: usize = 100_000;
const OUTCOMES_PER_COMMIT: usize = 1_000;
const QUERIES: usize = 1_000;
/// As many as a page of the API holds unless more are asked for.
const PAGE: usize = 100;
const TARGET: &str = "vendor";
const DIRECTORY: &str = "default";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Fills the ledger of each store, and asks for users drawn at random.
pub async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let home = Home::new(kind).await;
        let store = home.open().await;
        figures.push(measure(&home, &*store).await);
        tokio::task::spawn_blocking(move || drop((store, home))).await.expect("the store closes");
    }
    figures
}

#[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
fn rows() -> usize {
    if std::env::var_os(SMALL).is_some() { 200_000 } else { 5_000_000 }
}

async fn measure(home: &Home, store: &dyn Store) -> Figure {
    let directory = DIRECTORY.to_owned();
    store.enrol(TARGET, &directory, NOW).await.expect("the store works");
    let tenure = store.take(TARGET, "benchmark", Duration::from_hours(24)).await.expect("the store works");
    let tenure = tenure.expect("nobody else is there");
    let rows = rows();
    for begin in (0..rows).step_by(OUTCOMES_PER_COMMIT) {
        write(store, &tenure, begin).await;
    }
    home.settle().await;
    let mut chance = StdRng::seed_from_u64(7);
    let mut spent_ms = Vec::with_capacity(QUERIES);
    for _ in 0..QUERIES {
        let key = ResourceKey::user(user(chance.random_range(0..USERS)));
        let began = Instant::now();
        let told = store.timeline(&directory, &key, Order::Falling, Cursor::default(), PAGE).await;
        let told = told.expect("the store works");
        spent_ms.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(told.items.len(), rows.div_euclid(USERS).min(PAGE), "each has as many as any other");
    }
    let name = format!("timeline on {} with {rows} rows in the ledger, p50 ms", home.kind().name());
    let slow = percentile(&spent_ms, 0.9);
    Figure::new(name, percentile(&spent_ms, 0.5), Goal::AtMost(10.0), format!("{slow:.2} ms at p90"))
}

/// One entry for each of so many users; the next commit is about the next users.
async fn write(store: &dyn Store, tenure: &Tenure, begin: usize) {
    let outcome = |number: usize| Outcome {
        key: ResourceKey::user(user(number % USERS)),
        generation: 0,
        link: LinkChange::Keep,
        members: MembersOutcome::default(),
        waits_for: [].into(),
        memberships: [].into(),
        work: WorkChange::Finish,
        ledger: vec![LedgerEntry {
            call: Some("PATCH Users/{id}".to_owned()),
            status: Some(200),
            elapsed_us: Some(20_000),
            ..LedgerEntry::without_call(NOW, "update", "applied", None)
        }],
    };
    let outcomes = (begin..begin + OUTCOMES_PER_COMMIT).map(outcome).collect();
    store.commit(tenure, outcomes, NOW).await.expect("the store works");
}

fn user(number: usize) -> ExternalId {
    // Spread as a source's ids are, so that no index is filled in order.
    let name = format!("{:016x}", (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    ExternalId::parse(name).expect("sixteen digits")
}

//! How much of the bare handler's rate is left once every event is durable before its answer.
//!
//! Servers take turns, each alone: the router over a store that keeps nothing, and for each store the
//! same router without anybody merging events, and the whole relay as it runs in production. A ratio
//! compares servers of the same round only, since a shared machine is not the same one a minute later.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use scim_relay::app;
use scim_relay::clock::SystemClock;
use scim_relay::config::{Config, Environment};
use scim_relay::http::admin::Keys;
use scim_relay::http::intake::IntakeLimits;
use scim_relay::http::{Relay, router_on_one_listener, serve};
use scim_relay::source::{self, Sources};
use scim_relay::store::Store;
use scim_relay::telemetry::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::forgetful::Forgetful;
use crate::home::{Home, Kind};
use crate::load::{self, Hook, Run};
use crate::program::{SECRET, TargetSetup, configuration};
use crate::report::{Figure, Goal};
use crate::{bodies, vendor};

const CONNECTIONS: usize = 256;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// More than a server is likely to take in a round; a round that runs out of them ends sooner.
const HOOKS_PER_ROUND: usize = 150_000;
/// Users that the events are about.
const USERS: usize = 10_000;

/// Runs the rounds.
pub async fn run() -> Vec<Figure> {
    let bodies: Vec<Bytes> = (0..USERS).map(bodies::full_user).collect();
    let mut chance = StdRng::seed_from_u64(1);
    let vendor = vendor::start().await;
    let target =
        TargetSetup { base_url: vendor.base_url.clone(), rate_per_second: 25.0, burst: 1, bulk: true };
    let mut rounds: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        let bare = bare(hooks(&bodies, &mut chance)).await.per_second();
        let mut values = vec![("bare".to_owned(), bare)];
        for kind in Kind::ALL {
            let name = kind.name();
            let durable = durable(kind, hooks(&bodies, &mut chance)).await.per_second();
            let production = production(kind, hooks(&bodies, &mut chance), &target).await.per_second();
            values.extend([
                (format!("{name} durable"), durable),
                (format!("{name} production"), production),
                (format!("{name} durable ÷ bare"), durable / bare),
                (format!("{name} production ÷ bare"), production / bare),
            ]);
        }
        let durable = |kind: Kind| values.iter().find(|(of, _)| *of == format!("{} durable", kind.name()));
        let ratio = durable(Kind::Postgres).zip(durable(Kind::Sqlite)).map(|(ours, other)| ours.1 / other.1);
        values.extend(ratio.map(|ratio| (STORES.to_owned(), ratio)));
        // The first round warms up.
        if round > 0 {
            for (name, value) in values {
                rounds.entry(name).or_default().push(value);
            }
        }
    }
    figures(&rounds)
}

/// What is told of the two stores.
const STORES: &str = "accept, durable on PostgreSQL ÷ on SQLite";

fn figures(rounds: &BTreeMap<String, Vec<f64>>) -> Vec<Figure> {
    let note = format!("{CONNECTIONS} connections, {ROUNDS} rounds of {} s, 1 KiB", ROUND.as_secs());
    let rate =
        |name: String| format!("{:.0} events/s; bare {:.0}", median(&rounds[&name]), median(&rounds["bare"]));
    let mut figures = Vec::new();
    for (kind, goal) in [(Kind::Sqlite, Goal::AtLeast(0.45)), (Kind::Postgres, Goal::AtLeast(0.40))] {
        let name = kind.name();
        figures.push(Figure::of_rounds(
            format!("accept, durable on {name} ÷ bare"),
            &rounds[&format!("{name} durable ÷ bare")],
            goal,
            format!("{}; {note}", rate(format!("{name} durable"))),
        ));
        figures.push(Figure::of_rounds(
            format!("accept, in production on {name} ÷ bare"),
            &rounds[&format!("{name} production ÷ bare")],
            Goal::None,
            rate(format!("{name} production")),
        ));
    }
    figures.push(Figure::of_rounds(STORES, &rounds[STORES], Goal::None, ""));
    figures
}

fn median(rounds: &[f64]) -> f64 {
    crate::report::percentile(rounds, 0.5)
}

fn hooks(bodies: &[Bytes], chance: &mut StdRng) -> Vec<Hook> {
    (0..HOOKS_PER_ROUND).map(|_| load::hook(bodies[chance.random_range(0..bodies.len())].clone())).collect()
}

/// The router over a store that keeps nothing.
async fn bare(hooks: Vec<Hook>) -> Run {
    drive_router(Arc::new(Forgetful), hooks).await
}

/// The same router over a store; nothing merges what comes in.
async fn durable(kind: Kind, hooks: Vec<Hook>) -> Run {
    let home = Home::new(kind).await;
    let store = home.open().await;
    let run = drive_router(Arc::clone(&store), hooks).await;
    check_kept(&*store, run).await;
    // Closing waits for the disk.
    tokio::task::spawn_blocking(move || drop((store, home))).await.expect("the store closes");
    run
}

/// Everything: events are merged, and a target follows, which takes 25 calls a second.
async fn production(kind: Kind, hooks: Vec<Hook>, target: &TargetSetup) -> Run {
    let home = Home::new(kind).await;
    let text = configuration(&home, target);
    let (config, _) = Config::parse(&text, "benchmark", Path::new(""), &Environment::default())
        .expect("a configuration without problems");
    let relay =
        app::start(&config, Arc::new(SystemClock), Metrics::new()).await.expect("a relay on a free port");
    let run = load::drive(relay.public(), hooks, CONNECTIONS, ROUND).await;
    check_kept(&*relay.engine().store, run).await;
    relay.shutdown().await;
    run
}

async fn drive_router(store: Arc<dyn Store>, hooks: Vec<Hook>) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let router = router_on_one_listener(&relay(store));
    let serving = tokio::spawn(serve(listener, router, stop.clone().cancelled_owned()));
    let run = load::drive(address, hooks, CONNECTIONS, ROUND).await;
    stop.cancel();
    serving.await.expect("the server ends");
    run
}

fn relay(store: Arc<dyn Store>) -> Relay {
    let source = source::Settings {
        name: "hr".to_owned(),
        kind: source::Kind::Native,
        directory: "default".to_owned(),
        secrets: vec![SECRET.into()],
        intake_limit: None,
        body_bytes_max: 1024 * 1024,
        provider: None,
    };
    let sources = Arc::new(Sources::open([source]).expect("a source with a secret"));
    Relay {
        limits: Arc::new(IntakeLimits::new(&sources)),
        sources,
        store,
        clock: Arc::new(SystemClock),
        metrics: Metrics::new(),
        targets: Arc::default(),
        alarms: Arc::default(),
        rhythms: Arc::default(),
        audit: None,
        appended: Arc::new(Notify::new()),
        keys: Arc::new(Keys::new(Vec::new())),
    }
}

/// The store numbers events without gaps, so the newest number is how many it holds.
async fn check_kept(store: &dyn Store, run: Run) {
    let newest = store.events(None, 1).await.expect("the store answers");
    let kept = newest.items.first().map_or(0, |event| event.sequence);
    assert_eq!(kept, run.accepted, "every accepted event is kept, and nothing else");
}

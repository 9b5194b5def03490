//! How long an idle relay takes from a webhook to the vendor's door.

use std::time::Duration;

use axum::http::Method;
use scim_relay::clock::{Clock, SystemClock};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::home::{Home, Kind};
use crate::load::{self, Sender};
use crate::program::{Program, TargetSetup};
use crate::report::{Figure, Goal, percentile};
use crate::{bodies, vendor};

const WARM_UP: usize = 20;
const SAMPLES: usize = 200;
/// Lets the relay record what it did, and be idle.
const PAUSE: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(10);

/// One event at a time, each a change of the same user.
pub async fn run() -> Vec<Figure> {
    let mut figures = on(Kind::Sqlite, Goal::AtMost(5.0)).await;
    figures.extend(on(Kind::Postgres, Goal::None).await);
    figures
}

async fn on(kind: Kind, goal: Goal) -> Vec<Figure> {
    let mut vendor = vendor::start().await;
    let home = Home::new(kind).await;
    let target =
        TargetSetup { base_url: vendor.base_url.clone(), rate_per_second: 1_000.0, burst: 50, bulk: true };
    let relay = Program::start(&home, &target).await;
    let mut sender = Sender::connect(relay.address).await;
    sender.accept(&load::hook(bodies::new_users([1], SystemClock.now()))).await;
    arrival(&mut vendor.writes, &Method::POST).await;
    relay.until_quiet(PATIENCE).await;

    let mut samples_ms = Vec::new();
    for number in 0..WARM_UP + SAMPLES {
        tokio::time::sleep(PAUSE).await;
        let hook = load::hook(bodies::new_title(1, &format!("Title {number}"), SystemClock.now()));
        let began = Instant::now();
        sender.accept(&hook).await;
        let came = arrival(&mut vendor.writes, &Method::PATCH).await;
        if number >= WARM_UP {
            samples_ms.push((came - began).as_secs_f64() * 1_000.0);
        }
    }
    relay.stop().await;
    let note = format!("POST to the call's arrival, {SAMPLES} events one at a time");
    let name = kind.name();
    vec![
        Figure::new(format!("latency when idle, {name}, p50 ms"), percentile(&samples_ms, 0.5), goal, note),
        Figure::new(
            format!("latency when idle, {name}, p90 ms"),
            percentile(&samples_ms, 0.9),
            Goal::None,
            "",
        ),
    ]
}

async fn arrival(writes: &mut mpsc::UnboundedReceiver<(Method, Instant)>, expected: &Method) -> Instant {
    let write = timeout(PATIENCE, writes.recv()).await.expect("a call for each event");
    let (method, came) = write.expect("the vendor runs");
    assert_eq!(method, *expected);
    came
}

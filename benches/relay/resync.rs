//! How long it takes to read and compare a large vendor, and in how much memory.
//!
//! `SCIM_RELAY_BENCH_SMALL` set to anything makes it small, to see whether it works.

use std::time::Duration;

use bytes::Bytes;
use scim_relay::clock::{Clock, SystemClock};
use scim_relay::sandbox::settings::{Behaviour, BulkRules};
use tokio::time::Instant;

use crate::bodies;
use crate::home::{Home, Kind};
use crate::load::{self, Hook};
use crate::memory::resident_mib;
use crate::program::{Program, TargetSetup};
use crate::report::{Figure, Goal};
use crate::watched::Watched;

const SMALL: &str = "SCIM_RELAY_BENCH_SMALL";
const USERS_PER_EVENT: usize = 50;
const CONNECTIONS: usize = 32;
const RATE: f64 = 5_000.0;
const ENOUGH: Duration = Duration::from_mins(30);
/// What every page takes at the vendor.
const LATENCY_MS: u64 = 20;

/// Provisions everybody, then compares everybody, on each store.
pub async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        figures.extend(measure(kind, users()).await);
    }
    figures
}

#[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
fn users() -> usize {
    if std::env::var_os(SMALL).is_some() { 3_000 } else { 100_000 }
}

async fn measure(kind: Kind, users: usize) -> Vec<Figure> {
    let home = Home::new(kind).await;
    let vendor = Watched::start(Behaviour { bulk: Some(BulkRules::default()), ..Behaviour::default() }).await;
    let base_url = vendor.base_url().to_owned();
    let target = TargetSetup { base_url, rate_per_second: RATE, burst: 1, bulk: true };
    let relay = Program::start(&home, &target).await;
    provision(&relay, users).await;
    // What the way there took is not what the resync takes.
    relay.stop().await;
    home.settle().await;
    let relay = Program::start(&home, &target).await;
    vendor.fail(&[&format!("slow={LATENCY_MS}ms:on=GET")]).await;

    let (before, idle) = (vendor.seen().await, resident_mib(relay.pid(), "VmRSS:"));
    let began = Instant::now();
    let view = relay.resync(ENOUGH).await;
    let elapsed = began.elapsed();
    assert_eq!((&view["state"], &view["summary"]["findings"]), (&"complete".into(), &0.into()), "{view}");
    let pages = vendor.seen().await - before;
    let (now, most) = (resident_mib(relay.pid(), "VmRSS:"), resident_mib(relay.pid(), "VmHWM:"));
    relay.stop().await;
    vendor.shutdown().await;

    let least = Duration::from_millis(pages * LATENCY_MS);
    let what = format!("resync of {users} users on {}", kind.name());
    let seconds = elapsed.as_secs_f64();
    vec![
        Figure::new(
            format!("{what}, time ÷ pages × latency"),
            seconds / least.as_secs_f64(),
            Goal::AtMost(2.0),
            format!("{seconds:.0} s for {pages} pages of {LATENCY_MS} ms"),
        ),
        Figure::new(
            format!("{what}, resident memory, MiB"),
            most,
            Goal::AtMost(150.0),
            format!("at most since the start; {idle:.0} MiB before, {now:.0} MiB afterwards"),
        ),
    ]
}

async fn provision(relay: &Program, users: usize) {
    let at = SystemClock.now();
    let users: Vec<usize> = (0..users).collect();
    let events: Vec<Bytes> =
        users.chunks(USERS_PER_EVENT).map(|users| bodies::new_users(users.iter().copied(), at)).collect();
    let hooks: Vec<Hook> = events.into_iter().map(load::hook).collect();
    let sent = hooks.len() as u64;
    let run = load::drive(relay.address, hooks, CONNECTIONS, ENOUGH).await;
    assert_eq!(run.accepted, sent, "every event is posted");
    relay.until_quiet(ENOUGH).await;
}

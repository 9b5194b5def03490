//! What a change costs in calls, with packs and without; how much of a vendor's limit a backlog uses,
//! and what an outage and a large group cost.
//!
//! The relay is the built program, the vendor a sandbox that takes bulk requests. `SCIM_RELAY_BENCH_SMALL`
//! set to anything makes all of it small, to see whether it works.

use std::time::Duration;

use bytes::Bytes;
use scim_relay::clock::{Clock, SystemClock, Timestamp};
use scim_relay::sandbox::settings::{Behaviour, BulkRules};

use crate::bodies;
use crate::home::{Home, Kind};
use crate::load::{self, Hook};
use crate::memory::resident_mib;
use crate::program::{Program, TargetSetup};
use crate::report::{Figure, Goal};
use crate::watched::{Call, Watched, over, took};

const SMALL: &str = "SCIM_RELAY_BENCH_SMALL";
const GROUPS: usize = 20;
const PROVISION_RATE: f64 = 5_000.0;
const CONNECTIONS: usize = 32;
const ENOUGH: Duration = Duration::from_mins(15);
/// Over so much time the rate after an outage is compared with the full one.
const STRETCH: Duration = Duration::from_secs(3);
/// From this share of the rate on it is the full one.
const FULL: f64 = 0.9;

/// How much of everything.
#[derive(Clone, Copy)]
struct Scale {
    users: usize,
    rate: f64,
    outage: Duration,
    outage_backlog: usize,
    members: usize,
}

/// Runs all of it.
pub async fn run() -> Vec<Figure> {
    let scale = scale();
    let mut figures = Vec::new();
    for packs in [false, true] {
        figures.extend(changes(scale, packs).await);
    }
    figures.push(recovery(scale).await);
    figures.extend(large_group(scale).await);
    figures
}

#[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
fn scale() -> Scale {
    if std::env::var_os(SMALL).is_some() {
        return Scale {
            users: 300,
            rate: 40.0,
            outage: Duration::from_secs(10),
            outage_backlog: 2_000,
            members: 2_000,
        };
    }
    Scale {
        users: 2_000,
        rate: 50.0,
        outage: Duration::from_mins(1),
        outage_backlog: 10_000,
        members: 100_000,
    }
}

/// New users, then new members of groups, then a new title for everybody.
async fn changes(scale: Scale, packs: bool) -> Vec<Figure> {
    let bench = Bench::set().await;
    let at = bench.began;
    let how = if packs { "in packs" } else { "one by one" };
    let users = scale.users;
    let groups = vec![bodies::new_groups(0..GROUPS, at)];
    bench.drain(groups, PROVISION_RATE, packs).await;
    let hires: Vec<Bytes> = (0..users)
        .collect::<Vec<_>>()
        .chunks(20)
        .map(|users| bodies::new_users(users.iter().copied(), at))
        .collect();
    let members = (0..users).map(|user| bodies::new_member(user % GROUPS, user, bench.moment(user)));
    let titles = (0..users).map(|user| bodies::new_title(user, "Senior", bench.moment(user)));
    let mut figures = Vec::new();
    for (what, events) in
        [("new users", hires), ("new members", members.collect()), ("new titles", titles.collect())]
    {
        let drained = bench.drain(events, scale.rate, packs).await;
        figures.extend(figures_of(&format!("{what} {how}"), &drained, users, scale.rate));
    }
    bench.vendor.shutdown().await;
    figures
}

fn figures_of(name: &str, calls: &[Call], changes: usize, rate: f64) -> Vec<Figure> {
    let permits = calls.len();
    let operations: u64 = calls.iter().map(|call| call.operations).sum();
    let refused = calls.iter().filter(|call| !call.done).count();
    let seconds = took(calls).as_secs_f64();
    let over = over(calls, rate);
    let mut figures = vec![Figure::new(
        format!("{name}, calls ÷ changes"),
        permits as f64 / changes as f64,
        Goal::None,
        format!("{changes} changes, {permits} calls of {operations} operations, {refused} not answered 2xx"),
    )];
    // Of a handful of calls no share of a rate can be told.
    if permits as f64 >= 5.0 * rate {
        let share = (permits - 1) as f64 / seconds / rate;
        figures.push(Figure::new(
            format!("{name}, share of the rate used"),
            share,
            Goal::AtLeast(0.95),
            format!("{seconds:.1} s at {rate} calls a second"),
        ));
        figures.push(Figure::new(
            format!("{name}, drain ÷ lower bound"),
            seconds / (permits as f64 / rate),
            Goal::AtMost(1.05),
            "from the first call to the last, ÷ calls ÷ rate",
        ));
    }
    figures.push(Figure::new(
        format!("{name}, calls over the limit"),
        over as f64,
        Goal::AtMost(0.0),
        format!("more than {rate} in the second that ends with the call, by the vendor's log"),
    ));
    figures
}

/// A vendor that answers 503 for a while, with a backlog before it.
async fn recovery(scale: Scale) -> Figure {
    let bench = Bench::set().await;
    let relay = bench.relay(scale.rate, false).await;
    let users: Vec<usize> = (0..scale.outage_backlog).collect();
    let events = users.chunks(20).map(|users| bodies::new_users(users.iter().copied(), bench.began));
    post(&relay, events.collect()).await;
    tokio::time::sleep(STRETCH).await;
    bench.vendor.fail(&["503"]).await;
    tokio::time::sleep(scale.outage).await;
    let before = bench.vendor.seen().await;
    bench.vendor.fail(&[]).await;
    let ended_us = bench.vendor.now_us();
    let watch = scale.outage.max(Duration::from_secs(30)) + STRETCH;
    tokio::time::sleep(watch).await;
    let calls = bench.vendor.calls_after(before).await;
    let full = full_again(&calls, scale.rate);
    let pending = relay.status().await["targets"]["vendor"]["pending"].clone();
    relay.stop().await;
    bench.vendor.shutdown().await;
    let seconds = full.map_or(f64::INFINITY, |at| at.saturating_sub(ended_us) as f64 / 1e6);
    Figure::new(
        "full rate again after an outage, s",
        seconds,
        Goal::AtMost(20.0),
        format!("{:?} of 503 at {} calls a second; {pending} left", scale.outage, scale.rate),
    )
}

/// When the first stretch began in which nearly all of the rate was used by calls that worked.
fn full_again(calls: &[Call], rate: f64) -> Option<u64> {
    let done: Vec<u64> = calls.iter().filter(|call| call.done).map(|call| call.at_us).collect();
    let wanted = (rate * FULL * STRETCH.as_secs_f64()).ceil();
    let stretch = u64::try_from(STRETCH.as_micros()).expect("a few seconds");
    let within = |from: u64| done.iter().filter(|at| **at >= from && **at < from + stretch).count() as f64;
    done.iter().copied().find(|from| within(*from) >= wanted)
}

/// Everybody is a member of one group; then one more is.
async fn large_group(scale: Scale) -> Vec<Figure> {
    let bench = Bench::set().await;
    let relay = bench.relay(PROVISION_RATE, true).await;
    let users: Vec<usize> = (0..scale.members).collect();
    let mut events: Vec<Bytes> = vec![bodies::new_groups(0..1, bench.began)];
    events.extend(users.chunks(50).map(|users| bodies::new_users(users.iter().copied(), bench.began)));
    events.extend(users.chunks(500).map(|users| bodies::new_members(0, users.iter().copied(), bench.began)));
    post(&relay, events).await;
    relay.until_quiet(ENOUGH).await;
    let (now, most) = (resident_mib(relay.pid(), "VmRSS:"), resident_mib(relay.pid(), "VmHWM:"));
    let first = bench.vendor.seen().await;

    let one = vec![bodies::new_users([scale.members], bench.began)];
    post(&relay, one).await;
    relay.until_quiet(ENOUGH).await;
    let before = bench.vendor.seen().await;
    post(&relay, vec![bodies::new_member(0, scale.members, bench.moment(1))]).await;
    relay.until_quiet(ENOUGH).await;
    let calls = bench.vendor.calls_after(before).await;
    let bytes: u64 = calls.iter().map(|call| call.bytes).sum();
    relay.stop().await;
    bench.vendor.shutdown().await;
    let members = scale.members;
    vec![
        Figure::new(
            format!("resident memory while {members} members are first sent, MiB"),
            most,
            Goal::AtMost(150.0),
            format!("at most; {now:.0} MiB afterwards; {first} calls"),
        ),
        Figure::new(
            format!("one more member of {members}, calls"),
            calls.len() as f64,
            Goal::AtMost(1.0),
            calls.iter().map(|call| call.path.as_str()).collect::<Vec<_>>().join(", "),
        ),
        Figure::new(
            format!("one more member of {members}, bytes"),
            bytes as f64,
            Goal::AtMost(4_096.0),
            "bodies of requests and answers",
        ),
    ]
}

/// A vendor that takes packs, and the home of the relay that keeps it equal.
struct Bench {
    vendor: Watched,
    home: Home,
    began: Timestamp,
}

impl Bench {
    async fn set() -> Self {
        let behaviour = Behaviour { bulk: Some(BulkRules::default()), ..Behaviour::default() };
        Self {
            vendor: Watched::start(behaviour).await,
            home: Home::new(Kind::Sqlite).await,
            began: Timestamp::from_seconds(SystemClock.now().as_seconds() - 3_600),
        }
    }

    fn moment(&self, number: usize) -> Timestamp {
        self.began.after(Duration::from_millis(1 + number as u64))
    }

    /// Posts everything to a relay that waits, and lets it go: the backlog is there from the first call on.
    async fn drain(&self, events: Vec<Bytes>, rate: f64, packs: bool) -> Vec<Call> {
        self.vendor.limit(rate).await;
        let relay = self.relay(rate, packs).await;
        relay.pause_target().await;
        post(&relay, events).await;
        relay.until("all is work", ENOUGH, |status| status["inbox"]["unprojected"] == 0).await;
        let before = self.vendor.seen().await;
        relay.resume_target().await;
        relay.until_quiet(ENOUGH).await;
        relay.stop().await;
        self.vendor.calls_after(before).await
    }

    async fn relay(&self, rate_per_second: f64, bulk: bool) -> Program {
        let base_url = self.vendor.base_url().to_owned();
        Program::start(&self.home, &TargetSetup { base_url, rate_per_second, burst: 1, bulk }).await
    }
}

async fn post(relay: &Program, events: Vec<Bytes>) {
    let hooks: Vec<Hook> = events.into_iter().map(load::hook).collect();
    let sent = hooks.len() as u64;
    let run = load::drive(relay.address, hooks, CONNECTIONS, ENOUGH).await;
    assert_eq!(run.accepted, sent, "every event is posted");
}

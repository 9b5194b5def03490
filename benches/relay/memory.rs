//! How much memory a large backlog takes while nothing can be sent.

use std::time::Duration;

use bytes::Bytes;
use scim_relay::clock::{Clock, SystemClock};

use crate::bodies;
use crate::home::{Home, Kind};
use crate::load::{self, Hook};
use crate::program::{Program, TargetSetup};
use crate::report::{Figure, Goal};

const PENDING: usize = 100_000;
const USERS_PER_EVENT: usize = 2;
const CONNECTIONS: usize = 32;
const ENOUGH: Duration = Duration::from_mins(10);

/// Pauses the target, posts new users, and looks at the process.
pub async fn run() -> Vec<Figure> {
    let home = Home::new(Kind::Sqlite).await;
    let target = TargetSetup {
        base_url: "http://127.0.0.1:9/scim/v2".to_owned(),
        rate_per_second: 100.0,
        burst: 1,
        bulk: true,
    };
    let relay = Program::start(&home, &target).await;
    relay.pause_target().await;
    let idle = resident_mib(relay.pid(), "VmRSS:");
    let at = SystemClock.now();
    let users: Vec<usize> = (0..PENDING).collect();
    let events: Vec<Bytes> =
        users.chunks(USERS_PER_EVENT).map(|users| bodies::new_users(users.iter().copied(), at)).collect();
    let hooks: Vec<Hook> = events.into_iter().map(load::hook).collect();
    let sent = hooks.len() as u64;
    let run = load::drive(relay.address, hooks, CONNECTIONS, ENOUGH).await;
    assert_eq!(run.accepted, sent, "every event is posted");
    relay
        .until("all is work", ENOUGH, |status| {
            status["inbox"]["unprojected"] == 0 && status["targets"]["vendor"]["pending"] == PENDING
        })
        .await;
    let (now, most) = (resident_mib(relay.pid(), "VmRSS:"), resident_mib(relay.pid(), "VmHWM:"));
    relay.stop().await;
    vec![Figure::new(
        "memory with 100,000 resources pending, MiB",
        now,
        Goal::AtMost(150.0),
        format!("{idle:.0} MiB before, {most:.0} MiB at most"),
    )]
}

/// One line of the process's status, which counts in KiB.
pub fn resident_mib(pid: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("Linux tells");
    let value = status.lines().find_map(|text| text.strip_prefix(line)).expect("a known line");
    let kib: f64 = value.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}

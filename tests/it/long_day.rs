//! The long day: replicas die again and again under load, and at its end every vendor has what it should
//! have, was never asked for more than it allows, and every event is accounted for.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use scim_relay::demo::company::{self, Shape};
use scim_relay::sandbox::settings::Auth;
use scim_relay::sandbox::{Behaviour, Settings};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::support::postgres::Postgres;
use crate::support::proof::{assert_all_accounted_for, assert_equal_or_tell};
use crate::support::relay::TargetSetup;
use crate::support::replicas::Replicas;
use crate::support::sandbox::{Sandbox, TOKEN, busiest};
use crate::support::sender::Sender;

const LIMIT: Duration = Duration::from_mins(10);
const REPLICAS: usize = 3;

/// A vendor and what it allows.
struct Vendor {
    name: &'static str,
    per_second: u32,
    burst: u32,
    /// Calls in any minute, where that is less than sixty times the above.
    per_minute: Option<u32>,
}

const VENDORS: [Vendor; 4] = [
    Vendor { name: "quick", per_second: 150, burst: 20, per_minute: None },
    Vendor { name: "usual", per_second: 50, burst: 1, per_minute: None },
    Vendor { name: "bursty", per_second: 30, burst: 30, per_minute: None },
    Vendor { name: "metered", per_second: 40, burst: 1, per_minute: Some(900) },
];

impl Vendor {
    fn setup(&self, sandbox: &Sandbox) -> TargetSetup {
        let windows = self
            .per_minute
            .map_or(String::new(), |limit| format!(", windows = [{{ limit = {limit}, per = \"1m\" }}]"));
        let limits = format!(
            "limits = {{ rate_per_second = {}, burst = {}, concurrency = 8{windows} }}\n",
            self.per_second, self.burst
        );
        TargetSetup::new(self.name, sandbox.base_url(), TOKEN).with(&limits)
    }

    /// The most calls that it allows in so many seconds.
    fn allows(&self, seconds: u32) -> usize {
        let by_rate = self.per_second * seconds + self.burst - 1;
        let by_window = self.per_minute.filter(|_| seconds >= 60).map_or(by_rate, |limit| limit.min(by_rate));
        by_window.try_into().expect("a small number")
    }
}

async fn sandbox() -> Sandbox {
    let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..Behaviour::default() };
    let settings = Settings {
        behaviour,
        latency: Duration::from_millis(20),
        log_entries_max: 10_000_000,
        ..Settings::default()
    };
    Sandbox::start_with(settings, &[]).await
}

/// `SCIM_RELAY_TEST_CHANGES` asks for a longer day.
fn changes() -> usize {
    std::env::var("SCIM_RELAY_TEST_CHANGES").ok().map_or(20_000, |changes| changes.parse().expect("a number"))
}

/// Kills one replica every few seconds and starts it again, until the day is over; answers how often.
async fn kill_again_and_again(replicas: Arc<Replicas>, over: CancellationToken, seed: u64) -> usize {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    loop {
        let life = Duration::from_millis(chance.random_range(2_000..6_000));
        let victim = chance.random_range(0..REPLICAS);
        let absence = Duration::from_millis(chance.random_range(0..2_000));
        if over.run_until_cancelled(tokio::time::sleep(life)).await.is_none() {
            return kills;
        }
        replicas.kill(victim).await;
        kills += 1;
        over.run_until_cancelled(tokio::time::sleep(absence)).await;
        replicas.start_one(victim).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_die_again_and_again_keep_every_vendors_limit_and_lose_nothing() {
    let seed = 5;
    let postgres = Postgres::start().await;
    let mut sandboxes = Vec::new();
    for _ in &VENDORS {
        sandboxes.push(sandbox().await);
    }
    let targets: Vec<_> =
        VENDORS.iter().zip(&sandboxes).map(|(vendor, sandbox)| vendor.setup(sandbox)).collect();
    let replicas = Replicas::start(&postgres, REPLICAS, &targets).await;
    let sender = Sender::to(&replicas);
    let events = company::generate(Shape { users: 300, groups: 20, changes: changes() }, seed);
    let over = CancellationToken::new();
    let killer = tokio::spawn(kill_again_and_again(Arc::clone(&replicas), over.clone(), seed));

    let begun = Instant::now();
    sender.deliver_at(&events, EVENTS_PER_SECOND).await;
    let delivered = begun.elapsed();
    over.cancel();
    let kills = killer.await.unwrap();
    let status = replicas.quiet(0, LIMIT).await;
    println!(
        "seed {seed}: {} events in {delivered:?}, all done after {:?}; {kills} kills; answers {:?}",
        events.len(),
        begun.elapsed(),
        sender.tally().answers
    );

    assert_all_accounted_for(&replicas, 0, &sender, &events).await;
    for (vendor, sandbox) in VENDORS.iter().zip(&sandboxes) {
        let counts = &status["targets"][vendor.name];
        for count in ["pending", "in_flight", "parked", "held"] {
            assert_eq!(counts[count], 0, "{}: {counts}", vendor.name);
        }
        assert_equal_or_tell(sandbox, &events, &replicas, 0).await;
        // A group may wait for whoever has no account there; whether the directories are equal was asked above.
        println!("{}: {} wait, {} members", vendor.name, counts["waiting"], counts["waiting_members"]);
        let calls = sandbox.calls().await;
        let busiest_of = |seconds: u32| busiest(&calls, Duration::from_secs(seconds.into()));
        let (second, minute) = (busiest_of(1), busiest_of(60));
        println!("{}: {} calls, {second} in one second, {minute} in one minute", vendor.name, calls.len());
        assert!(second <= vendor.allows(1), "{}: {second} calls in one second", vendor.name);
        assert!(minute <= vendor.allows(60), "{}: {minute} calls in one minute", vendor.name);
    }
}

/// So that the stream lasts for long enough to be disturbed often.
const EVENTS_PER_SECOND: u32 = 120;

//! How many calls a burst of changes costs, how fast the backlog drains, and whether the vendor's
//! limit is kept meanwhile.
//!
//! The relay is the built program, the vendor a sandbox with a limit of its own. Users and groups
//! exist and are linked before anything is counted. Each change bears its time, so that the end can
//! be held against what was sent last.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use scim_relay::clock::{Clock, SystemClock, Timestamp};
use scim_relay::sandbox::settings::Behaviour;

use crate::bodies;
use crate::home::{Home, Kind};
use crate::load::{self, Hook};
use crate::program::{Program, TargetSetup};
use crate::report::{Figure, Goal};
use crate::watched::{Call, Watched, over, took};

const USERS: usize = 10_000;
const GROUPS: usize = 20;
const BURST_EVENTS: usize = 100_000;
/// About as many events for each permit as 100,000 in a minute at 25 calls a second, the rate that
/// Microsoft Entra asks SCIM services to bear, but in a run that ends sooner.
const BURST_RATE: f64 = 70.0;
const STORM_EVENTS: usize = 5_000;
const STORM_RATE: f64 = 5.0;
const PROVISION_RATE: f64 = 5_000.0;
const CONNECTIONS: usize = 32;
const ENOUGH: Duration = Duration::from_mins(10);
/// Changes are dated from here on, so that none lies in the future.
const DATED_BACK: i64 = 3_600;

/// Runs the burst and the storm.
pub async fn run() -> Vec<Figure> {
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let stage = Stage::set(kind).await;
        stage.provision().await;
        figures.extend(stage.burst().await);
        figures.extend(stage.storm().await);
        stage.vendor.shutdown().await;
    }
    figures
}

/// A vendor, and the home of the relay that keeps it equal.
struct Stage {
    vendor: Watched,
    home: Home,
    began: Timestamp,
}

/// What the vendor saw of one drain.
struct Drain {
    calls: Vec<Call>,
    /// How long it took until everything was accepted.
    posted_in: Duration,
}

impl Stage {
    async fn set(kind: Kind) -> Self {
        Self {
            vendor: Watched::start(Behaviour::default()).await,
            home: Home::new(kind).await,
            began: Timestamp::from_seconds(SystemClock.now().as_seconds() - DATED_BACK),
        }
    }

    async fn provision(&self) {
        let relay = self.relay(PROVISION_RATE, 50).await;
        let users: Vec<usize> = (0..USERS).collect();
        let mut events: Vec<Bytes> =
            users.chunks(20).map(|users| bodies::new_users(users.iter().copied(), self.began)).collect();
        events.push(bodies::new_groups(0..GROUPS, self.began));
        post(&relay, events).await;
        relay.until_quiet(ENOUGH).await;
        relay.stop().await;
    }

    /// Updates of users, some of them far more often than others, as fast as they are taken.
    async fn burst(&self) -> Vec<Figure> {
        let picks = zipf(BURST_EVENTS, USERS, &mut StdRng::seed_from_u64(2));
        let mut titles: BTreeMap<String, String> = BTreeMap::new();
        let mut events = Vec::with_capacity(picks.len());
        for (number, user) in picks.into_iter().enumerate() {
            let title = format!("Title {number}");
            events.push(bodies::new_title(user, &title, self.moment(number)));
            titles.insert(bodies::user_id(user), title);
        }
        let touched = titles.len();
        let drain = self.drain(events, BURST_RATE).await;

        let state = self.vendor.look("state").await;
        for user in state["users"].as_array().expect("a list") {
            let id = user["externalId"].as_str().expect("a text");
            let title = titles.remove(id);
            assert_eq!(user["title"].as_str(), title.as_deref(), "the vendor has the last title of {id}");
        }
        assert!(titles.is_empty(), "the vendor lacks users");
        let note = format!("{BURST_EVENTS} updates of {touched} users of {USERS} (Zipf 1)");
        drain.figures(&self.title("burst"), &note, BURST_EVENTS, BURST_RATE, 10.0)
    }

    /// New members, one an event, over a few groups.
    async fn storm(&self) -> Vec<Figure> {
        let mut users: Vec<usize> = (0..STORM_EVENTS).collect();
        users.shuffle(&mut StdRng::seed_from_u64(3));
        let members = users.into_iter().enumerate();
        let events =
            members.map(|(number, user)| bodies::new_member(user % GROUPS, user, self.moment(number)));
        let drain = self.drain(events.collect(), STORM_RATE).await;

        let state = self.vendor.look("state").await;
        for group in state["groups"].as_array().expect("a list") {
            let members = group["members"].as_array().map_or(0, Vec::len);
            assert_eq!(members, STORM_EVENTS / GROUPS, "the members of {}", group["displayName"]);
        }
        let note = format!("{STORM_EVENTS} new members over {GROUPS} groups");
        drain.figures(&self.title("storm"), &note, STORM_EVENTS, STORM_RATE, 15.0)
    }

    /// Posts everything at once to a relay that may make so many calls a second, and waits for the end.
    async fn drain(&self, events: Vec<Bytes>, rate: f64) -> Drain {
        self.vendor.limit(rate).await;
        let before = self.vendor.seen().await;
        let relay = self.relay(rate, 1).await;
        let posted_in = post(&relay, events).await;
        relay.until_quiet(ENOUGH).await;
        relay.stop().await;
        Drain { posted_in, calls: self.vendor.calls_after(before).await }
    }

    async fn relay(&self, rate_per_second: f64, burst: u32) -> Program {
        let base_url = self.vendor.base_url().to_owned();
        Program::start(&self.home, &TargetSetup { base_url, rate_per_second, burst, bulk: true }).await
    }

    fn title(&self, what: &str) -> String {
        format!("{what} on {}", self.home.kind().name())
    }

    fn moment(&self, number: usize) -> Timestamp {
        self.began.after(Duration::from_millis(1 + number as u64))
    }
}

impl Drain {
    fn figures(&self, name: &str, note: &str, events: usize, rate: f64, fewer: f64) -> Vec<Figure> {
        let calls = self.calls.len();
        let refused = self.calls.iter().filter(|call| !call.done).count();
        let took = took(&self.calls);
        vec![
            Figure::new(
                format!("{name}, events ÷ calls"),
                events as f64 / calls as f64,
                Goal::AtLeast(fewer),
                format!(
                    "{note} in {:.1} s: {calls} calls at {rate}/s, {refused} refused",
                    self.posted_in.as_secs_f64(),
                ),
            ),
            Figure::new(
                format!("{name}, drain ÷ best possible"),
                took.as_secs_f64() / (calls as f64 / rate),
                Goal::AtMost(1.05),
                format!("{:.1} s from the first call to the last", took.as_secs_f64()),
            ),
            Figure::new(
                format!("{name}, share of calls over the limit"),
                over(&self.calls, rate) as f64 / calls as f64,
                Goal::AtMost(0.0),
                format!("more than {rate} in the second that ends with the call"),
            ),
        ]
    }
}

/// Posts everything, and tells how long that took.
async fn post(relay: &Program, events: Vec<Bytes>) -> Duration {
    let hooks: Vec<Hook> = events.into_iter().map(load::hook).collect();
    let sent = hooks.len() as u64;
    let run = load::drive(relay.address, hooks, CONNECTIONS, ENOUGH).await;
    assert_eq!(run.accepted, sent, "every event is posted");
    run.elapsed
}

/// Users drawn by Zipf's law with exponent 1: the n-th is drawn 1/n as often as the first.
fn zipf(draws: usize, users: usize, chance: &mut StdRng) -> Vec<usize> {
    let mut total = 0.0;
    let cumulated: Vec<f64> = (1..=users)
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();
    (0..draws)
        .map(|_| {
            let at = chance.random_range(0.0..total);
            cumulated.partition_point(|sum| *sum <= at).min(users - 1)
        })
        .collect()
}

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
use scim_relay::sandbox::settings::{Auth, Behaviour};
use scim_relay::sandbox::{self, Running, Settings};
use serde_json::{Value, json};

use crate::bodies;
use crate::home::{Home, Kind};
use crate::load::{self, Hook};
use crate::program::{Program, TOKEN, TargetSetup, http_client, read_json};
use crate::report::{Figure, Goal};

const USERS: usize = 10_000;
const GROUPS: usize = 20;
const BURST_EVENTS: usize = 100_000;
/// About as many events for each permit as 100,000 in a minute at 25 calls a second, the rate that
/// Microsoft Entra asks SCIM services to bear, but in a run that ends sooner.
const BURST_RATE: f64 = 70.0;
const STORM_EVENTS: usize = 5_000;
const STORM_RATE: f64 = 5.0;
/// Calls that the vendor takes at once, for those that the machine delayed. What it sees over its
/// rate is counted from its log all the same.
const VENDOR_BURST: u32 = 10;
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
    vendor: Running,
    client: reqwest::Client,
    home: Home,
    began: Timestamp,
}

/// What the vendor saw of one drain.
struct Drain {
    /// When each call came, in microseconds, in order.
    calls_us: Vec<u64>,
    /// Calls that were answered other than 2xx.
    refused: usize,
    /// How long it took until everything was accepted.
    posted_in: Duration,
}

impl Stage {
    async fn set(kind: Kind) -> Self {
        let behaviour = Behaviour { auth: Auth::Bearer(vec![TOKEN.into()]), ..Behaviour::default() };
        let settings = Settings { behaviour, log_entries_max: 1_000_000, ..Settings::default() };
        Self {
            vendor: sandbox::start(settings).await.expect("a free port"),
            client: http_client(),
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

        let state = self.look("state").await;
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

        let state = self.look("state").await;
        for group in state["groups"].as_array().expect("a list") {
            let members = group["members"].as_array().map_or(0, Vec::len);
            assert_eq!(members, STORM_EVENTS / GROUPS, "the members of {}", group["displayName"]);
        }
        let note = format!("{STORM_EVENTS} new members over {GROUPS} groups");
        drain.figures(&self.title("storm"), &note, STORM_EVENTS, STORM_RATE, 15.0)
    }

    /// Posts everything at once to a relay that may make so many calls a second, and waits for the end.
    async fn drain(&self, events: Vec<Bytes>, rate: f64) -> Drain {
        self.limit_vendor(rate).await;
        let before = self.look("counts").await["total"].as_u64().expect("a number");
        let relay = self.relay(rate, 1).await;
        let posted_in = post(&relay, events).await;
        relay.until_quiet(ENOUGH).await;
        relay.stop().await;
        Drain { posted_in, ..self.calls_after(before).await }
    }

    async fn relay(&self, rate_per_second: f64, burst: u32) -> Program {
        let base_url = self.vendor.base_url().to_owned();
        Program::start(&self.home, &TargetSetup { base_url, rate_per_second, burst }).await
    }

    fn title(&self, what: &str) -> String {
        format!("{what} on {}", self.home.kind().name())
    }

    fn moment(&self, number: usize) -> Timestamp {
        self.began.after(Duration::from_millis(1 + number as u64))
    }

    async fn limit_vendor(&self, rate: f64) {
        let limit = json!({"per_second": rate, "burst": VENDOR_BURST}).to_string();
        let request =
            self.client.put(self.url("rate")).header("content-type", "application/json").body(limit);
        let status = request.send().await.expect("an answer").status();
        assert!(status.is_success(), "the vendor takes its limit: {status}");
    }

    async fn calls_after(&self, mut number: u64) -> Drain {
        let mut drain = Drain { calls_us: Vec::new(), refused: 0, posted_in: Duration::ZERO };
        loop {
            let page = self.look(&format!("requests?after={number}&limit=10000")).await;
            let calls = page["requests"].as_array().expect("a list");
            let Some(last) = calls.last() else { break };
            number = last["number"].as_u64().expect("a number");
            for call in calls {
                drain.calls_us.push(call["time_us"].as_u64().expect("a number"));
                let done = call["status"].as_u64().is_some_and(|status| (200..300).contains(&status));
                drain.refused += usize::from(!done);
            }
        }
        drain.calls_us.sort_unstable();
        drain
    }

    async fn look(&self, what: &str) -> Value {
        read_json(self.client.get(self.url(what)).send().await.expect("an answer")).await
    }

    fn url(&self, what: &str) -> String {
        format!("http://{}/_sandbox/{what}", self.vendor.addr())
    }
}

impl Drain {
    fn figures(&self, name: &str, note: &str, events: usize, rate: f64, fewer: f64) -> Vec<Figure> {
        let calls = self.calls_us.len();
        let took = self.took();
        vec![
            Figure::new(
                format!("{name}, events ÷ calls"),
                events as f64 / calls as f64,
                Goal::AtLeast(fewer),
                format!(
                    "{note} in {:.1} s: {calls} calls at {rate}/s, {} refused",
                    self.posted_in.as_secs_f64(),
                    self.refused
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
                self.over(rate) as f64 / calls as f64,
                Goal::AtMost(0.0),
                format!("more than {rate} in the second that ends with the call"),
            ),
        ]
    }

    fn took(&self) -> Duration {
        let (first, last) = (self.calls_us.first(), self.calls_us.last());
        Duration::from_micros(last.zip(first).map_or(0, |(last, first)| last - first))
    }

    /// Calls with more than the limit in the second that ends with them; one more than the rate is
    /// what a bucket that holds one call allows.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole rate")]
    fn over(&self, rate: f64) -> usize {
        let allowed = rate as usize + 1;
        self.calls_us.windows(allowed + 1).filter(|calls| calls[allowed] - calls[0] < 1_000_000).count()
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

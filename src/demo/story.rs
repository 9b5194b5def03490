//! The demonstration from beginning to end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::{StartError, start};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Environment, Problem};
use crate::demo::company::{self, Event, Shape};
use crate::demo::proof::{Holdings, ReadError};
use crate::http::console;
use crate::sandbox::settings::{Auth, RateLimit};
use crate::sandbox::{self, Behaviour, Fault};
use crate::source::signature::standard_webhooks;
use crate::telemetry::metrics::Metrics;

/// How large the company is.
const SHAPE: Shape = Shape { users: 120, groups: 10, changes: 900 };
/// Posts under way at once.
const SENDERS: usize = 8;
/// How long the vendors may take to end equal.
const CONVERGE_MAX: Duration = Duration::from_mins(3);
/// The person who leaves while everything else is under way.
const LEAVER: &str = "u-leaver";

/// What the demonstration is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Leave relay and vendors running at the end.
    pub keep: bool,
    /// Seed of the company's changes and of the vendors' faults.
    pub seed: u64,
}

/// Why the demonstration did not come to its proof.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The terminal, a port, a temporary file.
    #[error("use this machine")]
    Io(#[from] io::Error),
    /// The demonstration's own configuration: a bug.
    #[error("use the demonstration's configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<Problem>),
    /// The relay.
    #[error("start the relay")]
    Start(#[from] StartError),
    /// A post or a look.
    #[error("talk to the relay")]
    Http(#[from] reqwest::Error),
    /// The relay refused an event: a bug.
    #[error("post an event: the relay answered {status}: {body}")]
    Refused {
        /// The status.
        status: u16,
        /// The problem.
        body: String,
    },
    /// A vendor.
    #[error("read a vendor")]
    Vendor(#[from] ReadError),
    /// The proof failed.
    #[error("converge: {0}")]
    NotEqual(String),
}

/// A vendor of the demonstration.
struct Vendor {
    name: &'static str,
    what: &'static str,
    rate_per_second: f64,
    running: sandbox::Running,
}

/// Runs the demonstration; `Ok` only when every vendor ended equal to the directory.
pub async fn run(options: Options, out: &mut impl Write) -> Result<(), DemoError> {
    let token = uuid::Uuid::new_v4().to_string();
    let secret = SecretString::from(uuid::Uuid::new_v4().to_string());
    let admin_key = uuid::Uuid::new_v4().to_string();
    let vendors = vendors(&token, options.seed).await?;
    let folder = tempfile::tempdir()?;
    let config = configuration(&vendors, &token, &secret, &admin_key, &folder.path().join("relay.db"))?;
    let relay = start(&config, Arc::new(SystemClock), Metrics::new()).await?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let stage = Stage { client, url: format!("http://{}", relay.public()), secret, admin_key };

    let events = company::generate(SHAPE, options.seed);
    introduce(out, &vendors, &events)?;
    let began = Instant::now();
    let leaver_took = stage.perform(&events, &vendors).await?;
    let took = began.elapsed();

    let told: Vec<Event> = events.iter().cloned().chain([hire(), leave()]).collect();
    let directory = company::directory(&told);
    let mut unequal = Vec::new();
    let changes: usize = told.iter().map(|event| event.changes.len()).sum();
    writeln!(out, "\nThe proof, read from each vendor page by page:")?;
    for vendor in &vendors {
        // The proof is about what the vendors hold, not about reading through faults.
        stage.calm(vendor).await?;
        let holdings = Holdings::read(&stage.client, vendor.running.base_url(), &token).await?;
        let differences = holdings.differences(&directory);
        let calls = stage.vendor_calls(vendor).await?;
        let verdict =
            if differences.is_empty() { "equal to the directory" } else { "NOT equal to the directory" };
        writeln!(
            out,
            "  {:<8} {verdict}: {} users, {} groups; {calls} calls for {changes} changes ({} calls per change)",
            vendor.name,
            holdings.users.len(),
            holdings.groups.len(),
            ratio(calls, changes),
        )?;
        unequal.extend(differences.into_iter().map(|difference| format!("{}: {difference}", vendor.name)));
    }
    writeln!(out, "Converged in {:.1} s from the first event.", took.as_secs_f64())?;
    for (name, took) in &leaver_took {
        writeln!(
            out,
            "The leaver's access at {name} ended {} ms after the event, in the midst of it all.",
            took.as_millis()
        )?;
    }
    if options.keep {
        let (url, key) = (&stage.url, &stage.admin_key);
        writeln!(out, "\nStill running. Console: {url}{}\nAdmin key: {key}\nCtrl-C ends it.", console::PATH)?;
        out.flush()?;
        tokio::signal::ctrl_c().await?;
    }
    relay.shutdown().await;
    for vendor in vendors {
        vendor.running.shutdown().await;
    }
    if unequal.is_empty() { Ok(()) } else { Err(DemoError::NotEqual(unequal.join("; "))) }
}

/// Two decimals, in whole numbers: there is no need for more.
fn ratio(calls: u64, changes: usize) -> String {
    let hundredths = calls.saturating_mul(100) / (changes as u64).max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// The leaver comes before everybody else …
fn hire() -> Event {
    let change = json!({ "op": "user.upsert", "id": LEAVER, "occurred_at": "2024-01-01T00:00:00Z",
        "attributes": { "userName": "leaver@example.com", "active": true } });
    Event { id: "evt-hire".to_owned(), changes: vec![change] }
}

/// … and goes in the midst of it all.
fn leave() -> Event {
    let change = json!({ "op": "user.deactivate", "id": LEAVER, "occurred_at": "2024-06-30T00:00:00Z" });
    Event { id: "evt-leave".to_owned(), changes: vec![change] }
}

fn introduce(out: &mut impl Write, vendors: &[Vendor], events: &[Event]) -> io::Result<()> {
    let changes: usize = events.iter().map(|event| event.changes.len()).sum();
    writeln!(
        out,
        "A company of {} people in {} groups: {changes} changes in {} signed events, some twice, many out of order.",
        SHAPE.users,
        SHAPE.groups,
        events.len()
    )?;
    for vendor in vendors {
        writeln!(out, "  {:<8} {}", vendor.name, vendor.what)?;
    }
    writeln!(out)
}

async fn vendors(token: &str, seed: u64) -> Result<Vec<Vendor>, DemoError> {
    let wild = ["503:0.02", "500-after:0.02", "lost:0.02", "edit:every=20"];
    let strict = ["edit:every=30"];
    Ok(vec![
        vendor(
            "acme",
            "fast, but loses calls and answers, and people edit it by hand",
            400.0,
            400.0,
            &wild,
            token,
            seed,
        )
        .await?,
        vendor(
            "globex",
            "well-behaved, but takes only 60 calls a second",
            60.0,
            70.0,
            &strict,
            token,
            seed + 1,
        )
        .await?,
    ])
}

async fn vendor(
    name: &'static str,
    what: &'static str,
    rate_per_second: f64,
    limit: f64,
    faults: &[&str],
    token: &str,
    seed: u64,
) -> Result<Vendor, DemoError> {
    let behaviour = Behaviour {
        auth: Auth::Bearer(vec![token.into()]),
        rate: Some(RateLimit::new(limit, 20)),
        ..Behaviour::default()
    };
    let faults = faults.iter().map(|fault| Fault::parse(fault).map_err(io::Error::other));
    let faults = faults.collect::<Result<_, _>>()?;
    let settings = sandbox::Settings {
        behaviour,
        faults,
        seed,
        latency: Duration::from_millis(2),
        ..Default::default()
    };
    Ok(Vendor { name, what, rate_per_second, running: sandbox::start(settings).await? })
}

fn configuration(
    vendors: &[Vendor],
    token: &str,
    secret: &SecretString,
    admin_key: &str,
    database: &std::path::Path,
) -> Result<Config, DemoError> {
    use std::fmt::Write as _;

    use secrecy::ExposeSecret as _;
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"sqlite://{}\"\n\
         [[admin.keys]]\nname = \"demo\"\nsecret = \"{admin_key}\"\nrole = \"admin\"\n\
         [sources.hr]\nkind = \"native\"\nsecrets = [\"{}\"]\n",
        database.display(),
        secret.expose_secret()
    );
    for vendor in vendors {
        let _ = write!(
            text,
            "[targets.{}]\nprofile = \"rfc7644\"\nbase_url = \"{}\"\nauth = {{ type = \"bearer\", token = \"{token}\" }}\n\
             limits = {{ rate_per_second = {}, concurrency = 8 }}\n{UNGUARDED}\n",
            vendor.name,
            vendor.running.base_url(),
            vendor.rate_per_second
        );
    }
    let parsed = Config::parse(&text, "demo", std::path::Path::new(""), &Environment::default());
    parsed.map(|(config, _)| config).map_err(DemoError::Config)
}

/// Years of leavers in a few seconds are what the demonstration is about.
const UNGUARDED: &str = "guard = false";

/// The relay as the demonstration sees it: from outside.
struct Stage {
    client: reqwest::Client,
    url: String,
    secret: SecretString,
    admin_key: String,
}

impl Stage {
    /// Posts everything, with somebody who leaves in the midst of it, and waits until all is quiet.
    /// Answers for how long the leaver kept access, per vendor.
    async fn perform(
        &self,
        events: &[Event],
        vendors: &[Vendor],
    ) -> Result<BTreeMap<&'static str, Duration>, DemoError> {
        let bars = Bars::new(events.len(), vendors);
        self.post(&hire()).await?;
        let (first, rest) = events.split_at(events.len() / 2);
        self.post_all(first, &bars.posted).await?;
        let deadline = Instant::now() + CONVERGE_MAX;
        let mut tick = tokio::time::interval(Duration::from_millis(25));
        for vendor in vendors {
            while self.access(vendor).await? != Some(true) {
                in_time(deadline, "the leaver was not hired")?;
                tick.tick().await;
            }
        }
        let left = Instant::now();
        self.post(&leave()).await?;
        let (took, ()) =
            tokio::try_join!(self.watch_the_leaver(vendors, left), self.post_all(rest, &bars.posted))?;
        bars.posted.finish();
        while !bars.show(&self.admin("/status").await?) {
            in_time(deadline, "the backlog is not empty")?;
            tick.tick().await;
        }
        Ok(took)
    }

    /// How long after `left` each vendor has ended the leaver's access.
    async fn watch_the_leaver(
        &self,
        vendors: &[Vendor],
        left: Instant,
    ) -> Result<BTreeMap<&'static str, Duration>, DemoError> {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let mut took = BTreeMap::new();
        while took.len() < vendors.len() {
            for vendor in vendors.iter().filter(|vendor| !took.contains_key(vendor.name)).collect::<Vec<_>>()
            {
                if self.access(vendor).await? == Some(false) {
                    took.insert(vendor.name, left.elapsed());
                }
            }
            in_time(left + CONVERGE_MAX, "the leaver still has access")?;
            tick.tick().await;
        }
        Ok(took)
    }

    async fn post_all(&self, events: &[Event], posted: &ProgressBar) -> Result<(), DemoError> {
        let mut posts = futures_util::stream::iter(events)
            .map(|event| async move {
                self.post(event).await?;
                posted.inc(1);
                Ok::<(), DemoError>(())
            })
            .buffer_unordered(SENDERS);
        while let Some(result) = posts.next().await {
            result?;
        }
        Ok(())
    }

    async fn post(&self, event: &Event) -> Result<(), DemoError> {
        let body = event.body();
        let now = SystemClock.now();
        let signature = standard_webhooks::sign(&self.secret, &event.id, now, body.as_bytes());
        let answer = self
            .client
            .post(format!("{}/webhooks/hr", self.url))
            .header("content-type", "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now.as_seconds().to_string())
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(DemoError::Refused { status: status.as_u16(), body: answer.text().await? })
    }

    /// Whether the leaver has access at a vendor; `None` before there is an account.
    async fn access(&self, vendor: &Vendor) -> Result<Option<bool>, DemoError> {
        let state = self.look(vendor, "state").await?;
        let users = state["users"].as_array().map_or(&[][..], Vec::as_slice);
        let account = users.iter().find(|user| user["externalId"] == LEAVER);
        Ok(account.map(|account| account["active"] != false))
    }

    async fn admin(&self, path: &str) -> Result<Value, DemoError> {
        let request = self.client.get(format!("{}/admin/v1{path}", self.url)).bearer_auth(&self.admin_key);
        let text = request.send().await?.text().await?;
        serde_json::from_str(&text).map_err(|error| DemoError::Io(io::Error::other(error)))
    }

    async fn calm(&self, vendor: &Vendor) -> Result<(), DemoError> {
        let url = format!("http://{}/_sandbox/faults", vendor.running.addr());
        let request = self.client.put(url).header("content-type", "application/json").body("[]");
        request.send().await?.error_for_status()?;
        Ok(())
    }

    async fn vendor_calls(&self, vendor: &Vendor) -> Result<u64, DemoError> {
        Ok(self.look(vendor, "counts").await?["total"].as_u64().unwrap_or(0))
    }

    /// What the sandbox itself says.
    async fn look(&self, vendor: &Vendor, what: &str) -> Result<Value, DemoError> {
        let url = format!("http://{}/_sandbox/{what}", vendor.running.addr());
        let text = self.client.get(url).send().await?.text().await?;
        serde_json::from_str(&text).map_err(|error| DemoError::Io(io::Error::other(error)))
    }
}

fn in_time(deadline: Instant, what: &str) -> Result<(), DemoError> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(DemoError::NotEqual(format!("{what} within {CONVERGE_MAX:?}")))
}

/// What the terminal shows meanwhile; nothing where it is no terminal.
struct Bars {
    posted: ProgressBar,
    backlogs: BTreeMap<String, ProgressBar>,
    _all: MultiProgress,
}

impl Bars {
    fn new(events: usize, vendors: &[Vendor]) -> Self {
        let all = MultiProgress::new();
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let posted = all.add(ProgressBar::new(events as u64));
        posted.set_style(style("  events   [{bar:40}] {pos}/{len} accepted"));
        let backlogs = vendors.iter().map(|vendor| {
            let bar = all.add(ProgressBar::new(1));
            bar.set_style(style("  {prefix:<8} [{bar:40}] {msg}"));
            bar.set_prefix(vendor.name);
            (vendor.name.to_owned(), bar)
        });
        Self { posted, backlogs: backlogs.collect(), _all: all }
    }

    /// Shows the backlog; true when there is none.
    fn show(&self, status: &Value) -> bool {
        let unprojected = status["inbox"]["unprojected"].as_u64().unwrap_or(u64::MAX);
        let mut quiet = unprojected == 0;
        for (name, bar) in &self.backlogs {
            let target = &status["targets"][name.as_str()];
            let count = |key: &str| target[key].as_u64().unwrap_or(u64::MAX);
            let left = count("pending").saturating_add(count("in_flight"));
            quiet &= left == 0;
            if bar.length().is_none_or(|length| length < left) {
                bar.set_length(left);
            }
            bar.set_position(bar.length().unwrap_or(left).saturating_sub(left));
            bar.set_message(format!("{left} resources to go"));
        }
        if quiet {
            for bar in self.backlogs.values() {
                bar.finish_with_message("quiet");
            }
        }
        quiet
    }
}

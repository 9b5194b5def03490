//! The built program, as an operator runs it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::home::Home;

/// The signing secret of the source `hr`.
pub const SECRET: &str = "a secret that only the benchmarks know";
/// The token that vendors want.
pub const TOKEN: &str = "a-token-of-the-benchmarks";
const ADMIN_KEY: &str = "an-admin-key-of-the-benchmarks";
/// How often a running relay is asked for its status.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The one target: its address and its limits.
#[derive(Clone, Debug)]
pub struct TargetSetup {
    /// Where its SCIM service is.
    pub base_url: String,
    /// Calls a second.
    pub rate_per_second: f64,
    /// Calls at once after a quiet time.
    pub burst: u32,
    /// Whether bulk requests may be sent where the vendor takes them.
    pub bulk: bool,
}

/// The configuration of a relay with this store.
pub fn configuration(home: &Home, target: &TargetSetup) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{}\"\n\
         [[admin.keys]]\nname = \"benchmarks\"\nsecret = \"{ADMIN_KEY}\"\nrole = \"admin\"\n\
         [sources.hr]\nkind = \"native\"\nsecrets = [\"{SECRET}\"]\n\
         [targets.vendor]\nprofile = \"rfc7644\"\nbase_url = \"{}\"\nauth = {{ type = \"bearer\", token = \"{TOKEN}\" }}\n\
         limits = {{ rate_per_second = {}, burst = {}, concurrency = 16 }}\nbulk = \"{}\"\n\
         guard = {{ max_destructive = 10000000, max_percent = 100, always_allowed = 10000000, max_removals = 10000000 }}\n",
        home.url(),
        target.base_url,
        target.rate_per_second,
        target.burst,
        if target.bulk { "auto" } else { "off" },
    )
}

/// A client for loopback.
pub fn http_client() -> reqwest::Client {
    // Somebody may have been first.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(1)).build().expect("a client")
}

/// A relay in a process of its own; it is killed when this is dropped.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start to the line that says where it listens.
    pub started_in: Duration,
    client: reqwest::Client,
}

impl Program {
    /// Starts it, and waits until it listens.
    pub async fn start(home: &Home, target: &TargetSetup) -> Self {
        let config = home.folder().join("relay.toml");
        std::fs::write(&config, configuration(home, target)).expect("a folder that can be written");
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_scim-relay"))
            .args(["serve", "--config"])
            .arg(config)
            .env("SCIM_RELAY_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the built program");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = lines.next_line().await.expect("text").expect("the relay starts");
        let started_in = began.elapsed();
        let address = line.strip_prefix("listening on http://").expect("where it listens");
        Self {
            child,
            address: address.trim().parse().expect("an address"),
            started_in,
            client: http_client(),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The backlog.
    pub async fn status(&self) -> Value {
        let request = self.client.get(self.admin("/status")).bearer_auth(ADMIN_KEY);
        read_json(request.send().await.expect("an answer")).await
    }

    /// Stops calls to the target.
    pub async fn pause_target(&self) {
        self.order("pause").await;
    }

    /// Lets calls to the target go again.
    pub async fn resume_target(&self) {
        self.order("resume").await;
    }

    async fn order(&self, what: &str) {
        let request = self.client.post(self.admin(&format!("/targets/vendor/{what}"))).bearer_auth(ADMIN_KEY);
        let status = request.send().await.expect("an answer").status();
        assert!(status.is_success(), "the target takes its {what}: {status}");
    }

    /// Waits until a status is as wanted.
    pub async fn until(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status().await;
            if wanted(&status) {
                return;
            }
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}; {status}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until everything that was accepted is applied; fails if anything was parked.
    pub async fn until_quiet(&self, limit: Duration) {
        self.until("all is applied", limit, |status| {
            let target = &status["targets"]["vendor"];
            assert_eq!(target["parked"], 0, "{status}");
            status["inbox"]["unprojected"] == 0 && target["pending"] == 0 && target["in_flight"] == 0
        })
        .await;
    }

    /// Has the vendor compared with the directory; answers how that ended.
    pub async fn resync(&self, limit: Duration) -> Value {
        let begun = self.client.post(self.admin("/targets/vendor/resyncs")).bearer_auth(ADMIN_KEY);
        let begun = begun.send().await.expect("an answer");
        assert_eq!(begun.status(), 202);
        let begun = begun.bytes().await.expect("a body");
        let begun: Value = serde_json::from_slice(&begun).expect("JSON");
        let path = format!("/resyncs/{}", begun["id"].as_str().expect("a name"));
        let deadline = Instant::now() + limit;
        loop {
            let request = self.client.get(self.admin(&path)).bearer_auth(ADMIN_KEY);
            let view = read_json(request.send().await.expect("an answer")).await;
            if !matches!(view["state"].as_str(), Some("waiting" | "running")) {
                return view;
            }
            assert!(Instant::now() < deadline, "not within {limit:?}: {view}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it as an operator does.
    pub async fn stop(mut self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill");
        assert!(sent.success());
        let ended = self.child.wait().await.expect("it ends");
        assert!(ended.success(), "the relay ended with {ended}");
    }

    fn admin(&self, path: &str) -> String {
        format!("http://{}/admin/v1{path}", self.address)
    }
}

/// The JSON of an answer that must be 200.
pub async fn read_json(answer: reqwest::Response) -> Value {
    assert_eq!(answer.status(), 200);
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

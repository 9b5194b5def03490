//! The relay as its users run it: the built program, a configuration file, HTTP.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{eventually, http_client, signal};

/// The signing secret of the tests' source.
pub const SECRET: &str = "a secret that only the tests know";
/// The admin key of the tests.
pub const ADMIN_KEY: &str = "an-admin-key-that-only-the-tests-know";

/// One vendor in the configuration.
#[derive(Clone, Debug)]
pub struct TargetSetup {
    pub name: String,
    pub base_url: String,
    /// The value of its `auth`.
    pub auth: String,
    pub profile: String,
    /// Whether several operations may go in one request: `auto` or `off`.
    pub bulk: &'static str,
    /// Further lines of its section.
    pub extra: String,
    /// Whether the relay reads what the vendor says of itself, calls that most tests would have to
    /// leave out of their count.
    pub discovery: &'static str,
    /// The line about the guard: off, since most tests are about everything that is said being done.
    pub guard: &'static str,
}

impl TargetSetup {
    pub fn new(name: &str, base_url: impl Into<String>, token: &str) -> Self {
        Self {
            name: name.to_owned(),
            base_url: base_url.into(),
            auth: format!("{{ type = \"bearer\", token = \"{token}\" }}"),
            profile: "rfc7644".to_owned(),
            bulk: "off",
            extra: "limits = { rate_per_second = 2000, burst = 50, concurrency = 8 }\n".to_owned(),
            discovery: "off",
            guard: "guard = false",
        }
    }

    pub fn with(mut self, extra: &str) -> Self {
        extra.clone_into(&mut self.extra);
        self
    }

    pub fn with_guard(mut self, line: &'static str) -> Self {
        self.guard = line;
        self
    }

    pub fn with_bulk(mut self) -> Self {
        self.bulk = "auto";
        self
    }

    pub fn with_auth(mut self, auth: &str) -> Self {
        auth.clone_into(&mut self.auth);
        self
    }

    pub fn with_profile(mut self, profile: &str) -> Self {
        profile.clone_into(&mut self.profile);
        self
    }

    fn section(&self) -> String {
        let Self { name, base_url, auth, profile, bulk, discovery, guard, extra } = self;
        format!(
            "\n[targets.{name}]\nprofile = \"{profile}\"\nbase_url = \"{base_url}\"\nauth = {auth}\nbulk = \"{bulk}\"\n\
             discovery = \"{discovery}\"\n{guard}\n{extra}"
        )
    }
}

/// A relay's folder: configuration and database outlive the process.
pub struct Home {
    folder: tempfile::TempDir,
}

/// A running relay.
pub struct Relay {
    child: Child,
    /// Where webhooks are taken.
    pub url: String,
    /// Where the admin API is; the same unless it has a listener of its own.
    pub admin_url: String,
    client: reqwest::Client,
}

impl Home {
    pub fn new(targets: &[TargetSetup]) -> Self {
        Self::with_server_lines("", targets)
    }

    pub fn with_server_lines(server: &str, targets: &[TargetSetup]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = format!("sqlite://{}", folder.path().join("relay.db").display());
        Self::write(folder, server, &store, targets)
    }

    /// One whose memory is elsewhere.
    pub fn on(store: &str, targets: &[TargetSetup]) -> Self {
        Self::write(tempfile::tempdir().expect("a temporary folder"), "", store, targets)
    }

    fn write(folder: tempfile::TempDir, server: &str, store: &str, targets: &[TargetSetup]) -> Self {
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n{server}\n[store]\nurl = \"{store}\"\n\n\
             [[admin.keys]]\nname = \"tests\"\nsecret = \"{ADMIN_KEY}\"\nrole = \"admin\"\n\n\
             [[admin.keys]]\nname = \"looker\"\nsecret = \"{ADMIN_KEY}-to-look\"\nrole = \"viewer\"\n\n\
             [sources.hr]\nkind = \"native\"\nsecrets = [\"an older secret\", \"{SECRET}\"]\n"
        );
        for target in targets {
            text.push_str(&target.section());
        }
        std::fs::write(folder.path().join("relay.toml"), text).expect("a writable folder");
        Self { folder }
    }

    /// With one more target.
    pub fn with_target(self, target: &TargetSetup) -> Self {
        self.append(&target.section());
        self
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Adds lines to the end of the configuration.
    pub fn append(&self, lines: &str) {
        let text = std::fs::read_to_string(self.config()).expect("written above");
        std::fs::write(self.config(), text + lines).expect("a writable folder");
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("relay.toml")
    }

    /// Starts the relay and waits until it says where it listens.
    pub async fn start(&self) -> Relay {
        self.start_by(&[]).await
    }

    /// Starts the relay by way of another program, such as `prlimit`, whose arguments come first.
    pub async fn start_by(&self, before: &[&str]) -> Relay {
        let program = env!("CARGO_BIN_EXE_scim-relay");
        let mut line = before.iter().copied().chain([program]);
        let mut command = Command::new(line.next().expect("the program at least"));
        command
            .args(line)
            .env("SCIM_RELAY_LOG", std::env::var("SCIM_RELAY_LOG").unwrap_or_else(|_| "warn".to_owned()));
        self.start_as(command).await
    }

    /// Starts the relay by a command of the caller's, which lacks the arguments.
    pub async fn start_as(&self, mut command: Command) -> Relay {
        let mut child = command
            .args(["serve", "--config"])
            .arg(self.config())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the built program");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut next_address = async || {
            loop {
                let line =
                    lines.next_line().await.expect("readable").expect("the relay ended before it listened");
                if let Some(url) = line.strip_prefix("listening on ") {
                    break url.trim().to_owned();
                }
            }
        };
        let url = next_address().await;
        let two = std::fs::read_to_string(self.config()).expect("written above").contains("admin_listen");
        let admin_url = if two { next_address().await } else { url.clone() };
        // The pipe is read to its end, so that the relay never blocks on it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Relay { child, url, admin_url, client: http_client() }
    }
}

/// Prometheus text.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of a metric over every set of labels that holds these.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |line: &str| labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")));
        let of_name = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && has(line)
        };
        let lines: Vec<&str> = self.0.lines().filter(of_name).collect();
        assert!(!lines.is_empty(), "no {name} with {labels:?} in:\n{}", self.0);
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().expect("a number")).sum()
    }

    /// The same of a metric that counts.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.value(name, labels).to_string().parse().expect("a whole number")
    }
}

/// The three headers of a signed webhook.
pub fn signed_headers(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> [(&'static str, String); 3] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    let signature = BASE64.encode(mac.finalize().into_bytes());
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", format!("v1,{signature}")),
    ]
}

/// Now, in seconds since the Unix epoch.
pub fn now_seconds() -> i64 {
    use scim_relay::clock::Clock as _;
    scim_relay::clock::SystemClock.now().as_seconds()
}

impl Relay {
    /// Posts a signed event.
    pub async fn post(&self, id: &str, body: &str) -> reqwest::Result<reqwest::Response> {
        self.post_as(&signed_headers(SECRET, id, now_seconds(), body.as_bytes()), body.into()).await
    }

    /// Posts a body under these headers.
    pub async fn post_as(
        &self,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> reqwest::Result<reqwest::Response> {
        let mut request =
            self.client.post(format!("{}/webhooks/hr", self.url)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        request.body(body).send().await
    }

    /// Posts one event of these changes and expects it to be accepted.
    pub async fn changes(&self, id: &str, changes: &Value) {
        self.accept(id, &serde_json::json!({ "changes": changes }).to_string()).await;
    }

    /// Posts a signed event and expects it to be accepted, or known.
    pub async fn accept(&self, id: &str, body: &str) {
        let answer = self.post(id, body).await.expect("an answer");
        let status = answer.status().as_u16();
        assert!(status == 202 || status == 200, "{status}: {}", answer.text().await.unwrap_or_default());
    }

    /// GET below `/admin/v1`.
    pub async fn admin(&self, path: &str) -> Value {
        let answer = self.admin_request(reqwest::Method::GET, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        answer.json_value().await
    }

    /// Any admin call, its status unchecked.
    pub async fn admin_request(&self, method: reqwest::Method, path: &str) -> reqwest::Response {
        let request =
            self.client.request(method, format!("{}/admin/v1{path}", self.admin_url)).bearer_auth(ADMIN_KEY);
        request.send().await.expect("an answer")
    }

    /// POST below `/admin/v1`, which must work.
    pub async fn act(&self, path: &str) {
        let answer = self.admin_request(reqwest::Method::POST, path).await;
        let status = answer.status();
        assert!(status.is_success(), "{path}: {status}: {}", answer.text().await.unwrap_or_default());
    }

    /// The items of a list below `/admin/v1`, which must fit one page.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        let page = self.admin(path).await;
        assert_eq!(page["next_cursor"], Value::Null, "{path} has more than one page");
        page["items"].as_array().expect("a list").clone()
    }

    /// The ledger of one user or group, oldest first, as `operation outcome`.
    pub async fn story(&self, resource: &str) -> Vec<String> {
        let entries = self.items(&format!("/ledger?resource={resource}&limit=1000")).await;
        let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
        let line = |entry: &Value| format!("{} {}", text(entry, "operation"), text(entry, "outcome"));
        entries.iter().rev().map(line).collect()
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> Metrics {
        let answer = self.client.get(format!("{}/metrics", self.admin_url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        Metrics(answer.text().await.expect("a body"))
    }

    /// Waits until a target's part of the status is as wanted, and answers it.
    pub async fn until(
        &self,
        target: &str,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = Value::Null;
        eventually(what, limit, async || {
            last = self.admin("/status").await["targets"][target].clone();
            wanted(&last).then(|| last.clone())
        })
        .await
    }

    /// Waits until everything accepted is applied or accounted for.
    pub async fn quiet(&self, target: &str, limit: Duration) -> Value {
        eventually("the backlog is empty", limit, async || {
            let status = self.admin("/status").await;
            let counts = &status["targets"][target];
            let quiet =
                status["inbox"]["unprojected"] == 0 && counts["pending"] == 0 && counts["in_flight"] == 0;
            quiet.then_some(status)
        })
        .await
    }

    /// SIGKILL: no goodbye.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killable");
    }

    /// SIGTERM, and the exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        signal(self.pid(), "TERM");
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        status.expect("ends within its grace").expect("waited for").code()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("running")
    }
}

/// reqwest is built without its `json` feature.
pub trait JsonValue {
    /// The body as JSON.
    async fn json_value(self) -> Value;
}

impl JsonValue for reqwest::Response {
    async fn json_value(self) -> Value {
        let text = self.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

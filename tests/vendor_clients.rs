//! The sandbox as vendors' own clients see it: they know their vendor's API and nothing of the relay, so
//! what they do not understand is the sandbox's mistake, or a profile's.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use scim_relay::sandbox::settings::{Auth, ETagForm, Versions};
use scim_relay::sandbox::{self, Behaviour, Running, Settings};
use scim_relay::target::Profile;
use tokio::process::Command;

const CLIENT_ID: &str = "the-client";
const TOKEN: &str = "a-token-of-the-tests";

/// A few dozen calls over the loopback; reading one of the clients takes Python longer than all of them.
const RUN_MAX: Duration = Duration::from_mins(5);

#[tokio::test]
async fn the_client_of_genesys_cloud_finds_its_vendor_in_the_sandbox() {
    let behaviour = playing("genesys-cloud", "/api/v2/scim/v2");
    let etag = Versions { form: ETagForm::Strong, ..behaviour.etag };
    let auth = Auth::OAuth2 {
        client_id: CLIENT_ID.to_owned(),
        client_secret: TOKEN.into(),
        token_life: Duration::from_hours(1),
    };
    let vendor = start(Behaviour { etag, auth, ..behaviour }, &["Agents"]).await;
    let steps = run("genesys_client.py", &[&origin(&vendor), CLIENT_ID, TOKEN]).await;
    assert_eq!(steps, ["token", "discovery", "create", "search", "versions", "members", "leave"]);
    vendor.shutdown().await;
}

#[tokio::test]
async fn the_client_of_slack_finds_its_vendor_in_the_sandbox() {
    let vendor = start(playing("slack", "/scim/v2"), &[]).await;
    let steps = run("slack_client.py", &[&format!("{}/", vendor.base_url()), TOKEN]).await;
    assert_eq!(steps, ["create", "search", "change", "members", "leave"]);
    vendor.shutdown().await;
}

#[tokio::test]
async fn the_client_of_databricks_finds_its_vendor_in_the_sandbox() {
    // The client names no schema in what it creates and replaces.
    let behaviour = playing("databricks-account", "/api/2.0/accounts/acme/scim/v2");
    let vendor = start(Behaviour { schemas_required: false, ..behaviour }, &[]).await;
    let steps = run("databricks_client.py", &[&origin(&vendor), "acme", TOKEN]).await;
    assert_eq!(steps, ["create", "search", "change", "members", "leave"]);
    vendor.shutdown().await;
}

/// A profile's vendor at this path. How much it takes has tests of its own.
fn playing(profile: &str, base_path: &str) -> Behaviour {
    let behaviour = Behaviour::from(&Profile::builtin(profile).unwrap());
    let auth = Auth::Bearer(vec![TOKEN.into()]);
    Behaviour { base_path: base_path.to_owned(), auth, rate: None, ..behaviour }
}

async fn start(behaviour: Behaviour, groups: &[&str]) -> Running {
    let groups = groups.iter().map(|&name| name.to_owned()).collect();
    sandbox::start(Settings { behaviour, groups, ..Settings::default() }).await.unwrap()
}

fn origin(vendor: &Running) -> String {
    format!("http://{}", vendor.addr())
}

/// Lets a client do its work; answers the steps that it came through.
async fn run(script: &str, arguments: &[&str]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    // What the machine is set up with for the real vendor is none of the test's.
    let command = Command::new(python())
        .arg("-I")
        .arg(&script)
        .args(arguments)
        .env_clear()
        .env("HOME", "/nonexistent")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(RUN_MAX, command).await.expect("the client ends").unwrap();
    let steps = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed after {steps:?}:\n{complaints}", script.display());
    steps.lines().map(str::to_owned).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the virtual environment is the test runner's, not the service's"
)]
fn python() -> PathBuf {
    let venv = env::var_os("SCIM_RELAY_TEST_VENV")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"), PathBuf::from);
    let python = venv.join("bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run the tests through ./scripts/test, which makes the virtual environment, \
         or set SCIM_RELAY_TEST_VENV to one that has what tests/peers/requirements.txt names",
        python.display()
    );
    python
}

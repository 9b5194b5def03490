//! The other commands, as they are typed.

use std::process::{Output, Stdio};
use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::support::http_client;
use crate::support::relay::{Home, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    command.env("SCIM_RELAY_LOG", "warn").kill_on_drop(true);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn run(arguments: &[&str]) -> Output {
    program().args(arguments).stdin(Stdio::null()).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_passes_a_good_file_and_says_everything_that_is_wrong_with_a_bad_one() {
    let home = Home::new(&[TargetSetup::new("acme", "http://127.0.0.1:9/scim/v2", TOKEN)]);
    let path = home.config();
    let path = path.to_str().unwrap();
    let good = run(&["check", "--config", path]).await;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("is valid: 1 source, 1 target"), "{}", text(&good.stdout));
    assert!(!text(&good.stdout).contains(TOKEN), "a secret is never shown");

    home.append(
        "\n[targets.bad]\nprofile = \"nobody\"\nbase_url = \"ftp://x\"\nlimits = { rate_per_second = -1 }\n\
         \n[sources.bad]\nkind = \"native\"\nsecrts = []\n",
    );
    let bad = run(&["check", "--config", path]).await;
    assert_eq!(bad.status.code(), Some(2));
    let said = text(&bad.stdout);
    let keys = [
        "targets.bad.profile",
        "targets.bad.base_url",
        "targets.bad.auth",
        "targets.bad.limits.rate_per_second",
        "sources.bad.secrets",
        "sources.bad.secrts",
    ];
    for key in keys {
        assert!(said.contains(&format!("error: {key}")), "{key} is not told:\n{said}");
    }
    assert_eq!(said.matches("\n  remedy  ").count(), said.matches("\n  reason  ").count());

    let missing = run(&["check", "--config", "/nowhere/relay.toml"]).await;
    assert_eq!(missing.status.code(), Some(2));
    let not_started = run(&["serve", "--config", path]).await;
    assert_eq!(not_started.status.code(), Some(2), "what check refuses does not start");
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_prints_the_document_that_is_checked_in() {
    let printed = run(&["openapi"]).await;
    assert!(printed.status.success());
    let checked_in = include_str!("../../openapi/scim-relay.json");
    assert_eq!(text(&printed.stdout), checked_in, "scim-relay openapi > openapi/scim-relay.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn send_signs_and_posts_from_a_file_and_from_standard_input() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    let config = home.config();
    let line = ["send", "--config", config.to_str().unwrap(), "--source", "hr", "--url", &relay.url];

    let events = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/events.ndjson");
    let sent = run(&[&line[..], &[events]].concat()).await;
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).ends_with("5 accepted, 0 duplicate, 0 refused\n"), "{}", text(&sent.stdout));
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.users().await.len(), 3);
    assert_eq!(sandbox.user("u-102").await["active"], false);
    assert_eq!(sandbox.members("Support").await.len(), 2);

    let from_input = async |input: &str| {
        let mut child = program();
        child.args(line).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    };
    let sent = from_input(r#"{"op": "user.delete", "id": "u-103"}"#).await;
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    relay.quiet("acme", LIMIT).await;
    assert_eq!(sandbox.user("u-103").await["active"], false);

    let refused = from_input(r#"{"op": "user.explode", "id": "u-103"}"#).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stdout).contains("/changes/0/op"), "{}", text(&refused.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn sandbox_runs_a_vendor_with_the_habits_of_a_profile_until_it_is_told_to_stop() {
    let mut child = program()
        .args(["sandbox", "--listen", "127.0.0.1:0", "--profile", "genesys-cloud", "--token", "t"])
        .args(["--fault", "503:every=3"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("listening on http://127.0.0.1:"));
    let base_url = lines.next_line().await.unwrap().unwrap();
    let base_url = base_url.strip_prefix("SCIM base URL ").unwrap();
    let client = http_client();
    let get = async |token: &str| {
        let answer = client.get(format!("{base_url}/users")).bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    };
    assert_eq!([get("t").await, get("wrong").await, get("t").await], [200, 401, 503]);
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_comes_to_its_proof() {
    let shown = run(&["demo"]).await;
    let out = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{out}\n{}", text(&shown.stderr));
    assert!(out.contains("equal to the directory") && !out.contains("NOT equal"), "{out}");
}

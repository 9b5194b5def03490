//! `scim-relay probe` and what the relay reads of a vendor by itself, at the built program.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use scim_relay::sandbox::Behaviour;
use scim_relay::target::Profile;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::relay::{Home, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::scim_server::ScimServer;
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_we_did_not_write_is_probed_and_left_as_it_was() {
    let server = ScimServer::start().await;
    let setup = TargetSetup::new("acme", server.base_url(), ScimServer::TOKEN);
    let home = Home::new(&[setup]);
    let written = home.path().join("acme.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    command.args(["probe", "acme", "--yes", "--config"]).arg(home.config()).arg("--write").arg(&written);
    let output = command.kill_on_drop(true).output().await.unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{error}");
    assert!(out.contains("a stale If-Match gets") && out.contains("412"), "{out}");
    let profile = Profile::parse(&std::fs::read_to_string(written).unwrap()).unwrap();
    assert_eq!(profile.name, "rfc7644-probed");
    for collection in ["Users", "Groups"] {
        let url = format!("{}/{collection}", server.base_url());
        let left = http_client().get(url).bearer_auth(ScimServer::TOKEN).send().await.unwrap();
        assert!(!left.text().await.unwrap().contains("scim-relay-probe"), "{collection}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_at_a_vendor_without_consent() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    command.args(["probe", "acme", "--config"]).arg(home.config()).stdin(std::process::Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sandbox.calls().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_vendor_says_of_itself_is_shown_and_read_again_when_asked() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let setup = TargetSetup { discovery: "auto", ..TargetSetup::new("acme", sandbox.base_url(), TOKEN) };
    let home = Home::new(&[setup]);
    let relay = home.start().await;
    let capabilities = async || relay.admin("/targets/acme").await["capabilities"].clone();
    eventually("the vendor is read", LIMIT, async || {
        (!capabilities().await["discovered"].is_null()).then_some(())
    })
    .await;
    let first = capabilities().await;
    assert_eq!(first["discovered"]["features"]["filter"]["max_results"], 1_000);
    assert_eq!(first["discovered"]["resource_types"][1]["name"], "User");
    assert_eq!((&first["unread"], &first["in_force"]["page_size"]), (&json!({}), &json!(1_000)));
    let about: Vec<&Value> =
        first["differences"].as_array().unwrap().iter().map(|one| &one["about"]).collect();
    assert_eq!(about, ["list.max_count"]);
    let answer = relay.admin_request(Method::POST, "/targets/acme/discover").await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let again = async || (capabilities().await["read_at"] != first["read_at"]).then_some(());
    eventually("it is read again", LIMIT, again).await;
}

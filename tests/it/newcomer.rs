//! A newcomer's walk: `docs/ADDING.md` to the letter, from a provider that nobody has heard of to a vendor.

use std::path::Path;
use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::relay::{Home, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);
const DOCUMENT: &str = include_str!("../../docs/ADDING.md");
const SECRET: &str = "what Brightdesk's console shows";

/// The document's one block of that language.
fn block(language: &str) -> &'static str {
    let fence = format!("```{language}\n");
    let (_, rest) = DOCUMENT.split_once(&fence).expect("the document has such a block");
    assert!(!rest.contains(&fence), "which of the blocks of {language} is meant?");
    rest.split_once("```").expect("a block that ends").0
}

/// Does what the document says to do in a shell; what that printed.
async fn shell(folder: &Path, url: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-eu", "-c", block("sh")]).current_dir(folder);
    let output = command.env("BRIGHTDESK_SECRET", SECRET).env("RELAY", url).output().await.expect("a shell");
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{complaint}");
    said.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_document_sees_the_new_providers_user_at_a_vendor() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home =
        Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with("directory = \"corp\"\n")]);
    home.append(block("toml"));
    std::fs::write(home.path().join("payload.json"), block("json")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    command.env("BRIGHTDESK_SECRET", SECRET).env("SCIM_RELAY_LOG", "warn");
    let relay = home.start_as(command).await;

    let answer: Value = serde_json::from_str(&shell(home.path(), &relay.url).await).unwrap();
    assert_eq!((&answer["changes"], &answer["ignored"]), (&json!(4), &json!(1)), "{answer}");
    relay.quiet("acme", LIMIT).await;
    let users = sandbox.users().await;
    assert_eq!(users.len(), 1, "{users:?}");
    let ada = sandbox.user("4711").await;
    assert_eq!(
        (&ada["userName"], &ada["active"], &ada["name"]["givenName"]),
        (&json!("ada@example.com"), &json!(true), &json!("Ada"))
    );
    assert_eq!(sandbox.members("First line").await, [ada["id"].as_str().unwrap()]);
    let story = relay.story("user:4711").await;
    assert_eq!(story.last().map(String::as_str), Some("create applied"), "{story:?}");
}

/// The signature's form in the text is the one that the shell's lines send.
#[test]
fn the_document_signs_as_it_says_that_the_provider_signs() {
    let (header, value) = block("http").trim().split_once(": ").expect("a header");
    let (time, signature) = value.split_once(',').expect("two pairs");
    assert!(time.starts_with("t=") && signature.starts_with("s="), "{value}");
    assert!(block("sh").contains(&format!("{header}: t=$time,s=$signature")));
}

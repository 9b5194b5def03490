//! Spans at a collector: what a request, a step of work and a call to a vendor look like there, and that
//! nothing waits for it.

use std::time::Duration;

use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::eventually;
use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};
use crate::support::trace_collector::TraceCollector;

const LIMIT: Duration = Duration::from_mins(1);

/// A relay, and a vendor that allows one user.
async fn start(collector: &str, variables: &[(&str, &str)]) -> (Sandbox, Home, Command) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
    command
        .env("SCIM_RELAY_LOG", "warn")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .envs(variables.iter().copied());
    (sandbox, home, command)
}

async fn hire(relay: &Relay, user: &str) {
    let attributes = json!({"userName": format!("{user}@example.com"), "active": true});
    relay.changes(user, &json!([{"op": "user.upsert", "id": user, "attributes": attributes}])).await;
    relay.quiet("acme", LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_sees_requests_steps_and_the_calls_that_they_make() {
    let collector = TraceCollector::start().await;
    let headers = [("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=opens")];
    let (_sandbox, home, command) = start(&collector.url, &headers).await;
    let relay = home.start_as(command).await;
    hire(&relay, "u-1").await;
    assert_eq!(relay.post("e-2", "{").await.unwrap().status(), 400);

    let named = |name: &str, attribute: &str, value: &Value| {
        let is_it = |span: &Value| span["name"] == name && span["attributes"][attribute] == *value;
        collector.spans().into_iter().find(is_it)
    };
    let status = "http.response.status_code";
    let (webhook, refused, create) = eventually("the spans come", LIMIT, async || {
        let webhook = named("POST /webhooks/{source}", status, &json!(202))?;
        let refused = named("POST /webhooks/{source}", status, &json!(400))?;
        Some((webhook, refused, named("POST /Users", status, &json!(201))?))
    })
    .await;
    assert_eq!(webhook["key"], "opens", "the headers of the environment go along");
    assert_eq!(webhook["resource"]["service.name"], "scim-relay");
    assert_eq!(webhook["kind"], "SPAN_KIND_SERVER");
    assert_eq!(webhook["parent"], "", "whoever posts says nothing of traces");
    assert_eq!(webhook["attributes"]["http.request.method"], "POST");
    assert_eq!(refused["status"], "STATUS_CODE_UNSET", "a refusal is the sender's fault");
    assert_eq!(
        (&create["kind"], &create["status"]),
        (&json!("SPAN_KIND_CLIENT"), &json!("STATUS_CODE_UNSET"))
    );
    assert_eq!(create["attributes"]["scim_relay.target"], "acme");
    let lasted = create["lasted_ns"].as_u64().unwrap();
    assert!(lasted > 0 && u128::from(lasted) < LIMIT.as_nanos(), "{lasted}");

    let step = eventually("the step that made the call comes", LIMIT, async || {
        collector.spans().into_iter().find(|span| span["span"] == create["parent"])
    })
    .await;
    assert_eq!((&step["name"], &step["trace"]), (&json!("step"), &create["trace"]));
    assert_eq!(step["attributes"]["scim_relay.target"], "acme");
    let told = json!(collector.spans()).to_string();
    assert!(!told.contains("u-1"), "ids of people are the ledger's, not the collector's");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_sent_when_the_relay_stops() {
    let collector = TraceCollector::start().await;
    let (_sandbox, home, command) = start(&collector.url, &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]).await;
    let relay = home.start_as(command).await;
    hire(&relay, "u-1").await;
    assert!(collector.spans().is_empty(), "an hour is not over");
    assert_eq!(relay.terminate().await, Some(0));
    eventually("the spans come", LIMIT, async || (!collector.spans().is_empty()).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_collector_that_is_not_there_and_it_is_said_once() {
    // Nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (sandbox, home, mut command) = start(&format!("http://{gone}"), &[]).await;
    let log = home.path().join("log");
    command.stderr(std::fs::File::create(&log).unwrap());
    let relay = home.start_as(command).await;
    for user in ["u-1", "u-2", "u-3"] {
        hire(&relay, user).await;
    }
    assert_eq!(sandbox.users().await.len(), 3);
    assert_eq!(relay.terminate().await, Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    assert_eq!(text.matches("failed to send spans to the collector").count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_meant_is_told_before_anything_starts() {
    let (_sandbox, home, mut command) =
        start("http://127.0.0.1:4317", &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).await;
    let ended = command.args(["serve", "--config"]).arg(home.config()).kill_on_drop(true).output();
    let ended = tokio::time::timeout(LIMIT, ended).await.expect("it does not start").unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && said.contains("http/protobuf"), "{said}");
}

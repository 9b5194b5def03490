//! Webhooks that other people's libraries have signed must be believed.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{HeaderMap, HeaderName};
use scim_relay::clock::{Clock, SystemClock};
use scim_relay::source::{
    Delivery, Expected, Kind, Options, PRESETS, Settings, Source, Sources, Transmitter,
};
use serde::Deserialize;
use tokio::process::Command;

/// Making four keys takes a second; this only ends a run that hangs.
const RUN_MAX: Duration = Duration::from_mins(1);

#[derive(Deserialize)]
struct Signed {
    kind: String,
    secret: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Signed {
    fn headers(&self) -> HeaderMap {
        let pair =
            |(name, value): (&String, &String)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        self.headers.iter().map(pair).collect()
    }
}

#[tokio::test]
async fn what_other_libraries_sign_is_believed_and_what_is_changed_after_that_is_not() {
    let output = signers().await;
    let (keys, signed) = output.trim_end().rsplit_once('\n').map(|(signed, keys)| (keys, signed)).unwrap();
    let keys = publish(keys.to_owned()).await;
    let signed: Vec<Signed> = signed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = signed.iter().map(|webhook| webhook.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["native", "clerk", "workos", "scim-events", "scim-events", "scim-events", "scim-events"]
    );

    for webhook in &signed {
        let sources = Sources::open([settings(webhook, &keys)]).unwrap();
        let source = &*sources.get("it").unwrap().source;
        let body = webhook.body.as_bytes();
        assert!(believes(source, webhook, body).await, "{}: {}", webhook.kind, webhook.body);
        let reading = source.read(body).unwrap();
        assert_eq!(reading.changes.len(), 1, "{}", webhook.kind);

        // Another body of the same length, and for a token another claim.
        let middle = body.len() / 2;
        let mut changed = body.to_vec();
        changed[middle] = if changed[middle] == b'a' { b'b' } else { b'a' };
        assert!(!believes(source, webhook, &changed).await, "{}: changed", webhook.kind);
    }
}

async fn believes(source: &dyn Source, webhook: &Signed, body: &[u8]) -> bool {
    let headers = webhook.headers();
    if let Some(ready) = source.prepare(&headers, body) {
        ready.await.unwrap();
    }
    source.verify(&Delivery { headers: &headers, query: "", body }, SystemClock.now()).is_ok()
}

fn settings(webhook: &Signed, keys: &str) -> Settings {
    let kind = match webhook.kind.as_str() {
        "native" => Kind::Native,
        "scim-events" => Kind::ScimEvents(Box::new(Transmitter {
            expected: Expected {
                issuer: "https://idp.example".to_owned(),
                audiences: vec!["https://relay.example/webhooks/idp".to_owned()],
            },
            keys: keys.parse().unwrap(),
        })),
        name => {
            let preset = PRESETS.iter().find(|preset| preset.name == name).unwrap();
            Kind::Preset(preset, Options::default())
        }
    };
    // A token is all that its sender sends.
    let secrets =
        if webhook.kind == "scim-events" { Vec::new() } else { vec![webhook.secret.as_str().into()] };
    Settings {
        name: "it".to_owned(),
        kind,
        directory: "corp".to_owned(),
        secrets,
        intake_limit: None,
        body_bytes_max: 1024 * 1024,
        provider: None,
    }
}

/// The address at which these keys are published.
async fn publish(keys: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let router = Router::new().route("/keys", get(move || async move { keys }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn signers() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/webhook_signers.py");
    let command = Command::new(python()).arg(script).kill_on_drop(true).output();
    let output = tokio::time::timeout(RUN_MAX, command).await.expect("the signers end").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
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

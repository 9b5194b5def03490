//! What every kind of source is held to, over the wire: who forges, changes, repeats or delays a webhook, and
//! what becomes of events that mean nothing. A kind that is added has to say here how its sender signs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::client::{self, Answer};
use super::fixture::{NOW, Served, parts_with, serve_parts, source};
use super::senders::transmitter;
use crate::clock::Timestamp;
use crate::source::jws_testing::Signer;
use crate::source::mapped::{Effect, Mapping, Pointer, Rule};
use crate::source::signature::shared::Place;
use crate::source::signature::standard_webhooks::HeaderNames;
use crate::source::signature::time::{Format, Tolerance};
use crate::source::signature::{Scheme, keyed, testing};
use crate::source::{Errors, Inlet, Kind, Media, Options, PRESETS, Settings};
use crate::store::Store as _;

const OLD: &str = "the secret that goes";
const NEXT: &str = "the secret that comes";
/// Long ago for each sender that says when it signs.
const LONG_SECONDS: i64 = 24 * 3600;

/// Senders who send the secret itself along: whoever reads it can write anything.
const UNSIGNED: [&str; 6] = ["auth0", "entra", "google", "jumpcloud", "okta", "onelogin"];
/// Senders who sign, and no time with it, or none that ends: a repetition is known by the event's id alone.
const UNTIMED: [&str; 4] = ["hibob", "keycloak", "logto", "scim-events"];
/// Where every event is known, since its sender speaks the relay's own words; another one is refused.
const STRICT: [&str; 1] = ["native"];

/// A webhook before it is signed.
struct Unsigned {
    headers: HeaderMap,
    body: Vec<u8>,
}

/// A webhook as it is sent.
struct Sent {
    headers: HeaderMap,
    query: String,
    body: Vec<u8>,
}

/// One source of each kind that takes webhooks, named by its word in the configuration.
async fn every_kind(folder: &Path) -> Vec<Settings> {
    let pointer = |text| Pointer::parse(text).unwrap();
    let mapping = Mapping {
        scheme: Scheme::Keyed(keyed::Settings::of_time_and_body(
            "x-signature",
            "v1",
            Format::UnixSeconds,
            Tolerance::USUAL,
        )),
        events: None,
        event_type: pointer("/type"),
        event_id: Some(pointer("/id")),
        occurred_at: None,
        rules: vec![Rule {
            types: vec!["left".to_owned()],
            id: pointer("/who"),
            effect: Effect::Delete(crate::directory::Kind::User),
        }],
        accepted: StatusCode::ACCEPTED,
        limited: StatusCode::TOO_MANY_REQUESTS,
    };
    let inlet = Inlet { folder: folder.to_owned(), media: Media::Csv, bytes_max: 1024 };
    let tokens = transmitter(Signer::published(&[&Signer::new(1)])).await;
    let presets = PRESETS.iter().map(|preset| (preset.name, Kind::Preset(preset, Options::default())));
    let others = [
        ("native", Kind::Native),
        ("mapped", Kind::Mapped(Box::new(mapping))),
        ("scim-events", tokens),
        ("file", Kind::File(Box::new(inlet))),
    ];
    let secrets = || vec![NEXT.into(), OLD.into()];
    presets
        .chain(others)
        .map(|(name, kind)| Settings { kind, secrets: secrets(), ..source(name, None) })
        .collect()
}

/// An event that says something, and one that its kind does not know; `None` where there are no events.
fn events_of(settings: &Settings) -> (Unsigned, Option<Unsigned>) {
    let plain = |media: &'static str, body: Vec<u8>| {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, media.parse().unwrap())]);
        Unsigned { headers, body }
    };
    let json = |body: Value| plain("application/json", body.to_string().into_bytes());
    let token = |jti: &str, event: &str| {
        let claims = json!({
            "iss": "https://idp.example", "aud": "relay", "jti": jti, "iat": NOW.as_seconds(),
            "sub_id": {"format": "opaque", "id": "u-1"}, "events": {event: {}},
        });
        plain("application/secevent+jwt", Signer::new(1).token(&claims).into_bytes())
    };
    match &settings.kind {
        Kind::Preset(preset, _) => {
            let mut fixtures = fixtures(preset.name);
            let unknown = fixtures.remove("unknown").expect("each sender has one");
            let known = fixtures.into_iter().find(|(_, (_, meaning))| !meaning.starts_with("ignored"));
            let (_, (known, _)) = known.expect("one means something");
            (known, Some(unknown.0))
        }
        Kind::Native => {
            let change = |op: &str| json!({"changes": [{"op": op, "id": "u-1"}]});
            (json(change("user.delete")), Some(json(change("user.promote"))))
        }
        Kind::Mapped(_) => {
            let event = |kind: &str| json!({"type": kind, "id": kind, "who": "u-1"});
            (json(event("left")), Some(json(event("moved"))))
        }
        Kind::ScimEvents(_) => {
            let risc = "https://schemas.openid.net/secevent/risc/event-type/account-purged";
            let caep = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
            (token("1", risc), Some(token("2", caep)))
        }
        Kind::File(_) => (plain("text/csv", b"id\nu-1\n".to_vec()), None),
        Kind::Fed => unreachable!("it takes no webhooks"),
    }
}

/// The webhooks of a built-in sender that are JSON, and what each means, by name.
fn fixtures(sender: &str) -> BTreeMap<String, (Unsigned, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hooks").join(sender);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let bodies = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let fixture = |path: std::path::PathBuf| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        for line in fs::read_to_string(path.with_extension("headers")).unwrap_or_default().lines() {
            let (name, value) = line.split_once(": ").unwrap();
            headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let meaning = fs::read_to_string(path.with_extension("meaning")).unwrap();
        let body = fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // Many begin with the event's id.
        let meaning =
            meaning.lines().filter(|line| !line.starts_with("event ")).collect::<Vec<_>>().join(" ");
        (name, (Unsigned { headers, body }, meaning))
    };
    bodies.map(fixture).collect()
}

/// The webhook as its sender sends it with this secret at this time.
fn signed(settings: &Settings, event: &Unsigned, secret: &str, at: Timestamp) -> Sent {
    let scheme = match &settings.kind {
        Kind::Preset(preset, options) => (preset.scheme)(options),
        Kind::Native | Kind::File(_) => Scheme::StandardWebhooks(HeaderNames::STANDARD),
        Kind::Mapped(mapping) => mapping.scheme.clone(),
        Kind::ScimEvents(_) => {
            Scheme::Shared(Place::Header { name: http::header::AUTHORIZATION, prefix: String::new() })
        }
        Kind::Fed => unreachable!("it takes no webhooks"),
    };
    let mut sent = Sent {
        headers: event.headers.clone(),
        query: String::new(),
        body: testing::bear(&scheme, secret, &event.body),
    };
    testing::sign(&scheme, secret, at, &mut sent.headers, &mut sent.query, &sent.body);
    sent
}

async fn post(served: &Served, settings: &Settings, sent: &Sent) -> Answer {
    let headers: Vec<_> =
        sent.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let path = format!("/webhooks/{}?{}", settings.name, sent.query);
    client::send(served.address, "POST", &path, &headers, &sent.body).await
}

/// A relay with a source of each kind, and those sources.
async fn relay(folder: &Path) -> (Served, Vec<Settings>) {
    let kinds = every_kind(folder).await;
    (serve_parts(parts_with(kinds.clone()).await).await, kinds)
}

/// What a webhook is answered that is not believed.
fn refusal(served: &Served, settings: &Settings) -> u16 {
    match served.parts.relay.sources.get(&settings.name).unwrap().source.manners().errors {
        Errors::Problem => 401,
        Errors::SecurityEvent => 400,
    }
}

fn is(settings: &Settings, names: &[&str]) -> bool {
    names.contains(&settings.name.as_str())
}

#[tokio::test]
async fn a_webhook_of_any_kind_is_believed_by_a_secret_that_comes_or_goes_and_by_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (served, kinds) = relay(folder.path()).await;
    for settings in &kinds {
        let (event, _) = events_of(settings);
        let refused = refusal(&served, settings);
        for secret in ["another secret", ""] {
            let answer = post(&served, settings, &signed(settings, &event, secret, NOW)).await;
            assert_eq!(answer.status, refused, "{} by {secret:?}: {answer:?}", settings.name);
        }
        let bare = Sent { headers: event.headers.clone(), query: String::new(), body: event.body.clone() };
        assert_eq!(post(&served, settings, &bare).await.status, refused, "{} by none", settings.name);
    }
    assert_eq!(served.events().await, 0);
    for settings in &kinds {
        let (event, _) = events_of(settings);
        let manners = served.parts.relay.sources.get(&settings.name).unwrap().source.manners();
        let goes = post(&served, settings, &signed(settings, &event, OLD, NOW)).await;
        assert_eq!(goes.status, manners.accepted.as_u16(), "{}: {goes:?}", settings.name);
        let before = served.events().await;
        let again = post(&served, settings, &signed(settings, &event, OLD, NOW)).await;
        // A file takes the place of the one of the same id.
        let duplicate = if is(settings, &["file"]) { manners.accepted } else { manners.duplicate };
        assert_eq!(again.status, duplicate.as_u16(), "{}, once more: {again:?}", settings.name);
        assert_eq!(served.events().await, before, "{} is taken once", settings.name);
        let comes = post(&served, settings, &signed(settings, &event, NEXT, NOW)).await;
        assert!((200..300).contains(&comes.status), "{} by the next: {comes:?}", settings.name);
    }
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "a file that is posted twice is one");
}

#[tokio::test]
async fn a_webhook_of_any_kind_that_was_changed_on_its_way_is_refused_where_it_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (served, kinds) = relay(folder.path()).await;
    for settings in &kinds {
        let (event, _) = events_of(settings);
        let mut sent = signed(settings, &event, OLD, NOW);
        match &settings.kind {
            // What stands around a token is no part of it.
            Kind::ScimEvents(_) => {
                let middle = sent.body.len() / 2;
                sent.body[middle] = if sent.body[middle] == b'A' { b'B' } else { b'A' };
            }
            Kind::Preset(..) | Kind::Native | Kind::Mapped(_) | Kind::File(_) | Kind::Fed => {
                sent.body.push(b'\n');
            }
        }
        let answer = post(&served, settings, &sent).await;
        let is_refused = answer.status == refusal(&served, settings);
        assert_eq!(is_refused, !is(settings, &UNSIGNED), "{}: {answer:?}", settings.name);
    }
}

#[tokio::test]
async fn a_webhook_of_any_kind_does_not_last_where_its_sender_says_when_it_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (served, kinds) = relay(folder.path()).await;
    for settings in &kinds {
        let (event, _) = events_of(settings);
        for seconds in [-LONG_SECONDS, LONG_SECONDS] {
            let at = Timestamp::from_seconds(NOW.as_seconds() + seconds);
            let answer = post(&served, settings, &signed(settings, &event, OLD, at)).await;
            let is_refused = answer.status == refusal(&served, settings);
            let lasts = is(settings, &UNSIGNED) || is(settings, &UNTIMED);
            assert_eq!(is_refused, !lasts, "{} at {seconds} s: {answer:?}", settings.name);
        }
    }
}

#[tokio::test]
async fn an_event_of_any_kind_that_nobody_knows_is_taken_counted_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (served, kinds) = relay(folder.path()).await;
    let relay = &served.parts.relay;
    for settings in &kinds {
        let (_, Some(event)) = events_of(settings) else { continue };
        let before = served.events().await;
        let sent = signed(settings, &event, OLD, NOW);
        let answer = post(&served, settings, &sent).await;
        if is(settings, &STRICT) {
            assert_eq!((answer.status, served.events().await), (400, before), "{}", settings.name);
            continue;
        }
        let accepted = relay.sources.get(&settings.name).unwrap().source.manners().accepted;
        assert_eq!(answer.status, accepted.as_u16(), "{}: {answer:?}", settings.name);
        assert_eq!(served.events().await, before + 1, "{}", settings.name);
        let line =
            format!("scim_relay_event_items_total{{source=\"{}\",outcome=\"ignored\"}} 1", settings.name);
        assert!(relay.metrics.exposition().contains(&line), "{} does not count it", settings.name);
    }
    while served.parts.store.inner.project(&*relay.sources, 100).await.unwrap().more {}
    for event in served.parts.store.inner.events(None, 1000).await.unwrap().items {
        let record = served.parts.store.inner.event(&event.event_id).await.unwrap().unwrap();
        assert!(record.changes.is_empty(), "{} changes something", event.event_id);
    }
}

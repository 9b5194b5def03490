//! What every built-in sender is held to, by its fixtures: a body beside what it means.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::clock::Timestamp;
use crate::directory::{Change, MembersEdit, Operation, assemble};
use crate::source::signature::{Scheme, testing};
use crate::source::{Delivery, Malformed, Reading, Refusal};

const NOW: Timestamp = Timestamp::from_seconds(1_795_168_800);

/// A webhook as a test puts it together.
struct Webhook {
    headers: HeaderMap,
    query: String,
    body: Vec<u8>,
}

impl Webhook {
    fn delivery(&self) -> Delivery<'_> {
        Delivery { headers: &self.headers, query: &self.query, body: &self.body }
    }
}

/// Every fixture of a sender: its name, its headers if there are any, its body, and what it means.
struct Fixture {
    path: PathBuf,
    headers: HeaderMap,
    body: Vec<u8>,
    meaning: String,
}

/// Read once: some tests go through them hundreds of times.
static FIXTURES: LazyLock<BTreeMap<&'static str, Vec<Fixture>>> =
    LazyLock::new(|| PRESETS.iter().map(|preset| (preset.name, read_fixtures(preset))).collect());

fn fixtures(preset: &Preset) -> &'static [Fixture] {
    &FIXTURES[preset.name]
}

fn read_fixtures(preset: &Preset) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hooks").join(preset.name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json" || extension == "form"));
    paths.sort();
    paths.into_iter().map(fixture).collect()
}

fn fixture(path: PathBuf) -> Fixture {
    let body = fs::read(&path).unwrap();
    let meaning = fs::read_to_string(path.with_extension("meaning")).unwrap_or_default();
    let mut headers = HeaderMap::new();
    for line in fs::read_to_string(path.with_extension("headers")).unwrap_or_default().lines() {
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Fixture { path, headers, body, meaning }
}

fn read(preset: &Preset, delivery: &Delivery<'_>) -> Result<Reading, Malformed> {
    let record = preset.record.map_or_else(|| delivery.body.to_vec(), |record| record(delivery));
    (preset.read)(&record)
}

/// A reading as lines of text: what a fixture's `.meaning` holds.
pub fn tell(reading: &Reading) -> String {
    let mut lines: Vec<String> = reading.event_id.iter().map(|id| format!("event {id}")).collect();
    lines.extend(reading.changes.iter().map(tell_change));
    lines.extend(reading.needs_read.iter().map(|key| format!("needs_read {} {}", key.kind, key.id)));
    lines.extend(reading.everyone_needs_read.then(|| "needs_read everyone".to_owned()));
    lines.extend(reading.notices.iter().map(|notice| format!("notice {notice:?}")));
    if reading.ignored > 0 {
        lines.push(format!("ignored {}", reading.ignored));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

fn tell_change(change: &Change) -> String {
    let head = format!("{} {}", change.operation.name(), change.operation.key().id);
    let at = change.occurred_at.map_or_else(String::new, |at| format!(" at {at}"));
    let detail = match &change.operation {
        Operation::UserUpsert { attributes, .. } | Operation::GroupUpsert { attributes, .. } => {
            let mut known: Map<String, Value> =
                assemble(attributes.iter().map(|(path, value)| (path, value)));
            let removed = attributes.iter().filter(|(_, value)| value.is_null());
            known.extend(removed.map(|(path, _)| (path.to_string(), Value::Null)));
            known.sort_keys();
            format!(" {}", Value::Object(known))
        }
        Operation::GroupMembers { edit: MembersEdit::Delta { add, remove }, .. } => {
            let signed = |sign: char| move |id| format!(" {sign}{id}");
            add.iter().map(signed('+')).chain(remove.iter().map(signed('-'))).collect()
        }
        Operation::GroupMembers { edit: MembersEdit::Set(users), .. } => {
            users.iter().flat_map(|id| [" =", id.as_str()]).collect()
        }
        Operation::UserDeactivate { .. } | Operation::UserDelete { .. } | Operation::GroupDelete { .. } => {
            String::new()
        }
    };
    format!("{head}{at}{detail}")
}

#[test]
fn every_fixture_means_what_is_written_beside_it() {
    for preset in PRESETS {
        let fixtures = fixtures(preset);
        assert!(!fixtures.is_empty(), "{} has no fixtures", preset.name);
        for fixture in fixtures {
            let delivery = Delivery { headers: &fixture.headers, query: "", body: &fixture.body };
            let reading =
                read(preset, &delivery).unwrap_or_else(|error| panic!("{:?}: {error}", fixture.path));
            let told = tell(&reading);
            assert_eq!(told, fixture.meaning, "{}:\n{told}", fixture.path.display());
        }
    }
}

#[test]
fn an_event_that_nobody_knows_is_taken_and_changes_nothing() {
    for preset in PRESETS {
        let unknown = fixtures(preset).iter().find(|fixture| fixture.path.ends_with("unknown.json"));
        let fixture = unknown.unwrap_or_else(|| panic!("{} has no unknown.json", preset.name));
        let delivery = Delivery { headers: &fixture.headers, query: "", body: &fixture.body };
        let reading = read(preset, &delivery).unwrap();
        assert!(reading.changes.is_empty() && reading.ignored == 1, "{}", preset.name);
    }
}

/// The words that the arms of a file's `match` expressions name, before its tests.
fn words_of_arms(source: &str) -> Vec<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let patterns = code.lines().filter_map(|line| line.split_once("=>")).map(|(pattern, _)| pattern);
    patterns.flat_map(|pattern| pattern.split('"').skip(1).step_by(2)).collect()
}

#[test]
fn every_event_that_a_format_names_is_in_one_of_its_fixtures() {
    assert_eq!(words_of_arms("(\"a\" | \"b\", _) => 1,\nx(\"c\");\n#[cfg(test)]\n\"d\" => 2"), ["a", "b"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/source/formats");
    for preset in PRESETS {
        let text = |fixture: &Fixture| {
            let body = String::from_utf8_lossy(&fixture.body).into_owned();
            format!("{body} {:?}", fixture.headers)
        };
        let fixtures: String = fixtures(preset).iter().map(text).collect();
        let source = fs::read_to_string(folder.join(format!("{}.rs", preset.name))).unwrap();
        let fixtures = fixtures.to_lowercase();
        for word in words_of_arms(&source) {
            let is_there = fixtures.contains(&word.to_lowercase());
            assert!(is_there, "no fixture of {} has {word:?}", preset.name);
        }
    }
}

/// A preset, and a webhook that it signs with `secret` at `at`.
fn signed(preset: &Preset, fixture: &Fixture, secret: &str, at: Timestamp) -> (Scheme, Webhook) {
    let scheme = (preset.scheme)(&Options::default());
    let mut webhook = Webhook {
        headers: fixture.headers.clone(),
        query: String::new(),
        body: testing::bear(&scheme, secret, &fixture.body),
    };
    testing::sign(&scheme, secret, at, &mut webhook.headers, &mut webhook.query, &webhook.body);
    (scheme, webhook)
}

fn verify(preset: &'static Preset, secrets: &[&str], webhook: &Webhook) -> Result<(), Refusal> {
    let secrets: Vec<_> = secrets.iter().copied().map(secrecy::SecretString::from).collect();
    let hook = Hook::open(preset, &Options::default(), &secrets).unwrap();
    hook.verify(&webhook.delivery(), NOW).map(|_| ())
}

#[test]
fn every_sender_is_believed_by_any_of_its_secrets_and_by_no_other() {
    for preset in PRESETS {
        for fixture in fixtures(preset) {
            let (_, webhook) = signed(preset, fixture, "the secret", NOW);
            let name = fixture.path.display();
            assert_eq!(verify(preset, &["the secret"], &webhook), Ok(()), "{name}");
            assert_eq!(verify(preset, &["next", "the secret"], &webhook), Ok(()), "{name}: rotating");
            assert!(verify(preset, &["another secret"], &webhook).is_err(), "{name}: another secret");
            let (_, forged) = signed(preset, fixture, "", NOW);
            assert!(verify(preset, &["the secret"], &forged).is_err(), "{name}: an empty secret");
            let bare = Webhook {
                headers: fixture.headers.clone(),
                query: String::new(),
                body: fixture.body.clone(),
            };
            assert!(verify(preset, &["the secret"], &bare).is_err(), "{name}: no signature");
        }
    }
}

#[test]
fn a_signed_body_cannot_be_changed() {
    for preset in PRESETS {
        for fixture in fixtures(preset) {
            let (scheme, mut webhook) = signed(preset, fixture, "the secret", NOW);
            webhook.body.push(b' ');
            let refused = verify(preset, &["the secret"], &webhook).is_err();
            let is_signed = !matches!(scheme, Scheme::Shared(_));
            assert_eq!(refused, is_signed, "{}", fixture.path.display());
        }
    }
}

#[test]
fn a_signature_with_a_time_does_not_last() {
    for preset in PRESETS {
        let (past, future) = match (preset.scheme)(&Options::default()) {
            Scheme::StandardWebhooks(_) => (300, 300),
            Scheme::Keyed(settings) => match settings.time {
                Some(time) => (i64::from(time.tolerance.past), i64::from(time.tolerance.future)),
                None => continue,
            },
            Scheme::Shared(_) => continue,
        };
        let fixture = &fixtures(preset)[0];
        for (offset, expected) in [(-past, true), (-past - 1, false), (future, true), (future + 1, false)] {
            let at = Timestamp::from_seconds(NOW.as_seconds() + offset);
            let (_, webhook) = signed(preset, fixture, "the secret", at);
            let verified = verify(preset, &["the secret"], &webhook);
            assert_eq!(verified.is_ok(), expected, "{} at {offset} s: {verified:?}", preset.name);
        }
    }
}

#[test]
fn what_is_sent_again_has_the_same_id_and_another_event_has_another() {
    for preset in PRESETS {
        let mut ids = BTreeMap::new();
        for fixture in fixtures(preset) {
            let (_, webhook) = signed(preset, fixture, "the secret", NOW);
            let hook = Hook::open(preset, &Options::default(), &["the secret".into()]).unwrap();
            let id = || {
                let proof = hook.verify(&webhook.delivery(), NOW).unwrap();
                let record = hook.record(&webhook.delivery()).unwrap_or_else(|| webhook.body.clone());
                proof.event_id(&hook.read(&record).unwrap(), &record, NOW)
            };
            assert_eq!(id(), id());
            let earlier = ids.insert(id(), fixture.path.clone());
            assert_eq!(earlier, None, "{}", fixture.path.display());
        }
    }
}

proptest! {
    #[test]
    fn no_body_panics(cut: usize, junk in "[\\[\\]{}\",:0-9a-e]{0,6}") {
        for preset in PRESETS {
            for fixture in fixtures(preset) {
                let at = cut % (fixture.body.len() + 1);
                let mut body = fixture.body.clone();
                body.splice(at..at, junk.bytes());
                let _ = read(preset, &Delivery { headers: &fixture.headers, query: "", body: &body });
            }
        }
    }

    #[test]
    fn no_value_in_place_of_another_panics(seed: usize) {
        let odd = [Value::Null, 7.into(), (-1.5).into(), "".into(), true.into(), Value::Array(vec![]), Map::new().into()];
        for preset in PRESETS {
            for fixture in fixtures(preset) {
                let Ok(mut body) = serde_json::from_slice::<Value>(&fixture.body) else { continue };
                replace_nth(&mut body, &mut (seed % 40), &odd[seed % odd.len()]);
                let body = body.to_string().into_bytes();
                let _ = read(preset, &Delivery { headers: &fixture.headers, query: "", body: &body });
            }
        }
    }
}

/// Puts `odd` in the place of the value that is reached after `left` others.
fn replace_nth(value: &mut Value, left: &mut usize, odd: &Value) {
    if *left == 0 {
        *value = odd.clone();
        *left = usize::MAX;
        return;
    }
    *left = left.saturating_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace_nth(item, left, odd)),
        Value::Object(members) => members.values_mut().for_each(|item| replace_nth(item, left, odd)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

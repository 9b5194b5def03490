use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::TokioClock;
use crate::store::conformance::scene::{NOW, outcome};
use crate::store::conformance::script::{DIRECTORY, Script, now, titled, user_key};
use crate::store::sqlite::SqliteStore;
use crate::store::{LedgerEntry, LedgerRecord, Outcome, TargetState};

fn settings(folder: &TempDir) -> Settings {
    Settings { path: folder.path().join("audit.jsonl"), bytes_max: 1 << 20, files_max: 3 }
}

fn entry(target: &str, sequence: u64) -> LedgerRecord {
    LedgerRecord {
        sequence,
        at: NOW,
        target: target.to_owned(),
        key: Some(user_key("u-1")),
        generation: 1,
        operation: "update".to_owned(),
        call: Some("PATCH Users/{id}".to_owned()),
        status: Some(200),
        result: "applied".to_owned(),
        etag_before: None,
        etag_after: None,
        elapsed_us: Some(1_500),
        detail: None,
        actor: None,
        events: vec!["evt-1".to_owned()],
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(path: &Path) -> Vec<u64> {
    lines(path).iter().map(|line| line["sequence"].as_u64().unwrap()).collect()
}

/// Oldest first.
fn all_numbers(settings: &Settings) -> Vec<u64> {
    let older =
        (1..settings.files_max + 3).rev().map(|number| format!("{}.{number}", settings.path.display()));
    let older = older.flat_map(|path| numbers(Path::new(&path)));
    older.chain(numbers(&settings.path)).collect()
}

#[test]
fn a_line_says_when_what_about_whom_where_with_what_outcome_and_by_whom() {
    let folder = TempDir::new().unwrap();
    let mut journal = Journal::open(settings(&folder)).unwrap();
    let by_hand = LedgerRecord {
        key: None,
        operation: "none".to_owned(),
        result: "paused".to_owned(),
        actor: Some("ops".to_owned()),
        ..entry("acme", 2)
    };
    journal.append(&[entry("acme", 1), by_hand]).unwrap();
    let lines = lines(&settings(&folder).path);
    for (key, expected) in [
        ("time", Value::from(NOW.to_string())),
        ("operation", "update".into()),
        ("kind", "user".into()),
        ("external_id", "u-1".into()),
        ("target", "acme".into()),
        ("outcome", "applied".into()),
        ("actor", Value::Null),
        ("call", "PATCH Users/{id}".into()),
        ("events", vec!["evt-1"].into()),
    ] {
        assert_eq!(lines[0][key], expected, "{key}");
    }
    assert_eq!((&lines[1]["kind"], &lines[1]["external_id"]), (&"target".into(), &Value::Null));
    assert_eq!((&lines[1]["outcome"], &lines[1]["actor"]), (&"paused".into(), &"ops".into()));
}

#[test]
fn no_file_is_longer_and_there_are_no_more_than_allowed() {
    let folder = TempDir::new().unwrap();
    let settings = Settings { bytes_max: 1_000, ..settings(&folder) };
    let mut journal = Journal::open(settings.clone()).unwrap();
    for batch in 0..10_u64 {
        let entries: Vec<_> = (1..=7).map(|number| entry("acme", batch * 7 + number)).collect();
        journal.append(&entries).unwrap();
    }
    let names: BTreeSet<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected =
        ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2", "audit.jsonl.lock", "audit.jsonl.position"];
    assert_eq!(names, expected.map(str::to_owned).into());
    for name in &expected[..3] {
        assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= settings.bytes_max, "{name}");
    }
    let kept = all_numbers(&settings);
    assert_eq!(kept, (71 - kept.len() as u64..71).collect::<Vec<_>>(), "the newest are kept, in order");
}

#[test]
fn a_line_that_was_cut_off_is_taken_back_and_written_once_more() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    Journal::open(settings.clone()).unwrap().append(&[entry("acme", 1)]).unwrap();
    let whole = fs::read(&settings.path).unwrap();
    fs::write(&settings.path, [&whole[..], b"{\"time\":\"2026"].concat()).unwrap();
    let mut journal = Journal::open(settings.clone()).unwrap();
    assert_eq!(journal.told()["acme"], 1);
    journal.append(&[entry("acme", 2)]).unwrap();
    assert_eq!(numbers(&settings.path), [1, 2]);
}

#[test]
fn what_cannot_be_noted_is_not_written_again_and_again() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let blocked = folder.path().join("audit.jsonl.position.new");
    fs::create_dir(&blocked).unwrap();
    for _ in 0..3 {
        Journal::open(settings.clone()).unwrap().append(&[entry("acme", 1)]).unwrap_err();
    }
    fs::remove_dir(&blocked).unwrap();
    Journal::open(settings.clone()).unwrap().append(&[entry("acme", 1)]).unwrap();
    assert_eq!(numbers(&settings.path), [1]);
}

#[test]
fn what_was_not_written_is_not_noted() {
    let folder = TempDir::new().unwrap();
    let settings = Settings { bytes_max: 1, files_max: 2, ..settings(&folder) };
    Journal::open(settings.clone()).unwrap().append(&[entry("acme", 1)]).unwrap();
    // The older file has no place to go to.
    let blocked = folder.path().join("audit.jsonl.1");
    fs::create_dir(&blocked).unwrap();
    Journal::open(settings.clone()).unwrap().append(&[entry("acme", 2)]).unwrap_err();
    fs::remove_dir(&blocked).unwrap();
    let mut journal = Journal::open(settings.clone()).unwrap();
    assert_eq!(journal.told()["acme"], 1);
    journal.append(&[entry("acme", 2)]).unwrap();
    assert_eq!(all_numbers(&settings), [1, 2]);
}

#[cfg(unix)]
#[test]
fn the_files_name_people_and_are_for_the_owner_and_the_owners_group() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = TempDir::new().unwrap();
    Journal::open(settings(&folder)).unwrap().append(&[entry("acme", 1)]).unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{:?}: {mode:o}", file.file_name());
    }
}

#[test]
fn a_failure_lasts_since_it_was_first_met_and_is_news_once() {
    let health = Health::default();
    let later = NOW.after(Duration::from_hours(1));
    assert!(health.failed("no room".to_owned(), NOW));
    assert!(!health.failed("no room".to_owned(), later));
    assert!(health.failed("no right".to_owned(), later));
    assert_eq!(health.failure(), Some(Failure { reason: "no right".to_owned(), since: NOW }));
    assert!(health.mended() && !health.mended());
}

#[test]
fn two_relays_do_not_write_one_file() {
    let folder = TempDir::new().unwrap();
    let first = Journal::open(settings(&folder)).unwrap();
    let refused = Journal::open(settings(&folder)).err().unwrap();
    assert!(refused.to_string().contains("a path of its own"), "{refused}");
    drop(first);
    Journal::open(settings(&folder)).unwrap();
}

/// A store with a target, whose ledger grows at will.
struct Ledger {
    store: Arc<dyn Store>,
    script: Script,
}

impl Ledger {
    async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open_temporary().unwrap());
        store.enrol("acme", &DIRECTORY.to_owned(), NOW).await.unwrap();
        Self { store, script: Script::default() }
    }

    /// Adds this many entries.
    async fn grow(&self, number: u32, entries: usize) {
        let user = format!("u{number}");
        self.store.append(self.script.event(number, vec![now(titled(&user, "Clerk"))])).await.unwrap();
        self.store.project(&self.script, 10).await.unwrap();
        let tenure = self.store.take("acme", "replica", Duration::ZERO).await.unwrap().unwrap();
        let done = LedgerEntry::without_call(NOW, "update", "applied", None);
        let outcome = Outcome { ledger: vec![done; entries], ..outcome(&user_key(&user), 1) };
        self.store.commit(&tenure, vec![outcome], NOW).await.unwrap();
    }

    fn start(&self, settings: Settings) -> Audit {
        let (stop, health, metrics) = (CancellationToken::new(), Health::default(), Metrics::new());
        let auditor = Auditor {
            store: Arc::clone(&self.store),
            settings,
            health: health.clone(),
            clock: Arc::new(TokioClock::starting_at(NOW)),
            metrics: metrics.clone(),
        };
        let task = tokio::spawn(run(auditor, stop.clone()));
        Audit { stop, health, metrics, task }
    }
}

struct Audit {
    stop: CancellationToken,
    health: Health,
    metrics: Metrics,
    task: tokio::task::JoinHandle<()>,
}

impl Audit {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_in_the_ledger_reaches_the_file_in_order_over_restarts() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    let ledger = Ledger::new().await;
    // Before there was an audit, and more than fits into one batch.
    ledger.grow(0, BATCH + 3).await;
    let audit = ledger.start(settings.clone());
    ledger.grow(1, 2).await;
    let state = TargetState::Paused { by: "ops".to_owned(), since: NOW };
    ledger.store.order_target_state("acme", &state, "ops", NOW).await.unwrap();
    until("all is written", || numbers(&settings.path).len() == BATCH + 6).await;
    audit.end().await;
    assert_eq!(lines(&settings.path).last().unwrap()["actor"], "ops");

    ledger.grow(2, 4).await;
    let audit = ledger.start(settings.clone());
    until("what was added meanwhile is written", || numbers(&settings.path).len() == BATCH + 10).await;
    audit.end().await;
    assert_eq!(numbers(&settings.path), (1..=BATCH as u64 + 10).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_cannot_be_written_is_told_and_caught_up_once_it_can() {
    let folder = TempDir::new().unwrap();
    let settings = Settings { path: folder.path().join("absent/audit.jsonl"), ..settings(&folder) };
    let ledger = Ledger::new().await;
    let audit = ledger.start(settings.clone());
    until("it is told", || audit.health.failure().is_some()).await;
    assert_eq!(audit.metrics.audit_failing.get(), 1);
    // Work goes on.
    ledger.grow(0, 3).await;

    fs::create_dir(folder.path().join("absent")).unwrap();
    until("it is mended", || audit.health.failure().is_none()).await;
    until("it is caught up", || numbers(&settings.path) == [1, 2, 3]).await;
    assert_eq!((audit.metrics.audit_failing.get(), audit.metrics.audit_lines.get()), (0, 3));
    audit.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_note_about_another_database_counts_for_nothing() {
    let folder = TempDir::new().unwrap();
    let settings = settings(&folder);
    Journal::open(settings.clone()).unwrap().append(&[entry("acme", 99)]).unwrap();
    let ledger = Ledger::new().await;
    ledger.grow(0, 2).await;
    let audit = ledger.start(settings.clone());
    until("it begins anew", || numbers(&settings.path) == [99, 1, 2]).await;
    audit.end().await;
}

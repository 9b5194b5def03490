use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::store::conformance::scene::NOW;
use crate::store::conformance::script::Script;
use crate::store::conformance::{self, Home};

/// Commits that are to fail, shared between a test and the writer.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Arc<AtomicU32>);

impl Faults {
    pub(super) fn strike(&self) -> Result<(), StoreError> {
        let due = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match due {
            Ok(_) => Err(StoreError::Unavailable { source: "a fault for the test".into() }),
            Err(_) => Ok(()),
        }
    }
}

/// A file of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("relay.db")
    }
}

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.path(), Options::default()).unwrap())
    }
}

conformance::suite!(Place::new());

fn event(number: u32) -> NewEvent {
    Script::default().event(number, Vec::new())
}

fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    let Err(StoreError::Unavailable { source }) = answer else { panic!("{answer:?} is no refusal") };
    source.to_string()
}

async fn unprojected(store: &SqliteStore) -> u64 {
    store.status().await.unwrap().unprojected
}

#[tokio::test]
async fn a_second_relay_on_one_file_is_refused_until_the_first_has_gone() {
    let place = Place::new();
    let first = SqliteStore::open(place.path(), Options::default()).unwrap();
    let refusal = unavailable(SqliteStore::open(place.path(), Options::default()).map(|_| ()));
    assert!(refusal.contains("in use by another relay"), "{refusal}");
    first.close().await;
    SqliteStore::open(place.path(), Options::default()).unwrap();
}

#[tokio::test]
async fn a_file_from_a_newer_relay_is_refused_and_left_alone() {
    let place = Place::new();
    SqliteStore::open(place.path(), Options::default()).unwrap().close().await;
    let conn = rusqlite::Connection::open(place.path()).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let refusal = unavailable(SqliteStore::open(place.path(), Options::default()).map(|_| ()));
    assert!(refusal.contains("schema 99"), "{refusal}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_what_is_stored() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let store = SqliteStore::open(place.path(), Options::default()).unwrap();
    store.append(event(0)).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 4, "the database, its log, the index of that, and the lock: {files:?}");
    for file in files {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.path().display());
    }
}

#[tokio::test]
async fn a_place_that_cannot_hold_a_file_is_refused() {
    let refusal = unavailable(SqliteStore::open("/nowhere/at/all/relay.db", Options::default()).map(|_| ()));
    assert!(refusal.contains("relay.db.lock"), "{refusal}");
}

#[tokio::test]
async fn a_commit_waits_for_the_disk() {
    let store = SqliteStore::open_temporary().unwrap();
    let (mode, synchronous) = store
        .writer
        .write(|conn| {
            let mode: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            let synchronous: u32 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
            Ok((mode, synchronous))
        })
        .await
        .unwrap();
    assert_eq!((mode.as_str(), synchronous), ("wal", 2), "anything less loses what was answered");
}

#[tokio::test]
async fn after_a_failed_commit_nothing_of_it_is_known() {
    let place = Place::new();
    let faults = Faults::default();
    let store =
        SqliteStore::open(place.path(), Options { faults: faults.clone(), ..Options::default() }).unwrap();
    assert_eq!(store.append(event(0)).await.unwrap(), Appended::New);

    faults.0.store(2, Ordering::SeqCst);
    assert_eq!(unavailable(store.append(event(1)).await), "a fault for the test");
    assert_eq!(unavailable(store.enrol("acme", &"corp".to_owned(), NOW).await), "a fault for the test");
    assert_eq!(unprojected(&store).await, 1);
    assert!(store.status().await.unwrap().targets.is_empty());

    assert_eq!(store.append(event(1)).await.unwrap(), Appended::New, "its id is not taken for seen");
    assert_eq!(store.append(event(0)).await.unwrap(), Appended::Duplicate, "what was durable stays known");
    assert_eq!(store.append(event(1)).await.unwrap(), Appended::Duplicate);
    store.close().await;
    let store = SqliteStore::open(place.path(), Options::default()).unwrap();
    assert_eq!(unprojected(&store).await, 2);
}

/// A repetition in the same batch must not be answered as a duplicate of what never became durable.
#[tokio::test]
async fn a_duplicate_shares_the_fate_of_the_batch_that_holds_the_first() {
    let place = Place::new();
    let faults = Faults::default();
    let store =
        SqliteStore::open(place.path(), Options { faults: faults.clone(), ..Options::default() }).unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (enter, entered) = tokio::sync::oneshot::channel::<()>();
    // While the writer is held, everything else gathers in one batch.
    let holding = store.writer.write(move |_| {
        enter.send(()).expect("the test waits for it");
        held.recv().expect("the test releases it");
        Ok(())
    });
    let gathered = async {
        entered.await.unwrap();
        let appends = [store.append(event(1)), store.append(event(1)), store.append(event(2))];
        let answers = futures_util::future::join_all(appends);
        tokio::pin!(answers);
        // Polled once, all three are in the queue.
        assert!(futures_util::poll!(&mut answers).is_pending());
        faults.0.store(2, Ordering::SeqCst);
        release.send(()).unwrap();
        answers.await
    };
    let (held, answers) = futures_util::join!(holding, gathered);
    assert_eq!(unavailable(held), "a fault for the test");
    for answer in answers {
        unavailable(answer);
    }
    assert_eq!(unprojected(&store).await, 0);
    assert_eq!(store.append(event(1)).await.unwrap(), Appended::New);
    assert_eq!(unprojected(&store).await, 1);
}

#[tokio::test]
async fn one_failing_write_does_not_take_back_the_others() {
    let store = SqliteStore::open_temporary().unwrap();
    store.enrol("acme", &"corp".to_owned(), NOW).await.unwrap();
    let half = store.writer.write(|conn| -> Result<(), StoreError> {
        conn.execute("UPDATE targets SET memory = '\"half\"'", [])?;
        Err(StoreError::Busy)
    });
    let whole = store.take("acme", "replica-1", Duration::ZERO);
    let broken = store.writer.write(|conn| {
        conn.execute("INSERT INTO counters (name, value) VALUES ('ping', 0)", [])?;
        Ok(())
    });
    let (half, whole, broken, appended) = tokio::join!(half, whole, broken, store.append(event(0)));
    assert!(matches!(half, Err(StoreError::Busy)));
    assert_eq!(whole.unwrap().unwrap().epoch, 1);
    assert!(unavailable(broken).contains("UNIQUE"));
    assert_eq!(appended.unwrap(), Appended::New);
    let record = store.target("acme").await.unwrap().unwrap();
    assert_eq!(record.memory, serde_json::Value::Null, "the failed write is taken back");
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_that_was_answered() {
    let place = Place::new();
    let options = Options { pages_max: Some(400), ..Options::default() };
    let store = SqliteStore::open(place.path(), options).unwrap();
    let large = |number| NewEvent { body: vec![b' '; 10_000], ..event(number) };
    let mut taken = 0;
    let refusal = loop {
        match store.append(large(taken)).await {
            Ok(appended) => assert_eq!(appended, Appended::New),
            refused => break unavailable(refused),
        }
        taken += 1;
        assert!(taken < 1_000, "the limit is not kept");
    };
    assert!(refusal.contains("full"), "{refusal}");
    assert!(taken > 50, "there was room for more than {taken}");
    unavailable(store.append(large(taken)).await);
    assert_eq!(unprojected(&store).await, u64::from(taken));
    assert_eq!(store.append(large(0)).await.unwrap(), Appended::Duplicate, "that needs no room");
    store.close().await;

    let store = SqliteStore::open(place.path(), Options::default()).unwrap();
    assert_eq!(unprojected(&store).await, u64::from(taken));
    assert_eq!(store.append(large(taken)).await.unwrap(), Appended::New);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_takes_again_later() {
    let store = SqliteStore::open_temporary().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let holding = store.writer.write(move |_| {
        held.recv().expect("the test releases it");
        Ok(())
    });
    let flood = async {
        let mut waiting = Vec::new();
        let busy = loop {
            let mut append = store.append(event(u32::try_from(waiting.len()).unwrap()));
            match futures_util::poll!(&mut append) {
                std::task::Poll::Ready(answer) => break answer,
                std::task::Poll::Pending => waiting.push(append),
            }
            assert!(waiting.len() < 10_000, "the queue has no end");
        };
        assert!(matches!(busy, Err(StoreError::Busy)), "{busy:?}");
        release.send(()).unwrap();
        futures_util::future::join_all(waiting).await
    };
    let (held, answers) = futures_util::join!(holding, flood);
    held.unwrap();
    let appended = answers.into_iter().filter(|answer| matches!(answer, Ok(Appended::New))).count();
    assert!(appended >= 4_096, "{appended}");
    assert_eq!(store.append(event(9_999)).await.unwrap(), Appended::New);
}

#[tokio::test]
async fn an_id_is_forgotten_only_after_its_window() {
    let place = Place::new();
    let window = Duration::from_mins(1);
    let open = || {
        let options = Options { ids_remembered_for: window, ..Options::default() };
        SqliteStore::open(place.path(), options).unwrap()
    };
    let store = open();
    let received =
        |number, seconds| NewEvent { received_at: NOW.after(Duration::from_secs(seconds)), ..event(number) };
    store.append(received(0, 0)).await.unwrap();
    store.append(received(1, 60)).await.unwrap();
    assert_eq!(store.append(received(0, 60)).await.unwrap(), Appended::Duplicate);
    store.append(received(2, 61)).await.unwrap();
    assert_eq!(store.append(received(0, 61)).await.unwrap(), Appended::New);
    assert_eq!(store.append(received(1, 61)).await.unwrap(), Appended::Duplicate);
    store.close().await;
    let store = open();
    assert_eq!(store.append(received(1, 61)).await.unwrap(), Appended::Duplicate);
    store.append(received(3, 200)).await.unwrap();
    store.close().await;
    let store = open();
    assert_eq!(store.append(received(2, 200)).await.unwrap(), Appended::New);
    assert_eq!(store.append(received(3, 200)).await.unwrap(), Appended::Duplicate);
}

#[tokio::test]
async fn the_log_is_copied_away_under_load() {
    let place = Place::new();
    let store = SqliteStore::open(place.path(), Options::default()).unwrap();
    let log = || std::fs::metadata(place.0.path().join("relay.db-wal")).unwrap().len();
    let mut longest = 0;
    for number in 0..150 {
        store.append(NewEvent { body: vec![b' '; 1 << 20], ..event(number) }).await.unwrap();
        longest = longest.max(log());
    }
    assert!(longest < 96 << 20, "the log grew to {longest} bytes");
}

#[tokio::test(start_paused = true)]
async fn paused_time_stands_still_while_a_temporary_store_works() {
    let store = SqliteStore::open_temporary().unwrap();
    for number in 0..20 {
        let append = tokio::time::timeout(Duration::from_millis(1), store.append(event(number)));
        assert_eq!(append.await.expect("time has moved").unwrap(), Appended::New);
        let read = tokio::time::timeout(Duration::from_millis(1), store.status());
        read.await.expect("time has moved").unwrap();
    }
}

#[tokio::test]
async fn a_temporary_store_leaves_nothing_behind() {
    let store = SqliteStore::open_temporary().unwrap();
    store.append(event(0)).await.unwrap();
    let file = store.readers.read(|conn| Ok(conn.path().map(PathBuf::from))).await.unwrap().unwrap();
    assert!(file.exists());
    store.close().await;
    assert!(!file.parent().unwrap().exists());
}

#[tokio::test]
async fn a_projection_that_was_given_up_is_not_merged_twice() {
    let store = SqliteStore::open_temporary().unwrap();
    let script = Script::default();
    store.append(script.event(0, Vec::new())).await.unwrap();
    let stale = store.readers.read(|conn| project::pick(conn, 10)).await.unwrap().read(&script).await;
    assert_eq!(store.project(&script, 10).await.unwrap().events, 1);
    let applied = store.writer.write(move |conn| project::apply(conn, &stale)).await.unwrap();
    assert_eq!(applied, None);
}

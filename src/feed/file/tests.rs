//! Files that are dropped: taken as a whole, or not at all.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::run::Watcher;
use super::{Format, Settings};
use crate::feed::guard::Limits;
use crate::feed::stage::{Stage, people};

struct Scene {
    stage: Stage,
    home: tempfile::TempDir,
    watcher: Watcher,
}

impl Scene {
    fn new() -> Self {
        let (stage, home) = (Stage::new(), tempfile::tempdir().unwrap());
        let settings = Settings {
            folder: home.path().to_owned(),
            format: Format::Csv { delimiter: b',' },
            records: people(),
            every: Duration::from_secs(1),
            bytes_max: 100 * 1024 * 1024,
        };
        // Files are written by the machine's clock.
        stage.clock.set("2036-11-20T10:00:00Z");
        let watcher = Watcher::new(settings, Limits::default(), stage.taker("one"));
        Self { stage, home, watcher }
    }

    /// Drops a file, lets it stand still, and takes it.
    async fn drop(&self, text: &str) -> Vec<String> {
        fs::write(self.home.path().join("people.csv"), text).unwrap();
        self.watcher.round().await.unwrap();
        self.watcher.round().await.unwrap();
        self.stage.news().await
    }

    fn reason(&self) -> String {
        let folder = fs::read_dir(self.home.path().join("refused")).unwrap();
        let mut reasons: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        reasons.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
        reasons.sort();
        fs::read_to_string(reasons.last().unwrap()).unwrap()
    }
}

const HEADER: &str = "id,name,active,state\n";

fn rows(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().fold(HEADER.to_owned(), |mut text, id| {
        writeln!(text, "u{id:07},p{id},yes,").unwrap();
        text
    })
}

#[tokio::test]
async fn a_file_is_taken_as_a_whole_and_put_away() {
    let scene = Scene::new();
    let news = scene.drop(&format!("{}g1,Team,,team\n", rows(0..2))).await;
    assert_eq!(news, ["group.upsert g1", "user.upsert u0000000", "user.upsert u0000001"]);
    assert!(scene.home.path().join("done/1-people.csv").exists());
    assert!(!scene.home.path().join("people.csv").exists());
}

#[tokio::test]
async fn who_is_absent_leaves_and_who_is_unchanged_costs_nothing() {
    let scene = Scene::new();
    scene.drop(&rows(0..20)).await;
    assert_eq!(scene.drop(&rows(0..20)).await, [""; 0]);
    assert_eq!(scene.drop(&rows(1..21)).await, ["user.delete u0000000", "user.upsert u0000020"]);
    assert_eq!(scene.drop(&rows(0..21)).await, ["user.upsert u0000000"], "who comes back is there again");
}

#[tokio::test]
async fn a_file_with_one_bad_row_is_refused_and_changes_nothing() {
    let scene = Scene::new();
    scene.drop(&rows(0..20)).await;
    for (bad, expected) in [
        ("u5,p5,yes\n", "line 22: there are 3 fields, and 4 columns"),
        (",p5,yes,\n", "line 22: /id"),
        ("u0000003,p,yes,\n", "u0000003 a second time"),
    ] {
        assert_eq!(scene.drop(&format!("{}{bad}", rows(0..20))).await, [""; 0], "{bad}");
        let reason = scene.reason();
        assert!(reason.contains(expected), "{reason}");
    }
    assert_eq!(scene.drop(&rows(0..21)).await, ["user.upsert u0000020"], "the next file is taken");
}

#[tokio::test]
async fn a_file_that_would_remove_many_is_refused_until_somebody_consents() {
    let scene = Scene::new();
    scene.drop(&rows(0..20)).await;
    for text in [HEADER.to_owned(), rows(0..17)] {
        assert_eq!(scene.drop(&text).await, [""; 0]);
    }
    assert!(scene.reason().contains("would remove 3 of 20, over the limit of 2"), "{}", scene.reason());
    scene.stage.consent_to(2).await;
    assert_eq!(scene.drop(&rows(0..17)).await, [""; 0], "to fewer than these");
    scene.stage.consent_to(3).await;
    let gone = ["user.delete u0000017", "user.delete u0000018", "user.delete u0000019"];
    assert_eq!(scene.drop(&rows(0..17)).await, gone);
    assert_eq!(scene.drop(&rows(0..13)).await, [""; 0], "consent was for one file");
}

#[tokio::test]
async fn a_file_that_makes_many_inactive_is_held_like_one_that_lacks_them() {
    let scene = Scene::new();
    scene.drop(&rows(0..20)).await;
    assert_eq!(scene.drop(&rows(0..20).replace(",yes,", ",true,")).await, [""; 0]);
    assert!(scene.reason().contains("would remove 20 of 20"), "{}", scene.reason());
}

#[tokio::test]
async fn a_file_older_than_the_last_is_refused() {
    let scene = Scene::new();
    scene.drop(&rows(0..2)).await;
    let path = scene.home.path().join("people.csv");
    fs::write(&path, rows(0..1)).unwrap();
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    scene.watcher.round().await.unwrap();
    scene.watcher.round().await.unwrap();
    assert_eq!(scene.stage.news().await, [""; 0]);
    assert!(scene.reason().contains("touch it"), "{}", scene.reason());
}

#[tokio::test]
async fn a_crash_in_the_middle_is_mended_by_taking_the_file_again() {
    let scene = Scene::new();
    scene.drop(&rows(0..30)).await;
    // What a snapshot had noted before it was cut off: its number, some of whom it names, some removals.
    let taker = scene.stage.taker("one");
    taker.hold().await.unwrap().unwrap();
    let mut memory = scene.stage.memory().await;
    memory["snapshot"] = Value::from(2);
    taker.remember(&memory, false).await.unwrap();
    let keys = taker.store().feeds().absent(super::super::stage::SOURCE, 9, None, 30).await.unwrap();
    taker.store().feeds().look_up(super::super::stage::SOURCE, 2, &keys[..10]).await.unwrap();
    taker.release().await.unwrap();
    assert_eq!(scene.drop(&rows(0..29)).await, ["user.delete u0000029"]);
}

#[tokio::test]
async fn a_long_file_is_taken_in_chunks() {
    let scene = Scene::new();
    assert_eq!(scene.drop(&rows(0..12_345)).await.len(), 12_345);
    assert_eq!(scene.drop(&rows(5..12_345)).await.len(), 5);
}

#[tokio::test]
async fn who_is_named_twice_is_found_however_far_apart() {
    let scene = Scene::new();
    let again = "u0000003,other,yes,\n";
    assert_eq!(scene.drop(&format!("{}{again}", rows(0..1_500))).await, [""; 0]);
    assert!(scene.reason().contains("record 1501 names u0000003 a second time"), "{}", scene.reason());
}

//! Errands: what sources are to be asked, once for each thing and by one replica at a time.

use std::time::Duration;

use serde_json::json;

use crate::clock::Timestamp;
use crate::directory::{Change, Kind, ResourceKey};
use crate::store::conformance::scene::{NOW, Scene};
use crate::store::conformance::script::{
    DIRECTORY, delete_user, group, group_key, now, received_at, user, user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::{Errand, ErrandCounts, EventReader, Settled, Store, Topic};

const SOURCE: &str = "hr";
const MINUTE: Duration = Duration::from_mins(1);

fn record(id: &str) -> Topic {
    Topic::Record(user_key(id))
}

/// Takes what is due now, for a minute.
async fn take(store: &dyn Store, at: Timestamp) -> Vec<Errand> {
    must(store.take_errands(SOURCE, at, at.after(MINUTE), 100).await)
}

async fn counts(store: &dyn Store) -> ErrandCounts {
    must(store.status().await).errands.remove(SOURCE).unwrap_or_default()
}

fn again(due: Timestamp, failure: Option<&str>) -> Settled {
    Settled::Again { due, absent_since: None, failure: failure.map(str::to_owned) }
}

pub async fn a_burst_about_one_record_is_one_errand(home: &dyn Home) {
    let store = home.open().await;
    for _ in 0..5 {
        must(store.want(SOURCE, &record("u-1"), NOW).await);
    }
    must(store.want("another", &record("u-1"), NOW).await);
    let taken = take(&*store, NOW).await;
    assert_eq!(taken.len(), 1);
    assert_eq!((&taken[0].topic, taken[0].wanted, taken[0].since), (&record("u-1"), 5, NOW));
    must(store.settle_errand(&taken[0], &Settled::Done).await);
    assert_eq!(counts(&*store).await, ErrandCounts::default());
    assert_eq!(must(store.status().await).errands["another"].records, 1);
}

pub async fn an_errand_is_taken_by_one_until_its_time_is_over(home: &dyn Home) {
    let store = home.open().await;
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    assert_eq!(take(&*store, NOW).await.len(), 1);
    assert_eq!(take(&*store, NOW).await, []);
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    assert_eq!(take(&*store, NOW).await, [], "it is under way, however often it is wanted");
    assert_eq!(take(&*store, NOW.after(MINUTE)).await.len(), 1, "whoever took it is gone");
}

pub async fn what_is_wanted_again_meanwhile_is_run_again(home: &dyn Home) {
    let store = home.open().await;
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    let taken = take(&*store, NOW).await;
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    must(store.settle_errand(&taken[0], &Settled::Done).await);
    let taken = take(&*store, NOW).await;
    assert_eq!(taken.len(), 1);
    must(store.settle_errand(&taken[0], &Settled::Done).await);
    assert_eq!(take(&*store, NOW).await, []);
}

pub async fn what_failed_keeps_its_time_and_says_why(home: &dyn Home) {
    let store = home.open().await;
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    let taken = take(&*store, NOW).await;
    let later = NOW.after(MINUTE);
    must(store.settle_errand(&taken[0], &again(later, Some("it is down"))).await);
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    assert_eq!(take(&*store, NOW).await, [], "wanting it more does not help");
    let counted = counts(&*store).await;
    assert_eq!((counted.records, counted.failing, counted.oldest_since), (1, 1, Some(NOW)));
    assert_eq!(counted.failure.as_deref(), Some("it is down"));

    let taken = take(&*store, later).await;
    assert_eq!((taken[0].attempts, taken[0].since), (1, NOW));
    must(store.settle_errand(&taken[0], &again(later.after(MINUTE), None)).await);
    let counted = counts(&*store).await;
    assert_eq!((counted.failing, counted.failure), (0, None), "an answer ends the row of failures");
}

pub async fn that_a_record_is_absent_is_remembered_until_it_is_wanted_again(home: &dyn Home) {
    let store = home.open().await;
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    let absent = Settled::Again { due: NOW, absent_since: Some(NOW), failure: None };
    let taken = take(&*store, NOW).await;
    must(store.settle_errand(&taken[0], &absent).await);
    let taken = take(&*store, NOW).await;
    assert_eq!(taken[0].absent_since, Some(NOW));
    must(store.want(SOURCE, &record("u-1"), NOW).await);
    must(store.settle_errand(&taken[0], &absent).await);
    assert_eq!(take(&*store, NOW).await[0].absent_since, None, "it may have come since");
}

/// Leaves one record to be read by each event.
struct Thin<'a>(&'a dyn EventReader);

impl EventReader for Thin<'_> {
    fn read(&self, source: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        self.0.read(source, body)
    }

    fn wanted(&self, _: &str, _: &[u8]) -> Vec<Topic> {
        vec![record("thin"), Topic::Renewal]
    }
}

pub async fn what_events_leave_to_be_read_is_noted_as_they_are_merged(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.append(vec![now(user("u-1", &json!({})))]).await;
    scene.append(Vec::new()).await;
    let projection = must(scene.store.project(&Thin(&scene.script), 100).await);
    assert_eq!(projection.wanted, 4);
    let scene = scene.restarted(home).await;
    let taken = take(&*scene.store, NOW).await;
    let mut taken: Vec<_> = taken.iter().map(|errand| (&errand.topic, errand.since)).collect();
    taken.sort();
    assert_eq!(taken, [(&record("thin"), received_at(0)), (&Topic::Renewal, received_at(0))]);
}

pub async fn topics_are_apart_and_what_is_no_record_is_not_counted_as_one(home: &dyn Home) {
    let store = home.open().await;
    let group = Topic::Record(ResourceKey::group(user_key("u-1").id));
    let verification = |state: &str| Topic::Verification { state: state.to_owned() };
    let expected = [
        record("u-1"),
        group,
        Topic::Missed,
        Topic::Subscription,
        Topic::Everyone,
        Topic::Renewal,
        verification(""),
        verification("a"),
    ];
    for topic in &expected {
        must(store.want(SOURCE, topic, NOW).await);
    }
    let mut topics: Vec<Topic> = take(&*store, NOW).await.into_iter().map(|errand| errand.topic).collect();
    topics.sort();
    assert_eq!(topics, expected);
    assert_eq!(counts(&*store).await.records, 2);
}

pub async fn everybody_who_is_known_by_a_sources_ids_is_wanted_and_nobody_else(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for id in ["dir_1", "dir_2", "dir%3", "hr_4"] {
        scene.append(vec![now(user(id, &json!({})))]).await;
    }
    scene.append(vec![now(group("dir_1", "Staff"))]).await;
    scene.append(vec![now(delete_user("dir_2"))]).await;
    must(scene.store.project(&scene.script, 100).await);
    let later = NOW.after(MINUTE);
    let want = async |kind| must(scene.store.want_known(SOURCE, DIRECTORY, kind, "dir_", later).await);
    let topics = |taken: Vec<Errand>| taken.into_iter().map(|errand| errand.topic).collect::<Vec<_>>();
    want(Kind::User).await;
    want(Kind::User).await;
    assert_eq!(take(&*scene.store, NOW).await, [], "not before it is due");
    assert_eq!(topics(take(&*scene.store, later).await), [record("dir_1")]);
    want(Kind::Group).await;
    assert_eq!(topics(take(&*scene.store, later).await), [Topic::Record(group_key("dir_1"))]);
    must(scene.store.want_known(SOURCE, "another", Kind::User, "dir_", NOW).await);
    assert_eq!(take(&*scene.store, NOW).await, [], "another directory has nobody of that name");
}

pub async fn what_is_remembered_of_a_source_is_kept_by_name(home: &dyn Home) {
    let store = home.open().await;
    assert_eq!(must(store.source_memory(SOURCE, "position").await), None);
    for value in [json!({"link": "a"}), json!({"link": "b"})] {
        must(store.set_source_memory(SOURCE, "position", &value).await);
    }
    must(store.set_source_memory(SOURCE, "subscription", &json!(1)).await);
    drop(store);
    let store = home.open().await;
    assert_eq!(must(store.source_memory(SOURCE, "position").await), Some(json!({"link": "b"})));
    assert_eq!(must(store.source_memory("another", "position").await), None);
}

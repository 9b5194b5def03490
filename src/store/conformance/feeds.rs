//! Feeds: who takes them in, and what a source has said so far.

use std::time::Duration;

use serde_json::json;

use crate::directory::ExternalId;
use crate::store::conformance::scene::{NOW, Scene};
use crate::store::conformance::{Home, must};
use crate::store::{Aspect, Consent, Feed, Known, RecordKey, SettledRecord, StoreError, Tally};

const SOURCE: &str = "hr";
const LONG: Duration = Duration::from_hours(1);
const OVER: Duration = Duration::ZERO;

fn key(aspect: Aspect, id: &str) -> RecordKey {
    RecordKey { aspect, id: ExternalId::parse(id).expect("the tests' ids are ids") }
}

fn user(id: &str) -> RecordKey {
    key(Aspect::User, id)
}

fn settled(key: RecordKey, fingerprint: &str, is_there: bool) -> SettledRecord {
    SettledRecord { key, fingerprint: fingerprint.into(), is_there }
}

fn nine() -> Consent {
    Consent { removals: 9, until: NOW, by: "ann".to_owned() }
}

async fn hold(scene: &Scene, replica: &str, term: Duration) -> Option<Feed> {
    must(scene.store.feeds().hold(SOURCE, replica, term).await)
}

pub async fn one_replica_holds_a_feed_until_it_lets_go_or_its_term_ends(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    assert_eq!(hold(&scene, "one", LONG).await, Some(Feed::default()), "it is free");
    assert_eq!(hold(&scene, "two", LONG).await, None);
    must(scene.store.feeds().release(SOURCE, "two").await);
    assert_eq!(hold(&scene, "two", LONG).await, None, "only the holder lets go");
    let refused = scene.store.feeds().remember(SOURCE, "two", &json!(1), false).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    assert!(hold(&scene, "one", OVER).await.is_some(), "one's own is renewed");
    assert!(hold(&scene, "two", LONG).await.is_some(), "its term is over");
    must(scene.store.feeds().release(SOURCE, "two").await);
    assert!(hold(&scene, "one", LONG).await.is_some(), "it was let go");
}

pub async fn what_is_remembered_of_a_feed_outlives_the_process(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    assert_eq!(must(scene.store.feeds().feed(SOURCE).await), None);
    hold(&scene, "one", OVER).await;
    let memory = json!({"position": "2026-11-20T10:00:00Z"});
    must(scene.store.feeds().remember(SOURCE, "one", &memory, false).await);
    let scene = scene.restarted(home).await;
    let feed = hold(&scene, "two", LONG).await;
    assert_eq!(feed, Some(Feed { memory, consent: None }));
    assert_eq!(must(scene.store.feeds().feed(SOURCE).await), feed);
}

pub async fn consent_stays_until_it_is_spent(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    let feeds = scene.store.feeds();
    assert!(!must(feeds.consent(SOURCE, &nine()).await), "there is no such feed");
    hold(&scene, "one", LONG).await;
    assert!(must(feeds.consent(SOURCE, &nine()).await));
    must(feeds.remember(SOURCE, "one", &json!(1), false).await);
    let feed = hold(&scene, "one", LONG).await.expect("one holds it");
    assert_eq!(feed, Feed { memory: json!(1), consent: Some(nine()) });
    must(feeds.remember(SOURCE, "one", &json!(2), true).await);
    let feed = hold(&scene, "one", LONG).await.expect("one holds it");
    assert_eq!(feed, Feed { memory: json!(2), consent: None });
}

pub async fn what_was_said_of_a_record_is_known_ever_after(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    let records = [user("u1"), key(Aspect::Group, "u1"), key(Aspect::Members, "u1"), user("u2")];
    let feeds = scene.store.feeds();
    assert_eq!(must(feeds.look_up(SOURCE, 0, &records).await), vec![Known::default(); 4]);
    let said = [settled(user("u1"), "a", true), settled(key(Aspect::Members, "u1"), "b", true)];
    must(feeds.settle(SOURCE, 1, &said).await);
    must(feeds.settle(SOURCE, 1, &[settled(user("u2"), "c", true)]).await);
    must(feeds.settle(SOURCE, 1, &[settled(user("u2"), "d", false)]).await);
    let scene = scene.restarted(home).await;
    let known = must(scene.store.feeds().look_up(SOURCE, 0, &records).await);
    let fingerprints: Vec<&[u8]> = known.iter().map(|known| known.fingerprint.as_slice()).collect();
    assert_eq!(fingerprints, [&b"a"[..], b"", b"b", b"d"]);
    assert_eq!(must(scene.store.feeds().look_up("other", 0, &records).await), vec![Known::default(); 4]);
}

pub async fn a_snapshot_that_names_a_record_twice_is_told_so(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    let feeds = scene.store.feeds();
    let named = async |snapshot, id| {
        let known = must(feeds.look_up(SOURCE, snapshot, &[user(id)]).await);
        (known[0].named_before, known[0].fingerprint.clone())
    };
    assert_eq!(named(1, "u1").await, (false, Vec::new()));
    assert_eq!(named(1, "u2").await, (false, Vec::new()));
    assert_eq!(named(1, "u1").await, (true, Vec::new()));
    assert_eq!(named(2, "u1").await, (false, Vec::new()));
    must(feeds.settle(SOURCE, 2, &[settled(user("u1"), "a", true)]).await);
    assert_eq!(named(2, "u1").await, (true, b"a".to_vec()), "what was said stays known");
}

pub async fn who_was_there_and_was_not_seen_since_is_absent(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    let feeds = scene.store.feeds();
    let said = [
        settled(user("u1"), "a", true),
        settled(user("u2"), "a", true),
        settled(user("left"), "a", false),
        settled(key(Aspect::Group, "g"), "a", true),
        settled(key(Aspect::Members, "g"), "a", true),
    ];
    must(feeds.settle(SOURCE, 1, &said).await);
    must(feeds.settle("other", 1, &said).await);
    must(feeds.look_up(SOURCE, 2, &[user("u2"), user("only named")]).await);
    assert_eq!(must(feeds.tally(SOURCE, 1).await), Tally { there: 3, absent: 0 });
    assert_eq!(must(feeds.tally(SOURCE, 2).await), Tally { there: 3, absent: 2 });
    let first = must(feeds.absent(SOURCE, 2, None, 1).await);
    assert_eq!(first, [user("u1")]);
    let rest = must(feeds.absent(SOURCE, 2, first.last(), 10).await);
    assert_eq!(rest, [key(Aspect::Group, "g")]);
    must(feeds.settle(SOURCE, 2, &[settled(user("u1"), "b", false)]).await);
    assert_eq!(must(feeds.tally(SOURCE, 2).await), Tally { there: 2, absent: 1 });
}

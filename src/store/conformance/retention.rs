//! Retention: what goes with age, and what stays for as long as anybody depends on it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::directory::{Kind, Operation};
use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, park};
use crate::store::conformance::script::{
    DIRECTORY, at, deactivate, delete_user, group, group_key, id, members, titled, user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::{Appended, LedgerFilter, Link, LinkChange, NewEvent, Outcome, Pruned, Retention};

const DAY: Duration = Duration::from_hours(24);
const KEPT: Retention = Retention {
    events: DAY.saturating_mul(10),
    ledger: DAY.saturating_mul(20),
    tombstones: DAY.saturating_mul(30),
};
/// Enough for everything in a scene.
const ALL: usize = 100;

fn after_days(days: u32) -> Timestamp {
    Timestamp::from_micros(NOW.as_micros() + i64::try_from((DAY * days).as_micros()).expect("a short time"))
}

async fn prune(scene: &Scene, days: u32) -> Pruned {
    must(scene.store.prune(&KEPT, after_days(days), ALL).await)
}

async fn events(scene: &Scene) -> usize {
    must(scene.store.events(None, ALL).await).items.len()
}

fn delete_group(name: &str) -> Operation {
    Operation::GroupDelete { id: id(name) }
}

pub async fn events_go_once_they_are_merged_and_old(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u1", "Clerk")]).await;
    scene.feed([titled("u2", "Clerk")]).await;
    assert_eq!(prune(&scene, 9).await, Pruned::default(), "too young");
    let waiting = scene.append(vec![]).await;
    assert_eq!(prune(&scene, 11).await, Pruned { events: 2, ..Pruned::default() });
    let left = must(scene.store.events(None, ALL).await).items;
    assert_eq!(left.len(), 1, "what is not merged stays");
    assert_eq!(left[0].event_id, waiting.event_id);
    assert_eq!(scene.due_names().await.len(), 2, "what was merged is work still");

    scene.project_all().await;
    assert_eq!(prune(&scene, 11).await.events, 1);
    assert_eq!(events(&scene).await, 0);
}

pub async fn an_event_that_cannot_be_read_outlasts_its_age(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let event = scene.script.event(1, vec![]);
    must(scene.store.append(NewEvent { body: b"no such".to_vec(), ..event }).await);
    scene.project_all().await;
    assert_eq!(prune(&scene, 400).await, Pruned::default());
    assert_eq!(events(&scene).await, 1);
}

pub async fn a_duplicate_is_known_for_a_week_whatever_is_configured(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let event = scene.feed([titled("u1", "Clerk")]).await;
    let hasty = Retention { events: Duration::ZERO, ledger: Duration::ZERO, tombstones: Duration::ZERO };
    assert_eq!(must(scene.store.prune(&hasty, after_days(6), ALL).await), Pruned::default());
    assert_eq!(must(scene.store.append(event).await), Appended::Duplicate);
}

pub async fn projection_goes_on_after_a_restart_with_every_event_gone(home: &dyn Home) {
    let mut scene = Scene::new(home).await;
    for round in 0..3 {
        for number in 0..3 {
            scene.feed([titled("u1", &format!("Clerk {round} {number}"))]).await;
        }
        assert_eq!(prune(&scene, 11).await.events, 3);
        scene = scene.restarted(home).await;
        assert_eq!(scene.dossier(&user_key("u1")).await.item.generation, 3 * (round + 1));
    }
}

pub async fn the_ledger_goes_by_its_own_age(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u1", "Clerk")]).await;
    let done = outcome(&user_key("u1"), 1).linked("v-1", 1, 0).noting("create", "applied");
    scene.commit(done).await;
    let entries = async || must(scene.store.ledger(&LedgerFilter::default(), None, ALL).await).items.len();
    assert_eq!(prune(&scene, 19).await.ledger, 0);
    assert_eq!(entries().await, 1);
    assert_eq!(prune(&scene, 21).await.ledger, 1);
    assert_eq!(entries().await, 0);
}

pub async fn what_is_alive_never_goes(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene
        .feed([titled("u1", "Clerk"), titled("u2", "Clerk"), group("g1", "One"), members("g1", &["u1"], &[])])
        .await;
    scene.feed([deactivate("u2")]).await;
    for (key, vendor_id) in [(user_key("u1"), "v-1"), (user_key("u2"), "v-2"), (group_key("g1"), "v-g1")] {
        scene.finish(&key, vendor_id).await;
    }
    assert_eq!(prune(&scene, 4_000).await.tombstones, 0, "a deactivated user is no tombstone");
    scene.feed([titled("u1", "Chief")]).await;
    let dossier = scene.dossier(&user_key("u1")).await;
    assert_eq!(dossier.item.generation, 2);
    assert!(matches!(dossier.link, Some(Link::Known(_))), "{:?}", dossier.link);
}

pub async fn a_deleted_user_goes_once_every_target_has_followed(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    scene.feed([titled("u1", "Clerk")]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    scene.feed([delete_user("u1")]).await;
    assert_eq!(prune(&scene, 31).await.tombstones, 0, "both targets have work");
    scene.finish(&user_key("u1"), "v-1").await;
    assert_eq!(prune(&scene, 31).await.tombstones, 0, "one has");
    must(scene.store.retire_all_but(&[TARGET.to_owned()]).await);
    assert_eq!(prune(&scene, 29).await.tombstones, 0, "too young");
    assert_eq!(prune(&scene, 31).await.tombstones, 1);
    assert_eq!(prune(&scene, 31).await.tombstones, 0, "once");
}

pub async fn a_user_who_comes_back_after_its_tombstone_went_is_new(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u1", "Clerk")]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    scene.feed([delete_user("u1")]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    assert_eq!(prune(&scene, 31).await.tombstones, 1);
    scene.feed([titled("u1", "Clerk again")]).await;
    let dossier = scene.dossier(&user_key("u1")).await;
    assert_eq!((dossier.item.generation, dossier.link), (1, None));
    let event = must(scene.store.holder_of(TARGET, Kind::User, "v-1").await);
    assert_eq!(event, None, "the link went with it");
    scene.finish(&user_key("u1"), "v-9").await;
    assert_eq!(scene.pending().await, 0);
}

pub async fn a_deleted_user_stays_while_parked(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u1", "Clerk")]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    scene.feed([delete_user("u1")]).await;
    scene.commit(outcome(&user_key("u1"), 2).ending(park())).await;
    assert_eq!(prune(&scene, 4_000).await.tombstones, 0, "somebody must look at it");
}

pub async fn a_deleted_user_goes_with_its_memberships_and_nobody_waits_for_it(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([group("g1", "One"), members("g1", &["u1", "u2"], &[])]).await;
    let generation = scene.dossier(&group_key("g1")).await.item.generation;
    let waits = outcome(&group_key("g1"), generation).waiting_for(&[id("u1"), id("u2")]);
    scene.commit(waits.linked("v-g1", generation, 2)).await;
    assert_eq!(scene.counts().await.waiting_members, 2);
    scene.feed([delete_user("u1")]).await;
    assert_eq!(scene.counts().await.waiting_members, 1, "who was deleted is not expected");
    let generation = scene.dossier(&user_key("u1")).await.item.generation;
    scene.commit(outcome(&user_key("u1"), generation)).await;
    assert_eq!(prune(&scene, 31).await.tombstones, 1);

    scene.finish(&group_key("g1"), "v-g1").await;
    assert_eq!(prune(&scene, 31).await.tombstones, 1, "the membership ended with it");

    scene.feed([titled("u1", "Clerk again")]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    assert_eq!(scene.due_names().await, ["change user u2"], "the group has nothing to send");
    assert_eq!(scene.counts().await.waiting_members, 1);
}

pub async fn a_membership_that_is_newer_than_its_users_deletion_keeps_the_tombstone(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u1", "Clerk"), group("g1", "One")]).await;
    scene.feed([delete_user("u1")]).await;
    scene.feed([members("g1", &["u1"], &[])]).await;
    for key in [user_key("u1"), group_key("g1")] {
        scene.finish(&key, "v").await;
    }
    assert_eq!(prune(&scene, 31).await.tombstones, 0);
}

pub async fn a_membership_that_ended_goes_once_every_target_was_told(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([group("g1", "One"), titled("u1", "Clerk"), members("g1", &["u1"], &[])]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    scene.finish(&group_key("g1"), "v-g1").await;
    scene.feed([members("g1", &[], &["u1"])]).await;
    assert_eq!(prune(&scene, 31).await.tombstones, 0, "it has to be sent");
    scene.finish(&group_key("g1"), "v-g1").await;
    assert_eq!(prune(&scene, 29).await.tombstones, 0, "too young");
    assert_eq!(prune(&scene, 31).await.tombstones, 1);
    scene.feed([members("g1", &["u1"], &[])]).await;
    assert_eq!(scene.deltas(&group_key("g1")).await.len(), 1, "who joins again is sent again");
}

pub async fn a_group_that_is_not_linked_keeps_the_memberships_that_ended(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([group("g1", "One"), members("g1", &[], &["u1"])]).await;
    let generation = scene.dossier(&group_key("g1")).await.item.generation;
    scene.commit(outcome(&group_key("g1"), generation).ending(park())).await;
    assert_eq!(prune(&scene, 4_000).await.tombstones, 0);
}

pub async fn a_deleted_group_goes_with_its_memberships(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([group("g1", "One"), titled("u1", "Clerk"), members("g1", &["u1"], &[])]).await;
    scene.finish(&user_key("u1"), "v-1").await;
    scene.finish(&group_key("g1"), "v-g1").await;
    scene.feed([delete_group("g1")]).await;
    assert_eq!(prune(&scene, 31).await.tombstones, 0, "it has to be deleted at the vendor");
    let generation = scene.dossier(&group_key("g1")).await.item.generation;
    let gone = outcome(&group_key("g1"), generation);
    scene.commit(Outcome { link: LinkChange::Forget, ..gone }).await;
    let mut gone = 0;
    for _ in 0..3 {
        gone += prune(&scene, 31).await.tombstones;
    }
    assert_eq!(gone, 2, "the membership, then the group");
}

/// Otherwise what was said before, and comes later, would give somebody access again.
pub async fn what_ended_long_ago_is_kept_from_when_the_relay_heard_of_it(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let days_ago = |days: i64, operation| at(NOW.as_micros() / 1_000_000 - days * 86_400, operation);
    let long_ago = |operation| days_ago(400, operation);
    let before = |operation| days_ago(500, operation);
    let hired = [titled("u1", "Clerk"), titled("u2", "Clerk"), group("g1", "One"), group("g2", "Two")];
    let joined = [members("g1", &["u1"], &[])];
    scene.append(hired.into_iter().chain(joined).map(before).collect()).await;
    scene.project_all().await;
    let ended = [members("g1", &[], &["u1"]), delete_user("u2"), delete_group("g2")];
    scene.append(ended.into_iter().map(long_ago).collect()).await;
    scene.project_all().await;
    for (key, vendor) in [
        (user_key("u1"), "v-1"),
        (user_key("u2"), "v-2"),
        (group_key("g1"), "v-g1"),
        (group_key("g2"), "v-g2"),
    ] {
        scene.finish(&key, vendor).await;
    }
    assert_eq!(prune(&scene, 29).await.tombstones, 0, "it was heard of a moment ago");
    let late = [members("g1", &["u1"], &[]), titled("u2", "Chief"), group("g2", "Too late")];
    scene.append(late.into_iter().map(before).collect()).await;
    scene.project_all().await;
    for (key, vendor) in [(user_key("u2"), "v-2"), (group_key("g2"), "v-g2")] {
        let present = must(scene.store.present(&DIRECTORY.to_owned(), &key).await).expect("it is remembered");
        assert!(!present.wanted, "{key:?} is not brought back by what was said before");
        if must(scene.store.load(TARGET, &key, 1).await).is_some() {
            scene.finish(&key, vendor).await;
        }
    }
    assert_eq!(scene.pending().await, 0, "nor is the membership");
    let mut gone = 0;
    for _ in 0..3 {
        gone += prune(&scene, 31).await.tombstones;
    }
    assert_eq!(gone, 3);
}

pub async fn pruning_goes_in_small_batches(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for number in 0..5 {
        scene.feed([titled(&format!("u{number}"), "Clerk")]).await;
    }
    let mut batches = Vec::new();
    loop {
        let pruned = must(scene.store.prune(&KEPT, after_days(11), 2).await);
        batches.push(pruned.events);
        if !pruned.more {
            break;
        }
    }
    assert_eq!(batches, [2, 2, 1]);
}

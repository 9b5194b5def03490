//! Targets: whom they follow, and who may commit for them.

use std::time::Duration;

use serde_json::json;

use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, wait};
use crate::store::conformance::script::{
    DIRECTORY, deactivate, delete_user, group, group_key, members, titled, user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::{Intent, Lane, LedgerFilter, Quarantine, StoreError, TargetState, WorkChange};

pub async fn a_new_target_gets_all_that_the_directory_holds(home: &dyn Home) {
    let scene = Scene::without_target(home).await;
    scene.feed([titled("u", "A"), titled("leaver", "A"), titled("gone", "A"), group("g", "G")]).await;
    scene.feed([deactivate("leaver"), delete_user("gone"), members("g", &["u"], &[])]).await;
    assert!(must(scene.store.status().await).targets.is_empty());

    must(scene.store.enrol(TARGET, &DIRECTORY.to_owned(), NOW).await);
    assert_eq!(
        scene.due_names().await,
        ["deprovision user gone", "deprovision user leaver", "backfill user u", "backfill group g"]
    );
    for item in scene.due().await {
        assert_eq!((item.since, item.attempts), (NOW, 0));
        assert_eq!(item.generation, if item.key == user_key("u") { 1 } else { 2 }, "{item:?}");
    }
    // What changes while it catches up is as urgent as ever.
    scene.feed([titled("u", "B"), members("g", &["w"], &[])]).await;
    assert_eq!(scene.due_names().await[2..], ["change user u".to_owned(), "membership group g".to_owned()]);
}

pub async fn enrolling_again_changes_nothing(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), titled("w", "A")]).await;
    scene.finish(&user_key("u"), "v-u").await;
    let later = NOW.after(Duration::from_mins(1));
    scene.commit(outcome(&user_key("w"), 1).ending(wait(later))).await;
    must(scene.store.set_target_memory(TARGET, &json!({"limit": 5})).await);
    must(scene.store.enrol(TARGET, &DIRECTORY.to_owned(), later).await);
    assert_eq!(scene.due().await, []);
    let record = must(scene.store.target(TARGET).await).expect("the target is enrolled");
    assert_eq!(record.memory, json!({"limit": 5}));
}

pub async fn a_target_that_follows_another_directory_starts_anew(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), titled("w", "A"), members("g", &["x"], &[])]).await;
    scene.finish(&user_key("u"), "v-u").await;
    scene.commit(outcome(&group_key("g"), 1).linked("v-g", 1, 1)).await;

    must(scene.store.enrol(TARGET, &"lab".to_owned(), NOW).await);
    assert_eq!(scene.due().await, [], "the other directory is empty");
    assert_eq!(scene.counts().await.waiting_members, 0);
    scene.feed([titled("u", "B")]).await;
    assert_eq!(scene.due().await, [], "it does not follow that directory any more");

    must(scene.store.enrol(TARGET, &DIRECTORY.to_owned(), NOW).await);
    assert_eq!(scene.due().await.len(), 3);
    let dossier = scene.dossier(&user_key("u")).await;
    assert_eq!((dossier.item.lane, dossier.link), (Lane::Backfill, None), "ids may name others by now");
}

pub async fn a_backfill_makes_all_that_the_directory_holds_due_again(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), titled("parked", "A"), deactivate("leaver"), titled("new", "A")]).await;
    scene.feed([group("g", "G")]).await;
    scene.finish(&user_key("u"), "v-u").await;
    scene.finish(&user_key("leaver"), "v-l").await;
    scene.finish(&group_key("g"), "v-g").await;
    let park = WorkChange::Park { reason: "the scope fails".to_owned() };
    scene.commit(outcome(&user_key("parked"), 1).ending(park)).await;
    assert_eq!(scene.due_names().await, ["change user new"]);

    must(scene.store.backfill(TARGET, NOW).await);
    assert_eq!(
        scene.due_names().await,
        [
            "deprovision user leaver",
            "change user new",
            "change user parked",
            "backfill user u",
            "backfill group g"
        ]
    );
    assert!(scene.dossier(&user_key("u")).await.link.is_some(), "links are kept");
    must(scene.store.backfill("nowhere", NOW).await);
}

pub async fn a_retired_target_gets_no_work_and_catches_up_when_it_is_back(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    scene.feed([titled("u", "A")]).await;
    scene.finish(&user_key("u"), "v-u").await;

    must(scene.store.retire_all_but(&["second".to_owned()]).await);
    scene.feed([titled("u", "B"), titled("w", "A")]).await;
    assert_eq!(scene.due().await, []);
    let status = must(scene.store.status().await);
    assert_eq!(status.targets.keys().collect::<Vec<_>>(), ["second"]);

    must(scene.store.enrol(TARGET, &DIRECTORY.to_owned(), NOW).await);
    assert_eq!(scene.due_names().await, ["backfill user u", "backfill user w"]);
    assert!(scene.dossier(&user_key("u")).await.link.is_some(), "links are kept");
}

pub async fn who_was_deposed_commits_nothing(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A")]).await;
    let old = scene.tenure_of("replica-1").await;
    let new = scene.tenure_of("replica-2").await;
    assert!(new.epoch > old.epoch);

    let finish = outcome(&user_key("u"), 1).linked("v-u", 1, 0).noting("create", "applied");
    let refused = scene.store.commit(&old, vec![finish.clone()], NOW).await;
    assert!(matches!(refused, Err(StoreError::Deposed { ref target }) if target == TARGET), "{refused:?}");
    let intent = Intent { operation: "create".to_owned(), at: NOW };
    let refused = scene.store.intend(&old, &user_key("u"), &intent).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    let dossier = scene.dossier(&user_key("u")).await;
    assert_eq!((dossier.link, dossier.item.intent), (None, None));
    assert_eq!(must(scene.store.ledger(&LedgerFilter::default(), None, 10).await).items, []);

    must(scene.store.commit(&new, vec![finish], NOW).await);
    assert_eq!(scene.pending().await, 0);
    let unknown = scene.store.take("nowhere", "replica-1", Duration::ZERO).await;
    assert!(matches!(unknown, Err(StoreError::Deposed { .. })), "{unknown:?}");

    // The epoch outlives the process: a restart deposes whoever was there before.
    let scene = scene.restarted(home).await;
    let newest = scene.tenure_of("replica-1").await;
    assert!(newest.epoch > new.epoch);
    let late = outcome(&user_key("u"), 1).ending(WorkChange::Continue);
    assert!(matches!(scene.store.commit(&new, vec![late], NOW).await, Err(StoreError::Deposed { .. })));
}

pub async fn state_and_memory_of_a_target_are_kept(home: &dyn Home) {
    let scene = Scene::new(home).await;
    assert_eq!(must(scene.store.target("nowhere").await), None);
    let record = must(scene.store.target(TARGET).await).expect("the target is enrolled");
    assert_eq!((record.directory.as_str(), &record.state), (DIRECTORY, &TargetState::Running));
    assert_eq!(record.memory, json!(null));

    let quarantine = Quarantine { mend: "a new key".to_owned(), tried: 3, next_probe: Some(NOW) };
    let suspended = TargetState::Suspended { reason: "401 after refresh".to_owned(), since: NOW, quarantine };
    must(scene.store.set_target_state(TARGET, &suspended).await);
    must(scene.store.set_target_memory(TARGET, &json!({"chunk": 50, "breaker": "open"})).await);
    let scene = scene.restarted(home).await;
    let record = must(scene.store.target(TARGET).await).expect("the target is enrolled");
    assert_eq!((&record.state, record.memory), (&suspended, json!({"chunk": 50, "breaker": "open"})));
    assert_eq!(scene.counts().await.state, Some(suspended));
}

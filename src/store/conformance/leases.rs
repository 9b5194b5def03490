//! Leases: who dispatches what, and who lives.

use std::time::Duration;

use crate::store::conformance::scene::{NOW, Scene, TARGET};
use crate::store::conformance::script::DIRECTORY;
use crate::store::conformance::{Home, must};
use crate::store::{Roster, Tenure};

/// A term that outlasts the test.
const LONG: Duration = Duration::from_hours(1);
/// A term that is over at once.
const OVER: Duration = Duration::ZERO;

async fn take(scene: &Scene, replica: &str, term: Duration) -> Option<Tenure> {
    must(scene.store.take(TARGET, replica, term).await)
}

fn holder(roster: &Roster, target: &str) -> Option<String> {
    roster.targets[target].as_ref().map(|tenure| tenure.holder.clone())
}

pub async fn a_lease_that_lasts_is_taken_by_nobody_else(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let first = take(&scene, "replica-1", LONG).await.expect("it is free");
    assert_eq!((first.target.as_str(), first.holder.as_str()), (TARGET, "replica-1"));
    assert_eq!(take(&scene, "replica-2", LONG).await, None);
    must(scene.store.commit(&first, Vec::new(), NOW).await);

    let again = take(&scene, "replica-1", OVER).await.expect("one's own is taken anew");
    assert!(again.epoch > first.epoch);
    let other = take(&scene, "replica-2", LONG).await.expect("it has run out");
    assert!(other.epoch > again.epoch);
}

pub async fn a_lease_that_is_handed_back_is_free_at_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let first = take(&scene, "replica-1", LONG).await.expect("it is free");
    must(scene.store.release(&first).await);
    let roster = must(scene.store.attend("replica-2", LONG).await);
    assert_eq!(holder(&roster, TARGET), None);
    let second = take(&scene, "replica-2", LONG).await.expect("it was handed back");
    assert!(second.epoch > first.epoch);
}

pub async fn attending_renews_and_tells_who_holds_what(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    must(scene.store.enrol("retired", &DIRECTORY.to_owned(), NOW).await);
    must(scene.store.retire_all_but(&[TARGET.to_owned(), "second".to_owned()]).await);

    let tenure = take(&scene, "replica-1", OVER).await.expect("it is free");
    must(scene.store.attend("short", OVER).await);
    let roster = must(scene.store.attend("replica-1", LONG).await);
    assert_eq!(
        roster.replicas,
        ["replica-1".to_owned()].into(),
        "who attended no longer than a moment is gone"
    );
    assert_eq!(roster.targets.keys().collect::<Vec<_>>(), [TARGET, "second"]);
    assert_eq!(roster.targets[TARGET], Some(tenure), "what ran out and nobody took is renewed");
    assert_eq!(roster.targets["second"], None);

    assert_eq!(take(&scene, "replica-2", LONG).await, None);
    let roster = must(scene.store.attend("replica-2", LONG).await);
    assert_eq!(roster.replicas, ["replica-1".to_owned(), "replica-2".to_owned()].into());
    assert_eq!(holder(&roster, TARGET).as_deref(), Some("replica-1"));
}

pub async fn who_left_takes_no_part_and_keeps_its_leases(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.attend("replica-1", LONG).await);
    let tenure = take(&scene, "replica-1", LONG).await.expect("it is free");
    must(scene.store.leave("replica-1").await);
    let roster = must(scene.store.attend("replica-2", LONG).await);
    assert_eq!(roster.replicas, ["replica-2".to_owned()].into());
    assert_eq!(holder(&roster, TARGET).as_deref(), Some("replica-1"));
    must(scene.store.commit(&tenure, Vec::new(), NOW).await);
}

pub async fn what_a_deposed_replica_hands_back_is_not_its_successors(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let old = take(&scene, "replica-1", OVER).await.expect("it is free");
    let new = take(&scene, "replica-2", LONG).await.expect("it has run out");
    must(scene.store.release(&old).await);
    let roster = must(scene.store.attend("replica-1", LONG).await);
    assert_eq!(roster.targets[TARGET], Some(new), "neither handed back nor renewed by the one before");
}

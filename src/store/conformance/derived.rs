//! Groups that a target derives: memberships that come of judging users.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::directory::{AttributePath, ExternalId, ResourceKey};
use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, retry};
use crate::store::conformance::script::{DIRECTORY, deactivate, id, titled, user_key};
use crate::store::conformance::{Home, must};
use crate::store::{
    Desired, ItemId, LinkChange, MemberDelta, MemberStanding, Outcome, Retention, WorkChange,
};

const SELLERS: &str = "Sellers";

fn sellers() -> ResourceKey {
    ResourceKey::group(ExternalId::derived(SELLERS).expect("a name"))
}

fn after(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// The group's deltas as text: `+` or `-`, user, sequence, and `!` where it waited.
async fn deltas(scene: &Scene) -> Vec<String> {
    let name = |delta: &MemberDelta| {
        let (sign, mark) = (if delta.present { '+' } else { '-' }, if delta.waited { "!" } else { "" });
        format!("{sign}{}{mark} {}", delta.user, delta.sequence)
    };
    scene.deltas(&sellers()).await.iter().map(name).collect()
}

/// Brings users into the directory, and judges each at the vendor.
async fn judged(scene: &Scene, users: &[(&str, bool)]) {
    for (name, _) in users {
        scene.feed([titled(name, &format!("title {}", scene.due().await.len()))]).await;
    }
    for (name, sells) in users {
        judge(scene, name, *sells).await;
    }
}

async fn judge(scene: &Scene, name: &str, sells: bool) {
    let key = user_key(name);
    let generation = scene.dossier(&key).await.item.generation;
    let linked = outcome(&key, generation).linked(&format!("v-{name}"), generation, 0);
    scene.commit(linked.judging(&[(SELLERS, sells)])).await;
}

pub async fn a_judgement_makes_a_member_and_work(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("in", true), ("out", false)]).await;
    assert_eq!(scene.due_names().await, ["membership group derived:Sellers"]);
    let dossier = scene.dossier(&sellers()).await;
    let Desired::Group { group, deltas, more } = dossier.desired else { panic!("it is a group") };
    assert!(group.is_described() && !more);
    let name = group.attributes.shown(&AttributePath::new("displayName"));
    assert_eq!(name.and_then(|name| name.as_str()), Some(SELLERS));
    assert_eq!(deltas.len(), 1);
    assert_eq!(deltas[0].standing, MemberStanding::Linked("v-in".to_owned()));
    assert_eq!(dossier.item.generation, group.generation);

    scene.finish(&sellers(), "v-s").await;
    scene.feed([titled("in", "B"), titled("out", "B")]).await;
    judge(&scene, "in", true).await;
    judge(&scene, "out", false).await;
    assert_eq!(scene.due_names().await, [""; 0], "nothing has changed");
}

pub async fn who_belongs_no_more_leaves_by_the_revoking_lane(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true), ("b", true)]).await;
    scene.finish(&sellers(), "v-s").await;
    scene.feed([titled("a", "B")]).await;
    judge(&scene, "a", false).await;
    assert_eq!(scene.due_names().await, ["revoke group derived:Sellers"]);
    assert_eq!(deltas(&scene).await, ["-a 3"]);
}

pub async fn a_group_that_no_judgement_names_keeps_its_members(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true)]).await;
    scene.finish(&sellers(), "v-s").await;
    scene.feed([titled("a", "B")]).await;
    let generation = scene.dossier(&user_key("a")).await.item.generation;
    scene.commit(outcome(&user_key("a"), generation).judging(&[("Others", false)])).await;
    assert_eq!(scene.due_names().await, [""; 0]);
}

pub async fn a_judgement_counts_however_the_call_ended(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A")]).await;
    scene.commit(outcome(&user_key("a"), 1).ending(retry(after(600))).judging(&[(SELLERS, true)])).await;
    assert_eq!(deltas(&scene).await, ["+a 1"]);
}

pub async fn a_derived_group_gathers_members_while_users_are_to_be_judged(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "A"), titled("c", "A")]).await;
    judge(&scene, "a", true).await;
    judge(&scene, "b", false).await;
    assert_eq!(scene.due_names().await, ["change user c"]);
    assert!(scene.due_at(after(10)).await.iter().any(|item| item.key == sellers()), "not for long");
    judge(&scene, "c", false).await;
    assert_eq!(scene.due_names().await, ["membership group derived:Sellers"], "nobody is left");

    // Members that came during the call are sent with those who come yet.
    scene.feed([titled("b", "B"), titled("d", "A")]).await;
    judge(&scene, "d", true).await;
    let sent = outcome(&sellers(), 1).linked("v-s", 1, 1);
    scene.commit(sent).await;
    assert_eq!(scene.due_names().await, ["change user b"]);
    judge(&scene, "b", false).await;
    assert_eq!(deltas(&scene).await, ["+d 2"]);
    assert_eq!(scene.due_names().await, ["membership group derived:Sellers"]);
}

pub async fn each_target_has_derived_groups_of_its_own(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    judged(&scene, &[("a", true)]).await;
    assert_eq!(must(scene.store.load("second", &sellers(), 10).await), None);
    assert_eq!(deltas(&scene).await, ["+a 1"]);
}

pub async fn a_derived_member_waits_for_its_user(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A")]).await;
    let parked = WorkChange::Park { reason: "no licence".to_owned() };
    scene.commit(outcome(&user_key("a"), 1).ending(parked).judging(&[(SELLERS, true)])).await;
    scene.commit(outcome(&sellers(), 1).linked("v-s", 1, 1).waiting_for(&[id("a")])).await;
    assert_eq!(scene.due_names().await, [""; 0]);
    assert_eq!(scene.counts().await.waiting_members, 1);
    assert!(must(scene.store.retry_parked(TARGET, &ItemId::Resource(user_key("a")), "ann", NOW).await));
    scene.finish(&user_key("a"), "v-a").await;
    assert_eq!(scene.due_names().await, ["membership group derived:Sellers"]);
    assert_eq!(deltas(&scene).await, ["+a! 1"]);
    assert_eq!(scene.dossier(&sellers()).await.item.generation, 1);
    scene.commit(outcome(&sellers(), 1).settling(&[id("a")])).await;
    assert_eq!(scene.due_names().await, [""; 0]);
}

pub async fn a_derived_member_that_was_parked_is_retried(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true)]).await;
    scene.commit(outcome(&sellers(), 1).linked("v-s", 1, 1).parking(&id("a"), "no seat")).await;
    assert_eq!(scene.due_names().await, [""; 0]);
    let parked = ItemId::Member { group: sellers().id, user: id("a") };
    assert!(must(scene.store.retry_parked(TARGET, &parked, "ann", NOW).await));
    assert_eq!(deltas(&scene).await, ["+a! 1"]);
    assert_eq!(scene.dossier(&sellers()).await.item.generation, 1);
}

pub async fn a_user_whom_the_vendor_has_forgotten_is_sent_to_its_derived_groups_again(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true)]).await;
    scene.finish(&sellers(), "v-s").await;
    scene.feed([titled("a", "B")]).await;
    let lost = Outcome { link: LinkChange::Forget, ..outcome(&user_key("a"), 2) };
    scene.commit(lost.ending(WorkChange::Continue)).await;
    scene.finish(&user_key("a"), "v-new").await;
    assert_eq!(scene.due_names().await, ["membership group derived:Sellers"]);
    assert_eq!(deltas(&scene).await, ["+a! 1"]);
}

pub async fn a_backfill_looks_at_derived_groups_too(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true)]).await;
    scene.finish(&sellers(), "v-s").await;
    must(scene.store.backfill(TARGET, NOW).await);
    assert_eq!(scene.due_names().await, ["backfill user a", "backfill group derived:Sellers"]);
}

pub async fn derived_groups_of_another_directory_are_forgotten(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true)]).await;
    must(scene.store.enrol(TARGET, &"elsewhere".to_owned(), NOW).await);
    must(scene.store.enrol(TARGET, &DIRECTORY.to_owned(), NOW).await);
    assert_eq!(scene.due_names().await, ["backfill user a"]);
    judge(&scene, "a", true).await;
    assert_eq!(deltas(&scene).await, ["+a 1"], "nobody was a member");
}

pub async fn a_derived_membership_that_ended_is_kept_until_it_was_told(home: &dyn Home) {
    let scene = Scene::new(home).await;
    judged(&scene, &[("a", true)]).await;
    scene.finish(&sellers(), "v-s").await;
    scene.feed([deactivate("a")]).await;
    judge(&scene, "a", false).await;
    let month = Duration::from_hours(24 * 30);
    let keep = Retention { events: month, ledger: month, tombstones: month };
    let late = NOW.after(month * 20);
    assert_eq!(must(scene.store.prune(&keep, late, 100).await).tombstones, 0);
    assert_eq!(deltas(&scene).await, ["-a 2"]);
    scene.finish(&sellers(), "v-s").await;
    assert_eq!(must(scene.store.prune(&keep, late, 100).await).tombstones, 1);
}

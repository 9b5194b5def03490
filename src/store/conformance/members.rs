//! Memberships: what a group has to send, who waits for whom, and who is parked.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::directory::{ExternalId, ResourceKey, User};
use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, park, retry, wait};
use crate::store::conformance::script::{group_key, id, members, titled, user, user_key};
use crate::store::conformance::{Home, must};
use crate::store::{
    Desired, Intent, ItemId, Lane, LedgerFilter, Link, LinkChange, MemberStanding, Outcome, WorkChange,
};

const G: &str = "g";

fn g() -> ResourceKey {
    group_key(G)
}

/// The group's deltas as text: `+` or `-`, user, sequence, and `!` where it waited.
async fn deltas(scene: &Scene) -> Vec<String> {
    let deltas = scene.deltas(&g()).await;
    let name = |delta: crate::store::MemberDelta| {
        let (sign, mark) = (if delta.present { '+' } else { '-' }, if delta.waited { "!" } else { "" });
        format!("{sign}{}{mark} {}", delta.user, delta.sequence)
    };
    deltas.into_iter().map(name).collect()
}

/// A group with one member whom nobody knows yet, linked and told all but that.
async fn waiting_group(home: &dyn Home, work: WorkChange) -> Scene {
    let scene = Scene::new(home).await;
    scene.feed([members(G, &["u"], &[])]).await;
    scene.commit(outcome(&g(), 1).linked("v-g", 1, 1).waiting_for(&[id("u")]).ending(work)).await;
    scene
}

pub async fn memberships_are_loaded_in_order_and_in_chunks(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let names: Vec<String> = (0..25).map(|number| format!("u{}", (number * 7) % 25)).collect();
    for name in &names {
        scene.feed([members(G, &[name], &[])]).await;
    }
    let mut sent = Vec::new();
    loop {
        let dossier = must(scene.store.load(TARGET, &g(), 10).await).expect("the group is work");
        let Desired::Group { deltas, more, group } = dossier.desired else { panic!("g is a group") };
        assert_eq!(group.member_sequence, 25);
        assert_eq!(more, sent.len() + deltas.len() < 25);
        let watermark = deltas.last().expect("there are deltas left").sequence;
        sent.extend(deltas.into_iter().map(|delta| delta.user.as_str().to_owned()));
        let ending = if more { WorkChange::Continue } else { WorkChange::Finish };
        scene.commit(outcome(&g(), 25).linked("v-g", 25, watermark).ending(ending)).await;
        if !more {
            break;
        }
    }
    assert_eq!(sent, names);
    assert_eq!(scene.due().await, []);
    // Later, only what changed since.
    scene.feed([members(G, &["new"], &["u7"])]).await;
    assert_eq!(deltas(&scene).await, ["+new 26", "-u7 27"]);
}

pub async fn a_group_with_memberships_left_is_not_finished(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([members(G, &["a", "b"], &[])]).await;
    let committed = scene.commit(outcome(&g(), 1).linked("v-g", 1, 1)).await;
    assert_eq!((committed.converged.len(), committed.woken), (0, true));
    assert_eq!(deltas(&scene).await, ["+b 2"]);
    // A group that the vendor does not have has no memberships to send.
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    let committed = scene.commit(Outcome { link: absent, ..outcome(&g(), 1) }).await;
    assert_eq!(committed.converged.len(), 1);
}

pub async fn who_may_just_have_been_created_is_not_known_to_be_absent(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), members(G, &["u"], &[])]).await;
    scene.commit(outcome(&g(), 1).linked("v-g", 1, 0).ending(retry(NOW))).await;
    let standing = async || scene.deltas(&g()).await[0].standing.clone();
    let absent = || LinkChange::Set(Link::Absent { checked_at: NOW });
    let looked = Outcome { link: absent(), ..outcome(&user_key("u"), 1) }.ending(retry(NOW));
    scene.commit(looked.clone()).await;
    assert_eq!(standing().await, MemberStanding::Absent);

    let intent = Intent { operation: "create".to_owned(), at: NOW };
    must(scene.store.intend(&scene.tenure().await, &user_key("u"), &intent).await);
    assert_eq!(standing().await, MemberStanding::Unknown { coming: true }, "as long as the call may be done");
    scene.commit(looked.clone().noting("create", "unknown")).await;
    assert_eq!(standing().await, MemberStanding::Unknown { coming: true }, "and after its answer was lost");
    scene.commit(looked.noting("lookup", "not_found")).await;
    assert_eq!(standing().await, MemberStanding::Absent, "until somebody has looked");
}

pub async fn a_group_that_waits_is_woken_when_its_user_is_linked(home: &dyn Home) {
    woken_when_linked(home, wait(NOW.after(Duration::from_hours(1)))).await;
}

pub async fn a_group_that_is_done_is_woken_when_its_user_is_linked(home: &dyn Home) {
    woken_when_linked(home, WorkChange::Finish).await;
}

async fn woken_when_linked(home: &dyn Home, work: WorkChange) {
    let scene = waiting_group(home, work).await;
    assert_eq!(scene.due_names().await, ["change user u"]);
    assert_eq!(scene.counts().await.waiting_members, 1);

    let committed = scene.finish(&user_key("u"), "v-u").await;
    assert!(committed.woken);
    assert_eq!(scene.due_names().await, ["membership group g"]);
    assert_eq!(deltas(&scene).await, ["+u! 1"]);
    assert_eq!(scene.deltas(&g()).await[0].standing, MemberStanding::Linked("v-u".to_owned()));

    let settled = scene.commit(outcome(&g(), 1).settling(&[id("u")])).await;
    assert_eq!(settled.converged.len(), 1);
    assert_eq!(scene.counts().await.waiting_members, 0);
}

pub async fn a_wait_for_a_user_who_is_linked_already_is_due_at_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), members(G, &["u"], &[])]).await;
    // The group was planned before the user's link, and committed after it.
    scene.finish(&user_key("u"), "v-u").await;
    let later = wait(NOW.after(Duration::from_hours(1)));
    for work in [WorkChange::Finish, later] {
        let planned = outcome(&g(), 1).linked("v-g", 1, 1).waiting_for(&[id("u")]).ending(work);
        let committed = scene.commit(planned).await;
        assert!(committed.woken);
        assert_eq!(scene.due_names().await, ["membership group g"]);
        assert_eq!(deltas(&scene).await, ["+u! 1"]);
    }
    // A plan that forgets to settle the wait does not end it.
    scene.commit(outcome(&g(), 1)).await;
    assert_eq!(deltas(&scene).await, ["+u! 1"]);
    // Both in one commit, in the other order.
    let other = scene.feed([titled("w", "A"), members(G, &["w"], &[])]).await;
    assert_eq!(other.source, "hr");
    let tenure = scene.tenure().await;
    let both = vec![
        outcome(&g(), 2).linked("v-g", 2, 2).settling(&[id("u")]).waiting_for(&[id("w")]),
        outcome(&user_key("w"), 1).linked("v-w", 1, 0),
    ];
    must(scene.store.commit(&tenure, both, NOW).await);
    assert_eq!(deltas(&scene).await, ["+w! 2"]);
}

pub async fn a_user_who_is_linked_during_a_call_wakes_the_group_after_it(home: &dyn Home) {
    let scene = waiting_group(home, WorkChange::Finish).await;
    scene.feed([members(G, &["w"], &[])]).await;
    // The group is planned now, and the user is linked before the plan is through.
    assert_eq!(deltas(&scene).await, ["+w 2"]);
    scene.finish(&user_key("u"), "v-u").await;
    let later = wait(NOW.after(Duration::from_hours(1)));
    let committed = scene.commit(outcome(&g(), 2).linked("v-g", 2, 2).ending(later.clone())).await;
    assert!(committed.woken);
    assert_eq!(scene.due_names().await, ["membership group g"]);
    // Once: a group that waits all the same waits.
    scene.commit(outcome(&g(), 2).ending(later)).await;
    assert_eq!(scene.due_names().await, [""; 0]);
}

pub async fn a_user_whom_nobody_looked_for_gets_work_when_waited_for(home: &dyn Home) {
    let scene = waiting_group(home, WorkChange::Finish).await;
    let due = scene.due().await;
    assert_eq!(
        (due.len(), &due[0].key, due[0].lane, due[0].generation),
        (1, &user_key("u"), Lane::Change, 0)
    );
    let dossier = scene.dossier(&user_key("u")).await;
    assert_eq!(dossier.desired, Desired::User { user: User::default(), references: BTreeMap::new() });

    // Looked for and not there: that is known, and not looked for again because somebody waits.
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    scene.commit(Outcome { link: absent, ..outcome(&user_key("u"), 0) }).await;
    scene.feed([members(G, &["w"], &[])]).await;
    assert_eq!(deltas(&scene).await, ["+w 2"]);
    scene.commit(outcome(&g(), 2).linked("v-g", 2, 2).waiting_for(&[id("u"), id("w")])).await;
    assert_eq!(scene.due_names().await, ["change user w"]);
    assert_eq!(scene.counts().await.waiting_members, 2);
}

pub async fn a_user_whom_the_vendor_has_forgotten_is_a_member_to_send_again(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    for (name, forgotten) in [("a", Some(LinkChange::Forget)), ("b", Some(absent)), ("c", None)] {
        scene.feed([titled(name, "A"), members(G, &[name], &[]), members("other", &[], &[name])]).await;
        scene.finish(&user_key(name), "v-old").await;
        scene.finish(&g(), "v-g").await;
        scene.finish(&group_key("other"), "v-other").await;
        scene.feed([titled(name, "B")]).await;
        if let Some(link) = forgotten {
            let lost = Outcome { link, ..outcome(&user_key(name), 2) };
            scene.commit(lost.ending(WorkChange::Continue)).await;
            assert_eq!(scene.due_names().await, [format!("change user {name}")]);
        }
        let committed = scene.finish(&user_key(name), "v-new").await;
        assert!(committed.woken);
        assert_eq!(scene.due_names().await, ["membership group g"], "not the group that it has left");
        let sent = scene.deltas(&g()).await;
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].standing, MemberStanding::Linked("v-new".to_owned()));
        let generation = scene.dossier(&g()).await.item.generation;
        scene.commit(outcome(&g(), generation).settling(&[id(name)])).await;
        assert_eq!(scene.due_names().await, Vec::<String>::new());
    }
}

pub async fn a_member_that_was_lost_during_a_groups_call_is_sent_again(home: &dyn Home) {
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    let scene = Scene::new(home).await;
    for (name, lost) in [("a", LinkChange::Forget), ("b", absent)] {
        scene.feed([titled(name, "A"), members(G, &[name], &[])]).await;
        scene.finish(&user_key(name), &format!("v-{name}")).await;
        // The group is planned, and its call is under way with the account that is lost now.
        let generation = scene.dossier(&g()).await.item.generation;
        let sequence = scene.deltas(&g()).await.last().expect("a member is to be sent").sequence;
        scene.feed([titled(name, "B")]).await;
        let lost = Outcome { link: lost, ..outcome(&user_key(name), 2) };
        scene.commit(lost.ending(WorkChange::Continue)).await;
        let told = outcome(&g(), generation).linked("v-g", generation, sequence).settling(&[id(name)]);
        scene.commit(told).await;
        scene.finish(&user_key(name), "v-new").await;
        assert_eq!(scene.due_names().await, ["membership group g"]);
        assert_eq!(deltas(&scene).await, [format!("+{name}! {sequence}")]);
        // Told once more, it is told.
        scene.commit(outcome(&g(), generation).settling(&[id(name)])).await;
        assert_eq!(scene.due_names().await, [""; 0]);
    }
}

pub async fn only_a_linked_user_ends_a_wait(home: &dyn Home) {
    let scene = waiting_group(home, WorkChange::Finish).await;
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    let committed = scene.commit(Outcome { link: absent, ..outcome(&user_key("u"), 0) }).await;
    assert!(!committed.woken);
    assert_eq!(scene.due_names().await, [""; 0]);

    // Linked, and lost again before the group was sent: the wait goes on.
    scene.feed([titled("u", "A")]).await;
    scene.finish(&user_key("u"), "v-u").await;
    assert_eq!(deltas(&scene).await, ["+u! 1"]);
    scene.feed([titled("u", "B")]).await;
    scene.commit(Outcome { link: LinkChange::Forget, ..outcome(&user_key("u"), 2) }).await;
    assert_eq!(deltas(&scene).await, [""; 0]);
    scene.commit(outcome(&g(), 1)).await;
    assert_eq!(scene.due_names().await, [""; 0]);
    scene.feed([titled("u", "C")]).await;
    scene.finish(&user_key("u"), "v-u2").await;
    assert_eq!(deltas(&scene).await, ["+u! 1"]);
}

pub async fn a_membership_that_changed_meanwhile_ends_its_wait(home: &dyn Home) {
    let scene = waiting_group(home, WorkChange::Finish).await;
    scene.feed([members(G, &[], &["u"])]).await;
    assert_eq!(deltas(&scene).await, ["-u 2"]);
    // Whom the vendor does not know needs no removal: the watermark passes the row.
    scene.commit(outcome(&g(), 2).linked("v-g", 2, 2)).await;
    assert_eq!(scene.counts().await.waiting_members, 0);
    scene.finish(&user_key("u"), "v-u").await;
    assert_eq!(scene.due_names().await, [""; 0]);
}

pub async fn a_user_waits_for_its_manager(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([user("u", &json!({"manager": "boss"}))]).await;
    let references = async || match scene.dossier(&user_key("u")).await.desired {
        Desired::User { references, .. } => references.into_iter().collect::<Vec<_>>(),
        Desired::Group { .. } => panic!("u is a user"),
    };
    assert_eq!(references().await, [(id("boss"), MemberStanding::Unknown { coming: false })]);
    scene.commit(outcome(&user_key("u"), 1).linked("v-u", 1, 0).waiting_for(&[id("boss")])).await;
    assert_eq!(scene.due_names().await, ["change user boss"]);
    assert_eq!(scene.counts().await.waiting_members, 0, "a manager is no member");

    scene.feed([titled("u", "Lead")]).await;
    assert_eq!(references().await, [(id("boss"), MemberStanding::Unknown { coming: true })]);
    scene.commit(outcome(&user_key("u"), 2).linked("v-u", 2, 0).waiting_for(&[id("boss")])).await;

    scene.finish(&user_key("boss"), "v-boss").await;
    assert_eq!(scene.due_names().await, ["change user u"]);
    assert_eq!(references().await, [(id("boss"), MemberStanding::Linked("v-boss".to_owned()))]);
    // Once it is told, it waits no more.
    scene.finish(&user_key("u"), "v-u").await;
    scene.feed([titled("boss", "B")]).await;
    scene.commit(outcome(&user_key("boss"), 1).linked("v-other", 1, 0)).await;
    assert_eq!(scene.due_names().await, [""; 0]);
}

fn parked_member(user: &str) -> ItemId {
    ItemId::Member { group: id(G), user: id(user) }
}

/// A group whose member `bad` the vendor has refused.
async fn group_with_parked_member(home: &dyn Home) -> Scene {
    let scene = Scene::new(home).await;
    scene.feed([titled("bad", "A"), members(G, &["bad", "good"], &[])]).await;
    scene.finish(&user_key("bad"), "v-bad").await;
    let bad: ExternalId = id("bad");
    let sent = outcome(&g(), 1).linked("v-g", 1, 2).settling(&[id("good")]).parking(&bad, "not licensed");
    assert_eq!(scene.commit(sent).await.converged.len(), 1);
    scene
}

pub async fn a_parked_member_is_left_out_until_it_is_retried(home: &dyn Home) {
    let scene = group_with_parked_member(home).await;
    assert_eq!(scene.counts().await.parked, 1);
    let page = must(scene.store.parked(TARGET, None, 10).await);
    assert_eq!(page.items.len(), 1);
    assert_eq!((&page.items[0].id, page.items[0].reason.as_str()), (&parked_member("bad"), "not licensed"));
    scene.feed([members(G, &["new"], &[])]).await;
    assert_eq!(deltas(&scene).await, ["+new 3"]);
    scene.commit(outcome(&g(), 2).linked("v-g", 2, 3).settling(&[id("new")])).await;
    assert_eq!(scene.due_names().await, [""; 0]);

    assert!(must(scene.store.retry_parked(TARGET, &parked_member("bad"), "ann", NOW).await));
    assert!(!must(scene.store.retry_parked(TARGET, &parked_member("bad"), "ann", NOW).await));
    assert_eq!(scene.counts().await.parked, 0);
    assert_eq!(scene.due_names().await, ["membership group g"]);
    assert_eq!(deltas(&scene).await, ["+bad! 1"]);
    scene.commit(outcome(&g(), 2).settling(&[id("bad")])).await;
    assert_eq!(scene.due_names().await, [""; 0]);
    assert_eq!(scene.counts().await.waiting_members, 0);
}

pub async fn an_event_says_that_its_member_waits_or_is_parked(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let mine = scene.feed([members(G, &["u"], &[])]).await;
    let other = scene.feed([members(G, &["w"], &[])]).await;
    let fate = async |event: &crate::store::NewEvent| {
        let record = must(scene.store.event(&event.event_id).await).expect("the event is known");
        record.changes[0].targets[TARGET].0.clone()
    };
    scene.commit(outcome(&g(), 2).linked("v-g", 2, 2).waiting_for(&[id("u")])).await;
    assert_eq!((fate(&mine).await.as_str(), fate(&other).await.as_str()), ("waiting", "applied"));
    scene.finish(&user_key("u"), "v-u").await;
    scene.commit(outcome(&g(), 2).parking(&id("u"), "refused")).await;
    assert_eq!((fate(&mine).await.as_str(), fate(&other).await.as_str()), ("parked", "applied"));
    must(scene.store.discard_parked(TARGET, &parked_member("u"), "ops", NOW).await);
    assert_eq!(fate(&mine).await, "applied", "a person has settled it");
}

pub async fn a_parked_member_that_changes_is_sent_again(home: &dyn Home) {
    let scene = group_with_parked_member(home).await;
    scene.feed([members(G, &[], &["bad"])]).await;
    assert_eq!(deltas(&scene).await, ["-bad 3"]);
    scene.commit(outcome(&g(), 2).linked("v-g", 2, 3)).await;
    assert_eq!(scene.counts().await.parked, 0, "there is nothing left to retry");
    assert_eq!(scene.due_names().await, [""; 0]);
    // Parked with the group, it comes back with the group.
    scene.feed([members(G, &["bad"], &[])]).await;
    scene.commit(outcome(&g(), 3).ending(park())).await;
    assert!(must(scene.store.retry_parked(TARGET, &ItemId::Resource(g()), "ann", NOW).await));
    assert_eq!(deltas(&scene).await, ["+bad 4"]);
}

pub async fn a_discarded_member_stays_out(home: &dyn Home) {
    let scene = group_with_parked_member(home).await;
    assert!(must(scene.store.discard_parked(TARGET, &parked_member("bad"), "ann", NOW).await));
    assert!(!must(scene.store.discard_parked(TARGET, &parked_member("bad"), "ann", NOW).await));
    assert_eq!(scene.counts().await.parked, 0);
    scene.feed([members(G, &["new"], &[])]).await;
    assert_eq!(deltas(&scene).await, ["+new 3"]);
    let page = must(scene.store.ledger(&LedgerFilter::default(), None, 10).await);
    assert_eq!((page.items[0].result.as_str(), &page.items[0].key), ("discarded", &Some(g())));
    let detail = page.items[0].detail.as_deref().unwrap_or_default();
    assert!(detail.contains("ann") && detail.contains("bad"), "{detail}");
}

pub async fn a_parked_member_whose_account_is_gone_waits_for_another_one(home: &dyn Home) {
    let scene = group_with_parked_member(home).await;
    assert_eq!((scene.counts().await.parked, scene.counts().await.waiting_members), (1, 0));
    scene.feed([titled("bad", "B")]).await;
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    scene.commit(Outcome { link: absent, ..outcome(&user_key("bad"), 2) }).await;
    assert_eq!((scene.counts().await.parked, scene.counts().await.waiting_members), (0, 1));
    scene.feed([titled("bad", "C")]).await;
    scene.finish(&user_key("bad"), "v-new").await;
    assert_eq!(deltas(&scene).await, ["+bad! 1"]);
}

/// Who of these are strangers in the group.
async fn strangers(scene: &Scene, vendor_ids: &[&str]) -> Option<Vec<String>> {
    let vendor_ids: Vec<String> = vendor_ids.iter().map(|&id| id.to_owned()).collect();
    must(scene.store.strangers(TARGET, &id(G), &vendor_ids).await)
}

pub async fn who_is_no_member_by_the_directory_is_a_stranger(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([members(G, &["in", "left"], &[]), members("other", &["elsewhere"], &[])]).await;
    for name in ["in", "left", "elsewhere"] {
        scene.feed([titled(name, "Clerk")]).await;
        scene.finish(&user_key(name), &format!("v-{name}")).await;
    }
    scene.feed([members(G, &[], &["left"])]).await;
    let there = ["v-in", "v-left", "v-elsewhere", "v-nobody", "in", "nul\0"];
    let found = strangers(&scene, &there).await.expect("all members are known");
    assert_eq!(found, ["v-left", "v-elsewhere", "v-nobody", "in", "nul\0"]);
    assert_eq!(strangers(&scene, &[]).await, Some(Vec::new()));
    assert_eq!(must(scene.store.strangers("no-target", &id(G), &[]).await), None);
}

pub async fn nobody_is_a_stranger_while_it_is_not_known_who_each_member_is(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "Clerk"), members(G, &["u"], &[])]).await;
    assert_eq!(strangers(&scene, &["v-somebody"]).await, None, "it may be u's account");
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    scene.commit(Outcome { link: absent, ..outcome(&user_key("u"), 1) }).await;
    assert_eq!(strangers(&scene, &["v-somebody"]).await.as_deref(), Some(&["v-somebody".to_owned()][..]));
    scene.feed([members(G, &["later"], &[]), members(G, &[], &["later"])]).await;
    assert!(strangers(&scene, &["v-somebody"]).await.is_some(), "who has left hides nobody");
}

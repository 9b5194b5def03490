//! What the guard lets through, and what waits for a person.

use std::time::Duration;

use serde_json::json;

use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome};
use crate::store::conformance::script::{deactivate, group, group_key, id, members, titled, user, user_key};
use crate::store::conformance::{Home, must};
use crate::store::guard::{
    Admission, Decision, Destruction, Guard, Hold, HoldFilter, HoldState, HoldVerdict, ItemState,
};
use crate::store::{ItemId, Lane, Link, LinkChange, MembersOutcome, Outcome, Retention, WorkChange};

/// One account and one membership in an hour.
fn narrow() -> Guard {
    Guard { max_destructive: 1, always_allowed: 1, max_removals: 1, ..Guard::default() }
}

fn later(wait: Duration) -> Timestamp {
    NOW.after(wait)
}

/// Users who are at the vendor and are to lose their access.
async fn leavers(home: &dyn Home, names: &[&str]) -> Scene {
    let scene = Scene::new(home).await;
    for name in names {
        scene.feed([user(name, &json!({"active": true}))]).await;
        scene.finish(&user_key(name), &format!("v-{name}")).await;
    }
    scene.feed(names.iter().map(|name| deactivate(name))).await;
    scene
}

impl Scene {
    async fn ask(&self, item: ItemId, generation: u64, now: Timestamp) -> Admission {
        let operation = match &item {
            ItemId::Resource(_) => "deactivate",
            ItemId::Member { .. } => "remove",
        };
        let change = Destruction { item, operation, generation };
        let tenure = self.tenure().await;
        must(self.store.admit(&tenure, &[change], &narrow(), now).await).remove(0)
    }

    /// Asks about a user as planned now, and records that it waits where it does.
    async fn end(&self, name: &str) -> Admission {
        let key = user_key(name);
        let generation = self.dossier(&key).await.item.generation;
        let admission = self.ask(ItemId::Resource(key.clone()), generation, NOW).await;
        if let Admission::Held { .. } = admission {
            self.commit(outcome(&key, generation).ending(held())).await;
        }
        admission
    }

    async fn holds_at(&self, now: Timestamp) -> Vec<Hold> {
        must(self.store.holds(&HoldFilter::default(), now, None, 10).await).items
    }

    async fn items(&self, hold: u64) -> Vec<(String, ItemState)> {
        let page = must(self.store.hold_items(hold, None, 100).await);
        page.items.into_iter().map(|item| (item.item.to_string(), item.state)).collect()
    }

    async fn decide(&self, hold: u64, verdict: HoldVerdict, items: Option<Vec<ItemId>>) -> u64 {
        let by = "ann".to_owned();
        let decision = Decision { hold, verdict, items, through: u64::MAX / 2, by, reason: None };
        must(self.store.decide(&decision, NOW).await).expect("there is such a hold").items
    }
}

fn held() -> WorkChange {
    WorkChange::Hold { reason: "waits".to_owned() }
}

fn hold_of(admission: &Admission) -> u64 {
    match admission {
        Admission::Held { hold } => *hold,
        Admission::Go | Admission::Rejected { .. } => panic!("not held: {admission:?}"),
    }
}

pub async fn what_is_over_the_limit_waits_in_one_hold(home: &dyn Home) {
    let scene = leavers(home, &["a", "b", "c"]).await;
    assert_eq!(scene.end("a").await, Admission::Go);
    let hold = hold_of(&scene.end("b").await);
    assert_eq!(scene.end("c").await, Admission::Held { hold });

    assert_eq!(scene.due_names().await, ["deprovision user a"], "what is held holds nobody up");
    assert_eq!((scene.counts().await.held, scene.pending().await), (2, 1));
    let holds = scene.holds_at(NOW).await;
    assert_eq!(holds.len(), 1);
    assert_eq!((holds[0].state, holds[0].held, holds[0].target.as_str()), (HoldState::Open, 2, TARGET));
    assert_eq!(holds[0].created_at, NOW);
    assert!(holds[0].reason.starts_with("1 accounts or groups have ended"), "{}", holds[0].reason);
    let waits = |name: &str| (format!("user:{name}"), ItemState::Held);
    assert_eq!(scene.items(hold).await, [waits("b"), waits("c")]);

    let page = must(scene.store.hold_items(hold, None, 1).await);
    assert_eq!(page.items[0].operation, "deactivate");
    let next = must(scene.store.hold_items(hold, page.next.as_deref(), 10).await);
    assert_eq!(next.items[0].item, ItemId::Resource(user_key("c")));
}

pub async fn what_went_through_counts_once_over_restarts_until_its_window_is_over(home: &dyn Home) {
    let scene = leavers(home, &["a", "b"]).await;
    assert_eq!(scene.end("a").await, Admission::Go);
    let scene = scene.restarted(home).await;
    assert_eq!(scene.end("a").await, Admission::Go, "a call whose outcome was lost is sent again");
    let b = ItemId::Resource(user_key("b"));
    let end = Duration::from_hours(1);
    let just_before = scene.ask(ItemId::Resource(user_key("x")), 1, later(Duration::from_mins(59))).await;
    hold_of(&just_before);
    assert_eq!(scene.ask(b, 2, later(end)).await, Admission::Go);
}

pub async fn a_share_of_the_accounts_is_what_goes_through(home: &dyn Home) {
    let names: Vec<String> = (0..25).map(|number| format!("u{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene = leavers(home, &names).await;
    let guard = Guard { max_destructive: 100, max_percent: 20.0, always_allowed: 2, ..Guard::default() };
    let changes: Vec<_> = names
        .iter()
        .map(|name| Destruction {
            item: ItemId::Resource(user_key(name)),
            operation: "deactivate",
            generation: 2,
        })
        .collect();
    let tenure = scene.tenure().await;
    let admissions = must(scene.store.admit(&tenure, &changes, &guard, NOW).await);
    let gone = admissions.iter().filter(|admission| **admission == Admission::Go).count();
    assert_eq!(gone, 5, "a fifth of 25");
}

pub async fn what_is_approved_goes_and_is_not_counted(home: &dyn Home) {
    let scene = leavers(home, &["a", "b", "c"]).await;
    scene.end("a").await;
    let hold = hold_of(&scene.end("b").await);
    scene.end("c").await;
    let only_b = Some(vec![ItemId::Resource(user_key("b"))]);
    assert_eq!(scene.decide(hold, HoldVerdict::Approve, only_b).await, 1);
    assert_eq!(scene.due_names().await, ["deprovision user a", "deprovision user b"]);
    assert_eq!(scene.end("b").await, Admission::Go);
    assert_eq!(scene.holds_at(NOW).await[0].state, HoldState::Open, "another item waits");

    assert_eq!(scene.decide(hold, HoldVerdict::Approve, None).await, 1);
    assert_eq!(scene.end("c").await, Admission::Go);
    let decided = scene.holds_at(NOW).await.remove(0);
    assert_eq!((decided.state, decided.approved, decided.closed_at), (HoldState::Approved, 2, Some(NOW)));
    let words = must(scene.store.ledger(&crate::store::LedgerFilter::default(), None, 10).await).items;
    let approved: Vec<_> = words.iter().filter(|entry| entry.result == "approved").collect();
    assert_eq!(approved.len(), 2);
    assert_eq!(approved[0].detail.as_deref(), Some(format!("deactivate of hold {hold}, by ann").as_str()));
    assert_eq!(scene.decide(hold, HoldVerdict::Approve, None).await, 0, "nothing waits");
}

pub async fn what_is_rejected_stays_undone_until_something_newer_is_said(home: &dyn Home) {
    let scene = leavers(home, &["a", "b"]).await;
    scene.end("a").await;
    let hold = hold_of(&scene.end("b").await);
    scene.decide(hold, HoldVerdict::Reject, None).await;
    assert_eq!(scene.due_names().await, ["deprovision user a"]);
    assert_eq!((scene.counts().await.held, scene.holds_at(NOW).await[0].state), (0, HoldState::Rejected));

    must(scene.store.backfill(TARGET, NOW).await);
    assert_eq!(scene.end("b").await, Admission::Rejected { hold }, "the next pass remembers");
    scene.feed([titled("b", "Gone")]).await;
    let again = hold_of(&scene.end("b").await);
    assert_ne!(again, hold);
    assert_eq!(scene.items(hold).await, [("user:b".to_owned(), ItemState::Rejected)]);
}

pub async fn an_event_says_that_its_change_is_held_or_rejected(home: &dyn Home) {
    let scene = leavers(home, &["a", "b"]).await;
    scene.end("a").await;
    let hold = hold_of(&scene.end("b").await);
    let fate = async || {
        let event = must(scene.store.event("3").await).expect("three events came in");
        event.changes[1].targets[TARGET].0.clone()
    };
    assert_eq!(fate().await, "held");
    scene.decide(hold, HoldVerdict::Reject, None).await;
    assert_eq!(fate().await, "rejected");
}

pub async fn a_hold_that_nobody_decides_expires_and_lets_nothing_through(home: &dyn Home) {
    let scene = leavers(home, &["a", "b", "c"]).await;
    scene.end("a").await;
    let hold = hold_of(&scene.end("b").await);
    let expired = later(Guard::default().hold_expires);
    assert_eq!(scene.holds_at(expired).await[0].state, HoldState::Expired);
    let b = ItemId::Resource(user_key("b"));
    assert_eq!(scene.ask(b, 2, expired).await, Admission::Held { hold }, "however old, it waits");
    assert_eq!(scene.due_at(expired).await.len(), 2, "a and c");

    let filter = HoldFilter { target: Some(TARGET.to_owned()), state: Some(HoldState::Expired) };
    assert_eq!(must(scene.store.holds(&filter, expired, None, 10).await).items.len(), 1);
    assert_eq!(must(scene.store.holds(&filter, NOW, None, 10).await).items, []);
    let at_expiry = must(scene.store.hold(hold, expired).await).expect("it is still there");
    assert_eq!(at_expiry.state, HoldState::Expired);
    scene.decide(hold, HoldVerdict::Approve, None).await;
    assert_eq!(scene.due_names().await.len(), 3, "a person may still decide");
}

pub async fn what_comes_to_nothing_is_withdrawn(home: &dyn Home) {
    let scene = leavers(home, &["a", "b"]).await;
    scene.end("a").await;
    let hold = hold_of(&scene.end("b").await);
    scene.feed([user("b", &json!({"active": true}))]).await;
    assert_eq!(scene.due_names().await, ["deprovision user a", "change user b"], "it waits for nobody");
    scene.finish(&user_key("b"), "v-b").await;
    assert_eq!(scene.items(hold).await, [("user:b".to_owned(), ItemState::Withdrawn)]);
    assert_eq!(scene.holds_at(NOW).await[0].state, HoldState::Withdrawn);
    assert_eq!(scene.counts().await.held, 0);
}

pub async fn a_decision_between_asking_and_recording_is_not_lost(home: &dyn Home) {
    let scene = leavers(home, &["a", "b"]).await;
    scene.end("a").await;
    let key = user_key("b");
    let generation = scene.dossier(&key).await.item.generation;
    let hold = hold_of(&scene.ask(ItemId::Resource(key.clone()), generation, NOW).await);
    scene.decide(hold, HoldVerdict::Approve, None).await;
    let committed = scene.commit(outcome(&key, generation).ending(held())).await;
    assert!(committed.woken);
    assert!(scene.due_names().await.contains(&"deprovision user b".to_owned()));
}

/// A group of the two at the vendor, which both leave.
async fn a_group_without_its_members(home: &dyn Home) -> Scene {
    let scene = Scene::new(home).await;
    let active = json!({"active": true});
    scene.feed([user("a", &active), user("b", &active)]).await;
    for name in ["a", "b"] {
        scene.finish(&user_key(name), &format!("v-{name}")).await;
    }
    scene.feed([group("g", "G"), members("g", &["a", "b"], &[])]).await;
    scene.finish(&group_key("g"), "v-g").await;
    scene
}

fn membership(name: &str) -> ItemId {
    ItemId::Member { group: id("g"), user: id(name) }
}

pub async fn who_leaves_takes_the_memberships_along(home: &dyn Home) {
    let scene = a_group_without_its_members(home).await;
    scene.feed([deactivate("a"), deactivate("b"), members("g", &[], &["a", "b"])]).await;
    let deltas = scene.deltas(&group_key("g")).await;
    let sequence =
        |name: &str| deltas.iter().find(|delta| delta.user == id(name)).expect("it is to be sent").sequence;
    assert_eq!(scene.ask(membership("a"), sequence("a"), NOW).await, Admission::Go);
    let hold = hold_of(&scene.ask(membership("b"), sequence("b"), NOW).await);
    assert_eq!(scene.end("a").await, Admission::Go, "one leaver counts once");
    assert_eq!(scene.end("b").await, Admission::Held { hold });

    send_but(&scene, "b").await;
    assert_eq!(scene.due_names().await, ["deprovision user a"], "the group is done for now");
    assert_eq!(scene.counts().await.held, 2, "the user and the membership");
    scene.decide(hold, HoldVerdict::Approve, Some(vec![ItemId::Resource(user_key("b"))])).await;
    let due = scene.due_names().await;
    assert_eq!(due, ["deprovision user a", "deprovision user b", "membership group g"]);
    let deltas = scene.deltas(&group_key("g")).await;
    assert_eq!((deltas.len(), &deltas[0].user, deltas[0].present), (1, &id("b"), false));
    assert_eq!(scene.ask(membership("b"), deltas[0].sequence, NOW).await, Admission::Go);
}

/// Everything of the group is sent but what is held of this member.
async fn send_but(scene: &Scene, held: &str) {
    let dossier = scene.dossier(&group_key("g")).await;
    let watermark =
        scene.deltas(&group_key("g")).await.iter().map(|delta| delta.sequence).max().expect("some wait");
    let Some(Link::Known(row)) = dossier.link else { panic!("the group is linked") };
    let row = crate::store::Row { synced_members: watermark, ..row };
    let members = MembersOutcome { held: [id(held)].into(), ..MembersOutcome::default() };
    let generation = dossier.item.generation;
    let link = LinkChange::Set(Link::Known(row));
    scene.commit(Outcome { link, members, ..outcome(&group_key("g"), generation) }).await;
}

pub async fn removals_of_those_who_stay_have_a_limit_of_their_own(home: &dyn Home) {
    let scene = a_group_without_its_members(home).await;
    scene.feed([members("g", &[], &["a", "b"])]).await;
    let deltas = scene.deltas(&group_key("g")).await;
    assert_eq!(scene.ask(membership("a"), deltas[0].sequence, NOW).await, Admission::Go);
    let hold = hold_of(&scene.ask(membership("b"), deltas[1].sequence, NOW).await);
    assert_eq!(scene.items(hold).await, [(membership("b").to_string(), ItemState::Held)]);

    send_but(&scene, "b").await;
    scene.feed([members("g", &["b"], &[])]).await;
    scene.finish(&group_key("g"), "v-g").await;
    assert_eq!(scene.items(hold).await, [(membership("b").to_string(), ItemState::Withdrawn)]);
    assert_eq!((scene.counts().await.held, scene.due().await.len()), (0, 0));
}

pub async fn who_was_deposed_is_let_nothing_through(home: &dyn Home) {
    let scene = leavers(home, &["a"]).await;
    let old = scene.tenure_of("replica-1").await;
    scene.tenure_of("replica-2").await;
    let change =
        Destruction { item: ItemId::Resource(user_key("a")), operation: "deactivate", generation: 2 };
    let answer = scene.store.admit(&old, &[change], &narrow(), NOW).await;
    assert!(matches!(answer, Err(crate::store::StoreError::Deposed { .. })), "{answer:?}");
}

pub async fn what_is_held_stays_so_until_it_is_decided(home: &dyn Home) {
    let scene = leavers(home, &["a", "b"]).await;
    scene.end("a").await;
    scene.end("b").await;
    let key: ResourceKey = user_key("b");
    assert_eq!(must(scene.store.load(TARGET, &key, 10).await), None);
    assert_eq!(
        must(scene.store.due(TARGET, Lane::Deprovision, later(Duration::from_hours(9_000)), 10).await).len(),
        1
    );
    assert!(
        !must(scene.store.retry_parked(TARGET, &ItemId::Resource(key), "ann", NOW).await),
        "it is not parked"
    );
}

pub async fn users_are_read_as_the_directory_has_them(home: &dyn Home) {
    let scene = leavers(home, &["a"]).await;
    let users = must(scene.store.users(TARGET, &[id("a"), id("nobody")].into()).await);
    assert_eq!(users.keys().collect::<Vec<_>>(), [&id("a")]);
    assert!(!users[&id("a")].has_access());
}

pub async fn what_the_guard_noted_goes_with_age_but_for_a_rejection_that_counts(home: &dyn Home) {
    let scene = leavers(home, &["a", "b", "c", "d"]).await;
    scene.end("a").await;
    let hold = hold_of(&scene.end("b").await);
    scene.end("c").await;
    scene.end("d").await;
    scene.decide(hold, HoldVerdict::Approve, Some(vec![ItemId::Resource(user_key("b"))])).await;
    scene.decide(hold, HoldVerdict::Reject, Some(vec![ItemId::Resource(user_key("c"))])).await;
    let days = |days: u64| NOW.after(Duration::from_hours(24 * days));
    let retention = Retention { ledger: Duration::from_hours(24), ..Retention::default() };
    let prune = async |now| must(scene.store.prune(&retention, now, 100).await).guard;
    assert_eq!(prune(days(31)).await, 0, "a window may count it");
    assert_eq!(prune(days(40)).await, 1, "what went through; the hold is open");
    scene.decide(hold, HoldVerdict::Reject, None).await;
    assert_eq!(prune(days(40)).await, 1, "what was approved");
    assert_eq!(
        scene.items(hold).await,
        [("user:c".to_owned(), ItemState::Rejected), ("user:d".to_owned(), ItemState::Rejected)]
    );
    must(scene.store.backfill(TARGET, NOW).await);
    assert_eq!(scene.end("c").await, Admission::Rejected { hold }, "it is the last word still");
    scene.feed([titled("c", "Gone"), titled("d", "Gone")]).await;
    assert_eq!(prune(days(40)).await, 3, "the items, and then the hold");
    assert_eq!(scene.holds_at(NOW).await, []);
}

//! One resource's story.

use std::time::Duration;

use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, park};
use crate::store::conformance::script::{
    DIRECTORY, delete_user, group_key, id, members, members_set, received_at, titled, user, user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::guard::{Destruction, Guard};
use crate::store::timeline::ChangeStory;
use crate::store::{Appended, Cursor, Happening, ItemId, LedgerEntry, Order, Retention};

/// What a story says, in short.
async fn story(
    scene: &Scene,
    key: &crate::directory::ResourceKey,
    order: Order,
    limit: usize,
) -> Vec<String> {
    let mut told = Vec::new();
    let mut cursor = Cursor::default();
    loop {
        let page = must(scene.store.timeline(&DIRECTORY.to_owned(), key, order, cursor, limit).await);
        assert!(page.items.len() <= limit, "a page is never longer than asked for");
        told.extend(page.items.iter().map(short));
        match page.next {
            Some(next) => cursor = next.parse().expect("a cursor reads back"),
            None => return told,
        }
    }
}

fn short(happening: &Happening) -> String {
    match happening {
        Happening::Change(ChangeStory { event_id, outcome, membership: None, repeats, .. }) => {
            match repeats {
                None => format!("{event_id} {outcome}"),
                Some((times, _)) => format!("{event_id} {outcome} repeated {times}"),
            }
        }
        Happening::Change(ChangeStory { event_id, membership: Some((group, present)), .. }) => {
            format!("{event_id} {group} {present}")
        }
        Happening::Hold(hold) => {
            format!("{} {} {}", hold.item.item, hold.item.operation, hold.item.state.as_str())
        }
        Happening::Ledger(record) => format!("{} {} {}", record.target, record.operation, record.result),
    }
}

pub async fn a_story_tells_changes_memberships_and_calls_in_either_order(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "B")]).await;
    scene.feed([members("g", &["a", "b"], &[])]).await;
    scene.feed([titled("a", "A")]).await;
    let mut created = outcome(&user_key("a"), 1).linked("v-a", 1, 0);
    created.ledger.push(LedgerEntry::without_call(NOW, "create", "applied", None));
    scene.commit(created).await;
    scene.feed([members_set("g", &["b"])]).await;

    let mut expected =
        vec!["evt-0 merged", "evt-1 g true", "evt-2 unchanged", "evt-3 g false", "acme create applied"];
    for limit in [1, 2, 100] {
        assert_eq!(story(&scene, &user_key("a"), Order::Rising, limit).await, expected, "{limit}");
    }
    expected.reverse();
    for limit in [1, 2, 100] {
        assert_eq!(story(&scene, &user_key("a"), Order::Falling, limit).await, expected, "{limit}");
    }
    assert_eq!(story(&scene, &group_key("g"), Order::Rising, 9).await, ["evt-1 merged", "evt-3 merged"]);
    // Who is named again by a whole list is said to belong once more.
    let told = story(&scene, &user_key("b"), Order::Rising, 9).await;
    assert_eq!(told, ["evt-0 merged", "evt-1 g true", "evt-3 g true"]);
}

pub async fn a_deleted_users_story_names_its_deletion_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), members("g", &["a"], &[]), members("h", &["a"], &[])]).await;
    scene.feed([delete_user("a")]).await;
    let mut told = story(&scene, &user_key("a"), Order::Rising, 9).await;
    told.sort();
    // What follows from the deletion is not told once more for each group.
    assert_eq!(told, ["evt-0 g true", "evt-0 h true", "evt-0 merged", "evt-1 merged"]);
}

pub async fn who_stands_where_and_why_is_known(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let directory = DIRECTORY.to_owned();
    assert_eq!(must(scene.store.present(&directory, &user_key("a")).await), None, "nobody has named it");
    scene.feed([titled("a", "A"), members("g", &["a", "ghost"], &[])]).await;
    scene.commit(outcome(&user_key("a"), 1).linked("v-a", 1, 0)).await;
    scene
        .commit(
            outcome(&group_key("g"), 1)
                .linked("v-g", 1, 9)
                .parking(&id("a"), "no")
                .waiting_for(&[id("ghost")]),
        )
        .await;

    let present = must(scene.store.present(&directory, &user_key("a")).await).expect("it is known");
    assert_eq!((present.generation, present.wanted, present.unprojected), (Some(1), true, 0));
    assert_eq!(present.groups, [id("g")]);
    let standing = &present.targets[TARGET];
    assert_eq!((standing.vendor_id.as_deref(), standing.synced_generation), (Some("v-a"), 1));
    assert_eq!(standing.work, None);
    let open: Vec<_> =
        standing.open.iter().map(|open| (open.key.clone(), open.state, open.reason.as_deref())).collect();
    assert_eq!(open, [(group_key("g"), "parked", Some("no"))]);

    let ghost = must(scene.store.present(&directory, &user_key("ghost")).await).expect("a group names it");
    assert_eq!(ghost.targets[TARGET].open[0].state, "waiting");
    let group = must(scene.store.present(&directory, &group_key("g")).await).expect("it is known");
    assert_eq!(group.targets[TARGET].waits_for, [id("ghost")]);
    assert_eq!(group.targets[TARGET].open[0].key, user_key("a"));
}

pub async fn what_is_ordered_is_due_first_even_where_it_was_parked_or_done(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "B")]).await;
    scene.commit(outcome(&user_key("a"), 1).ending(park())).await;
    scene.finish(&user_key("b"), "v-b").await;
    for name in ["a", "b"] {
        let key = user_key(name);
        assert!(must(scene.store.expedite(TARGET, &key, "ops", NOW).await));
        let due = must(scene.store.due(TARGET, crate::store::Lane::Revoke, NOW, 1).await);
        assert_eq!(due.len(), 1, "{name}");
        let dossier = must(scene.store.load(TARGET, &key, 9).await).expect("it is work");
        assert_eq!(dossier.item.intent.expect("the vendor is asked first").operation, "look");
        let told = story(&scene, &key, Order::Falling, 1).await;
        assert_eq!(told[0], "acme none ordered");
        scene.finish(&key, "v").await;
    }
    assert!(!must(scene.store.retry_parked(TARGET, &ItemId::Resource(user_key("a")), "ann", NOW).await));
    assert!(!must(scene.store.expedite("nobody", &user_key("a"), "ops", NOW).await));
}

pub async fn memberships_in_a_story_go_with_their_event(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([members("g", &["a"], &[])]).await;
    let retention = Retention { events: Duration::from_hours(1), ..Retention::default() };
    let later = received_at(0).after(Duration::from_hours(24 * 30));
    must(scene.store.prune(&retention, later, 100).await);
    assert_eq!(story(&scene, &user_key("a"), Order::Rising, 9).await, [""; 0]);
}

pub async fn a_story_tells_what_was_held_and_what_was_repeated(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let active = serde_json::json!({"active": true});
    let event = scene.feed([user("a", &active), user("b", &active)]).await;
    for _ in 0..2 {
        assert_eq!(must(scene.store.append(event.clone()).await), Appended::Duplicate);
    }
    let change = |item: ItemId| Destruction { item, operation: "deactivate", generation: 2 };
    let member = ItemId::Member { group: id("g"), user: id("a") };
    let none = Guard { max_destructive: 0, always_allowed: 0, max_removals: 0, ..Guard::default() };
    let tenure = scene.tenure().await;
    let asked =
        [change(ItemId::Resource(user_key("a"))), change(member), change(ItemId::Resource(user_key("b")))];
    must(scene.store.admit(&tenure, &asked, &none, NOW).await);

    let mut expected =
        vec!["evt-0 merged repeated 2", "user:a deactivate held", "member:1:g:a deactivate held"];
    for limit in [1, 2, 100] {
        assert_eq!(story(&scene, &user_key("a"), Order::Rising, limit).await, expected, "{limit}");
    }
    expected.reverse();
    for limit in [1, 100] {
        assert_eq!(story(&scene, &user_key("a"), Order::Falling, limit).await, expected, "{limit}");
    }
    assert_eq!(story(&scene, &group_key("g"), Order::Rising, 10).await, ["member:1:g:a deactivate held"]);
}

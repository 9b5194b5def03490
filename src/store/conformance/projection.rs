//! Merging events into the directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::directory::{AttributePath, ExternalId, Kind, ResourceKey, Snapshot, merge};
use crate::store::conformance::scene::{NOW, Scene, TARGET};
use crate::store::conformance::script::{
    DIRECTORY, GROUPS, Script, USERS, at, deactivate, id, members, now, received_at, shuffled, stream,
    titled, user_key, versioned,
};
use crate::store::conformance::{Home, must};
use crate::store::{Desired, NewEvent, Store};

/// What a target can see of a directory.
#[derive(Debug, Default, PartialEq)]
struct View {
    users: BTreeMap<ExternalId, (bool, bool, BTreeMap<AttributePath, Value>)>,
    groups: BTreeMap<ExternalId, (bool, BTreeMap<AttributePath, Value>)>,
    members: BTreeSet<(ExternalId, ExternalId)>,
}

fn expected(snapshot: &Snapshot) -> View {
    let mut view = View::default();
    for (id, user) in snapshot.users() {
        let attributes = user.attributes.iter().map(|(path, value)| (path.clone(), value.clone())).collect();
        view.users.insert(id.clone(), (user.is_described(), user.has_access(), attributes));
    }
    for (id, group) in snapshot.groups() {
        let attributes = group.attributes.iter().map(|(path, value)| (path.clone(), value.clone())).collect();
        view.groups.insert(id.clone(), (group.is_described(), attributes));
        view.members.extend(snapshot.members(id).map(|user| (id.clone(), user.clone())));
    }
    view
}

/// Everything that is work of a target that has sent nothing yet, which is all that ever changed.
async fn seen(store: &dyn Store, directory: &str) -> Snapshot {
    let target = format!("mirror of {directory}");
    let mut snapshot = Snapshot::default();
    for key in USERS.map(user_key) {
        if let Some(dossier) = must(store.load(&target, &key, 1_000).await)
            && let Desired::User { user, .. } = dossier.desired
        {
            assert_eq!(user.generation, dossier.item.generation, "{key:?}");
            snapshot.load_user(key.id, user);
        }
    }
    for key in GROUPS.map(|name| ResourceKey { kind: Kind::Group, id: id(name) }) {
        if let Some(dossier) = must(store.load(&target, &key, 1_000).await)
            && let Desired::Group { group, deltas, more } = dossier.desired
        {
            assert!(!more);
            assert_eq!(group.generation, dossier.item.generation, "{key:?}");
            for delta in deltas {
                // Whatever version: a view does not show it.
                let version = crate::directory::Version {
                    occurred_at: Timestamp::default(),
                    event: String::new(),
                    index: 0,
                };
                let (present, sequence) = (delta.present, delta.sequence);
                let membership = crate::directory::Membership { present, version, sequence };
                snapshot.load_membership(key.id.clone(), delta.user, membership);
            }
            snapshot.load_group(key.id, group);
        }
    }
    snapshot
}

/// A resource whose generation is still 0 was named but never changed, so that it is no work.
fn changed(snapshot: &Snapshot) -> View {
    let mut view = expected(snapshot);
    view.users.retain(|id, _| snapshot.user(id).is_some_and(|user| user.generation > 0));
    view.groups.retain(|id, _| snapshot.group(id).is_some_and(|group| group.generation > 0));
    view
}

pub async fn any_batching_gives_what_one_merge_gives(home: &dyn Home) {
    let store = home.open().await;
    for seed in 0..150 {
        let directory = format!("stream {seed}");
        must(store.enrol(&format!("mirror of {directory}"), &directory, NOW).await);
        let script = Script::default();
        let mut snapshot = Snapshot::default();
        for (number, changes) in (0..).zip(stream(seed)) {
            // Nobody is urgent, so that the order of merging is the order of arrival.
            let event = NewEvent {
                directory: directory.clone(),
                urgent: false,
                event_id: format!("{seed}-{number}"),
                ..script.event(number, changes.clone())
            };
            merge(&mut snapshot, &versioned(&event, &changes));
            must(store.append(event).await);
        }
        let batch = usize::try_from(seed % 7 + 1).expect("a small number");
        while must(store.project(&script, batch).await).more {}

        let seen = seen(&*store, &directory).await;
        for (id, user) in snapshot.users().filter(|(_, user)| user.generation > 0) {
            assert_eq!(seen.user(id), Some(user), "seed {seed}, user {id}");
        }
        for (id, group) in snapshot.groups().filter(|(_, group)| group.generation > 0) {
            assert_eq!(seen.group(id), Some(group), "seed {seed}, group {id}");
        }
        let rows = |snapshot: &Snapshot| -> Vec<_> {
            let rows = snapshot.membership_rows();
            rows.map(|(group, user, row)| (group.clone(), user.clone(), row.present, row.sequence)).collect()
        };
        assert_eq!(rows(&seen), rows(&snapshot), "seed {seed}");
    }
}

pub async fn any_order_and_repetition_gives_the_same_directory(home: &dyn Home) {
    let store = home.open().await;
    for seed in 0..150 {
        let script = Script::default();
        let mut snapshot = Snapshot::default();
        let mut events = Vec::new();
        let directory = format!("shuffled {seed}");
        must(store.enrol(&format!("mirror of {directory}"), &directory, NOW).await);
        for (number, changes) in (0..).zip(stream(seed)) {
            let event = NewEvent {
                directory: directory.clone(),
                event_id: format!("{seed}-{number}"),
                ..script.event(number, changes.clone())
            };
            merge(&mut snapshot, &versioned(&event, &changes));
            events.push(event);
        }
        for (number, event) in shuffled(seed, &events).into_iter().enumerate() {
            must(store.append(event).await);
            if number % 5 == 0 {
                must(store.project(&script, 2).await);
            }
        }
        while must(store.project(&script, 3).await).more {}
        assert_eq!(changed(&seen(&*store, &directory).await), changed(&snapshot), "seed {seed}");
    }
}

pub async fn who_loses_access_is_merged_ahead_of_others(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for number in 0..10 {
        scene.append(vec![now(titled(&format!("u{number}"), "A"))]).await;
    }
    scene.append(vec![now(deactivate("leaver"))]).await;

    let projection = must(scene.store.project(&scene.script, 1).await);
    assert_eq!((projection.events, projection.more), (1, true));
    assert_eq!(scene.due_names().await, ["deprovision user leaver"]);
    assert_eq!(must(scene.store.status().await).unprojected, 10);

    let mut merged = 1;
    while let projection = must(scene.store.project(&scene.script, 3).await)
        && projection.events > 0
    {
        merged += projection.events;
    }
    assert_eq!(merged, 11, "each event is merged once");
    assert_eq!(must(scene.store.status().await).unprojected, 0);
    assert_eq!(scene.pending().await, 11);
}

pub async fn an_event_that_cannot_be_read_is_kept_and_tried_again_at_the_next_start(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let blind = Script::default();
    scene.append(vec![now(deactivate("early"))]).await;
    let first = must(scene.store.project(&blind, 10).await);
    scene.append(vec![now(titled("late", "A"))]).await;
    scene.append(vec![now(titled("later", "A"))]).await;
    let second = must(scene.store.project(&blind, 10).await);
    assert_eq!((first.unreadable, second.unreadable, second.more), (1, 2, false));

    let status = must(scene.store.status().await);
    assert_eq!((status.unprojected, status.unreadable), (0, 3));
    assert!(must(scene.store.project(&scene.script, 10).await).events == 0, "not before the next start");
    let page = must(scene.store.events(None, 10).await);
    assert!(page.items.iter().all(|event| event.state == "unreadable"), "{page:?}");

    let scene = scene.restarted(home).await;
    let status = must(scene.store.status().await);
    assert_eq!((status.unprojected, status.unreadable), (3, 0));
    scene.append(vec![now(titled("new", "A"))]).await;
    scene.project_all().await;
    let status = must(scene.store.status().await);
    assert_eq!((status.unprojected, status.unreadable), (0, 0));
    assert_eq!(scene.pending().await, 4);
}

pub async fn a_change_that_says_nothing_new_makes_no_work(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), members("g", &["u"], &[])]).await;
    scene.finish(&user_key("u"), "v-u").await;
    scene.finish(&ResourceKey::group(id("g")), "v-g").await;
    assert_eq!(scene.pending().await, 0);

    scene
        .append(vec![now(titled("u", "A")), now(members("g", &["u"], &[])), at(1, titled("u", "Old"))])
        .await;
    let projection = must(scene.store.project(&scene.script, 10).await);
    assert_eq!((projection.events, projection.changes), (1, 3));
    assert!(projection.woken.is_empty(), "{projection:?}");
    assert_eq!(scene.pending().await, 0);
}

pub async fn a_time_that_is_absent_is_the_time_of_receipt(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let received = scene.append(vec![now(titled("u", "Now"))]).await.received_at.as_seconds();
    scene.append(vec![at(received - 1, titled("u", "Before"))]).await;
    scene.project_all().await;
    assert_eq!(title(&scene).await, "Now");
    scene.append(vec![at(received + 1, titled("u", "After"))]).await;
    scene.project_all().await;
    assert_eq!(title(&scene).await, "After");
}

async fn title(scene: &Scene) -> String {
    let Desired::User { user, .. } = scene.dossier(&user_key("u")).await.desired else {
        panic!("u is a user")
    };
    let title = user.attributes.shown(&AttributePath::new("title")).and_then(Value::as_str);
    title.unwrap_or_default().to_owned()
}

pub async fn projection_goes_on_where_it_stopped_after_a_restart(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for number in 0..9 {
        scene.append(vec![now(titled(&format!("u{number}"), "A"))]).await;
    }
    scene.append(vec![now(deactivate("leaver"))]).await;
    assert_eq!(must(scene.store.project(&scene.script, 5).await).events, 5);

    let scene = scene.restarted(home).await;
    assert_eq!(must(scene.store.status().await).unprojected, 5);
    let rest = must(scene.store.project(&scene.script, 100).await);
    assert_eq!((rest.events, rest.more), (5, false));
    assert_eq!(scene.pending().await, 10);
}

pub async fn projections_at_the_same_time_merge_each_event_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for number in 0..200 {
        scene.append(vec![now(titled(&format!("u{number}"), "A"))]).await;
    }
    let scene = Arc::new(scene);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let scene = Arc::clone(&scene);
        tasks.spawn(async move {
            let mut merged = 0;
            while let projection = must(scene.store.project(&scene.script, 7).await)
                && projection.events > 0
            {
                merged += projection.events;
            }
            merged
        });
    }
    assert_eq!(tasks.join_all().await.iter().sum::<usize>(), 200);
    assert_eq!(scene.pending().await, 200);
}

pub async fn only_targets_that_follow_the_directory_are_woken(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    must(scene.store.enrol("elsewhere", &"lab".to_owned(), NOW).await);
    scene.append(vec![now(titled("u", "A"))]).await;
    let projection = must(scene.store.project(&scene.script, 10).await);
    assert_eq!(projection.woken, BTreeSet::from([TARGET.to_owned(), "second".to_owned()]));
    let status = must(scene.store.status().await);
    let rows = |target: &str| -> u64 { status.targets[target].pending.iter().map(|count| count.rows).sum() };
    assert_eq!((rows(TARGET), rows("second"), rows("elsewhere")), (1, 1, 0));
    assert_eq!(scene.due().await[0].since, received_at(0));
}

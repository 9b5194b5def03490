//! What people and monitoring ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, park, pending, retry, wait};
use crate::store::conformance::script::{
    DIRECTORY, at, deactivate, delete_user, group_key, id, members, now, received_at, titled, user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::{
    EventRecord, ItemId, Lane, LedgerEntry, LedgerFilter, NewEvent, NewResync, Outcome, Page, TargetCounts,
    TargetState,
};

pub async fn no_event_is_ever_out_of_sight(home: &dyn Home) {
    const EVENTS: u64 = 120;
    let scene = Arc::new(Scene::new(home).await);
    for number in 0..EVENTS {
        let name = format!("u{number}");
        let operation = if number % 5 == 0 { deactivate(&name) } else { titled(&name, "A") };
        scene.append(vec![now(operation)]).await;
    }
    let projector = {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move { while must(scene.store.project(&scene.script, 3).await).more {} })
    };
    let mut looks = 0;
    loop {
        // Each event makes one row, so that it is counted once: in the inbox or as work.
        let status = must(scene.store.status().await);
        assert_eq!(status.unprojected + pending(&status.targets[TARGET]), EVENTS);
        looks += 1;
        if status.unprojected == 0 {
            break;
        }
    }
    assert!(looks > 1, "the projector was not outrun");
    projector.await.expect("the projector ends");
}

pub async fn status_counts_each_row_in_one_place(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "A"), titled("c", "A"), titled("d", "A")]).await;
    scene.feed([deactivate("e"), members("g", &["x", "y", "z"], &[]), members("h", &[], &["x"])]).await;
    let later = NOW.after(Duration::from_hours(1));
    scene.commit(outcome(&user_key("a"), 1).ending(wait(later))).await;
    scene.commit(outcome(&user_key("b"), 1).ending(park())).await;
    scene.commit(outcome(&user_key("c"), 1).ending(retry(later))).await;
    let group =
        outcome(&group_key("g"), 1).linked("v-g", 1, 3).waiting_for(&[id("x")]).parking(&id("y"), "no");
    scene.commit(group.settling(&[id("z")])).await;

    let counts = scene.counts().await;
    let rows: Vec<(Lane, u64)> = counts.pending.iter().map(|count| (count.lane, count.rows)).collect();
    let expected = [
        (Lane::Deprovision, 1),
        (Lane::Revoke, 1),
        (Lane::Change, 3),
        (Lane::Membership, 0),
        (Lane::Backfill, 0),
    ];
    assert_eq!(rows, expected, "c, d, and x that is to be looked up");
    assert_eq!((counts.waiting, counts.waiting_members, counts.parked), (1, 1, 2));

    must(scene.store.enrol("quiet", &"lab".to_owned(), NOW).await);
    let quiet = must(scene.store.status().await).targets.remove("quiet").expect("it is enrolled");
    assert_eq!(pending(&quiet), 0);
    assert_eq!(TargetCounts { pending: Vec::new(), state: None, ..quiet }, TargetCounts::default());
}

pub async fn who_waits_is_listed_as_it_is_counted(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "A"), titled("c", "A"), titled("d", "A")]).await;
    let gone = ["gone", "x", "y"];
    scene.feed([members("g:1", &gone, &[])]).await;
    let later = NOW.after(Duration::from_hours(1));
    for name in ["a", "c"] {
        scene.commit(outcome(&user_key(name), 1).ending(wait(later))).await;
    }
    scene.commit(outcome(&user_key("b"), 1).ending(park())).await;
    let group = outcome(&group_key("g:1"), 1).linked("v-g", 1, 3);
    scene.commit(group.waiting_for(&gone.map(id))).await;
    scene.feed([delete_user("gone")]).await;

    let expected = ["user:a", "user:c", "member:3:g:1:x", "member:3:g:1:y"];
    for limit in [1, 3, 4, 100] {
        let waiting =
            all(limit, async |after| must(scene.store.waiting(TARGET, after.as_deref(), limit).await)).await;
        let names: Vec<String> = waiting.iter().map(|item| item.id.to_string()).collect();
        assert_eq!(names, expected, "pages of {limit}");
        assert!(waiting.iter().all(|item| !item.reason.is_empty()), "{waiting:?}");
        assert_eq!((waiting[0].since, waiting[2].since), (Some(received_at(0)), None));
    }
    let counts = scene.counts().await;
    assert_eq!((counts.waiting, counts.waiting_members), (2, 2));
    assert_eq!(must(scene.store.waiting("nowhere", None, 10).await).items, []);
}

pub async fn the_oldest_pending_change_is_known(home: &dyn Home) {
    let scene = Scene::new(home).await;
    assert_eq!(scene.counts().await.oldest_pending_since, None);
    scene.feed([titled("a", "A")]).await;
    scene.feed([deactivate("b")]).await;
    assert_eq!(scene.counts().await.oldest_pending_since, Some(received_at(0)));
    scene.commit(outcome(&user_key("a"), 1).ending(retry(NOW.after(Duration::from_hours(1))))).await;
    assert_eq!(scene.counts().await.oldest_pending_since, Some(received_at(0)), "waiting is not done");
    scene.finish(&user_key("b"), "v-b").await;
    scene.commit(outcome(&user_key("a"), 1).ending(park())).await;
    assert_eq!(scene.counts().await.oldest_pending_since, None);
}

pub async fn parked_work_is_retried_or_discarded(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "A")]).await;
    for name in ["a", "b"] {
        scene.commit(outcome(&user_key(name), 1).ending(retry(NOW))).await;
        scene.commit(outcome(&user_key(name), 1).ending(park())).await;
    }
    let items = must(scene.store.parked(TARGET, None, 10).await).items;
    let a = ItemId::Resource(user_key("a"));
    assert_eq!((&items[0].id, items[0].reason.as_str(), items[0].parked_at), (&a, "refused", NOW));
    assert!(items[0].attempts > 3, "the last failure counts too");

    assert!(!must(scene.store.retry_parked("nowhere", &a, "ann", NOW).await));
    assert!(must(scene.store.retry_parked(TARGET, &a, "ann", NOW).await));
    assert!(!must(scene.store.retry_parked(TARGET, &a, "ann", NOW).await), "it is not parked any more");
    let due = scene.due().await;
    assert_eq!((due.len(), due[0].attempts, due[0].failed_at), (1, 0, None));
    assert!(!must(scene.store.discard_parked(TARGET, &a, "ann", NOW).await));

    let b = ItemId::Resource(user_key("b"));
    assert!(must(scene.store.discard_parked(TARGET, &b, "ann", NOW).await));
    assert!(!must(scene.store.discard_parked(TARGET, &b, "ann", NOW).await));
    assert_eq!(scene.counts().await.parked, 0);
    let entry = must(scene.store.ledger(&LedgerFilter::default(), None, 1).await).items.remove(0);
    assert_eq!((entry.key, entry.result.as_str(), entry.at), (Some(user_key("b")), "discarded", NOW));
    assert_eq!(entry.actor.as_deref(), Some("ann"));
    assert!(entry.detail.is_some_and(|detail| detail.contains("ann")));

    scene.feed([titled("b", "B")]).await;
    assert_eq!(scene.due().await.len(), 2, "a change brings it back");
}

pub async fn pages_hold_everything_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([members("g:1", &["m1", "m2", "m3"], &[])]).await;
    for number in 0..11 {
        scene.feed([titled(&format!("u{number}"), "A")]).await;
    }
    let mut names = BTreeSet::new();
    for number in 0..11 {
        let key = user_key(&format!("u{number}"));
        scene.commit(outcome(&key, 1).ending(park()).noting("create", "refused")).await;
        names.insert(ItemId::Resource(key).to_string());
    }
    for user in ["m1", "m2", "m3"] {
        scene.commit(outcome(&group_key("g:1"), 1).linked("v-g", 1, 3).parking(&id(user), "no")).await;
        names.insert(ItemId::Member { group: id("g:1"), user: id(user) }.to_string());
    }

    for limit in [1, 4, 14, 100] {
        let parked =
            all(limit, async |after| must(scene.store.parked(TARGET, after.as_deref(), limit).await)).await;
        assert_eq!(parked.len(), names.len());
        assert_eq!(parked.iter().map(|item| item.id.to_string()).collect::<BTreeSet<_>>(), names);

        let events = all(limit, async |after| must(scene.store.events(after.as_deref(), limit).await)).await;
        let ids: Vec<String> = events.into_iter().map(|event| event.event_id).collect();
        assert_eq!(ids, (0..12).rev().map(|number| format!("evt-{number}")).collect::<Vec<_>>());

        let filter = LedgerFilter { result: Some("refused".to_owned()), ..LedgerFilter::default() };
        let ledger =
            all(limit, async |after| must(scene.store.ledger(&filter, after.as_deref(), limit).await)).await;
        assert!(ledger.windows(2).all(|pair| pair[0].sequence > pair[1].sequence));
        assert_eq!(ledger.len(), 11);
    }
}

async fn all<T>(limit: usize, page: impl AsyncFn(Option<String>) -> Page<T>) -> Vec<T> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = page(after).await;
        assert!(page.items.len() <= limit);
        items.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return items,
        }
    }
}

pub async fn a_cursor_that_no_page_answered_ends_the_list(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A")]).await;
    scene.commit(outcome(&user_key("u"), 1).ending(park()).noting("create", "refused")).await;
    for cursor in ["", "x", "-1", "99999999999999999999", "' OR 1=1"] {
        assert_eq!(must(scene.store.events(Some(cursor), 10).await).items, [], "{cursor}");
        assert_eq!(must(scene.store.ledger(&LedgerFilter::default(), Some(cursor), 10).await).items, []);
        assert_eq!(must(scene.store.parked(TARGET, Some(cursor), 10).await).items, [], "{cursor}");
    }
}

pub async fn an_event_tells_what_became_of_each_change(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let first = scene.append(vec![now(titled("a", "A")), now(titled("b", "A")), now(titled("c", "A"))]).await;
    let record = async |event: &NewEvent| -> EventRecord {
        must(scene.store.event(&event.event_id).await).expect("the event is known")
    };
    let accepted = record(&first).await;
    assert_eq!((accepted.summary.state, accepted.changes.len()), ("accepted", 0));
    scene.project_all().await;
    must(scene.store.enrol("elsewhere", &"lab".to_owned(), NOW).await);
    let second = scene.feed([titled("a", "A"), titled("d", "A")]).await;
    scene.append(vec![at(1, titled("a", "Older"))]).await;
    scene.project_all().await;

    scene.commit(outcome(&user_key("b"), 1).ending(wait(NOW))).await;
    scene.commit(outcome(&user_key("c"), 1).ending(park())).await;
    scene.finish(&user_key("d"), "v-d").await;
    let fates = |record: &EventRecord| -> Vec<(u32, String, String, String, Option<String>)> {
        let fate = |change: &crate::store::ChangeRecord| {
            assert_eq!(change.targets.keys().collect::<Vec<_>>(), [TARGET]);
            let (word, reason) = change.targets[TARGET].clone();
            (change.index, change.key.id.to_string(), change.outcome.clone(), word, reason)
        };
        record.changes.iter().map(fate).collect()
    };
    let fate = |index, user: &str, outcome: &str, word: &str, reason: Option<&str>| {
        (index, user.to_owned(), outcome.to_owned(), word.to_owned(), reason.map(str::to_owned))
    };
    let projected = record(&first).await;
    assert_eq!(projected.summary.state, "projected");
    assert_eq!(projected.changes[0].operation, "user.upsert");
    assert_eq!(
        fates(&projected),
        [
            fate(0, "a", "merged", "pending", None),
            fate(1, "b", "merged", "waiting", Some("not known")),
            fate(2, "c", "merged", "parked", Some("refused")),
        ]
    );
    assert_eq!(
        fates(&record(&second).await),
        [fate(0, "a", "unchanged", "pending", None), fate(1, "d", "merged", "applied", None)]
    );
    let third = must(scene.store.event("evt-2").await).expect("the event is known");
    assert_eq!(fates(&third), [fate(0, "a", "superseded", "pending", None)]);

    // A later change does not undo that an earlier one was applied.
    scene.feed([titled("d", "B")]).await;
    assert_eq!(fates(&record(&second).await)[1], fate(1, "d", "merged", "applied", None));
}

pub async fn an_event_is_found_by_number_and_by_the_senders_id(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let event = scene.append(vec![now(titled("u", "A"))]).await;
    must(scene.store.append(NewEvent { source: "okta".to_owned(), ..event.clone() }).await);
    let newest = must(scene.store.event(&event.event_id).await).expect("the event is known").summary;
    assert_eq!((newest.source.as_str(), newest.body_bytes), ("okta", event.body.len() as u64));
    let listed = must(scene.store.events(None, 10).await).items;
    assert_eq!(listed[0], newest);
    let older = must(scene.store.event(&listed[1].sequence.to_string()).await).expect("the event is known");
    assert_eq!((older.summary.source.as_str(), older.summary.received_at), ("hr", event.received_at));
    for nobody in ["", "evt-99", "99", "99999999999999999999", "-1"] {
        assert_eq!(must(scene.store.event(nobody).await), None, "{nobody}");
    }
}

pub async fn the_ledger_names_the_events_and_filters(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    scene.feed([titled("u", "A"), titled("w", "A")]).await;
    scene.feed([titled("u", "B")]).await;
    let key = user_key("u");
    scene.commit(outcome(&key, 2).ending(retry(NOW)).noting("create", "throttled")).await;
    scene.commit(outcome(&key, 2).linked("v-u", 2, 0).noting("create", "applied")).await;
    scene.feed([titled("u", "C")]).await;
    scene.commit(outcome(&key, 3).linked("v-u", 3, 0).noting("update", "applied")).await;
    scene.commit(outcome(&user_key("w"), 1).ending(park()).noting("create", "refused")).await;

    let list = async |filter: LedgerFilter| -> Vec<String> {
        let page = must(scene.store.ledger(&filter, None, 10).await);
        let line = |entry: &crate::store::LedgerRecord| {
            let id = entry.key.as_ref().map_or("", |key| key.id.as_str());
            format!("{id} {} {}: {}", entry.operation, entry.result, entry.events.join(" "))
        };
        page.items.iter().map(line).collect()
    };
    let (refused, updated) = ("w create refused: evt-0", "u update applied: evt-2");
    let (created, throttled) = ("u create applied: evt-0 evt-1", "u create throttled: evt-0 evt-1");
    let any = LedgerFilter::default;
    assert_eq!(list(any()).await, [refused, updated, created, throttled]);
    assert_eq!(list(LedgerFilter { key: Some(key), ..any() }).await, [updated, created, throttled]);
    assert_eq!(list(LedgerFilter { key: Some(group_key("u")), ..any() }).await, [""; 0]);
    assert_eq!(list(LedgerFilter { result: Some("applied".to_owned()), ..any() }).await, [updated, created]);
    assert_eq!(list(LedgerFilter { target: Some("second".to_owned()), ..any() }).await, [""; 0]);
    assert_eq!(list(LedgerFilter { from: Some(NOW), ..any() }).await.len(), 4);
    assert_eq!(list(LedgerFilter { until: Some(NOW), ..any() }).await, [""; 0]);
}

pub async fn a_ping_writes(home: &dyn Home) {
    let store = home.open().await;
    for _ in 0..3 {
        must(store.ping().await);
    }
}

pub async fn what_a_person_does_is_told_with_the_name(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "A")]).await;
    for name in ["a", "b"] {
        scene.commit(outcome(&user_key(name), 1).ending(park())).await;
    }
    let paused = TargetState::Paused { by: "ann".to_owned(), since: NOW };
    must(scene.store.order_target_state(TARGET, &paused, "ann", NOW).await);
    assert_eq!(must(scene.store.target(TARGET).await).expect("it is enrolled").state, paused);
    must(scene.store.order_target_state(TARGET, &TargetState::Running, "bob", NOW).await);
    let parked = |name: &str| ItemId::Resource(user_key(name));
    must(scene.store.retry_parked(TARGET, &parked("a"), "cid", NOW).await);
    must(scene.store.discard_parked(TARGET, &parked("b"), "dan", NOW).await);
    must(scene.store.expedite(TARGET, &user_key("b"), "eve", NOW).await);
    let resyncs = scene.store.resyncs();
    let wanted = |id: &str, by: Option<&str>| NewResync {
        id: id.to_owned(),
        target: TARGET.to_owned(),
        at: NOW,
        by: by.map(str::to_owned),
        body: serde_json::Value::Null,
    };
    assert!(must(resyncs.begin_resync(&wanted("r1", Some("fay"))).await));
    assert!(!must(resyncs.begin_resync(&wanted("r2", Some("fay"))).await), "one is under way");
    assert!(must(resyncs.cancel_resync("r1", "gus", NOW).await));
    must(resyncs.end_resync("r1", &serde_json::Value::Null).await);
    assert!(!must(resyncs.cancel_resync("r1", "gus", NOW).await), "it has ended");
    must(resyncs.begin_resync(&wanted("r3", None)).await);

    let told = must(scene.store.ledger_past(&BTreeMap::new(), 100).await);
    let told: Vec<String> = told
        .iter()
        .map(|entry| {
            let about = entry.key.as_ref().map_or("target", |key| key.id.as_str());
            format!("{about} {} by {}", entry.result, entry.actor.as_deref().unwrap_or("nobody"))
        })
        .collect();
    let expected = [
        "target paused by ann",
        "target resumed by bob",
        "a retried by cid",
        "b discarded by dan",
        "b ordered by eve",
        "target resync_ordered by fay",
        "target resync_cancelled by gus",
    ];
    assert_eq!(told, expected);
}

pub async fn the_ledger_past_what_was_told_comes_once_in_each_targets_order(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("second", &DIRECTORY.to_owned(), NOW).await);
    for _ in 0..7 {
        for target in [TARGET, "second"] {
            must(scene.store.order_target_state(target, &TargetState::Running, "ann", NOW).await);
        }
    }
    let whole = must(scene.store.ledger_past(&BTreeMap::new(), 100).await);
    let (mut told, mut met) = (BTreeMap::new(), Vec::new());
    loop {
        let page = must(scene.store.ledger_past(&told, 3).await);
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        for entry in &page {
            let before = told.insert(entry.target.clone(), entry.sequence);
            assert!(before.is_none_or(|before| before < entry.sequence), "{told:?}");
        }
        met.extend(page);
    }
    assert_eq!((met.len(), &met), (14, &whole));

    // One target is far behind the other.
    told.insert("second".to_owned(), 0);
    let again = must(scene.store.ledger_past(&told, 100).await);
    assert_eq!(again.len(), 7);
    assert!(again.iter().all(|entry| entry.target == "second"));
    told.insert("second".to_owned(), 1_000_000);
    let anew = must(scene.store.ledger_past(&told, 100).await);
    assert_eq!(anew, again, "the note is of another database");
}

pub async fn what_is_protected_is_not_told_as_applied(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A"), titled("b", "B")]).await;
    for name in ["a", "b"] {
        scene.finish(&user_key(name), &format!("v-{name}")).await;
    }
    scene.feed([members("g", &["a", "b"], &[])]).await;
    scene.finish(&group_key("g"), "v-g").await;
    let end = scene.feed([deactivate("a"), members("g", &[], &["a", "b"])]).await;

    let user = scene.dossier(&user_key("a")).await.item.generation;
    scene.commit(outcome(&user_key("a"), user).noting("none", "protected")).await;
    let group = scene.dossier(&group_key("g")).await.item.generation;
    let removal = |name: &str| {
        let detail = Some(format!("removal of {name}"));
        LedgerEntry::without_call(NOW, "members", "protected", detail)
    };
    let sent =
        Outcome { ledger: vec![removal("a")], ..outcome(&group_key("g"), group).linked("v-g", group, 4) };
    scene.commit(sent).await;
    let event = must(scene.store.event(&end.event_id).await).expect("the event is known");
    let words: Vec<&str> = event.changes.iter().map(|change| change.targets[TARGET].0.as_str()).collect();
    assert_eq!(words, ["protected", "protected"]);

    // What is said later of the same group is not about the protected one.
    let later = scene.feed([members("g", &["b"], &[])]).await;
    scene.finish(&group_key("g"), "v-g").await;
    let event = must(scene.store.event(&later.event_id).await).expect("the event is known");
    assert_eq!(event.changes[0].targets[TARGET].0, "applied");
}

pub async fn any_resource_has_a_dossier(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "A")]).await;
    let due = must(scene.store.dossier(TARGET, &user_key("a"), 10).await).expect("the target is enrolled");
    assert_eq!(due, scene.dossier(&user_key("a")).await);
    scene.finish(&user_key("a"), "v-a").await;
    assert_eq!(must(scene.store.load(TARGET, &user_key("a"), 10).await), None, "it is done");
    let done = must(scene.store.dossier(TARGET, &user_key("a"), 10).await).expect("the target is enrolled");
    assert_eq!((done.desired, done.item.generation), (due.desired, 1));
    assert!(matches!(done.link, Some(crate::store::Link::Known(_))));
    let stranger =
        must(scene.store.dossier(TARGET, &group_key("x"), 10).await).expect("the target is enrolled");
    assert_eq!((stranger.link, stranger.item.generation), (None, 0));
    assert_eq!(must(scene.store.dossier("nowhere", &user_key("a"), 10).await), None);
}

//! Work rows: how they come, in which order, and what becomes of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::clock::Timestamp;
use crate::directory::{AttributePath, Change, ExternalId, Kind, Operation, ResourceKey, User};
use crate::scim::etag::ETag;
use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, park, retry, wait};
use crate::store::conformance::script::{
    DIRECTORY, deactivate, delete_user, group, group_key, id, members, now, received_at, titled, user,
    user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::{EventReader, Intent, Lane, Link, LinkChange, Outcome, Row, Scopes, WorkChange};

const LATER: Timestamp = Timestamp::from_seconds(6_000);

pub async fn lanes_follow_what_is_desired(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for (operation, expected) in [
        (titled("u", "A"), "change user u"),
        (deactivate("u"), "deprovision user u"),
        (user("u", &json!({"active": true})), "change user u"),
        (delete_user("u"), "deprovision user u"),
    ] {
        scene.feed([operation]).await;
        assert_eq!(scene.due_names().await, [expected]);
    }
    for (operation, expected) in [
        (group("g", "G"), "membership group g"),
        (members("g", &["a", "b"], &[]), "membership group g"),
        (members("g", &[], &["a"]), "revoke group g"),
        // Nobody has been removed at the vendor yet.
        (members("g", &["c"], &[]), "revoke group g"),
    ] {
        scene.feed([operation]).await;
        assert_eq!(scene.due_names().await, ["deprovision user u", expected]);
    }
    scene.finish(&group_key("g"), "v-g").await;
    scene.feed([members("g", &["d"], &[])]).await;
    assert_eq!(scene.due_names().await, ["deprovision user u", "membership group g"]);
}

/// Wants nobody with a title.
struct Untitled;

impl Scopes for Untitled {
    fn excludes(&self, target: &str, _: &ExternalId, user: &User) -> bool {
        target == TARGET
            && user.attributes.shown(&AttributePath::new("title")).is_some_and(|title| !title.is_null())
    }
}

/// Reads a script for a target that wants nobody with a title.
struct Scoped<'a>(&'a dyn EventReader);

impl EventReader for Scoped<'_> {
    fn read(&self, source: &str, body: &[u8]) -> Result<Vec<Change>, String> {
        self.0.read(source, body)
    }

    fn scopes(&self) -> Option<Arc<dyn Scopes>> {
        Some(Arc::new(Untitled))
    }
}

pub async fn who_has_an_account_and_leaves_a_scope_is_a_leaver(home: &dyn Home) {
    let scene = Scene::new(home).await;
    must(scene.store.enrol("other", &DIRECTORY.to_owned(), NOW).await);
    let plain = |name: &str| user(name, &json!({"nickName": name}));
    scene.feed([plain("known"), plain("sought"), group("g", "G")]).await;
    scene.finish(&user_key("known"), "v-known").await;
    let generation = scene.dossier(&user_key("sought")).await.item.generation;
    let absent = LinkChange::Set(Link::Absent { checked_at: NOW });
    scene.commit(Outcome { link: absent, ..outcome(&user_key("sought"), generation) }).await;
    let feed = async |operations: [Operation; 3]| {
        scene.append(operations.into_iter().map(now).collect()).await;
        must(scene.store.project(&Scoped(&scene.script), 100).await);
    };
    feed([titled("known", "A"), titled("sought", "A"), group("g", "H")]).await;
    let names = ["deprovision user known", "change user sought", "membership group g"];
    assert_eq!(scene.due_names().await, names);
    let elsewhere = must(scene.store.due("other", Lane::Deprovision, NOW, 10).await);
    assert_eq!(elsewhere, [], "the other target wants everybody");
    feed([user("known", &json!({"title": null})), plain("sought"), group("g", "G")]).await;
    let names = ["change user known", "change user sought", "membership group g"];
    let mut due = scene.due_names().await;
    due.sort_unstable();
    assert_eq!(due, names);
}

pub async fn due_rows_come_oldest_first_and_not_before_their_time(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for name in ["c", "a", "b"] {
        scene.feed([titled(name, "A")]).await;
    }
    let due = async |now, limit| -> Vec<String> {
        let items = must(scene.store.due(TARGET, Lane::Change, now, limit).await);
        items.into_iter().map(|item| item.key.id.as_str().to_owned()).collect()
    };
    assert_eq!(due(NOW, 10).await, ["c", "a", "b"]);
    assert_eq!(due(NOW, 2).await, ["c", "a"]);
    assert_eq!(due(received_at(1), 10).await, ["c", "a"]);
    assert_eq!(must(scene.store.due(TARGET, Lane::Membership, NOW, 10).await), []);

    // A new change keeps the place in line.
    scene.feed([titled("c", "B")]).await;
    assert_eq!(due(NOW, 10).await, ["c", "a", "b"]);

    assert_eq!(must(scene.store.next_due(TARGET, NOW).await), None);
    let generation = scene.dossier(&user_key("a")).await.item.generation;
    scene.commit(outcome(&user_key("a"), generation).ending(retry(LATER))).await;
    assert_eq!(due(NOW, 10).await, ["c", "b"]);
    assert_eq!(must(scene.store.next_due(TARGET, NOW).await), Some(LATER));
    assert_eq!(must(scene.store.next_due(TARGET, LATER).await), None);
    let ever = must(scene.store.next_due(TARGET, Timestamp::from_micros(i64::MIN)).await);
    assert_eq!(ever, Some(received_at(0)), "what is due already is the first of all");
    assert_eq!(due(LATER, 10).await, ["c", "b", "a"]);
}

pub async fn finishing_removes_the_row_and_tells_how_long_it_took(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A")]).await;
    scene.feed([titled("u", "B")]).await;
    let item = scene.dossier(&user_key("u")).await.item;
    assert_eq!(item.since, received_at(0), "the oldest change counts");
    let committed = scene.finish(&user_key("u"), "v-u").await;
    assert_eq!(committed.converged, [(Lane::Change, NOW.since(received_at(0)))]);
    assert!(!committed.woken);
    assert_eq!(scene.due().await, []);
    assert_eq!(scene.pending().await, 0);

    scene.feed([titled("u", "C")]).await;
    assert_eq!(scene.dossier(&user_key("u")).await.item.since, received_at(2));
}

pub async fn a_row_that_has_moved_on_is_due_whatever_became_of_the_call(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "0")]).await;
    for (number, work) in
        [WorkChange::Finish, WorkChange::Continue, retry(LATER), wait(LATER), park()].into_iter().enumerate()
    {
        let planned = scene.dossier(&user_key("u")).await.item.generation;
        scene.feed([titled("u", &format!("{}", number + 1))]).await;
        let committed = scene.commit(outcome(&user_key("u"), planned).ending(work.clone())).await;
        assert_eq!(committed.converged, [], "{work:?}");
        assert!(committed.woken, "{work:?}");
        let due = scene.due().await;
        assert_eq!(due.len(), 1, "{work:?}");
        assert_eq!((due[0].generation, due[0].attempts), (planned + 1, 0), "{work:?}");
    }
}

pub async fn a_retry_comes_back_when_it_is_due(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A")]).await;
    scene.commit(outcome(&user_key("u"), 1).ending(retry(LATER))).await;
    assert_eq!(scene.due().await, []);
    assert_eq!(scene.pending().await, 1, "it is still to be sent");
    let due = scene.due_at(LATER).await;
    assert_eq!((due[0].attempts, due[0].failed_at, due[0].since), (3, Some(NOW), received_at(0)));
    scene.commit(outcome(&user_key("u"), 1).ending(WorkChange::Continue)).await;
    assert_eq!(scene.due().await[0].attempts, 0);
}

pub async fn a_wait_is_looked_at_again_and_is_not_pending(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A")]).await;
    scene.commit(outcome(&user_key("u"), 1).ending(wait(LATER))).await;
    let counts = scene.counts().await;
    assert_eq!((scene.pending().await, counts.waiting, counts.parked), (0, 1, 0));
    assert_eq!(counts.oldest_pending_since, None);
    assert_eq!(scene.due().await, []);
    assert_eq!(must(scene.store.next_due(TARGET, NOW).await), Some(LATER));
    assert_eq!(scene.due_at(LATER).await.len(), 1);
    assert!(must(scene.store.load(TARGET, &user_key("u"), 1).await).is_some());
}

pub async fn a_change_makes_any_row_due_at_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "0")]).await;
    for (number, work) in [retry(LATER), wait(LATER), park()].into_iter().enumerate() {
        let planned = scene.dossier(&user_key("u")).await.item.generation;
        scene.commit(outcome(&user_key("u"), planned).ending(work.clone())).await;
        assert_eq!(scene.due().await, [], "{work:?}");
        scene.feed([titled("u", &format!("{}", number + 1))]).await;
        let due = scene.due().await;
        assert_eq!(due.len(), 1, "{work:?}");
        assert_eq!((due[0].attempts, due[0].since), (0, received_at(0)), "{work:?}");
        let counts = scene.counts().await;
        assert_eq!((counts.waiting, counts.parked), (0, 0), "{work:?}");
    }
}

pub async fn a_call_of_unknown_outcome_stays_noted(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A")]).await;
    let intent = Intent { operation: "create".to_owned(), at: NOW };
    let tenure = scene.tenure().await;
    must(scene.store.intend(&tenure, &user_key("u"), &intent).await);

    let scene = scene.restarted(home).await;
    assert_eq!(scene.dossier(&user_key("u")).await.item.intent.as_ref(), Some(&intent));
    scene.feed([titled("u", "B")]).await;
    assert_eq!(
        scene.due().await[0].intent.as_ref(),
        Some(&intent),
        "a change does not tell what became of it"
    );
    scene.commit(outcome(&user_key("u"), 2).ending(retry(NOW)).noting("create", "unknown")).await;
    assert_eq!(scene.dossier(&user_key("u")).await.item.intent.as_ref(), Some(&intent));
    scene.commit(outcome(&user_key("u"), 2).ending(retry(NOW)).noting("create", "throttled")).await;
    assert_eq!(scene.dossier(&user_key("u")).await.item.intent, None);
}

pub async fn a_change_that_may_have_been_done_is_noted_until_something_is_known(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let key = user_key("u");
    scene.feed([titled("u", "A")]).await;
    scene.commit(outcome(&key, 1).linked("v-u", 1, 0).ending(WorkChange::Finish)).await;
    scene.feed([titled("u", "B")]).await;
    let began_at = Timestamp::default();
    assert!(!scene.dossier(&key).await.may_hide_a_call(began_at), "nothing was sent");
    scene.commit(outcome(&key, 2).ending(retry(NOW)).noting("update", "unknown")).await;
    scene.feed([titled("u", "A")]).await;

    let scene = scene.restarted(home).await;
    assert!(scene.dossier(&key).await.may_hide_a_call(began_at), "B may be there");
    scene.commit(outcome(&key, 3).ending(retry(NOW)).noting("fetch", "found")).await;
    scene.feed([titled("u", "C")]).await;
    assert!(!scene.dossier(&key).await.may_hide_a_call(began_at), "the vendor was asked since");
}

pub async fn a_link_is_kept_as_it_was_given(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let key = user_key("ü/1");
    scene.feed([titled("ü/1", "A")]).await;
    assert_eq!(scene.dossier(&key).await.link, None);

    let applied = BTreeMap::from([
        (AttributePath::new("title"), json!("A")),
        (AttributePath::enterprise("department"), json!(null)),
        (AttributePath::new("emails"), json!([{"value": "a@example.com", "primary": true}])),
    ]);
    let row = Row {
        vendor_id: "V 1".to_owned(),
        etag: ETag::parse("W/\"7\""),
        synced_generation: 1,
        synced_members: 2,
        applied,
    };
    for link in [Link::Known(row.clone()), Link::Absent { checked_at: NOW }, Link::Known(row)] {
        let set = Outcome { link: LinkChange::Set(link.clone()), ..outcome(&key, 1).ending(retry(NOW)) };
        scene.commit(set).await;
        assert_eq!(scene.dossier(&key).await.link.as_ref(), Some(&link));
        scene.commit(outcome(&key, 1).ending(retry(NOW))).await;
        assert_eq!(scene.dossier(&key).await.link, Some(link), "keeping keeps");
    }
    let holder = async |kind, vendor_id| must(scene.store.holder_of(TARGET, kind, vendor_id).await);
    assert_eq!(holder(Kind::User, "V 1").await, Some(key.id.clone()));
    assert_eq!(holder(Kind::Group, "V 1").await, None);
    assert_eq!(holder(Kind::User, "V 2").await, None);

    scene.commit(Outcome { link: LinkChange::Forget, ..outcome(&key, 1).ending(retry(NOW)) }).await;
    assert_eq!(scene.dossier(&key).await.link, None);
    assert_eq!(holder(Kind::User, "V 1").await, None);
}

pub async fn a_resource_that_is_no_work_is_not_loaded(home: &dyn Home) {
    let scene = Scene::new(home).await;
    assert_eq!(must(scene.store.load(TARGET, &user_key("nobody"), 1).await), None);
    assert_eq!(must(scene.store.load("nowhere", &user_key("u"), 1).await), None);
    scene.feed([titled("u", "A")]).await;
    assert_eq!(must(scene.store.load(TARGET, &ResourceKey::group(id("u")), 1).await), None);
    scene.commit(outcome(&user_key("u"), 1).ending(park())).await;
    assert_eq!(must(scene.store.load(TARGET, &user_key("u"), 1).await), None);

    // Outcomes of what is no work record what was learned, and make no work.
    let known = outcome(&user_key("nobody"), 1).linked("v-1", 0, 0).ending(retry(NOW));
    scene.commit(known).await;
    assert_eq!(must(scene.store.holder_of(TARGET, Kind::User, "v-1").await), Some(id("nobody")));
    assert_eq!(scene.pending().await, 0);
}

pub async fn work_and_links_outlive_the_process(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "A"), titled("w", "A"), members("g", &["u", "w"], &[])]).await;
    scene.finish(&user_key("u"), "v-u").await;
    scene.commit(outcome(&user_key("w"), 1).ending(retry(NOW.after(Duration::from_secs(1))))).await;
    let (due, dossier) = (scene.due_at(LATER).await, scene.dossier(&group_key("g")).await);
    assert_eq!(due.len(), 2);

    let scene = scene.restarted(home).await;
    assert_eq!(scene.due_at(LATER).await, due);
    assert_eq!(scene.dossier(&group_key("g")).await, dossier);
    assert_eq!(must(scene.store.holder_of(TARGET, Kind::User, "v-u").await), Some(id("u")));
}

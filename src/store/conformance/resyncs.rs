//! Resyncs: one at a time, what each has seen and found, and how what drifted becomes work.

use serde_json::json;

use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::store::conformance::scene::{NOW, Scene, TARGET, outcome, park};
use crate::store::conformance::script::{
    deactivate, delete_user, group, group_key, id, members, titled, user_key,
};
use crate::store::conformance::{Home, must};
use crate::store::{
    Desired, DriftMark, Expected, ExpectedMember, Kept, Link, NewResync, Part, Probe, ResyncRow, Step,
    StoreError,
};

async fn begin(scene: &Scene, name: &str, target: &str) -> bool {
    let new = NewResync {
        id: name.to_owned(),
        target: target.to_owned(),
        at: NOW,
        by: None,
        body: json!({"n": name}),
    };
    must(scene.store.resyncs().begin_resync(&new).await)
}

async fn end(scene: &Scene, name: &str) {
    must(scene.store.resyncs().end_resync(name, &json!("over")).await);
}

async fn forget(scene: &Scene, target: &str, keep: usize) {
    must(scene.store.resyncs().forget_resyncs(target, keep).await);
}

async fn keep(scene: &Scene, name: &str, rows: &[ResyncRow]) -> Kept {
    must(
        scene.store.resyncs().keep_resync(name, Step::rows(rows.to_vec()), &json!({"far": rows.len()})).await,
    )
}

fn row(part: Part, name: &str) -> ResyncRow {
    ResyncRow {
        part,
        name: name.to_owned(),
        external_id: None,
        match_value: None,
        claimed: false,
        holder: None,
        body: json!({"id": name}),
    }
}

fn known_by(name: &str, external_id: &str, match_value: &str) -> ResyncRow {
    ResyncRow {
        external_id: Some(external_id.to_owned()),
        match_value: Some(match_value.to_owned()),
        ..row(Part::User, name)
    }
}

/// Names of a part's rows, read `limit` at a time.
async fn names(scene: &Scene, name: &str, part: Part, limit: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = must(scene.store.resyncs().resync_rows(name, part, after.as_deref(), limit).await);
        assert!(page.items.len() <= limit);
        names.extend(page.items.into_iter().map(|row| row.name));
        match page.next {
            Some(next) => after = Some(next),
            None => return names,
        }
    }
}

async fn listed(scene: &Scene, target: &str) -> Vec<String> {
    let records = must(scene.store.resyncs().resyncs(target, 10).await);
    records.into_iter().map(|record| record.id).collect()
}

pub async fn one_resync_of_a_target_is_under_way_at_a_time(home: &dyn Home) {
    let scene = Scene::new(home).await;
    assert!(begin(&scene, "one", TARGET).await);
    assert!(!begin(&scene, "two", TARGET).await, "one is under way");
    assert!(begin(&scene, "other", "globex").await, "each target has its own");
    end(&scene, "one").await;
    assert!(begin(&scene, "two", TARGET).await);
    assert_eq!(listed(&scene, TARGET).await, ["two", "one"], "newest first");
    assert_eq!(must(scene.store.resyncs().resyncs(TARGET, 1).await).len(), 1);
    assert_eq!(must(scene.store.resyncs().resync("none").await), None);
}

pub async fn a_resync_is_cancelled_until_it_has_ended(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let resyncs = scene.store.resyncs();
    assert!(!must(resyncs.cancel_resync("one", "ops", NOW).await), "there is none");
    begin(&scene, "one", TARGET).await;
    assert!(!keep(&scene, "one", &[]).await.cancelled);
    assert!(must(resyncs.cancel_resync("one", "ops", NOW).await));
    assert!(keep(&scene, "one", &[]).await.cancelled);
    let record = must(resyncs.resync("one").await).expect("it was begun");
    assert!(record.cancelled && !record.ended);
    end(&scene, "one").await;
    assert!(!must(resyncs.cancel_resync("one", "ops", NOW).await), "it has ended");
    assert!(keep(&scene, "forgotten", &[]).await.cancelled, "nobody waits for what is not there");
}

pub async fn rows_are_fresh_once_and_come_in_the_order_of_their_names(home: &dyn Home) {
    let scene = Scene::new(home).await;
    begin(&scene, "one", TARGET).await;
    let twice = [row(Part::User, "b"), row(Part::User, "a"), row(Part::User, "b"), row(Part::Group, "a")];
    assert_eq!(keep(&scene, "one", &twice).await.fresh, 3, "a name counts once in its part");
    assert_eq!(keep(&scene, "one", &[row(Part::User, "a"), row(Part::User, "Ä")]).await.fresh, 1);
    assert_eq!(keep(&scene, "one", &[row(Part::User, "B"), row(Part::User, "a b")]).await.fresh, 2);
    for limit in [1, 2, 5, 9] {
        assert_eq!(names(&scene, "one", Part::User, limit).await, ["B", "a", "a b", "b", "Ä"]);
    }
    assert_eq!(names(&scene, "one", Part::Group, 9).await, ["a"]);
    assert_eq!(names(&scene, "one", Part::Finding, 9).await, Vec::<String>::new());
    assert_eq!(names(&scene, "other", Part::User, 9).await, Vec::<String>::new());

    let claimed = ResyncRow { claimed: true, body: json!({"now": 2}), ..known_by("a", "x", "y") };
    assert_eq!(keep(&scene, "one", std::slice::from_ref(&claimed)).await.fresh, 0);
    let page = must(scene.store.resyncs().resync_rows("one", Part::User, Some("B"), 1).await);
    assert_eq!(page.items, [claimed], "the later one stands");
}

pub async fn what_a_resync_knows_outlives_the_process(home: &dyn Home) {
    let scene = Scene::new(home).await;
    begin(&scene, "one", TARGET).await;
    keep(&scene, "one", &[row(Part::User, "v1"), row(Part::Finding, "f")]).await;
    let scene = scene.restarted(home).await;
    let record = must(scene.store.resyncs().resync("one").await).expect("it was begun");
    assert_eq!((record.target.as_str(), record.at, &record.body), (TARGET, NOW, &json!({"far": 2})));
    assert!(!record.ended && !record.cancelled);
    assert_eq!(names(&scene, "one", Part::User, 9).await, ["v1"]);
    assert_eq!(names(&scene, "one", Part::Finding, 9).await, ["f"]);
}

pub async fn what_ended_resyncs_have_seen_is_forgotten_and_old_reports_go_with_newer_ones(home: &dyn Home) {
    let scene = Scene::new(home).await;
    begin(&scene, "other", "globex").await;
    let seen = [row(Part::User, "v"), row(Part::Group, "v"), row(Part::Finding, "f")];
    keep(&scene, "other", &seen).await;
    end(&scene, "other").await;
    for name in ["one", "two", "three"] {
        begin(&scene, name, TARGET).await;
        keep(&scene, name, &seen).await;
        forget(&scene, TARGET, 2).await;
        assert_eq!(names(&scene, name, Part::User, 9).await, ["v"], "it is under way");
        end(&scene, name).await;
        // As often as somebody is interrupted.
        forget(&scene, TARGET, 2).await;
        forget(&scene, TARGET, 2).await;
        assert_eq!(names(&scene, name, Part::User, 9).await, Vec::<String>::new());
        assert_eq!(names(&scene, name, Part::Group, 9).await, Vec::<String>::new());
        assert_eq!(names(&scene, name, Part::Finding, 9).await, ["f"]);
    }
    assert_eq!(listed(&scene, TARGET).await, ["three", "two"]);
    assert_eq!(names(&scene, "one", Part::Finding, 9).await, Vec::<String>::new());
    assert_eq!(listed(&scene, "globex").await, ["other"], "each target keeps its own");
    assert_eq!(names(&scene, "other", Part::User, 9).await, ["v"], "and what it has seen");
    let record = must(scene.store.resyncs().resync("two").await).expect("it is kept");
    assert!(record.ended && record.body == json!("over"));
}

pub async fn a_step_forgets_keeps_and_claims_at_once(home: &dyn Home) {
    let scene = Scene::new(home).await;
    for name in ["one", "other"] {
        let target = if name == "one" { TARGET } else { "globex" };
        begin(&scene, name, target).await;
        keep(&scene, name, &[row(Part::User, "old"), row(Part::Group, "v1"), row(Part::Finding, "f")]).await;
    }
    let step = Step {
        forgotten: vec![Part::User],
        rows: vec![known_by("v1", "x", "y"), row(Part::User, "v2")],
        claimed: vec![(Part::User, "v1".to_owned()), (Part::User, "nobody".to_owned())],
    };
    let kept = must(scene.store.resyncs().keep_resync("one", step, &json!("far")).await);
    assert_eq!((kept.fresh, kept.cancelled), (2, false));
    let page = must(scene.store.resyncs().resync_rows("one", Part::User, None, 9).await);
    let claimed = ResyncRow { claimed: true, ..known_by("v1", "x", "y") };
    assert_eq!(page.items, [claimed, row(Part::User, "v2")], "nothing else of a claimed row changes");
    let page = must(scene.store.resyncs().resync_rows("one", Part::Group, None, 9).await);
    assert_eq!(page.items, [row(Part::Group, "v1")], "another part's row of that name is another");
    assert_eq!(names(&scene, "one", Part::Finding, 9).await, ["f"]);
    assert_eq!(names(&scene, "other", Part::User, 9).await, ["old"], "each resync has its own");
    let record = must(scene.store.resyncs().resync("one").await).expect("it was begun");
    assert_eq!(record.body, json!("far"));
}

pub async fn what_nobody_has_is_named_page_by_page(home: &dyn Home) {
    let scene = Scene::new(home).await;
    begin(&scene, "one", TARGET).await;
    let rows = ["a", "b", "c", "d", "e"].map(|name| row(Part::User, name));
    keep(&scene, "one", &rows).await;
    keep(&scene, "one", &[row(Part::Group, "aa")]).await;
    let claimed = ["b", "c"].map(|name| (Part::User, name.to_owned())).to_vec();
    let step = Step { claimed, ..Step::default() };
    must(scene.store.resyncs().keep_resync("one", step, &json!({})).await);
    for (after, limit, names, next) in [
        (None, 9, &["a", "d", "e"][..], None),
        (None, 1, &["a"], Some("a")),
        (Some("a"), 2, &[], Some("c")),
        (Some("c"), 2, &["d", "e"], None),
        (Some("e"), 2, &[], None),
    ] {
        let page = must(scene.store.resyncs().resync_unclaimed("one", Part::User, after, limit).await);
        assert_eq!(
            (page.items.as_slice(), page.next.as_deref()),
            (&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..], next),
            "{after:?}"
        );
    }
}

pub async fn a_probe_meets_rows_by_name_external_id_or_value(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("u", "Lead")]).await;
    scene.finish(&user_key("u"), "v1").await;
    begin(&scene, "one", TARGET).await;
    let rows = [known_by("v1", "x", "x@example.com"), known_by("v2", "u", "y@example.com")];
    keep(&scene, "one", &rows).await;
    let names = [ResyncRow { part: Part::Group, ..known_by("v1", "u", "all") }, known_by("v3", "", "")];
    keep(&scene, "one", &names).await;
    let probe = |name: Option<&str>, external_id: Option<&str>, value: Option<&str>| Probe {
        name: name.map(str::to_owned),
        external_id: external_id.map(str::to_owned),
        match_value: value.map(str::to_owned),
    };
    let probes = [
        probe(None, None, None),
        probe(Some("v1"), None, None),
        probe(None, Some("u"), None),
        probe(None, None, Some("y@example.com")),
        probe(Some("v1"), Some("u"), Some("y@example.com")),
        probe(Some("v9"), Some("v1"), Some("u")),
    ];
    let met = must(scene.store.resyncs().resync_like("one", Part::User, &probes).await);
    let met: Vec<Vec<_>> =
        met.iter().map(|rows| rows.iter().map(|row| row.name.as_str()).collect()).collect();
    let expected: [&[&str]; 6] = [&[], &["v1"], &["v2"], &["v2"], &["v1", "v2"], &[]];
    assert_eq!(met, expected);

    let met = must(scene.store.resyncs().resync_like("one", Part::User, &probes[4..5]).await);
    let holders: Vec<_> = met[0].iter().map(|row| row.holder.clone()).collect();
    assert_eq!(holders, [Some(id("u")), None], "who is linked to it is told");
    assert_eq!(met[0][1].body, json!({"id": "v2"}));
    let met = must(scene.store.resyncs().resync_like("one", Part::Group, &probes[1..2]).await);
    assert_eq!(met[0][0].holder, None, "a user's link is no group's");
    assert_eq!(must(scene.store.resyncs().resync_like("other", Part::User, &probes).await), vec![vec![]; 6]);
}

async fn expected(scene: &Scene, kind: Kind) -> Vec<Expected> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = must(scene.store.resyncs().expected(TARGET, kind, after.as_ref(), 2).await);
        let Some(last) = page.last() else { return all };
        after = Some(last.dossier.item.key.id.clone());
        all.extend(page);
    }
}

fn ids(expected: &[Expected]) -> Vec<&str> {
    expected.iter().map(|one| one.dossier.item.key.id.as_str()).collect()
}

pub async fn what_is_expected_is_what_planning_knows(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed(["e", "b", "d", "a", "c"].map(|name| titled(name, "Lead"))).await;
    scene.feed([delete_user("c"), group("g", "All"), members("g", &["a"], &[])]).await;
    scene.finish(&user_key("a"), "v-a").await;
    scene.commit(outcome(&user_key("b"), 1).ending(park())).await;
    let users = expected(&scene, Kind::User).await;
    assert_eq!(ids(&users), ["a", "b", "c", "d", "e"], "who is gone is told as well");
    let pending: Vec<_> = users.iter().map(|one| one.pending).collect();
    assert_eq!(pending, [false, false, true, true, true], "what is parked is not sent");
    let Some(Link::Known(link)) = &users[0].dossier.link else { panic!("{:?}", users[0]) };
    assert_eq!(link.vendor_id, "v-a");
    assert_eq!(users[1].dossier.link, None);
    let by_planning = scene.dossier(&user_key("d")).await;
    assert_eq!(users[3].dossier.desired, by_planning.desired);
    assert_eq!(users[3].dossier.item.generation, by_planning.item.generation);

    let groups = expected(&scene, Kind::Group).await;
    assert_eq!(ids(&groups), ["g"]);
    let Desired::Group { group, deltas, more } = &groups[0].dossier.desired else { panic!("g is a group") };
    assert_eq!((group.member_sequence, deltas.len(), more), (1, 0, &false), "without memberships");
    let nobody = must(scene.store.resyncs().expected("unknown", Kind::User, None, 9).await);
    assert_eq!(nobody, []);
}

pub async fn what_is_named_is_expected_and_no_other(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed(["a", "b", "c"].map(|name| titled(name, "Lead"))).await;
    scene.feed([group("a", "All")]).await;
    scene.finish(&user_key("c"), "v-c").await;
    let among = async |kind, names: &[&str]| {
        let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
        must(scene.store.resyncs().expected_among(TARGET, kind, &ids).await)
    };
    let all = expected(&scene, Kind::User).await;
    assert_eq!(among(Kind::User, &["c", "nobody", "a", "c"]).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(ids(&among(Kind::Group, &["a", "b"]).await), ["a"]);
    assert_eq!(among(Kind::User, &[]).await, []);
}

pub async fn groups_that_a_target_derives_are_expected_and_mended(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "Lead"), group("b", "All"), group("z", "Zoo")]).await;
    let generation = scene.dossier(&user_key("a")).await.item.generation;
    let linked = outcome(&user_key("a"), generation).linked("v-a", generation, 0);
    scene.commit(linked.judging(&[("Sellers", true)])).await;
    let sellers = group_key("derived:Sellers");
    scene.finish(&sellers, "v-s").await;

    let resyncs = scene.store.resyncs();
    let groups = expected(&scene, Kind::Group).await;
    assert_eq!(ids(&groups), ["b", "derived:Sellers", "z"], "each in its place");
    let Desired::Group { group, .. } = &groups[1].dossier.desired else { panic!("it is a group") };
    assert!(group.is_described());
    assert_eq!(
        ids(&must(resyncs.expected_among(TARGET, Kind::Group, std::slice::from_ref(&sellers.id)).await))
            .len(),
        1
    );
    assert_eq!(must(resyncs.expected_counts(TARGET, Kind::Group).await), (1, 3));
    let members = must(resyncs.expected_members(TARGET, &sellers.id, None, 9).await);
    assert_eq!(members, [ExpectedMember { user: id("a"), present: true, vendor_id: Some("v-a".to_owned()) }]);
    must(mark_all(&scene, &[DriftMark { members: vec![id("a")], ..mark(sellers.clone()) }]).await);
    assert_eq!(scene.deltas(&sellers).await.len(), 1);
}

pub async fn expected_memberships_come_in_the_order_of_their_users(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "Lead"), members("g", &["c", "a", "b"], &[]), members("g", &[], &["b"])]).await;
    scene.finish(&user_key("a"), "v-a").await;
    let resyncs = scene.store.resyncs();
    let first = must(resyncs.expected_members(TARGET, &id("g"), None, 2).await);
    let member = |user: &str, present, vendor: Option<&str>| ExpectedMember {
        user: id(user),
        present,
        vendor_id: vendor.map(str::to_owned),
    };
    assert_eq!(first, [member("a", true, Some("v-a")), member("b", false, None)]);
    let rest = must(resyncs.expected_members(TARGET, &id("g"), Some(&id("b")), 2).await);
    assert_eq!(rest, [member("c", true, None)]);
    assert_eq!(must(resyncs.expected_members("unknown", &id("g"), None, 2).await), []);
}

pub async fn what_is_linked_and_what_is_held_are_counted(home: &dyn Home) {
    let scene = Scene::new(home).await;
    let counts = async |kind| must(scene.store.resyncs().expected_counts(TARGET, kind).await);
    assert_eq!(counts(Kind::User).await, (0, 0));
    scene.feed(["a", "b", "c", "d"].map(|name| titled(name, "Lead"))).await;
    scene.feed([delete_user("d"), deactivate("c"), group("g", "All")]).await;
    for name in ["a", "c"] {
        scene.finish(&user_key(name), name).await;
    }
    assert_eq!(counts(Kind::User).await, (2, 3), "a tombstone is not held, whoever may not sign in is");
    assert_eq!(counts(Kind::Group).await, (0, 1));
}

fn mark(key: ResourceKey) -> DriftMark {
    DriftMark { key, link: None, reread: true, members: Vec::new() }
}

async fn mark_all(scene: &Scene, marks: &[DriftMark]) -> Result<(), StoreError> {
    let tenure = scene.tenure().await;
    scene.store.resyncs().mark_drifted(&tenure, marks, NOW).await
}

pub async fn what_drifted_is_due_in_the_lane_that_its_access_wants(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene
        .feed([titled("here", "Lead"), titled("off", "Lead"), titled("new", "Lead"), group("g", "All")])
        .await;
    scene.feed([deactivate("off")]).await;
    for key in [user_key("here"), user_key("off"), group_key("g")] {
        scene.finish(&key, key.id.as_str()).await;
    }
    assert_eq!(scene.due_names().await, ["change user new"]);
    let marks = [user_key("here"), user_key("off"), user_key("new"), user_key("nobody"), group_key("g")];
    must(mark_all(&scene, &marks.map(mark)).await);
    let due = ["deprovision user off", "change user new", "backfill group g", "backfill user here"];
    let mut names = scene.due_names().await;
    names[2..].sort();
    assert_eq!(names, due, "what was more urgent stays so, and nobody is made up");
}

pub async fn a_mark_has_the_vendor_looked_at_again(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "Lead"), titled("b", "Lead")]).await;
    scene.finish(&user_key("a"), "v-a").await;
    scene.finish(&user_key("b"), "v-b").await;
    let generation = expected(&scene, Kind::User).await[0].dossier.item.generation;
    must(mark_all(&scene, &[mark(user_key("a"))]).await);
    let Some(Link::Known(link)) = scene.dossier(&user_key("a")).await.link else { panic!("a is linked") };
    assert_eq!((link.vendor_id.as_str(), link.applied.len(), link.etag), ("v-a", 0, None));
    assert_eq!(scene.dossier(&user_key("a")).await.item.generation, generation, "nothing newer was said");
    assert_eq!(scene.pending().await, 1, "nobody else is touched");

    let adopt = DriftMark { link: Some("v-2".to_owned()), reread: false, ..mark(user_key("b")) };
    must(mark_all(&scene, &[adopt]).await);
    let Some(Link::Known(link)) = scene.dossier(&user_key("b")).await.link else { panic!("b is linked") };
    assert_eq!((link.vendor_id.as_str(), link.synced_generation), ("v-2", 0), "it is another one's now");
}

pub async fn a_drifted_membership_is_sent_again_and_no_other(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "Lead"), titled("b", "Lead"), members("g", &["a", "b"], &[])]).await;
    for key in [user_key("a"), user_key("b"), group_key("g")] {
        scene.finish(&key, key.id.as_str()).await;
    }
    assert_eq!(scene.due().await, []);
    let drifted: Vec<ExternalId> = vec![id("b"), id("stranger")];
    must(mark_all(&scene, &[DriftMark { members: drifted, reread: false, ..mark(group_key("g")) }]).await);
    let deltas = scene.deltas(&group_key("g")).await;
    let users: Vec<_> = deltas.iter().map(|delta| (delta.user.as_str(), delta.present)).collect();
    assert_eq!(users, [("b", true)]);
}

pub async fn what_was_parked_is_tried_again_once_it_drifted(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "Lead"), members("g", &["a"], &[])]).await;
    scene.finish(&user_key("a"), "v-a").await;
    scene.commit(outcome(&group_key("g"), 1).linked("v-g", 1, 1).parking(&id("a"), "refused")).await;
    assert_eq!(scene.due().await, []);
    must(mark_all(&scene, &[DriftMark { members: vec![id("a")], ..mark(group_key("g")) }]).await);
    assert_eq!(scene.deltas(&group_key("g")).await.len(), 1);
    assert_eq!(scene.counts().await.parked, 0);
}

pub async fn who_was_deposed_marks_nothing(home: &dyn Home) {
    let scene = Scene::new(home).await;
    scene.feed([titled("a", "Lead")]).await;
    scene.finish(&user_key("a"), "v-a").await;
    let old = scene.tenure().await;
    scene.tenure_of("replica-2").await;
    let refused = scene.store.resyncs().mark_drifted(&old, &[mark(user_key("a"))], NOW).await;
    assert!(matches!(refused, Err(StoreError::Deposed { .. })), "{refused:?}");
    assert_eq!(scene.due().await, []);
}

mod authority;
mod derived;
mod id_map;
mod mapping;
mod named;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::model::{Memory, Mishap, Vendor};
use super::*;
use crate::directory::{
    ExternalId, Group, Kind, Operation, Snapshot, User, Version, VersionedChange, merge, parse_attributes,
};
use crate::scim::schema;
use crate::store::{MemberDelta, MemberStanding};
use crate::sync::policy::OnDelete;
use crate::target::verdict::Verdict;

pub(super) fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

fn merged(operations: Vec<Operation>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let changes: Vec<_> = (0i64..)
        .zip(operations)
        .map(|(n, operation)| VersionedChange {
            version: Version { occurred_at: Timestamp::from_seconds(n), event: "e".into(), index: 0 },
            operation,
        })
        .collect();
    merge(&mut snapshot, &changes);
    snapshot
}

pub(super) fn upsert(attributes: &Value) -> Operation {
    let attributes = parse_attributes(Kind::User, attributes.as_object().unwrap()).unwrap();
    Operation::UserUpsert { id: id("u-1"), attributes }
}

pub(super) fn deletion() -> Operation {
    Operation::UserDelete { id: id("u-1") }
}

fn user_with(operations: Vec<Operation>, references: BTreeMap<ExternalId, MemberStanding>) -> Memory {
    let user: User = merged(operations).user(&id("u-1")).unwrap().clone();
    Memory::new(ResourceKey::user(id("u-1")), Desired::User { user, references })
}

pub(super) fn user(operations: Vec<Operation>) -> Memory {
    user_with(operations, BTreeMap::new())
}

pub(super) fn jane() -> Value {
    json!({"userName": "jane@example.com", "active": true, "name": {"givenName": "Jane"}, "title": "Lead"})
}

pub(super) fn group(deltas: Vec<MemberDelta>) -> Memory {
    let attributes =
        parse_attributes(Kind::Group, json!({"displayName": "Support"}).as_object().unwrap()).unwrap();
    let row: Group =
        merged(vec![Operation::GroupUpsert { id: id("g-1"), attributes }]).group(&id("g-1")).unwrap().clone();
    Memory::new(ResourceKey::group(id("g-1")), Desired::Group { group: row, deltas, more: false })
}

pub(super) fn delta(sequence: u64, present: bool, standing: MemberStanding) -> MemberDelta {
    MemberDelta { user: id(&format!("u-{sequence}")), present, sequence, standing, waited: false }
}

pub(super) fn linked(sequence: u64, present: bool) -> MemberDelta {
    delta(sequence, present, MemberStanding::Linked(format!("m{sequence}")))
}

pub(super) fn words(vendor: &Vendor) -> Vec<&'static str> {
    vendor
        .calls
        .iter()
        .map(|request| match request {
            Request::Lookup { .. } => "lookup",
            Request::Fetch { .. } => "fetch",
            Request::Inspect { .. } => "inspect",
            Request::MemberPage { .. } => "page",
            Request::IsMember { .. } => "ask",
            Request::Create { .. } => "create",
            Request::Update { .. } => "update",
            Request::Put { .. } => "put",
            Request::Members { .. } => "members",
            Request::Delete { .. } => "delete",
        })
        .collect()
}

pub(super) fn calm() -> impl FnMut() -> Mishap {
    || Mishap::None
}

/// The mishaps in order, and none after them.
fn then_calm(mishaps: &[Mishap]) -> impl FnMut() -> Mishap {
    let mut mishaps = mishaps.iter().copied();
    move || mishaps.next().unwrap_or(Mishap::None)
}

#[test]
fn who_is_made_by_somebody_between_look_up_and_creation_is_looked_for_again_and_merged() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    let race = then_calm(&[Mishap::None, Mishap::MadeBefore]);
    let (end, _) = memory.pass(&Policy::default(), &mut vendor, race).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["lookup", "create", "lookup", "update"]));
    let [jane] = vendor.resources.values().collect::<Vec<_>>()[..] else { panic!("made once") };
    assert_eq!((&jane["nickName"], &jane["title"]), (&json!("theirs"), &json!("Lead")));
}

#[test]
fn a_new_user_is_looked_for_and_then_created_whole() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    let (end, _) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["lookup", "create"]));
    let Request::Create { resource } = &vendor.calls[1] else { panic!() };
    assert_eq!(
        *resource,
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "externalId": "u-1", "active": true,
            "userName": "jane@example.com", "name": {"givenName": "Jane"}, "title": "Lead"
        })
    );
    assert_eq!(memory.row().synced_generation, 7);
}

#[test]
fn what_is_in_place_already_costs_no_call_but_the_lookup() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "JANE@example.com", "externalId": "u-1", "active": true, "name": {"givenName": "Jane", "familyName": "Theirs"}, "title": "Lead"}));
    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup"]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup"], "what was seen in place is known to be so");
}

#[test]
fn an_existing_account_is_linked_and_only_the_difference_is_sent() {
    let mut vendor = Vendor::strict();
    vendor.insert(
        &json!({"userName": "jane@example.com", "active": true, "title": "Junior", "nickName": "theirs"}),
    );
    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "update"]);
    let held = vendor.resources.values().next().unwrap();
    assert_eq!(held["nickName"], "theirs");
    assert_eq!((&held["title"], &held["externalId"]), (&json!("Lead"), &json!("u-1")));
}

#[test]
fn two_matches_are_never_guessed_between() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "jane@example.com"}));
    vendor.insert(&json!({"userName": "JANE@example.com "}));
    vendor.resources.values_mut().for_each(|held| {
        held.insert("userName".into(), json!("jane@example.com"));
    });
    let (end, _) = user(vec![upsert(&jane())]).pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert!(matches!(end, End::Park { reason } if reason.contains("several")));
    assert_eq!(words(&vendor), ["lookup"]);
}

#[test]
fn an_account_that_belongs_to_somebody_else_is_not_taken_over() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"userName": "jane@example.com", "externalId": "u-0"}));
    let mut memory = user(vec![upsert(&jane())]);
    memory.holder = Some(id("u-0"));
    assert!(memory.pass(&Policy::default(), &mut vendor, calm()).is_none());
    assert_eq!(memory.link, None);
}

#[test]
fn a_server_that_ignores_filters_leads_to_no_link() {
    let mut pass = Pass::begin(
        Dossier {
            item: crate::store::WorkItem {
                key: ResourceKey::user(id("u-1")),
                lane: crate::store::Lane::Change,
                generation: 1,
                since: Timestamp::default(),
                attempts: 0,
                failed_at: None,
                intent: None,
            },
            desired: user(vec![upsert(&jane())]).desired,
            link: None,
        },
        &Policy::default(),
        Duration::ZERO,
    );
    let Next::Send(request) = pass.next(&Policy::default()) else { panic!() };
    let everyone = json!({"Resources": [{"id": "1", "userName": "bob"}, {"id": "2", "userName": "eve"}]});
    let verdict =
        Verdict::Done { status: http::StatusCode::OK, resource: Some(everyone), etag: None, id: None };
    pass.absorb(&Policy::default(), &request, verdict);
    assert_eq!(pass.next(&Policy::default()), Next::Settled);
    assert!(matches!(pass.end(), Some(End::Park { .. })));
}

#[test]
fn a_stale_version_is_read_again_and_only_what_is_left_is_sent() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    let Desired::User { user: changed, .. } =
        user(vec![upsert(&jane()), upsert(&json!({"title": "Head"}))]).desired
    else {
        panic!()
    };
    memory.desired = Desired::User { user: changed, references: BTreeMap::new() };
    vendor.calls.clear();
    memory.pass(&Policy::default(), &mut vendor, then_calm(&[Mishap::EditedBefore])).unwrap();
    assert_eq!(words(&vendor), ["update", "fetch", "update"]);
}

#[test]
fn after_a_lost_answer_nothing_is_left_to_send() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    let create_lost = then_calm(&[Mishap::None, Mishap::LostAfter]);
    assert!(memory.pass(&Policy::default(), &mut vendor, create_lost).is_none());
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "create", "lookup"]);
    assert_eq!(vendor.resources.len(), 1);
}

#[test]
fn a_deletion_deactivates_or_deletes_by_policy_and_creates_nobody() {
    for (on_delete, expected) in [(OnDelete::Deactivate, vec!["update"]), (OnDelete::Delete, vec!["delete"])]
    {
        let policy = Policy { on_delete, ..Policy::default() };
        let mut vendor = Vendor::strict();
        let mut memory = user(vec![upsert(&jane())]);
        memory.pass(&policy, &mut vendor, calm()).unwrap();
        vendor.calls.clear();
        memory.desired = user(vec![upsert(&jane()), deletion()]).desired;
        memory.pass(&policy, &mut vendor, calm()).unwrap();
        assert_eq!(words(&vendor), expected);

        let mut vendor = Vendor::strict();
        let (end, _) = user(vec![upsert(&jane()), deletion()]).pass(&policy, &mut vendor, calm()).unwrap();
        assert_eq!((end, words(&vendor)), (End::Done, vec!["lookup"]));
    }
}

#[test]
fn a_deletion_of_what_was_edited_meanwhile_goes_through_all_the_same() {
    let policy = Policy { on_delete: OnDelete::Delete, groups_delete: true, ..Policy::default() };
    let mut memory = user(vec![upsert(&jane())]);
    let mut vendor = Vendor::strict();
    memory.pass(&policy, &mut vendor, calm()).unwrap();
    vendor.calls.clear();
    memory.desired = user(vec![upsert(&jane()), deletion()]).desired;
    let (end, _) = memory.pass(&policy, &mut vendor, then_calm(&[Mishap::EditedBefore])).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["delete", "fetch", "delete"]));
    assert!(vendor.resources.is_empty());

    let mut memory = group(Vec::new());
    let mut vendor = Vendor::strict();
    memory.pass(&policy, &mut vendor, calm()).unwrap();
    vendor.calls.clear();
    let gone = merged(vec![Operation::GroupDelete { id: id("g-1") }]).group(&id("g-1")).unwrap().clone();
    memory.desired = Desired::Group { group: gone, deltas: Vec::new(), more: false };
    let (end, _) = memory.pass(&policy, &mut vendor, then_calm(&[Mishap::EditedBefore])).unwrap();
    assert_eq!((end, words(&vendor)), (End::Done, vec!["delete", "fetch", "delete"]));
}

#[test]
fn who_was_deleted_at_the_vendor_is_made_again() {
    let mut vendor = Vendor::strict();
    let mut memory = user(vec![upsert(&jane())]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    vendor.resources.clear();
    vendor.calls.clear();
    memory.desired = user(vec![upsert(&jane()), upsert(&json!({"title": "Head"}))]).desired;
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["update", "lookup", "create"]);
}

#[test]
fn a_user_known_by_id_alone_is_looked_up_and_waited_for() {
    let mut vendor = Vendor::strict();
    let mut memory = Memory::new(
        ResourceKey::user(id("u-1")),
        Desired::User { user: User::default(), references: BTreeMap::new() },
    );
    let (end, _) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert!(matches!(end, End::Wait { .. }));
    assert!(matches!(memory.link, Some(Link::Absent { .. })));
    vendor.insert(&json!({"userName": "x", "externalId": "u-1"}));
    let (end, _) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(end, End::Done);
    assert_eq!(words(&vendor), ["lookup", "lookup"], "nothing is sent: nothing is ours");
}

#[test]
fn a_manager_is_sent_by_the_vendors_id_and_waited_for_until_then_and_cleared() {
    let with_manager = || vec![upsert(&jane()), upsert(&json!({"manager": "boss"}))];
    let mut vendor = Vendor::strict();
    let mut memory = user_with(with_manager(), BTreeMap::new());
    let (end, mut pass) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(end, End::Done);
    assert_eq!(pass.findings(Timestamp::default()).waits_for, BTreeSet::from([id("boss")]));
    let known = BTreeMap::from([(id("boss"), MemberStanding::Linked("v77".into()))]);
    memory.desired = user_with(with_manager(), known).desired;
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    let manager = |vendor: &Vendor| {
        let extension = vendor.resources.values().next().unwrap().get(schema::ENTERPRISE_USER)?;
        extension.get("manager").cloned()
    };
    assert_eq!(manager(&vendor), Some(json!({"value": "v77"})));
    let cleared = [with_manager(), vec![upsert(&json!({"manager": null}))]].concat();
    memory.desired = user(cleared).desired;
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(manager(&vendor), None);
}

#[test]
fn put_sends_the_merged_whole_without_what_is_protected() {
    let strip = ["locale".to_owned()].into();
    let policy = Policy { patch: false, strip, ..Policy::default() };
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({
        "schemas": [schema::USER], "userName": "jane@example.com", "nickName": "theirs", "locale": "theirs",
        "groups": [{"value": "g"}]
    }));
    user(vec![upsert(&jane()), upsert(&json!({"locale": "ours", "department": "R&D"}))])
        .pass(&policy, &mut vendor, calm())
        .unwrap();
    let Some(Request::Put { resource, if_match, .. }) = vendor.calls.last() else {
        panic!("{:?}", words(&vendor))
    };
    assert!(if_match.is_some());
    assert_eq!((&resource["nickName"], &resource["title"]), (&json!("theirs"), &json!("Lead")));
    assert_eq!(resource["schemas"], json!([schema::USER, schema::ENTERPRISE_USER]));
    for protected in ["id", "meta", "groups", "locale"] {
        assert!(resource.get(protected).is_none(), "{protected}");
    }
}

#[test]
fn a_new_group_brings_its_members_along() {
    let mut vendor = Vendor::strict();
    let mut memory = group(vec![linked(1, true), linked(2, false), linked(3, true)]);
    memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(words(&vendor), ["lookup", "create"]);
    let Request::Create { resource } = &vendor.calls[1] else { panic!() };
    assert_eq!(resource["members"], json!([{"value": "m1"}, {"value": "m3"}]));
    assert_eq!(memory.row().synced_members, 3);
}

#[test]
fn a_member_without_a_link_waits_and_the_rest_goes() {
    let mut vendor = Vendor::strict();
    let unknown = MemberStanding::Unknown { coming: false };
    let mut memory = group(vec![
        linked(1, true),
        delta(2, true, unknown),
        delta(3, true, MemberStanding::Absent),
        delta(4, false, MemberStanding::Absent),
        linked(5, true),
    ]);
    let (_, mut pass) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(pass.findings(Timestamp::default()).waits_for, BTreeSet::from([id("u-2"), id("u-3")]));
    assert_eq!(memory.row().synced_members, 5);
}

#[test]
fn the_bad_member_is_found_by_halving_and_parked_alone() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1"}));
    vendor.poison.insert("m37".into());
    let mut memory = group((1..=100).map(|n| linked(n, true)).collect());
    let (end, mut pass) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(end, End::Done);
    let parked = pass.findings(Timestamp::default()).members.parked;
    assert_eq!(parked, [ParkedMember { user: id("u-37"), reason: "400: bad member".into() }]);
    assert_eq!(vendor.resources.values().next().unwrap()["members"].as_array().unwrap().len(), 99);
    assert!(vendor.calls.len() <= 20, "{} calls", vendor.calls.len());
}

#[test]
fn a_member_that_the_vendor_will_not_take_does_not_keep_a_new_group_from_being_made() {
    let mut vendor = Vendor::strict();
    vendor.poison.insert("m3".into());
    let mut memory = group((1..=4).map(|n| linked(n, true)).collect());
    let (end, mut pass) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(end, End::Done);
    assert_eq!(words(&vendor)[..4], ["lookup", "create", "create", "members"]);
    let parked = pass.findings(Timestamp::default()).members.parked;
    assert_eq!(parked, [ParkedMember { user: id("u-3"), reason: "400: bad member".into() }]);
    assert_eq!(vendor.resources.values().next().unwrap()["members"].as_array().unwrap().len(), 3);
}

#[test]
fn a_chunk_that_is_too_large_is_halved_and_the_limit_is_learned() {
    let mut vendor = Vendor::strict();
    vendor.insert(&json!({"displayName": "Support", "externalId": "g-1"}));
    vendor.members_max = 30;
    let mut memory = group((1..=100).map(|n| linked(n, true)).collect());
    let (end, pass) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!((end, pass.learned_members_max()), (End::Done, Some(25)));
    assert_eq!(vendor.resources.values().next().unwrap()["members"].as_array().unwrap().len(), 100);
}

#[test]
fn a_member_who_was_refused_under_an_account_that_is_gone_waits_or_needs_no_removal() {
    let mut vendor = Vendor { refuses_absent: true, ..Vendor::strict() };
    vendor.poison.insert("m1".into());
    let mut memory = group(vec![linked(1, true), linked(2, true)]);
    let (_, mut pass) = memory.pass(&Policy::default(), &mut vendor, calm()).unwrap();
    assert_eq!(pass.refused_members(), [(id("u-1"), "m1".to_owned())]);
    pass.account_is_gone(&id("u-1"));
    let findings = pass.findings(Timestamp::default());
    assert_eq!((findings.parked(), &findings.waits_for), (&[][..], &[id("u-1")].into()));

    let mut members = Members::from_deltas(&[linked(3, false)]);
    members.next_chunk(1, None, usize::MAX);
    members.park_chunk("400");
    assert!(!members.account_is_gone(&id("u-3")));
    assert_eq!((members.parked(), members.settled_users()), (vec![], [id("u-3")].into()));
}

#[test]
fn a_group_waits_a_moment_when_more_members_are_coming_than_could_be_sent() {
    let coming = |n| delta(n, true, MemberStanding::Unknown { coming: true });
    for (deltas, age, gathers) in [
        (vec![linked(1, true), coming(2), coming(3)], 0, true),
        (vec![linked(1, true), coming(2)], 0, false),
        (vec![linked(1, true), coming(2), coming(3)], 60, false),
        (
            vec![
                linked(1, true),
                delta(2, true, MemberStanding::Absent),
                delta(3, true, MemberStanding::Absent),
            ],
            0,
            false,
        ),
    ] {
        let members = Members::from_deltas(&deltas);
        assert_eq!(members.should_gather(100, Duration::from_secs(age)), gathers, "{deltas:?} {age}");
    }
}

#[test]
fn where_groups_cannot_be_made_the_person_is_told_what_to_do() {
    let policy = Policy { groups_create: false, groups_delete: false, ..Policy::default() };
    let (end, _) = group(vec![linked(1, true)]).pass(&policy, &mut Vendor::strict(), calm()).unwrap();
    assert!(matches!(end, End::Park { reason } if reason.contains("by hand")));
}

fn mishap() -> impl Strategy<Value = Mishap> {
    prop::sample::select(vec![
        Mishap::None,
        Mishap::FailedBefore,
        Mishap::LostAfter,
        Mishap::EditedBefore,
        Mishap::Recreated,
    ])
}

fn attributes() -> impl Strategy<Value = Value> {
    let email = prop::sample::select(vec!["a@x", "b@x"]);
    let title = prop::sample::select(vec![json!("A"), json!("B"), Value::Null]);
    (title, prop::option::of(email.clone()), prop::option::of(email), prop::bool::ANY, prop::bool::ANY).prop_map(
        |(title, work, home, active, name)| {
            let emails = [("work", work), ("home", home)];
            let emails: Vec<Value> = emails
                .into_iter()
                .filter_map(|(kind, value)| value.map(|value| json!({ "type": kind, "value": value })))
                .collect();
            let mut given = json!({ "userName": "jane", "title": title, "emails": emails, "department": title, "active": active });
            if name {
                given["name"] = json!({ "givenName": title });
            }
            given
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// From any account at the vendor, through any two desired states and any finite run of mishaps,
    /// the vendor ends as desired, nothing of theirs is lost, nobody exists twice, in few steps.
    #[test]
    fn a_user_converges_from_any_state_through_any_mishaps(
        start in prop::option::of((attributes(), prop::bool::ANY)),
        states in prop::collection::vec((attributes(), prop::bool::weighted(0.2)), 1..3),
        mishaps in prop::collection::vec(mishap(), 0..8),
        patch in prop::bool::ANY,
        versions in prop::bool::ANY,
        lookup_or in prop::bool::ANY,
        names_holder in prop::option::of(prop::sample::select(vec![named::HERE, named::ELSEWHERE, named::NOBODY])),
        finds_nobody in prop::bool::ANY,
    ) {
        let policy = Policy { patch, lookup_or, ..named::policy() };
        // Whom no look-up finds must be named.
        let finds_nobody = finds_nobody && names_holder == Some(named::HERE);
        let mut vendor = Vendor { enforces_versions: versions, names_holder, finds_nobody, ..Vendor::strict() };
        let started = start.is_some();
        if let Some((attributes, ours)) = start {
            let units = parse_attributes(Kind::User, attributes.as_object().unwrap()).unwrap();
            let mut account = Value::Object(crate::directory::assemble(units.iter().map(|(path, value)| (path, value))));
            account["locale"] = json!("theirs");
            if ours {
                account["externalId"] = json!("u-1");
            }
            vendor.insert(&account);
        }
        let budget = 20 + 8 * mishaps.len();
        let mut mishap = then_calm(&mishaps);
        let mut operations = Vec::new();
        let mut memory = user(vec![upsert(&jane())]);
        for (attributes, deleted) in states {
            operations.push(upsert(&attributes));
            if deleted {
                operations.push(deletion());
            }
            memory.desired = user(operations.clone()).desired;
            let mut passes = 0;
            while memory.pass(&policy, &mut vendor, &mut mishap).is_none() {
                passes += 1;
                prop_assert!(passes < 20, "no end in sight");
            }
        }
        prop_assert!(vendor.calls.len() <= budget, "{} calls: {:?}", vendor.calls.len(), words(&vendor));
        prop_assert!(vendor.resources.len() <= 1);
        let Desired::User { user: desired, .. } = &memory.desired else { panic!() };
        let Some(held) = vendor.resources.values().next() else {
            prop_assert!(desired.is_deleted(), "the account is missing");
            return Ok(());
        };
        if finds_nobody && desired.is_deleted() && !matches!(memory.link, Some(Link::Known(_))) {
            // Who leaves is looked for, and not made so that the refusal could tell who it is.
            return Ok(());
        }
        let (id, references, mapped) = (id("u-1"), BTreeMap::new(), Mapped::AsItCame);
        let facts = user::Facts { id: &id, user: desired, references: &references, mapped: &mapped, said_inactive: false };
        let units = user::units(&facts, false, &mut BTreeSet::new());
        let left = diff(&units, &Units::new(), Current::Read(held), true);
        prop_assert!(left.is_empty(), "left to say: {left:?}\nheld: {held:?}");
        prop_assert!(!started || held["locale"] == "theirs");
    }

    #[test]
    fn a_groups_members_converge_through_any_mishaps(
        rows in prop::collection::vec((prop::bool::ANY, 0u8..4), 1..40),
        there in prop::collection::btree_set(1u64..60, 0..30),
        exists: bool,
        poison in prop::collection::btree_set(1u64..40, 0..3),
        members_max in 1usize..30,
        mishaps in prop::collection::vec(mishap(), 0..6),
        members_readable: bool,
    ) {
        let policy = Policy { members_readable, groups_create_with_members: false, members_per_request: 10, ..Policy::default() };
        let mut vendor = Vendor { members_max, ..Vendor::strict() };
        vendor.poison = poison.iter().map(|n| format!("m{n}")).collect();
        if exists {
            let members: Vec<Value> = there.iter().map(|n| json!({ "value": format!("m{n}") })).collect();
            vendor.insert(&json!({ "displayName": "Support", "members": members }));
        }
        let deltas: Vec<MemberDelta> = (1u64..).zip(&rows).map(|(n, (present, standing))| match standing {
            0 => delta(n, *present, MemberStanding::Absent),
            1 => delta(n, *present, MemberStanding::Unknown { coming: false }),
            _ => linked(n, *present),
        }).collect();
        let mut memory = group(deltas.clone());
        let mut mishap = then_calm(&mishaps);
        let mut passes = 0;
        while memory.pass(&policy, &mut vendor, &mut mishap).is_none_or(|(_, pass)| pass.continues()) {
            passes += 1;
            prop_assert!(passes < 20, "no end in sight");
        }
        let held: BTreeSet<String> = vendor.resources.values().next().unwrap().get("members").and_then(Value::as_array)
            .into_iter().flatten().map(|member| member["value"].as_str().unwrap().to_owned()).collect();
        for delta in &deltas {
            let MemberStanding::Linked(member) = &delta.standing else { continue };
            let already = exists && there.contains(&delta.sequence);
            let expected = delta.present && (!vendor.poison.contains(member) || already);
            prop_assert_eq!(held.contains(member), expected, "{}", member);
        }
        let ours: BTreeSet<u64> = deltas.iter().map(|delta| delta.sequence).collect();
        for n in there.iter().filter(|n| exists && !ours.contains(n)) {
            let member = format!("m{n}");
            prop_assert!(held.contains(&member), "{} was theirs", member);
        }
        prop_assert_eq!(memory.row().synced_members, deltas.len() as u64);
    }
}

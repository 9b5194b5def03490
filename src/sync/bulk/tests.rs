//! How a request is put together.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::directory::{
    AttributePath, Operation as Change, ResourceKey, Snapshot, Version, VersionedChange, merge,
    parse_attributes,
};
use crate::scim::etag::ETag;
use crate::store::{Desired, Dossier, Link, MemberDelta, MemberStanding, Row, WorkItem};
use crate::target::profile::EtagTrust;

const LIMITS: BulkLimits = BulkLimits { operations: 10, bytes: 100_000 };

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

fn policy(member_references: bool) -> Policy {
    Policy { member_references, ..Policy::default() }
}

/// A resource that was looked for, and is to be created.
fn newcomer(key: ResourceKey, desired: Desired, policy: &Policy) -> Task {
    let item = WorkItem::unasked(key, 1);
    let dossier = Dossier { item: item.clone(), desired, link: None };
    let mut pass = Pass::begin(dossier, policy, Duration::from_mins(1));
    let Next::Send(lookup) = pass.next(policy) else { panic!("it is looked for") };
    let nobody = json!({"totalResults": 0, "Resources": []});
    let verdict = Verdict::Done { status: StatusCode::OK, resource: Some(nobody), etag: None, id: None };
    pass.absorb(policy, &lookup, verdict);
    Task { pass: Some(pass), ..Task::new(item) }
}

fn snapshot(operation: Change) -> Snapshot {
    let version = Version { occurred_at: Timestamp::default(), event: "e".into(), index: 0 };
    let mut snapshot = Snapshot::default();
    merge(&mut snapshot, &[VersionedChange { version, operation }]);
    snapshot
}

fn attributes(kind: Kind, value: &Value) -> crate::directory::Attributes {
    parse_attributes(kind, value.as_object().unwrap()).unwrap()
}

fn user(name: &str, policy: &Policy) -> Task {
    let attributes = attributes(Kind::User, &json!({"userName": name, "active": true}));
    let user = snapshot(Change::UserUpsert { id: id(name), attributes }).user(&id(name)).unwrap().clone();
    newcomer(ResourceKey::user(id(name)), Desired::User { user, references: BTreeMap::new() }, policy)
}

/// A group of users who are on their way.
fn group(members: &[&str], policy: &Policy) -> Task {
    let attributes = attributes(Kind::Group, &json!({"displayName": "Support"}));
    let group = snapshot(Change::GroupUpsert { id: id("g"), attributes }).group(&id("g")).unwrap().clone();
    let delta = |(sequence, user): (u64, &&str)| MemberDelta {
        user: id(user),
        present: true,
        sequence,
        standing: MemberStanding::Unknown { coming: true },
        waited: false,
    };
    let deltas = (1..).zip(members).map(delta).collect();
    newcomer(ResourceKey::group(id("g")), Desired::Group { group, deltas, more: false }, policy)
}

/// The operations of a request, each by its path and its members.
fn shape(pack: Pack) -> Vec<(String, Vec<String>)> {
    let body: Value = serde_json::from_slice(&pack.body.into_body()).unwrap();
    let members = |operation: &Value| {
        let members = operation["data"]["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
    };
    let operations = body["Operations"].as_array().unwrap().iter();
    operations.map(|operation| (operation["path"].as_str().unwrap().to_owned(), members(operation))).collect()
}

fn packed(references: bool, limits: BulkLimits) -> (Vec<(String, Vec<String>)>, Vec<Task>) {
    let policy = policy(references);
    let profile = Profile::builtin("rfc7644").unwrap();
    let tasks = vec![group(&["a", "b", "c"], &policy), user("a", &policy), user("b", &policy)];
    let (pack, left) = assemble(&profile, &policy, limits, tasks);
    (shape(pack), left)
}

#[test]
fn a_group_follows_the_users_whom_it_names() {
    let named = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let (users, groups) = ("/Users".to_owned(), "/Groups".to_owned());
    assert_eq!(
        packed(true, LIMITS).0,
        [
            (users.clone(), vec![]),
            (users.clone(), vec![]),
            (groups.clone(), named(&["bulkId:op-1", "bulkId:op-2"])),
        ]
    );
    assert_eq!(packed(false, LIMITS).0, [(groups, vec![]), (users.clone(), vec![]), (users, vec![])]);
}

#[test]
fn a_group_for_which_there_is_no_room_goes_by_itself_and_names_nobody() {
    let (shape, left) = packed(true, BulkLimits { operations: 2, ..LIMITS });
    assert_eq!(shape.len(), 2);
    let [group] = left.as_slice() else { panic!("{}", left.len()) };
    assert!(group.alone && !group.pass.as_ref().unwrap().has_references());
}

#[test]
fn only_a_group_of_somebody_who_is_made_joins_later() {
    let policy = policy(true);
    let profile = Profile::builtin("rfc7644").unwrap();
    let (mut pack, _) = assemble(&profile, &policy, LIMITS, vec![user("a", &policy)]);
    let other = pack.join(&profile, &policy, group(&["z"], &policy)).expect("it has no place");
    assert!(!other.alone);
    assert!(pack.join(&profile, &policy, group(&["a"], &policy)).is_none());
    assert_eq!(pack.len(), 2);
}

/// Somebody whom the vendor has, in this version, under another title.
fn promoted(name: &str, version: &str, policy: &Policy) -> Task {
    let wanted = json!({"userName": name, "active": true, "title": "Lead"});
    let attributes = attributes(Kind::User, &wanted);
    let user = snapshot(Change::UserUpsert { id: id(name), attributes }).user(&id(name)).unwrap().clone();
    let item = WorkItem::unasked(ResourceKey::user(id(name)), 2);
    let applied = [("userName", json!(name)), ("active", json!(true)), ("title", json!("Junior"))];
    let applied = applied.map(|(name, value)| (AttributePath::new(name), value)).into();
    let etag = ETag::parse(version);
    let link = Some(Link::Known(Row { vendor_id: format!("v-{name}"), etag, applied, ..Row::default() }));
    let dossier =
        Dossier { item: item.clone(), desired: Desired::User { user, references: BTreeMap::new() }, link };
    Task { pass: Some(Pass::begin(dossier, policy, Duration::from_mins(1))), ..Task::new(item) }
}

#[test]
fn each_operation_goes_with_the_version_that_it_was_planned_for() {
    let policy = policy(false);
    let mut profile = Profile::builtin("rfc7644").unwrap();
    profile.etag.trust = EtagTrust::Enforced;
    let tasks =
        vec![promoted("a", "W/\"1\"", &policy), promoted("b", "W/\"7\"", &policy), user("c", &policy)];
    let (pack, left) = assemble(&profile, &policy, LIMITS, tasks);
    assert!(left.is_empty());
    let body: Value = serde_json::from_slice(&pack.body.into_body()).unwrap();
    let told = |operation: &Value| (operation["path"].clone(), operation.get("version").cloned());
    let told: Vec<_> = body["Operations"].as_array().unwrap().iter().map(told).collect();
    let version = |text: &str| Some(json!(text));
    assert_eq!(
        told,
        [
            (json!("/Users/v-a"), version("W/\"1\"")),
            (json!("/Users/v-b"), version("W/\"7\"")),
            (json!("/Users"), None)
        ]
    );
}

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::directory::{AttributePath, ExternalId, Group, ResourceKey};
use crate::mapping::{Expression, Mapping};
use crate::store::conformance::scene::NOW;
use crate::store::conformance::script::{DIRECTORY, Script, now, user, user_key};
use crate::store::sqlite::SqliteStore;
use crate::store::{Desired, Intent, Link, MemberDelta, MemberStanding, Row, Store as _};
use crate::sync::policy::OnDelete;

async fn dossier(attributes: &Value) -> Dossier {
    let store = SqliteStore::open_temporary().unwrap();
    let script = Script::default();
    store.enrol("acme", &DIRECTORY.to_owned(), NOW).await.unwrap();
    store.append(script.event(1, vec![now(user("u-1", attributes))])).await.unwrap();
    store.project(&script, 10).await.unwrap();
    store.dossier("acme", &user_key("u-1"), 10).await.unwrap().unwrap()
}

fn linked(dossier: Dossier, applied: &[(&str, Value)]) -> Dossier {
    let applied = applied.iter().map(|(path, value)| (AttributePath::new(*path), value.clone())).collect();
    let row = Row { vendor_id: "v-1".to_owned(), applied, ..Row::default() };
    Dossier { link: Some(Link::Known(row)), ..dossier }
}

fn policy() -> Policy {
    Policy::new(&profile(), OnDelete::Deactivate, false)
}

fn profile() -> Profile {
    Profile::builtin("rfc7644").unwrap()
}

#[tokio::test]
async fn a_change_names_the_attributes_that_differ_and_no_value() {
    let wanted = json!({"userName": "jane@example.com", "active": true, "title": "Head of Secrets",
        "emails": [{"value": "jane@example.com", "type": "work"}]});
    let known = [
        ("userName", json!("jane@example.com")),
        ("externalId", json!("u-1")),
        ("active", json!(true)),
        ("title", json!("Clerk of Secrets")),
        ("emails", json!([{"value": "jane@example.com", "type": "work"}])),
    ];
    let foreseen = foresee(linked(dossier(&wanted).await, &known), &policy(), &profile());
    let step = &foreseen.steps[0];
    assert_eq!((foreseen.steps.len(), step.operation, step.call.as_str()), (1, "update", "PATCH Users/{id}"));
    assert_eq!(step.attributes, ["title"]);
    assert_eq!(foreseen.end, "in place");
    let told = format!("{foreseen:?}");
    assert!(!told.contains("Secrets") && !told.contains("jane"), "{told}");
}

#[tokio::test]
async fn whom_the_vendor_may_have_is_looked_for_before_being_made() {
    let wanted = json!({"userName": "jane@example.com", "active": true, "department": "SALES"});
    let foreseen = foresee(dossier(&wanted).await, &policy(), &profile());
    let operations: Vec<_> = foreseen.steps.iter().map(|step| step.operation).collect();
    assert_eq!(operations.first(), Some(&"lookup"));
    assert_eq!(operations.last(), Some(&"create"));
    let created = &foreseen.steps.last().unwrap().attributes;
    assert!(created.iter().any(|name| name == "userName"), "{created:?}");
    assert!(created.iter().any(|name| name.ends_with(":department")), "{created:?}");
    let told = format!("{foreseen:?}");
    assert!(!told.contains("SALES") && !told.contains("jane"), "{told}");
}

#[tokio::test]
async fn nothing_is_foreseen_where_all_is_in_place_or_forbidden() {
    let gone = json!({"userName": "jane@example.com", "active": false});
    let known =
        [("userName", json!("jane@example.com")), ("active", json!(true)), ("externalId", json!("u-1"))];
    let leaver = linked(dossier(&gone).await, &known);
    let foreseen = foresee(leaver.clone(), &policy(), &profile());
    assert_eq!(foreseen.steps[0].operation, "deactivate");
    assert!(foreseen.steps[0].words.contains("guard"), "{foreseen:?}");

    let mut protecting = policy();
    protecting.protected = std::sync::Arc::new(crate::mapping::Protected::named(["u-1".to_owned()]));
    let foreseen = foresee(leaver, &protecting, &profile());
    assert_eq!(foreseen.steps, []);
    assert!(foreseen.end.contains("protected"), "{foreseen:?}");
}

#[tokio::test]
async fn who_is_out_of_scope_is_told_so() {
    let clerk = dossier(&json!({"userName": "jane@example.com", "active": true, "title": "Clerk"})).await;
    let scope = Expression::compile("user.title == 'Lead'").unwrap();
    let mapping = Arc::new(Mapping { scope: Some(scope), ..Mapping::default() });
    let foreseen = foresee(clerk, &Policy { mapping, ..policy() }, &profile());
    assert_eq!(foreseen.end, "out of the target's scope");
    assert!(foreseen.steps.iter().all(|step| step.operation == "lookup"), "{foreseen:?}");
}

#[tokio::test]
async fn a_look_that_somebody_ordered_is_no_step_of_what_would_be_done() {
    let attributes = json!({"userName": "jane@example.com", "active": true, "title": "Lead"});
    let known = [
        ("userName", json!("jane@example.com")),
        ("externalId", json!("u-1")),
        ("active", json!(true)),
        ("title", json!("Clerk")),
    ];
    let mut ordered = linked(dossier(&attributes).await, &known);
    ordered.item.intent = Some(Intent { operation: Intent::LOOK.to_owned(), at: NOW });
    let foreseen = foresee(ordered, &policy(), &profile());
    let operations: Vec<_> = foreseen.steps.iter().map(|step| step.operation).collect();
    assert_eq!(operations, ["update"]);
}

#[test]
fn who_would_join_a_group_and_who_would_leave_it_are_counted() {
    let delta = |sequence: u64, present| MemberDelta {
        user: ExternalId::parse(format!("u-{sequence}")).unwrap(),
        present,
        sequence,
        standing: MemberStanding::Linked(format!("v-{sequence}")),
        waited: false,
    };
    let deltas = vec![delta(1, true), delta(2, true), delta(3, false)];
    let group = ResourceKey::group(ExternalId::parse("g-1").unwrap());
    let dossier = Dossier {
        item: WorkItem::unasked(group, 1),
        desired: Desired::Group { group: Group::default(), deltas, more: false },
        link: None,
    };
    let foreseen = foresee(linked(dossier, &[]), &policy(), &profile());
    let [step] = foreseen.steps.as_slice() else { panic!("{foreseen:?}") };
    assert_eq!((step.operation, step.joining, step.leaving), ("members", 2, 1));
    assert!(step.words.contains("guard"), "{foreseen:?}");
}

#[test]
fn what_picks_a_value_is_no_part_of_a_name() {
    let paths =
        ["emails[value eq \"jane@example.com\"].display", "emails[type eq \"work\"]", "title", "title"];
    assert_eq!(names(paths.map(str::to_owned)), ["emails", "emails.display", "title"]);
}

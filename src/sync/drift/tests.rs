use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::directory::AttributePath;
use crate::store::ExpectedMember;
use crate::sync::plan::{ShouldBe, Units};
use crate::sync::policy::Policy;

fn id(text: &str) -> ExternalId {
    ExternalId::parse(text).unwrap()
}

fn units(value: &Value) -> Units {
    value.as_object().unwrap().iter().map(|(path, value)| (AttributePath::new(path), value.clone())).collect()
}

fn candidate(vendor_id: &str, external_id: Option<&str>, holder: Option<&str>, title: &str) -> Candidate {
    Candidate {
        vendor_id: vendor_id.to_owned(),
        external_id: external_id.map(str::to_owned),
        holder: holder.map(id),
        resource: json!({"title": title, "nickName": "theirs"}).as_object().unwrap().clone(),
    }
}

/// Findings as short text: `differs v1 title`.
fn found(should_be: &ShouldBe, linked: Option<&str>, candidates: &[Candidate], whole: bool) -> Vec<String> {
    found_by(should_be, (linked, None), candidates, whole)
}

/// The same where an administrator has named the vendor's id, behind the link.
fn found_by(
    should_be: &ShouldBe,
    (linked, mapped): (Option<&str>, Option<&str>),
    candidates: &[Candidate],
    whole: bool,
) -> Vec<String> {
    let id = id("u");
    let ours = Ours { kind: Kind::User, id: &id, should_be, linked, mapped, match_attribute: "userName" };
    let compared = resource(ours, &Policy::default(), candidates, whole);
    let text = |finding: &Finding| {
        let words = [
            finding.class.as_str().to_owned(),
            finding.vendor_id.clone().unwrap_or_default(),
            finding.attributes.join(","),
            finding.matched_by.clone().unwrap_or_default(),
        ];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    compared.findings.iter().map(text).collect()
}

#[test]
fn each_class_is_told_from_the_others() {
    let there = ShouldBe::There(units(&json!({"title": "Lead"})));
    let if_there = ShouldBe::IfThere(units(&json!({"title": "Lead"})));
    let same = candidate("v1", None, Some("u"), "Lead");
    let other = candidate("v1", None, Some("u"), "Junior");
    let free = |vendor, external| candidate(vendor, external, None, "Lead");
    for (should_be, linked, candidates, whole, expected) in [
        (&there, Some("v1"), vec![same.clone()], true, vec![]),
        (&there, Some("v1"), vec![other.clone()], true, vec!["differs v1 title"]),
        (&if_there, Some("v1"), vec![other.clone()], true, vec!["differs v1 title"]),
        (&there, Some("v1"), vec![], true, vec!["missing v1"]),
        (&there, None, vec![], true, vec!["missing"]),
        (&if_there, Some("v1"), vec![], true, vec![]),
        (&ShouldBe::Gone, Some("v1"), vec![other.clone()], true, vec!["extra v1"]),
        (&ShouldBe::Gone, Some("v1"), vec![], true, vec![]),
        (&ShouldBe::Unsaid, Some("v1"), vec![other.clone()], true, vec![]),
        (&there, None, vec![free("v1", Some("u"))], true, vec!["unlinked v1 externalId"]),
        (&there, None, vec![free("v1", None)], true, vec!["unlinked v1 userName"]),
        (&there, Some("v0"), vec![free("v1", Some("u"))], true, vec!["unlinked v1 externalId"]),
        (
            &there,
            None,
            vec![free("v1", Some("u")), free("v2", Some("u"))],
            true,
            vec!["duplicate v1", "duplicate v2"],
        ),
        (&there, Some("v1"), vec![same, free("v2", Some("u"))], true, vec!["duplicate v2"]),
        (&there, None, vec![candidate("v1", None, Some("w"), "Lead")], true, vec!["missing"]),
        // Nobody's absence follows from a list that was not read to its end.
        (&there, Some("v1"), vec![], false, vec![]),
    ] {
        assert_eq!(
            found(should_be, linked, &candidates, whole),
            expected,
            "{should_be:?} {linked:?} {candidates:?}"
        );
    }
}

#[test]
fn whom_the_map_of_ids_names_is_the_one_unless_it_is_somebody_elses() {
    let there = ShouldBe::There(units(&json!({"title": "Lead"})));
    let other = |holder| candidate("v2", Some("x"), holder, "Junior");
    let rival = candidate("v1", Some("u"), None, "Lead");
    let mapped = (None, Some("v2"));
    let told = |candidates: &[Candidate]| found_by(&there, mapped, candidates, true);
    assert_eq!(told(&[other(None)]), ["unlinked v2 title id_map"]);
    assert_eq!(told(&[rival.clone(), other(None)]), ["unlinked v2 title id_map"]);
    assert_eq!(told(&[rival, other(Some("w"))]), ["unlinked v1 externalId"]);
    assert_eq!(told(&[]), ["missing"]);
    assert_eq!(found_by(&ShouldBe::Gone, mapped, &[other(None)], true), ["extra v2 id_map"]);
}

#[test]
fn memberships_differ_one_by_one_and_a_group_that_is_shown_in_part_lacks_nobody() {
    let row = |user: &str, present, vendor: Option<&str>| ExpectedMember {
        user: id(user),
        present,
        vendor_id: vendor.map(str::to_owned),
    };
    let rows = [
        row("in", true, Some("v1")),
        row("lost", true, Some("v2")),
        row("left", false, Some("v3")),
        row("out", false, Some("v4")),
        row("stranger", true, None),
    ];
    let group = Finding::new(Class::Differs, Kind::Group, Some(id("g")), Some("g1".to_owned()));
    for (shows_all, expected) in [
        (true, vec![(Class::Missing, "lost"), (Class::Extra, "left")]),
        (false, vec![(Class::Extra, "left")]),
    ] {
        let mut vendor: BTreeSet<String> = ["v1", "v3", "v9"].map(str::to_owned).into();
        let found = members(&group, &rows, &mut vendor, shows_all);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.class, one.member.as_ref().unwrap().id.as_ref().unwrap().as_str()))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(vendor, BTreeSet::from(["v9".to_owned()]), "who is left is nobody's");
    }
}

#[test]
fn names_of_findings_do_not_meet() {
    let user = |text: &str| Finding::new(Class::Extra, Kind::User, Some(id(text)), None);
    let mut names = BTreeSet::new();
    let member = |group: &str, user: &str| Finding {
        member: Some(Member { id: Some(id(user)), vendor_id: None }),
        ..Finding::new(Class::Extra, Kind::Group, Some(id(group)), None)
    };
    for finding in [
        user("a"),
        user("a/extra"),
        Finding::new(Class::Extra, Kind::User, None, Some("1:a".to_owned())),
        Finding::new(Class::Extra, Kind::Group, Some(id("a")), None),
        member("a", "b/c"),
        member("a/b", "c"),
    ] {
        assert!(names.insert(finding.name()), "{}", finding.name());
    }
}

use std::num::NonZeroU32;

use super::*;
use crate::sandbox::settings::{
    AbsentMember, Cap, DeleteUser, IfMatch, OverCap, Paging, PatchAnswer, RemoveWithValue, Stale, Support,
};
use crate::sandbox::{self, Behaviour};
use crate::target::profile::Limits;
use crate::target::{Auth, Profile, Settings};

/// What is probed at a vendor of these habits, and who is left there.
async fn probed(behaviour: Behaviour) -> (Report, Profile, String) {
    let vendor =
        sandbox::start(sandbox::Settings { behaviour, ..sandbox::Settings::default() }).await.unwrap();
    let target = connect(vendor.base_url());
    let report = probe::probe(&target, "scim-relay-probe-x", std::future::pending()).await;
    let text = report.findings.to_profile(target.profile(), "acme", "2026-11-21");
    let users = reqwest::get(format!("{}/Users", vendor.base_url())).await.unwrap().text().await.unwrap();
    let groups = reqwest::get(format!("{}/Groups", vendor.base_url())).await.unwrap().text().await.unwrap();
    vendor.shutdown().await;
    (report, Profile::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")), users + &groups)
}

fn connect(base_url: &str) -> Target {
    let auth = Auth::Bearer { token: "any".into() };
    let limits =
        Limits { rate_per_second: Some(2_000.0), burst: NonZeroU32::new(50).unwrap(), ..Limits::default() };
    let profile = Profile::builtin("rfc7644").unwrap();
    let settings = Settings { limits, ..Settings::new("acme", base_url.parse().unwrap(), auth, profile) };
    Target::connect(settings, Arc::new(SystemClock), &Metrics::new()).unwrap()
}

/// What was found for these keys, as TOML.
fn found(report: &Report, keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| report.findings.value(key).map_or("-".to_owned(), ToString::to_string)).collect()
}

const KEYS: [&str; 12] = [
    "etag.trust",
    "etag.stale",
    "patch.path_filters",
    "members.read",
    "members.add_form",
    "members.remove_form",
    "members.remove_absent",
    "members.max_per_request",
    "groups.create",
    "groups.delete",
    "delete.mode",
    "list.max_count",
];

#[tokio::test]
async fn a_strict_vendor_is_found_to_be_the_rfcs_and_nothing_is_left_behind() {
    let (report, profile, left) = probed(Behaviour::default()).await;
    report.ended.as_ref().unwrap();
    assert_eq!(report.leftovers, []);
    assert!(!left.contains("scim-relay-probe"), "{left}");
    assert_eq!(
        found(&report, &KEYS),
        [
            "\"enforced\"",
            "-",
            "\"full\"",
            "\"get\"",
            "\"array\"",
            "\"path_filter\"",
            "\"ok\"",
            "-",
            "true",
            "true",
            "\"hard\"",
            "-"
        ]
    );
    assert_eq!(
        found(&report, &["filter.attributes", "filter.or", "users.create"]),
        ["[\"userName\", \"externalId\", \"displayName\"]", "true", "true"]
    );
    assert_eq!((profile.name.as_str(), profile.as_of.as_str()), ("rfc7644-probed", "2026-11-21"));
    let mut out = Vec::new();
    print(&mut out, &report).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(
        out.lines().any(|line| line.starts_with("remove at members with a value")
            && line.contains("is refused: 400 invalidValue")),
        "{out}"
    );
}

#[tokio::test]
async fn each_quirk_is_found_and_only_that() {
    type Bend = fn(&mut Behaviour);
    let table: [(Bend, &str, &str); 12] = [
        (|vendor| vendor.etag.if_match = IfMatch::Ignored, "etag.trust", "\"ignored\""),
        (
            |vendor| {
                vendor.etag.header = false;
                vendor.etag.meta_version = false;
            },
            "etag.trust",
            "\"ignored\"",
        ),
        (
            |vendor| vendor.etag.stale = Stale::InvalidVers,
            "etag.stale",
            "[{ scim_type = \"invalidVers\", status = 400 }]",
        ),
        (|vendor| vendor.etag.stale = Stale::Conflict, "etag.trust", "\"enforced\""),
        (|vendor| vendor.groups.absent_member = AbsentMember::NotFound, "members.remove_absent", "\"error\""),
        (
            |vendor| vendor.groups.remove_with_value = RemoveWithValue::EmptiesGroup,
            "members.remove_form",
            "\"path_filter\"",
        ),
        (
            |vendor| vendor.groups.members_max = Some(Cap { most: 37, over: OverCap::PayloadTooLarge }),
            "members.max_per_request",
            "37",
        ),
        (
            |vendor| vendor.groups.members_max = Some(Cap { most: 5, over: OverCap::BadRequest }),
            "members.max_per_request",
            "5",
        ),
        (|vendor| vendor.patch_answer = PatchAnswer::NoContent, "patch.supported", "true"),
        (|vendor| vendor.groups.create = Support::NotImplemented, "groups.create", "false"),
        (|vendor| vendor.groups.members_returned = false, "members.read", "\"none\""),
        (|vendor| vendor.paging = Paging { count_default: 1, count_max: 1 }, "list.max_count", "1"),
    ];
    let (strict, _, _) = probed(Behaviour::default()).await;
    for (bend, key, expected) in table {
        let mut behaviour = Behaviour::default();
        bend(&mut behaviour);
        let (report, _, left) = probed(behaviour).await;
        report.ended.as_ref().unwrap();
        assert_eq!(found(&report, &[key]), [expected], "{key}");
        assert!(report.leftovers.is_empty() && !left.contains("scim-relay-probe"), "{key}: {left}");
        let others = KEYS.into_iter().filter(|other| other.split('.').next() != key.split('.').next());
        for other in others {
            let (here, there) = (report.findings.value(other), strict.findings.value(other));
            assert!(here == there || here.is_none(), "{key} changed {other}: {here:?}");
        }
    }
}

#[tokio::test]
async fn what_a_vendor_does_not_remove_is_told() {
    for (delete, mode) in
        [(DeleteUser::Deactivate, "\"deactivate\""), (DeleteUser::Refused, "\"unsupported\"")]
    {
        let mut behaviour = Behaviour::default();
        behaviour.users.delete = delete;
        let (report, _, _) = probed(behaviour).await;
        assert_eq!(found(&report, &["delete.mode"]), [mode]);
        let names: Vec<_> = report.leftovers.iter().map(|left| left.name.as_str()).collect();
        assert_eq!(names, ["scim-relay-probe-x-two@example.com", "scim-relay-probe-x-one@example.com"]);
        assert!(report.leftovers.iter().all(|left| left.id.is_some()));
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_deleted_is_told() {
    let mut behaviour = Behaviour::default();
    behaviour.groups.delete = Support::MethodNotAllowed;
    let (report, profile, _) = probed(behaviour).await;
    assert_eq!((found(&report, &["groups.delete"]), report.leftovers.len()), (vec!["false".to_owned()], 1));
    assert!(
        !profile.groups.delete && report.leftovers[0].to_string().contains("its deletion was answered 405")
    );
}

#[tokio::test]
async fn an_interrupted_probe_removes_what_it_has_made() {
    for calls in 1..12 {
        let vendor = sandbox::start(sandbox::Settings::default()).await.unwrap();
        let target = connect(vendor.base_url());
        let counts = format!("http://{}/_sandbox/counts", vendor.addr());
        let stop = async {
            loop {
                let told = reqwest::get(&counts).await.unwrap().bytes().await.unwrap();
                let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
                if told["total"].as_u64() >= Some(calls) {
                    break;
                }
            }
        };
        let report = probe::probe(&target, "scim-relay-probe-x", stop).await;
        assert!(matches!(report.ended, Err(probe::ProbeError::Interrupted)), "{:?}", report.ended);
        assert_eq!(report.leftovers, []);
        let users = reqwest::get(format!("{}/Users", vendor.base_url())).await.unwrap().text().await.unwrap();
        assert!(!users.contains("scim-relay-probe"), "after {calls} calls: {users}");
        vendor.shutdown().await;
    }
}

//! Several operations in one request: the same directory comes out, with fewer calls, whatever the
//! vendor's dialect and whatever goes wrong.

use std::time::Duration;

use scim_relay::demo::company::{self, Event, Shape};
use scim_relay::demo::proof::Holdings;
use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::{BulkRules, Cap, OverCap, StatusForm};
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Call, Sandbox, TOKEN};
use crate::support::scim_server::ScimServer;
use crate::support::{eventually, http_client};

const LIMIT: Duration = Duration::from_mins(4);

fn vendor(rules: BulkRules) -> Behaviour {
    Behaviour { bulk: Some(rules), ..Behaviour::default() }
}

fn bulk_calls(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.path == "Bulk").collect()
}

async fn deliver(relay: &Relay, events: &[Event]) {
    for event in events {
        relay.accept(&event.id, &event.body()).await;
    }
}

async fn assert_equal(sandbox: &Sandbox, events: &[Event], what: &str) {
    sandbox.users().await;
    let differences = sandbox.holdings().await.differences(&company::directory(events));
    assert_eq!(differences, Vec::<String>::new(), "{what}");
}

fn newcomers(range: std::ops::Range<usize>) -> Value {
    range
        .map(|number| {
            json!({"op": "user.upsert", "id": format!("u-{number}"),
                "attributes": {"userName": format!("u{number}@example.com"), "active": true}})
        })
        .collect()
}

fn titles(range: std::ops::Range<usize>, title: &str) -> Value {
    range
        .map(|number| json!({"op": "user.upsert", "id": format!("u-{number}"), "attributes": {"title": title}}))
        .collect()
}

/// A profile that says of itself that bulk requests are taken, whatever the service says.
fn with_profile(home: &Home, lines: &str) {
    let profile = format!(
        "name = \"bulky\"\nevidence = \"unverified\"\nsources = []\nas_of = \"2026-11-21\"\n\n[bulk]\nsupported = \"yes\"\n{lines}\n"
    );
    std::fs::write(home.path().join("bulky.toml"), profile).expect("a writable folder");
}

/// One stream to many vendors, each of which answers in another way.
#[tokio::test(flavor = "multi_thread")]
async fn every_dialect_of_the_answer_leads_to_the_same_directory() {
    let plain = BulkRules::default();
    let dialects = [
        ("plain", plain),
        ("multi", BulkRules { status: 207, status_form: StatusForm::Number, response: true, ..plain }),
        (
            "lower",
            BulkRules { key: "operations", status_form: StatusForm::Code, reason_in_a_word: true, ..plain },
        ),
        ("reversed", BulkRules { key: "responses", reversed: true, method: false, ..plain }),
        ("nameless", BulkRules { bulk_id: false, reversed: true, ..plain }),
        ("bare", BulkRules { bulk_id: false, method: false, location: false, ..plain }),
        ("silent", BulkRules { leaves_out_every: Some(7), ..plain }),
        ("moody", BulkRules { fails_every: Some((9, 503)), ..plain }),
        ("strict", BulkRules { fails_every: Some((40, 429)), ..plain }),
    ];
    let mut vendors = Vec::new();
    for (name, rules) in dialects {
        vendors.push((name, Sandbox::start(vendor(rules), &[]).await));
    }
    let single = Sandbox::start(vendor(plain), &[]).await;
    let limits = "limits = { rate_per_second = 100, burst = 5, concurrency = 4 }\n";
    let setup =
        |name: &str, sandbox: &Sandbox| TargetSetup::new(name, sandbox.base_url(), TOKEN).with(limits);
    let mut targets: Vec<_> =
        vendors.iter().map(|(name, sandbox)| setup(name, sandbox).with_bulk()).collect();
    targets.push(setup("single", &single));
    let relay = Home::new(&targets);
    let relay = relay.start().await;
    let events = company::generate(Shape { users: 80, groups: 6, changes: 300 }, 11);
    deliver(&relay, &events).await;

    relay.quiet("single", LIMIT).await;
    assert_equal(&single, &events, "single").await;
    let without = single.calls().await.len();
    for (name, sandbox) in &vendors {
        let status = relay.quiet(name, LIMIT).await;
        assert_eq!(status["targets"][*name]["parked"], 0, "{name}");
        assert_equal(sandbox, &events, name).await;
        let calls = sandbox.calls().await;
        let packs = bulk_calls(&calls);
        let operations: u64 = packs.iter().map(|call| call.operations).sum();
        println!("{name}: {} calls, {} of them packs of {operations} operations", calls.len(), packs.len());
        assert!(packs.iter().any(|call| call.operations > 1), "{name} was sent no pack");
        if *name == "plain" {
            println!("single: {without} calls");
            assert!(calls.len() * 3 < without * 2, "{} calls with packs, {without} without", calls.len());
        }
    }
    assert_eq!(relay.terminate().await, Some(0));
}

/// Lost requests and answers, outages and throttling, on bulk requests and on single ones.
#[tokio::test(flavor = "multi_thread")]
async fn packs_that_fail_in_every_way_still_end_equal_to_the_directory() {
    let faults = [
        "lost:0.15:on=bulk",
        "lost-before:0.1:on=bulk",
        "503-after:0.1:on=bulk",
        "truncated:0.1:on=bulk",
        "429:0.05:on=bulk:retry-after=1s",
        "500:0.03:on=users",
        "edit:0.1",
    ];
    let sandbox =
        Sandbox::start(vendor(BulkRules { fails_every: Some((13, 500)), ..BulkRules::default() }), &faults)
            .await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)
        .with_bulk()
        .with_profile("bulky.toml")
        .with("limits = { rate_per_second = 200, burst = 5, concurrency = 4 }\n")]);
    with_profile(&home, "references = true");
    let relay = home.start().await;
    let events = company::generate(Shape { users: 150, groups: 10, changes: 800 }, 5);
    deliver(&relay, &events).await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
    assert_equal(&sandbox, &events, "through faults").await;
    let calls = sandbox.calls().await;
    let failed = bulk_calls(&calls).into_iter().filter(|call| call.status != "200").count();
    assert!(failed > 2, "the faults met no pack, or the test has no point");
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_without_the_endpoint_is_asked_once_and_gets_single_calls_over_a_restart_too() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let setup = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_bulk().with_profile("bulky.toml");
    let home = Home::new(&[setup.with("limits = { rate_per_second = 200, burst = 1, concurrency = 1 }\n")]);
    with_profile(&home, "");
    let relay = home.start().await;
    relay.changes("evt-1", &newcomers(0..20)).await;
    relay.quiet("acme", LIMIT).await;
    relay.changes("evt-2", &titles(0..20, "New")).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(relay.terminate().await, Some(0));
    let relay = home.start().await;
    relay.changes("evt-3", &titles(0..20, "Newer")).await;
    relay.quiet("acme", LIMIT).await;
    let calls = sandbox.calls().await;
    let packs: Vec<_> = bulk_calls(&calls).iter().map(|call| call.status.clone()).collect();
    assert!(packs == ["501"], "{packs:?}");
    assert!(sandbox.users().await.iter().all(|user| user["title"] == "Newer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_that_is_too_large_is_halved_and_the_size_is_remembered_over_a_restart() {
    for over in [OverCap::PayloadTooLarge, OverCap::TooMany] {
        let rules = BulkRules { operations_max: Cap { most: 12, over }, ..BulkRules::default() };
        let sandbox = Sandbox::start(vendor(rules), &[]).await;
        let limits = "limits = { rate_per_second = 50, burst = 1, concurrency = 1 }\n";
        let setup =
            TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_bulk().with_profile("bulky.toml");
        let home = Home::new(&[setup.with(limits)]);
        with_profile(&home, "max_operations = 40");
        let relay = home.start().await;
        relay.changes("evt-1", &newcomers(0..40)).await;
        relay.quiet("acme", LIMIT).await;
        relay.changes("evt-2", &titles(0..40, "New")).await;
        relay.quiet("acme", LIMIT).await;
        assert_eq!(relay.terminate().await, Some(0));
        let before = sandbox.calls().await.len();
        let relay = home.start().await;
        relay.changes("evt-3", &titles(0..40, "Newer")).await;
        relay.quiet("acme", LIMIT).await;
        let calls = sandbox.calls().await;
        assert!(bulk_calls(&calls[..before]).iter().any(|call| call.status != "200"), "{over:?}");
        let packs = bulk_calls(&calls[before..]);
        assert!(
            packs.iter().all(|call| call.status == "200" && call.operations <= 12),
            "{over:?}: {packs:?}"
        );
        assert!(packs.len() <= 6, "{over:?}: {packs:?}");
        assert!(sandbox.users().await.iter().all(|user| user["title"] == "Newer"));
    }
}

/// The calls that it takes to hire some people into groups that are there.
async fn calls_to_hire(
    rules: BulkRules,
    references: bool,
    hired: std::ops::Range<usize>,
) -> (Sandbox, Home, Relay, Vec<Call>) {
    let sandbox = Sandbox::start(vendor(rules), &[]).await;
    let setup = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_bulk().with_profile("bulky.toml");
    let home = Home::new(&[setup.with("limits = { rate_per_second = 100, burst = 1, concurrency = 1 }\n")]);
    with_profile(&home, &format!("references = {references}"));
    let relay = home.start().await;
    let groups =
        ["g-1", "g-2"].map(|id| json!({"op": "group.upsert", "id": id, "attributes": {"displayName": id}}));
    relay.changes("evt-groups", &json!(groups)).await;
    relay.quiet("acme", LIMIT).await;
    let before = sandbox.calls().await.len();
    let ids: Vec<String> = hired.clone().map(|number| format!("u-{number}")).collect();
    let mut changes = newcomers(hired);
    let members = |group: &str| json!({"op": "group.members", "id": group, "add": ids});
    changes.as_array_mut().unwrap().extend(["g-1", "g-2"].map(members));
    relay.changes("evt-hired", &changes).await;
    let status = relay.quiet("acme", LIMIT).await;
    assert_eq!(status["targets"]["acme"]["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
    for group in ["g-1", "g-2"] {
        assert_eq!(sandbox.members(group).await.len(), ids.len(), "{group}");
    }
    let calls = sandbox.calls().await.split_off(before);
    (sandbox, home, relay, calls)
}

/// An account and its memberships go in one request.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_hired_is_in_the_groups_with_the_request_that_makes_the_account() {
    let (_sandbox, _home, _relay, with) = calls_to_hire(BulkRules::default(), true, 0..3).await;
    let (_sandbox, _home, _relay, without) = calls_to_hire(BulkRules::default(), false, 0..3).await;
    let packs = |calls: &[Call]| bulk_calls(calls).iter().map(|call| call.operations).collect::<Vec<_>>();
    println!("{} calls with references, {} without", with.len(), without.len());
    assert!(with.len() < without.len(), "{with:?}\n{without:?}");
    assert!(with.iter().all(|call| call.method == "GET" || call.path == "Bulk"), "{with:?}");
    assert_eq!(packs(&with).iter().sum::<u64>(), 5, "each group is told once");
}

/// An account that is not made keeps nobody else out, and the group stays as it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_refused_leaves_the_group_unharmed_and_joins_it_later() {
    let rules = BulkRules { fails_every: Some((5, 503)), ..BulkRules::default() };
    let (_sandbox, _home, relay, calls) = calls_to_hire(rules, true, 0..3).await;
    assert!(bulk_calls(&calls).len() > 1, "{calls:?}");
    let story = relay.story("group:g-1").await;
    assert!(story.contains(&"members refused".to_owned()), "{story:?}");
    assert!(story.ends_with(&["members applied".to_owned()]), "{story:?}");
}

/// What depends on a version is refused alone, read alone, and sent again with what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_goes_with_each_operation_and_only_the_stale_one_is_planned_anew() {
    let sandbox = Sandbox::start(vendor(BulkRules::default()), &[]).await;
    let limits = "limits = { rate_per_second = 20, burst = 1, concurrency = 1 }\n";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_bulk().with(limits)]);
    let relay = home.start().await;
    relay.changes("evt-1", &newcomers(0..20)).await;
    relay.quiet("acme", LIMIT).await;
    let edited = sandbox.user("u-3").await["id"].as_str().unwrap().to_owned();
    let edit = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "add", "path": "nickName", "value": "theirs"}]});
    sandbox.console(reqwest::Method::PATCH, &format!("Users/{edited}"), &edit).await;
    relay.changes("evt-2", &titles(0..20, "New")).await;
    relay.quiet("acme", LIMIT).await;
    let user = sandbox.user("u-3").await;
    assert_eq!((&user["title"], &user["nickName"]), (&json!("New"), &json!("theirs")));
    let of = |id: usize| format!("user:u-{id}");
    assert!(relay.story(&of(3)).await.ends_with(&[
        "update stale".into(),
        "fetch found".into(),
        "update applied".into()
    ]));
    assert!(relay.story(&of(4)).await.ends_with(&["create applied".into(), "update applied".into()]));
}

/// The leavers wait for no pack, and many of them go in one.
#[tokio::test(flavor = "multi_thread")]
async fn leavers_go_ahead_of_a_backlog_that_is_packed() {
    const PER_SECOND: usize = 5;
    let sandbox = Sandbox::start(vendor(BulkRules::default()), &[]).await;
    let limits =
        |rate: usize| format!("limits = {{ rate_per_second = {rate}, burst = 1, concurrency = 8 }}\n");
    let setup = |rate| TargetSetup::new("slow", sandbox.base_url(), TOKEN).with_bulk().with(&limits(rate));
    let home = Home::new(&[setup(500)]);
    let relay = home.start().await;
    relay.changes("evt-0", &newcomers(0..60)).await;
    relay.quiet("slow", LIMIT).await;
    assert_eq!(relay.terminate().await, Some(0));

    let text = std::fs::read_to_string(home.config()).unwrap().replace("= 500,", &format!("= {PER_SECOND},"));
    std::fs::write(home.config(), text).unwrap();
    let relay = home.start().await;
    for part in 1..=5 {
        relay.changes(&format!("evt-import-{part}"), &newcomers(part * 1_000..(part + 1) * 1_000)).await;
    }
    eventually("the import is merged", LIMIT, async || {
        (relay.admin("/status").await["inbox"]["unprojected"] == 0).then_some(())
    })
    .await;
    for (event, leavers) in [("evt-one", 0..1), ("evt-fifty", 10..60)] {
        let changes: Vec<_> = leavers
            .clone()
            .map(|number| json!({"op": "user.deactivate", "id": format!("u-{number}")}))
            .collect();
        relay.changes(event, &json!(changes)).await;
        eventually("the event is merged", LIMIT, async || {
            (relay.admin(&format!("/events/{event}")).await["state"] == "projected").then_some(())
        })
        .await;
        let merged_at = sandbox.moment().await;
        eventually("the leavers are inactive", LIMIT, async || {
            let users = sandbox.users().await;
            let active = |number: usize| {
                users.iter().any(|user| user["externalId"] == format!("u-{number}") && user["active"] == true)
            };
            (!leavers.clone().any(active)).then_some(())
        })
        .await;
        let calls = sandbox.calls().await;
        let since: Vec<_> = calls.iter().filter(|call| call.time_us >= merged_at).collect();
        let theirs = |call: &&&Call| match leavers.len() {
            1 => call.method == "PATCH",
            many => call.path == "Bulk" && usize::try_from(call.operations) == Ok(many),
        };
        let before = since.iter().take_while(|call| !theirs(call)).count();
        println!("{event}: {before} calls went ahead");
        assert!(before < since.len(), "they went otherwise: {since:?}");
        assert!(before <= 2, "at most what had its permit already goes ahead: {since:?}");
    }
    let left = relay.admin("/status").await["targets"]["slow"]["lanes"]["change"].as_u64().unwrap();
    assert!(left > 4_500, "the leavers did not wait for the others, of whom {left} are left");
}

/// A server that we did not write.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_others_takes_packs_and_ends_equal_to_the_directory() {
    let server = ScimServer::start().await;
    let limits = "limits = { rate_per_second = 200, burst = 5, concurrency = 4 }\n";
    let home = Home::new(&[TargetSetup::new("strict", server.base_url(), ScimServer::TOKEN)
        .with_bulk()
        .with(limits)]);
    let relay = home.start().await;
    let events = company::generate(Shape { users: 120, groups: 8, changes: 500 }, 3);
    deliver(&relay, &events).await;
    let status = relay.quiet("strict", LIMIT).await;
    assert_eq!(status["targets"]["strict"]["parked"], 0, "{}", relay.admin("/targets/strict/parked").await);
    let holdings = Holdings::read(&http_client(), &server.base_url(), ScimServer::TOKEN).await.unwrap();
    assert_eq!(holdings.differences(&company::directory(&events)), Vec::<String>::new());
    let packs =
        relay.metrics().await.count("scim_relay_requests_total", &[("endpoint", "Bulk"), ("status", "200")]);
    assert!(packs > 2, "{packs} packs");
    assert_eq!(relay.terminate().await, Some(0));
}

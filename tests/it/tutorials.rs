//! What tutorials on the web claim of Genesys Cloud and `CXone`, right or wrong: the relay meets vendors
//! that keep these claims, and none of the mistakes in the tutorials' own programs can happen to it.

use std::time::Duration;

use reqwest::Method;
use scim_relay::demo::company::{self, Shape};
use scim_relay::sandbox::Behaviour;
use scim_relay::sandbox::settings::{BulkRules, Cap, OverCap, RateLimit, RetryAfter, StatusForm};
use scim_relay::target::Profile;
use serde_json::{Value, json};

use crate::support::relay::{Home, Relay, TargetSetup};
use crate::support::sandbox::{Call, Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(4);
const FAST: &str =
    "limits = { rate_per_second = 200, burst = 5, concurrency = 4 }\nallow_simulation = true\n";

/// The vendor of a profile; how fast it is has tests of its own.
fn vendor(profile: &str, bulk: BulkRules) -> Behaviour {
    let behaviour = Behaviour::from(&Profile::builtin(profile).unwrap());
    Behaviour { rate: None, bulk: Some(bulk), ..behaviour }
}

fn at_most(operations: u32) -> Cap {
    Cap { most: usize::try_from(operations).expect("a small number"), over: OverCap::PayloadTooLarge }
}

/// 207, statuses as numbers, reasons in a word, and of `CXone` the key `responses` with entries that name no
/// operation.
fn packs(profile: &str, operations: u32) -> BulkRules {
    let claimed = BulkRules {
        status: 207,
        status_form: StatusForm::Number,
        reason_in_a_word: true,
        operations_max: at_most(operations),
        ..BulkRules::default()
    };
    match profile {
        "cxone-tutorial" => BulkRules { key: "responses", bulk_id: false, version: false, ..claimed },
        _ => claimed,
    }
}

fn setup(name: &str, profile: &str, sandbox: &Sandbox) -> TargetSetup {
    TargetSetup::new(name, sandbox.base_url(), TOKEN).with_profile(profile).with(FAST)
}

fn people(range: std::ops::Range<usize>, attributes: &Value) -> Value {
    let person = |number: usize| {
        let mut attributes = attributes.clone();
        attributes["userName"] = format!("u{number}@example.com").into();
        json!({"op": "user.upsert", "id": format!("u-{number}"), "attributes": attributes})
    };
    range.map(person).collect()
}

async fn done(relay: &Relay, event: &str, changes: &Value) -> Value {
    relay.changes(event, changes).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    assert_eq!(status["parked"], 0, "{}", relay.admin("/targets/acme/parked").await);
    status
}

fn packed(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.path == "Bulk").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn vendors_that_keep_the_tutorials_claims_end_equal_to_the_directory_with_and_without_packs() {
    let faults = ["edit:every=15", "429:every=60", "lost:0.02", "503:every=40"];
    let mut vendors = Vec::new();
    for (name, profile, most) in [
        ("genesys-1000", "genesys-tutorial", Some(1_000)),
        ("genesys-500", "genesys-tutorial", Some(500)),
        ("genesys-single", "genesys-tutorial", None),
        ("cxone-50", "cxone-tutorial", Some(50)),
        ("cxone-single", "cxone-tutorial", None),
    ] {
        let sandbox = Sandbox::start(vendor(profile, packs(profile, most.unwrap_or(1))), &faults).await;
        vendors.push((name, profile, most, sandbox));
    }
    let targets: Vec<_> = vendors
        .iter()
        .map(|(name, profile, most, sandbox)| {
            let target = setup(name, profile, sandbox).with(&format!("{FAST}max_attempts = 50\n"));
            if most.is_some() { target.with_bulk() } else { target }
        })
        .collect();
    let home = Home::new(&targets);
    let relay = home.start().await;
    let events = company::generate(Shape { users: 120, groups: 6, changes: 400 }, 17);
    let (live, backlog) = events.split_at(events.len() / 2);
    for event in live {
        relay.accept(&event.id, &event.body()).await;
    }
    // Packs are for what waits, and a creation is in none of one of the vendors: changes of people who
    // are there wait together, however slowly this machine accepts them.
    for (name, ..) in &vendors {
        relay.quiet(name, LIMIT).await;
        relay.act(&format!("/targets/{name}/pause")).await;
    }
    for event in backlog {
        relay.accept(&event.id, &event.body()).await;
    }
    for (name, ..) in &vendors {
        relay.act(&format!("/targets/{name}/resume")).await;
    }
    let directory = company::directory(&events);
    for (name, profile, most, sandbox) in &vendors {
        let status = relay.quiet(name, LIMIT).await;
        let parked = relay.admin(&format!("/targets/{name}/parked")).await;
        assert_eq!(status["targets"][*name]["parked"], 0, "{name}: {parked}");
        let no_groups = *profile == "cxone-tutorial";
        let mut found = sandbox.holdings().await.differences(&directory);
        found.retain(|found| !(no_groups && found.starts_with("group ")));
        assert_eq!(found, Vec::<String>::new(), "{name}");
        let calls = sandbox.calls().await;
        let largest = packed(&calls).iter().map(|call| call.operations).max();
        println!("{name}: {} calls, the largest pack of {largest:?}", calls.len());
        match most {
            Some(most) => {
                assert!(largest.is_some_and(|largest| (2..=u64::from(*most)).contains(&largest)), "{name}");
            }
            None => assert_eq!(largest, None, "{name}"),
        }
    }
    assert_eq!(relay.terminate().await, Some(0));
}

/// One tutorial plans anew from the first member of each operation only.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_costs_no_member_but_the_first() {
    let sandbox = Sandbox::start(vendor("genesys-tutorial", BulkRules::default()), &[]).await;
    let home = Home::new(&[setup("acme", "genesys-tutorial", &sandbox)]);
    let relay = home.start().await;
    done(&relay, "evt-1", &people(0..20, &json!({}))).await;
    let agents = json!([{"op": "group.upsert", "id": "g-1", "attributes": {"displayName": "Agents"}}]);
    done(&relay, "evt-2", &agents).await;
    sandbox.set_faults(&["edit:next=3:on=PATCH+groups"]).await;
    let ids: Vec<String> = (0..20).map(|number| format!("u-{number}")).collect();
    done(&relay, "evt-3", &json!([{"op": "group.members", "id": "g-1", "add": ids}])).await;
    assert_eq!(sandbox.members("Agents").await.len(), 20 + 3, "ours, and those that the console added");
    let conflicts = sandbox.calls().await.iter().filter(|call| call.status == "409").count();
    assert_eq!(conflicts, 3);
    done(&relay, "evt-4", &json!([{"op": "group.members", "id": "g-1", "remove": ids[3..9]}])).await;
    assert_eq!(sandbox.members("Agents").await.len(), 14 + 3, "a removal by value takes those and no others");
}

/// Another sends again what stands behind the number of successes, and so what was done, and not what failed.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_pack_only_what_failed_is_sent_again() {
    let rules = BulkRules { fails_every: Some((3, 503)), version: true, bulk_id: true, ..packs("", 1_000) };
    let sandbox = Sandbox::start(vendor("genesys-tutorial", rules), &[]).await;
    let slow = "limits = { rate_per_second = 20, burst = 1, concurrency = 1 }\nallow_simulation = true\n";
    let target = TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_profile("genesys-tutorial");
    let home = Home::new(&[target.with(slow).with_bulk()]);
    let relay = home.start().await;
    done(&relay, "evt-1", &people(0..60, &json!({"title": "New"}))).await;
    assert_eq!(sandbox.users().await.len(), 60);
    for number in 0..60 {
        let story = relay.story(&format!("user:u-{number}")).await;
        let created = story.iter().filter(|line| *line == "create applied").count();
        let taken = story.iter().any(|line| line.ends_with(" taken"));
        assert!(created == 1 && !taken, "u-{number}: {story:?}");
    }
    let calls = sandbox.calls().await;
    assert!(
        packed(&calls).iter().any(|call| call.operations > 3),
        "there was no pack that could fail in part"
    );
}

/// Others write blindly first, "resolve" a conflict by putting back what they had read before, or write
/// groups into users.
#[tokio::test(flavor = "multi_thread")]
async fn no_write_is_blind_and_what_others_wrote_stays() {
    let sandbox = Sandbox::start(vendor("genesys-tutorial", BulkRules::default()), &[]).await;
    let home = Home::new(&[setup("acme", "genesys-tutorial", &sandbox)]);
    for number in 0..5 {
        let name = format!("u{number}@example.com");
        sandbox.make("Users", &json!({"userName": name, "title": "Old", "nickName": "theirs"})).await;
    }
    let relay = home.start().await;
    sandbox.set_faults(&["edit:next=2:on=PATCH+users"]).await;
    done(&relay, "evt-1", &people(0..5, &json!({"title": "New"}))).await;
    let users = sandbox.users().await;
    assert!(users.iter().all(|user| user["title"] == "New"), "{users:?}");
    let edited = users
        .iter()
        .filter(|user| user["nickName"].as_str().is_some_and(|name| name.starts_with("edited in version")));
    assert_eq!(edited.count(), 2, "what the console wrote in between is there");
    let requests = sandbox.requests().await;
    let writes: Vec<_> = requests
        .iter()
        .filter(|request| request["method"] == "PATCH" && !request["user_agent"].is_null())
        .collect();
    assert!(!writes.is_empty() && writes.iter().all(|write| write["if_match"] == true), "{writes:?}");
    assert!(requests.iter().all(|request| request["method"] != Method::PUT.as_str()));
}

/// Others read `Retry-After` as a number whatever it is, and take the body of the fourth 429 for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_date_in_retry_after_and_a_run_of_429_are_waited_out() {
    let rate = RateLimit { retry_after: RetryAfter::HttpDate, ..RateLimit::new(5.0, 1) };
    let behaviour = vendor("genesys-tutorial", packs("genesys-tutorial", 1_000));
    let sandbox =
        Sandbox::start(Behaviour { rate: Some(rate), ..behaviour }, &["429:next=5:on=bulk:retry-after=1s"])
            .await;
    let home = Home::new(&[setup("acme", "genesys-tutorial", &sandbox).with_bulk()]);
    let relay = home.start().await;
    done(&relay, "evt-1", &people(0..8, &json!({"title": "New"}))).await;
    assert_eq!(sandbox.users().await.len(), 8);
    let throttled = sandbox.calls().await.iter().filter(|call| call.status == "429").count();
    assert!(throttled > 0, "the vendor had no reason to throttle");
}

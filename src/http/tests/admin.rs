use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::client::send;
use super::faulty::Mood;
use super::fixture::{ADMIN, NOW, OPERATOR, Served, VIEWER, deletion, served};
use crate::directory::{ExternalId, ResourceKey};
use crate::store::{
    LedgerEntry, LinkChange, MembersOutcome, Outcome, Quarantine, Store, TargetState, WorkChange,
};

/// Every call, and what a key of the right role gets.
const CALLS: [(&str, &str, u16); 25] = [
    ("GET", "/me", 200),
    ("GET", "/people?q=u-9", 200),
    ("GET", "/people?q=", 400),
    ("GET", "/resyncs/nothing/entries", 404),
    ("GET", "/resyncs/nothing/entries?drift=sideways", 400),
    ("GET", "/status", 200),
    ("GET", "/targets", 200),
    ("GET", "/targets/genesys", 200),
    ("GET", "/targets/nobody", 404),
    ("POST", "/targets/genesys/pause", 200),
    ("POST", "/targets/genesys/resume", 200),
    ("POST", "/targets/genesys/discover", 202),
    ("GET", "/targets/genesys/parked", 200),
    ("POST", "/targets/genesys/parked/user:u-9/retry", 404),
    ("POST", "/targets/genesys/parked/user:u-9/discard", 404),
    ("GET", "/holds", 200),
    ("GET", "/holds/1", 404),
    ("POST", "/holds/1/approve", 404),
    ("POST", "/holds/one/reject", 404),
    ("GET", "/events", 200),
    ("GET", "/events/nothing", 404),
    ("GET", "/ledger", 200),
    ("POST", "/sources/hr/resynced", 204),
    ("POST", "/sources/nobody/resynced", 404),
    ("GET", "/nowhere", 404),
];

#[tokio::test]
async fn every_call_needs_a_key_whose_role_allows_it() {
    let served = served().await;
    for (method, path, expected) in CALLS {
        for key in ["", "guess", "KEY-OF-OPERATIONS"] {
            let answer = served.admin(method, path, key).await;
            assert_eq!(answer.status, 401, "{method} {path} with {key:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"scim-relay\""));
            answer.detail();
        }
        assert_eq!(send(served.address, method, &format!("/admin/v1{path}"), &[], b"").await.status, 401);
        let as_viewer = if method == "GET" { expected } else { 403 };
        for (key, expected) in [(VIEWER, as_viewer), (OPERATOR, expected), (ADMIN, expected)] {
            let answer = served.admin(method, path, key).await;
            assert_eq!(answer.status, expected, "{method} {path} with {key}");
            assert!(answer.status < 400 || !answer.detail().is_empty(), "{answer:?}");
        }
    }
    for path in ["", "/", "/targets/genesys/pause/again"] {
        assert_eq!(served.admin("GET", path, "").await.status, 401, "{path}");
        assert_eq!(served.admin("GET", path, VIEWER).await.status, 404, "{path}");
    }
    assert_eq!(served.admin("POST", "/targets/nobody/pause", OPERATOR).await.status, 404);
    assert_eq!(served.admin("GET", "/targets/genesys/pause", VIEWER).await.status, 405);
}

#[tokio::test]
async fn what_is_wrong_in_a_query_is_named_with_what_is_allowed() {
    let served = served().await;
    for (path, expected) in [
        ("/events?limit=0", "a number from 1 to 1000 is expected"),
        ("/targets?limit=many", "a number from 1 to 1000 is expected"),
        ("/targets/genesys/parked?limit=1001", "a number from 1 to 1000 is expected"),
        ("/ledger?limit=", "a number from 1 to 1000 is expected"),
        ("/holds?state=shut", "the state of a hold is one of open, expired"),
        ("/holds?limit=0", "a number from 1 to 1000 is expected"),
        ("/events?page=2", "unknown field `page`"),
        ("/ledger?tarket=genesys", "unknown field `tarket`"),
        ("/ledger?resource=u-1", "resource: user:<id> or group:<id> is expected"),
        ("/ledger?resource=user:1&id=2", "resource cannot stand beside kind and id"),
        ("/ledger?kind=user", "kind and id are expected together"),
        ("/ledger?kind=robot&id=1", "kind: user or group is expected"),
        ("/ledger?from=yesterday", "from: a date and time with an offset is expected"),
        ("/ledger?until=2026-11-20", "until: a date and time with an offset is expected"),
    ] {
        let answer = served.admin("GET", path, VIEWER).await;
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.detail().contains(expected), "{path}: {answer:?}");
    }
    let answer = served.admin("POST", "/targets/genesys/parked/u-9/retry", OPERATOR).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn while_the_store_is_down_every_call_says_when_to_come_again() {
    let served = served().await;
    served.set_mood(Mood::Down);
    // Whose key it is, no store is asked.
    for (method, path, expected) in CALLS.into_iter().filter(|(_, path, _)| *path != "/me") {
        if expected < 300 || path.contains("u-9") || path.contains("/events/") {
            let answer = served.admin(method, path, ADMIN).await;
            assert_eq!(answer.status, 503, "{method} {path}");
            assert!(answer.header("retry-after").is_some());
            answer.detail();
        }
    }
}

#[tokio::test]
async fn only_who_dispatches_a_target_asks_its_vendor() {
    let served = served().await;
    assert_eq!(served.admin("POST", "/targets/nobody/discover", OPERATOR).await.status, 404);
    served.parts.target.elsewhere.store(true, Ordering::SeqCst);
    let answer = served.admin("POST", "/targets/genesys/discover", OPERATOR).await;
    assert_eq!(answer.status, 409);
    assert!(answer.detail().ends_with("the one that does: relay-0"), "{answer:?}");
}

#[tokio::test]
async fn zeros_in_the_status_mean_quiet() {
    let served = served().await;
    let lanes = |deprovision| json!({"deprovision": deprovision, "revoke": 0, "change": 0, "membership": 0, "backfill": 0});
    let age = |oldest: Option<f64>, objective: Option<f64>| json!({"oldest_seconds": oldest, "objective_seconds": objective, "breached": false});
    let ages = |deprovision| {
        json!({"deprovision": age(deprovision, Some(300.0)), "revoke": age(None, Some(900.0)),
               "change": age(None, Some(900.0)), "membership": age(None, Some(900.0)),
               "backfill": age(None, None)})
    };
    let genesys = |pending, in_flight, age: Option<f64>, rows| {
        json!({"state": "running", "reason": null, "since": null, "quarantine": null, "by": null, "pending": pending,
               "in_flight": in_flight, "parked": 0, "held": 0, "waiting": 0, "waiting_members": 0,
               "oldest_pending_seconds": age, "lanes": lanes(rows), "ages": ages(age), "breached": false})
    };
    let heard = |last: Option<String>| {
        let source = |last| json!({"last_heard": last, "quiet_seconds": 0.0, "silent_after_seconds": null, "silent": null});
        json!({"hr": source(last), "limited": source(None)})
    };
    let status = async || served.admin("GET", "/status", VIEWER).await.json();
    assert_eq!(
        status().await,
        json!({"inbox": {"unprojected": 0, "unreadable": 0}, "reads": {}, "resync_advised": {}, "audit": null, "sources": heard(None), "secrets": {}, "targets": {"genesys": genesys(0, 0, None, 0)}})
    );
    served.hook("evt-1", &deletion("u-1")).await;
    assert_eq!(status().await["inbox"]["unprojected"], 1);
    served.parts.store.project(&*served.parts.relay.sources, 10).await.unwrap();
    assert_eq!(
        status().await,
        json!({"inbox": {"unprojected": 0, "unreadable": 0}, "reads": {}, "resync_advised": {}, "audit": null, "sources": heard(Some(NOW.to_string())), "secrets": {}, "targets": {"genesys": genesys(1, 0, Some(0.0), 1)}})
    );
    // The row is in one place or in the other, and never in neither.
    for (in_flight, pending) in [(1, 0), (2, 0)] {
        served.parts.target.in_flight.store(in_flight, Ordering::SeqCst);
        assert_eq!(status().await["targets"]["genesys"], genesys(pending, in_flight, Some(0.0), 1));
    }
}

#[tokio::test]
async fn that_a_source_should_be_read_as_a_whole_shows_until_somebody_says_that_it_was() {
    let served = served().await;
    let store = &*served.parts.store;
    crate::store::advice::advise(store, "hr", "nobody listened".to_owned(), NOW).await.unwrap();
    let status = served.admin("GET", "/status", VIEWER).await.json();
    let advice = json!({"hr": {"since": "2026-11-20T10:00:00Z", "reason": "nobody listened"}});
    assert_eq!(status["resync_advised"], advice);
    served.admin("POST", "/sources/hr/resynced", OPERATOR).await;
    let status = served.admin("GET", "/status", VIEWER).await.json();
    assert_eq!(status["resync_advised"], json!({}));
}

#[tokio::test]
async fn a_target_is_paused_and_resumed_in_the_name_of_the_key() {
    let served = served().await;
    let paused = served.admin("POST", "/targets/genesys/pause", OPERATOR).await.json();
    assert_eq!((&paused["state"], &paused["by"]), (&json!("paused"), &json!("ops")));
    assert_eq!(paused["since"], "2026-11-20T10:00:00Z");
    assert_eq!(served.admin("GET", "/targets/genesys", VIEWER).await.json(), paused);
    let resumed = served.admin("POST", "/targets/genesys/resume", ADMIN).await.json();
    assert_eq!(resumed["state"], "running");
    assert_eq!(resumed["limits"], json!({"rate_per_second": 20}));
    assert_eq!(resumed["breaker"], json!({"state": "closed"}));
    assert_eq!(resumed["capabilities"], json!({"patch": true}));
    assert_eq!((&resumed["holder"], &resumed["held_here"]), (&json!("relay-0"), &json!(true)));
    let reason = "401: the client is not known".to_owned();
    let next_probe = Some(NOW.after(Duration::from_secs(5)));
    let quarantine = Quarantine { mend: "a new secret".to_owned(), tried: 3, next_probe };
    *served.parts.target.state.lock().unwrap() = TargetState::Suspended { reason, since: NOW, quarantine };
    let listed = served.admin("GET", "/targets", VIEWER).await.json();
    assert_eq!(listed["next_cursor"], json!(null));
    assert_eq!(listed["items"][0]["name"], "genesys");
    assert_eq!(listed["items"][0]["reason"], "401: the client is not known");
    let told = json!({
        "words": "suspended since 2026-11-20T10:00:00Z: 401: the client is not known; tried 3 times; to be tried \
                  again from 2026-11-20T10:00:05Z on",
        "mend": "a new secret", "tried": 3, "next_probe": "2026-11-20T10:00:05Z",
    });
    assert_eq!(listed["items"][0]["quarantine"], told);
    assert_eq!(served.admin("GET", "/targets?cursor=genesys", VIEWER).await.json()["items"], json!([]));
}

#[tokio::test]
async fn pages_of_events_hold_each_event_once() {
    let served = served().await;
    for n in 0..7 {
        served.hook(&format!("evt-{n}"), &deletion("u-1")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/events?limit=3".to_owned();
    loop {
        let page = served.admin("GET", &path, VIEWER).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        seen.extend(items.iter().map(|item| item["event_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/events?limit=3&cursor={cursor}");
    }
    assert_eq!(seen, ["evt-6", "evt-5", "evt-4", "evt-3", "evt-2", "evt-1", "evt-0"]);
}

#[tokio::test]
async fn an_event_shows_what_became_of_its_changes() {
    let served = served().await;
    served.hook("evt/1 ü".replace(" ü", "").as_str(), &deletion("u-1")).await;
    let accepted = served.admin("GET", "/events/evt%2F1", VIEWER).await.json();
    assert_eq!((&accepted["state"], &accepted["changes"]), (&json!("accepted"), &json!([])));
    served.parts.store.project(&*served.parts.relay.sources, 10).await.unwrap();
    let projected = served.admin("GET", "/events/evt%2F1", VIEWER).await.json();
    assert_eq!(projected["state"], "projected");
    assert_eq!(projected["received_at"], "2026-11-20T10:00:00Z");
    let change = &projected["changes"][0];
    assert_eq!((&change["operation"], &change["kind"]), (&json!("user.delete"), &json!("user")));
    assert_eq!((&change["id"], &change["outcome"]), (&json!("u-1"), &json!("merged")));
    assert_eq!(change["targets"]["genesys"], json!({"state": "pending", "reason": null}));
    let sequence = projected["sequence"].to_string();
    assert_eq!(served.admin("GET", &format!("/events/{sequence}"), VIEWER).await.json(), projected);
}

#[tokio::test]
async fn parked_work_is_listed_retried_and_discarded() {
    let served = served().await;
    let ids = ["u/1", "u-2", "u-3"];
    park(&served, &ids).await;
    let parked = async || {
        let list = served.admin("GET", "/targets/genesys/parked?limit=2", VIEWER).await.json();
        let items = list["items"].as_array().unwrap().clone();
        (items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>(), list)
    };
    let (first, list) = parked().await;
    assert_eq!(list["items"][0]["reason"], "the vendor does not like it");
    assert_eq!(list["items"][0]["parked_at"], "2026-11-20T10:00:00Z");
    assert_eq!(first.len(), 2);
    let cursor = percent_encoding::utf8_percent_encode(
        list["next_cursor"].as_str().unwrap(),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    let rest = served.admin("GET", &format!("/targets/genesys/parked?cursor={cursor}"), VIEWER).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], json!(null));

    assert_eq!(served.admin("GET", "/status", VIEWER).await.json()["targets"]["genesys"]["parked"], 3);
    assert_eq!(served.admin("POST", "/targets/genesys/parked/user:u%2F1/retry", OPERATOR).await.status, 204);
    assert_eq!(served.parts.target.woken.load(Ordering::SeqCst), 1);
    assert_eq!(
        served.admin("POST", "/targets/genesys/parked/user%3Au-2/discard", OPERATOR).await.status,
        204
    );
    assert_eq!(parked().await.0, BTreeSet::from(["user:u-3".to_owned()]));
    assert_eq!(served.admin("POST", "/targets/genesys/parked/user:u-2/retry", OPERATOR).await.status, 404);
    let genesys = served.admin("GET", "/status", VIEWER).await.json()["targets"]["genesys"].clone();
    assert_eq!((&genesys["parked"], &genesys["pending"]), (&json!(1), &json!(1)));
    let ledger = served.admin("GET", "/ledger?outcome=discarded", VIEWER).await.json();
    assert!(ledger["items"][0]["detail"].as_str().unwrap().contains("ops"), "{ledger}");
}

/// Accepts a change of each user, and parks it, as a dispatcher would.
pub async fn park(served: &Served, users: &[&str]) {
    for user in users {
        served.hook(&format!("of-{user}"), &deletion(user)).await;
    }
    let store = &served.parts.store;
    store.project(&*served.parts.relay.sources, 100).await.unwrap();
    let tenure = store.take("genesys", "test", Duration::ZERO).await.unwrap().unwrap();
    let mut outcomes = Vec::new();
    for user in users {
        let key = ResourceKey::user(ExternalId::parse(*user).unwrap());
        let dossier = store.load("genesys", &key, 10).await.unwrap().unwrap();
        outcomes.push(Outcome {
            key,
            generation: dossier.item.generation,
            link: LinkChange::Keep,
            members: MembersOutcome::default(),
            waits_for: BTreeSet::new(),
            memberships: BTreeMap::new(),
            work: WorkChange::Park { reason: "the vendor does not like it".to_owned() },
            ledger: vec![LedgerEntry {
                at: NOW.after(Duration::from_secs(outcomes.len() as u64)),
                operation: "delete",
                call: Some("DELETE Users/{id}".to_owned()),
                status: Some(400),
                result: "refused",
                etag_before: Some("W/\"1\"".to_owned()),
                etag_after: None,
                elapsed_us: Some(1500),
                detail: Some("the vendor, \"Acme\", does not like it".to_owned()),
                actor: None,
            }],
        });
    }
    store.commit(&tenure, outcomes, NOW).await.unwrap();
}

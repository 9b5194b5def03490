//! Polls of a stand-in for an HR system: pages, throttles, failures in the middle, and clocks that differ.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing::get};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::page::Paging;
use super::run::Poller;
use super::{Settings, TimeFormat, UpdatedAfter};
use crate::clock::{Clock as _, Timestamp};
use crate::directory::{Attributes, Change, ExternalId, Operation};
use crate::feed::guard::Limits;
use crate::feed::said::Said;
use crate::feed::stage::{Stage, at, people};
use crate::source::mapped::Pointer;
use crate::store::{Aspect, RecordKey};
use crate::target::Auth;

const PAGE: usize = 2;

/// A stand-in for an HR system.
struct Hr {
    state: Mutex<HrState>,
}

struct HrState {
    people: Vec<Value>,
    /// Its own clock.
    now: Timestamp,
    /// A status, and how long to wait, for pages from this number on.
    fault: Option<(usize, u16, Option<&'static str>)>,
    /// The queries that were asked.
    asked: Vec<HashMap<String, String>>,
}

impl Hr {
    fn with(&self, change: impl FnOnce(&mut HrState)) {
        change(&mut self.state.lock().unwrap());
    }

    fn asked(&self) -> Vec<HashMap<String, String>> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

async fn list(
    State(hr): State<Arc<Hr>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut state = hr.state.lock().unwrap();
    state.asked.push(query.clone());
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value != "Bearer key") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let start: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    if let Some((page, status, wait)) = state.fault
        && start >= page * PAGE
    {
        let status = StatusCode::from_u16(status).unwrap();
        return match wait {
            Some(wait) => (status, [(header::RETRY_AFTER, wait)]).into_response(),
            None => status.into_response(),
        };
    }
    let after = query.get("since").map(String::as_str).unwrap_or_default();
    let changed = state.people.iter().filter(|person| person["updated"].as_str().unwrap() >= after);
    let all: Vec<Value> = changed.cloned().collect();
    let end = all.len().min(start + PAGE);
    let next = (end < all.len()).then(|| end.to_string());
    let date = httpdate::fmt_http_date(
        std::time::UNIX_EPOCH + Duration::from_secs(state.now.as_seconds().unsigned_abs()),
    );
    let body = json!({"people": all[start.min(end)..end], "next": next});
    ([(header::DATE, date)], Json(body)).into_response()
}

struct Scene {
    stage: Stage,
    hr: Arc<Hr>,
    settings: Settings,
}

fn person(id: &str, updated: &str) -> Value {
    json!({"id": id, "name": format!("{id}@x.example"), "active": "yes", "salary": 1, "updated": updated})
}

const EARLY: &str = "2026-11-20T08:00:00Z";

impl Scene {
    async fn new(count: usize) -> Self {
        let people = (0..count).map(|number| person(&format!("u{number}"), EARLY)).collect();
        let now = at("2026-11-20T10:00:00Z");
        let state = HrState { people, now, fault: None, asked: Vec::new() };
        let hr = Arc::new(Hr { state: Mutex::new(state) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/people", listener.local_addr().unwrap()).parse().unwrap();
        let app = Router::new().route("/people", get(list)).with_state(Arc::clone(&hr));
        tokio::spawn(async move { axum::serve(listener, app).await });
        let settings = Settings {
            url,
            query: vec![("limit".to_owned(), "2".to_owned())],
            auth: Some(Auth::Bearer { token: "key".into() }),
            updated_after: Some(UpdatedAfter {
                parameter: "since".to_owned(),
                format: TimeFormat::Rfc3339,
                overlap: Duration::from_mins(5),
            }),
            list: Pointer::parse("/people").unwrap(),
            paging: Paging::Cursor { at: Pointer::parse("/next").unwrap(), parameter: "cursor".to_owned() },
            records: people_records(),
            every: Duration::from_mins(10),
            snapshot_every: None,
            timeout: Duration::from_secs(10),
        };
        Self { stage: Stage::new(), hr, settings }
    }

    fn snapshots(mut self) -> Self {
        self.settings.snapshot_every = Some(Duration::from_secs(1));
        self
    }

    fn poller(&self, replica: &str) -> Poller {
        Poller::connect(self.settings.clone(), Limits::default(), self.stage.taker(replica)).unwrap()
    }

    /// Lets the wait pass, and polls.
    async fn poll(&self) -> Vec<String> {
        self.stage.clock.advance(7_200);
        self.poller("one").round().await.unwrap();
        self.stage.news().await
    }
}

fn people_records() -> crate::source::fed::Records {
    people()
}

#[tokio::test]
async fn a_poll_takes_in_every_page_and_asks_for_changes_from_then_on() {
    let scene = Scene::new(3).await;
    assert_eq!(scene.poll().await, ["user.upsert u0", "user.upsert u1", "user.upsert u2"]);
    let asked = scene.hr.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|query| query["limit"] == "2" && !query.contains_key("since")), "{asked:?}");
    scene.hr.with(|hr| hr.people[1] = json!({"id": "u1", "name": "new", "updated": "2026-11-20T11:00:00Z"}));
    assert_eq!(scene.poll().await, ["user.upsert u1"]);
    let asked = scene.hr.asked();
    assert_eq!(asked[0]["since"], "2026-11-20T09:55:00Z", "the time of the source, less the overlap");
}

#[tokio::test]
async fn what_was_said_before_is_no_event() {
    let mut scene = Scene::new(3).await;
    scene.settings.updated_after = None;
    assert_eq!(scene.poll().await.len(), 3);
    assert_eq!(scene.poll().await, [""; 0]);
    scene.hr.with(|hr| hr.people[0]["salary"] = json!(2));
    assert_eq!(scene.poll().await, [""; 0], "what is not mapped is no news");
    scene.hr.with(|hr| hr.people[0]["name"] = json!("b"));
    assert_eq!(scene.poll().await, ["user.upsert u0"]);
    scene.hr.with(|hr| hr.people[0]["name"] = json!("u0@x.example"));
    assert_eq!(scene.poll().await, ["user.upsert u0"], "what was said long ago is news again");
}

#[tokio::test]
async fn a_failure_in_the_middle_keeps_the_position_and_nothing_is_said_twice() {
    let scene = Scene::new(5).await;
    scene.hr.with(|hr| hr.fault = Some((1, 500, None)));
    assert_eq!(scene.poll().await, ["user.upsert u0", "user.upsert u1"]);
    let memory = scene.stage.memory().await;
    assert_eq!((&memory["position"], &memory["failures"]), (&Value::Null, &json!(1)));
    assert!(memory["error"].as_str().unwrap().contains("500"), "{memory}");
    scene.hr.with(|hr| hr.fault = None);
    scene.hr.asked();
    assert_eq!(scene.poll().await, ["user.upsert u2", "user.upsert u3", "user.upsert u4"]);
    assert!(!scene.hr.asked()[0].contains_key("since"));
    assert_eq!(scene.stage.memory().await["failures"], 0);
}

#[tokio::test]
async fn a_source_that_asks_to_be_left_alone_is() {
    let scene = Scene::new(1).await;
    scene.hr.with(|hr| hr.fault = Some((0, 429, Some("900"))));
    let poller = scene.poller("one");
    let wait = poller.round().await.unwrap();
    assert_eq!(wait, Duration::from_mins(15));
    scene.stage.clock.advance(899);
    poller.round().await.unwrap();
    assert_eq!(scene.hr.asked().len(), 1, "it was left alone");
    scene.stage.clock.advance(1);
    poller.round().await.unwrap();
    assert_eq!(scene.hr.asked().len(), 1);
}

#[tokio::test]
async fn the_sources_own_clock_counts() {
    let scene = Scene::new(1).await;
    scene.hr.with(|hr| hr.now = at("2026-11-20T06:00:00Z"));
    scene.poll().await;
    scene.hr.with(|hr| hr.people.push(person("late", "2026-11-20T06:00:01Z")));
    assert_eq!(scene.poll().await, ["user.upsert late"]);
}

#[tokio::test]
async fn who_has_left_is_deleted_once() {
    let scene = Scene::new(2).await;
    scene.poll().await;
    let left = json!({"id": "u0", "state": "left", "updated": "2026-11-20T11:00:00Z"});
    scene.hr.with(|hr| hr.people[0] = left);
    assert_eq!(scene.poll().await, ["user.delete u0"]);
    assert_eq!(scene.poll().await, [""; 0]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stops_its_page_and_is_named() {
    let scene = Scene::new(3).await;
    scene.hr.with(|hr| hr.people[2]["id"] = json!({}));
    assert_eq!(scene.poll().await, ["user.upsert u0", "user.upsert u1"]);
    let error = scene.stage.memory().await["error"].as_str().unwrap().to_owned();
    assert!(error.contains("page 2") && error.contains("/people/0/id"), "{error}");
}

#[tokio::test]
async fn one_replica_polls_at_a_time() {
    let scene = Scene::new(1).await;
    let other = scene.stage.taker("two");
    other.hold().await.unwrap().unwrap();
    assert_eq!(scene.poll().await, [""; 0]);
    assert_eq!(scene.hr.asked().len(), 0);
    other.release().await.unwrap();
    assert_eq!(scene.poll().await, ["user.upsert u0"]);
    scene.poller("two").round().await.unwrap();
    assert_eq!(scene.hr.asked().len(), 1, "what one has just read the other need not");
}

#[tokio::test]
async fn who_is_missing_from_two_listings_in_a_row_leaves() {
    let scene = Scene::new(3).await.snapshots();
    assert_eq!(scene.poll().await.len(), 3);
    let gone = Arc::new(Mutex::new(Value::Null));
    scene.hr.with(|hr| *gone.lock().unwrap() = hr.people.remove(1));
    assert_eq!(scene.poll().await, [""; 0], "it may have moved between two pages");
    assert_eq!(scene.poll().await, ["user.delete u1"]);
    assert_eq!(scene.poll().await, [""; 0]);
    scene.hr.with(|hr| hr.people.push(gone.lock().unwrap().clone()));
    assert_eq!(scene.poll().await, ["user.upsert u1"], "who comes back is there again");
}

#[tokio::test]
async fn a_listing_that_breaks_off_removes_nobody() {
    let scene = Scene::new(6).await.snapshots();
    scene.poll().await;
    scene.hr.with(|hr| hr.fault = Some((1, 502, None)));
    for _ in 0..4 {
        assert_eq!(scene.poll().await, [""; 0]);
    }
    assert_eq!(scene.stage.memory().await["failures"], 4);
}

#[tokio::test]
async fn a_listing_that_is_held_keeps_no_change_back() {
    let scene = Scene::new(4).await.snapshots();
    scene.poll().await;
    scene.hr.with(|hr| hr.people = vec![person("new", "2026-11-20T11:00:00Z")]);
    assert_eq!(scene.poll().await, ["user.upsert new"]);
    scene.hr.with(|hr| hr.people.push(person("newer", "2026-11-20T11:00:00Z")));
    assert_eq!(scene.poll().await, ["user.upsert newer"]);
    let memory = scene.stage.memory().await;
    assert!(memory["error"].as_str().unwrap().contains("would remove 4 of 6"), "{memory}");
}

#[tokio::test]
async fn a_listing_that_lacks_too_many_waits_for_consent() {
    let scene = Scene::new(4).await.snapshots();
    scene.poll().await;
    scene.hr.with(|hr| hr.people.clear());
    for _ in 0..3 {
        assert_eq!(scene.poll().await, [""; 0]);
    }
    let error = scene.stage.memory().await["error"].as_str().unwrap().to_owned();
    assert!(error.contains("names nobody"), "{error}");
    scene.stage.clock.advance(7_200);
    scene.stage.consent_to(4).await;
    scene.poller("one").round().await.unwrap();
    assert_eq!(scene.stage.news().await.len(), 4);
}

#[tokio::test]
async fn of_a_record_that_is_named_twice_the_last_word_counts() {
    let stage = Stage::new();
    let taker = stage.taker("one");
    taker.hold().await.unwrap().unwrap();
    let id = ExternalId::parse("u-1").unwrap();
    let key = RecordKey { aspect: Aspect::User, id: id.clone() };
    let there = Operation::UserUpsert { id, attributes: Attributes::default() };
    let there = Said::new(Change { occurred_at: None, operation: there });
    let said = vec![there, Said::gone(&key, stage.clock.now())];
    assert_eq!(taker.take(said, 1, 0).await.unwrap(), 1);
    assert_eq!(stage.news().await, ["user.delete u-1"]);
}

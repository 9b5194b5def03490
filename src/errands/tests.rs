//! One source's errands against a provider that the tests play, on paused time.

mod providers;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tower::{ServiceExt as _, service_fn};

use crate::clock::{SharedClock, Timestamp, TokioClock};
use crate::directory::{ExternalId, ResourceKey};
use crate::errands::client::Client;
use crate::errands::runner::{Runner, run};
use crate::source::connectors::Provider;
use crate::source::{Expected, Kind, Options, PRESETS, Settings, Sources, Transmitter};
use crate::store::sqlite::SqliteStore;
use crate::store::{ErrandCounts, NewEvent, Page, Store, Topic};
use crate::target::layers::auth::Authorized;
use crate::target::{self, Answer, Auth, CallError, Profile, Target};
use crate::telemetry::metrics::{Metrics, ReadLabels, SubscriptionLabels};

const SOURCE: &str = "idp";
const BASE: &str = "https://idp.example/";
const START: Timestamp = Timestamp::from_seconds(1_790_000_000);

/// A provider whose answers a test gives, and what it was asked.
#[derive(Clone, Default)]
struct Idp(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    /// The answers to a path with its query, the last of which stays.
    answers: std::collections::BTreeMap<String, Vec<Reply>>,
    asked: Vec<String>,
    /// What was written, with the path.
    written: Vec<(String, Value)>,
}

#[derive(Clone)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Idp {
    fn answer(&self, path: &str, status: u16, body: Value) {
        self.answer_with(path, status, &[], body);
    }

    fn answer_with(&self, path: &str, status: u16, headers: &[(&'static str, &str)], body: Value) {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut script = self.0.lock().unwrap();
        script.answers.entry(path.to_owned()).or_default().push(Reply { status, headers, body });
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    /// The body that was written last under this method and path.
    fn written(&self, asked: &str) -> Value {
        let script = self.0.lock().unwrap();
        let (_, body) = script.written.iter().rev().find(|(path, _)| path == asked).unwrap();
        body.clone()
    }

    fn reply(&self, asked: &str) -> Response {
        let mut script = self.0.lock().unwrap();
        script.asked.push(asked.to_owned());
        let Some(replies) = script.answers.get_mut(asked) else {
            return (StatusCode::NOT_FOUND, "no such path").into_response();
        };
        let reply = if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() };
        let mut response = Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        response.body(Body::from(reply.body.to_string())).unwrap()
    }

    fn router(&self) -> Router {
        async fn serve(State(idp): State<Idp>, Path(_): Path<String>, request: Request) -> Response {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().unwrap().as_str().trim_start_matches('/');
            if parts.method == Method::GET {
                return idp.reply(path);
            }
            let asked = format!("{} {path}", parts.method);
            let body = to_bytes(body, usize::MAX).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            idp.0.lock().unwrap().written.push((asked.clone(), body));
            idp.reply(&asked)
        }
        Router::new().route("/{*path}", any(serve)).with_state(self.clone())
    }

    /// The provider behind the layers of a target.
    fn client(&self, clock: SharedClock, metrics: &Metrics) -> Client {
        let auth = Auth::Bearer { token: "token".into() };
        let settings = target::Settings::new(
            "sources.idp",
            BASE.parse().unwrap(),
            auth,
            Profile::builtin("rfc7644").unwrap(),
        );
        let router = self.router();
        let vendor = service_fn(move |request: Authorized| {
            let router = router.clone();
            async move {
                let uri = format!("/{}", request.call.path);
                let body = Body::from(request.call.body.unwrap_or_default());
                let request = Request::builder().method(request.call.method).uri(uri).body(body).unwrap();
                let response = router.oneshot(request).await.unwrap();
                let (parts, body) = response.into_parts();
                let headers: HeaderMap = parts.headers;
                let body = to_bytes(body, usize::MAX).await.unwrap();
                Ok::<_, CallError>(Answer { headers, body, ..Answer::new(parts.status) })
            }
        });
        let target = Target::connect(settings, clock, metrics).unwrap().played_by(vendor);
        Client::of(target, BASE.parse().unwrap())
    }
}

/// A source with a runner beside it.
struct Desk {
    idp: Idp,
    store: Arc<dyn Store>,
    sources: Arc<Sources>,
    clock: SharedClock,
    metrics: Metrics,
    wanted: Arc<Notify>,
    catch_up: Option<Duration>,
    subscription: Option<String>,
    stop: CancellationToken,
}

impl Desk {
    fn open(kind: &str, provider: Provider) -> Self {
        let desk = Self::closed(kind, provider, None);
        desk.start();
        desk
    }

    /// One whose runner has not begun.
    fn closed(kind: &str, provider: Provider, catch_up: Option<Duration>) -> Self {
        let preset = PRESETS.iter().find(|preset| preset.name == kind).unwrap();
        Self::of(Kind::Preset(preset, Options::default()), provider, catch_up)
    }

    fn of(kind: Kind, provider: Provider, catch_up: Option<Duration>) -> Self {
        let settings = Settings {
            name: SOURCE.to_owned(),
            kind,
            directory: "corp".to_owned(),
            secrets: vec!["secret".into()],
            intake_limit: None,
            body_bytes_max: 1 << 20,
            provider: Some(provider),
        };
        Self {
            idp: Idp::default(),
            store: Arc::new(SqliteStore::open_temporary().unwrap()),
            sources: Arc::new(Sources::open([settings]).unwrap()),
            clock: Arc::new(TokioClock::starting_at(START)),
            metrics: Metrics::new(),
            wanted: Arc::new(Notify::new()),
            catch_up,
            subscription: None,
            stop: CancellationToken::new(),
        }
    }

    fn start(&self) {
        tokio::spawn(run(self.runner(), self.stop.clone()));
    }

    /// Ends the runner, and begins another.
    fn restart(&mut self) {
        self.stop.cancel();
        self.stop = CancellationToken::new();
        self.start();
    }

    fn runner(&self) -> Runner {
        Runner {
            source: SOURCE.to_owned(),
            sources: Arc::clone(&self.sources),
            store: Arc::clone(&self.store),
            client: self.idp.client(Arc::clone(&self.clock), &self.metrics),
            clock: Arc::clone(&self.clock),
            accepted: Arc::new(Notify::new()),
            wanted: Arc::clone(&self.wanted),
            catch_up: self.catch_up,
            subscription: self.subscription.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// Stores a webhook of the source.
    async fn take_in(&self, body: &Value) {
        let event = NewEvent {
            source: SOURCE.to_owned(),
            directory: "corp".to_owned(),
            event_id: body["id"].as_str().unwrap().to_owned(),
            received_at: self.clock.now(),
            urgent: false,
            body: body.to_string().into_bytes(),
        };
        self.store.append(event).await.unwrap();
    }

    async fn want(&self, topic: &Topic) {
        self.store.want(SOURCE, topic, self.clock.now()).await.unwrap();
        self.wanted.notify_waiters();
    }

    async fn want_user(&self, id: &str) {
        self.want(&Topic::Record(ResourceKey::user(ExternalId::parse(id).unwrap()))).await;
    }

    async fn want_group(&self, id: &str) {
        self.want(&Topic::Record(ResourceKey::group(ExternalId::parse(id).unwrap()))).await;
    }

    async fn wait(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    async fn counts(&self) -> ErrandCounts {
        self.store.status().await.unwrap().errands.remove(SOURCE).unwrap_or_default()
    }

    fn counted(&self, outcome: &'static str) -> u64 {
        self.metrics.reads.get_or_create(&ReadLabels { source: SOURCE.to_owned(), outcome }).get()
    }

    /// Merges what was appended; what became of it, oldest first, as `operation id outcome`.
    async fn merged(&self) -> Vec<String> {
        while self.store.project(&*self.sources, 100).await.unwrap().more {}
        let Page { items, .. } = self.store.events(None, 1000).await.unwrap();
        let mut lines = Vec::new();
        for event in items.iter().rev() {
            let record = self.store.event(&event.event_id).await.unwrap().unwrap();
            let line = |change: &crate::store::ChangeRecord| {
                format!("{} {} {}", change.operation, change.key.id, change.outcome.as_str())
            };
            lines.extend(record.changes.iter().map(line));
        }
        lines
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn okta_user(status: &str, at: &str) -> Value {
    json!({"id": "u", "status": status, "lastUpdated": at, "profile": {"login": "ann", "email": "ann@acme.example"}})
}

fn okta_gone() -> Value {
    json!({"errorCode": "E0000007", "errorSummary": "Not found"})
}

#[tokio::test(start_paused = true)]
async fn what_was_read_becomes_an_event_of_the_source() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", "2026-08-20T10:00:00.000Z"));
    desk.want_user("u").await;
    desk.wait(2).await;
    assert_eq!(desk.merged().await, ["user.upsert u merged"]);
    assert_eq!((desk.counts().await, desk.counted("read")), (ErrandCounts::default(), 1));
}

#[tokio::test(start_paused = true)]
async fn where_a_whole_directory_was_deleted_who_is_gone_ends_and_who_is_there_stays() {
    let desk = Desk::open("workos", Provider::WorkOs);
    let user = |id: &str| {
        json!({"object": "directory_user", "id": id, "email": format!("{id}@acme.example"), "state": "active",
               "updated_at": "2026-08-20T10:00:00.000Z"})
    };
    let gone = || json!({"message": "Could not find user.", "code": "entity_not_found"});
    desk.idp.answer("directory_users/directory_user_gone", 404, gone());
    desk.idp.answer("directory_users/directory_user_there", 200, user("directory_user_there"));
    for (number, id) in ["directory_user_gone", "directory_user_there", "custom_1"].iter().enumerate() {
        let event = json!({"id": format!("event_{number}"), "event": "dsync.user.created", "data": user(id)});
        desk.take_in(&event).await;
    }
    desk.take_in(&json!({"id": "event_9", "event": "dsync.deleted", "data": {"id": "directory_1"}})).await;
    desk.merged().await;
    desk.wait(14 * 60).await;
    assert_eq!((desk.counted("everyone"), desk.counted("read")), (1, 0), "they are given time to be gone");
    desk.wait(2 * 60).await;
    assert_eq!((desk.counted("read"), desk.counted("deleted"), desk.counted("failed")), (1, 1, 0));
    let merged = desk.merged().await;
    assert_eq!(
        merged.last().map(String::as_str),
        Some("user.delete directory_user_gone merged"),
        "{merged:?}"
    );
    assert_eq!(desk.counts().await, ErrandCounts::default());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_read_late_does_not_undo_what_came_after_it() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.idp.answer("api/v1/users/u", 200, okta_user("DEPROVISIONED", "2026-08-20T10:00:09.000Z"));
    desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", "2026-08-20T10:00:00.000Z"));
    desk.want_user("u").await;
    desk.wait(2).await;
    desk.want_user("u").await;
    desk.wait(2).await;
    assert_eq!(desk.merged().await, ["user.upsert u merged", "user.upsert u superseded"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_readings_with_one_time_the_later_wins() {
    let desk = Desk::open("okta", Provider::Okta);
    let at = "2026-08-20T10:00:00.000Z";
    for _ in 0..8 {
        desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", at));
        desk.idp.answer("api/v1/users/u", 200, okta_user("SUSPENDED", at));
    }
    for count in 1..=8 {
        desk.want_user("u").await;
        desk.wait(2).await;
        assert_eq!(desk.merged().await, vec!["user.upsert u merged"; count]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_from_the_future_is_of_now() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", "2126-08-20T10:00:00.000Z"));
    desk.idp.answer("api/v1/users/u", 200, okta_user("SUSPENDED", "2126-08-20T10:00:00.000Z"));
    for count in 1..=2 {
        desk.want_user("u").await;
        desk.wait(2).await;
        assert_eq!(desk.merged().await, vec!["user.upsert u merged"; count]);
    }
}

#[tokio::test(start_paused = true)]
async fn absence_ends_a_user_only_when_it_is_said_twice() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.idp.answer("api/v1/users/u", 404, okta_gone());
    desk.want_user("u").await;
    desk.wait(20).await;
    assert_eq!(desk.merged().await, Vec::<String>::new());
    assert_eq!((desk.counts().await.records, desk.counted("absent")), (1, 1));
    desk.wait(20).await;
    assert_eq!(desk.merged().await, ["user.delete u merged"]);
    assert_eq!((desk.counts().await, desk.counted("deleted")), (ErrandCounts::default(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_user_who_appears_at_the_second_look_was_only_late() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.idp.answer("api/v1/users/u", 404, okta_gone());
    desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", "2026-08-20T10:00:00.000Z"));
    desk.want_user("u").await;
    desk.wait(60).await;
    assert_eq!(desk.merged().await, ["user.upsert u merged"]);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_leads_nowhere_ends_nobody_and_stays_visible() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.want_user("u").await;
    desk.wait(3600).await;
    assert_eq!(desk.merged().await, Vec::<String>::new());
    let counts = desk.counts().await;
    assert_eq!((counts.records, counts.failing), (1, 1));
    assert!(counts.failure.unwrap().contains("404"));
    let asked = desk.idp.asked().len();
    assert!((4..40).contains(&asked), "asked {asked} times in an hour");
}

#[tokio::test(start_paused = true)]
async fn a_group_comes_with_the_members_of_every_page_or_not_at_all() {
    let desk = Desk::open("okta", Provider::Okta);
    let record = json!({"id": "g", "lastUpdated": "2026-08-20T10:00:00Z", "profile": {"name": "Staff"}});
    let next = [("link", "<https://idp.example/api/v1/groups/g/users?after=x>; rel=\"next\"")];
    desk.idp.answer("api/v1/groups/g", 200, record);
    desk.idp.answer_with("api/v1/groups/g/users?limit=1000", 200, &next, json!([{"id": "a"}, {"id": "b"}]));
    desk.idp.answer("api/v1/groups/g/users?after=x", 500, json!({}));
    desk.idp.answer("api/v1/groups/g/users?after=x", 200, json!([{"id": "b"}, {"id": "c"}]));
    desk.want_group("g").await;
    desk.wait(1).await;
    assert_eq!(desk.merged().await, Vec::<String>::new(), "a part is nothing");
    desk.wait(10).await;
    assert_eq!(desk.merged().await, ["group.upsert g merged", "group.members g merged"]);
    let event = desk.store.events(None, 1).await.unwrap().items.remove(0);
    assert!(event.event_id.starts_with("read:"), "{}", event.event_id);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_goes_on_at_another_host_is_not_followed() {
    let desk = Desk::open("okta", Provider::Okta);
    let record = json!({"id": "g", "lastUpdated": "2026-08-20T10:00:00Z", "profile": {"name": "Staff"}});
    let next = [("link", "<https://evil.example/api/v1/groups/g/users?after=x>; rel=\"next\"")];
    desk.idp.answer("api/v1/groups/g", 200, record);
    desk.idp.answer_with("api/v1/groups/g/users?limit=1000", 200, &next, json!([{"id": "a"}]));
    desk.want_group("g").await;
    desk.wait(1).await;
    assert_eq!(desk.merged().await, Vec::<String>::new());
    assert!(desk.counts().await.failure.unwrap().contains("elsewhere"));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_wants_quiet_gets_it_from_every_errand() {
    let desk = Desk::open("okta", Provider::Okta);
    desk.idp.answer_with("api/v1/users/u", 429, &[("retry-after", "120")], json!({}));
    desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", "2026-08-20T10:00:00.000Z"));
    desk.idp.answer("api/v1/users/v", 200, okta_user("ACTIVE", "2026-08-20T10:00:00.000Z"));
    desk.want_user("u").await;
    desk.wait(2).await;
    desk.want_user("v").await;
    desk.wait(110).await;
    assert_eq!(desk.idp.asked(), ["api/v1/users/u"]);
    desk.wait(60).await;
    assert_eq!(desk.merged().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_loses_nothing() {
    let desk = Desk::open("okta", Provider::Okta);
    for _ in 0..12 {
        desk.idp.answer("api/v1/users/u", 503, json!({}));
    }
    desk.idp.answer("api/v1/users/u", 200, okta_user("ACTIVE", "2026-08-20T10:00:00.000Z"));
    desk.want_user("u").await;
    desk.wait(12 * 900).await;
    assert_eq!(desk.merged().await, ["user.upsert u merged"]);
    assert_eq!(desk.counts().await, ErrandCounts::default());
}

fn log_event(uuid: &str, kind: &str, at: &str, target: &Value) -> Value {
    json!({"uuid": uuid, "published": at, "eventType": kind, "outcome": {"result": "SUCCESS"}, "target": [target]})
}

const LOG: &str = "api/v1/logs?since=2026-09-21T14:13:20Z&sortOrder=ASCENDING&limit=1000&filter=eventType%20sw%20%22\
    user.lifecycle%22%20or%20eventType%20sw%20%22user.account.update%22%20or%20eventType%20sw%20%22group.%22\
    %20or%20eventType%20sw%20%22system.import.group%22";

#[tokio::test(start_paused = true)]
async fn what_was_missed_is_read_from_the_position_over_a_restart() {
    let mut desk = Desk::closed("okta", Provider::Okta, Some(Duration::from_hours(1)));
    let link = |after: &str| format!("<https://idp.example/api/v1/logs?after={after}>; rel=\"next\"");
    desk.idp.answer_with(LOG, 200, &[("link", &link("1"))], json!([]));
    desk.start();
    desk.wait(10).await;
    assert_eq!(desk.idp.asked(), [LOG], "an empty page is the end for now");

    let left = log_event(
        "e1",
        "user.lifecycle.deactivate",
        "2026-09-21T15:00:00Z",
        &json!({"id": "u", "type": "User"}),
    );
    let new =
        log_event("e2", "user.lifecycle.create", "2026-09-21T15:00:01Z", &json!({"id": "v", "type": "User"}));
    desk.idp.answer_with("api/v1/logs?after=1", 200, &[("link", &link("2"))], json!([left, new]));
    desk.idp.answer_with("api/v1/logs?after=2", 200, &[("link", &link("2"))], json!([]));
    desk.idp.answer("api/v1/users/v", 200, okta_user("ACTIVE", "2026-09-21T15:00:01.000Z"));
    desk.wait(6 * 3600).await;
    assert_eq!(desk.merged().await, ["user.deactivate u merged", "user.upsert v merged"]);
    let asked = desk.idp.asked().len();
    desk.restart();
    desk.wait(10).await;
    assert_eq!(desk.idp.asked()[asked..], ["api/v1/logs?after=2"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_is_forgotten_leads_to_everything() {
    let desk = Desk::closed("entra", Provider::Graph, Some(Duration::from_hours(1)));
    let delta = |stream: &str, token: &str| format!("https://idp.example/{stream}/delta?$deltatoken={token}");
    let users = "users/delta?$select=id,userPrincipalName,accountEnabled,displayName,givenName,surname,mail,\
        jobTitle,department,employeeId,preferredLanguage,businessPhones,mobilePhone";
    let groups = "groups/delta?$select=displayName,members";
    for (stream, first) in [("users", users), ("groups", groups)] {
        let empty = json!({"value": [], "@odata.deltaLink": delta(stream, "1")});
        desk.idp.answer(&format!("{first}&$deltatoken=latest"), 200, empty);
    }
    let gone = json!({"error": {"code": "resyncRequired"}});
    desk.idp.answer("users/delta?$deltatoken=1", 410, gone);
    let page = json!({
        "value": [{"id": "u", "userPrincipalName": "ann@acme.example", "accountEnabled": true}],
        "@odata.nextLink": "https://idp.example/users/delta?$skiptoken=2"
    });
    desk.idp.answer(users, 200, page);
    let page = json!({
        "value": [{"id": "w", "@removed": {"reason": "changed"}}], "@odata.deltaLink": delta("users", "2")
    });
    desk.idp.answer("users/delta?$skiptoken=2", 200, page);
    desk.idp.answer(
        "users/delta?$deltatoken=2",
        200,
        json!({"value": [], "@odata.deltaLink": delta("users", "2")}),
    );
    let page = json!({
        "value": [{"id": "g", "displayName": "Staff", "members@delta": [
            {"@odata.type": "#microsoft.graph.user", "id": "u"},
            {"@odata.type": "#microsoft.graph.user", "id": "w", "@removed": {"reason": "deleted"}},
            {"@odata.type": "#microsoft.graph.group", "id": "h"}
        ]}],
        "@odata.deltaLink": delta("groups", "2")
    });
    desk.idp.answer("groups/delta?$deltatoken=1", 200, page);
    desk.idp.answer(
        "groups/delta?$deltatoken=2",
        200,
        json!({"value": [], "@odata.deltaLink": delta("groups", "2")}),
    );
    desk.start();
    desk.wait(10).await;
    assert_eq!(desk.merged().await, Vec::<String>::new(), "the first position is now");
    desk.wait(3 * 3600).await;
    let mut merged = desk.merged().await;
    merged.sort();
    assert_eq!(
        merged,
        ["group.members g merged", "group.upsert g merged", "user.delete w merged", "user.upsert u merged"]
    );
    assert_eq!(desk.counted("begun_again"), 1);
}

const HOOK: &str = "https://relay.example/webhooks/idp";

fn subscription(id: &str, ends: &str) -> Value {
    json!({"id": id, "expirationDateTime": ends})
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_made_renewed_at_half_its_life_and_made_anew_once_it_is_gone() {
    let mut desk = Desk::closed("entra", Provider::Graph, None);
    desk.subscription = Some(HOOK.to_owned());
    // Four hours from the start, and from the first half of that: less than is asked for.
    desk.idp.answer("POST subscriptions", 503, json!({}));
    desk.idp.answer("POST subscriptions", 201, subscription("s-users", "2026-09-21T18:13:20Z"));
    desk.idp.answer("POST subscriptions", 201, subscription("s-groups", "2026-09-21T18:13:20Z"));
    desk.idp.answer("POST subscriptions", 201, subscription("s-groups-2", "2026-09-21T20:13:20Z"));
    desk.idp.answer("PATCH subscriptions/s-users", 200, subscription("s-users", "2026-09-21T20:13:20Z"));
    desk.start();
    desk.wait(60).await;
    let asked = desk.idp.asked();
    assert_eq!(asked, ["POST subscriptions"; 3], "one failure, then one for users and one for groups");
    assert_eq!(desk.counts().await.failing, 0);
    desk.wait(6600).await;
    assert_eq!(desk.idp.asked().len(), 3, "half a life is not over");
    desk.restart();
    desk.wait(60).await;
    assert_eq!(desk.idp.asked().len(), 3, "what is remembered holds over a restart");
    desk.wait(1200).await;
    assert_eq!(
        desk.idp.asked()[3..],
        [
            "PATCH subscriptions/s-users",
            "PATCH subscriptions/s-groups",
            "POST subscriptions",
            "DELETE subscriptions/s-groups"
        ],
        "one is renewed; the other was dropped by the provider"
    );
    let labels = SubscriptionLabels { source: SOURCE.to_owned(), subscription: "groups".to_owned() };
    let ends = desk.metrics.subscription_end_seconds.get_or_create(&labels).get();
    assert_eq!(ends, Timestamp::parse_rfc3339("2026-09-21T20:13:20Z").unwrap().as_seconds());
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_replaced_before_it_ends_and_the_old_one_stopped() {
    let mut desk = Desk::closed("google", Provider::Google, None);
    desk.subscription = Some(HOOK.to_owned());
    let watch = "POST admin/directory/v1/users/watch?customer=my_customer";
    for hours in [2, 6] {
        let ends = (START.as_seconds() + hours * 3600) * 1000;
        desk.idp.answer(watch, 200, json!({"resourceId": "r", "expiration": ends.to_string()}));
    }
    desk.idp.answer("POST admin/directory_v1/channels/stop", 204, json!({}));
    desk.start();
    desk.wait(60).await;
    assert_eq!(desk.idp.asked(), [watch]);
    desk.wait(3600).await;
    assert_eq!(desk.idp.asked()[1..], [watch, "POST admin/directory_v1/channels/stop"]);
}

#[tokio::test(start_paused = true)]
async fn a_log_by_checkpoint_is_read_from_its_newest_entry_on() {
    let desk = Desk::closed("auth0", Provider::Auth0, Some(Duration::from_hours(1)));
    let newest = "api/v2/logs?sort=date%3A-1&page=0&per_page=1";
    desk.idp.answer(newest, 200, json!([{"log_id": "900 1", "type": "s", "user_id": "auth0|x"}]));
    let link = |from: &str| format!("<https://idp.example/api/v2/logs?take=100&from={from}>; rel=\"next\"");
    let (first, second) = ("api/v2/logs?from=900%201&take=100", "api/v2/logs?take=100&from=9005");
    desk.idp.answer_with(first, 200, &[("link", &link("900%201"))], json!([]));
    desk.start();
    desk.wait(10).await;
    assert_eq!(desk.idp.asked(), [newest, first]);

    let call = |method: &str, path: &str, body: Value| {
        json!({"type": "sapi", "user_id": "auth0|admin", "log_id": "1",
        "details": {"request": {"method": method, "path": path}, "response": {"statusCode": 200, "body": body}}})
    };
    let entries = json!([
        {"type": "sdu", "user_id": "auth0|gone", "log_id": "9002"},
        call("patch", "/api/v2/users/auth0%7Cann", json!({})),
        call("post", "/api/v2/users", json!({"user_id": "auth0|new"})),
        call("get", "/api/v2/users/auth0%7Cread", json!({})),
        call("post", "/api/v2/clients", json!({"client_id": "c"})),
        {"type": "s", "user_id": "auth0|signed-in", "log_id": "9005"}
    ]);
    let onward = "api/v2/logs?take=100&from=900%201";
    desk.idp.answer_with(onward, 200, &[("link", &link("9005"))], entries);
    desk.idp.answer_with(second, 200, &[("link", &link("9005"))], json!([]));
    let user = |id: &str| json!({"user_id": id, "email": "a@acme.example", "updated_at": "2026-09-21T14:00:00.000Z"});
    desk.idp.answer("api/v2/users/auth0%7Cann", 200, user("auth0|ann"));
    desk.idp.answer("api/v2/users/auth0%7Cnew", 200, user("auth0|new"));
    desk.idp.answer("api/v2/users/auth0%7Cgone", 404, json!({"errorCode": "inexistent_user"}));
    desk.wait(3700).await;
    let mut merged = desk.merged().await;
    merged.sort();
    assert_eq!(
        merged,
        ["user.delete auth0|gone merged", "user.upsert auth0|ann merged", "user.upsert auth0|new merged"]
    );
    assert!(
        !desk.idp.asked().iter().any(|asked| asked.contains("auth0%7Cread")),
        "who was read has not changed"
    );
    desk.wait(3600).await;
    assert_eq!(desk.idp.asked().last().map(String::as_str), Some(second), "from where the log went on");
}

#[tokio::test(start_paused = true)]
async fn a_directory_without_a_record_of_changes_is_listed_and_tells_who_was_deleted() {
    let desk = Desk::closed("google", Provider::Google, Some(Duration::from_hours(1)));
    let users = "admin/directory/v1/users?customer=my_customer&projection=full&orderBy=email&maxResults=500";
    let deleted = "admin/directory/v1/users?customer=my_customer&showDeleted=true&maxResults=500";
    let groups = "admin/directory/v1/groups?customer=my_customer&maxResults=200";
    let person = |id: &str, suspended: bool| json!({"id": id, "primaryEmail": format!("{id}@acme.example"), "suspended": suspended});
    let page = |users: Value, token: Option<&str>| {
        let mut page = json!({"kind": "admin#directory#users", "users": users});
        if let Some(token) = token {
            page["nextPageToken"] = token.into();
        }
        page
    };
    desk.idp.answer(users, 200, page(json!([person("1", false)]), Some("a+b")));
    // A page's token has run out; the list begins anew.
    let second = format!("{users}&pageToken=a%2Bb");
    desk.idp.answer(&second, 400, json!({"error": {"code": 400, "errors": [{"reason": "invalid"}]}}));
    desk.idp.answer(users, 200, page(json!([person("1", true)]), Some("a+b")));
    desk.idp.answer(&second, 200, page(json!([person("2", false)]), None));
    let gone =
        json!([{"id": "3", "primaryEmail": "3@acme.example", "deletionTime": "2026-09-20T10:00:00.000Z"}]);
    desk.idp.answer(deleted, 200, page(gone, None));
    desk.idp.answer(groups, 200, json!({"kind": "admin#directory#groups", "groups": [{"id": "g"}]}));
    desk.idp.answer("admin/directory/v1/groups/g", 200, json!({"id": "g", "name": "Staff"}));
    let members = json!({"kind": "admin#directory#members", "members": [{"id": "2", "type": "USER"}]});
    desk.idp.answer("admin/directory/v1/groups/g/members?maxResults=200", 200, members);
    crate::store::advice::advise(&*desk.store, SOURCE, "a silence".to_owned(), START).await.unwrap();
    desk.start();
    desk.wait(30).await;
    assert_eq!(
        desk.merged().await,
        [
            "user.upsert 1 superseded",
            "user.upsert 1 merged",
            "user.upsert 2 merged",
            "user.delete 3 merged",
            "group.upsert g merged",
            "group.members g merged"
        ]
    );
    assert_eq!((desk.counts().await.failing, desk.counted("begun_again")), (0, 1));
    let advised = crate::store::advice::advice(&*desk.store, SOURCE).await.unwrap();
    assert_eq!(advised, None, "it was read as a whole");
}

/// A list is made from an index that may be behind: what was read of somebody since stands.
#[tokio::test(start_paused = true)]
async fn a_listing_that_is_behind_does_not_undo_what_was_read() {
    let desk = Desk::closed("google", Provider::Google, Some(Duration::from_hours(1)));
    let person =
        |suspended: bool| json!({"id": "1", "primaryEmail": "1@acme.example", "suspended": suspended});
    desk.idp.answer("admin/directory/v1/users/1?projection=full", 200, person(true));
    desk.idp.answer(
        "admin/directory/v1/users?customer=my_customer&projection=full&orderBy=email&maxResults=500",
        200,
        json!({"kind": "admin#directory#users", "users": [person(false)]}),
    );
    for (path, kind) in [
        ("users?customer=my_customer&showDeleted=true&maxResults=500", "users"),
        ("groups?customer=my_customer&maxResults=200", "groups"),
    ] {
        desk.idp.answer(
            &format!("admin/directory/v1/{path}"),
            200,
            json!({"kind": format!("admin#directory#{kind}")}),
        );
    }
    desk.want_user("1").await;
    desk.start();
    desk.wait(30).await;
    let mut merged = desk.merged().await;
    merged.sort();
    assert_eq!(merged, ["user.upsert 1 merged", "user.upsert 1 superseded"]);
}

#[tokio::test(start_paused = true)]
async fn a_realms_own_records_are_read_from_a_time_on() {
    let desk = Desk::closed("keycloak", Provider::Keycloak, Some(Duration::from_hours(1)));
    let from_ms = (START.as_seconds() - 300) * 1000;
    let admin = |from_ms: i64, first: usize| {
        format!(
            "admin-events?resourceTypes=USER&resourceTypes=GROUP&resourceTypes=GROUP_MEMBERSHIP&direction=asc&max=100\
             &dateFrom={from_ms}&first={first}"
        )
    };
    let own = |from_ms: i64| {
        format!(
            "events?type=REGISTER&type=UPDATE_PROFILE&type=UPDATE_EMAIL&type=DELETE_ACCOUNT&direction=asc&max=100\
             &dateFrom={from_ms}&first=0"
        )
    };
    let event = |time: i64, operation: &str, path: &str| json!({"time": time, "resourceType": "USER", "operationType": operation, "resourcePath": path});
    let mut page: Vec<Value> = (0..99).map(|_| event(from_ms, "ACTION", "users/x/reset-password")).collect();
    page.push(event(from_ms, "DELETE", "users/u"));
    desk.idp.answer(&admin(from_ms, 0), 200, json!(page));
    // As many at one time as a page has, so the next is told apart by offset.
    let mut page: Vec<Value> = (0..99).map(|_| event(from_ms, "ACTION", "users/x/logout")).collect();
    page.push(event(from_ms + 7, "DELETE", "users/v"));
    desk.idp.answer(&admin(from_ms, 100), 200, json!(page));
    let mut refused = event(from_ms + 8, "DELETE", "users/kept");
    refused["error"] = "not_allowed".into();
    desk.idp.answer(&admin(from_ms + 7, 0), 200, json!([event(from_ms + 7, "DELETE", "users/v"), refused]));
    desk.idp.answer(&own(from_ms), 200, json!([{"time": from_ms, "type": "DELETE_ACCOUNT", "userId": "w"}]));
    let remembered = json!({"path": own(from_ms)});
    desk.store.set_source_memory(SOURCE, "feed.events", &remembered).await.unwrap();
    desk.start();
    desk.wait(10).await;
    let mut merged = desk.merged().await;
    merged.sort();
    assert_eq!(
        merged,
        ["user.delete u merged", "user.delete v merged", "user.delete v unchanged", "user.delete w merged"]
    );
    let asked = desk.idp.asked().len();
    desk.wait(3700).await;
    let later = &desk.idp.asked()[asked];
    let next_ms: i64 = later.split("&dateFrom=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
    let now_ms = desk.clock.now().as_micros() / 1000;
    assert!(next_ms > from_ms && next_ms <= now_ms - 300_000, "the next reading overlaps this one: {later}");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_ends_a_subscription_before_its_time_gets_it_renewed_and_is_asked_what_was_missed() {
    let mut desk = Desk::closed("entra", Provider::Graph, Some(Duration::from_hours(24)));
    desk.subscription = Some(HOOK.to_owned());
    for (name, fields) in [
        (
            "users",
            "users/delta?$select=id,userPrincipalName,accountEnabled,displayName,givenName,surname,mail,\
        jobTitle,department,employeeId,preferredLanguage,businessPhones,mobilePhone",
        ),
        ("groups", "groups/delta?$select=displayName,members"),
    ] {
        let link = json!({"value": [], "@odata.deltaLink": format!("https://idp.example/{name}/delta?$deltatoken=1")});
        desk.idp.answer(&format!("{fields}&$deltatoken=latest"), 200, link.clone());
        desk.idp.answer(&format!("{name}/delta?$deltatoken=1"), 200, link);
        desk.idp.answer(
            "POST subscriptions",
            201,
            subscription(&format!("s-{name}"), "2026-10-19T14:13:20Z"),
        );
    }
    desk.idp.answer("POST subscriptions", 201, subscription("s-groups-2", "2026-10-19T14:13:20Z"));
    desk.idp.answer("PATCH subscriptions/s-users", 200, subscription("s-users", "2026-10-19T14:13:20Z"));
    desk.idp.answer("DELETE subscriptions/s-groups", 404, json!({}));
    desk.start();
    desk.wait(60).await;
    let asked = desk.idp.asked().len();

    // As the webhook of Graph's leaves it once it is merged.
    let body =
        json!({"value": [{"lifecycleEvent": "subscriptionRemoved", "clientState": "secret"}]}).to_string();
    let wanted = crate::store::EventReader::wanted(&*desk.sources, SOURCE, body.as_bytes());
    assert_eq!(wanted, [Topic::Renewal, Topic::Missed]);
    for topic in &wanted {
        desk.want(topic).await;
    }
    desk.wait(60).await;
    let mut asked = desk.idp.asked()[asked..].to_vec();
    asked.sort();
    asked.dedup();
    assert_eq!(
        asked,
        [
            "DELETE subscriptions/s-groups",
            "PATCH subscriptions/s-groups",
            "PATCH subscriptions/s-users",
            "POST subscriptions",
            "groups/delta?$deltatoken=1",
            "users/delta?$deltatoken=1"
        ],
        "one is renewed, one that is gone made anew, and the delta read"
    );
    let asked = desk.idp.asked().len();
    desk.wait(7200).await;
    assert_eq!(desk.idp.asked().len(), asked, "once, and not again and again");
}

const TRANSMITTER: &str = "https://idp.example/ssf";

fn transmitter(desk: &Desk) {
    let description = json!({
        "issuer": "https://idp.example", "configuration_endpoint": format!("{TRANSMITTER}/stream"),
        "status_endpoint": format!("{TRANSMITTER}/status"), "verification_endpoint": format!("{TRANSMITTER}/verify"),
    });
    desk.idp.answer(".well-known/ssf-configuration", 200, description);
}

fn ssf() -> Provider {
    Provider::Ssf(crate::source::connectors::Ssf { description: ".well-known/ssf-configuration".to_owned() })
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_made_kept_enabled_and_verified_and_made_anew_once_it_is_gone() {
    let mut desk = Desk::closed("okta", ssf(), None);
    desk.subscription = Some(HOOK.to_owned());
    transmitter(&desk);
    desk.idp.answer("POST ssf/stream", 201, json!({"stream_id": "s1", "inactivity_timeout": 7200}));
    desk.idp.answer("POST ssf/status", 200, json!({"stream_id": "s1", "status": "enabled"}));
    desk.idp.answer("POST ssf/verify", 204, Value::Null);
    desk.start();
    desk.wait(60).await;
    let description = ".well-known/ssf-configuration";
    assert_eq!(desk.idp.asked(), [description, "POST ssf/stream"]);
    desk.wait(3600).await;
    let once = [description, "POST ssf/status", "POST ssf/verify"];
    assert_eq!(desk.idp.asked()[2..], once, "at half of the time after which the transmitter forgets it");
    desk.wait(3600).await;
    assert_eq!(desk.idp.asked()[5..], once);

    desk.idp.answer("POST ssf/status", 404, json!({}));
    desk.idp.answer("POST ssf/stream", 201, json!({"stream_id": "s2"}));
    desk.idp.0.lock().unwrap().answers.get_mut("POST ssf/status").unwrap().remove(0);
    desk.idp.0.lock().unwrap().answers.get_mut("POST ssf/stream").unwrap().remove(0);
    desk.wait(3600).await;
    let anew = [description, "POST ssf/status", "POST ssf/stream", "DELETE ssf/stream?stream_id=s1"];
    assert_eq!(desk.idp.asked()[8..], anew);
    assert_eq!(desk.counts().await.failing, 0);
}

/// A keeper of a stream that is verified every hour, for a source of Security Event Tokens.
fn kept_stream() -> Desk {
    let expected = Expected { issuer: "https://idp.example".to_owned(), audiences: vec!["relay".to_owned()] };
    let keys = "https://idp.example/keys".parse().unwrap();
    let kind = Kind::ScimEvents(Box::new(Transmitter { expected, keys }));
    let mut desk = Desk::of(kind, ssf(), None);
    desk.subscription = Some(HOOK.to_owned());
    transmitter(&desk);
    desk.idp.answer("POST ssf/stream", 201, json!({"stream_id": "s1", "inactivity_timeout": 7200}));
    desk.idp.answer("POST ssf/status", 200, json!({"stream_id": "s1", "status": "enabled"}));
    desk.idp.answer("POST ssf/verify", 204, Value::Null);
    desk
}

impl Desk {
    /// Has the transmitter send a verification that bears this, as its webhook leaves it once it is merged.
    async fn verification(&self, state: &Value) {
        let claims = json!({
            "iss": "https://idp.example", "jti": "v", "iat": 1_790_000_000, "aud": "relay",
            "sub_id": {"format": "opaque", "id": "s1"},
            "events": {"https://schemas.openid.net/secevent/ssf/event-type/verification": {"state": state}},
        });
        let token = format!("e30.{}.e30", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let wanted = crate::store::EventReader::wanted(&*self.sources, SOURCE, token.as_bytes());
        assert_eq!(wanted.len(), 1);
        self.want(&wanted[0]).await;
        self.wait(2).await;
    }

    /// The word that the last verification was asked for with.
    fn asked_with(&self) -> Value {
        self.idp.written("POST ssf/verify")["state"].clone()
    }

    fn verifications(&self) -> (u64, u64) {
        (self.counted("verified"), self.counted("unasked_verification"))
    }
}

#[tokio::test(start_paused = true)]
async fn a_verification_shows_that_tokens_arrive_only_with_the_word_it_was_asked_for_with() {
    let desk = kept_stream();
    desk.start();
    desk.wait(3700).await;
    let word = desk.asked_with();
    for other in [json!("x"), Value::Null, json!("00000000-0000-4000-8000-000000000000")] {
        desk.verification(&other).await;
    }
    assert_eq!((desk.verifications(), desk.counts().await.failing), ((0, 3), 0));
    desk.wait(15 * 60).await;
    let counts = desk.counts().await;
    assert!(counts.failure.unwrap().contains("hear the event that was asked for"), "it has not come");

    desk.verification(&word).await;
    desk.wait(15 * 60).await;
    assert_eq!((desk.verifications(), desk.counts().await.failing), ((1, 3), 0), "it has");
    desk.wait(3600).await;
    assert_ne!(desk.asked_with(), word, "each is asked for with a word of its own");
    desk.verification(&word).await;
    assert_eq!(desk.verifications(), (1, 4), "an old one shows nothing");
}

#[tokio::test(start_paused = true)]
async fn what_a_verification_is_to_bear_outlives_a_restart() {
    let mut desk = kept_stream();
    desk.start();
    desk.wait(3700).await;
    let word = desk.asked_with();
    desk.restart();
    desk.verification(&word).await;
    assert_eq!(desk.verifications(), (1, 0));
    desk.wait(3300).await;
    assert_eq!(desk.counts().await.failing, 0);
}

#[tokio::test(start_paused = true)]
async fn a_verification_of_a_stream_that_is_gone_is_awaited_no_longer() {
    let desk = kept_stream();
    desk.start();
    desk.wait(3700).await;
    desk.wait(15 * 60).await;
    assert_eq!(desk.counts().await.failing, 1);
    desk.idp.answer("POST ssf/status", 404, json!({}));
    desk.idp.answer("POST ssf/stream", 201, json!({"stream_id": "s2", "inactivity_timeout": 7200}));
    for path in ["POST ssf/status", "POST ssf/stream"] {
        desk.idp.0.lock().unwrap().answers.get_mut(path).unwrap().remove(0);
    }
    desk.wait(3600).await;
    assert_eq!(desk.counts().await.failing, 0, "of the new one nothing was asked yet");
}

#[tokio::test(start_paused = true)]
async fn a_transmitter_that_grants_one_stream_only_has_it_turned_to_the_relay() {
    let mut desk = Desk::closed("okta", ssf(), None);
    desk.subscription = Some(HOOK.to_owned());
    transmitter(&desk);
    desk.idp.answer("POST ssf/stream", 409, json!({}));
    desk.idp.answer(
        "ssf/stream",
        200,
        json!([{"stream_id": "s0", "delivery": {"endpoint_url": "https://old.example"}}]),
    );
    desk.idp.answer("PATCH ssf/stream", 200, json!({"stream_id": "s0"}));
    desk.start();
    desk.wait(60).await;
    assert_eq!(
        desk.idp.asked(),
        [".well-known/ssf-configuration", "POST ssf/stream", "ssf/stream", "PATCH ssf/stream"]
    );
    assert_eq!(desk.counts().await.failing, 0);
}

#[tokio::test(start_paused = true)]
async fn a_description_that_leads_elsewhere_is_not_followed() {
    let mut desk = Desk::closed("okta", ssf(), None);
    desk.subscription = Some(HOOK.to_owned());
    let description = json!({"configuration_endpoint": "https://evil.example/ssf/stream"});
    desk.idp.answer(".well-known/ssf-configuration", 200, description);
    desk.start();
    desk.wait(60).await;
    assert!(desk.idp.asked().iter().all(|asked| asked == ".well-known/ssf-configuration"));
    assert!(desk.counts().await.failure.unwrap().contains("elsewhere"));
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_has_not_sent_and_nobody_can_read_is_told() {
    let desk = Desk::open("entra", Provider::Graph);
    desk.want(&Topic::Missed).await;
    desk.wait(5).await;
    let advice = crate::store::advice::advice(&*desk.store, SOURCE).await.unwrap().unwrap();
    assert!(advice.reason.contains("no catch_up"), "{}", advice.reason);
    assert_eq!(desk.idp.asked(), Vec::<String>::new());
}

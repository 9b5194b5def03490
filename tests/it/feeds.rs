//! Sources that post no webhooks: one that is polled, one that drops files; each to a vendor.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::eventually;
use crate::support::relay::{Home, JsonValue as _, Relay, SECRET, TargetSetup, now_seconds, signed_headers};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);
const RULES: &str = r#"
[[sources.people.rules]]
types = ["left"]
change = "user.delete"
id = "/id"
[[sources.people.rules]]
types = ["*"]
change = "user.upsert"
id = "/id"
attributes = { userName = "/email", active = "/active" }
active_when = ["yes"]
"#;

async fn start(source: &str) -> (Sandbox, Home, Relay) {
    start_guarded(source, "guard = false").await
}

async fn start_guarded(source: &str, guard: &'static str) -> (Sandbox, Home, Relay) {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_guard(guard)]);
    home.append(&format!("\n[sources.people]\n{source}{RULES}"));
    let relay = home.start().await;
    (sandbox, home, relay)
}

async fn held(sandbox: &Sandbox, what: &str, wanted: impl Fn(&[Value]) -> bool) {
    eventually(what, LIMIT, async || wanted(&sandbox.users().await).then_some(())).await;
}

fn active(users: &[Value]) -> usize {
    users.iter().filter(|user| user["active"] == true).count()
}

type People = Arc<Mutex<Vec<Value>>>;

async fn hr_system(people: People) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/people", listener.local_addr().unwrap());
    let list = async |State(people): State<People>| Json(json!({"people": people.lock().unwrap().clone()}));
    let app = Router::new().route("/people", get(list)).with_state(people);
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_hr_system_lists_reaches_a_vendor_and_so_does_who_has_left() {
    let person = |id: &str, status: &str| json!({"id": id, "email": format!("{id}@x.example"), "active": "yes", "status": status});
    let people: People = Arc::new(Mutex::new(vec![person("p1", "here"), person("p2", "here")]));
    let url = hr_system(Arc::clone(&people)).await;
    let (sandbox, _home, relay) = start(&format!(
        "kind = \"poll\"\nurl = \"{url}\"\nlist = \"/people\"\nrecord_type = \"/status\"\nevery = \"10s\"\n"
    ))
    .await;
    held(&sandbox, "both are there", |users| active(users) == 2).await;
    people.lock().unwrap()[0] = person("p1", "left");
    held(&sandbox, "one has left", |users| active(users) == 1).await;
    let metrics = relay.metrics().await;
    assert!(metrics.count("scim_relay_polls_total", &[("source", "people"), ("outcome", "ok")]) >= 2);
    assert!(metrics.value("scim_relay_poll_last_success_timestamp_seconds", &[("source", "people")]) > 1e9);
    let feed = relay.admin("/sources/people/feed").await;
    assert_eq!((&feed["memory"]["failures"], &feed["memory"]["records"]), (&json!(0), &json!(2)), "{feed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hr_system_that_says_that_everyone_has_left_ends_little_before_a_person_agrees() {
    let all = |status: &str| -> Vec<Value> {
        let person = |n| json!({"id": format!("p{n}"), "email": format!("p{n}@x.example"), "active": "yes", "status": status});
        (0..12).map(person).collect()
    };
    let people: People = Arc::new(Mutex::new(all("here")));
    let url = hr_system(Arc::clone(&people)).await;
    let source = format!(
        "kind = \"poll\"\nurl = \"{url}\"\nlist = \"/people\"\nrecord_type = \"/status\"\nevery = \"10s\"\n"
    );
    let guard = "guard = { max_destructive = 2, always_allowed = 2 }";
    let (sandbox, _home, relay) = start_guarded(&source, guard).await;
    held(&sandbox, "all are there", |users| active(users) == 12).await;
    *people.lock().unwrap() = all("left");
    held(&sandbox, "few have left", |users| active(users) == 10).await;
    relay.until("acme", "the rest are held", LIMIT, |counts| counts["held"] == 10).await;
    relay.quiet("acme", LIMIT).await;
    assert_eq!(active(&sandbox.users().await), 10);
    let holds = relay.items("/holds").await;
    assert_eq!((holds.len(), &holds[0]["state"]), (1, &json!("open")), "{holds:?}");
}

fn csv(count: usize) -> String {
    (0..count).fold("id;email;active\n".to_owned(), |mut text, number| {
        writeln!(text, "p{number};p{number}@x.example;yes").unwrap();
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_a_dropped_file_is_at_the_vendor_and_who_is_not_loses_access() {
    let folder = tempfile::tempdir().unwrap();
    let (sandbox, _home, relay) = start(&format!(
        "kind = \"file\"\npath = \"{}\"\nformat = \"csv\"\ndelimiter = \";\"\nevery = \"1s\"\n",
        folder.path().display()
    ))
    .await;
    let drop = |text: String| std::fs::write(folder.path().join("people.csv"), text).unwrap();
    drop(csv(20));
    held(&sandbox, "all are there", |users| active(users) == 20).await;
    drop(csv(19));
    held(&sandbox, "one has left", |users| active(users) == 19).await;

    drop(csv(1));
    let refused = folder.path().join("refused/3-people.csv.reason.txt");
    let reason = eventually("it is refused", LIMIT, async || std::fs::read_to_string(&refused).ok()).await;
    assert!(reason.contains("would remove 18 of 19"), "{reason}");
    relay.quiet("acme", LIMIT).await;
    assert_eq!(active(&sandbox.users().await), 19, "nothing has changed");
    relay.act("/sources/people/consent?removals=18").await;
    drop(csv(1));
    held(&sandbox, "it is taken with consent", |users| active(users) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_posted_when_it_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (sandbox, _home, relay) = start(&format!(
        "kind = \"file\"\npath = \"{}\"\nformat = \"csv\"\ndelimiter = \";\"\nevery = \"1s\"\nmax_size = 4096\n\
         secrets = [\"{SECRET}\"]\n",
        folder.path().display()
    ))
    .await;
    let client = crate::support::http_client();
    let post = async |media: &str, signed: &str, sent: String| {
        let headers = signed_headers(SECRET, "file-1", now_seconds(), signed.as_bytes());
        let mut request = client.post(format!("{}/webhooks/people", relay.url)).header("content-type", media);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(sent).send().await.unwrap()
    };
    assert_eq!(post("text/csv", "another", csv(3)).await.status(), 401);
    assert_eq!(post("application/json", &csv(3), csv(3)).await.status(), 415);
    assert_eq!(post("text/csv", &csv(900), csv(900)).await.status(), 413);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left of what was refused");
    let answer = post("text/csv; charset=utf-8", &csv(3), csv(3)).await;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json_value().await["event_id"], "file-1");
    held(&sandbox, "all are there", |users| active(users) == 3).await;
}

//! The console as a person uses it: a real browser, the built program, and vendors that make trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use reqwest::Method;
use scim_relay::sandbox::Behaviour;
use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::http_client;
use crate::support::relay::{ADMIN_KEY, Home, Relay, TargetSetup};
use crate::support::sandbox::{Sandbox, TOKEN};

const LIMIT: Duration = Duration::from_mins(1);
/// Texts that would be scripts, were they ever markup: a name, and the vendor's reason.
const HOSTILE_NAME: &str = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>";
const HOSTILE_REASON: &str =
    "<svg onload=\"window.hacked=2\"></svg> <b>no</b> <script>window.hacked=2</script>";
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// A vendor that does as it is told: `LOCKED` refuses the relay, `REFUSING` every user, `TAKING` none.
struct Vendor {
    mood: Arc<AtomicU8>,
    base_url: String,
}

const LOCKED: u8 = 0;
const REFUSING: u8 = 1;
const TAKING: u8 = 2;

impl Vendor {
    async fn start() -> Self {
        let mood = Arc::new(AtomicU8::new(LOCKED));
        let users = get(find).post(create);
        let router = axum::Router::new().route("/Users", users.clone()).route("/Groups", users);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let router = router.with_state(mood.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { mood, base_url }
    }

    fn becomes(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

async fn find(State(mood): State<Arc<AtomicU8>>) -> impl IntoResponse {
    if mood.load(Ordering::SeqCst) == LOCKED {
        return error(StatusCode::UNAUTHORIZED, "the token has ended");
    }
    let list = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": []});
    scim(StatusCode::OK, &list)
}

async fn create(State(mood): State<Arc<AtomicU8>>, body: String) -> impl IntoResponse {
    match mood.load(Ordering::SeqCst) {
        LOCKED => error(StatusCode::UNAUTHORIZED, "the token has ended"),
        REFUSING => error(StatusCode::BAD_REQUEST, HOSTILE_REASON),
        _ => {
            let mut user: Value = serde_json::from_str(&body).unwrap();
            user["id"] = json!("their-1");
            scim(StatusCode::CREATED, &user)
        }
    }
}

fn error(status: StatusCode, detail: &str) -> axum::response::Response {
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.as_str(), "detail": detail});
    scim(status, &body)
}

fn scim(status: StatusCode, body: &Value) -> axum::response::Response {
    (status, [(header::CONTENT_TYPE, "application/scim+json")], body.to_string()).into_response()
}

fn hire(number: usize, display_name: &str) -> Value {
    let address = format!("u{number}@example.com");
    json!({"op": "user.upsert", "id": format!("u-{number}"), "attributes": {
        "userName": address, "displayName": display_name, "active": true, "title": "Clerk",
        "emails": [{"value": address, "type": "work", "primary": true}]}})
}

async fn hire_people(relay: &Relay, people: usize) {
    let changes: Value = (0..people).map(|number| hire(number, &format!("Person {number}"))).collect();
    relay.changes("evt-hire", &changes).await;
}

/// A browser on the console, with nobody signed in.
async fn open(relay: &Relay) -> Browser {
    let browser = Browser::start().await;
    browser.go(&format!("{}/console", relay.admin_url)).await;
    browser.sees(&["Sign in", "Admin key"]).await;
    browser
}

/// Puts another key in the place of the one that was typed.
async fn hold_key(browser: &Browser, key: &str) {
    browser.script("sessionStorage.setItem('scim-relay-key', arguments[0])", &[json!(key)]).await;
}

async fn assert_nothing_ran(browser: &Browser) {
    let ran = browser.script(
        "return [window.hacked ?? 0, document.querySelectorAll('main img, main svg, main script').length]",
        &[],
    );
    assert_eq!(ran.await, json!([0, 0]), "a text of others has become markup");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_seen_and_what_is_parked_is_retried_and_hostile_words_stay_words() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let vendor = Vendor::start().await;
    let targets = [
        TargetSetup::new("acme", sandbox.base_url(), TOKEN),
        TargetSetup::new("globex", vendor.base_url.clone(), TOKEN),
    ];
    let home = Home::new(&targets);
    let relay = home.start().await;
    relay.changes("evt-1", &json!([hire(1, HOSTILE_NAME)])).await;
    relay.quiet("acme", LIMIT).await;
    let browser = open(&relay).await;

    browser.enter("Admin key", "not-a-key").await;
    browser.sees(&["The relay does not know this key."]).await;
    browser.enter("Admin key", ADMIN_KEY).await;
    browser.sees(&["1 of 2", "acme", "Healthy", "globex", "Suspended"]).await;

    // The target's own page says why, and resumes it once the vendor lets the relay in.
    browser.press("globex").await;
    browser.sees(&["Backlog by lane", "Leavers", "401", "Resume"]).await;
    vendor.becomes(REFUSING);
    browser.press("Resume").await;
    browser.sees(&["globex is sent to again."]).await;
    browser.sees(&["1 row parked"]).await;

    browser.press("Parked").await;
    browser.sees(&["u-1", HOSTILE_REASON, "Retry"]).await;
    assert_nothing_ran(&browser).await;

    // A person is found by address, and the story names what came in and what the vendor said.
    browser.press("People").await;
    browser.enter("User id, vendor’s id, user name or e-mail", "U1@Example.com").await;
    browser
        .sees(&[
            HOSTILE_NAME,
            HOSTILE_REASON,
            "Now",
            "Parked until a person retries it",
            "What happened",
            "hr said user.upsert",
            "POST Users",
        ])
        .await;
    assert_nothing_ran(&browser).await;

    vendor.becomes(TAKING);
    browser.press("Parked").await;
    browser.press("Retry u-1").await;
    browser.sees(&["u-1 will be tried again."]).await;
    browser.sees(&["Nothing is parked for globex."]).await;
    relay.quiet("globex", LIMIT).await;
    assert!(relay.story("user:u-1").await.contains(&"create applied".to_owned()));

    // Small screens, and no mouse: the first Tab leads past the navigation.
    browser.width(400).await;
    browser.press("Targets").await;
    browser.sees(&["2 of 2"]).await;
    let widths =
        browser.script("return [document.documentElement.scrollWidth, window.innerWidth]", &[]).await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "it is wider than the screen: {widths}");
    browser.go(&format!("{}/console/#/holds", relay.admin_url)).await;
    browser.script("location.reload()", &[]).await;
    browser.sees(&["Nothing is held."]).await;
    browser.keys(&String::from_iter([TAB, ENTER, TAB])).await;
    let focused =
        browser.script("return document.getElementById('main').contains(document.activeElement)", &[]).await;
    assert_eq!(focused, true, "the skip link leads to the content");
    assert_eq!(relay.terminate().await, Some(0));
    browser.sees(&["The relay does not answer."]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_named_with_the_reason_and_a_group_has_a_story_too() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    let nameless =
        json!({"op": "user.upsert", "id": "u-2", "attributes": {"title": "Clerk", "active": true}});
    let group = json!({"op": "group.upsert", "id": "g-1", "attributes": {"displayName": "Agents"}});
    let members = json!({"op": "group.members", "id": "g-1", "add": ["u-1", "u-2"]});
    relay.changes("evt-1", &json!([hire(1, "Jane"), nameless, group, members])).await;
    let status = relay.quiet("acme", LIMIT).await["targets"]["acme"].clone();
    assert_eq!((&status["waiting"], &status["waiting_members"]), (&json!(1), &json!(1)), "{status}");
    let waiting = relay.items("/targets/acme/waiting").await;
    let named: Vec<_> = waiting.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(named, ["user:u-2", "member:3:g-1:u-2"]);
    assert_eq!(waiting[0]["reason"], "the directory does not know the userName yet");

    let browser = open(&relay).await;
    browser.enter("Admin key", ADMIN_KEY).await;
    browser.sees(&["1 of 1", "acme", "Healthy"]).await;
    browser.press("2 waiting for acme").await;
    browser
        .sees(&[
            "Waiting for acme",
            "in group g-1",
            "the vendor has no account for this member yet",
            "the directory does not know the userName yet",
        ])
        .await;
    browser.press("People").await;
    browser.enter("User id, vendor’s id, user name or e-mail", "u-1").await;
    browser.sees(&["Jane", "belongs to g-1"]).await;
    browser.press("g-1").await;
    browser.sees(&["Group g-1", "Is to be there.", "hr said group.upsert", "POST Groups"]).await;
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_approved_by_who_may_and_only_read_by_who_may_not() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let guard = "guard = { max_destructive = 1, always_allowed = 1 }";
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN).with_guard(guard)]);
    let relay = home.start().await;
    hire_people(&relay, 4).await;
    relay.quiet("acme", LIMIT).await;
    let leave: Value = (0..4).map(|n| json!({"op": "user.deactivate", "id": format!("u-{n}")})).collect();
    relay.changes("evt-leave", &leave).await;
    relay.until("acme", "three are held", LIMIT, |status| status["held"] == 3).await;
    let browser = open(&relay).await;

    let reader = format!("{ADMIN_KEY}-to-look");
    browser.enter("Admin key", &reader).await;
    browser.sees(&["looker viewer", "3 changes", "held until somebody decides"]).await;
    browser.press("Holds").await;
    browser.press("acme #1").await;
    browser.sees(&["may without a person", "deactivate"]).await;
    for lever in ["Approve all 3 …", "Reject all 3 …"] {
        assert!(!browser.offers(lever).await, "a reader is offered {lever}");
    }
    browser.press("Sign out").await;
    browser.sees(&["Admin key"]).await;
    browser.enter("Admin key", ADMIN_KEY).await;

    // A key that has lost its role since is told so in words.
    browser.sees(&["Approve all 3 …"]).await;
    hold_key(&browser, &reader).await;
    browser.press("Approve all 3 …").await;
    browser.press("Approve").await;
    browser.sees(&["Your key may look, and this acts. It takes the key of an operator."]).await;
    hold_key(&browser, ADMIN_KEY).await;

    let chosen = browser
        .script("return document.querySelector('input[type=checkbox]').getAttribute('aria-label')", &[]);
    let chosen = chosen.await.as_str().unwrap().to_owned();
    browser.press(&chosen).await;
    browser.press("Reject 1 chosen item …").await;
    browser.enter("Why, for the ledger", "still employed").await;
    browser.sees(&["Rejected: 1 item"]).await;
    browser.press("Approve all 2 …").await;
    browser.enter("Why, for the ledger", "the plant is closed").await;
    browser.sees(&["Approved: 2 items"]).await;
    relay.quiet("acme", LIMIT).await;
    let active = sandbox.users().await.into_iter().filter(|user| user["active"] == true).count();
    assert_eq!(active, 1, "who was rejected keeps the access, and the others do not");
    let kept = chosen.trim_start_matches("Choose ");
    let reasons = relay.items(&format!("/ledger?outcome=rejected&resource={kept}")).await;
    assert!(reasons[0]["detail"].as_str().unwrap().ends_with("by tests: still employed"), "{reasons:?}");
    assert_eq!(relay.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drift_report_is_read_by_class_and_attribute_and_taken_along() {
    let sandbox = Sandbox::start(Behaviour::default(), &[]).await;
    let home = Home::new(&[TargetSetup::new("acme", sandbox.base_url(), TOKEN)]);
    let relay = home.start().await;
    hire_people(&relay, 6).await;
    relay.quiet("acme", LIMIT).await;
    edit(&sandbox, "u-1", Method::PATCH).await;
    edit(&sandbox, "u-2", Method::DELETE).await;
    let browser = open(&relay).await;
    browser.enter("Admin key", ADMIN_KEY).await;

    browser.press("Drift").await;
    browser.sees(&["by the newest comparison of each target"]).await;
    browser.press("acme").await;
    browser.sees(&["acme has not been compared yet."]).await;
    browser.press("Compare now").await;
    browser.sees(&["The comparison begins."]).await;
    browser.sees(&["Complete", "2 differences", "By attribute", "u-1", "u-2"]).await;

    browser.press("Users").await;
    browser.press("Differs: 1").await;
    browser.sees(&["differs alone"]).await;
    browser.sees_no_more("u-2").await;
    browser.press("Show all").await;
    browser.sees(&["u-1", "u-2"]).await;
    browser.press("title: 1").await;
    browser.sees(&["title alone", "u-1"]).await;
    browser.sees_no_more("u-2").await;

    browser.press("Download CSV").await;
    let (name, text) = browser.downloaded().await;
    assert!(name.starts_with("drift-acme-"), "{name}");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains(",u-1,u1@example.com,"), "{text}");
    assert_eq!(relay.terminate().await, Some(0));
}

/// What somebody does at the vendor's own console.
async fn edit(sandbox: &Sandbox, external_id: &str, method: Method) {
    let user = sandbox.user(external_id).await;
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "path": "title", "value": "King"}]});
    let request = http_client()
        .request(method.clone(), format!("{}/Users/{}", sandbox.base_url(), user["id"].as_str().unwrap()))
        .bearer_auth(TOKEN)
        .header("content-type", "application/scim+json");
    let request = if method == Method::PATCH { request.body(body.to_string()) } else { request };
    assert!(request.send().await.unwrap().status().is_success());
}

//! The assembled stack against a vendor on a real port.

use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::{Service as _, ServiceExt as _};
use url::Url;

use super::layers::breaker::BreakerState;
use super::*;
use crate::clock::SystemClock;
use crate::scim::etag::ETag;
use crate::target::profile::{CredentialStyle, Limits};
use crate::target::verdict::Mend;

/// What the vendor was sent.
#[derive(Clone, Debug)]
struct Seen {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

type Script = Box<dyn Fn(&Seen, usize) -> Response + Send + Sync>;

/// A vendor that notes what it is sent and answers by script: request and its number, from 0.
#[derive(Clone)]
struct Vendor {
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<Script>,
    url: Url,
}

impl Vendor {
    async fn start(script: impl Fn(&Seen, usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/scim/v2", listener.local_addr().unwrap()).parse().unwrap();
        let vendor = Self { seen: Arc::default(), script: Arc::new(Box::new(script)), url };
        let router = Router::new().fallback(play).with_state(vendor.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        vendor
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn target(&self) -> Target {
        self.target_with(|_| {})
    }

    fn target_with(&self, change: impl FnOnce(&mut Settings)) -> Target {
        let mut settings = settings(self.url.clone());
        change(&mut settings);
        connect(settings)
    }

    /// Tokens from this vendor's own `/token`.
    fn oauth(&self, style: CredentialStyle) -> Auth {
        let mut token_url = self.url.clone();
        token_url.set_path("/token");
        Auth::OAuth2(OAuth2 {
            token_url,
            client_id: "client".to_owned(),
            client_secret: "hunter2".into(),
            scopes: vec!["scim:read".to_owned(), "scim:write".to_owned()],
            style,
            expiry_margin: Duration::from_mins(1),
        })
    }
}

async fn play(State(vendor): State<Vendor>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let seen = Seen { method: parts.method, path, headers: parts.headers, body };
    let number = {
        let mut all = vendor.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    (vendor.script)(&seen, number)
}

fn settings(url: Url) -> Settings {
    let profile = Profile::builtin("rfc7644").unwrap();
    let mut settings = Settings::new("vendor", url, Auth::Bearer { token: "secret".into() }, profile);
    settings.limits = Limits { rate_per_second: Some(1_000.0), ..settings.limits };
    settings.timeout = Duration::from_secs(5);
    settings
}

fn connect(settings: Settings) -> Target {
    Target::connect(settings, Arc::new(SystemClock), &Metrics::new()).unwrap()
}

fn fetch(target: &Target) -> Call {
    requests::fetch(target.profile(), Kind::User, "42").unwrap()
}

fn create(target: &Target) -> Call {
    requests::create(target.profile(), Kind::User, &serde_json::json!({"userName": "jane"}))
}

async fn send(target: &Target, call: Call) -> Result<Answer, CallError> {
    target.stack().ready().await.unwrap().call(call).await
}

async fn judged(target: &Target, call: Call) -> Verdict {
    let facts = CallFacts::from(&call);
    let outcome = send(target, call).await;
    judge(target.profile(), &facts, outcome.as_ref())
}

fn json(status: u16, body: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/scim+json")], body.to_owned()).into_response()
}

fn user() -> Response {
    json(200, r#"{"id":"42"}"#)
}

#[tokio::test]
async fn a_call_goes_out_as_the_profile_says() {
    let vendor = Vendor::start(|_, _| {
        ([("etag", "W/\"8\""), ("location", "https://v.example/Users/42")], "{\"id\":\"42\"}").into_response()
    })
    .await;
    let target = vendor.target();
    let etag = ETag::parse("W/\"7\"").unwrap();
    let call = requests::replace(
        target.profile(),
        Kind::User,
        "a/b",
        &serde_json::json!({"active": true}),
        Some(&etag),
    )
    .unwrap();
    let answer = send(&target, call).await.unwrap();
    assert_eq!((answer.status, answer.etag), (StatusCode::OK, ETag::parse("W/\"8\"")));
    assert_eq!(answer.location.as_deref(), Some("https://v.example/Users/42"));

    let seen = &vendor.seen()[0];
    let header = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap());
    assert_eq!((&seen.method, seen.path.as_str()), (&Method::PUT, "/scim/v2/Users/a%2Fb"));
    assert_eq!(&seen.body[..], b"{\"active\":true}");
    assert_eq!(header("authorization"), Some("Bearer secret"));
    assert_eq!(header("if-match"), Some("W/\"7\""));
    assert_eq!(header("content-type"), Some("application/scim+json"));
    assert_eq!(header("accept"), Some("application/scim+json, application/json"));
    assert_eq!(header("user-agent"), Some(concat!("scim-relay/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn a_429_pauses_every_stack_for_as_long_as_it_says() {
    let vendor = Vendor::start(|_, number| match number {
        0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        _ => user(),
    })
    .await;
    let target = vendor.target();
    let began = Instant::now();
    let retry_after = Some(Duration::from_secs(1));
    assert_eq!(judged(&target, fetch(&target)).await, Verdict::Throttled { retry_after });
    assert!(target.health().snapshot().gate.paused_until.is_some());
    assert!(target.health().snapshot().limiter.factor < 1.0);
    let (one, other) = tokio::join!(send(&target, fetch(&target)), send(&target, fetch(&target)));
    assert_eq!((one.unwrap().status, other.unwrap().status), (StatusCode::OK, StatusCode::OK));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

fn token(number: usize) -> Response {
    json(200, &format!(r#"{{"access_token":"t{number}","expires_in":"3600","scope":"scim:read"}}"#))
}

#[tokio::test]
async fn a_401_is_answered_with_a_fresh_token_once() {
    for style in [CredentialStyle::Basic, CredentialStyle::Body] {
        // 0: token, 1: call, 2: token, 3: call again.
        let vendor = Vendor::start(|seen, number| match seen.path.as_str() {
            "/token" => token(number),
            _ if seen.headers["authorization"] == "Bearer t2" => user(),
            _ => json(401, ""),
        })
        .await;
        let oauth = vendor.oauth(style);
        let target = vendor.target_with(|settings| settings.auth = oauth);
        let answer = send(&target, create(&target)).await.unwrap();
        assert_eq!((answer.status, answer.granted_scopes.as_deref()), (StatusCode::OK, Some("scim:read")));
        let seen = vendor.seen();
        assert_eq!(seen.len(), 4);
        assert_eq!(seen[1].body, seen[3].body);
        let form = String::from_utf8(seen[0].body.to_vec()).unwrap();
        let basic = seen[0].headers.contains_key("authorization");
        let in_form = form.contains("client_id=client&client_secret=hunter2");
        assert!(form.starts_with("grant_type=client_credentials&scope=scim%3Aread+scim%3Awrite"), "{form}");
        assert_eq!((basic, in_form), (style == CredentialStyle::Basic, style == CredentialStyle::Body));
    }
}

#[tokio::test]
async fn a_service_account_gets_its_token_for_a_grant_that_it_signs() {
    let vendor = Vendor::start(|seen, number| match seen.path.as_str() {
        "/token" => token(number),
        _ if seen.headers["authorization"] == "Bearer t0" => user(),
        _ => json(401, ""),
    })
    .await;
    let mut token_url = vendor.url.clone();
    token_url.set_path("/token");
    let target = vendor.target_with(|settings| {
        settings.auth = Auth::ServiceAccount(ServiceAccount {
            key: service_account::testing::key_file().into(),
            token_url,
            subject: Some("admin@acme.example".to_owned()),
            scopes: vec!["directory".to_owned()],
            expiry_margin: Duration::from_mins(1),
        });
    });
    assert_eq!(send(&target, fetch(&target)).await.unwrap().status, StatusCode::OK);
    let seen = vendor.seen();
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&seen[0].body).into_owned().collect();
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
    assert_eq!(form[0], ("grant_type".to_owned(), grant));
    assert_eq!((form[1].0.as_str(), form[1].1.split('.').count(), form.len()), ("assertion", 3, 2));
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_second_401_is_the_targets_fault() {
    let vendor = Vendor::start(|seen, number| match seen.path.as_str() {
        "/token" => token(number),
        _ => json(401, ""),
    })
    .await;
    let oauth = vendor.oauth(CredentialStyle::Basic);
    let target = vendor.target_with(|settings| settings.auth = oauth);
    let verdict = judged(&target, fetch(&target)).await;
    assert!(matches!(verdict, Verdict::TargetFault { .. }), "{verdict:?}");
    assert_eq!(vendor.seen().len(), 4);
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_is_the_targets_fault_and_one_that_is_down_is_not() {
    for (status, body, fault) in [
        (400, r#"{"error":"invalid_scope"}"#, true),
        (401, r#"{"error":"invalid_client","error_description":"no hunter2"}"#, true),
        (200, "<html>Sign in</html>", true),
        (302, "", true),
        (404, "", true),
        (429, "", false),
        (500, "", false),
        (503, "", false),
    ] {
        let vendor = Vendor::start(move |_, _| json(status, body)).await;
        let oauth = vendor.oauth(CredentialStyle::Body);
        let target = vendor.target_with(|settings| settings.auth = oauth);
        let verdict = judged(&target, fetch(&target)).await;
        if let Verdict::TargetFault { reason, .. } = &verdict {
            assert!(fault && !reason.contains("hunter2"), "{status} {body}: {reason}");
        } else {
            assert_eq!((verdict, fault), (Verdict::NotSent, false), "{status} {body}");
        }
        assert!(vendor.seen().iter().all(|seen| seen.path == "/token"), "nothing reached the API");
    }
}

#[tokio::test]
async fn a_vendor_that_hangs_leaves_the_outcome_unknown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let mut settings = settings(url);
    settings.timeout = Duration::from_millis(200);
    let target = connect(settings);
    let error = send(&target, create(&target)).await.unwrap_err();
    assert!(matches!(error, CallError::Unknown { .. }), "{error:?}");
    assert_eq!(error.label(), "timeout");
}

/// Answers each connection with these bytes, then closes it.
async fn raw(bytes: &'static [u8]) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(bytes).await.unwrap();
        }
    });
    url
}

#[tokio::test]
async fn an_answer_that_breaks_off_leaves_the_outcome_unknown() {
    for bytes in [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\"".as_slice(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n",
        b"HTTP/1.1 20",
        b"",
        b"this is no HTTP\r\n\r\n",
    ] {
        let target = connect(settings(raw(bytes).await));
        assert_eq!(judged(&target, create(&target)).await, Verdict::Unknown, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_was_sent_nothing_and_opens_the_breaker() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let target = connect(settings(format!("http://127.0.0.1:{port}/").parse().unwrap()));
    for _ in 0..5 {
        assert_eq!(judged(&target, create(&target)).await, Verdict::NotSent);
    }
    let state = target.health().snapshot().breaker.state;
    let BreakerState::Open { last_error, .. } = state else { panic!("{state:?}") };
    assert!(last_error.contains("refused") && !last_error.contains("http://"), "{last_error}");
}

#[tokio::test]
async fn plain_http_where_tls_must_be_is_the_targets_fault() {
    let mut url = raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    url.set_scheme("https").unwrap();
    let target = connect(settings(url));
    let verdict = judged(&target, fetch(&target)).await;
    let Verdict::TargetFault { reason, .. } = &verdict else { panic!("{verdict:?}") };
    assert!(reason.starts_with("TLS: "), "{reason}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let vendor = Vendor::start(|_, _| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", "http://127.0.0.1:1/elsewhere")]).into_response()
    })
    .await;
    let target = vendor.target();
    let verdict = judged(&target, fetch(&target)).await;
    let reason = "GET Users/{id} answered 307, a redirect to 127.0.0.1".to_owned();
    assert_eq!(verdict, Verdict::TargetFault { reason, mend: Mend::Address });
    assert_eq!(vendor.seen().len(), 1);
}

#[tokio::test]
async fn html_is_the_targets_fault() {
    let vendor = Vendor::start(|_, _| {
        ([("content-type", "text/html")], "<!doctype html><title>Sign in</title>").into_response()
    })
    .await;
    let target = vendor.target();
    for call in [fetch(&target), create(&target)] {
        let verdict = judged(&target, call).await;
        assert!(matches!(verdict, Verdict::TargetFault { .. }), "{verdict:?}");
    }
}

#[tokio::test]
async fn no_answer_is_read_past_its_limit() {
    let vendor = Vendor::start(|seen, _| {
        let status = if seen.path.ends_with("/bad") { 400 } else { 200 };
        let body = Body::from("x".repeat(200 * 1024));
        Response::builder().status(status).header("location", "/Users/42").body(body).unwrap()
    })
    .await;
    let target = vendor.target_with(|settings| settings.profile.http.body_bytes_max = 100 * 1024);
    let error = send(&target, fetch(&target)).await.unwrap_err();
    assert!(matches!(error, CallError::TooLarge { limit: 102_400, .. }), "{error:?}");

    let written = judged(&target, create(&target)).await;
    let Verdict::Done { id, .. } = &written else { panic!("the write is done all the same: {written:?}") };
    assert_eq!(id.as_deref(), Some("42"));

    let bad = requests::fetch(target.profile(), Kind::User, "bad").unwrap();
    assert_eq!(send(&target, bad).await.unwrap().body.len(), 64 * 1024);
}

#[tokio::test]
async fn no_more_calls_are_in_flight_than_allowed_and_a_dropped_one_counts_no_more() {
    let vendor = Vendor::start(|_, _| user()).await;
    let target = vendor.target_with(|settings| {
        settings.limits.concurrency = std::num::NonZeroU32::MIN;
    });
    let mut first = target.stack();
    first.ready().await.unwrap();
    let mut second = target.stack();
    let blocked = tokio::time::timeout(Duration::from_millis(50), second.ready()).await;
    assert!(blocked.is_err(), "one at a time");
    drop(first.call(fetch(&target)));
    assert_eq!(second.ready().await.unwrap().call(fetch(&target)).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_closed_gate_holds_calls_until_it_opens() {
    let vendor = Vendor::start(|_, _| user()).await;
    let target = vendor.target();
    target.health().gate.close("paused by ops");
    let call = tokio::spawn({
        let target = target.clone();
        async move { send(&target, fetch(&target)).await }
    });
    tokio::task::yield_now().await;
    assert!(vendor.seen().is_empty() && !call.is_finished());
    target.health().gate.open();
    assert_eq!(call.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_key_of_the_vendors_own_stands_in_its_header_and_a_replaced_one_is_found_after_a_401() {
    let vendor = Vendor::start(|seen, _| {
        let lets_in = seen.headers.get("x-api-key").is_some_and(|key| key == "Token two");
        if lets_in { StatusCode::OK } else { StatusCode::UNAUTHORIZED }.into_response()
    })
    .await;
    let value = Secret::reread_by("Token one".into(), Arc::new(|| Ok("Token two".into())));
    let target = vendor.target_with(|settings| {
        settings.auth = Auth::Header { name: HeaderName::from_static("x-api-key"), value };
    });
    assert_eq!(send(&target, fetch(&target)).await.unwrap().status, 200);
    let seen = vendor.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn a_target_that_cannot_work_is_not_set_up() {
    let url: Url = "https://v.example/scim".parse().unwrap();
    let change = |change: fn(&mut Settings)| {
        let mut settings = settings(url.clone());
        change(&mut settings);
        Target::connect(settings, Arc::new(SystemClock), &Metrics::new()).err().map(|error| error.to_string())
    };
    assert_eq!(change(|_| {}), None);
    for (error, names) in [
        (change(|settings| settings.base_url.set_query(Some("a"))), "base_url"),
        (change(|settings| settings.auth = Auth::Bearer { token: "a\nb".into() }), "auth.token"),
        (change(|settings| settings.limits.rate_per_second = Some(0.0)), "limits"),
    ] {
        assert!(error.as_ref().is_some_and(|error| error.contains(names)), "{names}: {error:?}");
    }
}

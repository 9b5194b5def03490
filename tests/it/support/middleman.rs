//! Somebody between the relay and a vendor who may twist what the vendor answers to reads.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode, header};
use serde_json::Value;

const BODY_MAX: usize = 16 * 1024 * 1024;

/// What the relay reads.
#[derive(Clone, Debug)]
pub struct Read {
    /// Below the base path, without the query: `Users`, or `Groups/1`.
    pub path: String,
    /// The 1-based index at which a page is to begin; absent where no list is read page by page.
    pub start: Option<u64>,
}

impl Read {
    /// Whether it is a page of this list.
    pub fn is_page_of(&self, collection: &str) -> bool {
        self.start.is_some() && self.path == collection
    }
}

/// What the relay is told.
pub enum Told {
    /// This.
    Json(Value),
    /// A refusal.
    Status(u16),
    /// A page for people.
    Html,
}

/// What becomes of an answer.
pub type Twist = fn(&Read, Value) -> Told;

/// A running one.
pub struct Middleman {
    /// Where the vendor's SCIM service seems to be.
    pub base_url: String,
    twist: Arc<Mutex<Twist>>,
}

#[derive(Clone)]
struct Shared {
    upstream: String,
    client: reqwest::Client,
    twist: Arc<Mutex<Twist>>,
}

impl Middleman {
    /// Starts in front of the service at this URL, honest at first.
    pub async fn start(upstream: &str) -> Self {
        let twist: Arc<Mutex<Twist>> = Arc::new(Mutex::new(|_, answer| Told::Json(answer)));
        let shared =
            Shared { upstream: upstream.to_owned(), client: super::http_client(), twist: Arc::clone(&twist) };
        let router = Router::new().fallback(forward).with_state(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}/scim", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { base_url, twist }
    }

    /// Twists all answers to come.
    pub fn twist(&self, twist: Twist) {
        *self.twist.lock().expect("nobody panics with it") = twist;
    }
}

async fn forward(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_start_matches("/scim").trim_start_matches('/').to_owned();
    // A cursor of this service is the index at which its page begins.
    let query = parts.uri.query().unwrap_or_default().replace("cursor=", "startIndex=");
    let start = query.split('&').find_map(|part| part.strip_prefix("startIndex=")?.parse().ok());
    let mark = if query.is_empty() { "" } else { "?" };
    let url = format!("{}/{path}{mark}{query}", shared.upstream);
    let body = to_bytes(body, BODY_MAX).await.expect("a small body");
    let mut call = shared.client.request(parts.method.clone(), url).body(body);
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_MATCH, header::USER_AGENT] {
        if let Some(value) = parts.headers.get(&name) {
            call = call.header(name, value);
        }
    }
    let answer = call.send().await.expect("the vendor answers");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.expect("a body");
    let mut response = Response::builder().status(status);
    for name in [header::CONTENT_TYPE, header::ETAG, header::RETRY_AFTER] {
        if let Some(value) = headers.get(&name) {
            response = response.header(name, value);
        }
    }
    let twist = *shared.twist.lock().expect("nobody panics with it");
    let told = match serde_json::from_slice(&body) {
        Ok(answer) if parts.method == Method::GET && status.is_success() => {
            twist(&Read { path, start }, answer)
        }
        _ => return response.body(Body::from(body)).expect("as the vendor answered"),
    };
    let response = match told {
        Told::Json(answer) => response.body(Body::from(answer.to_string())),
        Told::Status(status) => {
            let status = StatusCode::from_u16(status).expect("a status");
            Response::builder().status(status).body(Body::from("{}"))
        }
        Told::Html => {
            Response::builder().header(header::CONTENT_TYPE, "text/html").body(Body::from("<p>Sign in</p>"))
        }
    };
    response.expect("an answer")
}

//! An identity provider's API: what it answers to each path, and how often each was asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// One that wants a key in `Authorization`.
#[derive(Clone)]
pub struct IdentityProvider {
    key: &'static str,
    state: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    /// By path, without its query.
    records: BTreeMap<String, Value>,
    asked: Vec<String>,
    is_down: bool,
}

impl IdentityProvider {
    pub fn new(key: &'static str) -> Self {
        Self { key, state: Arc::default() }
    }

    /// Answers its address.
    pub async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    pub fn set(&self, path: &str, record: Value) {
        self.state.lock().unwrap().records.insert(path.to_owned(), record);
    }

    pub fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }
}

async fn answer(State(provider): State<IdentityProvider>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if request.headers().get("authorization").is_none_or(|key| key != provider.key) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut state = provider.state.lock().unwrap();
    state.asked.push(path.clone());
    if state.is_down {
        return StatusCode::BAD_GATEWAY.into_response();
    }
    match state.records.get(&path) {
        Some(record) => axum::Json(record.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, axum::Json(json!({"errorCode": "E0000007"}))).into_response(),
    }
}

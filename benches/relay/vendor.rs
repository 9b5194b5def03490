//! The least that a SCIM vendor can be: it knows nobody, takes everything, and tells when a change came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A vendor that runs as long as the benchmark.
pub struct Vendor {
    /// Where its SCIM service is.
    pub base_url: String,
    /// The method of each write and when it came.
    pub writes: mpsc::UnboundedReceiver<(Method, Instant)>,
}

#[derive(Clone)]
struct Notes {
    writes: mpsc::UnboundedSender<(Method, Instant)>,
    created: Arc<AtomicU64>,
}

/// Starts a vendor on a free port.
pub async fn start() -> Vendor {
    let (noted, writes) = mpsc::unbounded_channel();
    let app = Router::new().fallback(answer).with_state(Notes { writes: noted, created: Arc::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}/scim/v2", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Vendor { base_url, writes }
}

async fn answer(State(notes): State<Notes>, method: Method) -> Response {
    let came = Instant::now();
    let (status, body) = if method == Method::GET {
        (
            StatusCode::OK,
            json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": []}),
        )
    } else if method == Method::POST {
        let number = notes.created.fetch_add(1, Ordering::Relaxed);
        (StatusCode::CREATED, json!({"id": format!("v-{number}")}))
    } else {
        (StatusCode::OK, json!({}))
    };
    if method != Method::GET {
        // Nobody listens where only the load matters.
        let _ = notes.writes.send((method, came));
    }
    (status, [(header::CONTENT_TYPE, "application/scim+json")], body.to_string()).into_response()
}

//! A proxy between the relay and a vendor that we did not write: it fails before the call reaches the
//! vendor, or after the vendor has done it, and edits behind the relay's back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, header};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often a call fails, from 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// 503 before the vendor is asked.
    pub before: f64,
    /// 500 although the vendor has done it.
    pub after: f64,
    /// The connection ends although the vendor has done it.
    pub lost: f64,
    /// 429 with a short `Retry-After`.
    pub throttled: f64,
    /// Somebody edits the user or group right before the relay's PATCH.
    pub edited: f64,
}

/// A running proxy.
pub struct FaultProxy {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    faults: Mutex<Faults>,
    chance: Mutex<StdRng>,
    calls: AtomicU64,
    writes: AtomicU64,
    calm: AtomicBool,
}

impl FaultProxy {
    /// Starts in front of `upstream`, such as `http://127.0.0.1:5000`.
    pub async fn start(upstream: String, faults: Faults, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            upstream,
            client: super::http_client(),
            faults: Mutex::new(faults),
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            calls: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            calm: AtomicBool::new(false),
        });
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, shared }
    }

    /// Calls that came in.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Of these, calls that write.
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::SeqCst)
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.calls.fetch_add(1, Ordering::SeqCst);
    let writes = request.method() != Method::GET;
    if writes {
        shared.writes.fetch_add(1, Ordering::SeqCst);
    }
    let faults = *shared.faults.lock().expect("not poisoned");
    let happens = |probability: f64| {
        !shared.calm.load(Ordering::SeqCst)
            && shared.chance.lock().expect("not poisoned").random_bool(probability)
    };
    if happens(faults.throttled) {
        return answer(StatusCode::TOO_MANY_REQUESTS, &[("retry-after", "1")]);
    }
    if happens(faults.before) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, &[]);
    }
    let (parts, body) = request.into_parts();
    if parts.method == Method::PATCH && happens(faults.edited) {
        edit_behind_the_relays_back(&shared, parts.uri.path(), &parts.headers).await;
    }
    let body = to_bytes(body, 1 << 24).await.expect("a bounded body");
    let url = format!("{}{}", shared.upstream, parts.uri.path_and_query().map_or("/", |path| path.as_str()));
    let mut headers = parts.headers.clone();
    for hop in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(hop);
    }
    let sent = shared.client.request(parts.method, url).headers(headers).body(body).send().await;
    let Ok(reply) = sent else { return answer(StatusCode::BAD_GATEWAY, &[]) };
    if writes && happens(faults.after) {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &[]);
    }
    if writes && happens(faults.lost) {
        return lost();
    }
    let mut response = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        if name != header::TRANSFER_ENCODING && name != header::CONNECTION {
            response = response.header(name, value);
        }
    }
    let body = reply.bytes().await.unwrap_or_default();
    response.body(Body::from(body)).expect("headers that came in go out")
}

/// An attribute that the relay does not own, so that its version is stale and its value must survive.
async fn edit_behind_the_relays_back(shared: &Shared, path: &str, headers: &HeaderMap) {
    let attribute = if path.contains("/Users/") { "nickName" } else { return };
    let body = format!(
        r#"{{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{{"op":"replace","path":"{attribute}","value":"theirs-{}"}}]}}"#,
        shared.calls.load(Ordering::SeqCst)
    );
    let mut request = shared.client.patch(format!("{}{path}", shared.upstream)).body(body);
    for name in [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    drop(request.send().await);
}

fn answer(status: StatusCode, headers: &[(&str, &str)]) -> Response {
    let mut response = Response::builder().status(status).header("content-type", "application/scim+json");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(r#"{"status":"0"}"#)).expect("fixed headers")
}

/// Announces a body and ends the connection before it comes.
fn lost() -> Response {
    let broken = futures_util::stream::once(async { Err::<bytes::Bytes, _>(std::io::Error::other("cut")) });
    Response::builder().status(StatusCode::OK).body(Body::from_stream(broken)).expect("fixed headers")
}

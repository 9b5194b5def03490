//! Looking into the sandbox and turning its knobs, over HTTP under `/_sandbox/`. Such requests are
//! never counted, limited or met by a fault.
//!
//! | call | does |
//! |---|---|
//! | `GET /_sandbox/requests?after=N&limit=M` | the log of requests that ended after number N; at most M (1,000, up to 10,000) |
//! | `GET /_sandbox/counts` | totals by method, endpoint and status; busiest second; most at once; tokens given |
//! | `GET /_sandbox/state` | all users, and all groups with their members |
//! | `GET`, `PUT /_sandbox/faults` | the faults in force, a JSON array of [short forms](super::fault) |
//! | `PUT /_sandbox/latency` | `{"latency": "20ms"}` |
//! | `PUT /_sandbox/rate` | `{"per_second": 5, "burst": 10}`, or `null` for none |
//! | `POST /_sandbox/tokens/revoke` | makes all tokens that were given worthless |

use std::sync::Arc;

use axum::extract::{Query, State as Shared};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::sandbox::Sandbox;
use crate::sandbox::endpoint::Kind;
use crate::sandbox::fault::Fault;
use crate::sandbox::limit::Bucket;
use crate::sandbox::record::Record;
use crate::sandbox::selection::Selection;
use crate::sandbox::settings::{Behaviour, RateLimit};

const REQUESTS_DEFAULT: usize = 1_000;
const REQUESTS_MAX: usize = 10_000;

/// The routes under `/_sandbox`.
pub(super) fn routes() -> Router<Arc<Sandbox>> {
    Router::new()
        .route("/requests", get(requests))
        .route("/counts", get(counts))
        .route("/state", get(state))
        .route("/faults", get(faults).put(replace_faults))
        .route("/latency", put(set_latency))
        .route("/rate", put(set_rate))
        .route("/tokens/revoke", post(revoke_tokens))
}

type Refused = (StatusCode, Json<Value>);

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Latency {
    latency: String,
}

#[derive(Debug, Deserialize)]
struct Rate {
    per_second: f64,
    burst: u32,
}

async fn requests(Shared(sandbox): Shared<Arc<Sandbox>>, Query(page): Query<Page>) -> Json<Value> {
    let limit = page.limit.unwrap_or(REQUESTS_DEFAULT).min(REQUESTS_MAX);
    let (total, entries) = sandbox.log.after(page.after, limit);
    Json(json!({"total": total, "requests": entries}))
}

async fn counts(Shared(sandbox): Shared<Arc<Sandbox>>) -> Json<Value> {
    let mut counts = json!(sandbox.log.counts());
    counts["tokens_issued"] = sandbox.tokens().issued().into();
    Json(counts)
}

async fn state(Shared(sandbox): Shared<Arc<Sandbox>>) -> Json<Value> {
    // Whatever the vendor hides from its clients is shown here.
    let mut behaviour: Behaviour = sandbox.behaviour.clone();
    behaviour.groups.members_returned = true;
    behaviour.quirks.members = None;
    behaviour.etag.meta_version = true;
    let state = sandbox.state();
    let all = |kind: Kind| -> Vec<Value> {
        let render = |record: &Record| state.render(&behaviour, record, &Selection::default());
        state.table(kind).iter().map(render).collect()
    };
    Json(json!({"users": all(Kind::User), "groups": all(Kind::Group)}))
}

async fn faults(Shared(sandbox): Shared<Arc<Sandbox>>) -> Json<Value> {
    Json(json!(sandbox.faults().list()))
}

async fn replace_faults(
    Shared(sandbox): Shared<Arc<Sandbox>>,
    Json(texts): Json<Vec<String>>,
) -> Result<Json<Value>, Refused> {
    let faults: Result<Vec<Fault>, _> = texts.iter().map(|text| Fault::parse(text)).collect();
    let mut desk = sandbox.faults();
    desk.replace(faults.map_err(|error| bad(&error.to_string()))?);
    Ok(Json(json!(desk.list())))
}

async fn set_latency(
    Shared(sandbox): Shared<Arc<Sandbox>>,
    Json(wanted): Json<Latency>,
) -> Result<StatusCode, Refused> {
    let latency = humantime::parse_duration(&wanted.latency)
        .map_err(|_| bad("latency is not a duration such as 20ms"))?;
    sandbox.set_latency(latency);
    Ok(StatusCode::NO_CONTENT)
}

async fn set_rate(
    Shared(sandbox): Shared<Arc<Sandbox>>,
    Json(wanted): Json<Option<Rate>>,
) -> Result<StatusCode, Refused> {
    let mut bucket = sandbox.bucket();
    let Some(rate) = wanted else {
        *bucket = None;
        return Ok(StatusCode::NO_CONTENT);
    };
    if !rate.per_second.is_finite() || rate.per_second < 0.0 {
        return Err(bad("per_second is not a rate"));
    }
    let before = bucket.as_ref().map(|bucket| bucket.limit().clone());
    let before = before.or_else(|| sandbox.behaviour.rate.clone());
    let before = before.unwrap_or(RateLimit::new(rate.per_second, rate.burst));
    let (per_second, burst) = (rate.per_second, rate.burst);
    *bucket = Some(Bucket::new(RateLimit { per_second, burst, windows: Vec::new(), ..before }));
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke_tokens(Shared(sandbox): Shared<Arc<Sandbox>>) -> Json<Value> {
    Json(json!({"revoked": sandbox.tokens().revoke()}))
}

fn bad(detail: &str) -> Refused {
    (StatusCode::BAD_REQUEST, Json(json!({"error": detail})))
}

//! `/ledger`: what was done, call by call; as JSON, NDJSON or CSV.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::query::Limit;
use super::{CommonProblems, Listing, Params};
use crate::clock::Timestamp;
use crate::directory::{ExternalId, Kind, ResourceKey};
use crate::http::{Problem, Relay};
use crate::store::{ItemId, LedgerFilter, LedgerRecord, Store, StoreError};

/// Entries that an export holds in memory.
const STREAM_PAGE: usize = 500;

/// One call to a vendor, or one decision without a call.
#[derive(Serialize, ToSchema)]
pub struct LedgerView {
    /// The relay's number.
    pub sequence: u64,
    /// When it ended (RFC 3339).
    #[schema(example = "2026-11-20T10:00:00Z")]
    pub at: String,
    /// The target.
    #[schema(example = "genesys")]
    pub target: String,
    /// `user`, `group`, or `target` where it is about the target itself.
    #[schema(example = "user")]
    pub kind: &'static str,
    /// The source's id of the user or group; the target's name where it is about that.
    #[schema(example = "u-101")]
    pub id: String,
    /// The user's or group's generation that was planned for.
    pub generation: u64,
    /// `lookup`, `fetch`, `create`, `update`, `deactivate`, `activate`, `delete`, `members` or `none`.
    #[schema(example = "update")]
    pub operation: String,
    /// The HTTP method and endpoint; null without a call.
    #[schema(example = "PATCH Users/{id}")]
    pub call: Option<String>,
    /// The HTTP status; null without an answer.
    #[schema(example = 200)]
    pub status: Option<u16>,
    /// What became of it.
    #[schema(example = "applied")]
    pub outcome: String,
    /// The version sent as If-Match.
    pub etag_before: Option<String>,
    /// The version that the vendor answered.
    pub etag_after: Option<String>,
    /// Duration of the call in microseconds.
    pub elapsed_us: Option<u64>,
    /// The reason.
    pub detail: Option<String>,
    /// Name of the key of whoever did it by hand; null where the relay did it by itself.
    #[schema(example = "ops")]
    pub actor: Option<String>,
    /// The sender's ids of the events that led to it, at most 20.
    pub events: Vec<String>,
}

impl From<LedgerRecord> for LedgerView {
    fn from(record: LedgerRecord) -> Self {
        Self {
            sequence: record.sequence,
            at: record.at.to_string(),
            kind: record.key.as_ref().map_or("target", |key| key.kind.as_str()),
            id: record.key.map_or_else(|| record.target.clone(), |key| key.id.into()),
            target: record.target,
            generation: record.generation,
            operation: record.operation,
            call: record.call,
            status: record.status,
            outcome: record.result,
            etag_before: record.etag_before,
            etag_after: record.etag_after,
            elapsed_us: record.elapsed_us,
            detail: record.detail,
            actor: record.actor,
            events: record.events,
        }
    }
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// The target.
    pub target: Option<String>,
    /// The user or group, as `user:<id>` or `group:<id>`.
    #[param(example = "user:u-101")]
    pub resource: Option<String>,
    /// `user` or `group`, together with `id`, in the place of `resource`.
    pub kind: Option<String>,
    /// The source's id, together with `kind`.
    pub id: Option<String>,
    /// What became of it, such as `applied` or `refused`.
    pub outcome: Option<String>,
    /// What was to be done, such as `create` or `deactivate`.
    pub operation: Option<String>,
    /// Not before (RFC 3339).
    #[param(example = "2026-11-20T00:00:00Z")]
    #[serde(alias = "since")]
    pub from: Option<String>,
    /// Before (RFC 3339).
    pub until: Option<String>,
    /// `next_cursor` of the page before; absent: the first page.
    pub cursor: Option<String>,
    /// Most items of a page; absent: 100 as JSON, and all that there is as CSV or NDJSON.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    pub limit: Option<Limit>,
}

/// What was done, newest first.
///
/// CSV and NDJSON without a `limit` are everything that the filters leave, written as it is read. With
/// one, they have no place for `next_cursor`: the header `Link` names the next page (`rel="next"`) in
/// every form. A cell of CSV that a spreadsheet would take for a formula begins with an apostrophe.
#[utoipa::path(
    get, path = "/ledger", tag = "admin", operation_id = "list_ledger", params(LedgerQuery),
    responses(
        (status = 200, description = "One page of entries", content(
            (Listing<LedgerView> = "application/json"),
            (LedgerView = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        (status = 406, description = "None of these media types is accepted", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn list(
    State(relay): State<Relay>,
    headers: HeaderMap,
    uri: axum::http::Uri,
    Params(query): Params<LedgerQuery>,
) -> Result<Response, Problem> {
    let form = Form::accepted(&headers)
        .ok_or_else(|| Problem::new(StatusCode::NOT_ACCEPTABLE).with_detail(Form::known()))?;
    let filter = filter(&query)?;
    if query.limit.is_none() && form != Form::Json {
        return export(relay.store, filter, query.cursor, form).await;
    }
    let limit = query.limit.unwrap_or_default().get();
    let page = relay.store.ledger(&filter, query.cursor.as_deref(), limit).await?;
    let listing = Listing::of(page);
    let link = listing.next_cursor.as_deref().and_then(|cursor| next_link(&uri, cursor));
    let mut response = form.write(listing);
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// Everything, a page at a time: the next is read when the caller has taken the one before. A fault on
/// the way breaks the connection off, so that nobody takes a part for the whole.
async fn export(
    store: Arc<dyn Store>,
    filter: LedgerFilter,
    cursor: Option<String>,
    form: Form,
) -> Result<Response, Problem> {
    // The first page tells whether the store answers at all, while that can still be said.
    let first = store.ledger(&filter, cursor.as_deref(), STREAM_PAGE).await?;
    let next = first.next.clone();
    let first = form.lines(&Listing::of(first).items, true);
    let rest = stream::unfold(Some(next), move |next| {
        let (store, filter) = (Arc::clone(&store), filter.clone());
        async move {
            let cursor = next??;
            match store.ledger(&filter, Some(&cursor), STREAM_PAGE).await {
                Ok(page) => {
                    let next = page.next.clone();
                    Some((Ok(form.lines(&Listing::of(page).items, false)), Some(next)))
                }
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "failed to export the ledger");
                    Some((Err(error), None))
                }
            }
        }
    });
    let body = Body::from_stream(stream::once(async { Ok::<_, StoreError>(first) }).chain(rest));
    Ok(([(header::CONTENT_TYPE, form.media_type())], body).into_response())
}

fn filter(query: &LedgerQuery) -> Result<LedgerFilter, Problem> {
    Ok(LedgerFilter {
        target: query.target.clone(),
        key: key(query)?,
        result: query.outcome.clone(),
        operation: query.operation.clone(),
        from: time("from", query.from.as_deref())?,
        until: time("until", query.until.as_deref())?,
    })
}

fn key(query: &LedgerQuery) -> Result<Option<ResourceKey>, Problem> {
    match (&query.resource, &query.kind, &query.id) {
        (None, None, None) => Ok(None),
        (Some(resource), None, None) => match resource.parse() {
            Ok(ItemId::Resource(key)) => Ok(Some(key)),
            Ok(ItemId::Member { .. }) | Err(()) => {
                Err(Problem::bad_request("resource: user:<id> or group:<id> is expected"))
            }
        },
        (None, Some(kind), Some(id)) => {
            let kind =
                Kind::parse(kind).ok_or_else(|| Problem::bad_request("kind: user or group is expected"))?;
            let id = ExternalId::parse(id.as_str())
                .map_err(|error| Problem::bad_request(format!("id: {error}")))?;
            Ok(Some(ResourceKey { kind, id }))
        }
        (Some(_), _, _) => Err(Problem::bad_request("resource cannot stand beside kind and id")),
        (None, _, _) => Err(Problem::bad_request("kind and id are expected together")),
    }
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match Timestamp::parse_rfc3339(text) {
        Some(time) => Ok(Some(time)),
        None => Err(Problem::bad_request(format!(
            "{name}: a date and time with an offset is expected (RFC 3339), such as 2026-11-20T10:00:00Z"
        ))),
    }
}

/// This request with another cursor.
fn next_link(uri: &axum::http::Uri, cursor: &str) -> Option<HeaderValue> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()) {
        if name != "cursor" {
            query.append_pair(&name, &value);
        }
    }
    let query = query.append_pair("cursor", cursor).finish();
    HeaderValue::from_str(&format!("<{}/ledger?{query}>; rel=\"next\"", super::PATH)).ok()
}

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Ndjson,
    Csv,
}

impl Form {
    const ALL: [(&'static str, Self); 3] =
        [("application/json", Self::Json), ("application/x-ndjson", Self::Ndjson), ("text/csv", Self::Csv)];

    fn known() -> String {
        Self::ALL.map(|(media_type, _)| media_type).join(", ") + " can be had"
    }

    /// The form that the caller likes best, by quality and then in the caller's order
    /// (RFC 9110 section 12.5.1). JSON where nothing is said.
    fn accepted(headers: &HeaderMap) -> Option<Self> {
        let values: Vec<_> =
            headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.iter().all(|value| value.trim().is_empty()) {
            return Some(Self::Json);
        }
        let mut best = None;
        for range in values.iter().flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media_range = parts.next().unwrap_or("").to_ascii_lowercase();
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            let form = Self::ALL.into_iter().find(|(media_type, _)| covers(&media_range, media_type));
            if let Some((_, form)) = form
                && quality > best.map_or(0.0, |(quality, _)| quality)
            {
                best = Some((quality, form));
            }
        }
        best.map(|(_, form)| form)
    }

    fn write(self, listing: Listing<LedgerView>) -> Response {
        match self {
            Self::Json => Json(listing).into_response(),
            Self::Ndjson | Self::Csv => {
                ([(header::CONTENT_TYPE, self.media_type())], self.lines(&listing.items, true))
                    .into_response()
            }
        }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// Entries as lines, the first of them under a heading where the form has one.
    fn lines(self, entries: &[LedgerView], first: bool) -> Vec<u8> {
        match self {
            Self::Json | Self::Ndjson => ndjson(entries).into_bytes(),
            Self::Csv => csv(entries, first),
        }
    }
}

fn covers(media_range: &str, media_type: &str) -> bool {
    let of_kind = |kind: &str| media_type.split_once('/').is_some_and(|(own, _)| own == kind);
    media_range == "*/*" || media_range == media_type || media_range.strip_suffix("/*").is_some_and(of_kind)
}

fn ndjson(entries: &[LedgerView]) -> String {
    let line = |entry| serde_json::to_string(entry).expect("texts and numbers always serialise") + "\n";
    entries.iter().map(line).collect()
}

/// What a spreadsheet must not take for a formula: ids and reasons come from outside.
fn harmless(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    if formula { format!("'{text}") } else { text.to_owned() }
}

/// RFC 4180; the ids of events are separated by spaces, which they never hold.
fn csv(entries: &[LedgerView], headed: bool) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let heading = [
        "sequence",
        "at",
        "target",
        "kind",
        "id",
        "generation",
        "operation",
        "call",
        "status",
        "outcome",
        "etag_before",
        "etag_after",
        "elapsed_us",
        "detail",
        "events",
        "actor",
    ];
    if headed {
        writer.write_record(heading).expect("memory takes every row");
    }
    for entry in entries {
        let number = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
        let text = |text: &Option<String>| harmless(text.as_deref().unwrap_or_default());
        let row = [
            entry.sequence.to_string(),
            entry.at.clone(),
            harmless(&entry.target),
            entry.kind.to_owned(),
            harmless(&entry.id),
            entry.generation.to_string(),
            entry.operation.clone(),
            text(&entry.call),
            number(entry.status.map(Into::into)),
            entry.outcome.clone(),
            text(&entry.etag_before),
            text(&entry.etag_after),
            number(entry.elapsed_us),
            text(&entry.detail),
            harmless(&entry.events.join(" ")),
            text(&entry.actor),
        ];
        writer.write_record(row).expect("memory takes every row of the heading's length");
    }
    writer.into_inner().expect("memory takes every row")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_best_liked_form_is_written() {
        for (accept, expected) in [
            (None, Some(Form::Json)),
            (Some(""), Some(Form::Json)),
            (Some("*/*"), Some(Form::Json)),
            (Some("text/csv"), Some(Form::Csv)),
            (Some("text/*"), Some(Form::Csv)),
            (Some("TEXT/CSV; charset=utf-8"), Some(Form::Csv)),
            (Some("application/x-ndjson"), Some(Form::Ndjson)),
            (Some("application/json;q=0.5, text/csv"), Some(Form::Csv)),
            (Some("application/json;q=0.5, text/csv;q=0.4"), Some(Form::Json)),
            (Some("text/html, */*;q=0.8"), Some(Form::Json)),
            (Some("text/html"), None),
            (Some("text/csv;q=0"), None),
        ] {
            let headers =
                accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
            assert_eq!(Form::accepted(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_cell_is_no_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(harmless(text), format!("'{text}"));
        }
        for text in ["", "u-1", "W/\"1\"", "a=b"] {
            assert_eq!(harmless(text), text);
        }
    }

    #[test]
    fn the_next_page_keeps_the_filters() {
        let uri = "/admin/v1/ledger?resource=user%3Au%261&cursor=9&limit=2".parse().unwrap();
        let link = next_link(&uri, "7 8").unwrap();
        assert_eq!(link, "</admin/v1/ledger?resource=user%3Au%261&limit=2&cursor=7+8>; rel=\"next\"");
    }
}

//! `/resyncs/{id}/report`: what a resync has found, and what has become of it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::query::Limit;
use super::resyncs::{record, view};
use super::{CommonProblems, Listing, Params};
use crate::clock::Timestamp;
use crate::directory::ResourceKey;
use crate::http::{Problem, Relay};
use crate::store::{LedgerFilter, Part, ResyncRecord, StoreError};
use crate::sync::drift::{Class, Finding};

/// Findings read at a time.
const PAGE: usize = 200;
/// Findings read for one page of entries at most, whatever few of them are asked for.
const READ_MAX: usize = 5_000;

/// One line of a report: one difference, and the last operation on it since the resync was asked for.
#[derive(Serialize, ToSchema)]
pub struct ReportEntry {
    /// `user`, `group` or `member`.
    pub kind: &'static str,
    /// `missing`, `extra`, `differs`, `unmanaged`, `duplicate` or `unlinked`.
    pub drift: &'static str,
    /// The directory's id.
    pub external_id: Option<String>,
    /// The vendor's id.
    pub target_id: Option<String>,
    /// For a membership: the user, by the directory's id or else the vendor's.
    pub member: Option<String>,
    /// The mail address.
    pub email: Option<String>,
    /// The department.
    pub department: Option<String>,
    /// The attributes that differ.
    pub attributes: Vec<String>,
    /// By which attribute an unlinked resource was known, or `id_map`.
    pub matched_by: Option<String>,
    /// `drifted`; `pending` where the relay had work to do on it anyway; or the outcome of the last operation.
    pub status: String,
    /// The last operation.
    pub operation: Option<String>,
    /// Its HTTP status.
    pub http_status: Option<u16>,
    /// The version that it left.
    pub etag: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// The report of a resync.
///
/// JSON holds the resync, `generated_at`, `totals`, how many operations were a `success` or a `failure`,
/// and `entries`; CSV the entries alone. It may be read while the resync runs, and holds then what was
/// found so far.
#[utoipa::path(
    get, path = "/resyncs/{id}/report", tag = "admin", operation_id = "read_resync_report",
    params(("id" = String, Path, description = "As `Location` said")),
    responses(
        (status = 200, description = "The report", content(
            (ReportEntry = "application/json"),
            (String = "text/csv"),
        )),
        (status = 404, description = "No such resync, or its report is not kept any more", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn read(
    State(relay): State<Relay>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = record(&relay, &id).await?;
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let csv = accepts.contains("text/csv");
    let head = if csv { heading() } else { opening(&relay, record.clone())? };
    let media_type = if csv { "text/csv; charset=utf-8" } else { "application/json" };
    let report =
        Report { relay, record, csv, head: Some(head), after: None, entries: 0, tally: (0, 0), over: false };
    let body = Body::from_stream(stream::unfold(report, |mut report| async move {
        let chunk = report.next().await?;
        Some((chunk, report))
    }));
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, media_type)], body).into_response())
}

/// Which entries of a report to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntryQuery {
    /// Of this class alone: `missing`, `extra`, `differs`, `unmanaged`, `duplicate` or `unlinked`.
    #[param(value_type = Option<String>)]
    pub drift: Option<Class>,
    /// Of this kind alone: `user`, `group` or `member`.
    pub kind: Option<String>,
    /// Those alone in which this attribute differs.
    pub attribute: Option<String>,
    /// `next_cursor` of the page before; absent: the first page.
    pub cursor: Option<String>,
    /// Most items of a page.
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100)]
    pub limit: Limit,
}

impl EntryQuery {
    fn wants(&self, finding: &Finding) -> bool {
        let kind = kind_of(finding);
        self.drift.is_none_or(|class| class == finding.class)
            && self.kind.as_ref().is_none_or(|wanted| wanted == kind)
            && self.attribute.as_ref().is_none_or(|wanted| finding.attributes.contains(wanted))
    }
}

/// The entries of a resync's report, a page at a time.
///
/// A page may hold fewer entries than it could, or none, and still have a `next_cursor`: only so many
/// findings are read for one answer.
#[utoipa::path(
    get, path = "/resyncs/{id}/entries", tag = "admin", operation_id = "list_resync_entries",
    params(("id" = String, Path, description = "As `Location` said"), EntryQuery),
    responses(
        (status = 200, description = "One page of the report", body = Listing<ReportEntry>),
        (status = 404, description = "No such resync, or its report is not kept any more", body = Problem,
         content_type = "application/problem+json"),
        CommonProblems,
    ),
)]
pub async fn entries(
    State(relay): State<Relay>,
    Path(id): Path<String>,
    Params(query): Params<EntryQuery>,
) -> Result<Json<Listing<ReportEntry>>, Problem> {
    let record = record(&relay, &id).await?;
    let limit = query.limit.get();
    let (mut items, mut after, mut read) = (Vec::new(), query.cursor.clone(), 0);
    while read < READ_MAX {
        let store = relay.store.resyncs();
        let page = store.resync_rows(&record.id, Part::Finding, after.as_deref(), PAGE).await?;
        read += page.items.len();
        for row in page.items {
            let Ok(finding) = serde_json::from_value::<Finding>(row.body) else { continue };
            if !query.wants(&finding) {
                continue;
            }
            if items.len() == limit {
                return Ok(Json(Listing { items, next_cursor: after }));
            }
            items.push(with_last_operation(&relay, &record, finding).await?.0);
            after = Some(row.name);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(Json(Listing { items, next_cursor: after }))
}

/// A report that is being written, a page of findings at a time.
struct Report {
    relay: Relay,
    record: ResyncRecord,
    csv: bool,
    head: Option<Vec<u8>>,
    after: Option<String>,
    entries: usize,
    /// Operations that went well, and that did not.
    tally: (u64, u64),
    over: bool,
}

impl Report {
    async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        if let Some(head) = self.head.take() {
            return Some(Ok(head.into()));
        }
        if self.over {
            return None;
        }
        let written = self.page().await;
        self.over |= written.is_err();
        Some(written.map(Bytes::from))
    }

    async fn page(&mut self) -> Result<Vec<u8>, StoreError> {
        let store = self.relay.store.resyncs();
        let page = store.resync_rows(&self.record.id, Part::Finding, self.after.as_deref(), PAGE).await?;
        let mut out = Vec::new();
        for row in page.items {
            let Ok(finding) = serde_json::from_value::<Finding>(row.body) else { continue };
            let entry = self.entry(finding).await?;
            if self.csv {
                out.extend(line(&entry));
            } else {
                out.extend(if self.entries > 0 { &b",\n"[..] } else { b"\n" });
                out.extend(serde_json::to_vec(&entry).expect("texts and numbers always serialise"));
            }
            self.entries += 1;
        }
        self.over = page.next.is_none();
        self.after = page.next;
        if self.over && !self.csv {
            let (success, failure) = self.tally;
            let end = format!("\n],\"success\":{success},\"failure\":{failure}}}\n");
            out.extend(end.into_bytes());
        }
        Ok(out)
    }

    async fn entry(&mut self, finding: Finding) -> Result<ReportEntry, StoreError> {
        let (entry, went_well) = with_last_operation(&self.relay, &self.record, finding).await?;
        match went_well {
            Some(true) => self.tally.0 += 1,
            Some(false) => self.tally.1 += 1,
            None => {}
        }
        Ok(entry)
    }
}

/// A finding with the last operation on it since the resync was asked for, and whether that went well;
/// `None` where there was none.
async fn with_last_operation(
    relay: &Relay,
    record: &ResyncRecord,
    finding: Finding,
) -> Result<(ReportEntry, Option<bool>), StoreError> {
    let mut entry = shown(finding.clone());
    let Some(id) = finding.id else { return Ok((entry, None)) };
    let filter = LedgerFilter {
        target: Some(record.target.clone()),
        key: Some(ResourceKey { kind: finding.kind, id }),
        from: Some(record.at),
        ..LedgerFilter::default()
    };
    let Some(last) = relay.store.ledger(&filter, None, 1).await?.items.pop() else {
        return Ok((entry, None));
    };
    let went_well = matches!(last.result.as_str(), "applied" | "already_in_place" | "found");
    entry.error = last.detail.filter(|_| !went_well);
    entry.status = last.result;
    entry.operation = Some(last.operation);
    entry.http_status = last.status;
    entry.etag = last.etag_after;
    Ok((entry, Some(went_well)))
}

fn opening(relay: &Relay, record: ResyncRecord) -> Result<Vec<u8>, Problem> {
    let generated_at: Timestamp = relay.clock.now();
    let view = view(relay, record)?;
    let totals = view.summary.clone();
    let head =
        json!({ "generated_at": generated_at.to_string(), "totals": totals, "resync": view }).to_string();
    // The entries follow before the object's end.
    let mut head = head.into_bytes();
    head.pop();
    head.extend(b",\"entries\":[");
    Ok(head)
}

/// A membership is told apart from the group whose it is.
const fn kind_of(finding: &Finding) -> &'static str {
    if finding.member.is_some() { "member" } else { finding.kind.as_str() }
}

fn shown(finding: Finding) -> ReportEntry {
    let kind = kind_of(&finding);
    let member = finding
        .member
        .map(|member| member.id.map(|id| id.to_string()).or(member.vendor_id).unwrap_or_default());
    ReportEntry {
        kind,
        drift: finding.class.as_str(),
        external_id: finding.id.map(|id| id.to_string()),
        target_id: finding.vendor_id,
        member,
        email: finding.email,
        department: finding.department,
        attributes: finding.attributes,
        matched_by: finding.matched_by,
        status: if finding.pending { "pending" } else { "drifted" }.to_owned(),
        operation: None,
        http_status: None,
        etag: None,
        error: None,
    }
}

fn heading() -> Vec<u8> {
    record_of(&[
        "target_id",
        "external_id",
        "email",
        "department",
        "sync_status",
        "error_detail",
        "drift",
        "attributes",
        "kind",
        "member",
    ])
}

fn line(entry: &ReportEntry) -> Vec<u8> {
    let text = |text: &Option<String>| harmless(text.as_deref().unwrap_or_default());
    let attributes = entry.attributes.join(" ");
    record_of(&[
        &text(&entry.target_id),
        &text(&entry.external_id),
        &text(&entry.email),
        &text(&entry.department),
        &entry.status,
        &text(&entry.error),
        entry.drift,
        &harmless(&attributes),
        entry.kind,
        &text(&entry.member),
    ])
}

/// A spreadsheet takes a cell that begins so for a formula: a quote before it makes it text.
fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

fn record_of(cells: &[&str]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).expect("memory takes every row");
    writer.into_inner().expect("memory takes every row")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::{ExternalId, Kind};
    use crate::sync::drift::Class;

    #[test]
    fn a_line_holds_what_people_ask_for_and_no_formula() {
        let finding = Finding {
            attributes: vec!["title".to_owned(), "active".to_owned()],
            email: Some("=jane@example.com".to_owned()),
            department: Some("R, D".to_owned()),
            ..Finding::new(
                Class::Differs,
                Kind::User,
                Some(ExternalId::parse("u-1").unwrap()),
                Some("v1".to_owned()),
            )
        };
        let line = String::from_utf8(line(&shown(finding))).unwrap();
        assert_eq!(line, "v1,u-1,'=jane@example.com,\"R, D\",drifted,,differs,title active,user,\n");
        assert_eq!(heading().split(|byte| *byte == b',').count(), line.split(',').count() - 1);
    }
}

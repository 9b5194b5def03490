//! One line of the audit.

use serde::Serialize;

use crate::store::LedgerRecord;

/// An entry of the ledger as it is written. Names of keys are part of the outer contract; no value of
/// an attribute is among them.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    sequence: u64,
    target: &'a str,
    kind: &'static str,
    external_id: Option<&'a str>,
    operation: &'a str,
    outcome: &'a str,
    actor: Option<&'a str>,
    generation: u64,
    call: Option<&'a str>,
    status: Option<u16>,
    elapsed_us: Option<u64>,
    detail: Option<&'a str>,
    events: &'a [String],
}

/// The line, with its end.
pub(super) fn line(record: &LedgerRecord) -> Vec<u8> {
    let line = Line {
        time: record.at.to_string(),
        sequence: record.sequence,
        target: &record.target,
        kind: record.key.as_ref().map_or("target", |key| key.kind.as_str()),
        external_id: record.key.as_ref().map(|key| key.id.as_str()),
        operation: &record.operation,
        outcome: &record.result,
        actor: record.actor.as_deref(),
        generation: record.generation,
        call: record.call.as_deref(),
        status: record.status,
        elapsed_us: record.elapsed_us,
        detail: record.detail.as_deref(),
        events: &record.events,
    };
    let mut bytes = serde_json::to_vec(&line).expect("texts and numbers always serialise");
    bytes.push(b'\n');
    bytes
}

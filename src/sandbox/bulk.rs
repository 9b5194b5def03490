//! Several operations in one request, RFC 7644 section 3.7, in the dialect that is asked for.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Map, Value, json};

use crate::sandbox::answer::{Answer, Refusal};
use crate::sandbox::endpoint::{Call, Endpoint};
use crate::sandbox::service::{self, Incoming};
use crate::sandbox::settings::{Behaviour, BulkRules, StatusForm};
use crate::sandbox::state::State;
use crate::scim::error::ScimType;
use crate::scim::resource::get_in;
use crate::scim::schema;

/// What an operation refers to another one of the same request by.
const REFERENCE: &str = "bulkId:";

/// POST to `/Bulk`.
pub fn serve(
    state: &mut State,
    behaviour: &Behaviour,
    body: &Value,
    bytes: usize,
) -> Result<Answer, Refusal> {
    let Some(rules) = &behaviour.bulk else {
        return Err(Refusal::new(501, "bulk operations are not supported"));
    };
    let operations = body
        .as_object()
        .and_then(|body| get_in(body, "Operations")?.as_array())
        .ok_or_else(|| Refusal::bad(ScimType::InvalidSyntax, "there are no Operations"))?;
    Refusal::over(Some(rules.operations_max), operations.len(), "operations")?;
    if bytes > rules.bytes_max {
        return Err(Refusal::new(413, format!("more than {} bytes in one request", rules.bytes_max)));
    }
    let mut made = BTreeMap::new();
    let mut entries = Vec::with_capacity(operations.len());
    let mut applied = false;
    for operation in operations {
        state.bulk_operations += 1;
        let number = state.bulk_operations;
        let outcome = run(state, behaviour, rules, operation, &mut made, number);
        applied |= outcome.as_ref().is_ok_and(|answer| answer.applied);
        if !rules.leaves_out_every.is_some_and(|every| number.is_multiple_of(every)) {
            entries.push(entry(rules, operation, outcome));
        }
    }
    if rules.reversed {
        entries.reverse();
    }
    let mut answer = Map::new();
    answer.insert("schemas".to_owned(), json!([schema::BULK_RESPONSE]));
    answer.insert(rules.key.to_owned(), Value::Array(entries));
    let operations = operations.len();
    Ok(Answer { status: rules.status, applied, operations, ..Answer::ok(Value::Object(answer)) })
}

fn run(
    state: &mut State,
    behaviour: &Behaviour,
    rules: &BulkRules,
    operation: &Value,
    made: &mut BTreeMap<String, String>,
    number: u64,
) -> Result<Answer, Refusal> {
    if let Some((_, status)) = rules.fails_every.filter(|(every, _)| number.is_multiple_of(*every)) {
        return Err(Refusal::new(status, "a fault of the sandbox"));
    }
    let text = |name: &str| operation[name].as_str();
    let name = text("bulkId");
    let method = text("method").and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let method = method.filter(|method| *method != Method::GET);
    let method = method.ok_or_else(|| Refusal::bad(ScimType::InvalidSyntax, "an operation has no method"))?;
    if method == Method::POST && name.is_none() {
        return Err(Refusal::bad(ScimType::InvalidValue, "a POST has no bulkId"));
    }
    let path = text("path").unwrap_or_default();
    let endpoint = Endpoint::find(&format!("{}{path}", behaviour.base_path), behaviour);
    if !matches!(endpoint, Endpoint::Collection(_) | Endpoint::Resource(..)) {
        return Err(Refusal::new(404, "there is no such endpoint"));
    }
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(schema::MEDIA_TYPE));
    if let Some(version) = text("version").filter(|_| rules.version) {
        let version = HeaderValue::from_str(version);
        headers.insert(IF_MATCH, version.map_err(|_| Refusal::new(412, "the version is none"))?);
    }
    let mut data = operation["data"].clone();
    resolve(&mut data, made)?;
    let body = Bytes::from(data.to_string());
    let request = Incoming { call: Call { method, endpoint }, query: String::new(), headers, body };
    let answer = service::serve(state, behaviour, &request)?;
    if let (Some(name), Some(id)) = (name, answer.body.as_ref().and_then(|body| body["id"].as_str())) {
        made.insert(name.to_owned(), id.to_owned());
    }
    Ok(answer)
}

/// Puts ids in the place of references to operations that went before.
fn resolve(data: &mut Value, made: &BTreeMap<String, String>) -> Result<(), Refusal> {
    match data {
        Value::String(text) => {
            let Some(name) = text.strip_prefix(REFERENCE) else { return Ok(()) };
            let id = made.get(name).ok_or_else(|| {
                Refusal::bad(ScimType::InvalidValue, "a reference to an operation that made nothing")
            })?;
            text.clone_from(id);
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| resolve(item, made)),
        Value::Object(parts) => parts.values_mut().try_for_each(|part| resolve(part, made)),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn entry(rules: &BulkRules, operation: &Value, outcome: Result<Answer, Refusal>) -> Value {
    let mut entry = Map::new();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            entry.insert(name.to_owned(), value);
        }
    };
    put("method", operation.get("method").cloned().filter(|_| rules.method));
    put("bulkId", operation.get("bulkId").cloned().filter(|_| rules.bulk_id));
    match outcome {
        Ok(answer) => {
            put("status", Some(status(rules.status_form, answer.status)));
            let known = operation["path"].as_str().filter(|_| operation["method"] != "POST");
            let location = answer.location.as_deref().or(known);
            put("location", location.filter(|_| rules.location).map(Value::from));
            put("version", answer.etag.map(Value::from));
            put("response", answer.body.filter(|_| rules.response));
        }
        Err(refusal) => {
            put("status", Some(status(rules.status_form, refusal.status)));
            put("location", refusal.location().map(Value::from));
            let told = if rules.reason_in_a_word { json!("Refused") } else { refusal.body() };
            put("response", Some(told));
        }
    }
    Value::Object(entry)
}

fn status(form: StatusForm, status: u16) -> Value {
    match form {
        StatusForm::Text => json!(status.to_string()),
        StatusForm::Number => json!(status),
        StatusForm::Code => json!({ "code": status.to_string() }),
    }
}

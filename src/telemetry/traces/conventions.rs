//! The relay's spans in the words of OpenTelemetry's semantic conventions for HTTP. Pure.
//!
//! In the relay a span is named and labelled as its log lines want it; what reads traces knows requests by
//! `http.request.method`, and what is wrong by the status. Other attributes go below `scim_relay.`.

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

/// A span as it is sent.
pub(super) fn told(mut span: SpanData) -> SpanData {
    let (kind, place, error_from) = match span.name.as_ref() {
        // A refusal is the caller's fault, and this side did well.
        "request" => (SpanKind::Server, "http.route", 500),
        "scim call" => (SpanKind::Client, "url.template", 400),
        _ => {
            for attribute in &mut span.attributes {
                *attribute = own(attribute);
            }
            return span;
        }
    };
    let (mut method, mut path) = (None, None);
    let mut attributes = Vec::with_capacity(span.attributes.len() + 1);
    for attribute in &span.attributes {
        let value = attribute.value.clone();
        match attribute.key.as_str() {
            "method" => {
                method = Some(value.to_string());
                attributes.push(KeyValue::new("http.request.method", value));
            }
            "route" | "endpoint" => {
                let below_root = format!("/{}", value.as_str().trim_start_matches('/'));
                attributes.push(KeyValue::new(place, below_root.clone()));
                path = Some(below_root);
            }
            "status" => {
                let (fault, said) = status(&value.as_str(), error_from);
                attributes.extend(said);
                if let Some(fault) = fault {
                    attributes.push(KeyValue::new("error.type", fault.clone()));
                    span.status = Status::error(fault);
                }
            }
            _ => attributes.push(own(attribute)),
        }
    }
    let name = [method, path].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !name.is_empty() {
        span.name = name.into();
    }
    span.span_kind = kind;
    span.attributes = attributes;
    span
}

/// What is wrong by a status, which is a number or a word, and how the number is told.
fn status(status: &str, error_from: i64) -> (Option<String>, Option<KeyValue>) {
    match status.parse::<i64>() {
        Ok(code) => {
            let fault = (code >= error_from).then(|| status.to_owned());
            (fault, Some(KeyValue::new("http.response.status_code", code)))
        }
        Err(_) => (Some(status.to_owned()), None),
    }
}

fn own(attribute: &KeyValue) -> KeyValue {
    let key = match attribute.key.as_str() {
        // `target` is a word of the log's own.
        "target_name" => "target",
        "id" => "request_id",
        key => key,
    };
    let value: Value = attribute.value.clone();
    KeyValue::new(format!("scim_relay.{key}"), value)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use opentelemetry::InstrumentationScope;
    use opentelemetry::trace::{SpanContext, SpanId};
    use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};

    use super::*;

    fn span(name: &'static str, attributes: &[(&'static str, &'static str)]) -> SpanData {
        SpanData {
            span_context: SpanContext::empty_context(),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: UNIX_EPOCH,
            end_time: UNIX_EPOCH,
            attributes: attributes.iter().map(|&(key, value)| KeyValue::new(key, value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::default(),
        }
    }

    #[test]
    fn a_request_is_a_servers_span_and_a_call_is_a_clients() {
        let hook = [("method", "POST"), ("route", "/webhooks/{source}"), ("id", "r-1")];
        let call = [("target_name", "genesys"), ("method", "PATCH"), ("endpoint", "Users/{id}")];
        let told_hook =
            ["http.request.method=POST", "http.route=/webhooks/{source}", "scim_relay.request_id=r-1"];
        let told_call =
            ["scim_relay.target=genesys", "http.request.method=PATCH", "url.template=/Users/{id}"];
        for (name, attributes, status, expected, more, fault) in [
            (
                "request",
                hook,
                "202",
                (SpanKind::Server, "POST /webhooks/{source}", told_hook),
                "http.response.status_code=202",
                None,
            ),
            (
                "request",
                hook,
                "401",
                (SpanKind::Server, "POST /webhooks/{source}", told_hook),
                "http.response.status_code=401",
                None,
            ),
            (
                "request",
                hook,
                "503",
                (SpanKind::Server, "POST /webhooks/{source}", told_hook),
                "http.response.status_code=503",
                Some("503"),
            ),
            (
                "scim call",
                call,
                "200",
                (SpanKind::Client, "PATCH /Users/{id}", told_call),
                "http.response.status_code=200",
                None,
            ),
            (
                "scim call",
                call,
                "412",
                (SpanKind::Client, "PATCH /Users/{id}", told_call),
                "http.response.status_code=412",
                Some("412"),
            ),
            (
                "scim call",
                call,
                "timeout",
                (SpanKind::Client, "PATCH /Users/{id}", told_call),
                "error.type=timeout",
                Some("timeout"),
            ),
        ] {
            let attributes: Vec<_> = attributes.into_iter().chain([("status", status)]).collect();
            let sent = told(span(name, &attributes));
            let said: Vec<String> =
                sent.attributes.iter().map(|said| format!("{}={}", said.key, said.value)).collect();
            assert_eq!((sent.span_kind, sent.name.as_ref()), (expected.0, expected.1), "{name} {status}");
            assert_eq!((&said[..3], said[3].as_str()), (&expected.2.map(str::to_owned)[..], more));
            let wanted = fault.map_or(Status::Unset, Status::error);
            assert_eq!(sent.status, wanted, "{name} {status}");
        }
    }

    #[test]
    fn other_spans_keep_their_names_and_say_whose_words_they_use() {
        let sent = told(span("step", &[("target_name", "genesys"), ("lane", "change")]));
        let said: Vec<_> = sent.attributes.iter().map(|said| said.key.as_str()).collect();
        assert_eq!((sent.name.as_ref(), sent.span_kind), ("step", SpanKind::Internal));
        assert_eq!(said, ["scim_relay.target", "scim_relay.lane"]);
    }
}

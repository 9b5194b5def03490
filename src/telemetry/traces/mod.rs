//! Traces: spans sent to a collector by OTLP over HTTP, where the environment names one.
//!
//! The variables are OpenTelemetry's own (General SDK Configuration and OTLP Exporter Configuration of its
//! specification), so that the relay is set up as everything else is that a cluster runs. Spans are handed
//! to a thread of their own that sends them in batches; what it cannot send is dropped, never waited for.

mod conventions;
mod export;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::blocking::Client;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};
use url::Url;

use export::Reporting;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const TRACES_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL";
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const DISABLED: &str = "OTEL_SDK_DISABLED";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const RESOURCE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The one protocol that is spoken.
const SPOKEN: &str = "http/protobuf";
/// Longest that a relay which stops waits for its last spans.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// A variable cannot be meant so.
    #[error("read {variable}: {reason}")]
    Variable {
        /// Its name.
        variable: &'static str,
        /// What is wrong, and what would mend it.
        reason: String,
    },
    /// There is no HTTP client.
    #[error("make the client for the collector of traces")]
    Client(#[from] reqwest::Error),
    /// OpenTelemetry's exporter refused a variable.
    #[error("set up the sending of traces")]
    Exporter(#[from] ExporterBuildError),
}

/// Where spans go to.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sends spans from now on, by the client that is made for the collector's address; `None` where the
    /// environment names no collector. Only outside of a runtime.
    pub fn start<'a>(
        variable: impl Fn(&str) -> Option<&'a str>,
        client: impl FnOnce(&Url) -> Result<Client, reqwest::Error>,
    ) -> Result<Option<Self>, TracesError> {
        let Some(collector) = collector(&variable)? else { return Ok(None) };
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client(&collector)?)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(&variable))
            .with_batch_exporter(Reporting::new(exporter))
            .build();
        Ok(Some(Self { provider }))
    }

    /// Takes the relay's own spans, whatever is logged; not those of the libraries that send them.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(own())
    }

    /// Sends what is left, and ends.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIME_MAX) {
            tracing::warn!(%error, "failed to send the last spans");
        }
    }
}

fn own() -> filter::FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    filter_fn(|metadata| {
        let least = if metadata.is_span() { Level::INFO } else { Level::WARN };
        metadata.target().starts_with("scim_relay") && *metadata.level() <= least
    })
}

/// The address that spans are posted to; `None` where none is named, or none is wanted.
fn collector<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Url>, TracesError> {
    let set = |name: &str| variable(name).map(str::trim).filter(|text| !text.is_empty());
    let is_off = set(DISABLED).is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let named = [TRACES_ENDPOINT, ENDPOINT].into_iter().find_map(|name| Some((name, set(name)?)));
    let Some((name, endpoint)) = named.filter(|_| !is_off) else { return Ok(None) };
    match set(EXPORTER) {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(other) => {
            let reason = format!("`{other}` is not among `otlp` and `none`");
            return Err(TracesError::Variable { variable: EXPORTER, reason });
        }
    }
    let protocol = [TRACES_PROTOCOL, PROTOCOL].into_iter().find_map(|name| Some((name, set(name)?)));
    if let Some((variable, other)) = protocol.filter(|(_, protocol)| *protocol != SPOKEN) {
        let reason = format!(
            "`{other}` is not spoken here, only `{SPOKEN}`, for which collectors listen on port 4318 by default"
        );
        return Err(TracesError::Variable { variable, reason });
    }
    let wrong = |reason: String| TracesError::Variable { variable: name, reason };
    let url = Url::parse(endpoint)
        .map_err(|error| wrong(format!("{error}; it is a URL such as http://127.0.0.1:4318")))?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        return Ok(Some(url));
    }
    Err(wrong("it is a URL such as http://127.0.0.1:4318, with http or https".to_owned()))
}

/// Who sends: as the environment says, and else by the program's own name.
fn resource<'a>(variable: impl Fn(&str) -> Option<&'a str>) -> Resource {
    let is_named = variable(SERVICE_NAME).is_some_and(|name| !name.is_empty())
        || variable(RESOURCE).is_some_and(|pairs| pairs.contains("service.name="));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    let builder = if is_named { builder } else { builder.with_service_name(env!("CARGO_PKG_NAME")) };
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector_of(variables: &[(&str, &'static str)]) -> Result<Option<String>, String> {
        let read = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text);
        match collector(read) {
            Ok(url) => Ok(url.map(String::from)),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn spans_are_sent_where_a_collector_is_named_and_nobody_objects() {
        let here = "http://127.0.0.1:4318";
        let there = "https://collector.example/v1/traces";
        for (variables, expected) in [
            (&[][..], None),
            (&[(ENDPOINT, "")], None),
            (&[(ENDPOINT, here)], Some("http://127.0.0.1:4318/")),
            (&[(TRACES_ENDPOINT, there)], Some(there)),
            (&[(ENDPOINT, here), (TRACES_ENDPOINT, there)], Some(there)),
            (&[(ENDPOINT, here), (EXPORTER, "otlp")], Some("http://127.0.0.1:4318/")),
            (&[(ENDPOINT, here), (EXPORTER, "none")], None),
            (&[(ENDPOINT, here), (DISABLED, "TRUE")], None),
            (&[(ENDPOINT, here), (DISABLED, "false")], Some("http://127.0.0.1:4318/")),
            (&[(ENDPOINT, here), (PROTOCOL, SPOKEN)], Some("http://127.0.0.1:4318/")),
            (
                &[(ENDPOINT, here), (PROTOCOL, "grpc"), (TRACES_PROTOCOL, SPOKEN)],
                Some("http://127.0.0.1:4318/"),
            ),
        ] {
            assert_eq!(collector_of(variables), Ok(expected.map(str::to_owned)), "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_meant_names_its_variable() {
        let here = "http://127.0.0.1:4318";
        for (variables, said) in [
            (&[(ENDPOINT, "collector:4318")][..], "read OTEL_EXPORTER_OTLP_ENDPOINT: it is a URL"),
            (&[(ENDPOINT, "//collector")], "read OTEL_EXPORTER_OTLP_ENDPOINT: relative URL"),
            (&[(TRACES_ENDPOINT, "grpc://collector:4317")], "read OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: it is"),
            (
                &[(ENDPOINT, here), (PROTOCOL, "grpc")],
                "read OTEL_EXPORTER_OTLP_PROTOCOL: `grpc` is not spoken",
            ),
            (&[(ENDPOINT, here), (EXPORTER, "zipkin")], "read OTEL_TRACES_EXPORTER: `zipkin` is not among"),
        ] {
            let refused = collector_of(variables).unwrap_err();
            assert!(refused.starts_with(said), "{variables:?}: {refused}");
        }
    }
}

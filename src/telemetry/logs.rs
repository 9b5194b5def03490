//! The log: one line an event on standard error, for people or for machines.
//!
//! Standard output stays free for what a command answers.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::traces::Traces;

/// What is logged where nothing is asked for.
pub const DEFAULT_FILTER: &str = "info";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: time, level, message, fields.
    Human,
    /// For machines: one JSON object a line.
    Json,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not of the form `info` or `info,scim_relay::sync=debug`.
    #[error("read the log filter")]
    Filter(#[from] ParseError),
    /// Something else in the process logs already.
    #[error("start the log, which runs already")]
    Installed,
}

/// Starts the process's log, and hands spans to `traces`. `filter` holds levels of the log, overall or by
/// module, such as `info,scim_relay::sync=debug`.
pub fn install(format: Format, filter: &str, traces: Option<&Traces>) -> Result<(), LogError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let colours = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
    let lines = match format {
        Format::Human => lines.with_target(false).boxed(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    let both = tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces.map(Traces::layer));
    both.try_init().map_err(|_| LogError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        let refused = install(Format::Human, "scim_relay=loudly", None);
        assert!(matches!(refused, Err(LogError::Filter(_))), "{refused:?}");
    }
}

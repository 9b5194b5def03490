//! What operators see: metrics, logs, redaction.

pub mod logs;
pub mod metrics;
pub mod redaction;

/// An error and all that caused it, on one line, for people.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

//! What operators see: metrics, logs, redaction.

pub mod metrics;

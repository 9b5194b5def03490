//! What operators see: metrics, logs, redaction.

pub mod logs;
pub mod metrics;
pub mod redaction;

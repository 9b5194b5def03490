//! Hands finished spans to the exporter, and says once when it does not work, and once when it does again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::conventions::told;

/// An exporter that says how it fares.
#[derive(Debug)]
pub(super) struct Reporting<E> {
    inner: E,
    fails: AtomicBool,
}

impl<E> Reporting<E> {
    pub(super) const fn new(inner: E) -> Self {
        Self { inner, fails: AtomicBool::new(false) }
    }

    fn report(&self, outcome: &OTelSdkResult) {
        let fails = outcome.is_err();
        let failed = self.fails.swap(fails, Ordering::Relaxed);
        match outcome {
            Err(error) if !failed => {
                tracing::warn!(%error, "failed to send spans to the collector; they are dropped until it takes them");
            }
            Ok(()) if failed => tracing::info!("spans are sent to the collector again"),
            Ok(()) | Err(_) => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Reporting<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.inner.export(batch.into_iter().map(told).collect()).await;
        self.report(&outcome);
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

//! A collector of traces that reads OTLP by OpenTelemetry's own definitions, in Python.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::scim_server::venv;

/// A running collector.
pub struct TraceCollector {
    _child: Child,
    /// What `OTEL_EXPORTER_OTLP_ENDPOINT` is to say.
    pub url: String,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl TraceCollector {
    pub async fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/trace_collector.py");
        let mut child = Command::new(venv().join("bin/python"))
            .arg("-I")
            .arg(script)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run ./scripts/test, which makes the Python environment");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines.next_line().await.expect("readable").expect("it ended before it listened");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                kept.lock().expect("nobody panics").push(serde_json::from_str(&line).expect("JSON"));
            }
        });
        Self { _child: child, url, spans }
    }

    /// What has come so far.
    pub fn spans(&self) -> Vec<Value> {
        self.spans.lock().expect("nobody panics").clone()
    }
}

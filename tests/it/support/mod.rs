//! What the integration tests share: real processes, real HTTP, waits on conditions.

pub mod fault_proxy;
pub mod relay;
pub mod sandbox;
pub mod scim_server;

use std::time::Duration;

/// A client for the tests' own calls. Loopback only, so no proxy and no TLS trust is looked up.
pub fn http_client() -> reqwest::Client {
    // Several tests of one process may be first.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client")
}

/// Waits until `condition` answers; fails loudly after `limit`.
pub async fn eventually<T>(what: &str, limit: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + limit;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {limit:?}: {what}");
    }
}

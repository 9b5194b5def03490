//! What the integration tests share: real processes, real HTTP, waits on conditions.

pub mod browser;
pub mod fault_proxy;
pub mod identity_provider;
pub mod middleman;
pub mod postgres;
pub mod postgres_proxy;
pub mod proof;
pub mod relay;
pub mod replicas;
pub mod resyncs;
pub mod sandbox;
pub mod scim_server;
pub mod sender;
pub mod trace_collector;

use std::time::Duration;

/// A client for the tests' own calls. Loopback only, so no proxy and no TLS trust is looked up.
pub fn http_client() -> reqwest::Client {
    // Several tests of one process may be first.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().expect("a client")
}

/// Waits until `condition` answers; fails loudly after `limit`.
pub async fn eventually<T>(what: &str, limit: Duration, condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_each(Duration::from_millis(20), what, limit, condition).await
}

/// The same for what costs more to ask: so often.
pub async fn eventually_each<T>(
    interval: Duration,
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = tokio::time::Instant::now() + limit;
    let mut tick = tokio::time::interval(interval);
    loop {
        tick.tick().await;
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within {limit:?}: {what}");
    }
}

/// Sends a signal, such as `KILL`, to a process of the test's own.
pub fn signal(pid: u32, name: &str) {
    let status = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(status.expect("kill").success(), "no process {pid} to send {name} to");
}

/// A port for a server that comes back to it. It lies below those that outgoing connections get, so
/// that nobody takes it meanwhile.
pub fn free_port() -> u16 {
    let port = || rand::RngExt::random_range(&mut rand::rng(), 20_000..32_000);
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(port).find(is_free).expect("one of twelve thousand")
}

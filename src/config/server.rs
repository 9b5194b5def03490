//! `[server]`: where the relay listens, and how much it takes at once.

use std::net::SocketAddr;

use super::problem::Problem;
use super::reader::Section;

/// Largest body limit that may be set, in bytes: a webhook is held in memory while it is verified.
const BODY_LIMIT_MAX: u64 = 64 * 1024 * 1024;

/// Where and how the relay serves HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Webhooks and health.
    pub listen: SocketAddr,
    /// Admin API, console and metrics; absent: the same as `listen`.
    pub admin_listen: Option<SocketAddr>,
    /// Largest webhook body, in bytes.
    pub body_limit: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)), admin_listen: None, body_limit: 1024 * 1024 }
    }
}

/// Reads `[server]`; every key has a default.
pub fn read(mut section: Section<'_>) -> ServerConfig {
    let default = ServerConfig::default();
    let listen = address(&mut section, "listen").unwrap_or(default.listen);
    let admin_listen = address(&mut section, "admin_listen");
    let body_limit = section.size("body_limit", 1..=BODY_LIMIT_MAX).unwrap_or(default.body_limit);
    if let Some(admin) = admin_listen.filter(|admin| collide(listen, *admin)) {
        section.add(
            Problem::error(
                section.path_of("admin_listen"),
                format!("takes the same port as `listen`, {listen}"),
                "choose another port, or leave the key out to serve both on one",
            )
            .with_value(admin),
        );
    }
    section.finish();
    ServerConfig { listen, admin_listen, body_limit }
}

fn address(section: &mut Section<'_>, key: &'static str) -> Option<SocketAddr> {
    let text = section.text(key)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        let remedy = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
        section.reject(key, &text, "is not a socket address", remedy);
    }
    parsed
}

/// Two listeners cannot share a port on one address, and an unspecified address is every address.
/// Port 0 is a new port each time.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_host
}

//! `scim2-server` from `PyPI`: a strict SCIM service that we did not write.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::{eventually, http_client};

/// A running server.
pub struct ScimServer {
    _child: Child,
    pub origin: String,
}

impl ScimServer {
    /// The token that it wants.
    pub const TOKEN: &str = "a-token-of-the-strict-server";

    pub async fn start() -> Self {
        let port = free_port();
        let origin = format!("http://127.0.0.1:{port}");
        let child = Command::new(venv().join("bin/python"))
            .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/scim_server.py"))
            .args([port.to_string().as_str(), Self::TOKEN])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("run ./scripts/test, which installs scim2-server");
        let client = http_client();
        eventually("scim2-server answers", Duration::from_mins(1), async || {
            let answer = client
                .get(format!("{origin}/v2/ServiceProviderConfig"))
                .bearer_auth(Self::TOKEN)
                .send()
                .await;
            answer.ok().filter(|answer| answer.status() == 200)
        })
        .await;
        Self { _child: child, origin }
    }

    pub fn base_url(&self) -> String {
        format!("{}/v2", self.origin)
    }
}

/// The virtual environment that `./scripts/test` makes.
pub fn venv() -> PathBuf {
    let path = std::env::var_os("SCIM_RELAY_TEST_VENV")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"), PathBuf::from);
    assert!(path.join("bin/python").exists(), "{} is missing: run ./scripts/test once", path.display());
    path
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

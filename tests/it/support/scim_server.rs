//! `scim2-server`: a strict SCIM service that we did not write, served by gunicorn.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running server.
pub struct ScimServer {
    child: Child,
    pub origin: String,
}

impl ScimServer {
    /// The token that it wants.
    pub const TOKEN: &str = "a-token-of-the-strict-server";

    pub async fn start() -> Self {
        Self::start_with_users(0).await
    }

    /// With this many users from the start: `u-0`, whose name is `u0@example.com`, and so on.
    pub async fn start_with_users(users: usize) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        let mut child = Command::new(venv().join("bin/gunicorn"))
            .args([
                "--workers",
                "1",
                "--threads",
                "32",
                "--keep-alive",
                "30",
                "--no-control-socket",
                "--preload",
            ])
            .args(["--bind", "127.0.0.1:0", "--chdir"])
            .arg(peers)
            .arg("scim2_server_app:application")
            .env("SCIM_PEER_TOKEN", Self::TOKEN)
            .env("SCIM_PEER_USERS", users.to_string())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .expect("run ./scripts/test, which installs gunicorn and scim2-server");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let origin = loop {
            let line = lines.next_line().await.expect("readable").expect("gunicorn ended before it listened");
            if let Some((_, rest)) = line.split_once("Listening at: ") {
                break rest.split_whitespace().next().expect("an address").to_owned();
            }
        };
        // The pipe is read to its end, so that the server never blocks on it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, origin }
    }

    pub fn base_url(&self) -> String {
        format!("{}/v2", self.origin)
    }
}

impl Drop for ScimServer {
    /// gunicorn's worker outlives its master, so the whole group ends.
    fn drop(&mut self) {
        if let Some(pid) = self.child.id() {
            let group = format!("-{pid}");
            drop(std::process::Command::new("kill").args(["-KILL", "--", &group]).status());
        }
    }
}

/// The virtual environment that `./scripts/test` makes.
pub(super) fn venv() -> PathBuf {
    let path = std::env::var_os("SCIM_RELAY_TEST_VENV")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"), PathBuf::from);
    assert!(path.join("bin/gunicorn").exists(), "{} lacks gunicorn: run ./scripts/test once", path.display());
    path
}

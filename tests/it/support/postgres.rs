//! A PostgreSQL server of one test's own: it may be stopped, killed and started again without
//! disturbing anybody.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::NoTls;

use super::{eventually, free_port, signal};

/// How long the server may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(30);

/// How the server is told to stop.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Ends every session and writes everything out.
    Fast,
    /// As a crash would: what was not committed is lost, and is cleaned up at the next start.
    Crash,
}

/// Tests with a server of their own measure time, so of one process only one of them runs at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A server with one empty database.
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    server: Option<Child>,
    _alone: MutexGuard<'static, ()>,
}

impl Postgres {
    /// Makes a server, starts it, and makes the database.
    pub async fn start() -> Self {
        let alone = ALONE.lock().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        if is_root() {
            run(Command::new("chown").arg(OWNER).arg(folder.path()));
        }
        let mut initdb = as_owner(&binaries().join("initdb"), folder.path());
        initdb.args(["--username=relay", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        run(initdb.arg("--pgdata").arg(folder.path().join("data")).stdout(Stdio::null()));
        let mut postgres = Self { folder, port: free_port(), server: None, _alone: alone };
        postgres.start_again().await;
        let client = postgres.client("postgres").await.expect("it answered just now");
        client.execute("CREATE DATABASE relay", &[]).await.expect("an empty server");
        postgres
    }

    /// Starts the stopped server where it was, and waits until it answers.
    pub async fn start_again(&mut self) {
        assert!(self.server.is_none(), "it runs");
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a writable folder");
        let mut server = as_owner(&binaries().join("postgres"), self.folder.path());
        server.arg("-D").arg(self.folder.path().join("data")).arg("-k").arg(self.folder.path());
        server.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        self.server = Some(server.stderr(log).spawn().expect("the server's program"));
        eventually("PostgreSQL answers", LIMIT, async || self.client("postgres").await.ok()).await;
    }

    /// Stops the server, and waits until it has ended.
    pub async fn stop(&mut self, how: Stop) {
        let mut server = self.server.take().expect("it runs");
        signal(
            server.id(),
            match how {
                Stop::Fast => "INT",
                Stop::Crash => "QUIT",
            },
        );
        let ended = async || server.try_wait().expect("a child of ours");
        eventually("PostgreSQL ends", LIMIT, ended).await;
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The database as the relay is told of it.
    pub fn url(&self) -> String {
        url_at(&self.address())
    }

    /// The one number that a query answers.
    pub async fn number(&self, query: &str) -> i64 {
        let client = self.client("relay").await.expect("it runs");
        client.query_one(query, &[]).await.expect("a query that works").get(0)
    }

    async fn client(&self, database: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let settings = format!("host=127.0.0.1 port={} user=relay dbname={database}", self.port);
        let (client, connection) = tokio_postgres::connect(&settings, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            signal(server.id(), "QUIT");
            drop(server.wait());
        }
    }
}

/// The same database by way of another address.
pub fn url_at(address: &str) -> String {
    format!("postgres://relay@{address}/relay")
}

/// The account that Debian's server is run by.
const OWNER: &str = "postgres";

/// The server refuses to run as root. It ends with this process, however this process ends.
fn as_owner(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if is_root() {
        command.args(["--reuid", OWNER, "--regid", OWNER, "--init-groups"]);
    }
    command.arg("--").arg(program).current_dir(folder).stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("Linux").uid() == 0
}

fn run(command: &mut Command) {
    let status = command.status().expect("a program of Debian's");
    assert!(status.success(), "{command:?}: {status}");
}

/// The newest server's programs, where Debian puts them.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |name: std::ffi::OsString| name.to_str().and_then(|name| name.parse::<u32>().ok());
    let with_server = |version: u32| {
        let folder = Path::new("/usr/lib/postgresql").join(version.to_string()).join("bin");
        folder.join("initdb").exists().then_some(folder)
    };
    let mut found: Vec<u32> = versions.filter_map(|entry| number(entry.file_name())).collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    let newest = found.into_iter().find_map(with_server);
    newest.expect("a PostgreSQL server under /usr/lib/postgresql: run ./scripts/test once")
}

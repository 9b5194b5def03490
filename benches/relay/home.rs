//! Where a relay of the benchmarks keeps what it must not forget: a file of its own, or a database of
//! its own.

use std::path::Path;
use std::sync::Arc;

use scim_relay::store::Store;
use scim_relay::store::postgres::{self, Address, PostgresStore};
use scim_relay::store::sqlite::{Options, SqliteStore};
use tempfile::TempDir;

/// Names a PostgreSQL server under which databases may be created.
const SERVER: &str = "SCIM_RELAY_TEST_POSTGRES";

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Embedded.
    Sqlite,
    /// A server on the same machine.
    Postgres,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A folder, and an empty store.
pub struct Home {
    folder: TempDir,
    url: String,
    kind: Kind,
}

impl Home {
    /// An empty store. The folder is on the disk that holds the build, which is a real one where
    /// `/tmp` may be memory.
    pub async fn new(kind: Kind) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder beside the build");
        let url = match kind {
            Kind::Sqlite => format!("sqlite://{}", folder.path().join("relay.db").display()),
            Kind::Postgres => create_database().await,
        };
        Self { folder, url, kind }
    }

    /// Which store.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// For the configuration and what else belongs to the relay.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `[store] url` says.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lets the database do what it otherwise does in its own time, so that what is measured next is
    /// not a late part of what came before.
    pub async fn settle(&self) {
        if self.kind == Kind::Postgres {
            let (client, connection) =
                tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.expect("the server answers");
            let connection = tokio::spawn(connection);
            for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
                client.batch_execute(statement).await.expect("the owner may");
            }
            drop(client);
            connection.await.expect("the connection ends").expect("in order");
        }
    }

    /// Opens the store in this process.
    pub async fn open(&self) -> Arc<dyn Store> {
        match self.kind {
            Kind::Sqlite => {
                let path = self.url.strip_prefix("sqlite://").expect("as made above");
                Arc::new(SqliteStore::open(path, Options::default()).expect("a new file"))
            }
            Kind::Postgres => {
                let address = Address::parse(&self.url).expect("a URL with a database");
                let options = postgres::Options::default();
                Arc::new(PostgresStore::open(&address, &options).await.expect("a new database"))
            }
        }
    }
}

/// Makes an empty database; answers its URL. It goes with the server.
#[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
async fn create_database() -> String {
    let server = std::env::var(SERVER)
        .unwrap_or_else(|_| panic!("{SERVER} is not set: run scripts/bench, which starts a server"));
    let name = format!("bench_{}", uuid::Uuid::new_v4().simple());
    let (client, connection) =
        tokio_postgres::connect(&server, tokio_postgres::NoTls).await.expect("the server answers");
    let connection = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("databases may be created");
    drop(client);
    connection.await.expect("the connection ends").expect("in order");
    let (before, _) = server.rsplit_once('/').expect("a URL with a database");
    format!("{before}/{name}")
}

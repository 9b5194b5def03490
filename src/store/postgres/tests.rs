use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::NoTls;

use super::*;
use crate::store::conformance::{self, Home};

/// A database of its own.
struct Place {
    url: String,
}

impl Place {
    fn new() -> Self {
        let server = std::env::var("SCIM_RELAY_TEST_POSTGRES")
            .expect("SCIM_RELAY_TEST_POSTGRES names a server: scripts/with-postgres cargo test");
        let (before, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{before}/test_{}", uuid::Uuid::new_v4().simple()) }
    }

    async fn create(&self) {
        let server = std::env::var("SCIM_RELAY_TEST_POSTGRES").unwrap();
        let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
        tokio::spawn(connection);
        let (_, name) = self.url.rsplit_once('/').unwrap();
        let exists =
            client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name]).await.unwrap();
        if exists.is_none() {
            client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        }
    }
}

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Arc<dyn Store> {
        self.create().await;
        let address = Address::parse(&self.url).unwrap();
        Arc::new(PostgresStore::open(&address, &Options::default()).await.unwrap())
    }
}

conformance::suite!(Place::new());

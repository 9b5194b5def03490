//! A database of its own for each test, on the server that `SCIM_RELAY_TEST_POSTGRES` names.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio_postgres::NoTls;

use super::*;
use crate::store::conformance::{self, Home};

/// A database that is made when it is first opened.
pub(super) struct Place(OnceCell<Address>);

impl Place {
    pub(super) fn new() -> Self {
        Self(OnceCell::new())
    }

    pub(super) async fn address(&self) -> &Address {
        self.0.get_or_init(create).await
    }

    pub(super) async fn open(&self) -> PostgresStore {
        PostgresStore::open(self.address().await, &Options::default()).await.unwrap()
    }
}

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.open().await)
    }
}

async fn create() -> Address {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let server = std::env::var("SCIM_RELAY_TEST_POSTGRES");
    let server = server.expect("no database to test with; run scripts/with-postgres cargo test");
    let name = format!("relay_{}", uuid::Uuid::new_v4().simple());
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
    let driven = tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    drop(client);
    driven.await.unwrap().unwrap();
    let (place, _) = server.rsplit_once('/').unwrap();
    Address::parse(&format!("{place}/{name}")).unwrap()
}

conformance::suite!(Place::new());

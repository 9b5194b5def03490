//! Connections: opened within a time, set up alike, refused where the server would not do.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod,
    Runtime, TimeoutType,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;
use crate::store::postgres::address::Address;
use crate::store::postgres::fault::{TimedOut, plain};
use crate::store::postgres::{OpenError, tls};

/// Longest time of one statement.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait of a statement for others' locks.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest pause within a transaction, after which the server gives up on the relay. Whoever waits for
/// the locks of a replica that fell silent gets them before the wait is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the server looks, during a statement, whether the relay is still there (PostgreSQL 14).
const PEER_CHECK: Duration = Duration::from_secs(5);
/// Longest wait for a host to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for TLS, log-in and set-up behind that.
pub(super) const SETUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection of the pool.
const POOL_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence of the network that a connection outlives.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// PostgreSQL 13 is the oldest with all that is used.
const SERVER_VERSION_MIN: u32 = 130_000;

type Wire = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Opens connections to one address.
#[derive(Clone)]
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    plain_text_is_risky: bool,
}

impl Connector {
    /// To this address; reads the roots that its TLS trusts.
    pub(super) fn new(address: &Address) -> Result<Self, OpenError> {
        let mut config = address.config().clone();
        if config.get_application_name().is_none() {
            config.application_name("scim-relay");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config
            .keepalives_idle(KEEPALIVE_IDLE)
            .keepalives_interval(KEEPALIVE_INTERVAL)
            .keepalives_retries(KEEPALIVE_RETRIES)
            .tcp_user_timeout(TCP_USER_TIMEOUT);
        let plain_text_is_risky = config.get_ssl_mode() == SslMode::Prefer && leaves_machine(&config);
        Ok(Self { config, tls: tls::connector(address)?, plain_text_is_risky })
    }

    /// Opens a connection. Nothing happens on it unless somebody polls the second part.
    pub(super) async fn open(&self) -> Result<(Client, Wire), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// Longest time until a connection is open, whichever host takes it.
    pub(super) fn timeout(&self) -> Duration {
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len());
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        each * u32::try_from(hosts).unwrap_or(1) + SETUP_TIMEOUT
    }

    /// Up to `connections_max` connections, opened as they are needed.
    pub(super) fn pool(&self, connections_max: usize) -> Pool {
        let manager = Manager::from_connect(
            self.config.clone(),
            self.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        Pool::builder(manager)
            .max_size(connections_max)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(POOL_TIMEOUT))
            .create_timeout(Some(self.timeout()))
            .post_create(Hook::async_fn(|client: &mut ClientWrapper, _| set_up_for_pool(client).boxed()))
            .build()
            .expect("a pool with timeouts was given its runtime")
    }

    /// Tells an operator once what makes the database less safe than it should be.
    pub(super) async fn warn(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let row = client
            .query_one(
                "SELECT current_setting('fsync')::boolean,
                        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)",
                &[],
            )
            .await?;
        if !row.try_get::<_, bool>(0)? {
            tracing::warn!("the database runs with fsync off: a power failure may lose accepted events");
        }
        if self.plain_text_is_risky && !row.try_get::<_, bool>(1)? {
            tracing::warn!("the server offers no TLS, so what goes to the database can be read on the way");
        }
        Ok(())
    }
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        async move {
            let (client, wire) = self.open().await?;
            let driving = tokio::spawn(async move {
                if let Err(error) = wire.await {
                    tracing::debug!(error = %plain(error), "a connection to the database has ended");
                }
            });
            Ok((client, driving))
        }
        .boxed()
    }
}

/// Whether packets to one of the hosts can be seen elsewhere.
fn leaves_machine(config: &Config) -> bool {
    let far = |name: &str| match name.parse::<std::net::IpAddr>() {
        Ok(address) => !address.is_loopback(),
        Err(_) => name != "localhost",
    };
    let hosts_are_far = config.get_hosts().iter().any(|host| match host {
        Host::Tcp(name) => far(name),
        Host::Unix(_) => false,
    });
    hosts_are_far || config.get_hostaddrs().iter().any(|address| !address.is_loopback())
}

/// Why a new connection is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetUpError {
    /// Too old to have what is used.
    #[error("the server is PostgreSQL {}, and the relay needs 13 or later", version / 10_000)]
    TooOld {
        /// As `server_version_num` has it.
        version: u32,
    },
    /// Not every text could be kept.
    #[error("the database has the encoding {encoding}, and the relay needs UTF8")]
    Encoding {
        /// Its name.
        encoding: String,
    },
    /// A standby, or a database that was set so.
    #[error("the server is read-only, a standby perhaps; name the primary, or all hosts")]
    ReadOnly,
    /// It answered something else.
    #[error("the server did not tell what it is")]
    Mute,
    /// No answer.
    #[error(transparent)]
    TimedOut(TimedOut),
    /// The connection failed.
    #[error("the connection could not be set up")]
    Driver(#[from] tokio_postgres::Error),
}

/// Gives a session the relay's limits, and checks that its server will do.
pub(super) async fn set_up(client: &Client) -> Result<(), SetUpError> {
    let statement = set_up_statement();
    let answer = tokio::time::timeout(SETUP_TIMEOUT, client.simple_query(&statement)).await;
    let messages = answer.map_err(|_| SetUpError::TimedOut(TimedOut { limit: SETUP_TIMEOUT }))??;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        SimpleQueryMessage::CommandComplete(_) | _ => None,
    });
    let fields = row.and_then(|row| Some((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (version, encoding, read_only) = fields.ok_or(SetUpError::Mute)?;
    let version = version.parse().map_err(|_| SetUpError::Mute)?;
    judge(version, encoding, read_only == "t")
}

fn judge(version: u32, encoding: &str, read_only: bool) -> Result<(), SetUpError> {
    if version < SERVER_VERSION_MIN {
        return Err(SetUpError::TooOld { version });
    }
    if encoding != "UTF8" {
        return Err(SetUpError::Encoding { encoding: encoding.to_owned() });
    }
    if read_only { Err(SetUpError::ReadOnly) } else { Ok(()) }
}

/// One statement, so that opening a connection costs one more round trip. A commit must survive a
/// power failure of the server, so a weaker `synchronous_commit` is raised; a stronger one is kept.
/// The just-in-time compiler takes longer than the relay's statements.
/// Plans are made once for any arguments: each statement was written for its indexes, while a plan made
/// for a batch at hand may read a whole table that happens to look small.
fn set_up_statement() -> String {
    format!(
        "SELECT current_setting('server_version_num'), current_setting('server_encoding'),
                pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean,
                set_config('statement_timeout', '{}', false),
                set_config('lock_timeout', '{}', false),
                set_config('idle_in_transaction_session_timeout', '{}', false),
                set_config('jit', 'off', false),
                set_config('plan_cache_mode', 'force_generic_plan', false),
                CASE WHEN current_setting('synchronous_commit') IN ('off', 'local')
                     THEN set_config('synchronous_commit', 'on', false) END,
                CASE WHEN current_setting('server_version_num')::integer >= 140000
                     THEN set_config('client_connection_check_interval', '{}', false) END",
        STATEMENT_TIMEOUT.as_millis(),
        LOCK_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis(),
        PEER_CHECK.as_millis(),
    )
}

async fn set_up_for_pool(client: &Client) -> Result<(), HookError> {
    set_up(client).await.map_err(|error| match error {
        SetUpError::Driver(error) => HookError::Backend(error),
        SetUpError::TooOld { .. }
        | SetUpError::Encoding { .. }
        | SetUpError::ReadOnly
        | SetUpError::Mute
        | SetUpError::TimedOut(_) => HookError::message(error.to_string()),
    })
}

/// Why the pool lent no connection.
pub(super) fn not_lent(error: PoolError) -> StoreError {
    match error {
        PoolError::Timeout(TimeoutType::Wait) => StoreError::Busy,
        PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => {
            StoreError::Unavailable { source: "the database took too long to let the relay in".into() }
        }
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => error.into(),
        PoolError::PostCreateHook(HookError::Message(text)) => {
            StoreError::Unavailable { source: text.into() }
        }
        error @ (PoolError::Closed | PoolError::NoRuntimeSpecified) => {
            StoreError::Unavailable { source: Box::new(error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_will_not_do_is_refused_with_its_reason() {
        judge(130_000, "UTF8", false).unwrap();
        let refusals = [
            (judge(120_022, "UTF8", false), "is PostgreSQL 12"),
            (judge(150_004, "LATIN1", false), "encoding LATIN1"),
            (judge(150_004, "UTF8", true), "read-only"),
        ];
        for (refused, reason) in refusals {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn only_the_way_to_another_machine_is_risky() {
        let risky = |url: &str| leaves_machine(Address::parse(url).unwrap().config());
        for near in [
            "postgres://u@localhost/d",
            "postgres://u@127.0.0.1/d",
            "postgres://u@%2Frun/d",
            "postgres://u@[::1]/d",
        ] {
            assert!(!risky(near), "{near}");
        }
        for far in ["postgres://u@db/d", "postgres://u@10.0.0.1/d", "postgres://u@localhost,db/d"] {
            assert!(risky(far), "{far}");
        }
    }
}

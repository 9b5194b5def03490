//! Transactions on pooled connections: bounded in time, tried again after a conflict, and rolled back
//! when given up.

use std::marker::PhantomData;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool};
use futures_util::future::BoxFuture;
use rand::RngExt;
use tokio_postgres::IsolationLevel;

use crate::store::StoreError;
use crate::store::postgres::connection::{STATEMENT_TIMEOUT, not_lent};
use crate::store::postgres::fault::{self, TimedOut};
use crate::store::postgres::rows::Tx;

/// Tries of a transaction that others get in the way of.
const TRIES_MAX: u32 = 5;
/// Longest wait before the second try; doubled for each further one.
const FIRST_WAIT_MS_MAX: u64 = 20;
/// Longest time that a transaction takes, should the network swallow what the server answers.
const TRANSACTION_LONGEST: Duration = Duration::from_secs(STATEMENT_TIMEOUT.as_secs() + 5);
/// The same where a sender waits.
const PROMPT_LONGEST: Duration = Duration::from_secs(4);
/// The same for what touches everything that a directory holds.
const LONG_LONGEST: Duration = Duration::from_mins(30);

/// The way to the database.
#[derive(Clone)]
pub(super) struct Database(Pool);

/// What happens in a transaction.
pub(super) type Running<'t, T> = BoxFuture<'t, Result<T, StoreError>>;

/// Says that what a closure borrows (`'e`) outlives the transaction (`'t`): a bound that closures
/// cannot state otherwise.
pub(super) type Held<'t, 'e> = PhantomData<&'t &'e ()>;

/// How a transaction runs.
#[derive(Clone, Copy)]
struct Terms {
    isolation: IsolationLevel,
    read_only: bool,
    /// Whether the server ends statements and waits for locks that take long.
    bounded_by_server: bool,
    longest: Duration,
}

impl Database {
    /// On these connections.
    pub(super) fn new(pool: Pool) -> Self {
        Self(pool)
    }

    /// Runs `run` in a transaction and commits. `run` may run several times.
    pub(super) async fn write<'e, T>(
        &self,
        run: impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
    ) -> Result<T, StoreError> {
        self.in_transaction(WRITE, run).await
    }

    /// Like [`write`](Self::write), for what is soon done or not at all.
    pub(super) async fn write_promptly<'e, T>(
        &self,
        run: impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
    ) -> Result<T, StoreError> {
        self.in_transaction(WRITE_PROMPTLY, run).await
    }

    /// Like [`write`](Self::write), for what may take minutes.
    pub(super) async fn write_long<'e, T>(
        &self,
        run: impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
    ) -> Result<T, StoreError> {
        self.in_transaction(WRITE_LONG, run).await
    }

    /// Runs `run` on one committed state.
    pub(super) async fn read<'e, T>(
        &self,
        run: impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
    ) -> Result<T, StoreError> {
        self.in_transaction(READ, run).await
    }

    async fn in_transaction<'e, T>(
        &self,
        terms: Terms,
        run: impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
    ) -> Result<T, StoreError> {
        let mut tries = 0;
        loop {
            let done = self.try_transaction(terms, &run).await;
            tries += 1;
            match done {
                Err(error) if fault::is_conflict(&error) && tries < TRIES_MAX => {
                    let wait_ms = rand::rng().random_range(0..=FIRST_WAIT_MS_MAX << (tries - 1));
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                done => return done,
            }
        }
    }

    async fn try_transaction<'e, T>(
        &self,
        terms: Terms,
        run: &impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
    ) -> Result<T, StoreError> {
        let mut lent = Lent::new(self.0.get().await.map_err(not_lent)?);
        let running = transact(lent.client(), terms, run);
        let done = match tokio::time::timeout(terms.longest, running).await {
            Ok(done) => done,
            Err(_) => Err(TimedOut { limit: terms.longest }.into()),
        };
        if done.as_ref().err().is_none_or(fault::leaves_sound) {
            lent.give_back();
        }
        done
    }
}

const WRITE: Terms = Terms {
    isolation: IsolationLevel::ReadCommitted,
    read_only: false,
    bounded_by_server: true,
    longest: TRANSACTION_LONGEST,
};
const WRITE_PROMPTLY: Terms = Terms { longest: PROMPT_LONGEST, ..WRITE };
const WRITE_LONG: Terms = Terms { bounded_by_server: false, longest: LONG_LONGEST, ..WRITE };
const READ: Terms = Terms { isolation: IsolationLevel::RepeatableRead, read_only: true, ..WRITE };

async fn transact<'e, T>(
    client: &mut ClientWrapper,
    terms: Terms,
    run: &impl for<'t> Fn(&'t Tx<'t>, Held<'t, 'e>) -> Running<'t, T>,
) -> Result<T, StoreError> {
    let begin = client.build_transaction().isolation_level(terms.isolation).read_only(terms.read_only);
    let tx = begin.start().await?;
    if !terms.bounded_by_server {
        tx.batch_execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    }
    // Dropped, a transaction is rolled back, and nobody waits for that.
    let answer = run(&tx, PhantomData).await?;
    if !terms.read_only {
        tx.commit().await?;
    }
    Ok(answer)
}

/// A connection on loan. It is closed, not given back, unless whoever borrowed it says that nothing
/// is under way on it: the next borrower would wait for what was given up half-way.
struct Lent(Option<Object>);

impl Lent {
    const fn new(object: Object) -> Self {
        Self(Some(object))
    }

    fn client(&mut self) -> &mut ClientWrapper {
        self.0.as_mut().expect("it is held until it is given back or dropped")
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

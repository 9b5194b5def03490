//! Hints between replicas: told with a commit, heard on a connection of their own.
//!
//! `NOTIFY` takes a lock that the whole database shares when its transaction commits, so only rare
//! transactions tell, once each.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::poll_fn;
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio_postgres::{AsyncMessage, Client};

use crate::store::postgres::connection::{Connector, SETUP_TIMEOUT, set_up};
use crate::store::postgres::fault::{self, TimedOut};
use crate::store::postgres::rows::{self, Tx};
use crate::store::{Hint, StoreError};

/// Hints that a slow listener may be behind; it is told that it missed some beyond that.
const BEHIND_MAX: usize = 1_024;
/// PostgreSQL refuses payloads of 8,000 bytes and more.
const PAYLOAD_BYTES_MAX: usize = 7_999;
const RECONNECT_WAIT_MIN: Duration = Duration::from_millis(100);
const RECONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// What a transaction tells the other replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Told {
    /// These targets have new work.
    Work(BTreeSet<String>),
    /// This target's state was set.
    State(String),
    /// A target was handed back, or a replica has come or gone.
    Leases,
    /// More than fits.
    Much,
}

impl Told {
    /// A target has new work.
    pub(super) fn work_of(target: &str) -> Self {
        Self::Work([target.to_owned()].into())
    }
}

/// One payload. A replica leaves out what it has told itself.
#[derive(Serialize, Deserialize)]
struct Payload {
    /// A number that the replica drew when it opened the store.
    from: u64,
    told: Told,
}

/// Hears what other replicas tell, for as long as it is held.
pub(super) struct Hints {
    own: u64,
    heard: broadcast::Sender<Hint>,
    listening: AbortHandle,
}

impl Hints {
    /// Starts to listen; reconnects for ever.
    pub(super) fn listen(connector: Connector) -> Self {
        let own = rand::random();
        let (heard, _) = broadcast::channel(BEHIND_MAX);
        let listening = tokio::spawn(listen(connector, own, heard.clone())).abort_handle();
        Self { own, heard, listening }
    }

    /// What is heard from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Hint> {
        self.heard.subscribe()
    }

    /// Tells the others once the transaction has committed.
    pub(super) async fn tell(&self, tx: &Tx<'_>, told: Told) -> Result<(), StoreError> {
        let payload = payload(self.own, told);
        rows::execute(tx, "SELECT pg_notify('scim_relay', $1)", &[&payload]).await?;
        Ok(())
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Whether a replica is among those that live, so that its attendance is no news.
pub(super) async fn attends(tx: &Tx<'_>, replica: &str) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM replicas WHERE name = $1 AND ends_at > clock_timestamp())";
    Ok(rows::query_one(tx, sql, &[&replica]).await?.try_get(0)?)
}

fn payload(from: u64, told: Told) -> String {
    let text = rows::to_json(&Payload { from, told });
    if text.len() > PAYLOAD_BYTES_MAX { rows::to_json(&Payload { from, told: Told::Much }) } else { text }
}

/// What a payload says to the replica `own`. One that cannot be read is from a newer relay.
fn hints(own: u64, payload: &str) -> Vec<Hint> {
    match serde_json::from_str::<Payload>(payload) {
        Ok(Payload { from, .. }) if from == own => Vec::new(),
        Ok(Payload { told: Told::Work(targets), .. }) => {
            targets.into_iter().map(|target| Hint::Work { target }).collect()
        }
        Ok(Payload { told: Told::State(target), .. }) => vec![Hint::State { target }],
        Ok(Payload { told: Told::Leases, .. }) => vec![Hint::Leases],
        Ok(Payload { told: Told::Much, .. }) | Err(_) => vec![Hint::Gap],
    }
}

async fn listen(connector: Connector, own: u64, heard: broadcast::Sender<Hint>) {
    let mut wait = RECONNECT_WAIT_MIN;
    loop {
        let Err(ended) = listen_once(&connector, own, &heard, &mut wait).await;
        tracing::warn!(reason = %fault::reason(&ended), "hints from other replicas are not heard; they are asked for meanwhile");
        let part = rand::rng().random_range(0.5..=1.0);
        tokio::time::sleep(wait.mul_f64(part)).await;
        wait = (wait * 2).min(RECONNECT_WAIT_MAX);
    }
}

/// Listens until the connection ends; answers why it did. A connection that works makes the next wait
/// short again.
async fn listen_once(
    connector: &Connector,
    own: u64,
    heard: &broadcast::Sender<Hint>,
    wait: &mut Duration,
) -> Result<Infallible, StoreError> {
    let limit = connector.timeout();
    let opened = tokio::time::timeout(limit, connector.open()).await;
    let (client, mut wire) = opened.map_err(|_| TimedOut { limit })??;
    // The client is held for as long as the wire is driven: dropped, it would end the connection.
    let subscribed = async {
        subscribe(&client).await?;
        // What was told before is lost; a listener that came before asks for everything once more.
        let _ = heard.send(Hint::Gap);
        *wait = RECONNECT_WAIT_MIN;
        std::future::pending().await
    };
    let driven = async {
        while let Some(message) = poll_fn(|context| wire.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message? {
                for hint in hints(own, notification.payload()) {
                    // Nobody may be listening.
                    let _ = heard.send(hint);
                }
            }
        }
        Err(StoreError::Unavailable { source: "the connection was closed".into() })
    };
    tokio::select! { ended = subscribed => ended, ended = driven => ended }
}

async fn subscribe(client: &Client) -> Result<(), StoreError> {
    set_up(client).await.map_err(|error| StoreError::Unavailable { source: Box::new(error) })?;
    let listening = client.batch_execute("LISTEN scim_relay");
    let answer = tokio::time::timeout(SETUP_TIMEOUT, listening).await;
    Ok(answer.map_err(|_| TimedOut { limit: SETUP_TIMEOUT })??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(targets: usize) -> Told {
        Told::Work((0..targets).map(|number| format!("target-{number}")).collect())
    }

    #[test]
    fn what_is_told_is_heard_by_others_alone() {
        let (one, other) = (1, 2);
        let target = |name: &str| name.to_owned();
        let cases = [
            (
                work(2),
                vec![Hint::Work { target: target("target-0") }, Hint::Work { target: target("target-1") }],
            ),
            (Told::State(target("acme \"1\"")), vec![Hint::State { target: target("acme \"1\"") }]),
            (Told::Leases, vec![Hint::Leases]),
        ];
        for (told, heard) in cases {
            let payload = payload(one, told);
            assert_eq!(hints(other, &payload), heard);
            assert_eq!(hints(one, &payload), []);
        }
    }

    #[test]
    fn what_does_not_fit_or_cannot_be_read_is_a_gap() {
        let payload = payload(1, work(1_000));
        assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        assert_eq!(hints(2, &payload), [Hint::Gap]);
        assert_eq!(hints(2, "from a newer relay"), [Hint::Gap]);
    }
}

//! Taking events: whatever waits shares the next statement, so that the disk is asked once for many
//! callers; nobody is answered before that statement has committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use futures_util::FutureExt as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::store::postgres::database::Database;
use crate::store::postgres::fault::TimedOut;
use crate::store::postgres::{OpenError, fault, rows};
use crate::store::{Appended, NewEvent, StoreError};

/// Longest wait for an answer, in the queue and beyond: senders have little more patience.
const ANSWER_LONGEST: Duration = Duration::from_secs(6);
/// Calls that may wait.
const QUEUE_MAX: usize = 4_096;
/// Calls that share one statement.
const BATCH_MAX: usize = 512;
/// Bytes of bodies past which a batch takes no further event.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Events whose times of receipt are less than this apart, in microseconds, are put into the order in
/// which they were stored: replicas' clocks agree no better.
const BEHIND_US_MAX: i64 = 50_000;
/// Batches that are under way at the same time: while one waits for the disk, the next is sent.
pub(super) const BATCHES_AT_ONCE: usize = 2;

/// The way to the tasks that append. They end once it is dropped and all that was asked for is done.
pub(super) struct Appender(mpsc::Sender<Append>);

struct Append {
    event: NewEvent,
    answer: oneshot::Sender<Result<Appended, StoreError>>,
}

impl Appender {
    /// Starts the tasks, which use connections of their own: nothing else delays an event.
    pub(super) fn start(pool: &Pool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..BATCHES_AT_ONCE {
            tokio::spawn(append_batches(Database::new(pool.clone()), Arc::clone(&waiting)));
        }
        Self(queue)
    }

    /// Appends an event; refused at once when the queue is full.
    pub(super) async fn append(&self, event: NewEvent) -> Result<Appended, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Append { event, answer }).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Closed(_) => OpenError::Stopped.into(),
        })?;
        // Should it become durable after all, the sender's next try is answered as a duplicate.
        match timeout(ANSWER_LONGEST, answered).await {
            Ok(answered) => answered.map_err(|_| OpenError::Stopped)?,
            Err(_) => Err(TimedOut { limit: ANSWER_LONGEST }.into()),
        }
    }
}

async fn append_batches(database: Database, waiting: Arc<Mutex<mpsc::Receiver<Append>>>) {
    while let Some(batch) = next_batch(&waiting).await {
        serve(&database, batch).await;
    }
}

/// All that waits, up to the limits. One task gathers at a time.
async fn next_batch(waiting: &Mutex<mpsc::Receiver<Append>>) -> Option<Vec<Append>> {
    let mut waiting = waiting.lock().await;
    let first = waiting.recv().await?;
    let mut bytes = first.event.body.len();
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX
        && bytes < BATCH_BYTES_MAX
        && let Ok(next) = waiting.try_recv()
    {
        bytes += next.event.body.len();
        batch.push(next);
    }
    Some(batch)
}

/// What tells events apart, in the order of the index.
type EventKey = (String, String);

/// An event, and how often it was sent.
struct Sent {
    event: NewEvent,
    times: i64,
}

/// One statement for the whole batch, then the answers. Of several events with one key the first is
/// sent, and the others share its fate: duplicates if it becomes durable, refused if it does not.
async fn serve(database: &Database, batch: Vec<Append>) {
    let mut events: BTreeMap<EventKey, Sent> = BTreeMap::new();
    let mut answers = Vec::with_capacity(batch.len());
    for Append { event, answer } in batch {
        // Nobody waits for it any more: the sender was told to come again.
        if answer.is_closed() {
            continue;
        }
        let key = (event.event_id.clone(), event.source.clone());
        let first = !events.contains_key(&key);
        match events.get_mut(&key) {
            Some(sent) => sent.times += 1,
            None => drop(events.insert(key.clone(), Sent { event, times: 1 })),
        }
        answers.push((key, first, answer));
    }
    if events.is_empty() {
        return;
    }
    let inserted = database.write_promptly(|tx, _| insert(tx, &events).boxed()).await;
    if let Err(error) = &inserted {
        tracing::error!(error = %fault::reason(error), refused = answers.len(), "failed to append; nothing of the batch is answered as stored");
    }
    let inserted = inserted.map_err(Refusal::of);
    for (key, first, answer) in answers {
        let appended = match &inserted {
            Ok(new) if first && new.contains(&key) => Ok(Appended::New),
            Ok(_) => Ok(Appended::Duplicate),
            Err(refusal) => Err(refusal.again()),
        };
        // The caller may have gone; its sender will repeat the event and be told that it is known.
        let _ = answer.send(appended);
    }
}

/// Appends events in the order of their keys, so that two replicas with the same events do not wait for
/// each other in a circle; answers the keys of those that are new.
///
/// A sender that waits for each answer may post to another replica each time. Whatever its clock says
/// within [`BEHIND_US_MAX`], the later event is the later one here, too.
async fn insert(
    tx: &rows::Tx<'_>,
    events: &BTreeMap<EventKey, Sent>,
) -> Result<BTreeSet<EventKey>, StoreError> {
    let times: Vec<i64> = events.values().map(|sent| sent.times).collect();
    let events = || events.values().map(|sent| &sent.event);
    let sources: Vec<&str> = events().map(|event| event.source.as_str()).collect();
    let directories: Vec<&str> = events().map(|event| event.directory.as_str()).collect();
    let event_ids: Vec<&str> = events().map(|event| event.event_id.as_str()).collect();
    let received: Vec<_> = events().map(|event| event.received_at).collect();
    let urgent: Vec<bool> = events().map(|event| event.urgent).collect();
    let bodies: Vec<&[u8]> = events().map(|event| event.body.as_slice()).collect();
    let rows = rows::query(
        tx,
        "WITH given AS (
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::boolean[], $6::bytea[],
                                  $8::bigint[])
                 AS given (source, directory, event_id, received_at, urgent, body, times)
         ), latest AS (
             SELECT max(received_at) AS at FROM events
         ), taken AS (
             INSERT INTO events (source, directory, event_id, received_at, body)
             SELECT source, directory, event_id,
                 CASE WHEN at > received_at AND at - received_at < $7 THEN at + 1 ELSE received_at END, body
             FROM given CROSS JOIN latest
             ON CONFLICT (event_id, source) DO NOTHING
             RETURNING seq, event_id, source, octet_length(body) AS bytes
         ), in_line AS (
             INSERT INTO events_waiting (rank, seq, bytes)
             SELECT CASE WHEN given.urgent THEN 0 ELSE 1 END, taken.seq, taken.bytes
             FROM taken JOIN given USING (event_id, source)
         ), repeated AS (
             INSERT INTO event_repeats AS r (source, event_id, times, last_at)
             SELECT source, event_id, times - CASE WHEN taken.seq IS NULL THEN 0 ELSE 1 END, received_at
             FROM given LEFT JOIN taken USING (event_id, source)
             WHERE taken.seq IS NULL OR times > 1
             ORDER BY event_id, source
             ON CONFLICT (source, event_id)
             DO UPDATE SET times = r.times + excluded.times, last_at = greatest(r.last_at, excluded.last_at)
         )
         SELECT event_id, source FROM taken",
        &[&sources, &directories, &event_ids, &received, &urgent, &bodies, &BEHIND_US_MAX, &times],
    )
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Why a batch failed, for each of those who were in it.
enum Refusal {
    Busy,
    Failed(Arc<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    fn of(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::Busy,
            StoreError::Unavailable { source } => Self::Failed(source.into()),
            StoreError::Corrupt { .. } | StoreError::Deposed { .. } => Self::Failed(Arc::new(error)),
        }
    }

    fn again(&self) -> StoreError {
        match self {
            Self::Busy => StoreError::Busy,
            Self::Failed(source) => StoreError::Unavailable { source: Box::new(Arc::clone(source)) },
        }
    }
}

//! The one thread that writes. Whatever waits for it shares its next commit, so that the disk is
//! asked once for many callers; nobody is answered before that commit has returned.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::store::sqlite::checkpoint::Checkpoints;
use crate::store::sqlite::connection::WriteConnection;
use crate::store::sqlite::inbox::Inbox;
use crate::store::sqlite::seen::EventDigest;
use crate::store::sqlite::{OpenError, Options};
use crate::store::{Appended, NewEvent, StoreError};

/// Calls that may wait for the writer.
const QUEUE_MAX: usize = 4_096;
/// Calls that share one commit.
const BATCH_MAX: usize = 512;

/// The way to the writer thread; dropping it waits until all that was asked for is done.
pub(super) struct Writer {
    /// `None` only while being dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    hold_paused_clock: bool,
}

impl Writer {
    /// Starts the thread on an open connection.
    pub(super) fn start(
        path: PathBuf,
        options: Options,
        connection: WriteConnection,
    ) -> Result<Self, StoreError> {
        let inbox = Inbox::load(&connection.conn, options.ids_remembered_for)?;
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let hold_paused_clock = options.hold_paused_clock;
        let checkpoints = Checkpoints::default();
        let mut thread = WriterThread { path, options, connection: Some(connection), inbox, checkpoints };
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(waiting))
            .map_err(|source| StoreError::Unavailable { source: Box::new(source) })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), hold_paused_clock })
    }

    /// Appends an event; refused at once when the queue is full.
    pub(super) async fn append(&self, event: NewEvent) -> Result<Appended, StoreError> {
        let digest = EventDigest::of(&event.source, &event.event_id);
        let (answer, answered) = oneshot::channel();
        let append = Box::new(Append { event, digest, appended: None, answer });
        self.queue()?.try_send(append).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Closed(_) => OpenError::Stopped.into(),
        })?;
        self.wait(answered).await
    }

    /// Runs `write` inside the next transaction; waits for a place in the queue. An error takes back
    /// what `write` did, and nothing else.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(Call { write: Some(write), written: None, answer });
        self.queue()?.send(call).await.map_err(|_| OpenError::Stopped)?;
        self.wait(answered).await
    }

    fn queue(&self) -> Result<&mpsc::Sender<Box<dyn Job>>, StoreError> {
        self.queue.as_ref().ok_or_else(|| OpenError::Stopped.into())
    }

    async fn wait<T: Send + 'static>(
        &self,
        answered: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let answer = if self.hold_paused_clock {
            let waited = tokio::task::spawn_blocking(move || answered.blocking_recv()).await;
            waited.map_err(|_| OpenError::Stopped)?
        } else {
            answered.await
        };
        answer.map_err(|_| OpenError::Stopped)?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported where it happened.
            let _ = thread.join();
        }
    }
}

/// One write. `run` answers an error only when the whole transaction must fail.
trait Job: Send {
    fn run(&mut self, conn: &Connection, inbox: &mut Inbox) -> Result<(), StoreError>;
    /// Tells whoever asked; they may be gone, and what was written stays.
    fn answer(self: Box<Self>, fault: Option<&Fault>);
}

/// Why a transaction failed, for each of those who were in it.
type Fault = Arc<dyn Error + Send + Sync>;

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

struct Append {
    event: NewEvent,
    digest: EventDigest,
    appended: Option<Appended>,
    answer: Answer<Appended>,
}

impl Job for Append {
    fn run(&mut self, conn: &Connection, inbox: &mut Inbox) -> Result<(), StoreError> {
        self.appended = Some(inbox.append(conn, &self.event, self.digest)?);
        Ok(())
    }

    fn answer(self: Box<Self>, fault: Option<&Fault>) {
        let _ = self.answer.send(settle(self.appended.map(Ok), fault));
    }
}

struct Call<F, T> {
    write: Option<F>,
    written: Option<Result<T, StoreError>>,
    answer: Answer<T>,
}

impl<F, T> Job for Call<F, T>
where
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, conn: &Connection, _: &mut Inbox) -> Result<(), StoreError> {
        let Some(write) = self.write.take() else { return Ok(()) };
        conn.prepare_cached("SAVEPOINT call")?.execute([])?;
        let written = write(conn);
        if written.is_err() {
            // Fails, and the whole transaction with it, where SQLite has given up the transaction.
            conn.prepare_cached("ROLLBACK TO call")?.execute([])?;
        }
        conn.prepare_cached("RELEASE call")?.execute([])?;
        self.written = Some(written);
        Ok(())
    }

    fn answer(self: Box<Self>, fault: Option<&Fault>) {
        let _ = self.answer.send(settle(self.written, fault));
    }
}

fn settle<T>(done: Option<Result<T, StoreError>>, fault: Option<&Fault>) -> Result<T, StoreError> {
    match fault {
        Some(fault) => Err(StoreError::Unavailable { source: Box::new(Arc::clone(fault)) }),
        None => done.unwrap_or_else(|| Err(OpenError::Stopped.into())),
    }
}

struct WriterThread {
    path: PathBuf,
    options: Options,
    /// `None` after a fault, until it can be opened again.
    connection: Option<WriteConnection>,
    inbox: Inbox,
    checkpoints: Checkpoints,
}

impl WriterThread {
    fn run(&mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            self.serve(batch);
            if let Some(WriteConnection { conn, log_pages }) = &self.connection {
                self.checkpoints.after_commit(conn, log_pages.load(Ordering::Relaxed), waiting.is_empty());
            }
        }
    }

    /// One transaction for the whole batch, then the answers.
    fn serve(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let fault = self.transact(&mut batch).err().map(|error| {
            // The next batch opens the file anew, and learns from it what did become durable.
            self.inbox.rolled_back();
            self.connection = None;
            let fault: Fault = match error {
                StoreError::Unavailable { source } => source.into(),
                StoreError::Busy | StoreError::Corrupt { .. } | StoreError::Deposed { .. } => Arc::new(error),
            };
            tracing::error!(error = %fault, refused = batch.len(), "failed to commit; nothing of the batch is stored");
            fault
        });
        for job in batch {
            job.answer(fault.as_ref());
        }
    }

    /// Opens the file anew and learns what has become durable, whatever was answered.
    fn reopen(&mut self) -> Result<WriteConnection, StoreError> {
        let opened = WriteConnection::open(&self.path, &self.options)?;
        self.inbox.catch_up(&opened.conn)?;
        Ok(opened)
    }

    fn transact(&mut self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let connection = self.connection.take().map_or_else(|| self.reopen(), Ok)?;
        let conn = &self.connection.insert(connection).conn;
        // Rolled back where it is dropped without a commit.
        let transaction = conn.unchecked_transaction()?;
        for job in batch {
            job.run(&transaction, &mut self.inbox)?;
        }
        self.inbox.note_forgotten(&transaction)?;
        #[cfg(test)]
        self.options.faults.strike()?;
        transaction.commit()?;
        self.inbox.committed(conn);
        Ok(())
    }
}

//! A wire between a relay and PostgreSQL that can be cut at the worst moment, fall silent, or refuse.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Everything goes through.
    Whole,
    /// Connections stay, and nothing goes through any more.
    Silent,
    /// Connections are closed, and new ones as well.
    Refusing,
}

/// A moment at which every connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server has done a statement, and nobody has heard of it.
    AfterStatement,
    /// All of a transaction is done but its end, which the server never sees.
    BeforeCommit,
    /// The server has committed, and nobody has heard of it.
    AfterCommit,
}

/// A running proxy. It ends with the test's runtime.
pub struct PostgresProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    wire: watch::Sender<Wire>,
    /// Counts cuts; each connection ends when it changes.
    cuts: watch::Sender<u64>,
    /// The next cut.
    wanted: Mutex<Option<Moment>>,
    connections: AtomicU64,
}

impl PostgresProxy {
    /// Starts in front of the server at `upstream`.
    pub async fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            upstream,
            wire: watch::Sender::new(Wire::Whole),
            cuts: watch::Sender::new(0),
            wanted: Mutex::new(None),
            connections: AtomicU64::new(0),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Changes what becomes of connections, those that are open included.
    pub fn set(&self, wire: Wire) {
        self.shared.wire.send_replace(wire);
    }

    /// Cuts every connection at the next such moment, and waits until that has come.
    pub async fn cut(&self, moment: Moment) {
        let mut cuts = self.shared.cuts.subscribe();
        *self.shared.wanted.lock().expect("not poisoned") = Some(moment);
        cuts.changed().await.expect("the proxy runs");
    }

    /// Connections that were made so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Whether this is the moment for which a cut was asked.
    fn take(&self, moment: Moment) -> bool {
        let mut wanted = self.wanted.lock().expect("not poisoned");
        wanted.take_if(|wanted| *wanted == moment).is_some()
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Waits while nothing goes through.
    async fn sound(&self) {
        let mut wire = self.wire.subscribe();
        wire.wait_for(|wire| *wire != Wire::Silent).await.expect("the proxy runs");
    }

    async fn refusing(&self) {
        let mut wire = self.wire.subscribe();
        wire.wait_for(|wire| *wire == Wire::Refusing).await.expect("the proxy runs");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connect(client, Arc::clone(&shared)));
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut cuts = shared.cuts.subscribe();
    let Ok(server) = TcpStream::connect(&shared.upstream).await else { return };
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an open connection");
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_doomed = watch::Sender::new(false);
    tokio::select! {
        _ = cuts.changed() => {}
        () = shared.refusing() => {}
        () = ask(from_client, to_server, &shared, &is_doomed) => {}
        () = answer(from_server, to_client, &shared, is_doomed.subscribe()) => {}
    }
}

/// Carries what the relay asks.
async fn ask(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    is_doomed: &watch::Sender<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Some(chunk) = read(&mut from, &mut buffer).await {
        shared.sound().await;
        let commits = contains(chunk, b"COMMIT");
        if commits && shared.take(Moment::BeforeCommit) {
            return shared.cut();
        }
        // An execution with its parameters; what opens a connection or prepares a statement does nothing.
        let executes = chunk.first() == Some(&b'B');
        let is_moment =
            commits && shared.take(Moment::AfterCommit) || executes && shared.take(Moment::AfterStatement);
        if is_moment {
            is_doomed.send_replace(true);
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

/// Carries what the server answers, but for the answer that nobody is to hear.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    is_doomed: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Some(chunk) = read(&mut from, &mut buffer).await {
        shared.sound().await;
        if *is_doomed.borrow() {
            return shared.cut();
        }
        if to.write_all(chunk).await.is_err() {
            return;
        }
    }
}

async fn read<'a>(from: &mut OwnedReadHalf, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    match from.read(buffer).await {
        Ok(length) if length > 0 => Some(&buffer[..length]),
        Ok(_) | Err(_) => None,
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

//! Runs a router on a listener, with limits on what a connection may cost.
//!
//! HTTP/1.1 alone: telling the versions apart would mean waiting, without a limit, for a connection's
//! first bytes. A proxy in front may speak what it likes.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 4096;
/// How long a connection may take for the head of a request, or be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest head of a request, roughly, which is also what is read of a body at once.
const BUFFER_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 100;
/// How long requests may take to end once the relay is told to stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait when the system has no file descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Serves until `shutdown` resolves; then takes no new connection, lets the requests in flight end,
/// and returns.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()> + Send) {
    serve_at_most(CONNECTIONS_MAX, listener, router, shutdown).await;
}

/// As [`serve`], with its own limit on the connections at once.
pub(super) async fn serve_at_most(
    connections_max: usize,
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = pin!(shutdown);
    let graceful = GracefulShutdown::new();
    // Dropping the set ends what is left, so that nothing outlives this call.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            // How a connection ends is its peer's business.
            Some(_) = connections.join_next() => {}
            stream = accept(&listener), if connections.len() < connections_max => {
                connections.spawn(graceful.watch(connection(stream, router.clone())));
            }
        }
    }
    drop(listener);
    if timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopping though requests are still in flight; their senders will try again");
    }
}

type Connection = hyper_util::server::conn::auto::Connection<
    'static,
    TokioIo<TcpStream>,
    TowerToHyperService<Router>,
    TokioExecutor,
>;

fn connection(stream: TcpStream, router: Router) -> Connection {
    // Answers are short: waiting to fill a packet only delays them.
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned()
}

/// The next connection; what fails is logged and tried again.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

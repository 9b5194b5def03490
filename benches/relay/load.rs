//! A sender that costs little: HTTP/1.1 over plain sockets, requests signed beforehand.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use scim_relay::clock::{Clock, SystemClock};
use scim_relay::source::signature::standard_webhooks::sign;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::program::SECRET;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// One signed webhook, ready to be sent.
pub struct Hook {
    head: String,
    body: Bytes,
}

/// Signs a body under a random id, as of now.
pub fn hook(body: Bytes) -> Hook {
    let id = uuid::Uuid::new_v4().to_string();
    let now = SystemClock.now();
    let signature = sign(&SECRET.into(), &id, now, &body);
    let head = format!(
        "POST /webhooks/hr HTTP/1.1\r\nhost: relay\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nwebhook-id: {id}\r\nwebhook-timestamp: {}\r\nwebhook-signature: {signature}\r\n\r\n",
        body.len(),
        now.as_seconds(),
    );
    Hook { head, body }
}

/// What a run of many connections came to.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Events that were answered 202. No other answer passes.
    pub accepted: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Run {
    /// Events accepted in a second.
    pub fn per_second(self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64()
    }
}

/// Posts hooks over so many connections at once, each as soon as the one before it is answered, until
/// the time is up or none is left. Works on a thread of its own.
pub async fn drive(address: SocketAddr, hooks: Vec<Hook>, connections: usize, time: Duration) -> Run {
    let driven = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for the load");
        LocalSet::new().block_on(&runtime, drive_here(address, hooks, connections, time))
    });
    driven.await.expect("every webhook is answered 202")
}

async fn drive_here(address: SocketAddr, hooks: Vec<Hook>, connections: usize, time: Duration) -> Run {
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(Sender::connect(address).await);
    }
    let hooks = Rc::new(hooks);
    let next = Rc::new(Cell::new(0));
    let began = Instant::now();
    let sending: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            let (hooks, next) = (Rc::clone(&hooks), Rc::clone(&next));
            tokio::task::spawn_local(async move {
                let mut accepted = 0_u64;
                while began.elapsed() < time
                    && let Some(hook) = hooks.get(next.replace(next.get() + 1))
                {
                    sender.accept(hook).await;
                    accepted += 1;
                }
                accepted
            })
        })
        .collect();
    let mut accepted = 0;
    for task in sending {
        accepted += task.await.expect("every webhook is answered 202");
    }
    Run { accepted, elapsed: began.elapsed() }
}

/// One connection that is kept.
pub struct Sender {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Sender {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the relay takes connections");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, buffer: Vec::with_capacity(4096) }
    }

    /// Posts a hook and reads the answer, which must be 202.
    pub async fn accept(&mut self, hook: &Hook) {
        self.buffer.clear();
        self.buffer.extend_from_slice(hook.head.as_bytes());
        self.buffer.extend_from_slice(&hook.body);
        self.stream.write_all(&self.buffer).await.expect("the relay reads");
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.expect("the relay answers");
            assert!(read > 0 && self.buffer.len() <= ANSWER_BYTES_MAX, "the relay answers, and briefly");
            if is_whole(&self.buffer) {
                break;
            }
        }
        let accepted = self.buffer.starts_with(b"HTTP/1.1 202 ");
        assert!(accepted, "not accepted: {}", String::from_utf8_lossy(&self.buffer));
    }
}

/// Whether an answer is there to its last byte.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head_text = std::str::from_utf8(&answer[..head]).expect("a head in ASCII");
    let length = head_text.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).expect("an answer with its length");
    answer.len() >= head + 4 + length
}

//! A client that sends exactly the bytes that a test wants sent.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The detail of a problem, which every error must be.
    pub fn detail(&self) -> String {
        let problem = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(problem["type"], "about:blank", "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{self:?}");
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request, up to and without the empty line.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let rows: Vec<String> = headers.iter().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
    format!("{method} {path} HTTP/1.1\r\nhost: relay\r\nconnection: close{}", rows.concat())
}

/// Sends a whole request.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let head = head(method, path, headers);
    let length = if body.is_empty() { String::new() } else { format!("\r\ncontent-length: {}", body.len()) };
    send_raw(address, &[format!("{head}{length}\r\n\r\n").as_bytes(), body].concat()).await
}

/// Sends a request with its body in chunks of at most 8 KiB.
pub async fn send_chunked(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let head = head(method, path, headers);
    let mut bytes = format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(8192) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    send_raw(address, &bytes).await
}

/// Sends these bytes, and reads until the server closes.
pub async fn send_raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read_answer(&mut stream).await
}

/// Reads until the server closes.
pub async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header =
        |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(header).collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { joined(body) } else { body.to_owned() };
    Answer { status, headers, body }
}

/// The chunks of a body, without what frames them.
fn joined(mut body: &str) -> String {
    let mut joined = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return joined;
        }
        joined.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
}

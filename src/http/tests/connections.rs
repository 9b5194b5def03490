use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::client::{head, read_answer, send_raw};
use super::fixture::{NOW, SECRET, deletion, headers, parts, served, signed};
use crate::http::router_on_one_listener;
use crate::http::server::serve_at_most;

#[tokio::test]
async fn a_stopping_server_ends_what_it_began_and_takes_no_more() {
    let served = served().await;
    let body = deletion("u-1");
    let head = head("POST", "/webhooks/hr", &headers(&signed("evt-1", NOW, SECRET, &body)));
    let mut begun = TcpStream::connect(served.address).await.unwrap();
    let idle = TcpStream::connect(served.address).await.unwrap();
    begun
        .write_all(
            format!("{head}\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(),
        )
        .await
        .unwrap();
    // The server asks for the body, so it is within the handler.
    let mut interim = [0; 25];
    begun.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    served.stop.notify_one();
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!served.serving.is_finished());
    begun.write_all(&body).await.unwrap();
    assert_eq!(read_answer(&mut begun).await.status, 202);
    served.serving.await.unwrap();
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_given_up() {
    let served = served().await;
    let started = Instant::now();
    for beginning in ["", "POST /webhooks/hr HTTP/1.1\r\nhost: relay\r\nx: "] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert!(started.elapsed() >= Duration::from_mins(1), "{:?}", started.elapsed());
    assert!(started.elapsed() <= Duration::from_secs(62), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let served = served().await;
    for more in ["x".repeat(300_000), "y\r\nx: ".repeat(200)] {
        let answer = send_raw(
            served.address,
            format!("{}\r\nx: {more}\r\n\r\n", head("GET", "/healthz", &[])).as_bytes(),
        )
        .await;
        assert_eq!(answer.status, 431, "{}", more.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_the_limit_waits_for_another_to_end() {
    let router = router_on_one_listener(&parts().await.relay);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve_at_most(1, listener, router, std::future::pending()));
    let first = TcpStream::connect(address).await.unwrap();
    let request = format!("{}\r\n\r\n", head("GET", "/healthz", &[]));
    let mut second = tokio::spawn(async move { send_raw(address, request.as_bytes()).await });
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert_eq!(second.await.unwrap().status, 200);
    serving.abort();
}

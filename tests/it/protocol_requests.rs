//! What of a request goes on to the service, and the answers to what cannot go on.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use http::Request;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::harness::client::{Http2, get};
use crate::harness::http1::{Connection, Message};
use crate::harness::origin::{Origin, WebSocketOrigin};
use crate::harness::proxy::{Proxy, Setup, route};
use crate::harness::{eventually, soon};

async fn plain() -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    (origin, proxy)
}

/// The answer to a request on a connection of its own.
async fn answer(proxy: &Proxy, request: impl AsRef<[u8]>) -> Message {
    let mut connection = Connection::open(proxy.web()).await;
    connection.send(request).await;
    connection.response().await
}

#[tokio::test]
async fn the_service_gets_one_length_of_one_number() {
    let (origin, proxy) = plain().await;
    for fields in ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 05", "content-length:  5 "] {
        let mut connection = Connection::open(proxy.web()).await;
        let request = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello");
        connection.send(request.repeat(2)).await;
        for _ in 0..2 {
            assert_eq!(connection.response().await.status(), 200, "{fields}");
            let seen = origin.last();
            assert_eq!(
                (seen.head.all("content-length"), &seen.body[..]),
                (vec!["5"], &b"hello"[..]),
                "{fields}"
            );
        }
    }
    let before = origin.requests().len();
    for fields in ["Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 05"] {
        let request = format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\nhello");
        assert_eq!(answer(&proxy, request).await.status(), 400, "{fields}");
    }
    let twice = Request::post("http://a/h2").header("content-length", "2").header("content-length", "2");
    let sent = Http2::open(proxy.web()).await.send(twice.body(()).unwrap(), &[b"hi"], false).await;
    assert_eq!((sent.status, origin.last().head.all("content-length")), (200, vec!["2"]));
    assert_eq!(origin.requests().len(), before + 1);
}

#[tokio::test]
async fn a_target_and_a_host_that_say_the_same_are_served() {
    let (origin, proxy) = plain().await;
    for (target, host) in
        [("http://a/x", "A"), ("http://a:80/x", "a"), ("http://a/x", "a:80"), ("HTTP://A/x", "a")]
    {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 200, "{target} {host}");
        assert_eq!(origin.last().target, "/x");
    }
    let before = origin.requests().len();
    for (target, host) in [("http://a/x", "b"), ("http://a:81/x", "a"), ("http://a/x", "")] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 400, "{target} {host}");
    }
    assert_eq!(origin.requests().len(), before);
}

#[tokio::test]
async fn a_newer_minor_version_is_spoken_to_as_1_1() {
    let (origin, proxy) = plain().await;
    let mut connection = Connection::open(proxy.web()).await;
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        connection.send(format!("GET /{version} {version}\r\nHost: a\r\n\r\n")).await;
        let answer = connection.response().await;
        assert_eq!(answer.head.start, "HTTP/1.1 200 OK", "{version}");
        assert_eq!(origin.last().head.start, format!("GET /{version} HTTP/1.1"));
    }
    for version in ["HTTP/0.9", "HTTP/2.1", "HTTP/3.0"] {
        let request = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 505, "{version}");
    }
}

#[tokio::test]
async fn a_host_that_is_none_is_refused() {
    let (origin, proxy) = plain().await;
    for host in ["a:xx", "[::1", "[::1]x", "::1", "a:80:80", "u@a"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 400, "{host}");
        // The client's library refuses some by itself.
        if let Ok(request) = Request::get("http://a/").header("host", host).body(()) {
            let sent = Http2::open(proxy.web()).await.send(request, &[], false).await;
            assert_eq!(sent.status, 400, "{host}");
        }
    }
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    for host in ["[::1]:80", "a:", "A_b.test"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 200, "{host}");
    }
}

/// Ten seconds for the handshake alone, as in Go, whatever connecting may take.
#[tokio::test]
async fn a_service_that_is_silent_in_the_handshake_is_a_504() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    let text = route("PathPrefix(`/`)", address).replace("http://127", "https://127");
    let proxy = Setup::new().dynamic(&text).start().await;
    let since = Instant::now();
    assert_eq!(get(proxy.web(), "a", "/", &[]).await.status(), 504);
    let took = since.elapsed();
    assert!(took >= Duration::from_secs(9) && took < Duration::from_secs(15), "{took:?}");
}

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

/// Checks of load balancers are often HTTP/1.0. HTTP/1.1 must have a host (RFC 9112, section 3.2).
#[tokio::test]
async fn a_request_without_a_host_gets_that_of_the_server() {
    let (origin, proxy) = plain().await;
    for request in
        ["OPTIONS / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost:\r\n\r\n"]
    {
        assert_eq!(answer(&proxy, request).await.status(), 200, "{request:?}");
        assert_eq!(origin.last().get("host"), Some(&*origin.address.to_string()), "{request:?}");
        assert_eq!(origin.last().get("x-forwarded-host"), None, "{request:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_gets_our_answer_and_a_line_in_the_access_log() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).fixed("accessLog: {format: json}").start().await;
    for (number, (request, status)) in [
        (&b"G@T /?n=0&code=secret HTTP/1.1\r\nHost: a\r\n\r\n"[..], 400),
        (b"GET /1 HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
        (b"GET /2 HTTP/1.1\r\nHost: u@b\r\n\r\n", 400),
        (b"GET /3/\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /4 HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n", 400),
        (b"POST /5 HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /6 HTTP/4.0\r\nHost: a\r\n\r\n", 505),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = answer(&proxy, request).await;
        assert_eq!(answer.status(), status, "{}", request.escape_ascii());
        assert_eq!((answer.get("server"), answer.get("connection")), (None, Some("close")));
        assert!(answer.text().starts_with(&status.to_string()), "{answer:?}");
        let path = if number == 0 { "/".to_owned() } else { format!("/{number}") };
        let written = || {
            let log = proxy.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.any(|line| {
                line["RequestPath"].as_str().is_some_and(|found| found.starts_with(&path))
                    && line["DownstreamStatus"] == status
                    && line["entryPointName"] == "web"
            })
        };
        eventually(&format!("a line about {path}"), || async { written() }).await;
    }
    assert!(!proxy.log().contains("code=secret"));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn bytes_that_need_an_escape_get_one() {
    let (origin, proxy) = plain().await;
    for (target, expected) in [
        (r#"/q?query={app="x"}|~`<a>`"#, "/q?query={app=%22x%22}|~`%3Ca%3E`"),
        (r#"/<a>`"?"#, "/%3Ca%3E%60%22?"),
        (r#"http://a/x"?y""#, "/x%22?y%22"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 200, "{target}");
        assert_eq!(origin.last().target, expected, "{target}");
    }
    for target in ["http://a<b/", "http://\"/", "<"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(answer(&proxy, request).await.status(), 400, "{target}");
    }
}

#[tokio::test]
async fn a_client_cannot_make_the_proxy_drop_the_body() {
    let (origin, proxy) = plain().await;
    let chunked = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n\
                   2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(answer(&proxy, chunked).await.status(), 200);
    assert_eq!(origin.last().body, b"hi");
    let length = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(answer(&proxy, length).await.status(), 400);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn what_the_engine_refuses_over_http2_has_a_line_in_the_access_log() {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).fixed("accessLog: {format: json}").start().await;
    let large = "x".repeat(70_000);
    let connection = Http2::open(proxy.web()).await;
    for (host, field, status) in
        [("u@a", "", 400), ("b", "", 400), ("a", large.as_str(), 431), ("a", large.as_str(), 431)]
    {
        let request =
            Request::get("http://a/").header("host", host).header("x-field", field).body(()).unwrap();
        assert_eq!(connection.send(request, &[], false).await.status, status, "{host}");
    }
    let lines = |status: u64| {
        let log = proxy.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["DownstreamStatus"] == status && line["RequestProtocol"] == "HTTP/2.0")
            .count()
    };
    eventually("a line for each", || async { (lines(400), lines(431)) == (2, 2) }).await;
    assert!(origin.requests().is_empty());
}

const WRITE_TIMEOUT: &str = "transport:\n  respondingTimeouts:\n    writeTimeout: 1s\n";

/// `/slow` answers after it should, `/stream` does not stop, anything else answers.
async fn slow_origin() -> Origin {
    Origin::with(|seen, mut connection| async move {
        match seen.target.as_str() {
            "/slow" => std::future::pending::<()>().await,
            "/stream" => {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
                loop {
                    connection.send("4\r\nmore\r\n").await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            _ => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfast").await,
        }
        Some(connection)
    })
    .await
}

#[tokio::test]
async fn a_write_timeout_bounds_the_answer() {
    let origin = slow_origin().await;
    let setup = Setup::to(origin.address).entry_point("web", WRITE_TIMEOUT);
    let proxy = setup.fixed("accessLog: {format: json}").start().await;
    let mut connection = Connection::open(proxy.web()).await;
    // It is new for each request of a connection.
    for _ in 0..3 {
        connection.send("GET /fast HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(connection.response().await.text(), "fast");
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let since = Instant::now();
    connection.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(connection.is_over().await, "nothing is written any more");
    let took = since.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(5), "{took:?}");
    let since = Instant::now();
    let stream = answer(&proxy, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(stream.status() == 200 && stream.truncated, "{stream:?}");
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    let line = |path: &str, status: u16| {
        let log = proxy.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| line["RequestPath"] == path && line["DownstreamStatus"] == status)
    };
    eventually("both are logged", || async { line("/slow", 504) && line("/stream", 200) }).await;
}

#[tokio::test]
async fn a_write_timeout_resets_the_stream_of_http2_alone() {
    let origin = slow_origin().await;
    let proxy = Setup::to(origin.address).entry_point("web", WRITE_TIMEOUT).start().await;
    let stream = tokio::net::TcpStream::connect(proxy.web()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let since = Instant::now();
    let (slow, _) = client.send_request(Request::get("http://a/slow").body(()).unwrap(), true).unwrap();
    let (stream, _) = client.send_request(Request::get("http://a/stream").body(()).unwrap(), true).unwrap();
    let error = soon("the reset", slow).await.unwrap_err();
    assert!(error.is_reset(), "{error}");
    let mut body = soon("the head", stream).await.unwrap().into_body();
    let end = soon("the end", async {
        loop {
            match body.data().await {
                Some(Ok(data)) => body.flow_control().release_capacity(data.len()).unwrap(),
                end => return end.map(|end| end.map(|_| ())),
            }
        }
    })
    .await;
    assert!(matches!(&end, Some(Err(error)) if error.is_reset()), "{end:?}");
    assert!(since.elapsed() < Duration::from_secs(5));
    let mut client = client.ready().await.unwrap();
    let (fast, _) = client.send_request(Request::get("http://a/fast").body(()).unwrap(), true).unwrap();
    assert_eq!(soon("the connection lives on", fast).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_write_timeout_is_not_that_of_a_tunnel() {
    let origin = WebSocketOrigin::start(None).await;
    let proxy = Setup::to(origin.address).entry_point("web", WRITE_TIMEOUT).start().await;
    let url = format!("ws://{}/chat", proxy.web());
    let (mut socket, _) = soon("a WebSocket", tokio_tungstenite::connect_async(url)).await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        socket.send("still here".into()).await.unwrap();
        assert!(soon("the echo", socket.next()).await.unwrap().is_ok());
    }
}

const UPGRADE: &str = "GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn what_comes_right_behind_an_upgrade_is_for_the_tunnel() {
    let origin = Origin::with(|_, mut connection| async move {
        connection
            .send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        let (early, whole) = connection
            .request_body(&crate::harness::http1::Head {
                start: String::new(),
                fields: vec![("Content-Length".to_owned(), "10".to_owned())],
            })
            .await;
        assert!(whole);
        connection.send(early).await;
        connection.rest().await;
        None
    })
    .await;
    let proxy = Setup::to(origin.address).start().await;
    // In one piece, and with the rest a little later.
    for (first, second) in [("early data", ""), ("early", " data")] {
        let mut client = Connection::open(proxy.web()).await;
        client.send(format!("{UPGRADE}{first}")).await;
        client.send(second).await;
        let head = soon("the switch", client.head()).await.unwrap();
        assert!(head.start.starts_with("HTTP/1.1 101"), "{head:?}");
        let ten = crate::harness::http1::Head {
            start: String::new(),
            fields: vec![("Content-Length".to_owned(), "10".to_owned())],
        };
        let (echo, whole) = soon("the echo", client.request_body(&ten)).await;
        assert!(whole && echo == b"early data", "{}", echo.escape_ascii());
    }
}

/// Without the switch it is the next request.
#[tokio::test]
async fn what_comes_behind_an_upgrade_that_is_declined_is_the_next_request() {
    let (origin, proxy) = plain().await;
    let mut client = Connection::open(proxy.web()).await;
    client.send(format!("{UPGRADE}GET /next HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert_eq!(client.response().await.text(), "GET /up\n");
    assert_eq!(client.response().await.text(), "GET /next\n");
    assert_eq!(origin.requests().len(), 2);
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

//! What of a service's answer goes on to the client, and in which form.

use http::Request;

use crate::harness::client::{Http2, get};
use crate::harness::http1::{Connection, Message};
use crate::harness::origin::Origin;
use crate::harness::proxy::{Proxy, Setup};
use crate::harness::soon;

/// A service that answers with what stands behind the path `/`, and the proxy in front of it.
async fn answering(answers: &'static [(&'static str, &'static str)]) -> (Origin, Proxy) {
    let origin = Origin::with(move |seen, mut connection| async move {
        let answer = answers.iter().find(|(path, _)| seen.target.strip_prefix('/') == Some(*path));
        connection
            .send(answer.map_or("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", |(_, answer)| *answer))
            .await;
        Some(connection)
    });
    let origin = origin.await;
    let proxy = Setup::to(origin.address).start().await;
    (origin, proxy)
}

/// The answers to this request and to the next one on the same connection.
async fn two(proxy: &Proxy, request: &str) -> (Message, Message) {
    let mut connection = Connection::open(proxy.web()).await;
    connection.send(request).await;
    let first = soon(request, connection.response()).await;
    connection.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    (first, soon("the next answer", connection.response()).await)
}

async fn over_http2(proxy: &Proxy, path: &str) -> crate::harness::client::Http2Answer {
    let request = Request::get(format!("http://a/{path}")).body(()).unwrap();
    Http2::open(proxy.web()).await.send(request, &[], false).await
}

#[tokio::test]
async fn a_length_that_is_said_twice_arrives_once() {
    let (_origin, proxy) = answering(&[
        ("lines", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
        ("list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi"),
    ])
    .await;
    for path in ["lines", "list"] {
        let (answer, next) = two(&proxy, &format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(
            (answer.head.all("content-length"), answer.text()),
            (vec!["2"], "hi".to_owned()),
            "{path}"
        );
        assert_eq!(next.text(), "ok");
        // The client's library takes no second one.
        assert_eq!(over_http2(&proxy, path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_coding_that_nobody_asked_for_is_a_502() {
    let (_origin, proxy) = answering(&[
        ("identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi"),
        ("gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
        ("two", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    ])
    .await;
    for path in ["identity", "gzip", "two"] {
        assert_eq!(get(proxy.web(), "a", &format!("/{path}"), &[]).await.status(), 502, "{path}");
        assert_eq!(over_http2(&proxy, path).await.status, 502, "{path}");
    }
    assert_eq!(get(proxy.web(), "a", "/", &[]).await.text(), "ok");
}

#[tokio::test]
async fn an_answer_without_a_body_says_nothing_about_one() {
    let (_origin, proxy) = answering(&[
        ("length", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison"),
        ("chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "unmodified",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    ])
    .await;
    for path in ["length", "chunks", "unmodified"] {
        let (answer, next) = two(&proxy, &format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(matches!(answer.status(), 204 | 304), "{path}");
        assert_eq!((answer.get("content-length"), answer.get("transfer-encoding")), (None, None), "{path}");
        assert_eq!(next.text(), "ok", "{path}");
    }
}

#[tokio::test]
async fn an_interim_answer_says_nothing_about_a_body_or_the_inner_connection() {
    let (_origin, proxy) = answering(&[(
        "hints",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=1\r\n\
         Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
    )])
    .await;
    let mut connection = Connection::open(proxy.web()).await;
    connection.send("GET /hints HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let hints = soon("hints", connection.head()).await.unwrap();
    assert_eq!((hints.start.as_str(), hints.get("link")), ("HTTP/1.1 103 Early Hints", Some("</a>")));
    for name in ["connection", "x-inner", "keep-alive", "content-length", "transfer-encoding"] {
        assert_eq!(hints.get(name), None, "{name}");
    }
    assert_eq!(connection.response().await.text(), "hi");
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_502() {
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
    let (_origin, proxy) =
        answering(&[("foo", SWITCH), ("nothing", "HTTP/1.1 101 Switching Protocols\r\n\r\n")]).await;
    let ask =
        |path: &str, version: &str, fields: &str| format!("GET /{path} {version}\r\nHost: a\r\n{fields}\r\n");
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for request in [
        ask("foo", "HTTP/1.1", ""),
        ask("foo", "HTTP/1.0", ""),
        ask("foo", "HTTP/1.1", websocket),
        ask("foo", "HTTP/1.0", "Connection: Upgrade\r\nUpgrade: foo\r\n"),
        ask("foo", "HTTP/1.1", "Upgrade: foo\r\n"),
        ask("nothing", "HTTP/1.1", websocket),
    ] {
        let mut connection = Connection::open(proxy.web()).await;
        connection.send(&request).await;
        assert_eq!(soon(&request, connection.response()).await.status(), 502, "{request}");
    }
    assert_eq!(over_http2(&proxy, "foo").await.status, 502);
    let mut connection = Connection::open(proxy.web()).await;
    connection.send(ask("foo", "HTTP/1.1", "Connection: Upgrade\r\nUpgrade: bar, Foo\r\n")).await;
    assert_eq!(soon("the switch", connection.head()).await.unwrap().get("upgrade"), Some("foo"));
}

#[tokio::test]
async fn a_client_that_was_told_to_continue_keeps_its_connection() {
    let origin = Origin::before_body(|seen, mut connection| async move {
        connection.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        connection.request_body(&seen.head).await;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        Some(connection)
    })
    .await;
    let proxy = Setup::to(origin.address).start().await;
    let mut connection = Connection::open(proxy.web()).await;
    for _ in 0..3 {
        connection
            .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            .await;
        let leave = soon("leave to go on", connection.head()).await.unwrap();
        assert_eq!(leave.start, "HTTP/1.1 100 Continue");
        connection.send("hi").await;
        let answer = soon("the answer", connection.response()).await;
        assert_eq!((answer.status(), answer.get("connection")), (200, Some("keep-alive")));
    }
}

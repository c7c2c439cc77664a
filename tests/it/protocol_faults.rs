//! HTTP when somebody misbehaves: malformed requests, slow clients, services that die.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::harness::client::{get, send};
use crate::harness::http1::Connection;
use crate::harness::origin::{Origin, ask, ok};
use crate::harness::proxy::{Proxy, Setup, route};
use crate::harness::{eventually, soon};

async fn plain() -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let proxy = Setup::to(origin.address).start().await;
    (origin, proxy)
}

/// The status of the answer, after which the connection must be closed.
async fn refused(proxy: &Proxy, request: &str) -> u16 {
    let mut connection = Connection::open(proxy.web()).await;
    connection.send(request).await;
    let answer = soon(request, connection.response_to(false)).await;
    let status = answer.unwrap_or_else(|| panic!("closed without an answer: {request:?}")).status();
    let rest = soon(&format!("the end after {status} for {request:?}"), connection.rest()).await;
    assert!(rest.is_empty(), "more than one answer for {request:?}");
    status
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_connection_closed() {
    let (origin, proxy) = plain().await;
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: five\r\n\r\nhello",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        assert_eq!(refused(&proxy, request).await, 400, "{request:?}");
    }
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    assert_eq!(get(proxy.web(), "a", "/", &[]).await.status(), 200, "it lives on");
}

/// The engine takes an empty size line for the last chunk's and then waits for an end that never comes.
#[tokio::test]
async fn malformed_chunks_are_refused_and_the_connection_closed() {
    let (origin, proxy) = plain().await;
    for body in [
        "\r\n0\r\n\r\n",
        "\r\n\r\n",
        ";a=b\r\n\r\n",
        "xyz\r\n",
        "-1\r\n",
        "11111111111111111\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nX: 1\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(refused(&proxy, &request).await, 400, "{body:?}");
    }
    assert!(origin.requests().iter().all(|seen| seen.body != b"hello"), "{:?}", origin.requests());
    // Also when it comes later than the head.
    let mut connection = Connection::open(proxy.web()).await;
    connection.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    tokio::task::yield_now().await;
    connection.send("\r\n").await;
    assert_eq!(connection.response().await.status(), 400);
    assert!(connection.is_over().await);
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let (origin, proxy) = plain().await;
    let unknown = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(refused(&proxy, unknown).await, 501);
    let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    assert_eq!(refused(&proxy, connect).await, 501);
    assert_eq!(refused(&proxy, "GET / HTTP/3.0\r\nHost: a\r\n\r\n").await, 505);
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn large_headers_and_targets_are_refused() {
    let origin = Origin::start().await;
    let options = "http:\n  maxHeaderBytes: 4096\n";
    let proxy = Setup::to(origin.address).entry_point("web", options).start().await;
    let long = "x".repeat(8000);
    assert_eq!(refused(&proxy, &format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")).await, 431);
    let target = refused(&proxy, &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert!([414, 431].contains(&target), "{target}");
    assert!(origin.requests().is_empty());
}

/// Two lengths: whoever believes the other one sees a second request in the body.
#[tokio::test]
async fn pingora_945_a_second_request_cannot_hide_in_a_body() {
    let (origin, proxy) = plain().await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut connection = Connection::open(proxy.web()).await;
    let length = hidden.len() + 5;
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.send(format!("{head}0\r\n\r\n{hidden}")).await;
    let status = connection.response().await.status();
    assert!(status == 200 || status == 400, "{status}");
    assert!(connection.is_over().await, "the connection stays open");
    let targets: Vec<String> = origin.requests().into_iter().map(|seen| seen.target).collect();
    assert!(!targets.contains(&"/hidden".to_owned()), "{targets:?}");
}

/// A header that comes byte by byte, or not at all, must not hold a connection for ever.
#[tokio::test]
async fn pingora_447_a_slow_header_has_a_deadline() {
    let origin = Origin::start().await;
    let options = "transport:\n  respondingTimeouts:\n    readTimeout: 1s\n";
    let proxy = Setup::to(origin.address).entry_point("web", options).start().await;
    let mut slow = Connection::open(proxy.web()).await;
    slow.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    let answer = soon("the deadline", async {
        loop {
            tokio::select! {
                answer = slow.response_to(false) => return answer,
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
            slow.send("x").await;
        }
    })
    .await;
    assert_eq!(answer.map(|answer| answer.status()), Some(408));
    assert!(slow.is_over().await);
    let mut silent = Connection::open(proxy.web()).await;
    assert!(silent.is_over().await, "a connection that never spoke is closed without a word");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let origin = Origin::start().await;
    let options = "transport:\n  respondingTimeouts:\n    idleTimeout: 1s\n";
    let proxy = Setup::to(origin.address).entry_point("web", options).start().await;
    let mut connection = Connection::open(proxy.web()).await;
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(connection.response().await.status(), 200);
    let since = Instant::now();
    assert!(connection.is_over().await);
    assert!(since.elapsed() >= Duration::from_millis(900), "closed after {:?}", since.elapsed());
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_a_502() {
    // Bound and dropped: nothing listens there.
    let dead = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let proxy = Setup::to(dead).start().await;
    let answer = get(proxy.web(), "a", "/", &[]).await;
    assert_eq!((answer.status(), answer.text().as_str()), (502, "Bad Gateway"));
}

#[tokio::test]
async fn a_service_that_answers_nothing_or_nonsense_is_a_502() {
    for says in ["", "not http at all\r\n\r\n"] {
        let origin = Origin::with(move |_, mut connection| async move {
            connection.send(says).await;
            None
        })
        .await;
        let proxy = Setup::to(origin.address).start().await;
        assert_eq!(get(proxy.web(), "a", "/", &[]).await.status(), 502, "{says:?}");
    }
}

/// A service that is too slow is a 504, not a 502.
#[tokio::test]
async fn pingora_980_a_service_that_hangs_is_a_504() {
    let origin = Origin::with(|_, connection| async move {
        let _held = connection;
        std::future::pending().await
    })
    .await;
    let text = route("PathPrefix(`/`)", origin.address)
        + "        serversTransport: quick\n  serversTransports:\n    quick:\n      forwardingTimeouts:\n        \
           responseHeaderTimeout: 500ms\n";
    let proxy = Setup::new().dynamic(&text).start().await;
    let answer = get(proxy.web(), "a", "/", &[]).await;
    assert_eq!((answer.status(), answer.text().as_str()), (504, "Gateway Timeout"));
}

#[tokio::test]
async fn a_service_that_dies_in_mid_body_ends_that_response_only() {
    let origin = Origin::with(|seen, mut connection| async move {
        match seen.target.as_str() {
            "/length" => connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await,
            "/chunks" => {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await
            }
            _ => {
                connection.send(ok("whole")).await;
                return Some(connection);
            }
        }
        None
    })
    .await;
    let proxy = Setup::to(origin.address).start().await;
    for target in ["/length", "/chunks"] {
        let mut connection = Connection::open(proxy.web()).await;
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = connection.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "half"), "{target}");
        assert!(answer.truncated, "{target} looks whole");
        assert_eq!(get(proxy.web(), "a", "/", &[]).await.text(), "whole");
    }
}

#[tokio::test]
async fn a_connection_that_died_idle_costs_no_request() {
    // Closes after each answer without having said so: the pooled connection is dead when the next request comes.
    let origin = Origin::with(|_, mut connection| async move {
        connection.send(ok("fine")).await;
        None
    })
    .await;
    let proxy = Setup::to(origin.address).start().await;
    for round in 0..20 {
        assert_eq!(get(proxy.web(), "a", "/", &[]).await.text(), "fine", "round {round}");
    }
}

#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let origin = Origin::with(|_, connection| async move {
        drop(connection);
        None
    })
    .await;
    let proxy = Setup::to(origin.address).start().await;
    assert_eq!(send(proxy.web(), "POST", "a", "/", &[("Content-Length", "0")]).await.status(), 502);
    assert_eq!(origin.requests().len(), 1);
}

/// Nor is the log warned of it: it is no failure of ours.
#[tokio::test]
async fn pingora_383_a_client_that_leaves_disturbs_nobody() {
    let (origin, proxy) = plain().await;
    for half in ["GET / HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx"] {
        let mut connection = Connection::open(proxy.web()).await;
        connection.send(half).await;
        drop(connection);
    }
    let answer = ask(proxy.web(), "GET /after HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.text(), "GET /after\n");
    drop(origin);

    let (origin, gate) = Origin::held("late").await;
    let proxy = Setup::to(origin.address).start().await;
    let mut leaving = Connection::open(proxy.web()).await;
    leaving.send("GET /late HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.received(1).await;
    drop(leaving);
    eventually("it is counted", || async {
        proxy.metric("traefik_entrypoint_requests_total", &["code=\"499\""]).await >= 1.0
    })
    .await;
    gate.add_permits(1);
    let log = proxy.log();
    assert_eq!(log.lines().find(|line| line.contains("WARN") || line.contains("ERROR")), None);
}

#[tokio::test]
async fn pingora_727_a_stop_lets_requests_in_flight_finish_and_exits_at_once_when_idle() {
    let (origin, gate) = Origin::held("finished").await;
    let mut proxy = Setup::to(origin.address).start().await;
    let mut connection = Connection::open(proxy.web()).await;
    connection.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.received(1).await;
    proxy.signal("TERM");
    gate.add_permits(1);
    assert_eq!(connection.response().await.text(), "finished");
    let since = Instant::now();
    assert!(proxy.ended().await.success(), "{}", proxy.log());
    assert!(since.elapsed() < Duration::from_secs(5), "it took {:?} to end", since.elapsed());
}

//! Servers that fail, clients that leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::super::testing::{Origin, Setup};
use crate::net::LocalResponse;
use crate::net::internal::InternalRequest;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An address that nobody listens on.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_refused_connection_is_502() {
    let proxy = Setup::to(format!("http://{}", closed_port().await)).start().await;
    let answer = proxy.get("/").await;
    assert_eq!((answer.status(), answer.body.as_str()), (502, "Bad Gateway"));
    assert_eq!(proxy.counted(502), 1);
}

#[tokio::test]
async fn pingora_570_a_name_that_is_not_resolved_is_502_and_no_panic() {
    assert_eq!(Setup::to("http://nowhere.test").start().await.get("/").await.status(), 502);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let origin = Origin::answering(OK).await;
    let url = format!("http://app.test:{}", origin.addr.port());
    // Nobody listens on the first two.
    let proxy = Setup::to(url).name("app.test", &["127.0.0.2", "127.0.0.3", "127.0.0.1"]).start().await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.connect().await.exchange(post).await.status(), 200);
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_502_when_the_connection_ends() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
    })
    .await;
    assert_eq!(Setup::to(origin.url()).start().await.get("/").await.status(), 502);
    assert_eq!(origin.connections(), 1, "a fresh connection that died is not tried again");
}

#[tokio::test]
async fn what_is_no_http_is_502() {
    let origin = Origin::answering("220 mail.test ESMTP\r\n\r\n").await;
    assert_eq!(Setup::to(origin.url()).start().await.get("/").await.status(), 502);
}

#[tokio::test]
async fn tls_to_a_plain_port_is_502() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        conn.read_rest().await;
    })
    .await;
    let url = format!("https://{}", origin.addr);
    assert_eq!(Setup::to(url).start().await.get("/").await.status(), 502);
}

#[tokio::test]
async fn pingora_980_a_response_header_that_takes_too_long_is_504() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
        conn.read_rest().await;
    })
    .await;
    let proxy = Setup::to(origin.url())
        .transport(|t| t.forwarding_timeouts.response_header_timeout = Duration::from_millis(50))
        .start()
        .await;
    let answer = proxy.get("/").await;
    assert_eq!((answer.status(), answer.body.as_str()), (504, "Gateway Timeout"));
}

#[tokio::test]
async fn a_silent_body_is_not_a_late_header() {
    let timeout = Duration::from_millis(100);
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let origin = Origin::start(move |mut conn, _| {
        let mut receiver = receiver.clone();
        async move {
            while conn.read_head().await.is_some() {
                conn.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
                receiver.wait_for(|go| *go).await.unwrap();
                conn.write("cd").await;
            }
        }
    })
    .await;
    let proxy = Setup::to(origin.url())
        .transport(|t| t.forwarding_timeouts.response_header_timeout = timeout)
        .start()
        .await;
    let mut client = proxy.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_until(b"\r\n\r\nab").await.unwrap();
    tokio::time::sleep(timeout * 3).await;
    sender.send(true).unwrap();
    assert_eq!(client.read_exact(2).await, "cd");
    // The connection to the service is still good and still pooled.
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.body, "abcd");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_died_idle_is_replaced_for_get() {
    let origin = Origin::start(|mut conn, number| async move {
        conn.read_head().await;
        conn.write(OK).await;
        if number == 0 {
            // Takes the second request and dies without an answer.
            conn.read_head().await;
        } else {
            conn.read_rest().await;
        }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    assert_eq!(proxy.get("/").await.status(), 200);
    assert_eq!(proxy.get("/").await.status(), 200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_post_on_a_connection_that_died_is_not_repeated() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
        conn.write(OK).await;
        conn.read_head().await;
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    assert_eq!(proxy.get("/").await.status(), 200);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.connect().await.exchange(post).await.status(), 502);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn a_service_that_dies_in_mid_response_ends_that_response_alone() {
    let origin = Origin::start(|mut conn, number| async move {
        conn.read_head().await;
        match number {
            0 => conn.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await,
            1 => conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await,
            _ => conn.write(OK).await,
        }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    for _ in 0..2 {
        let mut client = proxy.connect().await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let head = client.read_head().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"));
        // Cut: neither filled up, nor ended as if it were complete, nor followed by an error page.
        let rest = client.read_rest().await;
        assert!(
            rest.contains("half") && !rest.contains("0\r\n\r\n") && !rest.contains("HTTP/1.1"),
            "{rest:?}"
        );
    }
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_as_499() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
        conn.read_rest().await;
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while origin.connections() == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    proxy.wait_counted(499).await;
}

#[tokio::test]
async fn a_panic_costs_one_request_and_is_500() {
    let panics = |request: &InternalRequest<'_>| {
        assert_ne!(request.path, "/panic", "on purpose");
        LocalResponse::new(http::StatusCode::OK).into()
    };
    let proxy = Setup::internal(Arc::new(panics)).start().await;
    let mut client = proxy.connect().await;
    assert_eq!(client.exchange("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 500);
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 200);
    assert_eq!((proxy.counted(500), proxy.counted(200)), (1, 1));
}

#[tokio::test]
async fn a_client_in_mid_upload_sees_why_it_failed() {
    let proxy = Setup::to(format!("http://{}", closed_port().await)).start().await;
    let mut client = proxy.connect().await;
    let size = 1 << 20;
    client.write(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")).await;
    client.write(&"x".repeat(size)).await;
    let answer = client.read_answer().await;
    assert_eq!((answer.status(), answer.header("connection")), (502, Some("close")));
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
        conn.read_rest().await;
    })
    .await;
    let proxy = Setup::to(origin.url())
        .entry(|entry| entry.body_idle_timeout = Some(Duration::from_millis(50)))
        .start()
        .await;
    let answer =
        proxy.connect().await.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe").await;
    assert_eq!(answer.status(), 408);
}

#[tokio::test]
async fn a_connection_that_the_service_closes_is_not_pooled() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        let answer = client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!((answer.status(), answer.header("connection")), (200, Some("keep-alive")));
    }
    assert_eq!(origin.connections(), 2);
}

//! Clients that speak HTTP/1.0, which know no chunks (RFC 9112, section 6.1), and services that do.

use super::super::testing::{Origin, Setup};
use super::http2::http2_origin;

const REQUEST: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

async fn read(setup: Setup) -> (String, String) {
    let proxy = setup.start().await;
    let mut client = proxy.connect().await;
    client.write(REQUEST).await;
    let head = client.read_head().await.unwrap();
    (head.to_ascii_lowercase(), client.read_rest().await)
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_from_an_http_1_service() {
    for answer in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ] {
        let origin = Origin::start(move |mut conn, _| async move {
            conn.read_head().await;
            conn.write(answer).await;
        })
        .await;
        let (head, body) = read(Setup::to(origin.url())).await;
        assert!(!head.contains("transfer-encoding") && head.contains("connection: close"), "{head}");
        assert_eq!(body, "hello");
    }
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_from_an_http_2_service() {
    let addr = http2_origin(|_, mut respond| async move {
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data("hello".into(), true).unwrap();
    })
    .await;
    // Without a host of the client it gets its own.
    let (head, body) = read(Setup::to(format!("h2c://{addr}"))).await;
    assert!(!head.contains("transfer-encoding") && head.contains("connection: close"), "{head}");
    assert_eq!(body, "hello");
}

#[tokio::test]
async fn http_1_0_keeps_its_connection_when_the_length_is_known() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    for _ in 0..2 {
        let answer = client.exchange(REQUEST).await;
        assert_eq!((answer.body.as_str(), answer.header("connection")), ("ok", Some("keep-alive")));
    }
}

/// A proxy says its own version (RFC 9110, section 6.2), whatever the service speaks.
#[tokio::test]
async fn answers_of_an_http_1_0_service_are_our_version() {
    for (answer, body) in
        [("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"), ("HTTP/1.0 304 Not Modified\r\n\r\n", "")]
    {
        let origin = Origin::start(move |mut conn, _| async move {
            conn.read_head().await;
            conn.write(answer).await;
        })
        .await;
        let proxy = Setup::to(origin.url()).start().await;
        let mut client = proxy.connect().await;
        for _ in 0..2 {
            let got = client.exchange("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
            assert!(got.head.starts_with("HTTP/1.1 "), "{answer:?}: {}", got.head);
            assert_eq!(got.body, body, "{answer:?}");
        }
    }
}

//! Routing, headers and answers of our own.

use std::sync::Arc;

use http::StatusCode;

use super::super::AliasHeaders;
use super::super::testing::{Origin, Setup};
use crate::net::LocalResponse;
use crate::net::forwarded::Trust;
use crate::net::internal::InternalRequest;

#[tokio::test]
async fn a_request_reaches_the_service_and_the_connection_is_kept() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        let answer = client.exchange("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!((answer.status(), answer.body.as_str()), (200, "hi"));
    }
    assert_eq!(origin.connections(), 1, "the connection to the service is pooled");
    assert_eq!(proxy.counted(200), 3);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    client.write("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(client.read_answer().await.body.starts_with("GET /1 "));
    assert!(client.read_answer().await.body.starts_with("GET /2 "));
}

#[tokio::test]
async fn forwarding_headers_of_a_stranger_are_replaced() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).start().await;
    let answer = proxy
        .connect()
        .await
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.test:8080\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n\
             X-Forwarded-Proto: https\r\nX-Real-Ip: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\
             X-Forwarded-User: root\r\nX_Forwarded.User: root\r\nX-Custom: kept\r\n\r\n",
        )
        .await;
    assert!(!answer.body.contains("1.2.3.4"), "{}", answer.body);
    assert!(!answer.body.contains("root"), "{}", answer.body);
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-Ip", "127.0.0.1"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Port", "8080"),
        ("X-Forwarded-Host", "a.test:8080"),
        ("X-Forwarded-Server", "edge-1"),
        ("X-Custom", "kept"),
        ("Host", "a.test:8080"),
    ] {
        assert_eq!(answer.seen(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn forwarding_headers_of_a_trusted_peer_are_kept_and_identity_headers_never() {
    let origin = Origin::echoing().await;
    let setup =
        Setup::to(origin.url()).entry(|entry| entry.trust = Trust::new(false, &["127.0.0.0/8"]).unwrap());
    let answer = setup
        .start()
        .await
        .connect()
        .await
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-User: root\r\n\r\n",
        )
        .await;
    assert_eq!(answer.seen("X-Forwarded-For"), Some("1.2.3.4, 127.0.0.1"));
    assert_eq!(answer.seen("X-Forwarded-Proto"), Some("https"));
    assert_eq!(answer.seen("X-Forwarded-Port"), Some("443"));
    assert_eq!(answer.seen("X-Forwarded-User"), None);
}

#[tokio::test]
async fn the_peer_is_not_appended_where_the_entry_point_says_so() {
    let origin = Origin::echoing().await;
    let setup = Setup::to(origin.url()).entry(|entry| entry.append_forwarded_for = false);
    let answer = setup.start().await.get("/").await;
    assert_eq!(answer.seen("X-Forwarded-For"), None);
}

#[tokio::test]
async fn host_and_path_of_the_server_where_configured() {
    let origin = Origin::echoing().await;
    let url = format!("{}/base/", origin.url());
    let answer = Setup::to(&url).preserve_path().own_host().start().await.get("/x?y").await;
    assert!(answer.body.starts_with("GET /base/x?y HTTP/1.1"), "{}", answer.body);
    assert_eq!(answer.seen("Host"), Some(origin.addr.to_string().as_str()));
    let answer = Setup::to(&url).start().await.get("/x?y").await;
    assert!(answer.body.starts_with("GET /x?y HTTP/1.1"), "the path counts only with preservePath");
}

#[tokio::test]
async fn the_service_gets_the_path_that_was_judged() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).start().await;
    for (sent, received) in [
        ("/a/../b", "/b"),
        ("/a//b/./c", "/a/b/c"),
        ("/%61?x;y", "/a?x&y"),
        ("/a%2fb", "/a%2Fb"),
        ("http://a.test/abs?q", "/abs?q"),
    ] {
        let answer = proxy.get(sent).await;
        assert!(answer.body.starts_with(&format!("GET {received} HTTP/1.1")), "{sent}: {}", answer.body);
    }
}

#[tokio::test]
async fn malformed_requests_are_refused_and_end_their_connection() {
    let proxy = Setup::without_servers().start().await;
    for request in [
        "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a.test\r\n\r\n",
        "GET /%zz HTTP/1.1\r\nHost: a.test\r\n\r\n",
    ] {
        let mut client = proxy.connect().await;
        assert_eq!(client.exchange(request).await.status(), 400, "{request}");
        assert_eq!(client.read_until(b"\n").await, None, "{request}");
    }
    let mut client = proxy.connect().await;
    for (request, status) in [
        ("GET /nowhere HTTP/1.1\r\nHost: a.test\r\n\r\n", 404),
        ("GET /nobody HTTP/1.1\r\nHost: a.test\r\n\r\n", 503),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", 200),
    ] {
        assert_eq!(client.exchange(request).await.status(), status, "{request}");
    }
    let connect =
        proxy.connect().await.exchange("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").await;
    assert_eq!(connect.status(), 501);
}

#[tokio::test]
async fn our_answers_say_what_traefiks_say() {
    let proxy = Setup::without_servers().start().await;
    let answer = proxy.get("/nowhere").await;
    assert_eq!((answer.status(), answer.body.as_str()), (404, "404 page not found\n"));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("server"), None);
    let answer = proxy.get("/").await;
    assert_eq!((answer.status(), answer.body.as_str()), (503, "no available server\n"));
}

#[tokio::test]
async fn head_gets_the_header_alone() {
    let proxy = Setup::without_servers().start().await;
    let mut client = proxy.connect().await;
    client
        .write("HEAD /nowhere HTTP/1.1\r\nHost: a.test\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    let head = client.read_head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 404") && head.contains("ontent-Length: 19"), "{head}");
    assert_eq!(client.read_answer().await.body, "404 page not found\n");
}

#[tokio::test]
async fn a_broken_router_answers_404() {
    let origin = Origin::echoing().await;
    assert_eq!(Setup::to(origin.url()).broken().start().await.get("/").await.status(), 404);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn an_internal_service_answers_by_itself() {
    let service =
        |request: &InternalRequest<'_>| LocalResponse::text(StatusCode::OK, request.path.to_owned()).into();
    let answer = Setup::internal(Arc::new(service)).start().await.get("/ping").await;
    assert_eq!((answer.status(), answer.body.as_str()), (200, "/ping"));
}

#[tokio::test]
async fn aliases_are_rejected_where_the_entry_point_says_so() {
    let origin = Origin::echoing().await;
    let proxy =
        Setup::to(origin.url()).entry(|entry| entry.alias_headers = AliasHeaders::Reject).start().await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX_Custom: 1\r\n\r\n";
    assert_eq!(proxy.connect().await.exchange(request).await.status(), 400);
}

#[tokio::test]
async fn a_header_over_the_limit_is_431() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).entry(|entry| entry.max_header_bytes = 1000).start().await;
    let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "y".repeat(1000));
    assert_eq!(proxy.connect().await.exchange(&request).await.status(), 431);
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test]
async fn headers_of_one_connection_do_not_cross() {
    let origin = Origin::start(|mut conn, _| async move {
        while let Some(head) = conn.read_head().await {
            let length = head.len();
            conn.write(&format!(
                "HTTP/1.1 200 OK\r\nConnection: X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=1\r\nX-Outer: 2\r\n\
                 Content-Length: {length}\r\n\r\n{head}"
            ))
            .await;
        }
    })
    .await;
    let answer = Setup::to(origin.url())
        .start()
        .await
        .connect()
        .await
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
             Proxy-Authorization: Basic x\r\nX-Kept: 2\r\n\r\n",
        )
        .await;
    assert_eq!(
        (answer.header("x-inner"), answer.header("keep-alive"), answer.header("x-outer")),
        (None, None, Some("2"))
    );
    for gone in ["x-hop", "te", "proxy-authorization", "connection"] {
        assert_eq!(answer.seen(gone), None, "{gone}");
    }
    assert_eq!(answer.seen("x-kept"), Some("2"));
}

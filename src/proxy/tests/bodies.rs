//! Bodies, streams and interim answers.

use super::super::testing::{Origin, Setup};

#[tokio::test]
async fn bodies_pass_in_both_framings() {
    let origin = Origin::start(|mut conn, _| async move {
        while let Some(head) = conn.read_head().await {
            let body = if head.to_ascii_lowercase().contains("chunked") {
                conn.read_until(b"0\r\n\r\n").await.unwrap()
            } else {
                conn.read_exact(5).await
            };
            conn.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    let sized = client.exchange("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(sized.body, "hello");
    let chunked = client
        .exchange("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    assert_eq!(chunked.body, "5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn malformed_chunks_are_answered() {
    let origin = Origin::start(|mut conn, _| async move {
        conn.read_head().await;
        conn.read_rest().await;
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    for body in ["zz\r\nabc\r\n0\r\n\r\n", "3\r\nabcde\r\n0\r\n\r\n"] {
        let mut client = proxy.connect().await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let answer = client.exchange(&format!("{head}{body}")).await;
        assert_eq!(answer.status(), 400, "{body:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{body:?}");
    }
}

#[tokio::test]
async fn each_event_of_a_stream_arrives_at_once() {
    let (sender, receiver) = tokio::sync::watch::channel(0);
    let origin = Origin::start(move |mut conn, _| {
        let mut receiver = receiver.clone();
        async move {
            conn.read_head().await;
            conn.write(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await;
            for event in 1..=3 {
                // The next event only once the client has seen the last.
                receiver.wait_for(|seen| *seen >= event - 1).await.unwrap();
                conn.write(&format!("9\r\ndata: {event}\n\n\r\n")).await;
            }
            conn.write("0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n").await;
    client.read_head().await.unwrap();
    for event in 1..=3 {
        client.read_until(format!("data: {event}\n\n").as_bytes()).await.unwrap();
        sender.send(event).unwrap();
    }
}

#[tokio::test]
async fn the_client_gets_its_leave_from_the_service() {
    let origin = Origin::start(|mut conn, _| async move {
        let head = conn.read_head().await.unwrap();
        assert!(head.to_ascii_lowercase().contains("expect: 100-continue"), "{head}");
        conn.write("HTTP/1.1 100 Continue\r\n\r\n").await;
        let body = conn.read_exact(5).await;
        conn.write(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}")).await;
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").await;
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 100"));
    assert_eq!(client.exchange("hello").await.body, "hello");
}

#[tokio::test]
async fn early_hints_pass() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 103"));
    assert_eq!(client.read_answer().await.status(), 200);
    assert_eq!(proxy.counted(200), 1);
}

#[tokio::test]
async fn an_unread_body_does_not_reach_the_next_request() {
    let proxy = Setup::without_servers().start().await;
    let mut client = proxy.connect().await;
    let answer = client.exchange("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(answer.status(), 404);
    assert_eq!(client.exchange("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n").await.status(), 404);
}

#[tokio::test]
async fn a_client_that_waits_for_leave_and_is_refused_is_told_to_go() {
    let proxy = Setup::without_servers().start().await;
    let mut client = proxy.connect().await;
    let request = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let answer = client.exchange(request).await;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.header("connection"), Some("close"));
}

//! Deadlines, sizes, and requests that are none.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;

use super::harness::{Edge, LONG, connect, hasty};
use crate::entrypoint::{RejectReason, Settings, Timeouts};

const SHORT: Duration = Duration::from_millis(300);

/// Sends `bytes` on a connection of its own and returns the status before it ends.
async fn status_of(bytes: impl AsRef<[u8]>) -> (u16, Vec<RejectReason>) {
    let (edge, address) = Edge::start(Settings { max_header_bytes: 8192, ..Settings::default() }).await;
    let mut client = connect(address).await;
    client.send(bytes).await;
    (client.last_status().await, edge.rejected())
}

#[tokio::test]
async fn pingora_447_header_deadline() {
    let (edge, address) = Edge::start(hasty(|t| t.header = SHORT)).await;
    let mut client = connect(address).await;
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    // A byte now and then does not prolong the deadline.
    let (mut read, mut write) = client.0.split();
    let mut answer = Vec::new();
    let dribble = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut write, b"X").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut chunk = [0; 1024];
    tokio::select! {
        () = dribble => {}
        n = read.read(&mut chunk) => answer.extend_from_slice(&chunk[..n.unwrap()]),
    }
    let took = began.elapsed();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
    assert!(took >= SHORT && took < LONG / 2, "{took:?}");
    assert_eq!(edge.rejected(), [RejectReason::HeaderTimeout]);
}

#[tokio::test]
async fn the_header_deadline_is_new_for_each_request() {
    let (_edge, address) = Edge::start(hasty(|t| t.header = Duration::from_secs(1))).await;
    let mut client = connect(address).await;
    assert_eq!(client.get("/").await.status, 200);
    for _ in 0..2 {
        // Neither the pause between requests nor the requests before count.
        tokio::time::sleep(Duration::from_millis(700)).await;
        client.send("GET / HTTP/1.1\r\n").await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        client.send("Host: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
    }
    client.send("GET / HTTP/1.1\r\n").await;
    assert_eq!(client.last_status().await, 408);
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_without_a_word() {
    let limits: [fn(&mut Timeouts); 2] = [|t| t.header = SHORT, |t| t.read = Some(SHORT)];
    for limit in limits {
        let (edge, address) = Edge::start(hasty(limit)).await;
        let mut client = connect(address).await;
        let began = Instant::now();
        assert_eq!(client.rest().await, "");
        assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
        assert!(edge.rejected().is_empty());
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let (_edge, address) = Edge::start(hasty(|t| t.idle = Some(SHORT))).await;
    let mut client = connect(address).await;
    assert_eq!(client.get("/").await.status, 200);
    let began = Instant::now();
    assert_eq!(client.rest().await, "");
    assert!(began.elapsed() >= SHORT - Duration::from_millis(20));
}

#[tokio::test]
async fn a_body_that_pauses_too_long_ends_the_request() {
    let idle = Duration::from_secs(1);
    let (_edge, address) = Edge::start(hasty(|t| t.body_idle = idle)).await;
    let mut client = connect(address).await;
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n").await;
    // Each pause is shorter than the limit, all of them together are longer.
    for _ in 0..4 {
        tokio::time::sleep(idle / 3).await;
        client.send("x").await;
    }
    let began = Instant::now();
    assert_eq!(client.last_status().await, 408);
    assert!(began.elapsed() >= idle - Duration::from_millis(20));
}

#[tokio::test]
async fn waiting_for_an_answer_is_not_a_pause_of_the_body() {
    let (edge, address) = Edge::start(hasty(|t| {
        t.body_idle = SHORT;
        t.header = SHORT;
        t.idle = Some(SHORT);
    }))
    .await;
    let mut client = connect(address).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::sleep(SHORT * 3).await;
    edge.gate.add_permits(1);
    assert_eq!(client.answer().await.body, "waited");
}

#[tokio::test]
async fn a_configured_read_timeout_is_for_the_whole_request() {
    let (_edge, address) = Edge::start(hasty(|t| t.read = Some(SHORT))).await;
    let mut client = connect(address).await;
    assert_eq!(client.get("/").await.status, 200);
    let began = Instant::now();
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n").await;
    let (mut read, mut write) = client.0.split();
    let feed = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if tokio::io::AsyncWriteExt::write_all(&mut write, b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut chunk = [0; 1024];
    tokio::select! {
        () = feed => {}
        n = read.read(&mut chunk) => {
            let n = n.unwrap();
            assert!(chunk[..n].starts_with(b"HTTP/1.1 408"));
        }
    }
    let took = began.elapsed();
    assert!(took >= SHORT && took < LONG / 2, "{took:?}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_given_up() {
    let (edge, address) = Edge::start(hasty(|t| t.body_idle = SHORT)).await;
    let mut client = connect(address).await;
    let large = "x".repeat(16 << 20);
    client
        .send(format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}", large.len()))
        .await;
    let began = Instant::now();
    while edge.supervisor.open_connections() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(began.elapsed() < LONG);
    }
}

#[tokio::test]
async fn a_configured_write_timeout_is_for_the_whole_answer() {
    let (edge, address) = Edge::start(hasty(|t| t.write = Some(SHORT))).await;
    let mut client = connect(address).await;
    let large = "x".repeat(16 << 20);
    client
        .send(format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}", large.len()))
        .await;
    // Takes a little now and then, which is progress but not enough.
    let began = Instant::now();
    let mut chunk = vec![0; 64 << 10];
    while edge.supervisor.open_connections() > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = client.0.try_read(&mut chunk);
        assert!(began.elapsed() < LONG);
    }
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_body_still_comes() {
    for _ in 0..10 {
        let (_edge, address) = Edge::start(Settings::default()).await;
        let mut client = connect(address).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n").await;
        client.send("x".repeat(150_000)).await;
        assert_eq!(client.last_status().await, 200);
    }
}

#[tokio::test]
async fn sizes() {
    let mut target = b"GET /".to_vec();
    target.resize(9000, b'a');
    assert_eq!(status_of(&target).await, (414, vec![RejectReason::TargetTooLong]));
    let mut header = b"GET / HTTP/1.1\r\nX: ".to_vec();
    header.resize(9000, b'a');
    assert_eq!(status_of(&header).await, (431, vec![RejectReason::HeaderTooLarge]));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(300));
    assert_eq!(status_of(many).await, (431, vec![RejectReason::HeaderTooLarge]));
}

#[tokio::test]
async fn a_large_head_within_the_limit_is_served() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    let path = format!("/{}", "a".repeat(60_000));
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "b".repeat(500_000))).await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_1_request() {
    let head = |line: &str, rest: &str| format!("{line}\r\nHost: a\r\n{rest}\r\n");
    for (request, status) in [
        (head("GET / HTTP/2.0", ""), 505),
        (head("GET / HTTP/0.9", ""), 505),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), 505),
        (head("CONNECT a:443 HTTP/1.1", ""), 501),
        (head("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n"), 501),
        (head("POST / HTTP/1.1", "Transfer-Encoding: identity\r\n"), 501),
        (head("GET /a b HTTP/1.1", ""), 400),
        (head("GET /", ""), 400),
        (head("GET / HTTP/1.1", "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
        (head("GET / HTTP/1.1", "Content-Length: +3\r\n"), 400),
        (head("GET / HTTP/1.1", "X : y\r\n"), 400),
        (head("GET / HTTP/1.1", "X: y\r\n folded\r\n"), 400),
        (head("GET / HTTP/1.1", "X: \0\r\n"), 400),
        (head("GET / HTTP/1.1", "X: a\rb\r\n"), 400),
        (head("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), 400),
        ("\u{1}\u{2}garbage\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(status_of(&request).await.0, status, "{request:?}");
    }
}

#[tokio::test]
async fn pingora_945_length_and_chunked_together() {
    let request =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status_of(request).await, (400, vec![RejectReason::Malformed]));
}

#[tokio::test]
async fn the_answer_arrives_although_the_client_still_sends() {
    // Closing with unread bytes would reset the connection and may destroy the answer.
    let mut request = b"GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_vec();
    request.resize(200_000, b'x');
    for _ in 0..10 {
        assert_eq!(status_of(&request).await.0, 505);
    }
}

#[tokio::test]
async fn a_slow_first_letter_is_no_http_2() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    for piece in ["P", "O", "ST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"] {
        client.send(piece).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.answer().await.status, 200);
    let (_edge, address) = Edge::start(hasty(|t| t.header = SHORT)).await;
    let mut client = connect(address).await;
    client.send("PRI").await;
    assert_eq!(client.last_status().await, 408);
}

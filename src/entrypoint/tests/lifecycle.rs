//! Ports that come and go, limits on connections, and the end.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::harness::{Edge, LONG, connect, spec};
use crate::entrypoint::{BindError, KeepAlive, Settings};

#[tokio::test]
async fn ports_are_added_and_removed() {
    let edge = Edge::new();
    let two =
        || vec![spec("a", "127.0.0.1:0", Settings::default()), spec("b", "127.0.0.1:0", Settings::default())];
    assert!(edge.supervisor.reconcile(two()).await.is_empty());
    let a = edge.supervisor.local_addr("a").await.unwrap();
    let b = edge.supervisor.local_addr("b").await.unwrap();
    let mut on_b = connect(b).await;
    assert!(on_b.get("/").await.body.starts_with("entry=b "));

    // Nothing changes: the same sockets.
    assert!(edge.supervisor.reconcile(two()).await.is_empty());
    assert_eq!(edge.supervisor.local_addr("a").await, Some(a));

    let one = vec![spec("a", "127.0.0.1:0", Settings::default())];
    assert!(edge.supervisor.reconcile(one).await.is_empty());
    // The idle connection ends, the port is closed, the other one serves.
    assert_eq!(on_b.rest().await, "");
    assert!(tokio::net::TcpStream::connect(b).await.is_err());
    assert!(connect(a).await.get("/").await.body.starts_with("entry=a "));
    assert_eq!(edge.events.open.lock().unwrap()["b"], 0);
}

#[tokio::test]
async fn requests_in_flight_outlive_their_port() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.waiting.acquire().await.unwrap().forget();
    edge.supervisor.reconcile(Vec::new()).await;
    edge.gate.add_permits(1);
    assert_eq!(client.answer().await.body, "waited");
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_changed_address_replaces_the_port() {
    let edge = Edge::new();
    edge.supervisor.reconcile(vec![spec("web", "127.0.0.1:0", Settings::default())]).await;
    let port = edge.supervisor.local_addr("web").await.unwrap().port();
    // All addresses of the same port: it is only free when the old listener is gone.
    let errors = edge.supervisor.reconcile(vec![spec("web", &format!(":{port}"), Settings::default())]).await;
    assert!(errors.is_empty(), "{errors:?}");
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let answer = connect(address).await.get("/").await;
    // IPv4 through a dual-stack socket is IPv4.
    assert!(answer.body.contains("peer=127.0.0.1:"), "{}", answer.body);
}

#[tokio::test]
async fn settings_change_without_closing_the_port() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let small = Settings { max_header_bytes: 100, ..Settings::default() };
    edge.supervisor.reconcile(vec![spec("web", "127.0.0.1:0", small)]).await;
    let mut client = connect(address).await;
    client.send(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200))).await;
    assert_eq!(client.last_status().await, 431);
}

#[tokio::test]
async fn a_taken_port_is_reported_and_the_others_work() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let edge = Edge::new();
    let specs =
        vec![spec("bad", &address, Settings::default()), spec("good", "127.0.0.1:0", Settings::default())];
    let errors = edge.supervisor.reconcile(specs).await;
    assert_eq!(errors.len(), 1);
    assert_eq!(&*errors[0].entry_point, "bad");
    assert!(matches!(errors[0].error, BindError::System { .. }), "{}", errors[0]);
    let good = edge.supervisor.local_addr("good").await.unwrap();
    assert_eq!(connect(good).await.get("/").await.status, 200);
}

#[tokio::test]
async fn draining_returns_at_once_when_idle() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut idle = connect(address).await;
    assert_eq!(idle.get("/").await.status, 200);
    let mut silent = connect(address).await;
    let began = Instant::now();
    assert_eq!(edge.supervisor.drain(LONG).await.cut, 0);
    assert!(began.elapsed() < LONG / 2, "{:?}", began.elapsed());
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
}

/// A connection that is told to end while it is about to wait must not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_connection_misses_the_drain() {
    for _ in 0..40 {
        let (edge, address) = Edge::start(Settings::default()).await;
        let clients: Vec<_> = (0..8)
            .map(|_| {
                tokio::spawn(async move {
                    let mut client = connect(address).await;
                    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
                    while tokio::io::AsyncWriteExt::write_all(&mut client.0, request.as_bytes()).await.is_ok()
                    {
                        let mut chunk = [0; 1024];
                        if !matches!(tokio::io::AsyncReadExt::read(&mut client.0, &mut chunk).await, Ok(1..))
                        {
                            break;
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(edge.supervisor.drain(LONG / 2).await.cut, 0);
        for client in clients {
            tokio::time::timeout(LONG, client).await.expect("the client is told").ok();
        }
    }
}

/// The next request of a busy connection may be on its way when it is told to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_busy_connection_loses_no_request_to_the_drain() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let clients: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = connect(address).await;
                while !client.get("/").await.head.contains("connection: close") {
                    // Time in which the connection is idle.
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                client.rest().await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(edge.supervisor.drain(LONG).await.cut, 0);
    for client in clients {
        assert_eq!(client.await.expect("every request was answered"), "");
    }
}

#[tokio::test]
async fn draining_waits_for_requests_in_flight() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.waiting.acquire().await.unwrap().forget();
    let drain = edge.supervisor.drain(LONG);
    let release = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        edge.gate.add_permits(1);
        assert_eq!(client.answer().await.body, "waited");
    };
    let (outcome, ()) = tokio::join!(drain, release);
    assert_eq!(outcome.cut, 0);
    assert_eq!(edge.supervisor.open_connections(), 0);
}

#[tokio::test]
async fn draining_cuts_what_is_left() {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.waiting.acquire().await.unwrap().forget();
    assert_eq!(edge.supervisor.drain(Duration::from_millis(100)).await.cut, 1);
    assert_eq!(client.rest().await, "");
    assert_eq!(edge.supervisor.open_connections(), 0);
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let (_edge, address) = Edge::start(Settings { max_connections: Some(1), ..Settings::default() }).await;
    let mut first = connect(address).await;
    assert_eq!(first.get("/").await.status, 200);
    let mut second = connect(address).await;
    second.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let waited = tokio::time::timeout(Duration::from_millis(200), second.answer()).await;
    assert!(waited.is_err(), "the second connection was served");
    drop(first);
    assert_eq!(second.answer().await.status, 200);
}

#[tokio::test]
async fn a_connection_ends_after_its_requests() {
    let keep_alive = KeepAlive { max_requests: Some(2), ..KeepAlive::default() };
    let (_edge, address) = Edge::start(Settings { keep_alive, ..Settings::default() }).await;
    let mut client = connect(address).await;
    assert!(client.get("/").await.head.contains("connection: keep-alive"));
    assert!(client.get("/").await.head.contains("connection: close"));
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_connection_ends_after_its_time() {
    let keep_alive = KeepAlive { max_time: Some(Duration::from_millis(200)), ..KeepAlive::default() };
    let (_edge, address) = Edge::start(Settings { keep_alive, ..Settings::default() }).await;
    let mut client = connect(address).await;
    assert!(client.get("/").await.head.contains("connection: keep-alive"));
    assert_eq!(client.rest().await, "");
}

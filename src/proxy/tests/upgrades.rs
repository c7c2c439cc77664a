//! WebSocket and other upgrades.

use std::time::Duration;

use super::super::testing::{Conn, Origin, Setup, header};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nKeep-Alive: 5\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Echoes lines once it has switched; `eager` talks before the client does.
async fn tunnel(mut conn: Conn, eager: bool) {
    conn.read_head().await;
    conn.write(SWITCHED).await;
    if eager {
        conn.write("welcome\n").await;
    }
    while let Some(line) = conn.read_until(b"\n").await {
        conn.write(&line).await;
    }
}

#[tokio::test]
async fn pingora_946_every_tunnel_carries_the_clients_bytes() {
    for eager in [false, true] {
        let origin = Origin::start(move |conn, _| tunnel(conn, eager)).await;
        let proxy = Setup::to(origin.url()).start().await;
        for round in 0..50 {
            let mut client = proxy.connect().await;
            client.write(HANDSHAKE).await;
            let head = client.read_head().await.unwrap();
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            if eager {
                assert_eq!(client.read_until(b"\n").await.as_deref(), Some("welcome\n"));
            }
            client.write("ping\n").await;
            assert_eq!(
                client.read_until(b"\n").await.as_deref(),
                Some("ping\n"),
                "round {round}, eager {eager}"
            );
        }
    }
}

#[tokio::test]
async fn pingora_255_a_silent_tunnel_is_kept() {
    let origin = Origin::start(|conn, _| tunnel(conn, false)).await;
    let silence = Duration::from_millis(300);
    let proxy = Setup::to(origin.url())
        .entry(|entry| entry.body_idle_timeout = Some(silence / 3))
        .transport(|t| t.forwarding_timeouts.response_header_timeout = silence / 3)
        .start()
        .await;
    let mut client = proxy.connect().await;
    client.write(HANDSHAKE).await;
    client.read_head().await.unwrap();
    // Longer than every timeout of ordinary requests.
    tokio::time::sleep(silence).await;
    client.write("ping\n").await;
    assert_eq!(client.read_until(b"\n").await.as_deref(), Some("ping\n"));
}

#[tokio::test]
async fn an_upgrade_that_the_service_declines_is_an_ordinary_answer() {
    let origin = Origin::answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await;
    let proxy = Setup::to(origin.url()).start().await;
    let answer = proxy.connect().await.exchange(HANDSHAKE).await;
    assert_eq!((answer.status(), answer.body.as_str()), (403, "no"));
}

/// Bytes behind an upgrade belong to a tunnel that there may never be; a service that declines would
/// take them for the next request, one that no router has judged (RUSTSEC-2026-0033).
#[tokio::test]
async fn nothing_is_smuggled_behind_an_upgrade_that_is_declined() {
    for upgrade in ["websocket", "SPDY/3.1", "h2c"] {
        let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
        let origin = Origin::start(move |mut conn, _| {
            let sender = sender.clone();
            async move {
                conn.read_head().await.unwrap();
                conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await;
                let rest = tokio::time::timeout(Duration::from_millis(300), conn.read_head()).await;
                sender.send(rest.ok().flatten()).unwrap();
            }
        })
        .await;
        let proxy = Setup::to(origin.url()).start().await;
        let mut client = proxy.connect().await;
        let head =
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n");
        client
            .write(&format!("{head}GET /nowhere HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-User: root\r\n\r\n"))
            .await;
        assert_eq!(received.recv().await.unwrap(), None, "{upgrade}");
    }
}

#[tokio::test]
async fn a_websocket_is_forwarded_as_ws() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let origin = Origin::start(move |mut conn, _| {
        let sender = sender.clone();
        async move { sender.send(conn.read_head().await.unwrap()).unwrap() }
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    proxy.connect().await.write(HANDSHAKE).await;
    let _client = {
        let mut client = proxy.connect().await;
        client.write(HANDSHAKE).await;
        client
    };
    let head = received.recv().await.unwrap();
    assert_eq!(header(&head, "x-forwarded-proto"), Some("ws"));
    assert_eq!(header(&head, "upgrade"), Some("websocket"));
    assert_eq!(header(&head, "keep-alive"), None);
}

#[tokio::test]
async fn other_upgrades_pass_without_the_headers_of_the_connection() {
    let origin = Origin::start(|mut conn, _| async move {
        let head = conn.read_head().await.unwrap();
        for gone in ["te", "keep-alive", "x-hop"] {
            assert_eq!(header(&head, gone), None, "{gone}");
        }
        assert_eq!(header(&head, "upgrade"), Some("SPDY/3.1"));
        assert_eq!(header(&head, "connection"), Some("Upgrade"));
        conn.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
            .await;
        let line = conn.read_until(b"\n").await.unwrap();
        conn.write(&line).await;
        conn.read_rest().await;
    })
    .await;
    let proxy = Setup::to(origin.url()).start().await;
    let mut client = proxy.connect().await;
    client
        .write(
            "POST /exec HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, X-Hop\r\nUpgrade: SPDY/3.1\r\nX-Hop: 1\r\n\
             TE: gzip\r\nKeep-Alive: 5\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    assert!(client.read_head().await.unwrap().starts_with("HTTP/1.1 101"));
    client.write("raw\n").await;
    assert_eq!(client.read_until(b"\n").await.as_deref(), Some("raw\n"));
}

#[tokio::test]
async fn h2c_is_never_an_upgrade() {
    let origin = Origin::echoing().await;
    let proxy = Setup::to(origin.url()).start().await;
    let answer = proxy
        .connect()
        .await
        .exchange(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        )
        .await;
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(answer.seen(gone), None, "{gone}");
    }
}

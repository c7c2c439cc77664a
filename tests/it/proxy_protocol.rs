//! PROXY protocol v1 and v2: whom it is believed from, and what is made of it.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::certificates::Knock;
use crate::harness::http1::{Connection, Message};
use crate::harness::origin::Origin;
use crate::harness::proxy::{Proxy, Setup};
use crate::harness::soon;

const TRUSTED: &str = "proxyProtocol:\n  trustedIPs: [127.0.0.1]\n";

async fn proxy(options: &str) -> (Origin, Proxy) {
    let origin = Origin::start().await;
    let text = format!(
        "http:\n  routers:\n    r: {{rule: PathPrefix(`/`), service: s}}\n    safe: {{rule: PathPrefix(`/`), service: s, \
         tls: {{}}}}\n    far: {{rule: Path(`/far`) && ClientIP(`203.0.113.0/24`), service: s, priority: 99}}\n  \
         services:\n    s: {{loadBalancer: {{servers: [{{url: \"{}\"}}]}}}}\n",
        origin.url()
    );
    let setup = Setup::new().entry_point("web", options).entry_point("secure", options);
    let proxy = setup.dynamic(&text).start().await;
    (origin, proxy)
}

async fn ask(address: SocketAddr, before: &[u8]) -> Option<Message> {
    let mut connection = Connection::open(address).await;
    connection.send(before).await;
    connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    soon("an answer", connection.response_to(false)).await
}

/// A v2 header (signature, PROXY command, TCP over IPv4) for 203.0.113.7:4711, with a type-length-value after it.
fn version_2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    let tlv = [0x04, 0, 2, 0, 0];
    header.extend(u16::try_from(12 + tlv.len()).unwrap().to_be_bytes());
    header.extend([203, 0, 113, 7, 127, 0, 0, 1]);
    header.extend(4711_u16.to_be_bytes());
    header.extend(80_u16.to_be_bytes());
    header.extend(tlv);
    header
}

const VERSION_1: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n";

#[tokio::test]
async fn both_versions_name_the_client() {
    let (origin, proxy) = proxy(TRUSTED).await;
    for header in [VERSION_1.to_vec(), version_2()] {
        assert_eq!(ask(proxy.web(), &header).await.unwrap().status(), 200);
        let seen = origin.last();
        assert_eq!(seen.get("x-forwarded-for"), Some("203.0.113.7"));
        assert_eq!(seen.get("x-real-ip"), Some("203.0.113.7"));
    }
    let six = b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n";
    assert_eq!(ask(proxy.web(), six).await.unwrap().status(), 200);
    assert_eq!(origin.last().get("x-real-ip"), Some("2001:db8::7"));
}

#[tokio::test]
async fn rules_see_the_named_client() {
    let (_origin, proxy) = proxy(TRUSTED).await;
    let mut connection = Connection::open(proxy.web()).await;
    connection.send(VERSION_1).await;
    connection.send("GET /far HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(connection.response().await.text(), "GET /far\n");
}

#[tokio::test]
async fn without_a_header_a_trusted_peer_is_the_client() {
    let (origin, proxy) = proxy(TRUSTED).await;
    assert_eq!(ask(proxy.web(), b"").await.unwrap().status(), 200);
    assert_eq!(origin.last().get("x-real-ip"), Some("127.0.0.1"));
    // LOCAL and UNKNOWN say nothing about the client either.
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0"] {
        assert_eq!(ask(proxy.web(), header).await.unwrap().status(), 200);
        assert_eq!(origin.last().get("x-real-ip"), Some("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_is_not_believed() {
    let (origin, proxy) = proxy("proxyProtocol:\n  trustedIPs: [192.0.2.1]\n").await;
    for header in [VERSION_1.to_vec(), version_2()] {
        // Traefik reads the header over; refusing it would be as safe.
        match ask(proxy.web(), &header).await {
            Some(answer) if answer.status() == 200 => {
                assert_eq!(origin.last().get("x-real-ip"), Some("127.0.0.1"));
            }
            Some(answer) => assert_eq!(answer.status(), 400),
            None => {}
        }
    }
    assert!(origin.requests().iter().all(|seen| seen.get("x-real-ip") == Some("127.0.0.1")));
}

#[tokio::test]
async fn a_port_without_the_option_takes_it_for_noise() {
    let (origin, proxy) = proxy("").await;
    let answer = ask(proxy.web(), VERSION_1).await;
    assert!(answer.is_none_or(|answer| answer.status() == 400));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn it_comes_before_tls() {
    let (origin, proxy) = proxy(TRUSTED).await;
    let mut stream = TcpStream::connect(proxy.address("secure")).await.unwrap();
    stream.write_all(&version_2()).await.unwrap();
    let stream = Knock::on("h.test").over(stream).await.unwrap();
    let mut connection = Connection::new(stream);
    connection.send("GET / HTTP/1.1\r\nHost: h.test\r\n\r\n").await;
    assert_eq!(connection.response().await.status(), 200);
    assert_eq!(origin.last().get("x-forwarded-for"), Some("203.0.113.7"));
    assert_eq!(origin.last().get("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn broken_headers_close_the_connection() {
    let (origin, proxy) = proxy(TRUSTED).await;
    let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
    let bad: [&[u8]; 4] = [
        b"PROXY TCP4 999.0.0.1 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02\0\0",
        &long,
    ];
    for header in bad {
        let answer = ask(proxy.web(), header).await;
        assert!(answer.is_none_or(|answer| answer.status() == 400), "{header:?}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_header_in_pieces_is_put_together() {
    let (origin, proxy) = proxy(TRUSTED).await;
    for header in [VERSION_1.to_vec(), version_2()] {
        let mut connection = Connection::open(proxy.web()).await;
        for byte in header {
            connection.send([byte]).await;
            tokio::task::yield_now().await;
        }
        connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(connection.response().await.status(), 200);
        assert_eq!(origin.last().get("x-real-ip"), Some("203.0.113.7"));
    }
}

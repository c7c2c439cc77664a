//! PROXY protocol on plain ports and below TLS.

use std::time::Duration;

use super::harness::{Edge, connect};
use super::tls_client::{Tls, pair};
use crate::entrypoint::{ProxyTrust, RejectReason, Settings};
use crate::net::IpSet;
use crate::tls::Inputs;

const V1: &[u8] = b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\xc6\x33\x64\x01\x12\x67\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn trusting(trust: ProxyTrust) -> Settings {
    Settings { proxy_protocol: Some(trust), ..Settings::default() }
}

fn loopback() -> Settings {
    trusting(ProxyTrust::Only(IpSet::parse(["127.0.0.0/8"]).unwrap()))
}

fn others() -> Settings {
    trusting(ProxyTrust::Only(IpSet::parse(["10.0.0.0/8"]).unwrap()))
}

#[tokio::test]
async fn a_trusted_peer_names_the_client() {
    for settings in [loopback(), trusting(ProxyTrust::Everyone)] {
        let (_edge, address) = Edge::start(settings).await;
        for header in [V1, V2] {
            let mut client = connect(address).await;
            // In two pieces, the second with the request.
            client.send(&header[..9]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.send(&header[9..]).await;
            let answer = client.get("/").await;
            assert!(answer.body.contains("peer=203.0.113.9:4711 local=198.51.100.1:443"), "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn without_a_header_the_connection_speaks_for_itself() {
    let (_edge, address) = Edge::start(loopback()).await;
    for header in [&b""[..], LOCAL, b"PROXY UNKNOWN\r\n"] {
        let mut client = connect(address).await;
        let peer = client.0.local_addr().unwrap();
        client.send(header).await;
        assert!(client.get("/").await.body.contains(&format!("peer={peer} local={address}")));
    }
}

#[tokio::test]
async fn another_peer_is_served_and_not_believed() {
    let (_edge, address) = Edge::start(others()).await;
    for header in [V1, V2] {
        let mut client = connect(address).await;
        let peer = client.0.local_addr().unwrap();
        client.send(header).await;
        assert!(client.get("/").await.body.contains(&format!("peer={peer} ")));
    }
}

#[tokio::test]
async fn without_the_option_a_header_is_no_request() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    client.send([V1, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat()).await;
    assert_eq!(client.last_status().await, 400);
}

#[tokio::test]
async fn a_header_that_cannot_be_read_ends_the_connection() {
    let (edge, address) = Edge::start(loopback()).await;
    let mut client = connect(address).await;
    client.send(b"PROXY TCP4 nobody 198.51.100.1 1 2\r\n").await;
    assert_eq!(client.rest().await, "");
    assert_eq!(edge.rejected(), [RejectReason::ProxyHeader]);
}

#[tokio::test]
async fn half_a_header_has_a_deadline() {
    let mut settings = loopback();
    settings.timeouts.handshake = Duration::from_millis(200);
    let (edge, address) = Edge::start(settings).await;
    let mut client = connect(address).await;
    client.send(&V2[..14]).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(edge.rejected(), [RejectReason::HandshakeTimeout]);
}

#[tokio::test]
async fn the_header_comes_before_the_tls_handshake() {
    let (edge, address) = Edge::start(loopback()).await;
    let certificate = pair(&["app.test"]);
    let inputs = Inputs { certificates: vec![&certificate], ..Inputs::default() };
    assert!(edge.use_tls(&inputs).is_empty());
    for header in [V1, V2] {
        let mut client = connect(address).await;
        client.send(header).await;
        let mut client = Tls::trusting(&[&certificate]).over(client.0, "app.test").await.unwrap();
        let answer = client.get("/").await;
        assert!(answer.body.contains("peer=203.0.113.9:4711 local=198.51.100.1:443"), "{}", answer.body);
    }
}

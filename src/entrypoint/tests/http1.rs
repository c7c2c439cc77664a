//! HTTP/1 as clients use it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::harness::{Edge, connect};
use crate::entrypoint::Settings;

#[tokio::test]
async fn every_request_of_a_connection_has_its_facts() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    let peer = client.0.local_addr().unwrap();
    for number in 1..=3 {
        let answer = client.get("/").await;
        let expected = format!("entry=web peer={peer} local={address} h2=false request={number}");
        assert_eq!(answer.body, expected);
    }
}

#[tokio::test]
async fn bodies_of_either_framing_leave_the_connection_usable() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    let large = "x".repeat(300_000);
    client
        .send(format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{large}", large.len()))
        .await;
    assert_eq!(client.answer().await.body, large);
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for piece in ["3\r", "\nabc\r\n", "4;x=y\r\nde", "fg\r\n0\r\nT: 1\r\n", "\r\n"] {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.body, "abcdefg");
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    let mut all = String::new();
    for body in ["one", "two!", "three"] {
        all += &format!("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        all += "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n";
    }
    client.send(all).await;
    for body in ["one", "c", "two!", "c", "three", "c"] {
        assert_eq!(client.answer().await.body, body);
    }
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn requests_before_a_half_close_are_answered() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut client = connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn an_upgraded_connection_carries_any_bytes() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream_address = upstream.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = upstream.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        tcp.write_all(accept.as_bytes()).await.unwrap();
        let (mut read, mut write) = tcp.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let mut client = connect(address).await;
    client
        .send(format!(
            "GET /up HTTP/1.1\r\nHost: a\r\nX-Upstream: {upstream_address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status, 101);
    for message in ["ping", "\0\r\n\r\nGET / HTTP/1.1\r\n\r\n"] {
        client.send(message).await;
        let mut echo = vec![0; message.len()];
        client.0.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, message.as_bytes());
    }
}

#[tokio::test]
async fn a_panic_ends_one_connection() {
    let (_edge, address) = Edge::start(Settings::default()).await;
    let mut other = connect(address).await;
    assert_eq!(other.get("/").await.status, 200);
    let mut client = connect(address).await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.rest().await, "");
    assert_eq!(other.get("/").await.status, 200);
}

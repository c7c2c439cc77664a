//! Many connections at once.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::harness::{Client, Edge};
use crate::entrypoint::Settings;

const HERD: usize = 400;

fn send(tcp: &mut TcpStream, path: &str) {
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n").unwrap();
}

fn connected(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_nonblocking(true).unwrap();
    tcp
}

/// How many of a herd have their answers before one that sends last, and asks for `path`.
async fn answered_before(path: &str) -> usize {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut herd: Vec<TcpStream> = (0..HERD).map(|_| connected(address)).collect();
    let mut last = connected(address);
    while edge.events.open.lock().unwrap().get("web").is_none_or(|open| *open <= HERD as i64) {
        tokio::task::yield_now().await;
    }
    // Nothing is served meanwhile: edge and test share a thread.
    herd.iter_mut().for_each(|tcp| send(tcp, "/herd/x"));
    send(&mut last, path);
    let mut last = Client(tokio::net::TcpStream::from_std(last).unwrap());
    assert_eq!(last.answer().await.status, 200);
    let mut byte = [0];
    herd.iter().filter(|tcp| tcp.peek(&mut byte).is_ok()).count()
}

#[tokio::test]
async fn one_of_another_kind_waits_for_few_of_a_herd() {
    let before = answered_before("/herd/y").await;
    assert!(before >= HERD / 2, "{before}");
    let before = answered_before("/other").await;
    assert!(before <= HERD / 10, "{before}");
}

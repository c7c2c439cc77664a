//! Many connections at once. The turns are those of the process, so other tests that run take some of them.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use super::harness::{Client, Edge, LONG};
use crate::entrypoint::Settings;
use crate::entrypoint::arrival::Kind;

/// Many enough for a machine of up to twelve cores; with more of them a turnstile lets more through at once.
const HERD: usize = 250;

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n")
}

fn queue(path: &str) -> usize {
    Kind::Head(request(path).as_bytes()).queue()
}

/// A connection on which nothing has been said, and which waits for nothing.
fn connected(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    tcp.set_nonblocking(true).unwrap();
    tcp
}

fn send(mut tcp: &TcpStream, path: &str) {
    tcp.write_all(request(path).as_bytes()).unwrap();
}

fn client(tcp: TcpStream) -> Client<tokio::net::TcpStream> {
    Client(tokio::net::TcpStream::from_std(tcp).unwrap())
}

/// A herd that is connected, and one more. Edge and test share a thread, so nothing is served unless the test waits.
async fn herd() -> (Edge, Vec<TcpStream>, TcpStream) {
    let (edge, address) = Edge::start(Settings::default()).await;
    let mut herd = Vec::new();
    for _ in 0..HERD {
        herd.push(connected(address));
        // Where the kernel lets few wait.
        tokio::task::yield_now().await;
    }
    let last = connected(address);
    while edge.events.open.lock().unwrap().get("web").is_none_or(|open| *open <= HERD as i64) {
        tokio::task::yield_now().await;
    }
    (edge, herd, last)
}

/// How many of a herd have their answers before one that sends last, and asks for `path`.
async fn answered_before(path: &str) -> usize {
    let (_edge, herd, last) = herd().await;
    herd.iter().for_each(|tcp| send(tcp, "/herd/x"));
    send(&last, path);
    assert_eq!(client(last).answer().await.status, 200);
    let mut byte = [0];
    herd.iter().filter(|tcp| tcp.peek(&mut byte).is_ok()).count()
}

#[tokio::test]
async fn one_of_another_kind_waits_for_few_of_a_herd() {
    let before = answered_before("/herd/y").await;
    assert!(before >= HERD / 2, "{before}");
    let other = (0..).map(|number| format!("/{number}")).find(|path| queue(path) != queue("/herd"));
    let before = answered_before(&other.unwrap()).await;
    assert!(before <= HERD / 4, "{before}");
}

#[tokio::test]
async fn a_drain_lets_those_pass_that_wait_for_their_turn() {
    let (edge, mut herd, last) = herd().await;
    herd.push(last);
    herd.iter().for_each(|tcp| send(tcp, "/herd/x"));
    let mut herd: Vec<_> = herd.into_iter().map(client).collect();
    assert_eq!(herd.remove(0).answer().await.status, 200);
    let served = async {
        for client in &mut herd {
            assert_eq!(client.answer().await.status, 200);
        }
    };
    let (outcome, ()) = tokio::join!(edge.supervisor.drain(LONG), served);
    assert_eq!(outcome.cut, 0);
}

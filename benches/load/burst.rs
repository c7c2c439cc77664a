//! Sends many requests at once and waits for all answers: `burst ADDRESS HOST COOKIE REQUESTS [STREAMS]`.
//!
//! Each on an HTTP/1.1 connection of its own, or with `STREAMS` that many to an HTTP/2 connection (prior
//! knowledge). The connections are open before the first request is sent. Prints statuses and times; fails
//! unless all are 200.

#![allow(missing_docs, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The status of an answer, and when it was complete.
type Answer = (u16, Instant);

/// Asks over HTTP/1.1, whose connection ends with the answer.
async fn ask(mut stream: TcpStream, request: String) -> Answer {
    stream.write_all(request.as_bytes()).await.expect("a request sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), Instant::now())
}

/// Asks as one stream of an HTTP/2 connection.
async fn ask_stream(client: h2::client::SendRequest<bytes::Bytes>, request: Request<()>) -> Answer {
    let mut client = client.ready().await.expect("a stream");
    let (answer, _) = client.send_request(request, true).expect("a request sent");
    let answer = answer.await.expect("an answer");
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(chunk) = body.data().await {
        let read = chunk.expect("a body").len();
        body.flow_control().release_capacity(read).expect("what was read");
    }
    (status, Instant::now())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, cookie, count, streams @ ..] = arguments.as_slice() else {
        eprintln!("usage: burst ADDRESS HOST COOKIE REQUESTS [STREAMS]");
        std::process::exit(2);
    };
    let count = count.parse::<usize>().expect("a number");
    let (answers, started) = match streams.first() {
        Some(streams) => multiplexed(address, host, cookie, count, streams.parse().expect("a number")).await,
        None => one_by_one(address, host, cookie, count).await,
    };
    report(answers.join_all().await, started);
}

/// Sends all on HTTP/2 connections that they share.
async fn multiplexed(
    address: &str,
    host: &str,
    cookie: &str,
    count: usize,
    streams: usize,
) -> (JoinSet<Answer>, Instant) {
    let request = || {
        let request = Request::get(format!("http://{host}/burst")).header("cookie", cookie);
        request.version(http::Version::HTTP_2).body(()).expect("a request")
    };
    let mut clients = Vec::new();
    for _ in 0..count.div_ceil(streams) {
        let stream = TcpStream::connect(address).await.expect("a connection");
        let (client, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::spawn(connection);
        clients.push(client.ready().await.expect("a connection"));
    }
    let started = Instant::now();
    let clients = clients.iter().flat_map(|client| std::iter::repeat_n(client, streams)).take(count);
    (clients.map(|client| ask_stream(client.clone(), request())).collect(), started)
}

/// Sends all on HTTP/1.1, each on a connection of its own.
async fn one_by_one(address: &str, host: &str, cookie: &str, count: usize) -> (JoinSet<Answer>, Instant) {
    let request =
        format!("GET /burst HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let started = Instant::now();
    (connections.into_iter().map(|connection| ask(connection, request.clone())).collect(), started)
}

fn report(answers: Vec<Answer>, started: Instant) {
    let mut statuses = BTreeMap::<u16, usize>::new();
    let mut times: Vec<Duration> = Vec::new();
    for (status, at) in answers {
        *statuses.entry(status).or_default() += 1;
        times.push(at - started);
    }
    times.sort_unstable();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1)));
    println!("statuses: {statuses:?}");
    println!("time: first {:?}, median {:?}, last {:?}", at(0), at(50), at(100));
    if statuses.keys().any(|status| *status != 200) {
        std::process::exit(1);
    }
}

//! Sends many requests at once, each on a connection of its own that is open before the first is sent:
//! `burst ADDRESS HOST COOKIE REQUESTS`. Prints statuses and times; fails unless all are 200.

#![allow(missing_docs, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// The status of the answer, and when it was complete.
async fn ask(mut stream: TcpStream, request: String) -> (u16, Instant) {
    stream.write_all(request.as_bytes()).await.expect("a request sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("an answer");
    let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), Instant::now())
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, host, cookie, count] = arguments.as_slice() else {
        eprintln!("usage: burst ADDRESS HOST COOKIE REQUESTS");
        std::process::exit(2);
    };
    let request =
        format!("GET /burst HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    let mut streams = Vec::new();
    for _ in 0..count.parse::<usize>().expect("a number") {
        streams.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let started = Instant::now();
    let mut answers = JoinSet::new();
    for stream in streams {
        answers.spawn(ask(stream, request.clone()));
    }
    let mut statuses = BTreeMap::<u16, usize>::new();
    let mut times: Vec<Duration> = Vec::new();
    for (status, at) in answers.join_all().await {
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
